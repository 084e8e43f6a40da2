"""Guests: what models of other systems bring to a runner besides their layers."""

from __future__ import annotations

import importlib
from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING, Any

from torch import nn

from ...engine.combined import Mode
from ...engine.engine import Engine
from ...engine.handler import Handler
from ...engine.step.contract import Contract
from ...engine.step.guests import descends_from
from ...engine.step.optimization import Optimization
from ...handlers.lr_schedule import LRSchedule

if TYPE_CHECKING:
    from ..runner import Runner

__all__ = ["Guest", "guest_of", "kind_of"]

_KINDS = {
    ("LightningModule", "lightning", "pytorch_lightning"): (
        "footplate.recipes.composition.lightning.guest",
        "LightningGuest",
    ),
    ("BaseModel", "mmengine"): ("footplate.recipes.composition.mmengine.guest", "MMEngineGuest"),
}
"""Where what knows of a system is, by a model's base class and the packages it may come from."""


class Guest:
    """What a model brings along; a plain one brings nothing.

    Each method says what the runner shall take in the place of its own, or ``None``.

    Args:
        runner: whose model it is.

    Attributes:
        measures: whether the model's own steps measure what there is to measure, so that an
            evaluation needs no metrics.
        own_optimizers: whether the model brings its optimizers, so that ``optim_wrapper`` may say
            how they are driven alone.
        names_metrics: whether the model itself names what a validation measures, so that training
            knows that by the same names, with no ``val_`` before them.
        combine: when a pass over several training loaders ends, where the user does not say it.
    """

    measures = False
    own_optimizers = False
    names_metrics = False
    combine: Mode = "min_size"

    def __init__(self, runner: Runner) -> None:
        self.runner = runner

    def contract(self) -> Contract | None:
        """How to get losses and outputs from the model; the same one for all engines."""
        return None

    @property
    def moves_batches(self) -> bool:
        """Whether batches are moved to the device by the model's own hooks."""
        return False

    def data_module(self) -> Any:
        """What has the model's own loaders, with the methods of a data module."""
        return None

    def together(self, data: Any) -> Any:
        """Data of an evaluation as they are run over, several loaders in one run or in many."""
        return data

    def loader_options(self) -> dict[str, Any]:
        """What a loader that is given as a mapping is made with, unless that says otherwise."""
        return {}

    def optimizations(self, given: Any) -> Optimization | dict[str, Optimization] | None:
        """The model's own optimizers.

        Args:
            given: what ``optim_wrapper`` says.
        """
        return None

    def rescaled(self, wrappers: Mapping[str, Optimization], factor: float) -> None:
        """Called when ``auto_scale_lr`` has multiplied learning rates.

        Args:
            wrappers: the optimizations by name.
            factor: by what, those of the last one.
        """

    def schedules(self, given: Any) -> list[LRSchedule] | None:
        """The handlers that move the model's own schedulers.

        Args:
            given: what ``param_scheduler`` says.
        """
        return None

    def handlers(self, engine: Engine) -> Iterator[Handler]:
        """What goes to an engine of the runner, which is told by its name."""
        yield from ()

    def set_up(self, call: str) -> None:
        """Called when a call of the runner begins, ``"train"`` say."""

    def tear_down(self, call: str) -> None:
        """Called when it is over, whatever ended it."""


def guest_of(model: nn.Module, runner: Runner) -> Guest:
    """What the model brings to the runner.

    Args:
        model: the model.
        runner: the runner.
    """
    return kind_of(model)(runner)


def kind_of(model: Any) -> type[Guest]:
    """The class of the guest that a model is, or a class of models.

    Example:
        >>> kind_of(nn.Linear(1, 1)).own_optimizers
        False
    """
    for base, (module, attribute) in _KINDS.items():
        if descends_from(model, *base):
            found: type[Guest] = getattr(importlib.import_module(module), attribute)
            return found
    return Guest
