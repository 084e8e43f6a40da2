"""How data of any kind are taken up in the midst of a pass."""

from __future__ import annotations

import random
import subprocess
import sys
import warnings

import pytest
import torch
from torch.utils.data import DataLoader

from footplate import Engine, Events
from footplate.engine.combined import combined
from footplate.engine.data.device import DeviceLoader
from footplate.engine.errors import DataError
from footplate.engine.iter_loader import IterLoader
from footplate.engine.limited import limited
from footplate.engine.passes import Through, passes_over, refit, rewind, skip
from footplate.engine.source import NOTHING, Source

pytestmark = pytest.mark.covers("G5")


class ByIndex:
    """Has no ``__iter__``, and says what it loads."""

    def __init__(self, size: int) -> None:
        self.size, self.loaded = size, []

    def __getitem__(self, index: int) -> int:
        if index >= self.size:
            raise IndexError
        self.loaded.append(index)
        return index * 10


class Shuffling:
    """Draws its order when a pass begins."""

    def __iter__(self):
        return iter(random.sample(range(50), 50))


class Standing:
    """Counts where it stands, and can be told."""

    def __init__(self) -> None:
        self.next, self.begun = 0, 0

    def __iter__(self):
        self.begun += 1
        while self.next < 4:
            self.next += 1
            yield self.next - 1
        self.next = 0

    def state_dict(self):
        return {"next": self.next}

    def load_state_dict(self, state):
        self.next = state["next"]


class Skipping:
    """An iterator that passes by batches itself, and says which it gave."""

    def __init__(self, size: int) -> None:
        self.at, self.size, self.given = 0, size, []

    def __iter__(self):
        return self

    def __next__(self):
        if self.at == self.size:
            raise StopIteration
        self.at += 1
        self.given.append(self.at)
        return self.at

    def skip(self, count):
        before, self.at = self.at, min(self.at + count, self.size)
        return self.at - before


class SharedOut:
    """Six batches for each process, where another number of processes had four."""

    def __init__(self) -> None:
        self.at, self.rewound = 0, False

    def __iter__(self):
        return iter(range(6))

    def make_passes(self):
        return self

    def begin(self):
        return iter(self)

    def go_on(self, position):
        return iter(range(position + self.at, 6))

    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        assert state == {}

    def rewind(self):
        self.rewound = True

    def refit(self, position):
        return 4, 6, None if position is None else position + 2

    def count_from(self, position):
        self.at = position


@pytest.mark.parametrize(
    "data",
    [[1, 2, 3, 4], (1, 2, 3, 4), range(1, 5), "abcd", b"abcd", dict.fromkeys(range(4))],
    ids=lambda data: type(data).__name__,
)
def test_plain_containers_go_on_in_silence(data):
    passes = passes_over(data)
    assert list(passes.begin()) == list(data)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert list(passes.go_on(3)) == list(data)[3:]


def test_a_tensor_goes_on_in_silence():
    assert list(passes_over(torch.arange(5)).go_on(3)) == [3, 4]


def test_data_by_index_load_nothing_for_nothing():
    data = ByIndex(6)
    assert list(passes_over(data).go_on(4)) == [40, 50]
    assert data.loaded == [4, 5]


def test_an_order_drawn_at_the_beginning_is_drawn_again_and_no_number_is_lost():
    passes = passes_over(Shuffling())
    random.seed(1)
    order = list(passes.begin())
    before = random.getstate()
    with pytest.warns(RuntimeWarning, match="go on|goes on behind batch 7 of its data"):
        assert list(passes.go_on(7)) == order[7:]
    assert random.getstate() == before


def test_a_warning_is_given_once_for_all_passes():
    passes = passes_over(Shuffling())
    passes.begin()
    with pytest.warns(RuntimeWarning) as said:
        assert [next(passes.go_on(3)), next(passes.go_on(4))]
    assert len(said) == 1


def test_nothing_is_said_where_nothing_is_skipped():
    passes = passes_over(Shuffling())
    passes.begin()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        next(passes.go_on(0))


def test_too_few_data_are_refused():
    with pytest.raises(DataError, match="behind batch 3 of its data, but these have only 2"):
        passes_over([1, 2]).go_on(3)


