"""Training runs that are the same in one process and in several, called in each of them."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.engine.data.order import ordered_loader
from footplate.engine.placement.ranks import rank, world_size
from footplate.engine.placement.replicated import Replicated
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.training import training_step

__all__ = ["trained"]

GLOBAL_BATCH = 8


def trained(case: str) -> dict[str, Any]:
    """The weights, norms and losses of a short run over a batch of eight in all."""
    torch.manual_seed(3)
    return CASES[case]()


def _data(size: int = 48) -> list[tuple[torch.Tensor, torch.Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, 6, generator=generator)
    return [*zip(x, x.sum(1, keepdim=True).sin(), strict=True)]


def _loader(dataset: Any, batch: int = GLOBAL_BATCH) -> Any:
    options = {"shuffle": True, "seed": 5, "rank": rank(), "world_size": world_size()}
    return ordered_loader(dataset, batch // world_size(), **options)


def _network() -> nn.Module:
    return nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 1))


def _told(model: nn.Module, **more: Any) -> dict[str, Any]:
    weights = torch.cat([one.detach().reshape(-1) for one in model.parameters()])
    return {"weights": weights.tolist(), **more}


def _ran(
    model: nn.Module, step: Any, data: Any, *, epochs: int = 3, **options: Any
) -> dict[str, Any]:
    trainer, steps, norms = Engine(step, name="train"), [], []
    trainer.add_event_handler("OPTIMIZER_STEPPED", lambda: steps.append(1))

    @trainer.on("CLIPPING_COMPLETED")
    def note(engine: Engine, norm: torch.Tensor) -> None:
        norms.append(norm.item())

    trainer.run(data, max_epochs=epochs, **options)
    return _told(model, steps=len(steps), norms=norms)


def _simple(**options: Any) -> dict[str, Any]:
    model = Replicated("cpu").place(_network())
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    step = training_step(model, sgd, F.mse_loss, placement=Replicated("cpu"), **options)
    return _ran(model, step, _loader(_data()))


def _endless_epoch() -> dict[str, Any]:
    """The end of an epoch is not known before, and a window is open there."""
    model = _network()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    step = training_step(model, sgd, F.mse_loss, placement=Replicated("cpu"), accumulate=4)
    loader = _loader(_data())

    class Unsized:
        def __iter__(self) -> Any:
            return iter(loader)

    return _ran(model, step, Unsized(), epochs=2)


def _weighed(accumulate: int) -> dict[str, Any]:
    """Losses are means over the words of a batch, of which processes have different numbers."""
    torch.manual_seed(7)
    lengths = torch.randint(1, 9, (48,)).tolist()
    words = [torch.randn(n, 6) for n in lengths]
    model = _network()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    step = training_step(
        model,
        sgd,
        F.mse_loss,
        placement=Replicated("cpu"),
        accumulate=accumulate,
        weigh=lambda batch: len(batch[0]),
    )
    options = {"shuffle": True, "seed": 5, "rank": rank(), "world_size": world_size()}
    loader = ordered_loader(
        words, GLOBAL_BATCH // world_size(), collate_fn=_joined_words, **options
    )
    return _ran(model, step, loader)


def _joined_words(samples: list[torch.Tensor]) -> tuple[torch.Tensor, torch.Tensor]:
    x = torch.cat(samples)
    return x, x.sum(1, keepdim=True).sin()


class _Pair(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.a, self.b = _network(), _network()


def _two_optimizers() -> dict[str, Any]:
    model = _Pair()
    optimizers = {
        "a": torch.optim.SGD(model.a.parameters(), lr=0.1),
        "b": torch.optim.Adam(model.b.parameters(), lr=0.01),
    }
    losses = {
        "a": lambda model, batch: F.mse_loss(model.a(batch[0]), batch[1]),
        "b": lambda model, batch: F.mse_loss(model.b(batch[0]), model.a(batch[0]).detach()),
    }
    step = training_step(model, optimizers, losses, placement=Replicated("cpu"))
    return _ran(model, step, _loader(_data()))


class _StepsItself(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network = _network()

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, torch.Tensor]:
        with optim_wrapper.optim_context(self):
            loss = F.mse_loss(self.network(data[0]), data[1])
        optim_wrapper.update_params(loss)
        return {"loss": loss}


def _steps_itself() -> dict[str, Any]:
    model = _StepsItself()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    step = training_step(model, sgd, placement=Replicated("cpu"), accumulate=2)
    return _ran(model, step, _loader(_data()))


class _StepMethods(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.network, self.unused = _network(), nn.Linear(2, 2)

    def train_step(self, batch: Any) -> dict[str, torch.Tensor]:
        return {"loss": F.mse_loss(self.network(batch[0]), batch[1])}


def _unused_parameters() -> dict[str, Any]:
    model = _StepMethods()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    placement = Replicated("cpu", find_unused_parameters=True)
    return _ran(model, training_step(model, sgd, placement=placement), _loader(_data()))


def _unfrozen() -> dict[str, Any]:
    """A part of the network is trained from the second epoch on."""
    model = _network()
    model[0].requires_grad_(False)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    step = training_step(model, sgd, F.mse_loss, placement=Replicated("cpu"))
    trainer = Engine(step, name="train")

    @trainer.on(Events.EPOCH_COMPLETED(once=1))
    def unfreeze() -> None:
        model[0].requires_grad_(True)

    trainer.run(_loader(_data()), max_epochs=3)
    return _told(model, steps=1, norms=[])


def gradients_of(accumulate: int) -> list[list[float]]:
    """The gradients that each batch leaves, before anything is done with them."""
    model = nn.Linear(6, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    placement = Replicated("cpu")
    step = training_step(model, sgd, F.mse_loss, placement=placement, accumulate=accumulate)
    trainer, seen = Engine(step, name="train"), []

    @trainer.on("BACKWARD_COMPLETED")
    def note() -> None:
        assert model.weight.grad is not None
        seen.append(model.weight.grad.flatten().tolist())

    trainer.run(_loader(_data()))
    return seen


def buffers_of(case: str) -> list[float]:
    """The running means of a model, which all processes are to have when a window begins."""
    pair = nn.ModuleDict({"a": nn.BatchNorm1d(6), "b": nn.Linear(6, 1)})
    pair["a"].running_mean.fill_(float(rank()))
    placement = Replicated("cpu")
    placement.place(pair)
    seen: list[list[float]] = []

    def loss(model: Any, batch: Any) -> torch.Tensor:
        seen.append(model["a"].running_mean.tolist())
        return F.mse_loss(model["b"](model["a"](batch[0])), batch[1])

    optimizers = {name: torch.optim.SGD(part.parameters(), lr=0.1) for name, part in pair.items()}
    losses = {"a": loss, "b": loss} if case == "turns" else {"a+b": loss}
    step = training_step(pair, optimizers, losses, placement=placement)
    Engine(step, name="train").run(_loader(_data()))
    return [one for means in seen[:: len(losses)] for one in means]


def skips() -> str:
    """What is said of a step that skips a batch."""
    model = _network()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    step = training_step(model, sgd, lambda y_pred, y: None, placement=Replicated("cpu"))
    try:
        Engine(step).run(_loader(_data()))
    except ValueError as error:
        return str(error)
    return "nothing"


def aligned() -> list[float]:
    """Buffers that differed, behind aligning them."""
    model = nn.BatchNorm1d(2)
    model.running_mean.fill_(float(rank() + 1))
    model.num_batches_tracked.fill_(rank() + 5)
    Replicated("cpu").align(model)
    return [*model.running_mean.tolist(), model.num_batches_tracked.item()]


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": _simple,
    "accumulated": functools.partial(_simple, accumulate=2),
    "ragged": functools.partial(_simple, accumulate=4),
    "clipped": lambda: _simple(clip=ClipNorm(0.05), accumulate=2),
    "endless epoch": _endless_epoch,
    "weighed": functools.partial(_weighed, 1),
    "weighed and accumulated": functools.partial(_weighed, 3),
    "two optimizers": _two_optimizers,
    "steps itself": _steps_itself,
    "unused parameters": _unused_parameters,
    "unfrozen": _unfrozen,
}
