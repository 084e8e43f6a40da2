"""Optimizations by the names of MMEngine's wrappers; MMEngine itself is not needed."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from footplate import Engine, Events
from footplate.engine.step.mmengine.optim_wrapper import OptimWrapper, OptimWrapperDict
from footplate.engine.step.optimization import Optimization
from footplate.engine.step.training import training_step


def wrapped(accumulate=1, kind=torch.optim.SGD, **options):
    weight = nn.Parameter(torch.tensor([1.0]))
    optimizer = kind([weight], lr=0.1, **options)
    return weight, OptimWrapper(Optimization(optimizer, accumulate=accumulate))


@pytest.mark.covers("C3")
def test_its_parts_make_the_update():
    weight, by_parts = wrapped(2)
    other, whole = wrapped(2)
    for factor in (2.0, 4.0, 6.0, 8.0):
        whole.update_params((other * factor).sum())
        follows = by_parts.should_sync()
        by_parts.backward(by_parts.scale_loss((weight * factor).sum()))
        assert by_parts.should_update() is follows
        if by_parts.should_update():
            by_parts.step()
            by_parts.zero_grad()
    assert torch.equal(weight, other)
    assert weight.item() == pytest.approx(1 - 0.1 * 3 - 0.1 * 7, abs=1e-6)
    assert (whole.inner_count, by_parts.inner_count) == (4, 4)


@pytest.mark.covers("C3")
def test_what_it_tells():
    _, wrapper = wrapped(momentum=0.9)
    assert (wrapper.get_lr(), wrapper.get_momentum()) == ({"lr": [0.1]}, {"momentum": [0.9]})
    assert wrapper.param_groups is wrapper.optimizer.param_groups
    assert wrapper.defaults["lr"] == 0.1
    _, adam = wrapped(kind=torch.optim.AdamW, betas=(0.8, 0.9))
    both = OptimWrapperDict(first=wrapper, second=adam)
    assert both.get_momentum() == {"first.momentum": [0.9], "second.momentum": [0.8]}
    assert both.get_lr() == {"first.lr": [0.1], "second.lr": [0.1]}
    assert (list(both.keys()), len(both), "second" in both) == (["first", "second"], 2, True)
    both.load_state_dict(both.state_dict())
    with pytest.raises(AttributeError, match=r"optim_wrapper\[name\]\.update_params"):
        both.update_params(torch.tensor(1.0))


@pytest.mark.covers("C3")
def test_gradients_as_zeros_are_refused():
    _, wrapper = wrapped()
    with pytest.raises(TypeError, match="would leave zeros"):
        wrapper.zero_grad(set_to_none=False)


class Told(nn.Module):
    """A model with a step in MMEngine's manner, of no class of MMEngine's."""

    def __init__(self):
        super().__init__()
        self.a, self.b = nn.Linear(1, 1), nn.Linear(1, 1)

    def train_step(self, data, optim_wrapper):
        loss = self.b(self.a(data)).square().mean()
        optim_wrapper["a"].backward(loss, retain_graph=True)
        self.reached = self.b.weight.grad is not None
        optim_wrapper["a"].step()
        optim_wrapper["b"].step()
        return {"loss": loss}


@pytest.mark.covers("C3", "C7")
def test_a_loss_gives_gradients_to_all_and_steps_are_announced():
    model, steps = Told(), []
    optimizers = {name: torch.optim.SGD(getattr(model, name).parameters(), 0.1) for name in "ab"}
    trainer = Engine(training_step(model, optimizers), name="train")
    before = model.b.weight.item()

    @trainer.on("OPTIMIZER_STEPPED")
    def note(engine, optimization):
        steps.append(optimization.name)

    trainer.run([torch.ones(2, 1)] * 2)
    assert model.reached
    assert steps == ["a", "b", "a", "b"]
    assert model.b.weight.item() != before


class Adversaries(nn.Module):
    """As GANs are written for MMEngine: what the generator's loss leaves in the critic stays."""

    def __init__(self, lets_go=False):
        super().__init__()
        torch.manual_seed(0)
        self.generator, self.critic = nn.Linear(2, 3), nn.Linear(3, 1)
        self.lets_go = lets_go

    def train_step(self, data, optim_wrapper):
        made = self.generator(data)
        told = self.critic(made.detach()).square().mean() - self.critic(data.new_ones(4, 3)).mean()
        optim_wrapper["critic"].update_params(told)
        fooled = self.critic(made).tanh().mean()
        optim_wrapper["generator"].update_params(fooled)
        if self.lets_go:
            optim_wrapper["critic"].zero_grad()
        return {"told": told.detach(), "fooled": fooled.detach()}


class Zeroing(torch.optim.SGD):
    """Leaves zeros, as optimizers did once."""

    def zero_grad(self, set_to_none=False):
        super().zero_grad(set_to_none=False)


def trained(cut=None, state=None, kind=torch.optim.SGD, accumulate=1, **how):
    """The weights of a model, and the state of its run behind an iteration."""
    model, saved = Adversaries(**how), []
    optimizers = {
        name: Optimization(
            kind(getattr(model, name).parameters(), 0.1, momentum=0.5), accumulate=accumulate
        )
        for name in ("generator", "critic")
    }
    trainer = Engine(training_step(model, optimizers), name="train")

    @trainer.on(Events.SAFE_POINT)
    def save(engine):
        if engine.state.iteration == cut:
            saved.append(copy.deepcopy((model.state_dict(), engine.state_dict())))

    if state is not None:
        model.load_state_dict(state[0])
        trainer.load_state_dict(state[1])
    torch.manual_seed(1)
    trainer.run(list(torch.randn(6, 4, 2)), max_epochs=2)
    return nn.utils.parameters_to_vector(model.parameters()), saved[-1] if saved else None


@pytest.mark.covers("C6", "G4")
@pytest.mark.parametrize("cut", [1, 6, 8])
@pytest.mark.parametrize("accumulate", [1, 2])
@pytest.mark.parametrize("kind", [torch.optim.SGD, Zeroing])
def test_gradients_that_the_loss_of_another_has_left_are_saved(cut, accumulate, kind):
    whole, _ = trained(kind=kind, accumulate=accumulate)
    _, state = trained(cut, kind=kind, accumulate=accumulate)
    rest, _ = trained(state=state, kind=kind, accumulate=accumulate)
    assert torch.equal(rest, whole)


@pytest.mark.covers("C6", "G4")
@pytest.mark.parametrize("kind", [torch.optim.SGD, Zeroing])
def test_where_none_are_left_none_are_saved(kind):
    for lets_go in (False, True):
        _, (_, state) = trained(3, kind=kind, lets_go=lets_go)
        handlers = state["footplate"]["handlers"]
        assert handlers["generator"]["window"] is None
        assert (handlers["critic"]["window"] is None) is lets_go