def test_data_with_a_state_are_asked_and_told():
    data = Standing()
    passes = passes_over(data)
    walk = passes.begin()
    assert [next(walk), next(walk)] == [0, 1]
    saved = passes.state_dict()
    other = passes_over(fresh := Standing())
    other.load_state_dict(saved)
    assert other.state_dict() == saved
    assert list(other.go_on(2)) == [2, 3]
    assert fresh.begun == 1


def test_data_with_a_state_go_on_by_themselves_behind_an_error():
    data = Standing()
    passes = passes_over(data)
    walk = passes.begin()
    next(walk)
    assert list(passes.go_on(1)) == [1, 2, 3]


def test_data_with_a_state_that_nobody_saved_are_walked_to_their_place():
    assert list(passes_over(Standing()).go_on(3)) == [3]


def test_data_with_a_state_in_an_engine():
    engine = Engine(lambda engine, batch: None)
    engine.on(Events.SAFE_POINT(once=6))(engine.interrupt)
    engine.run(Standing(), max_epochs=3)
    resumed, seen = Engine(lambda engine, batch: seen.append(batch)), []
    resumed.load_state_dict(engine.state_dict())
    resumed.run(Standing())
    assert seen == [2, 3, 0, 1, 2, 3]


def test_what_goes_through_something_goes_on_there():
    data = Through([1, 2, 3], lambda batches, position: (10 * one + position for one in batches))
    assert list(data.begin()) == [10, 20, 30]
    assert list(data.go_on(2)) == [32]


def test_a_new_run_over_the_same_data_forgets_where_the_last_one_stood():
    source = Source()
    source.take(data := Shuffling())
    assert source.state_dict()["kind"] == "WalkedAgain"
    assert source.anew().state_dict() is None
    assert source.anew().take(data) is not None


def test_an_iterator_that_can_skip_gives_nothing_for_nothing():
    data = Skipping(5)
    assert list(passes_over(data).go_on(3)) == data.given == [4, 5]
    assert skip(Skipping(2), 3) == 2


def test_what_goes_through_something_is_rewound_where_it_can_be():
    data = SharedOut()
    rewind(Through(data, lambda batches, position: batches))
    assert data.rewound
    rewind(Through([1, 2], lambda batches, position: batches))


def test_data_are_rewound_while_a_pass_of_theirs_is_under_way_and_not_else():
    data, source = SharedOut(), Source()
    source.take(data)
    source.replace()
    source.rewind()
    assert not data.rewound
    source.take(data)
    source.rewind()
    assert data.rewound


@pytest.mark.parametrize("position", [None, 3])
def test_the_rest_of_a_pass_is_shared_out_anew_by_data_that_can(position):
    data = SharedOut()
    through = Through(data, lambda batches, position: batches)
    now = None if position is None else 5
    assert refit(passes_over(data), position) == refit(through, position) == (4, 6, now)
    assert data.at == 0
    assert refit(passes_over([1, 2]), position) is None
    assert refit(Through([1, 2], lambda batches, position: batches), position) is None


def test_what_makes_other_passes_counts_the_rest_its_own_way():
    data = SharedOut()

    def halved(position, told):
        before, now, at = told
        return before // 2, now // 2, None if at is None else position - 2

    through = Through(data, lambda batches, position: batches, halved)
    assert through.refit(None) == (2, 3, None)
    assert data.at == 0
    assert through.refit(3) == (2, 3, 1)
    assert data.at == 1


@pytest.mark.parametrize(
    ("cut", "epochs", "rest"),
    [(3, 1, [5]), (9, 3, [5, 0, 1, 2, 3])],
    ids=["in step", "out of step"],
)
def test_an_epoch_that_is_a_pass_has_as_many_batches_as_that_has_now(cut, epochs, rest):
    saved = Engine(lambda engine, batch: None)
    saved.on(Events.SAFE_POINT(once=cut))(saved.interrupt)
    saved.run(SharedOut(), max_epochs=epochs, epoch_length=4)
    assert saved.state.iteration == cut
    engine, seen = Engine(lambda engine, batch: seen.append(batch)), []
    engine.load_state_dict(saved.state_dict())
    engine.source.moved = True
    engine.run(SharedOut())
    assert engine.state.epoch_length == 6
    assert seen == rest


