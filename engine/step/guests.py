"""Guests: models of other systems, recognised by their classes' names, without an import."""

from __future__ import annotations

import importlib
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from ..origin import package_of
from .compiling import uncompiled
from .contract import Contract

__all__ = ["GUESTS", "GuestContract", "descends_from", "guest_contract"]


def descends_from(given: object, name: str, *packages: str) -> bool:
    """Whether an object's class derives from one of a library, which is not imported for that.

    Args:
        given: the object, or a class.
        name: the name of the library's class.
        packages: the packages that it may come from, at whatever depth.

    Example:
        >>> from fractions import Fraction
        >>> descends_from(Fraction(1), "Number", "numbers"), descends_from(1, "Number", "numbers")
        (True, False)
    """
    kind = given if isinstance(given, type) else type(given)
    return any(one.__name__ == name and package_of(one) in packages for one in kind.__mro__)


@dataclass(frozen=True)
class GuestContract:
    """The contract of models that derive from a class of another system.

    Attributes:
        name: what the contract is asked for by.
        base: the name of that class.
        packages: where it may come from.
        module: the module that has the contract, which is imported when such a model shows up.
        attribute: the contract's class there, or a function that makes one.
        calls: whether it calls the model itself, so that what ``torch.compile(model)`` returns
            serves as well; a call of one of the model's methods would pass the compiled code by.
    """

    name: str
    base: str
    packages: tuple[str, ...]
    module: str
    attribute: str
    calls: bool = False

    def fits(self, model: Any) -> bool:
        """Whether the model derives from the class."""
        return descends_from(uncompiled(model) if self.calls else model, self.base, *self.packages)

    def load(self) -> Callable[..., Contract]:
        """What makes the contract: its class, or a function."""
        found: Callable[..., Contract] = getattr(
            importlib.import_module(self.module), self.attribute
        )
        return found


GUESTS = (
    GuestContract(
        "lightning",
        "LightningModule",
        ("lightning", "pytorch_lightning"),
        "footplate.engine.step.lightning.older",
        "lightning_steps",
    ),
    GuestContract(
        "model_output",
        "PreTrainedModel",
        ("transformers",),
        "footplate.engine.step.model_output",
        "ModelOutput",
        calls=True,
    ),
    *(
        GuestContract(
            "detection",
            detector,
            ("torchvision",),
            "footplate.engine.step.detection",
            "Detection",
            calls=True,
        )
        for detector in ("GeneralizedRCNN", "RetinaNet", "FCOS", "SSD")
    ),
    GuestContract(
        "mmengine",
        "BaseModel",
        ("mmengine",),
        "footplate.engine.step.mmengine.steps",
        "MMEngineSteps",
    ),
)
"""The contracts for models of other systems, each loaded when it is asked for."""


def guest_contract(model: Any) -> GuestContract | None:
    """The contract that a model of another system has; ``None`` for any other model.

    Example:
        >>> import torch
        >>> guest_contract(torch.nn.Linear(1, 1)) is None
        True
    """
    return next((one for one in GUESTS if one.fits(model)), None)
