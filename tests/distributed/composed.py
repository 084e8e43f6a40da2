"""Runners that are called in each of several processes, and told of by plain values."""

from __future__ import annotations

import time
import warnings
from typing import Any

import torch
from torch import nn

from footplate import Engine, Runner
from footplate.engine.errors import StateError
from footplate.engine.placement.ranks import world_size
from footplate.engine.step.lr_finder import find_lr
from footplate.engine.step.training import training_step
from footplate.handlers.limits import MaxTime
from footplate.handlers.stop_together import StopTogether
from footplate.recipes.config.problems import ConfigError

__all__ = ["refused", "search_refused", "trained"]

GLOBAL_BATCH = 8


class Rows(torch.utils.data.Dataset[tuple[torch.Tensor, torch.Tensor]]):
    """Rows of random numbers, each of one of three classes."""

    def __init__(self, size: int = 48) -> None:
        generator = torch.Generator().manual_seed(1)
        self.x = torch.randn(size, 6, generator=generator)
        self.y = self.x[:, :3].argmax(1)

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return self.x[index], self.y[index]

    def __len__(self) -> int:
        return len(self.x)


def config(folder: str, **more: Any) -> dict[str, Any]:
    """A small run over a batch of eight in all."""
    torch.manual_seed(4)
    batch = GLOBAL_BATCH // world_size()
    return {
        "model": nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Linear(8, 3)),
        "work_dir": folder,
        "train_dataloader": {"dataset": Rows(), "batch_size": batch, "shuffle": True},
        "val_dataloader": {"dataset": Rows(9), "batch_size": batch},
        "val_evaluator": {"type": "Accuracy"},
        "train_cfg": {"max_epochs": 3, "loss": nn.functional.cross_entropy},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}},
        "randomness": {"seed": 5},
        "default_hooks": {"report": None},
        **more,
    }


def trained(folder: str, more: dict[str, Any]) -> dict[str, Any]:
    """The weights, learning rate, metrics and folder of a run."""
    runner = Runner(**config(folder, **more))
    model = runner.train()
    weights = torch.cat([_whole(one).reshape(-1) for one in model.parameters()])
    return {
        "weights": weights.tolist(),
        "lr": runner.optim_wrapper.optimizer.param_groups[0]["lr"],
        "metrics": dict(runner.trainer.state.metrics),
        "folder": str(runner.folder),
        "placement": type(runner.placement).__name__,
    }


class Spare(nn.Module):
    """A network beside a layer that nothing calls."""

    def __init__(self) -> None:
        super().__init__()
        self.network, self.spare = nn.Linear(6, 3), nn.Linear(2, 2)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.network(x)


def trained_in_part(folder: str, wrapper: dict[str, Any]) -> list[float] | str:
    """The weights of a run in which some get no gradient, or what is said of it."""
    try:
        model = Runner(**config(folder, model=Spare(), model_wrapper_cfg=wrapper)).train()
    except RuntimeError as error:
        return "\n".join([str(error), *error.__notes__])
    return model.network.weight.flatten().tolist()


def _whole(one: torch.Tensor) -> torch.Tensor:
    gather = getattr(one, "full_tensor", None)
    return (one if gather is None else gather()).detach()


def refused(folder: str, more: dict[str, Any]) -> str:
    """What is said of a runner that is not made."""
    try:
        Runner(**config(folder, **more))
    except ConfigError as error:
        return str(error)
    return "nothing"


def search_refused() -> str:
    """What is said of a search for a learning rate."""
    model = nn.Linear(2, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Engine(training_step(model, sgd, nn.functional.mse_loss), name="train")
    try:
        find_lr(trainer, [(torch.ones(1, 2), torch.ones(1, 1))])
    except RuntimeError as error:
        return str(error)
    return "nothing"


def own_step(folder: str) -> list[str]:
    """What is warned of where several processes have a step of their own."""
    given = {"max_epochs": 1, "step": lambda engine, batch: {"loss": batch[0].mean()}}
    runner = Runner(**config(folder, train_cfg=given))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        runner.trainer  # noqa: B018
    return [str(one.message) for one in caught]


def own_grace(folder: str) -> list[float]:
    """How long a signal may wait in a run that says so itself."""
    hooks = [{"type": "StopTogether", "grace": 60}]
    trainer = Runner(**config(folder, custom_hooks=hooks)).trainer
    return [one.grace for one in trainer.handlers.values() if isinstance(one, StopTogether)]


def nothing_to_resume(folder: str) -> str:
    """What is said of a checkpoint that is not there."""
    try:
        Runner(**config(folder, resume=f"{folder}/nothing")).train()
    except (StateError, RuntimeError) as error:
        return str(error)
    return "nothing"


def limited_within(folder: str) -> list[Any]:
    """How a run ended that is nested in another, and has a limit of time."""
    inner = Engine(lambda engine, batch: time.sleep(0.01), name="train")
    inner.attach(MaxTime(0.3))
    outer = Engine(lambda engine, batch: inner.run(range(300)).iteration < 300, name="folds")
    state = outer.run([0])
    return [state.output, inner.state.reason]