@pytest.mark.parametrize(("taken", "there"), [(2, 0), (4, 6)])
def test_data_that_cant_be_shared_out_anew_begin_another_pass(taken, there):
    walked, data = Source(), "abcdef"
    for batch in "wxyz"[:taken]:
        assert walked.take("wxyz") == batch
        walked.in_hand = NOTHING
    source = Source(walked.passes, walked.position, walked.state_dict())
    if there:
        assert source.refit(data) == (4, 6, there)
    else:
        with pytest.warns(RuntimeWarning, match="shared out anew amid a pass: the pass under way"):
            assert source.refit(data) == (4, 6, there)
    assert source.take(data) == "a"
    assert (source.passes, source.position, source.length) == (2, 1, None)


def test_between_two_passes_nothing_is_left():
    walked = Source()
    walked.take("wxyz")
    walked.abandon()
    source = Source(walked.passes, walked.position, walked.state_dict())
    assert source.refit("abcdef") == (4, 6, None)
    assert source.take("abcdef") == "a"
    assert Source().refit(None) == (None, None, None)


def test_a_loaded_run_that_starts_anew_draws_what_it_would_have_drawn_without_a_break():
    def shuffled():
        return DataLoader(range(20), shuffle=True, generator=torch.Generator().manual_seed(3))

    whole, seen = [], []
    engine = Engine(lambda engine, batch: whole.append(batch.item()))
    engine.run(data := shuffled())
    resumed = Engine(lambda engine, batch: seen.append(batch.item()))
    resumed.load_state_dict(engine.state_dict())
    resumed.state.max_epochs = None
    resumed.run(shuffled())
    engine.run(data)
    assert seen == whole[20:] != whole[:20]


WITHOUT_TORCH = """
import random, sys
from footplate.engine.engine import Engine
from footplate.engine.events import Events

class Shuffling:
    def __iter__(self):
        return iter(random.sample(range(8), 8))

def run(state=None, stop=None):
    seen = []
    engine = Engine(lambda engine, batch: seen.append((batch, random.random())))
    if state:
        engine.load_state_dict(state)
    if stop:
        engine.add_event_handler(Events.SAFE_POINT(once=stop), lambda e: e.interrupt())
    engine.run(Shuffling(), max_epochs=2, epoch_length=8)
    return seen, engine.state_dict(), random.getstate()

random.seed(3)
whole = run()[0]
random.seed(3)
first, state, numbers = run(stop=5)
random.seed(99)
random.setstate(numbers)
rest = run(state)[0]
print(first + rest == whole, "torch" in sys.modules)
"""


def test_it_all_works_without_torch():
    process = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", WITHOUT_TORCH],
        capture_output=True,
        text=True,
        check=True,
    )
    assert process.stdout.split() == ["True", "False"], process.stderr


@pytest.mark.parametrize("cut", [1, 2, 3])
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda data: DeviceLoader(data, "cpu", ahead=True),
        IterLoader,
        lambda data: limited(data, 4),
        lambda data: _First(combined([data, [7] * 9])),
    ],
    ids=["ahead", "endless", "limited", "combined"],
)
def test_data_with_a_state_go_on_within_other_data(wrapped, cut):
    engine = Engine(lambda engine, batch: None)
    engine.on(Events.SAFE_POINT(once=cut))(engine.interrupt)
    engine.run(wrapped(Standing()), epoch_length=4)
    resumed, seen = Engine(lambda engine, batch: seen.append(batch)), []
    resumed.load_state_dict(engine.state_dict())
    resumed.run(wrapped(Standing()))
    assert seen == list(range(cut, 4))


class _First:
    """The first of several batches."""

    def __init__(self, loaders) -> None:
        self.loaders = loaders

    def __iter__(self):
        return (first for first, *_ in self.loaders)

    def make_passes(self):
        return Through(self.loaders, lambda batches, position: (first for first, *_ in batches))
