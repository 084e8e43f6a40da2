"""Schedulers in MMEngine's words: which mappings are meant so, and what they say."""

from __future__ import annotations

import inspect
from collections.abc import Mapping
from functools import partial
from typing import Any

from torch.optim.lr_scheduler import ReduceLROnPlateau

from ....engine.step.guests import descends_from
from ....engine.step.mmengine import curves, factors
from ....engine.step.mmengine.given_scheduler import GivenScheduler
from ....engine.step.mmengine.param_scheduler import ParamScheduler
from ...config.registry import PARAM_SCHEDULERS

__all__ = ["in_torchs_words", "is_given", "is_ranged", "is_users", "taken"]

_FAMILIES: Mapping[str, type[ParamScheduler]] = {
    "Constant": factors.Constant,
    "CosineAnnealing": curves.Cosine,
    "CosineRestart": curves.CosineRestart,
    "Exponential": factors.Exponential,
    "Linear": factors.Linear,
    "MultiStep": factors.MultiStep,
    "OneCycle": curves.OneCycle,
    "Poly": curves.Poly,
    "Step": factors.Step,
}
_SHARED = ("Constant", "CosineAnnealing", "Exponential", "Linear", "MultiStep", "OneCycle", "Step")
"""Those whose learning rates have names that torch has, too, for schedulers without a range."""

_WORDS = ("begin", "end", "eta_min_ratio", "eta_max")
"""What MMEngine's schedulers take, and torch's of the same name do not."""

_PLATEAU = {
    "rule": ("mode", {"less": "min", "greater": "max"}),
    "threshold_rule": ("threshold_mode", {"rel": "rel", "abs": "abs"}),
    "min_value": ("min_lr", {}),
}
"""Options of ReduceOnPlateauLR by torch's names, and values that have others there."""

_KINDS: Mapping[str, tuple[type[ParamScheduler], dict[str, Any]]] = {
    f"{name}{kind}": (family, {} if value is None else {"param_name": value})
    for name, family in _FAMILIES.items()
    for kind, value in {"LR": None, "Momentum": "momentum", "ParamScheduler": None}.items()
    if (name, kind) != ("OneCycle", "Momentum")
}
"""MMEngine's schedulers by their names: of which class, and what they say of themselves."""

for _name, (_family, _said) in _KINDS.items():
    if _name.removesuffix("LR") not in _SHARED:
        PARAM_SCHEDULERS.register_module(
            partial(_family, **_said) if _said else _family, name=_name
        )


@PARAM_SCHEDULERS.register_module(name="ReduceOnPlateauLR")
def reduce_on_plateau(optimizer: Any, **options: Any) -> ReduceLROnPlateau:
    """Torch's ``ReduceLROnPlateau``, with MMEngine's names of its options."""
    return ReduceLROnPlateau(optimizer, **_as_torchs(options))


def in_torchs_words(spec: Mapping[str, Any]) -> dict[str, Any]:
    """A mapping with ``type`` whose type is the scheduler that it means.

    One of MMEngine's is meant by a name that torch has not, by one that torch has too together
    with a word of MMEngine's, as ``begin``, and by MMEngine's class itself.

    Args:
        spec: the mapping; it is not changed.
    """
    given, said = spec.get("type"), dict(spec)
    theirs = descends_from(given, "_ParamScheduler", "mmengine") if _is_class(given) else False
    if isinstance(given, str) and given.startswith("mmengine."):  # by its path, or a scope
        theirs, given = True, given.rpartition(".")[2]
    name = getattr(given, "__name__", given)
    if name == "ReduceOnPlateauLR":
        said = {"monitor": "loss", **_as_torchs(said), "type": ReduceLROnPlateau}
    elif (
        isinstance(name, str)
        and name in _KINDS
        and (theirs or any(word in spec for word in _WORDS) or not _is_torchs(name))
    ):
        family, of_itself = _KINDS[name]
        said |= {"type": family, **of_itself}
    return said


def is_ranged(kind: Any) -> bool:
    """Whether a scheduler has a range of its own: one of MMEngine's."""
    return _is_class(kind) and issubclass(kind, ParamScheduler)


def is_users(kind: Any) -> bool:
    """Whether it is a class that derives from MMEngine's base of schedulers: one of the user's."""
    return _is_class(kind) and descends_from(kind, "_ParamScheduler", "mmengine")


def is_given(scheduler: object) -> bool:
    """Whether it is a scheduler of MMEngine that was made already."""
    return descends_from(scheduler, "_ParamScheduler", "mmengine") and not _is_class(scheduler)


def taken(scheduler: Any) -> GivenScheduler:
    """A scheduler of MMEngine as one of torch."""
    return GivenScheduler(scheduler)


def _as_torchs(options: Mapping[str, Any]) -> dict[str, Any]:
    said: dict[str, Any] = {}
    for name, value in options.items():
        torchs, values = _PLATEAU.get(name, (name, {}))
        said[torchs] = values.get(value, value) if isinstance(value, str) else value
    return said


def _is_torchs(name: Any) -> bool:
    return str(name).endswith("LR") and str(name).removesuffix("LR") in _SHARED


def _is_class(given: object) -> bool:
    return inspect.isclass(given)
