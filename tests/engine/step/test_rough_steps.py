"""Steps that fail, are cut off, or are asked for odd things."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.engine.step.accumulation import Accumulation
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.contracts import Supervised
from footplate.engine.step.events import StepEvents
from footplate.engine.step.optimization import Optimization
from footplate.engine.step.precision import Precision
from footplate.engine.step.training import training_step
from footplate.engine.step.turns import by_frequency
from footplate.handlers.gradient_norms import GradientNorms
from tests.engine.step.models import Both, Stepping, batches, line, sgd


def scalar(**options):
    """A weight that starts at 0, and an engine whose batches are its gradients."""
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    contract = Supervised(model, lambda y_pred, y: (y_pred * y).sum(), unpack=lambda g: (ONE, g))
    step = training_step(model, sgd(model, lr=1.0), contract=contract, **options)
    return model, Engine(step, name="train")


ONE = torch.ones(1, 1)


def stepped(engine):
    seen = []
    engine.on(StepEvents.OPTIMIZER_STEPPED)(lambda e: seen.append(e.state.iteration))
    return seen


class Unsized:
    def __init__(self, data):
        self.data = data

    def __iter__(self):
        return iter(self.data)


@pytest.mark.filterwarnings("ignore:the run goes on behind batch:RuntimeWarning")
@pytest.mark.covers("C9")
@pytest.mark.parametrize("stop", range(1, 6))
def test_fp16_goes_on_in_an_open_window_that_is_flushed_at_once(stop):
    def made():
        net = line()
        precision = Precision("fp16", init_scale=256.0)
        return net, Engine(
            training_step(net, sgd(net), F.mse_loss, accumulate=3, precision=precision)
        )

    whole, trainer = made()
    trainer.run(Unsized(batches(5)))
    first, before = made()
    before.on("SAFE_POINT")(lambda e: e.interrupt() if e.state.iteration == stop else None)
    before.run(Unsized(batches(5)))
    net, after = made()
    net.load_state_dict(first.state_dict())
    after.load_state_dict(before.state_dict())
    after.run(Unsized(batches(5)))
    assert torch.equal(net.weight, whole.weight)


@pytest.mark.parametrize("precision", ["fp32", Precision("fp16", init_scale=4.0)])
@pytest.mark.parametrize(
    "event", [StepEvents.GRADIENTS_READY, StepEvents.OPTIMIZER_STEPPED, StepEvents.CLIPPING_STARTED]
)
def test_an_error_within_a_step_lets_the_window_go(event, precision):
    model, trainer = scalar(accumulate=2, precision=precision, clip=ClipNorm(100.0))
    used = event == StepEvents.OPTIMIZER_STEPPED
    failures = iter([True])

    @trainer.on(event)
    def fails():
        if next(failures, False):
            raise ArithmeticError("no")

    with pytest.raises(ArithmeticError) as caught:
        trainer.run([1.0, 3.0, 5.0, 7.0])
    assert any("lets go of its open window: 2 held" in note for note in caught.value.__notes__)
    assert model.weight.grad is None
    trainer.run()  # the second batch again, then the others
    expected = -(2.0 if used else 0.0) - (3.0 + 5.0) / 2 - 7.0
    assert model.weight.item() == pytest.approx(expected)


def test_a_run_that_starts_anew_begins_with_an_empty_window():
    model, trainer = scalar(accumulate=Accumulation(4, at_epoch_end="carry"))
    trainer.run([100.0, 100.0])
    trainer.state.max_epochs = None
    trainer.run([1.0] * 4)
    assert model.weight.item() == -1.0


def test_terminating_flushes_the_window():
    model, trainer = scalar(accumulate=4)
    trainer.on(Events.ITERATION_COMPLETED(once=2))(lambda e: e.terminate())
    trainer.run([1.0, 3.0, 5.0])
    assert model.weight.item() == -2.0


def test_an_epoch_that_is_terminated_without_completion_flushes_too():
    model, trainer = scalar(accumulate=4)
    end = Events.ITERATION_COMPLETED(once=2)
    trainer.on(end)(lambda e: e.terminate_epoch(skip_epoch_completed=True))
    trainer.run([1.0, 3.0, 5.0], max_epochs=2)
    assert model.weight.item() == -2.0 - 3.0


def test_who_has_no_turn_at_the_end_is_flushed_there():
    model = Both()
    named = {"a": sgd(model.first), "b": sgd(model.second)}
    losses = {
        "a": lambda model, batch: F.mse_loss(model.first(batch[0]), batch[1]),
        "b": lambda model, batch: F.mse_loss(model.second(batch[0]), batch[1]),
    }
    step = training_step(model, named, losses, accumulate=4, turns=by_frequency(a=3, b=1))
    trainer, seen = Engine(step), []
    trainer.on(StepEvents.OPTIMIZER_STEPPED)(lambda optimization: seen.extend([optimization.name]))
    trainer.run(batches(10), max_iters=4)
    assert sorted(seen) == ["a", "b"]


def test_another_accumulation_takes_over_behind_the_open_window():
    _, before = scalar(accumulate=4)
    before.on(Events.SAFE_POINT(once=1))(lambda e: e.interrupt())
    before.run([1.0] * 8)
    _, after = scalar()
    seen = stepped(after)
    after.load_state_dict(before.state_dict())
    after.run([1.0] * 8)
    assert seen == [4, 5, 6, 7, 8]


def test_a_veto_ends_with_its_window_and_is_saved_with_it():
    model = line()
    optimization = Optimization(sgd(model), accumulate=2)
    optimization.update(model.weight.sum())
    optimization.veto()
    again = Optimization(sgd(model), accumulate=2)
    again.load_state_dict(optimization.state_dict())
    optimization.zero_grad()
    updates = [optimization.update(model.weight.sum()) for _ in range(2)]
    assert updates == [False, True]
    again.window.held = 1
    assert again.update(model.weight.sum()) is False


def test_saved_gradients_are_copies():
    model = line()
    optimization = Optimization(sgd(model), accumulate=3)
    optimization.update(model.weight.sum())
    state = optimization.state_dict()
    optimization.update(model.weight.sum())
    assert torch.equal(state["window"]["gradients"][0], torch.ones(1, 3))


def test_loading_lets_gradients_go_that_are_there():
    model = line()
    optimization = Optimization(sgd(model), accumulate=3)
    state = optimization.state_dict()
    optimization.update(model.weight.sum())
    optimization.load_state_dict(state)
    assert model.weight.grad is None
    assert optimization.window.held == 0


def test_a_veto_in_fp16_leaves_the_scaler_ready():
    model, trainer = scalar(precision=Precision("fp16", init_scale=4.0))
    trainer.on(StepEvents.GRADIENTS_READY(once=1))(lambda optimization: optimization.veto())
    trainer.run([1.0, 2.0])
    assert model.weight.item() == -2.0


def test_overflows_without_end_never_count_as_steps():
    _, trainer = scalar(precision=Precision("fp16", init_scale=4.0))
    trainer.run([math.nan] * 300)
    assert trainer.state.get_event_attrib_value("OPTIMIZER_STEPPED") == 0
    assert trainer.state.get_event_attrib_value("OPTIMIZER_STEP_SKIPPED") == 300


@pytest.mark.parametrize("weight", [0, 0.0, torch.tensor(0), torch.tensor(0.0)])
def test_a_window_that_weighs_nothing_changes_nothing(weight):
    model, trainer = scalar(accumulate=2, weigh=lambda batch: weight)
    trainer.run([1.0, 2.0])
    assert model.weight.item() == 0.0


def test_a_loss_of_half_precision_holds_large_weights():
    weight = nn.Parameter(torch.zeros(1, dtype=torch.bfloat16))
    optimization = Optimization(torch.optim.SGD([weight], lr=1.0), accumulate=2)
    for count in (257, 2000):
        optimization.backward(weight.sum(), count)
    assert optimization.window.total == 2257
    assert weight.grad.item() == pytest.approx(2257, rel=2**-8)


def test_a_batch_is_taken_apart_once():
    model, taken = line(), []

    def unpack(batch):
        taken.append(batch)
        return batch

    contract = Supervised(model, F.mse_loss, unpack=unpack)
    Engine(training_step(model, sgd(model), contract=contract)).run(batches(2))
    assert len(taken) == 2


def test_norms_of_several_optimizers_are_kept_apart():
    model = Both()
    named = {"a": sgd(model.first), "b": sgd(model.second)}
    step = training_step(model, named, F.mse_loss, accumulate=2)
    trainer, expected = Engine(step), {}
    norms = GradientNorms(model, groups=None)
    trainer.attach(norms)

    @trainer.on(StepEvents.OPTIMIZER_STEP_STARTED)
    def note(optimization):
        expected[f"grad_norm/{optimization.name}"] = nn.utils.get_total_norm(
            [one.grad for one in optimization.parameters]
        )

    metrics = trainer.run(batches(2)).metrics
    assert metrics.keys() == expected.keys() == {"grad_norm/a", "grad_norm/b"}
    assert all(torch.equal(metrics[name], expected[name]) for name in expected)


def test_by_hand_nobody_finds_gradients_of_another():
    model = Both()
    a = Optimization(sgd(model.first), name="a", accumulate=2)
    b = Optimization(sgd(model.second), name="b", accumulate=2)

    def step(engine, batch):
        a.update(F.mse_loss(model(batch[0]), batch[1]))
        b.update(F.mse_loss(model(batch[0]), batch[1]))

    trainer, seen = Engine(step), []
    trainer.attach(a)
    trainer.attach(b)
    trainer.on(StepEvents.OPTIMIZER_STEPPED)(
        lambda e, optimization: seen.append((e.state.iteration, optimization.name))
    )
    trainer.run(batches(4))
    assert seen == [(2, "a"), (2, "b"), (4, "a"), (4, "b")]
    assert not a.alone


def test_frozen_parameters_are_left_out():
    model = Both()
    model.first.bias.requires_grad_(False)
    before = model.first.bias.clone()
    named = {"a": sgd(model.first), "b": sgd(model.second)}
    losses = dict.fromkeys(named, lambda model, batch: F.mse_loss(model(batch[0]), batch[1]))
    Engine(training_step(model, named, losses)).run(batches(2))
    assert torch.equal(model.first.bias, before)


def test_a_turn_of_frozen_parameters_is_refused():
    model = Both()
    model.first.requires_grad_(False)
    named = {"a": sgd(model.first), "b": sgd(model.second)}
    losses = dict.fromkeys(named, lambda model, batch: F.mse_loss(model(batch[0]), batch[1]))
    with pytest.raises(ValueError, match="all parameters of 'a' are frozen"):
        Engine(training_step(model, named, losses)).run(batches(1))


def test_fp16_without_gradients_is_refused():
    model = Both()
    optimization = Optimization(sgd(model.first), precision="fp16")
    with pytest.raises(ValueError, match="no parameter of 'optimization' has got a gradient"):
        optimization.update(model.second.weight.sum())


def test_an_optimizer_that_needs_a_closure_is_refused():
    with pytest.raises(TypeError, match="LBFGS needs the loss several times a step, by a closure"):
        Optimization(torch.optim.LBFGS(line().parameters()))


@pytest.mark.parametrize("option", ["turns", "weigh", "output"])
def test_options_that_can_not_be_called_are_refused(option):
    model = line()
    with pytest.raises(TypeError, match=f"{option}= is a function, given 3"):
        training_step(model, sgd(model), F.mse_loss, **{option: 3})


def test_outputs_of_turns_that_are_no_dicts_are_named():
    model = Both()
    named = {"a": sgd(model.first), "b": sgd(model.second)}
    losses = dict.fromkeys(named, lambda model, batch: F.mse_loss(model(batch[0]), batch[1]))
    step = training_step(model, named, losses, output=lambda batch, outputs, report: (1, 2))
    assert Engine(step).run(batches(1)).output == {"a_output": (1, 2), "b_output": (1, 2)}


def test_bare_optimizers_and_keywords_reach_train_step():
    class Several(Stepping):
        def train_step(self, data, optimizer, **keywords):
            self.seen = optimizer, keywords
            return super().train_step(data, optimizer)

    model = Several()
    trainer = Engine(training_step(model, {"main": sgd(model)}))
    trainer.state.keywords = {"temperature": 2.0}
    trainer.run(batches(1))
    assert isinstance(model.seen[0], torch.optim.SGD)
    assert model.seen[1] == {"temperature": 2.0}


def test_what_was_counted_outside_of_a_run_is_not_taken_back():
    _, trainer = scalar()
    trainer.run([1.0, 1.0])
    trainer.process(1.0)
    trainer.add_event_handler(Events.OPENED, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.run(max_epochs=2)
    assert trainer.state.counts["OPTIMIZER_STEPPED"] == 3
