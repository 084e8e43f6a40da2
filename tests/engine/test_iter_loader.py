"""Endless batches that know where they stand."""

import itertools
import random

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from footplate.engine.errors import DataError
from footplate.engine.iter_loader import IterLoader
from footplate.engine.random import preserved
from footplate.engine.samplers import samplers_in
from tests.golden.scenarios import Unsized

pytestmark = pytest.mark.covers("B2")


def take(batches, number):
    return list(itertools.islice(batches, number))


def seeded(seed=1):
    sampler = DistributedSampler(range(8), num_replicas=1, rank=0, seed=seed)
    return DataLoader(range(8), batch_sampler=BatchSampler(sampler, 2, drop_last=False))


def tolists(batches, number):
    return [batch.tolist() for batch in take(batches, number)]


class Promising:
    """Says it has three batches, and has two."""

    def __len__(self):
        return 3

    def __iter__(self):
        return iter("ab")


class Failing:
    """Raises once, at its second batch."""

    failed = False

    def __iter__(self):
        yield "a"
        if not self.failed:
            self.failed = True
            raise OSError("a disk")
        yield "b"


@pytest.mark.parametrize(
    "make", [lambda: list("abc"), lambda: Unsized(*"abc")], ids=["sized", "not"]
)
def test_the_next_pass_begins_where_one_ends(make):
    batches = IterLoader(make())
    seen = [(next(batches), batches.epoch, batches.position, batches.taken) for _ in range(5)]
    assert seen == [("a", 0, 1, 1), ("b", 0, 2, 2), ("c", 0, 3, 3), ("a", 1, 1, 4), ("b", 1, 2, 5)]
    assert iter(batches) is batches


def test_its_length_is_that_of_one_pass():
    assert len(IterLoader("abc")) == 3
    with pytest.raises(TypeError):
        len(IterLoader(Unsized(1)))


def test_samplers_hear_which_pass_begins():
    expected = []
    for epoch in range(3):
        loader = seeded()
        loader.batch_sampler.sampler.set_epoch(epoch)
        expected.extend(batch.tolist() for batch in loader)
    assert expected[:4] != expected[4:8]
    assert tolists(IterLoader(seeded()), 12) == expected


def test_samplers_are_found_where_loaders_keep_them():
    class Hearing(list):
        def set_epoch(self, epoch):
            pass

    sampler, dataset = DistributedSampler(range(4), num_replicas=1, rank=0), Hearing(range(4))
    loader = DataLoader(dataset, sampler=sampler, batch_size=2)
    assert {id(one) for one in samplers_in([loader])} == {id(sampler), id(dataset)}
    inner = DataLoader(range(4), batch_sampler=BatchSampler(sampler, 2, drop_last=False))
    assert list(samplers_in(inner)) == [sampler]
    assert list(samplers_in([1, 2])) == []


@given(
    size=st.integers(1, 4),
    sized=st.booleans(),
    stops=st.lists(st.integers(0, 12), min_size=1, max_size=3),
)
def test_it_stands_wherever_it_is_sought(size, sized, stops):
    make = (lambda: list(range(size))) if sized else (lambda: Unsized(*range(size)))
    walked = IterLoader(make())
    states = [(walked.state_dict(), next(walked)) for _ in range(13)]
    sought = IterLoader(make())
    for stop in stops:
        sought.seek(stop)
        assert sought.state_dict() == states[stop][0]
        assert next(sought) == states[stop][1]
        assert next(sought) == (stop + 1) % size


@pytest.mark.parametrize("number", range(10))
def test_a_loaded_state_goes_on_with_the_same_batches(number):
    unbroken = tolists(IterLoader(seeded()), 12)
    first, second = IterLoader(seeded()), IterLoader(seeded())
    begun = tolists(first, number)
    second.load_state_dict(first.state_dict())
    assert begun + tolists(second, 12 - number) == unbroken


@pytest.mark.parametrize("sized", [True, False])
def test_going_on_can_spare_the_random_numbers(sized):
    class Drawing:
        def __iter__(self):
            return (random.random() for _ in range(5))

    class Sized(Drawing):
        def __len__(self):
            return 5

    batches = IterLoader(Sized() if sized else Drawing(), preserving=preserved)
    random.seed(7)
    unbroken = take(batches, 3)
    batches.seek(0)
    random.seed(7)
    batches.seek(2)
    assert [random.random(), random.random(), next(batches)] == unbroken


def test_a_pass_that_is_over_is_not_walked_again():
    class Counting:
        opened = 0

        def __iter__(self):
            self.opened += 1
            return iter("ab")

        def __len__(self):
            return 2

    loader = Counting()
    batches = IterLoader(loader)
    batches.seek(2)
    assert (next(batches), batches.epoch, loader.opened) == ("a", 1, 1)


def test_what_failed_is_fetched_again():
    batches = IterLoader(Failing())
    assert next(batches) == "a"
    with pytest.raises(OSError, match="a disk"):
        next(batches)
    assert take(batches, 3) == ["b", "a", "b"]


@pytest.mark.parametrize("empty", [[], Unsized(), iter([])], ids=["sized", "unsized", "one-shot"])
def test_data_without_a_batch_are_refused(empty):
    with pytest.raises(DataError, match=r"pass 0 .* gave no batch"):
        next(IterLoader(empty))


def test_a_second_pass_without_a_batch_is_refused():
    class OnceOnly:
        given = "ab"

        def __iter__(self):
            given, self.given = self.given, ""
            return iter(given)

    batches = IterLoader(OnceOnly())
    take(batches, 2)
    with pytest.raises(DataError, match=r"pass 1 .* gave no batch"):
        next(batches)


def test_a_one_shot_iterator_gives_one_pass():
    batches = IterLoader(iter("ab"))
    assert take(batches, 2) == ["a", "b"]
    with pytest.raises(DataError, match="one-shot iterator that ended behind 2 batches"):
        next(batches)


def test_a_one_shot_iterator_does_not_go_back():
    batches = IterLoader(iter("abc"))
    take(batches, 2)
    batches.seek(2)
    assert next(batches) == "c"
    with pytest.raises(DataError, match="can't be walked again"):
        batches.seek(1)


def test_an_end_before_the_promised_length_is_refused():
    batches = IterLoader(Promising())
    take(batches, 2)
    with pytest.raises(DataError, match="have 3 batches, but ended behind 2"):
        next(batches)


def test_going_on_with_fewer_data_is_refused():
    batches = IterLoader(Unsized(1, 2))
    batches.load_state_dict({"epoch": 1, "position": 3, "taken": 7})
    with pytest.raises(DataError, match="stands behind batch 3, but the data have only 2"):
        next(batches)


def test_what_is_no_data_is_refused():
    with pytest.raises(TypeError, match="can't be iterated over"):
        IterLoader(3)
    with pytest.raises(TypeError, match=r"give \[None\]"):
        IterLoader(None)
