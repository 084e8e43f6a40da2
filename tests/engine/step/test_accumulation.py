"""Gradients of a window are those of all of its samples at once, whatever its shape."""

from __future__ import annotations

import copy

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch import nn
from torch.nn import functional as F

from footplate import Engine
from footplate.engine.errors import StateError
from footplate.engine.step.accumulation import Accumulation, Window
from footplate.engine.step.events import StepEvents
from footplate.engine.step.optimization import Optimization
from footplate.engine.step.training import training_step
from tests.engine.step.models import batches, line, sgd

TOKENS = -100  # what cross_entropy leaves out


def model():
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 5), nn.Tanh(), nn.Linear(5, 4)).double()


def ragged(sizes, masked=False):
    torch.manual_seed(1)
    data = []
    for size in sizes:
        y = torch.randint(0, 4, (size,))
        if masked and size > 1:
            y[: size // 2] = TOKENS
        data.append((torch.randn(size, 3, dtype=torch.float64), y))
    return data


def whole(window):
    return torch.cat([x for x, _ in window]), torch.cat([y for _, y in window])


def gradients_of(net, window):
    """Of the full batch."""
    twin = copy.deepcopy(net)
    twin.zero_grad()
    x, y = whole(window)
    F.cross_entropy(twin(x), y).backward()
    return [one.grad for one in twin.parameters()]


def tokens(batch):
    return (batch[1] != TOKENS).sum()


def samples(batch):
    return len(batch[0])


@pytest.mark.covers("C7")
@settings(deadline=None, max_examples=60)
@given(
    sizes=st.lists(st.integers(1, 5), min_size=1, max_size=9),
    window=st.integers(1, 5),
    epoch_length=st.integers(1, 9),
    carries=st.booleans(),
    weigh=st.sampled_from([samples, tokens]),
    clip=st.booleans(),
)
def test_gradients_are_those_of_the_full_batch(sizes, window, epoch_length, carries, weigh, clip):
    net, data = model(), ragged(sizes, masked=weigh is tokens)
    epoch_length = min(epoch_length, len(data))
    seen, held = [], []
    end = "carry" if carries else "flush"
    step = training_step(
        net,
        torch.optim.SGD(net.parameters(), lr=0.5),
        F.cross_entropy,
        accumulate=Accumulation(window, at_epoch_end=end),
        weigh=weigh,
    )
    trainer = Engine(step)

    @trainer.on(StepEvents.FORWARD_STARTED)
    def hold(batch):
        held.append(batch)

    @trainer.on(StepEvents.GRADIENTS_READY)
    def compare(optimization):
        seen.append(len(held))
        expected = gradients_of(net, held)
        for one, other in zip(optimization.parameters, expected, strict=True):
            torch.testing.assert_close(one.grad, other, rtol=1e-6, atol=1e-12)
        held.clear()

    epochs = len(data) // epoch_length
    trainer.run(data[: epochs * epoch_length], max_epochs=epochs, epoch_length=epoch_length)
    assert seen == windows(epochs, epoch_length, window, carries=carries)


def windows(epochs, length, size, *, carries):
    """How many batches each step is of, counted plainly."""
    if carries:
        return [size] * (epochs * length // size)
    return [min(size, length - first) for _ in range(epochs) for first in range(0, length, size)]


@pytest.mark.covers("C7")
def test_without_weights_each_batch_counts_the_same():
    net, data, seen = line(), batches(3), []
    step = training_step(net, sgd(net, lr=0.0), F.mse_loss, accumulate=3)
    trainer = Engine(step)

    @trainer.on(StepEvents.GRADIENTS_READY)
    def note():
        seen.append(net.weight.grad.clone())

    trainer.run(data)
    alone = []
    for x, y in data:
        net.zero_grad()
        F.mse_loss(net(x), y).backward()
        alone.append(net.weight.grad)
    torch.testing.assert_close(seen[0], sum(alone) / 3)


@pytest.mark.covers("C7")
def test_sizes_follow_the_epoch():
    net, stepped = line(), []
    step = training_step(net, sgd(net), F.mse_loss, accumulate={1: 1, 2: 3, 4: 2})
    trainer = Engine(step)
    trainer.on(StepEvents.OPTIMIZER_STEPPED)(lambda e: stepped.append(e.state.iteration))
    trainer.run(batches(4), max_epochs=4)
    assert stepped == [1, 2, 3, 4, 7, 8, 11, 12, 14, 16]


def test_a_window_that_is_carried_keeps_its_size():
    net, stepped = line(), []
    accumulate = Accumulation({1: 3, 2: 1}, at_epoch_end="carry")
    trainer = Engine(training_step(net, sgd(net), F.mse_loss, accumulate=accumulate))
    trainer.on(StepEvents.OPTIMIZER_STEPPED)(lambda e: stepped.append(e.state.iteration))
    trainer.run(batches(4), max_epochs=2)
    assert stepped == [3, 6, 7, 8]


@pytest.mark.covers("C7")
def test_data_of_unknown_length_are_flushed_when_they_end():
    class Unsized:
        def __iter__(self):
            return iter(batches(5))

    net, stepped = line(), []
    trainer = Engine(training_step(net, sgd(net), F.mse_loss, accumulate=3))

    @trainer.on(StepEvents.OPTIMIZER_STEPPED)
    def note(engine):
        stepped.append((engine.state.epoch, engine.state.iteration))

    evaluated = []
    trainer.on("EPOCH_COMPLETED", priority="ABOVE_NORMAL")(lambda: evaluated.append(len(stepped)))
    trainer.run(Unsized(), max_epochs=2)
    assert stepped == [(1, 3), (1, 5), (2, 8), (2, 10)]
    assert evaluated == [2, 4]


def test_a_window_is_flushed_where_max_iters_ends_the_run():
    net, stepped = line(), []
    trainer = Engine(training_step(net, sgd(net), F.mse_loss, accumulate=4))
    trainer.on(StepEvents.OPTIMIZER_STEPPED)(lambda e: stepped.append(e.state.iteration))
    trainer.run(batches(10), max_iters=6)
    assert stepped == [4, 6]


def test_a_window_is_flushed_where_the_epoch_is_terminated():
    net, stepped = line(), []
    trainer = Engine(training_step(net, sgd(net), F.mse_loss, accumulate=4))
    trainer.on(StepEvents.OPTIMIZER_STEPPED)(lambda e: stepped.append(e.state.iteration))
    trainer.on("ITERATION_COMPLETED", priority="LOW")(
        lambda e: e.terminate_epoch() if e.state.iteration == 2 else None
    )
    trainer.run(batches(4), max_epochs=2)
    assert stepped == [2, 6]


@pytest.mark.covers("G4")
@pytest.mark.parametrize("at_epoch_end", ["flush", "carry"])
@pytest.mark.parametrize("precision", ["fp32", "fp16"])
@pytest.mark.parametrize("stop", range(1, 11))
def test_a_run_goes_on_in_the_midst_of_a_window(stop, precision, at_epoch_end):
    def made():
        net = line()
        step = training_step(
            net,
            torch.optim.Adam(net.parameters(), lr=0.1),
            F.mse_loss,
            accumulate=Accumulation(3, at_epoch_end=at_epoch_end),
            precision=precision,
            weigh=lambda batch: torch.tensor(float(len(batch[0]))),
        )
        return net, Engine(step)

    net, trainer = made()
    trainer.run(batches(5), max_epochs=2)

    first, before = made()

    @before.on("SAFE_POINT")
    def pause(engine):
        if engine.state.iteration == stop:
            engine.interrupt()

    before.run(batches(5), max_epochs=2)
    state = before.state_dict()
    again, after = made()
    again.load_state_dict(first.state_dict())
    after.load_state_dict(state)
    after.run(batches(5), max_epochs=2)
    assert torch.equal(again.weight, net.weight)
    for event in (StepEvents.OPTIMIZER_STEPPED, StepEvents.OPTIMIZER_STEP_SKIPPED):
        assert after.state.counts[event] == trainer.state.counts[event]


def test_the_state_of_a_window_can_be_loaded_safely(tmp_path):
    net = line()
    trainer = Engine(training_step(net, sgd(net), F.mse_loss, accumulate=4))
    trainer.on("ITERATION_COMPLETED")(lambda e: e.interrupt())
    trainer.run(batches(4))
    torch.save(trainer.state_dict(), tmp_path / "state.pt")
    loaded = torch.load(tmp_path / "state.pt", weights_only=True)
    window = loaded["footplate"]["handlers"]["optimization"]["window"]
    assert window["held"] == 1
    assert torch.equal(window["gradients"][0], net.weight.grad)


def test_an_error_in_backward_lets_the_window_go():
    class Fails(torch.autograd.Function):
        @staticmethod
        def forward(ctx, x):
            return x.clone()

        @staticmethod
        def backward(ctx, gradient):
            raise ArithmeticError("no gradient")

    net = line()
    optimization = Optimization(sgd(net), accumulate=3)
    optimization.update(net.weight.sum())
    with pytest.raises(ArithmeticError, match="no gradient") as caught:
        optimization.update(Fails.apply(net.weight).sum())
    assert any("lets go of its open window: 1 held" in note for note in caught.value.__notes__)
    assert net.weight.grad is None
    assert optimization.window.held == 0


@pytest.mark.parametrize(
    ("size", "says"),
    [
        (0, "accumulate is a whole number from 1 on, given 0"),
        (-2, "whole number from 1"),
        (2.5, "whole number from 1 on, given 2.5; give 2 or 3"),
        (True, "whole number from 1"),
        ({2: 4}, r"nothing of epoch 1; epochs count from 1: \{1: 1, 2: 4\}"),
        ({0: 4}, "an epoch of accumulate={epoch: size} is a whole number from 1"),
        ({}, "nothing of epoch 1"),
    ],
)
def test_other_sizes_are_refused(size, says):
    with pytest.raises(ValueError, match=says):
        Accumulation(size)


def test_other_ends_are_refused():
    with pytest.raises(ValueError, match=r"or 'carry', given 'flash'. Did you mean 'flush'"):
        Accumulation(2, at_epoch_end="flash")


def test_weights_are_for_all_batches_of_a_window_or_for_none():
    window = Window(3)
    window.add(2.0)
    with pytest.raises(ValueError, match="either all batches have a weight or none"):
        window.add(None)
    with pytest.raises(ValueError, match="0 or more, given -1"):
        window.add(-1)


def test_a_window_refuses_a_foreign_state():
    with pytest.raises(StateError, match="a window's state has"):
        Window().load_state_dict({"held": 1})


def test_an_optimization_refuses_a_foreign_state():
    optimization = Optimization(sgd(line()))
    with pytest.raises(StateError, match="has optimizer, scaler and window, not"):
        optimization.load_state_dict({"state": {}})
    half = Optimization(sgd(line()), precision="fp16")
    with pytest.raises(StateError, match="saved without a scaler, but its precision is 'fp16'"):
        half.load_state_dict(optimization.state_dict())
    with pytest.raises(StateError, match="saved with a scaler, but its precision is 'fp32'"):
        optimization.load_state_dict(half.state_dict())


def test_it_works_in_a_plain_loop():
    net, expected = line(), line()
    optimization = Optimization(sgd(net), accumulate=2)
    for x, y in (data := batches(2)):
        optimization.update(F.mse_loss(net(x), y), weight=len(x))
    x, y = whole(data)
    F.mse_loss(expected(x), y).backward()
    sgd(expected).step()
    torch.testing.assert_close(net.weight, expected.weight)
