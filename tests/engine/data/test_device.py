"""Batches get to the device: all of them, in order, once, and errors at their own batch."""

from __future__ import annotations

import gc
import multiprocessing
import weakref
from collections import UserDict
from dataclasses import dataclass
from typing import Any

import numpy as np
import psutil
import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset

from footplate import Engine, Events
from footplate.engine.combined import combined
from footplate.engine.data.device import DeviceLoader, move
from footplate.engine.errors import DataError
from footplate.engine.samplers import samplers_in
from footplate.engine.step.events import StepEvents
from footplate.handlers.sampler_seed import SamplerSeed

AHEAD = pytest.mark.parametrize("ahead", [None, True])


@dataclass
class Sample:
    image: torch.Tensor
    name: str


class Numbers(Dataset):
    """Its items are their own index; one of them fails."""

    def __init__(self, length: int, broken: int | None = None) -> None:
        self.length = length
        self.broken = broken

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> torch.Tensor:
        if index == self.broken:
            raise OSError(f"sample {index} is broken")
        return torch.tensor(index)


class InPlace(UserDict):
    """A mapping that moves itself in place, as the BatchEncoding of transformers does."""

    def to(self, device: torch.device) -> InPlace:
        self.data = {key: one.to(device) for key, one in self.data.items()}
        return self


# ------------------------------------------------------------------ moving one batch


def test_move_moves_all_that_can_be_moved():
    batch = {
        "image": torch.ones(2),
        "nested": [(torch.ones(1), "name"), Sample(torch.ones(3), "a")],
        "packed": pack_sequence([torch.ones(2), torch.ones(1)]),
        "array": np.ones(2),
    }
    moved = move(batch, "meta")
    assert moved["image"].is_meta
    assert moved["nested"][0][0].is_meta
    assert moved["nested"][1].image.is_meta
    assert moved["packed"].data.is_meta
    assert not moved["packed"].batch_sizes.is_meta  # where packed sequences need them
    assert moved["nested"][0][1] == "name"
    assert moved["array"] is batch["array"]
    assert not batch["image"].is_meta
    assert not batch["nested"][1].image.is_meta


def test_what_moves_itself_in_place_is_not_changed():
    batch = InPlace(ids=torch.ones(2))
    moved = move([batch], "meta")[0]
    assert isinstance(moved, InPlace)
    assert moved["ids"].is_meta
    assert not batch["ids"].is_meta


def test_a_batch_that_is_there_already_is_the_very_same():
    batch = {"x": [torch.ones(1)], "n": 3}
    assert move(batch, "cpu") is batch


def test_an_object_that_takes_non_blocking_is_given_it():
    seen = []

    class Graph:
        def to(self, device: torch.device, non_blocking: bool = False) -> Graph:
            seen.append((device.type, non_blocking))
            return self

    for device in ("meta", "cpu"):
        move(Graph(), device)
    assert seen == [("meta", True), ("cpu", False)]


def test_a_to_that_returns_nothing_is_refused():
    class Forgetful:
        def to(self, device: torch.device) -> None: ...

    with pytest.raises(TypeError, match=r"Forgetful.to\(\) returned None"):
        move([Forgetful()], "meta")


# ------------------------------------------------------------------ a loader


@AHEAD
def test_every_batch_is_moved_in_order_and_again(ahead):
    data = [torch.full((size,), 1.0) for size in range(1, 6)]
    loader = DeviceLoader(data, "meta", ahead=ahead)
    assert len(loader) == 5
    for _ in range(2):
        batches = list(loader)
        assert [batch.shape[0] for batch in batches] == [1, 2, 3, 4, 5]
        assert all(batch.is_meta for batch in batches)


def test_on_the_cpu_batches_pass_as_they_are_and_none_is_read_ahead():
    taken = []

    def batches():
        for number in range(3):
            taken.append({"x": torch.tensor(number)})
            yield taken[-1]

    for number, batch in enumerate(DeviceLoader(batches(), "cpu"), 1):
        assert batch is taken[-1]
        assert len(taken) == number


