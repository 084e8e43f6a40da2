"""What is run to see in which order hooks are called: a module, callbacks and data that note each.

Of every hook that Lightning documents its class, name, and plain arguments are noted.
"""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import torch
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from lightning.pytorch.callbacks import Checkpoint
from lightning.pytorch.core.hooks import CheckpointHooks, DataHooks, ModelHooks

__all__ = ["SCENARIOS", "Failure", "Play", "Scenario"]

_STEPS = ("training_step", "validation_step", "test_step", "predict_step", "backward")
_OPTIMIZING = (
    "configure_callbacks",
    "configure_gradient_clipping",
    "configure_optimizers",
    "lr_scheduler_step",
    "optimizer_step",
    "optimizer_zero_grad",
)
_OF_DATA = ("prepare_data", "setup", "teardown", "on_exception", "state_dict", "load_state_dict")
_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")


class Failure(Exception):
    """What a scenario raises on purpose."""


@dataclass(frozen=True)
class Scenario:
    """One run.

    Attributes:
        name: of its file.
        call: what is called: ``fit``, ``validate``, ``test`` or ``predict``.
        trainer: arguments of Lightning's Trainer besides those of every run.
        runner: the same of the Runner.
        batches: in an epoch of training.
        val_loaders: loaders of two batches each; without any, there is no validation.
        skips_at: the batch at which ``on_train_batch_start`` says to leave the epoch.
        fails_at: the batch at which ``training_step`` raises.
        manual: whether the module optimizes itself.
        resumes: whether the run goes on from a checkpoint of its first epoch.
    """

    name: str
    call: str = "fit"
    trainer: Mapping[str, Any] = field(default_factory=dict)
    runner: Mapping[str, Any] = field(default_factory=dict)
    batches: int = 3
    val_loaders: int = 1
    skips_at: int | None = None
    fails_at: int | None = None
    manual: bool = False
    resumes: bool = False

    def __str__(self) -> str:
        return self.name


_ONE = {"max_epochs": 1, "num_sanity_val_steps": 0}
_OURS = {"train_cfg": {"max_epochs": 1}}

SCENARIOS = (
    Scenario(
        "fit",
        trainer={"max_epochs": 2, "num_sanity_val_steps": 1},
        runner={"train_cfg": {"max_epochs": 2, "sanity_check": 1}},
    ),
    Scenario(
        "accumulated",
        trainer={**_ONE, "accumulate_grad_batches": 2},
        runner={**_OURS, "optim_wrapper": {"accumulative_counts": 2}},
    ),
    Scenario(
        "val_check_interval",
        trainer={**_ONE, "val_check_interval": 0.5},
        runner={"train_cfg": {"max_epochs": 1, "val_interval": "50%"}},
        batches=4,
    ),
    Scenario(
        "limited",
        trainer={**_ONE, "limit_train_batches": 2, "limit_val_batches": 1},
        runner={
            "train_cfg": {"max_epochs": 1, "limit_batches": 2},
            "val_cfg": {"limit_batches": 1},
        },
    ),
    Scenario(
        "max_steps",
        trainer={"max_epochs": -1, "max_steps": 5, "num_sanity_val_steps": 0},
        runner={"train_cfg": {"max_steps": 5}},
    ),
    Scenario(
        "skipped",
        trainer={**_ONE, "max_epochs": 2},
        runner={"train_cfg": {"max_epochs": 2}},
        val_loaders=0,
        skips_at=1,
    ),
    Scenario("failed", trainer=_ONE, runner=_OURS, fails_at=1),
    Scenario("several_loaders", trainer=_ONE, runner=_OURS, val_loaders=2, batches=1),
    Scenario("manual", trainer=_ONE, runner=_OURS, manual=True),
    Scenario(
        "resumed",
        trainer={**_ONE, "max_epochs": 2},
        runner={"train_cfg": {"max_epochs": 2}},
        resumes=True,
    ),
    Scenario("validate", "validate", val_loaders=2),
    Scenario("test", "test"),
    Scenario("predict", "predict"),
)
"""Every scenario, one file each."""


