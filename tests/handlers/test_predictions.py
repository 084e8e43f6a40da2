"""Outputs are gathered in the data set's order, or streamed and let go."""

from __future__ import annotations

import io
import weakref
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    SubsetRandomSampler,
    TensorDataset,
)

from footplate import Engine, Events
from footplate.engine.combined import combined
from footplate.engine.data.device import DeviceLoader
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.errors import HandlerError, StateError
from footplate.handlers.predictions import Predictions
from footplate.handlers.sanity_check import SanityCheck

pytestmark = pytest.mark.covers("B7")


@dataclass
class Prediction:
    scores: torch.Tensor
    names: list


class Numbers(Dataset):
    def __len__(self) -> int:
        return 7

    def __getitem__(self, index: int) -> int:
        return index


def predictor(step: Any = lambda batch: batch) -> Engine:
    return Engine(lambda engine, batch: step(batch), name="predict")


def predicted(step: Any, data: Any = None, **options: Any) -> Any:
    engine = predictor(step)
    predictions = engine.attach(Predictions(**options))
    engine.run(DataLoader(Numbers(), batch_size=3) if data is None else data)
    return predictions.outputs


# ------------------------------------------------------------------ gathering


@pytest.mark.parametrize("workers", [0, 2])
def test_a_models_outputs_are_those_of_the_whole_data_set_at_once(workers):
    torch.manual_seed(0)
    x, model = torch.randn(10, 3), torch.nn.Linear(3, 2)
    loader = DataLoader(TensorDataset(x), batch_size=4, num_workers=workers)
    outputs = predicted(lambda batch: model(batch[0]), loader)
    torch.testing.assert_close(outputs, model(x).detach())
    assert not outputs.requires_grad


def test_every_kind_of_leaf_is_joined_its_way():
    def step(batch: torch.Tensor) -> dict:
        return {
            "tensor": (batch, batch.float()[:, None]),
            "array": batch.numpy(),
            "list": [f"n{one}" for one in batch.tolist()],
            "scalar": batch.sum(),
            "number": len(batch),
            "record": Prediction(batch * 2, [one[None] for one in batch]),
        }

    outputs = predicted(step)
    assert outputs["tensor"][0].tolist() == list(range(7))
    assert outputs["tensor"][1].shape == (7, 1)
    assert isinstance(outputs["array"], np.ndarray)
    assert outputs["array"].tolist() == list(range(7))
    assert outputs["list"] == [f"n{one}" for one in range(7)]
    assert outputs["scalar"].tolist() == [3, 12, 6]
    assert outputs["number"] == [3, 3, 1]
    assert outputs["record"].scores.tolist() == [0, 2, 4, 6, 8, 10, 12]
    assert len(outputs["record"].names) == 7


def test_a_single_batch_has_the_same_form():
    outputs = predicted(lambda batch: {"n": len(batch), "s": batch.sum()}, [torch.arange(3)])
    assert outputs == {"n": [3], "s": torch.tensor([3])}


def test_shapes_that_differ_go_into_lists():
    outputs = predicted(lambda batch: [torch.ones(one) for one in batch.tolist()])
    assert [len(one) for one in outputs] == list(range(7))


def test_there_are_none_before_the_first_batch_and_some_on_the_way():
    engine, seen = predictor(), []
    predictions = engine.attach(Predictions())
    assert predictions.outputs is None
    engine.on(Events.ITERATION_COMPLETED)(lambda: seen.append(predictions.outputs.tolist()))
    engine.run(DataLoader(Numbers(), batch_size=4))
    assert seen == [[0, 1, 2, 3], [0, 1, 2, 3, 4, 5, 6]]


def test_the_device_is_chosen():
    assert predicted(lambda batch: batch, device="meta").is_meta
    assert predicted(lambda batch: batch.to("meta"), device=None).is_meta


def test_a_new_run_forgets():
    engine = predictor()
    predictions = engine.attach(Predictions())
    engine.run([torch.tensor([1]), torch.tensor([2])])
    engine.run([torch.tensor([3])])
    assert predictions.outputs.tolist() == [3]


def test_fewer_batches_than_a_pass_are_enough():
    engine = predictor()
    predictions = engine.attach(Predictions())
    engine.run(DataLoader(Numbers()), max_iters=3)
    assert predictions.outputs.tolist() == [0, 1, 2]