def test_ahead_takes_one_batch_more_and_not_two():
    taken = []
    loader = DeviceLoader((taken.append(n) or n for n in range(4)), "cpu", ahead=True)
    assert [(batch, len(taken)) for batch in loader] == [(0, 2), (1, 3), (2, 4), (3, 4)]


@pytest.mark.parametrize("device", ["cpu", "meta"])
def test_by_default_only_cuda_reads_ahead(device):
    taken = []

    class Loader(list):
        num_workers = 2

        def __iter__(self):
            return (taken.append(one) or one for one in super().__iter__())

    next(iter(DeviceLoader(Loader([1, 2, 3]), device)))
    assert taken == [1]


def test_data_without_a_length_make_a_loader_without_one():
    class Stream(IterableDataset):
        def __iter__(self):
            return iter(range(3))

    loader = DeviceLoader(DataLoader(Stream(), batch_size=None), "cpu")
    with pytest.raises(TypeError):
        len(loader)
    engine = Engine(lambda engine, batch: None)
    assert engine.run(loader, max_epochs=2).iteration == 6


@AHEAD
def test_one_shot_in_one_shot_out(ahead):
    one_shot = DeviceLoader(iter([1, 2, 3]), "cpu", ahead=ahead)
    assert iter(one_shot) is one_shot
    assert isinstance(one_shot, DeviceLoader)
    assert next(one_shot) == 1
    assert list(one_shot) == [2, 3]
    assert list(one_shot) == []
    assert not hasattr(DeviceLoader([1], "cpu"), "__next__")
    with pytest.raises(DataError, match="one-shot"):
        Engine(lambda e, b: None).run(DeviceLoader(iter([1]), "cpu", ahead=ahead), max_epochs=2)


def test_a_transfer_of_ones_own_moves_the_batches():
    def halved(batch: Any, device: torch.device) -> Any:
        return batch.to(device, torch.float16)

    batches = list(DeviceLoader([torch.ones(2)], "meta", transfer=halved))
    assert [(one.dtype, one.device.type) for one in batches] == [(torch.float16, "meta")]


# ------------------------------------------------------------------ errors


@AHEAD
@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_the_data_comes_at_its_own_batch(ahead, workers):
    data = DataLoader(Numbers(6, broken=3), batch_size=None, num_workers=workers)
    seen = []
    with pytest.raises(OSError, match="sample 3 is broken"):
        seen.extend(batch.item() for batch in DeviceLoader(data, "cpu", ahead=ahead))
    assert seen == [0, 1, 2]
    for worker in multiprocessing.active_children():  # torch's error holds them till the garbage
        worker.terminate()  # is collected, which then waits five seconds for each


@AHEAD
def test_an_error_in_the_transfer_comes_at_its_own_batch(ahead):
    def picky(batch: int, device: torch.device) -> int:
        if batch == 2:
            raise RuntimeError("does not fit")
        return batch

    seen = []
    engine = Engine(lambda engine, batch: seen.append(batch))
    with pytest.raises(RuntimeError, match="does not fit") as raised:
        engine.run(DeviceLoader([0, 1, 2, 3], "cpu", transfer=picky, ahead=ahead))
    assert seen == [0, 1]
    assert any("at batch 3 of pass 1" in note for note in raised.value.__notes__)


@AHEAD
def test_a_one_shot_batch_whose_transfer_failed_is_moved_again(ahead):
    failures = [2]

    def flaky(batch: int, device: torch.device) -> int:
        if batch in failures:
            failures.remove(batch)
            raise RuntimeError("once")
        return batch

    seen = []
    engine = Engine(lambda engine, batch: seen.append(batch))
    with pytest.raises(RuntimeError, match="once"):
        engine.run(DeviceLoader(iter([1, 2, 3]), "cpu", transfer=flaky, ahead=ahead))
    assert seen == [1]
    engine.run()
    assert seen == [1, 2, 3]


@pytest.mark.parametrize(
    ("make", "error", "message"),
    [
        (lambda: DeviceLoader(None, "cpu"), TypeError, "needs data, given None"),
        (lambda: DeviceLoader(3, "cpu"), TypeError, "int can't be iterated over"),
        (lambda: DeviceLoader([1], "gpu"), RuntimeError, "device type at start of device string"),
        (lambda: DeviceLoader([1], "cpu", transfer="move"), TypeError, "given 'move'"),
        (
            lambda: list(DeviceLoader([1], "cpu", transfer=lambda batch, device: None)),
            TypeError,
            "returned None; it returns the batch",
        ),
    ],
)
def test_what_makes_no_loader_is_refused(make, error, message):
    with pytest.raises(error, match=message):
        make()


