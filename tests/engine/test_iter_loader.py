"""Endless batches that know where they stand."""

import itertools
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from footplate import Events
from footplate.engine.combined import combined
from footplate.engine.data.device import DeviceLoader
from footplate.engine.errors import DataError
from footplate.engine.iter_loader import IterLoader
from footplate.engine.samplers import samplers_in
from tests.engine.recording import RecordingEngine
from tests.engine.test_resume import assert_resumes_everywhere
from tests.golden.scenarios import Unsized

pytestmark = [
    pytest.mark.covers("B2"),
    pytest.mark.filterwarnings("ignore:the run goes on behind batch:RuntimeWarning"),
]


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
    assert {id(one) for one in samplers_in(loader)} == {id(sampler), id(dataset)}
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
        place = sought.state_dict()
        assert all(place[key] == states[stop][0][key] for key in ("epoch", "position", "taken"))
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

    batches = IterLoader(Sized() if sized else Drawing())
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
    with pytest.raises(DataError, match="stands behind batch 3 of its data, but these have only 2"):
        next(batches)


def test_what_is_no_data_is_refused():
    with pytest.raises(TypeError, match="can't be iterated over"):
        IterLoader(3)
    with pytest.raises(TypeError, match=r"give \[None\]"):
        IterLoader(None)


@pytest.mark.parametrize("number", [2, 3, 64, 100])
def test_samplers_of_several_loaders_are_found_however_many_these_are(number):
    loaders = [seeded() for _ in range(number)]
    whole = combined(loaders)
    found = {id(one) for one in samplers_in(IterLoader(whole))}
    assert found == {id(one.batch_sampler.sampler) for one in loaders}


@pytest.mark.parametrize("number", [1, 3, 100])
def test_batches_are_not_taken_for_loaders(number):
    class Batch(dict):
        """Says of everything that it has none: with an error of its own kind."""

        __getattr__ = dict.__getitem__

    class Asked(list):
        def __getattr__(self, name):
            asked.append(name)
            raise AttributeError(name)

    asked = []
    batches = [Batch(x=1), Asked([1])] * number
    assert take(IterLoader(batches), 2) == [{"x": 1}, [1]]
    assert list(samplers_in(Batch(x=1))) == []
    assert asked == []


# ------------------------------------------------------------------ as an engine's data


def test_an_engine_goes_over_it_without_end():
    engine = RecordingEngine()
    state = engine.run(IterLoader([1, 2, 3]), max_iters=8)
    assert engine.batches == [1, 2, 3, 1, 2, 3, 1, 2]
    assert (state.epoch, state.epoch_length) == (3, 3)


ENDLESS = {
    "sized": lambda: IterLoader([1, 2, 3]),
    "unsized": lambda: IterLoader(Unsized(1, 2, 3)),
    "on a device": lambda: DeviceLoader(IterLoader([1, 2, 3]), "cpu"),
    "on a device, ahead": lambda: DeviceLoader(IterLoader([1, 2, 3]), "cpu", ahead=True),
    "by samplers": lambda: map(torch.Tensor.tolist, IterLoader(seeded())),
    "several": lambda: combined([IterLoader([1, 2, 3]), IterLoader([4, 5])]),
}


@pytest.mark.covers("A9")
@pytest.mark.parametrize("limits", [{"max_iters": 8}, {"max_epochs": 2}], ids=str)
@pytest.mark.parametrize("epoch_length", [2, 3, 5])
@pytest.mark.parametrize("data", ENDLESS)
def test_a_run_over_it_goes_on_anywhere(data, epoch_length, limits):
    limits = {**limits, "epoch_length": epoch_length}
    points = assert_resumes_everywhere(RecordingEngine, ENDLESS[data], limits)
    assert points >= limits.get("max_iters", 2 * epoch_length)


@pytest.mark.covers("A9")
@pytest.mark.parametrize("data", ENDLESS)
def test_a_run_over_it_whose_epoch_was_terminated_goes_on_anywhere(data):
    def make():
        engine = RecordingEngine()
        engine.on(Events.ITERATION_COMPLETED(once=4))(lambda e: e.terminate_epoch())
        return engine

    assert assert_resumes_everywhere(make, ENDLESS[data], {"max_epochs": 3, "epoch_length": 5}) > 12


@pytest.mark.parametrize("number", range(1, 8))
def test_the_very_same_goes_on_where_the_run_was_interrupted(number):
    engine, data = RecordingEngine(), IterLoader([1, 2, 3])
    engine.on(Events.ITERATION_COMPLETED(once=number))(lambda e: e.interrupt())
    engine.run(data, max_iters=8)
    assert engine.state.iteration == number
    engine.run(data)
    assert engine.batches == [1, 2, 3, 1, 2, 3, 1, 2]


