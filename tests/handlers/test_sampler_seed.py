"""Samplers hear which pass over the data begins, whatever an epoch is."""

from __future__ import annotations

import pytest
from torch.utils.data import BatchSampler, DataLoader, DistributedSampler

from footplate import Engine, Events
from footplate.engine.combined import combined
from footplate.engine.samplers import samplers_in
from footplate.handlers.sampler_seed import SamplerSeed


def loader() -> DataLoader:
    sampler = DistributedSampler(range(8), num_replicas=1, rank=0, seed=1)
    return DataLoader(range(8), batch_sampler=BatchSampler(sampler, 2, drop_last=False))


def passes(number: int) -> list[list[int]]:
    """The batches of so many passes, each seeded by hand."""
    data = loader()
    batches = []
    for epoch in range(number):
        data.batch_sampler.sampler.set_epoch(epoch)
        batches.extend(batch.tolist() for batch in data)
    return batches


def seen_by(engine: Engine) -> list[list[int]]:
    seen: list[list[int]] = []
    engine.on(Events.ITERATION_COMPLETED)(lambda e: seen.append(e.state.batch.tolist()))
    return seen


@pytest.mark.covers("I4")
@pytest.mark.parametrize("epoch_length", [2, 4, 6])
def test_order_follows_the_pass_and_not_the_epoch(epoch_length):
    engine = Engine(lambda engine, batch: None)
    engine.attach(SamplerSeed())
    seen = seen_by(engine)
    engine.run(loader(), max_epochs=12 // epoch_length, epoch_length=epoch_length)
    assert seen == passes(3)


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_resumed_run_has_the_order_of_one_that_never_stopped(cut):
    first, saved = Engine(lambda engine, batch: None), []
    first.attach(SamplerSeed())
    begun = seen_by(first)
    first.on(Events.SAFE_POINT(once=cut))(lambda e: (saved.append(e.state_dict()), e.terminate()))
    first.run(loader(), max_epochs=2, epoch_length=6)

    second = Engine(lambda engine, batch: None)
    second.attach(SamplerSeed())
    rest = seen_by(second)
    second.load_state_dict(saved[0])
    second.run(loader())
    assert begun + rest == passes(3)


def test_a_terminated_epoch_and_a_terminated_run_begin_the_next_pass():
    engine = Engine(lambda engine, batch: None)
    engine.attach(SamplerSeed())
    seen = seen_by(engine)
    engine.on(Events.ITERATION_COMPLETED(once=1))(lambda e: e.terminate_epoch())
    engine.on(Events.ITERATION_COMPLETED(once=2))(lambda e: e.terminate())
    engine.run(loader(), max_epochs=3)
    engine.run()
    expected = passes(3)
    assert seen == [expected[0], expected[4], *expected[8:12]]


@pytest.mark.covers("I4")
def test_data_that_a_handler_sets_for_an_epoch_have_the_order_of_its_pass():
    engine = Engine(lambda engine, batch: None)
    engine.on(Events.EPOCH_STARTED)(lambda e: e.set_data(loader()))
    engine.attach(SamplerSeed())
    seen = seen_by(engine)
    engine.run(loader(), max_epochs=3)
    assert seen == passes(3)


def test_samplers_are_found_however_deeply_they_are_wrapped():
    class Wrapper(list):
        def __init__(self, inner: object) -> None:
            self.loader = inner

    data = loader()
    both = combined([Wrapper(data), Wrapper(Wrapper(data))])
    assert list(samplers_in(both)) == [data.batch_sampler.sampler]


def test_each_pass_is_announced_once_whatever_an_epoch_is():
    class Listening(list):
        def set_epoch(self, number: int) -> None:
            heard.append((number, engine.state.iteration))

    heard: list[tuple[int, int]] = []
    engine = Engine(lambda engine, batch: None)
    engine.attach(SamplerSeed())
    engine.run(Listening("abc"), max_epochs=4, epoch_length=2)
    assert heard == [(0, 0), (0, 0), (1, 3), (2, 6)]  # before any batch it is said again


def test_the_first_pass_behind_one_shot_data_that_were_left_is_the_next_one():
    class Listening(list):
        def set_epoch(self, number: int) -> None:
            heard.append(number)

    heard: list[int] = []
    engine = Engine(lambda engine, batch: None)
    engine.attach(SamplerSeed())
    engine.run(iter(range(9)), max_iters=2, epoch_length=4)
    engine.run(Listening("abc"), max_iters=3)
    assert set(heard) == {1}


def test_batches_that_answer_every_name_are_left_alone():
    class Batch(dict):
        __getattr__ = dict.__getitem__

    engine = Engine(lambda engine, batch: None)
    engine.attach(SamplerSeed())
    assert engine.run([Batch(x=1), Batch(x=2)], max_epochs=2).iteration == 4