@pytest.mark.skipif(torch.cuda.is_available(), reason="this machine has CUDA")
def test_cuda_that_is_not_there_is_refused_at_once():
    with pytest.raises(ValueError, match=r"device 'cuda' needs CUDA.*give device='cpu'"):
        DeviceLoader([1], "cuda")


# ------------------------------------------------------------------ events


def test_the_transfer_is_heard_on_the_engine():
    heard = []
    engine = Engine(lambda engine, batch: heard.append("step"))
    loader = DeviceLoader([torch.ones(1), torch.ones(2)], "meta", engine=engine)

    @engine.on(StepEvents.TRANSFER_STARTED)
    def before(batch):
        heard.append(("started", len(batch), batch.device.type))

    @engine.on(StepEvents.TRANSFER_COMPLETED)
    def behind(batch):
        heard.append(("completed", len(batch), batch.device.type))

    engine.run(loader)
    assert heard == [
        ("started", 1, "cpu"), ("completed", 1, "meta"), "step",
        ("started", 2, "cpu"), ("completed", 2, "meta"), "step",
    ]  # fmt: skip


def test_nothing_goes_ahead_while_somebody_listens():
    taken, heard = [], []
    engine = Engine(lambda engine, batch: None)
    data = [0, 1, 2, 3, 4]
    loader = DeviceLoader(
        data, "cpu", engine=engine, ahead=True, transfer=lambda b, _: taken.append(b) or b
    )
    walk = iter(loader)
    assert (next(walk), taken) == (0, [0, 1])
    listening = engine.add_event_handler(
        StepEvents.TRANSFER_COMPLETED, lambda engine, batch: heard.append(batch)
    )
    assert (next(walk), taken) == (1, [0, 1])  # was there before anybody listened
    assert (next(walk), taken) == (2, [0, 1, 2])
    listening.remove()
    assert (next(walk), taken) == (3, [0, 1, 2, 3, 4])
    assert heard == [2]


@pytest.mark.usefixtures("no_collector")
def test_the_engine_is_held_weakly():
    engine = Engine(lambda engine, batch: None)
    loader = DeviceLoader([1, 2], "cpu", engine=engine, ahead=True)
    engine.run(loader)
    gone = weakref.ref(engine)
    del engine
    assert gone() is None
    assert list(loader) == [1, 2]


# ------------------------------------------------------------------ in a run


def shuffled(ahead: bool | None) -> DeviceLoader:
    sampler = DistributedSampler(Numbers(8), num_replicas=1, rank=0, seed=1)
    return DeviceLoader(DataLoader(Numbers(8), batch_size=2, sampler=sampler), "cpu", ahead=ahead)


def test_sampler_seed_finds_the_sampler():
    loader = shuffled(None)
    assert list(samplers_in(loader)) == [loader.loader.sampler]


@AHEAD
@pytest.mark.parametrize("epoch_length", [None, 3])
def test_a_resumed_run_goes_on_with_the_right_batches(ahead, epoch_length):
    def make() -> tuple[Engine, list]:
        seen: list = []
        engine = Engine(lambda engine, batch: seen.append(batch.tolist()))
        engine.attach(SamplerSeed())
        return engine, seen

    engine, unbroken = make()
    saved = []
    engine.on(Events.SAFE_POINT)(lambda e: saved.append((e.state_dict(), len(unbroken))))
    engine.run(shuffled(ahead), max_epochs=2, epoch_length=epoch_length)
    assert len({str(batch) for batch in unbroken}) > 4  # the passes differ
    for state, position in saved[:-1]:
        resumed, rest = make()
        resumed.load_state_dict(state)
        resumed.run(shuffled(ahead))
        assert unbroken[:position] + rest == unbroken


