"""The first batches: of each pass, or once for all."""

from __future__ import annotations

import multiprocessing
import random

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler, IterableDataset

from footplate import Engine, Events
from footplate.engine.limited import limited, overfit
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.sampler_seed import SamplerSeed
from tests.golden.scenarios import Unsized

pytestmark = pytest.mark.covers("B5")


def batches_of(data, **limits) -> list:
    engine, seen = Engine(lambda engine, batch: None), []
    engine.on(Events.ITERATION_COMPLETED)(lambda e: seen.append(e.state.batch))
    engine.run(data, **limits)
    return seen


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(6))


@given(size=st.integers(1, 12), count=st.integers(1, 15))
def test_an_epoch_is_the_first_batches(size, count):
    taken = list(range(min(size, count)))
    few = limited(range(size), count)
    assert len(few) == len(taken)
    assert batches_of(few, max_epochs=2) == taken * 2
    assert batches_of(limited(Unsized(*range(size)), count), max_epochs=2) == taken * 2


def test_a_fraction_is_rounded_down_but_to_one_batch_at_least():
    assert list(limited(range(10), "25%")) == [0, 1]
    assert list(limited(range(10), "1%")) == [0]


@pytest.mark.parametrize("everything", [None, "100%"])
def test_everything_is_the_data_themselves(everything):
    data = [1, 2]
    assert limited(data, everything) is data


def test_data_without_a_length_have_none_when_they_are_limited():
    with pytest.raises(TypeError, match="no length"):
        len(limited(Unsized(1, 2), 1))


def test_a_fraction_of_data_without_a_length_is_refused_at_once():
    with pytest.raises(ValueError, match="give a count"):
        limited(Unsized(1, 2), "50%")
    with pytest.raises(ValueError, match="give a count"):
        overfit(DataLoader(Stream()), "50%")


@pytest.mark.parametrize("make", [limited, overfit])
@pytest.mark.parametrize("data", [None, 5])
def test_what_has_no_batches_is_refused(make, data):
    with pytest.raises(TypeError):
        make(data, 1)


@pytest.mark.parametrize("make", [limited, overfit])
@pytest.mark.parametrize("amount", [0, "0%", 0.5, -1])
def test_what_is_no_amount_is_refused(make, amount):
    with pytest.raises(ValueError, match=r"."):
        make([1, 2], amount)


def test_one_pass_alone_can_not_be_limited():
    with pytest.raises(TypeError, match=r"itertools\.islice"):
        limited(iter([1, 2, 3]), 2)


def children() -> int:
    return len(multiprocessing.active_children())


def test_worker_processes_are_gone_before_the_last_batch_is_handed_over():
    assert children() == 0
    loader = DataLoader(range(40), batch_size=2, num_workers=2)
    iterator = iter(limited(loader, 3))
    running = [(next(iterator).tolist(), children()) for _ in range(3)]
    assert running == [([0, 1], 2), ([2, 3], 2), ([4, 5], 0)]


def test_worker_processes_are_gone_when_a_run_ends_in_the_midst():
    loader = DataLoader(range(40), batch_size=2, num_workers=1)
    engine, seen = Engine(lambda engine, batch: seen.append(children())), []
    engine.run(limited(loader, 10), max_iters=2)
    assert (seen, children()) == ([1, 1], 0)


def test_its_samplers_hear_of_passes():
    def loader() -> DataLoader:
        sampler = DistributedSampler(range(8), num_replicas=1, rank=0, seed=1)
        return DataLoader(range(8), sampler=sampler, batch_size=2)

    engine, seen = Engine(lambda engine, batch: None), []
    engine.attach(SamplerSeed())
    engine.on(Events.ITERATION_COMPLETED)(lambda e: seen.append(e.state.batch.tolist()))
    engine.run(limited(loader(), 2), max_epochs=3)

    data, expected = loader(), []
    for number in range(3):
        data.sampler.set_epoch(number)
        expected += [batch.tolist() for batch in data][:2]
    assert seen == expected
    assert seen[:2] != seen[2:4]