def test_a_run_that_goes_on_walks_no_pass_but_the_last_and_spares_the_random_numbers():
    class Drawing:
        walked = 0

        def __len__(self):
            return 3

        def __iter__(self):
            for _ in range(3):
                self.walked += 1
                yield random.random()

    first, second = RecordingEngine(), RecordingEngine()
    random.seed(7)
    first.run(IterLoader(Drawing()), max_iters=8)
    second.load_state_dict(first.state_dict())
    loader = Drawing()
    random.seed(7)
    second.run(IterLoader(loader), max_iters=9)
    assert second.batches == first.batches[:1]
    assert loader.walked == 3


def test_fewer_data_are_refused_when_a_run_goes_on():
    first, second = RecordingEngine(), RecordingEngine()
    first.run(IterLoader(Unsized(1, 2, 3)), max_iters=5, epoch_length=3)
    second.load_state_dict(first.state_dict())
    with pytest.raises(DataError, match="one-shot iterator that ended behind 2 batches"):
        second.run(IterLoader(iter([1, 2])), max_iters=6)


def test_a_one_shot_iterator_goes_on_behind_its_error():
    class Stumbling:
        def __init__(self):
            self.number = 0

        def __iter__(self):
            return self

        def __next__(self):
            self.number += 1
            if self.number == 2:
                raise OSError("a disk")
            return self.number

    batches = IterLoader(Stumbling())
    assert next(batches) == 1
    with pytest.raises(OSError, match="a disk"):
        next(batches)
    assert take(batches, 2) == [3, 4]


@pytest.mark.parametrize("number", range(1, 8))
@pytest.mark.parametrize("data", ENDLESS)
def test_a_run_with_a_larger_limit_goes_on_in_it_in_this_process_or_another(data, number):
    unbroken, here, there = RecordingEngine(), RecordingEngine(), RecordingEngine()
    unbroken.run(ENDLESS[data](), max_iters=8, epoch_length=3)
    endless = ENDLESS[data]()
    here.run(endless, max_iters=number, epoch_length=3)
    there.load_state_dict(here.state_dict())
    here.run(endless, max_iters=8)
    there.run(ENDLESS[data](), max_iters=8)
    assert here.batches == unbroken.batches
    assert there.batches == unbroken.batches[number:]


def test_other_one_shot_data_behind_a_terminated_run_begin_at_their_beginning():
    engine = RecordingEngine()
    engine.run(iter(range(10)), max_iters=2, epoch_length=3)
    engine.run(iter("abc"), max_iters=4)
    assert engine.batches == [0, 1, "a", "b"]


def test_data_behind_one_shot_data_that_were_left_go_on_when_they_are_interrupted():
    engine = RecordingEngine()
    engine.run(iter(range(10)), max_iters=2, epoch_length=4)
    engine.on(Events.ITERATION_COMPLETED(once=4))(lambda e: e.interrupt())
    engine.run(list("abc"), max_iters=5)
    engine.run(list("abc"))
    assert engine.batches == [0, 1, "a", "b", "c"]


@pytest.mark.parametrize("runs", [1, 2])
def test_a_run_that_ends_before_it_fetches_keeps_its_place(runs):
    """Its limit was reached already where it had been saved."""
    first, second, third = RecordingEngine(), RecordingEngine(), RecordingEngine()
    first.on(Events.SAFE_POINT(once=5))(lambda e: e.interrupt())
    first.run(IterLoader([1, 2, 3]), max_iters=5, epoch_length=4)
    second.load_state_dict(first.state_dict())
    data = IterLoader([1, 2, 3])
    second.run(data)
    assert (str(second.state.reason), second.batches) == ("completed", [])
    if runs == 1:
        second.run(data, max_iters=8)
        assert second.batches == [3, 1, 2]
    third.load_state_dict(second.state_dict())
    third.run(IterLoader([1, 2, 3]), max_iters=9)
    assert third.batches == ([3] if runs == 1 else [3, 1, 2, 3])


@pytest.mark.parametrize("data", [lambda: IterLoader([1, 2, 3]), lambda: iter([1, 2, 3] * 4)])
@pytest.mark.parametrize("limits", [(4, 7), (5, 8), (8, 10)])
def test_what_was_walked_to_its_place_is_not_walked_there_again(data, limits):
    first, second = RecordingEngine(), RecordingEngine()
    first.on(Events.SAFE_POINT(once=3))(lambda e: e.interrupt())
    first.run(data(), max_iters=limits[0], epoch_length=4)
    second.load_state_dict(first.state_dict())
    endless = data()
    for limit in limits:
        second.run(endless, max_iters=limit)
    assert first.batches + second.batches == ([1, 2, 3] * 4)[: limits[1]]