def test_a_batch_that_is_run_again_after_an_error_counts_once():
    engine, failures = predictor(), [2]
    predictions = engine.attach(Predictions())

    @engine.on(Events.ITERATION_COMPLETED, priority="LOWEST")
    def fail(engine):
        if engine.state.iteration in failures:
            raise RuntimeError(failures.pop())

    with pytest.raises(RuntimeError):
        engine.run(DataLoader(Numbers(), batch_size=3))
    engine.run()
    assert predictions.outputs.tolist() == list(range(7))


# ------------------------------------------------------------------ streaming


def test_a_writer_is_handed_each_batch_and_nothing_is_kept():
    written, alive = [], []

    def write(outputs: dict, batch_idx: int) -> None:
        written.append((batch_idx, outputs["y"].tolist()))
        alive.append(weakref.ref(outputs["y"]))
        assert [ref() is not None for ref in alive] == [False] * batch_idx + [True]

    outputs = predicted(lambda batch: {"y": batch * 2}, writer=write)
    assert written == [(0, [0, 2, 4]), (1, [6, 8, 10]), (2, [12])]
    assert outputs is None


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.usefixtures("no_collector")
def test_a_stream_holds_one_batch_at_most(workers):
    """Neither batch nor output nor what was written is there when the next batch is worked on."""
    model, alive, most = torch.nn.Linear(1, 3), [], []

    def step(engine: Engine, batch: torch.Tensor) -> dict:
        most.append([ref() is not None for ref in alive])
        output = {"y": model(batch[:, None].float()), "names": Names(map(str, batch.tolist()))}
        alive.extend(map(weakref.ref, (batch, output["y"], output["names"])))
        return output

    def write(outputs: dict, batch_idx: int) -> None:
        alive.extend(map(weakref.ref, (outputs["y"], outputs["names"])))

    engine = Engine(step, name="predict")
    engine.attach(Predictions(write))
    engine.run(DataLoader(Numbers(), batch_size=2, num_workers=workers))
    assert [len(seen) for seen in most] == [0, 5, 10, 15]
    assert not any(map(any, most))


class Names(list):
    """A list that can be weakly referred to."""


def test_a_resumed_stream_goes_on_counting():
    def make() -> tuple[Engine, list]:
        engine, written = predictor(), []
        engine.attach(Predictions(lambda outputs, batch_idx: written.append(batch_idx)))
        return engine, written

    first, begun = make()
    first.on(Events.ITERATION_COMPLETED(once=2))(lambda e: e.interrupt())
    first.run(DataLoader(Numbers(), batch_size=2))
    second, rest = make()
    second.load_state_dict(first.state_dict())
    second.run(DataLoader(Numbers(), batch_size=2))
    assert (begun, rest) == ([0, 1], [2, 3])


# ------------------------------------------------------------------ going on


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_a_resumed_run_has_all_outputs(cut):
    def make() -> tuple[Engine, Predictions]:
        engine = predictor(lambda batch: {"y": batch, "names": [f"n{n}" for n in batch.tolist()]})
        return engine, engine.attach(Predictions())

    first, _ = make()
    first.on(Events.ITERATION_COMPLETED(once=cut))(lambda e: e.interrupt())
    first.run(DataLoader(Numbers(), batch_size=2))
    file = io.BytesIO()
    torch.save(first.state_dict(), file)
    file.seek(0)

    second, predictions = make()
    second.load_state_dict(torch.load(file, weights_only=True))
    second.run(DataLoader(Numbers(), batch_size=2))
    assert predictions.outputs["y"].tolist() == list(range(7))
    assert predictions.outputs["names"] == [f"n{n}" for n in range(7)]


def test_a_state_without_its_outputs_is_refused():
    engine = predictor(lambda batch: batch.numpy())
    engine.attach(Predictions())
    engine.on(Events.ITERATION_COMPLETED(once=1))(lambda e: e.interrupt())
    engine.run(DataLoader(Numbers(), batch_size=2))
    other = predictor()
    other.attach(Predictions())
    with pytest.raises(StateError, match="no plain values or tensors; predict from the start"):
        other.load_state_dict(engine.state_dict())


# ------------------------------------------------------------------ what is refused