class Play:
    """A scenario's module, callbacks and data, and what they have noted."""

    def __init__(self, scenario: Scenario) -> None:
        self.lines: list[str] = []
        self.scenario = scenario
        self.module = self._noted(_Module, "module", _hooks_of_modules())(scenario)
        data = _Data if scenario.val_loaders else _TrainingData
        self.data = self._noted(data, "data", _hooks_of_data(data))(scenario)
        self.callbacks = [
            self._noted(_Callback, "callback", _hooks_of_callbacks())(),
            self._noted(_Keeper, "checkpoint", _hooks_of_callbacks())(),
        ]

    def _noted(self, base: type, word: str, hooks: list[str]) -> Any:
        """A class whose hooks note that they are called, and do what they did."""
        methods = {name: self._noting(getattr(base, name), word, name) for name in hooks}
        return type(base.__name__.strip("_"), (base,), methods)

    def _noting(self, method: Any, word: str, name: str) -> Any:
        def noted(this: Any, *given: Any, **named: Any) -> Any:
            values = (*given, *named.values())
            plain = [
                str(getattr(one, "value", one)) for one in values if isinstance(one, (int, str))
            ]
            self.lines.append(" ".join([word, name, *plain]))
            return method(this, *given, **named)

        noted.__name__ = name
        noted.__signature__ = inspect.signature(method)  # type: ignore[attr-defined]
        return noted


class _Module(LightningModule):
    """A linear model, in which everything is done in Lightning's plainest way."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self.net = torch.nn.Linear(2, 1)
        self.scenario = scenario
        self.automatic_optimization = not scenario.manual

    def training_step(self, batch: Any, batch_idx: int) -> Any:
        if batch_idx == self.scenario.fails_at:
            raise Failure(f"batch {batch_idx}")
        loss = self.net(batch).square().mean()
        if self.scenario.manual:
            optimizer: Any = self.optimizers()
            optimizer.zero_grad()
            self.manual_backward(loss)
            optimizer.step()
        return loss

    def validation_step(self, batch: Any, batch_idx: int, dataloader_idx: int = 0) -> None:
        self.log("val_loss", self.net(batch).square().mean())

    def test_step(self, batch: Any, batch_idx: int) -> None:
        self.log("test_loss", self.net(batch).square().mean())

    def predict_step(self, batch: Any, batch_idx: int) -> Any:
        return self.net(batch)

    def on_train_batch_start(self, batch: Any, batch_idx: int) -> int | None:
        return -1 if batch_idx == self.scenario.skips_at else None

    def configure_optimizers(self) -> Any:
        sgd = torch.optim.SGD(self.parameters(), lr=0.1)
        return [sgd], [torch.optim.lr_scheduler.StepLR(sgd, 1)]


class _TrainingData(LightningDataModule):
    """Batches of ones, and a state."""

    def __init__(self, scenario: Scenario) -> None:
        super().__init__()
        self.scenario = scenario

    def state_dict(self) -> dict[str, Any]:
        return {"batches": self.scenario.batches}

    def train_dataloader(self) -> Any:
        return _loader(self.scenario.batches)


class _Data(_TrainingData):
    """Such for everything."""

    def val_dataloader(self) -> Any:
        loaders = [_loader(2) for _ in range(self.scenario.val_loaders)]
        return loaders if len(loaders) > 1 else loaders[0]

    def test_dataloader(self) -> Any:
        return _loader(2)

    def predict_dataloader(self) -> Any:
        return _loader(2)


class _Callback(Callback):
    """Any callback, with a state."""

    def state_dict(self) -> dict[str, Any]:
        return {"kept": 1}


class _Keeper(Checkpoint):
    """A callback of the kind that Lightning puts at the end of the list."""

    def state_dict(self) -> dict[str, Any]:
        return {"kept": 2}


def _loader(batches: int) -> Any:
    return torch.utils.data.DataLoader(torch.ones(2 * batches, 2), batch_size=2)


def _hooks_of(*kinds: type) -> list[str]:
    return [name for kind in kinds for name, one in vars(kind).items() if _is_hook(name, one)]


def _is_hook(name: str, one: object) -> bool:
    return callable(one) and not name.startswith("_")


def _hooks_of_modules() -> list[str]:
    documented = _hooks_of(ModelHooks, DataHooks, CheckpointHooks)
    not_ours = {*_LOADERS, "prepare_data", "configure_sharded_model"}  # the data module has them
    return [name for name in (*documented, *_STEPS, *_OPTIMIZING) if name not in not_ours]


def _hooks_of_data(kind: type) -> list[str]:
    base = LightningDataModule
    loaders = [name for name in _LOADERS if getattr(kind, name) is not getattr(base, name)]
    return [*loaders, *_OF_DATA]


def _hooks_of_callbacks() -> list[str]:
    return _hooks_of(Callback)