@AHEAD
@pytest.mark.parametrize("one_shot", [False, True])
def test_an_interrupted_run_goes_on_with_the_right_batches(ahead, one_shot):
    seen = []
    engine = Engine(lambda engine, batch: seen.append(batch))
    data = [1, 2, 3, 4, 5]
    loader = DeviceLoader(iter(data) if one_shot else data, "cpu", ahead=ahead)
    engine.on(Events.ITERATION_COMPLETED(every=2))(lambda e: e.interrupt())
    engine.run(loader, epoch_length=5)
    while engine.state.iteration < 5:
        engine.run()
    assert seen == data


@pytest.mark.parametrize("one_shot", [False, True])
def test_batches_that_are_skipped_are_not_moved(one_shot):
    moved = []

    def noting(batch: int, device: torch.device) -> int:
        moved.append(batch)
        return batch

    data = [1, 2, 3, 4]
    walk = iter(DeviceLoader(iter(data) if one_shot else data, "cpu", transfer=noting))
    assert walk.skip(2) == 2
    assert list(walk) == moved == [3, 4]
    assert walk.skip(1) == 0


# ------------------------------------------------------------------ lifetimes


def children() -> set[int]:
    return {child.pid for child in psutil.Process().children(recursive=True)}


@AHEAD
@pytest.mark.parametrize("one_shot", [False, True])
@pytest.mark.usefixtures("no_collector")
def test_closing_early_lets_go_of_workers(ahead, one_shot):
    before = children()
    data = DataLoader(Numbers(20), batch_size=2, num_workers=2)
    walk = iter(DeviceLoader(iter(data) if one_shot else data, "cpu", ahead=ahead))
    next(walk)
    workers = children() - before
    assert len(workers) == 2
    del walk
    assert not children() & workers


@AHEAD
def test_a_terminated_run_lets_go_of_workers(ahead):
    before = children()
    engine = Engine(lambda engine, batch: engine.terminate())
    engine.run(DeviceLoader(DataLoader(Numbers(20), num_workers=2), "cpu", ahead=ahead))
    gc.collect()
    assert not children() - before


@AHEAD
def test_batches_are_let_go_behind_their_turn(ahead):
    walk = iter(DeviceLoader((torch.ones(n) for n in range(1, 4)), "cpu", ahead=ahead))
    gone = []
    for _ in range(3):
        gone.append(weakref.ref(next(walk)))
    assert [ref() for ref in gone] == [None, None, None]


def test_it_goes_into_combined_and_around_it():
    inner = combined([DeviceLoader([torch.ones(1)], "meta"), [torch.ones(2)]])
    assert [one.device.type for one in next(iter(inner))] == ["meta", "cpu"]
    outer = DeviceLoader(combined([[torch.ones(1)], iter([torch.ones(2)])]), "meta")
    assert iter(outer) is outer
    assert [one.device.type for one in next(outer)] == ["meta", "meta"]


@pytest.mark.parametrize("one_shot", [False, True])
def test_a_resumed_run_hears_no_transfer_of_the_batches_that_it_skips(one_shot):
    def make() -> tuple[Engine, DeviceLoader, list]:
        heard: list = []
        engine = Engine(lambda engine, batch: None)
        data = [1, 2, 3, 4]
        loader = DeviceLoader(iter(data) if one_shot else data, "cpu", engine=engine)
        engine.on(StepEvents.TRANSFER_STARTED)(lambda engine, batch: heard.append(batch))
        return engine, loader, heard

    first, loader, begun = make()
    first.on(Events.ITERATION_COMPLETED(once=2))(lambda e: e.interrupt())
    first.run(loader, epoch_length=4)
    second, loader, rest = make()
    second.load_state_dict(first.state_dict())
    second.run(loader)
    assert begun + rest == [1, 2, 3, 4]


def test_transfers_are_shown_within_the_iteration():
    engine = Engine(lambda engine, batch: None)
    DeviceLoader([1], "cpu", engine=engine)
    for event in (Events.ITERATION_COMPLETED, StepEvents.TRANSFER_STARTED):
        engine.add_event_handler(event, lambda: None)
    assert [row.event for row in engine.describe()] == ["TRANSFER_STARTED", "ITERATION_COMPLETED"]