def test_a_run_over_limited_data_is_resumed_at_its_place():
    first, second = Engine(lambda engine, batch: None), Engine(lambda engine, batch: None)
    seen = []
    second.on(Events.ITERATION_COMPLETED)(lambda e: seen.append(e.state.batch))
    first.on(Events.ITERATION_COMPLETED(once=5))(lambda e: e.interrupt())
    first.run(limited(range(100), 3), max_epochs=3)
    second.load_state_dict(first.state_dict())
    second.run(limited(range(100), 3))
    assert seen == [2, 0, 1, 2]


def test_a_trial_of_everything_is_one_batch_of_everything():
    trainer = Engine(lambda engine, batch: None, name="train")
    val = Engine(lambda engine, batch: None, name="val")
    trainer.attach(Evaluation(val, limited(range(50), 1)))
    trainer.run(limited(range(100), 1), max_epochs=1)
    assert (trainer.state.iteration, val.state.iteration) == (1, 1)


# ------------------------------------------------------------------ overfit


class Shuffled:
    """Another order in each pass, and a count of what was asked for."""

    def __init__(self) -> None:
        self.asked = self.passes = 0

    def __iter__(self):
        self.passes += 1
        for number in random.sample(range(100), 100):
            self.asked += 1
            yield number


def test_overfitting_takes_the_same_batches_once():
    data = Shuffled()
    seen = batches_of(overfit(data, 3), max_epochs=4)
    assert seen == seen[:3] * 4
    assert (data.asked, data.passes) == (3, 1)


def test_overfitting_a_shuffling_loader_keeps_the_order_of_the_first_pass():
    torch.manual_seed(0)
    expected = [batch.tolist() for batch in DataLoader(range(20), 4, shuffle=True)][:2]
    torch.manual_seed(0)
    data = overfit(DataLoader(range(20), 4, shuffle=True), "40%")
    assert [batch.tolist() for batch in batches_of(data, max_epochs=2)] == expected * 2
    assert len(data) == 2


def test_overfitting_fewer_than_asked_for_takes_all():
    data = overfit(Unsized(1, 2), 5)
    with pytest.raises(TypeError, match="no length"):
        len(data)
    assert batches_of(data, max_epochs=2) == [1, 2, 1, 2]
    assert len(data) == 2
    assert len(overfit([1, 2], 5)) == 2


def test_overfitting_takes_one_shot_data_too():
    assert batches_of(overfit(iter([1, 2, 3]), 2), max_epochs=2) == [1, 2, 1, 2]


def test_overfitting_goes_on_taking_where_a_pass_was_left():
    data = Shuffled()
    same = overfit(data, 4)
    first = [batch for batch, _ in zip(same, range(2), strict=False)]
    assert list(same)[:2] == first
    assert list(same) == list(same)
    assert (data.asked, data.passes) == (4, 1)


def test_overfitting_takes_all_anew_behind_an_error():
    class Failing:
        fails = True

        def __iter__(self):
            yield from (1, 2)
            if self.fails:
                raise OSError("once")
            yield 3

    data = Failing()
    same = overfit(data, 3)
    with pytest.raises(OSError, match="once"):
        list(same)
    data.fails = False
    assert list(same) == [1, 2, 3]


def test_no_sampler_hears_of_passes_over_kept_batches():
    sampler = DistributedSampler(range(8), num_replicas=1, rank=0, seed=1)
    loader = DataLoader(range(8), sampler=sampler, batch_size=2)
    engine = Engine(lambda engine, batch: None)
    engine.attach(SamplerSeed())
    engine.run(overfit(loader, 2), max_epochs=3)
    assert sampler.epoch == 0


def test_both_say_what_they_are():
    assert repr(limited([1, 2], 1)) == "<the first 1 of each pass over a list>"
    assert repr(overfit([1, 2], "50%")) == "<the first 50% of a list, kept>"
