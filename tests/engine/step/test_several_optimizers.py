"""Steps with several optimizers: whose turn it is, what each of them touches, and by hand."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from footplate import Engine
from footplate.engine.step.accumulation import Accumulation
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.events import StepEvents
from footplate.engine.step.optimization import Optimization
from footplate.engine.step.training import training_step
from footplate.engine.step.turns import alternately, by_frequency, simultaneously
from tests.engine.step.models import Both, batches, sgd

LOSSES = {
    "first": lambda model, batch: F.mse_loss(model.first(batch[0]), batch[1]),
    "second": lambda model, batch: F.mse_loss(model(batch[0]), batch[1]),
}


def optimizers(model):
    return {
        "first": torch.optim.Adam(model.first.parameters(), lr=0.1),
        "second": sgd(model.second),
    }


def stepped(trainer):
    """Pairs of iteration and optimizer, in the order of the steps."""
    seen = []

    @trainer.on(StepEvents.OPTIMIZER_STEPPED)
    def note(engine, optimization):
        seen.append((engine.state.iteration, optimization.name))

    return seen


@pytest.mark.covers("C6")
@pytest.mark.parametrize(
    ("turns", "expected"),
    [
        (None, [(1, "first"), (1, "second"), (2, "first"), (2, "second")]),
        (
            simultaneously("second", "first"),
            [(1, "second"), (1, "first"), (2, "second"), (2, "first")],
        ),
        (alternately("first", "second"), [(1, "first"), (2, "second")]),
        (by_frequency(second=2, first=1), [(1, "second"), (2, "second")]),
        (lambda iteration: ["first"] if iteration else [], [(2, "first")]),
    ],
)
def test_whose_turn_it_is(turns, expected):
    model = Both()
    trainer = Engine(training_step(model, optimizers(model), LOSSES, turns=turns))
    seen = stepped(trainer)
    trainer.run(batches(2))
    assert seen == expected


@pytest.mark.covers("C6")
def test_each_trains_its_own_parameters_as_a_plain_loop_would():
    model = Both()
    plain = copy.deepcopy(model)
    trained = optimizers(plain)
    for batch in batches(10):
        for name, loss in LOSSES.items():
            plain.zero_grad()
            loss(plain, batch).backward()
            trained[name].step()
    Engine(training_step(model, optimizers(model), LOSSES)).run(batches(10))
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.covers("C6")
def test_one_does_not_leave_gradients_with_the_other():
    model, left = Both(), []
    trainer = Engine(training_step(model, optimizers(model), LOSSES))

    @trainer.on(StepEvents.OPTIMIZER_STEP_STARTED)
    def look(optimization):
        if optimization.name == "second":
            left.extend(one.grad for one in model.first.parameters())

    trainer.run(batches(1))
    assert left == [None, None]


@pytest.mark.covers("C6")
def test_reports_are_named_after_their_optimizers():
    model = Both()
    losses = {**LOSSES, "second": lambda model, batch: {"loss": model(batch[0]).sum(), "n": 4}}
    output = Engine(training_step(model, optimizers(model), losses)).run(batches(1)).output
    assert list(output) == ["first_loss", "second_loss", "second_n"]


@pytest.mark.covers("C6")
def test_one_loss_for_all_of_them_is_one_backward():
    model = Both()
    plain = copy.deepcopy(model)
    trained = optimizers(plain)
    for x, y in batches(5):
        F.mse_loss(plain(x), y).backward()
        for one in trained.values():
            one.step()
            one.zero_grad()
    trainer, backward = Engine(training_step(model, optimizers(model), F.mse_loss)), []
    trainer.on(StepEvents.BACKWARD_COMPLETED)(lambda e: backward.append(e.state.iteration))
    assert list(trainer.run(batches(5)).output) == ["loss"]
    for one, other in zip(model.parameters(), plain.parameters(), strict=True):
        assert torch.equal(one, other)
    assert backward == [1, 2, 3, 4, 5]


@pytest.mark.covers("C6")
def test_some_share_a_loss_and_others_do_not():
    model = nn.ModuleDict({name: nn.Linear(3, 1) for name in "abc"})
    losses = {
        "a+b": lambda model, batch: (model["a"](batch[0]) + model["b"](batch[0])).square().mean(),
        "c": lambda model, batch: model["c"](batch[0]).square().mean(),
    }
    named = {name: sgd(model[name]) for name in "abc"}
    turns = alternately(("a", "b"), "c")
    trainer = Engine(training_step(model, named, losses, turns=turns))
    seen = stepped(trainer)
    trainer.run(batches(3))
    assert seen == [(1, "a"), (1, "b"), (2, "c"), (3, "a"), (3, "b")]


@pytest.mark.covers("C8")
@pytest.mark.covers("C6")
def test_clipping_is_by_key():
    model, norms = Both(), {}
    clip = {"second": ClipNorm(0.01)}
    trainer = Engine(training_step(model, optimizers(model), LOSSES, clip=clip))

    @trainer.on(StepEvents.OPTIMIZER_STEP_STARTED)
    def note(optimization):
        norms[optimization.name] = nn.utils.get_total_norm(
            [one.grad for one in optimization.parameters]
        ).item()

    trainer.run(batches(1))
    assert norms["second"] == pytest.approx(0.01, rel=1e-3)
    assert norms["first"] > 0.1


@pytest.mark.covers("C6")
def test_each_has_a_window_of_its_own():
    model = Both()
    named = optimizers(model)
    step = training_step(
        model,
        {
            "first": Optimization(named["first"], accumulate=2),
            "second": Optimization(named["second"], accumulate=3),
        },
        LOSSES,
    )
    trainer = Engine(step)
    seen = stepped(trainer)
    trainer.run(batches(4))
    assert seen == [(2, "first"), (3, "second"), (4, "first"), (4, "second")]


@pytest.mark.covers("C6")
@pytest.mark.covers("G4")
def test_all_of_them_are_saved_with_the_engine():
    def made():
        model = Both()
        step = training_step(
            model,
            optimizers(model),
            LOSSES,
            accumulate=Accumulation(2),
            turns=by_frequency(second=3, first=2),
        )
        return model, Engine(step)

    whole, trainer = made()
    trainer.run(batches(11))
    for stop in range(1, 11):
        first, before = made()
        before.on("SAFE_POINT")(
            lambda e, stop=stop: e.interrupt() if e.state.iteration == stop else None
        )
        before.run(batches(11))
        again, after = made()
        again.load_state_dict(first.state_dict())
        after.load_state_dict(before.state_dict())
        after.run(batches(11))
        for one, other in zip(again.parameters(), whole.parameters(), strict=True):
            assert torch.equal(one, other), stop


@pytest.mark.covers("C5")
def test_by_hand_a_gan_is_a_short_step():
    torch.manual_seed(0)
    real = 2 + 0.5 * torch.randn(4096, 1)
    generator = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Linear(16, 1))
    critic = nn.Sequential(nn.Linear(1, 16), nn.LeakyReLU(0.2), nn.Linear(16, 1))
    g = Optimization(torch.optim.Adam(generator.parameters(), 2e-3, (0.5, 0.9)), name="g")
    c = Optimization(
        torch.optim.Adam(critic.parameters(), 2e-3, (0.5, 0.9)), name="c", clip=ClipNorm(5.0)
    )

    def step(engine, batch):
        fake = generator(torch.randn(len(batch), 4))
        c_loss = F.softplus(-critic(batch)).mean() + F.softplus(critic(fake.detach())).mean()
        c.update(c_loss)
        g_loss = F.softplus(-critic(fake)).mean()
        g.update(g_loss)
        return {"c_loss": c_loss.detach(), "g_loss": g_loss.detach()}

    trainer = Engine(step, name="train")
    trainer.attach(c)
    trainer.attach(g)
    seen = stepped(trainer)
    trainer.run(real.split(64), max_epochs=10)
    assert seen[:4] == [(1, "c"), (1, "g"), (2, "c"), (2, "g")]
    assert generator(torch.randn(2000, 4)).mean().item() == pytest.approx(2.0, abs=0.4)
    assert trainer.state_dict()["footplate"]["handlers"].keys() == {"c", "g"}


def test_a_turn_of_nobody_is_refused():
    model = Both()
    trainer = Engine(training_step(model, optimizers(model), LOSSES, turns=alternately("frist")))
    with pytest.raises(ValueError, match=r"turn of 'frist', but .* Did you mean 'first'"):
        trainer.run(batches(1))


def test_an_optimizer_without_a_loss_is_refused():
    model = Both()
    with pytest.raises(ValueError, match=r"there is no loss for 'second'; there are losses for"):
        training_step(model, optimizers(model), {"first": LOSSES["first"]})


def test_a_turn_that_shares_no_loss_is_refused():
    model = Both()
    turns = simultaneously(("first", "second"))
    trainer = Engine(training_step(model, optimizers(model), LOSSES, turns=turns))
    with pytest.raises(ValueError, match=r"turn of 'first\+second', for which there is no loss"):
        trainer.run(batches(1))


def test_who_shares_a_loss_shares_the_window():
    model = Both()
    named = optimizers(model)
    step = training_step(
        model,
        {"first": Optimization(named["first"], accumulate=2), "second": named["second"]},
        F.mse_loss,
    )
    with pytest.raises(ValueError, match="share a loss, so they need windows of the same size"):
        Engine(step).run(batches(1))


def test_who_shares_a_loss_can_not_scale_it():
    model = Both()
    step = training_step(model, optimizers(model), F.mse_loss, precision="fp16")
    with pytest.raises(ValueError, match="share a loss, which fp16 would scale for each"):
        Engine(step).run(batches(1))


def test_frequencies_and_names_are_checked():
    with pytest.raises(ValueError, match="d is a whole number from 1 on, given 0"):
        by_frequency(d=0)
    with pytest.raises(ValueError, match="no names of optimizers"):
        alternately()