def random_order() -> list:
    numbers = Numbers()
    shuffling = DataLoader(numbers, shuffle=True)
    return [
        shuffling,
        DataLoader(numbers, sampler=SubsetRandomSampler(range(3))),
        DataLoader(numbers, sampler=DistributedSampler(numbers, 1, 0)),
        DataLoader(numbers, batch_sampler=BatchSampler(RandomSampler(numbers), 2, False)),
        DataLoader(numbers, batch_sampler=[[2, 1], [0]]),
        DataLoader(numbers, num_workers=1, in_order=False),
        DeviceLoader(shuffling, "cpu"),
        DeviceLoader(combined({"a": [1], "b": shuffling}), "cpu"),
    ]


@pytest.mark.parametrize("which", range(len(random_order())))
def test_a_loader_out_of_order_is_refused_when_the_run_starts(which):
    steps = []
    engine = predictor(steps.append)
    engine.attach(Predictions())
    with pytest.raises(ValueError, match=r"Give a loader with shuffle=False"):
        engine.run(random_order()[which])
    assert not steps


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(7))


@pytest.mark.parametrize(
    "data",
    [
        DataLoader(Numbers(), sampler=DistributedSampler(Numbers(), 1, 0, shuffle=False)),
        DataLoader(Numbers(), batch_size=None),
        DataLoader(Stream()),
        DeviceLoader(DataLoader(Numbers()), "cpu"),
    ],
)
def test_loaders_in_order_are_taken(data):
    assert predicted(torch.as_tensor, data).flatten().tolist() == list(range(7))


def test_any_order_is_taken_if_it_does_not_matter():
    outputs = predicted(lambda batch: batch, DataLoader(Numbers(), shuffle=True), ordered=False)
    assert sorted(outputs.tolist()) == list(range(7))


@pytest.mark.parametrize("limits", [{"max_epochs": 2}, {"max_iters": 3}])
def test_a_second_pass_is_refused(limits):
    engine = predictor()
    engine.attach(Predictions())
    with pytest.raises(ValueError, match=r"one pass over the data.*run with max_epochs=1"):
        engine.run([torch.ones(1), torch.ones(1)], **limits)


def test_a_step_that_returns_nothing_is_refused():
    with pytest.raises(ValueError, match="returned None; predictions are what it returns"):
        predicted(lambda batch: None)


@pytest.mark.parametrize(
    ("outputs", "message"),
    [
        ([{"y": torch.ones(2, 3)}, {"y": torch.ones(2, 4)}], r"differ at y: .*\(3,\).*\(4,\)"),
        ([torch.ones(2, 3), torch.ones(2, 4)], r"outputs differ: Tensor rows of shape \(3,\)"),
        ([{"y": torch.ones(2)}, {"y": np.ones(2)}], "differ at y: Tensor.* ndarray"),
        ([{"y": torch.ones(2)}, {"z": torch.ones(2)}], "structures differ at the top"),
    ],
)
def test_a_batch_that_does_not_fit_is_refused_at_once(outputs, message):
    with pytest.raises(ValueError, match=message) as raised:
        predicted(lambda batch: batch, outputs)
    assert any("ITERATION_COMPLETED" in note for note in raised.value.__notes__)


def test_a_writer_is_a_function():
    with pytest.raises(TypeError, match=r"given 'out\.txt'"):
        Predictions("out.txt")


def test_it_is_for_one_engine():
    predictions, owner = Predictions(), predictor()
    owner.attach(predictions)
    with pytest.raises(HandlerError, match="keeps values of it"):
        predictor().attach(predictions)


@pytest.mark.parametrize("streamed", [False, True])
def test_a_sanity_check_predicts_nothing(streamed):
    written = []
    predictor = Engine(lambda engine, batch: torch.tensor([batch]), name="predict")
    predictions = Predictions((lambda *given: written.append(given)) if streamed else None)
    predictor.attach(predictions)
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(SanityCheck(predictor, [1.0, 2.0]))
    trainer.run([0])
    assert written == []
    predictor.run([3.0])
    if streamed:
        assert [(outputs.item(), number) for outputs, number in written] == [(3.0, 0)]
    else:
        assert torch.equal(predictions.outputs, torch.tensor([3.0]))


def test_data_in_memory_that_are_shuffled_are_refused():
    engine = Engine(lambda engine, batch: batch, name="predict")
    engine.attach(Predictions())
    with pytest.raises(ValueError, match="a InMemoryLoader shuffles"):
        engine.run(InMemoryLoader(torch.arange(4), 2, shuffle=True))
    engine.run(InMemoryLoader(torch.arange(4), 2))
