"""A configuration as a text that says the same when it is read again."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Mapping
from enum import Enum
from numbers import Integral, Rational, Real
from pathlib import PurePath
from typing import Any

from .nodes import BASE, DELETE
from .paths import joined
from .problems import ABSENT, ConfigError, Problem
from .references import escaped
from .specs import INSTANCE
from .yaml_files import written

__all__ = ["dump"]


def dump(values: Any) -> str:
    """Values as YAML, in their own order.

    Classes and functions become their dotted paths, paths texts, tuples lists, members of
    enumerations their values, and numbers of numpy those of Python. An object becomes
    ``{type: its class, _instance_: true}``: that can't be built again, and whoever tries is told
    to give one.

    Args:
        values: mappings, lists, and anything in them.

    Raises:
        ConfigError: for a key that is no text or has a meaning of its own, and for what holds
            itself.

    Example:
        >>> from fractions import Fraction
        >>> print(dump({"type": dict, "betas": (0.9, 1e-5), "half": Fraction(1, 2)}), end="")
        type: builtins.dict
        betas:
        - 0.9
        - 1.0e-05
        half:
          type: fractions.Fraction
          _instance_: true
    """
    return written(_plain(values, "", ()))


def _plain(value: Any, path: str, around: tuple[int, ...]) -> Any:
    if isinstance(value, (Mapping, list, tuple, set, frozenset)):
        if id(value) in around:
            raise ConfigError([Problem(path=path, given=ABSENT, reason="it holds itself")])
        return _plain_items(value, path, (*around, id(value)))
    if isinstance(value, Enum):  # before numbers and texts: some are those, too
        return _plain(value.value, path, around)
    if isinstance(value, (str, PurePath)):
        return escaped(str(value))
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, Integral):
        return int(value)
    if isinstance(value, Real) and not isinstance(value, Rational):  # no float is a fraction
        return float(value)
    if type(value).__module__ == "numpy" and getattr(value, "shape", None) == ():
        return _plain(value.item(), path, around) if value.dtype.kind == "b" else _instance(value)
    if isinstance(value, type) or inspect.isroutine(value):
        found = _dotted(value)
        return found if "<" not in found else {"type": found, INSTANCE: True}
    return _instance(value)


def _plain_items(value: Any, path: str, around: tuple[int, ...]) -> Any:
    if isinstance(value, Mapping):
        for key in value:
            if not isinstance(key, str) or key in (BASE, DELETE):
                reason = f"the key {key!r} " + (
                    "has a meaning of its own" if isinstance(key, str) else "is no text"
                )
                raise ConfigError([Problem(path=path, given=ABSENT, reason=reason)])
        return {str(key): _plain(one, joined(path, key), around) for key, one in value.items()}
    items = sorted(value, key=repr) if isinstance(value, (set, frozenset)) else value
    return [_plain(one, joined(path, at), around) for at, one in enumerate(items)]


def _instance(value: Any) -> dict[str, Any]:
    return {"type": _dotted(type(value)), INSTANCE: True}


def _dotted(found: Any) -> str:
    """The shortest path there: ``torch.optim.SGD`` rather than ``torch.optim.sgd.SGD``."""
    module, name = getattr(found, "__module__", None) or "builtins", found.__qualname__
    parts = module.split(".")
    for end in range(1, len(parts)):
        above = ".".join(parts[:end])
        if vars(sys.modules[above]).get(name) is found if above in sys.modules else False:
            return f"{above}.{name}"
    return f"{module}.{name}"
