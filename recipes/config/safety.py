"""What a configuration that is not trusted may name: the parts of a few libraries, no more."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from types import ModuleType
from typing import Any

__all__ = ["SAFE", "AllowList"]

SAFE = (
    "footplate.engine",
    "footplate.handlers",
    "footplate.recipes",
    "torch.nn",
    "torch.optim",
    "torch.utils.data",
    "ignite.handlers",
    "ignite.metrics",
    "torchmetrics",
)
"""Modules whose classes and functions run no code but their own.

Neither ``torch`` as a whole, where ``torch.hub`` and ``torch.utils.cpp_extension`` run code that
is not there yet, nor ``footplate``, whose folder holds ``setup.py``, too.
"""

_REFUSED = (
    "footplate.recipes.cli",  # these start whatever there is to start
    "footplate.recipes.commands",
    "footplate.recipes.raw_loop",
    "footplate.recipes.config",  # these read and build other configurations, without this list
    "footplate.recipes.composition",
    "footplate.recipes.runner",
    "torch.utils.data.datapipes",  # a decoder there unpickles what it is given
)


class AllowList:
    """The modules that a type may come from, each with all that is below it.

    A path is looked at before anything is imported, and what is found there once more, as a
    module also holds what it imported itself. Of what stands here and of what is refused within
    it, the longer name decides; so whoever allows ``footplate.recipes.config`` by name has it.

    Args:
        prefixes: names of modules; they count by whole components.

    Raises:
        ValueError: for a name that is none.

    Example:
        >>> allowed = AllowList(["torch.nn", "torch.utils.data"])
        >>> allowed.permits("torch.nn.Linear"), allowed.permits("torch.nnx.Linear")
        (True, False)
        >>> allowed.permits("torch.utils.data.datapipes.utils.decoder.basichandlers")
        False
    """

    def __init__(self, prefixes: Sequence[str]) -> None:
        if isinstance(prefixes, str):
            raise ValueError(f"allowed modules come as a list, given {prefixes!r}; write [it].")
        for prefix in prefixes:
            if not all(part.isidentifier() for part in prefix.split(".")):
                raise ValueError(f"{prefix!r} is no name of a module, as torch.nn is one.")
        self.prefixes = tuple(prefixes)

    def permits(self, path: str) -> bool:
        """Whether a dotted path may be looked up."""
        allowed = max((_length(one, path) for one in self.prefixes), default=0)
        refused = max(_length(one, path) for one in _REFUSED)
        return allowed > refused or allowed == refused > 0  # the same name, and so meant

    def permits_spelled(self, path: str) -> bool:
        """Whether a path that somebody wrote may be: private names are for the module alone."""
        return self.permits(path) and not any(part.startswith("_") for part in path.split("."))

    def permits_step(self, passed: object, path: str) -> bool:
        """Whether a path may lead through this, found at its beginning.

        That is a module or a class, never an instance; of what is not allowed itself, the
        packages alone that what is allowed lies in.
        """
        if isinstance(passed, ModuleType):
            above = passed.__name__ == path and any(_length(path, one) for one in self.prefixes)
            return above or self.permits(passed.__name__)
        return isinstance(passed, type) and self.permits(passed.__module__)

    def permits_found(self, found: Any) -> bool:
        """Whether this may be called: a class, or a function that is no method of some object."""
        module = getattr(found, "__module__", None)
        if not isinstance(module, str) or not self.permits(module):
            return False
        return isinstance(found, type) or not _is_method(found)

    def __repr__(self) -> str:
        return f"AllowList({list(self.prefixes)})"


def _length(prefix: str, path: str) -> int:
    """How long a prefix is that fits a path; 0 if it does not."""
    return len(prefix) if f"{path}.".startswith(f"{prefix}.") else 0


def _is_method(found: Any) -> bool:
    if inspect.ismethod(found):
        return not isinstance(found.__self__, type)
    outer = getattr(found, "__qualname__", "").rpartition(".")[0]
    return not inspect.isroutine(found) or bool(outer and not outer.endswith("<locals>"))
