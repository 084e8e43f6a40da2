"""Foreign hooks: those of other systems, as bundles of handlers."""

from __future__ import annotations

import importlib
from typing import Any

from ...engine.step.guests import descends_from

__all__ = ["is_foreign_hook", "make_way", "welcomed"]

_KINDS = {
    ("Hook", "mmengine"): ("footplate.recipes.composition.mmengine.hooks", "MMEngineHook"),
    ("BaseCallBack", "wall_e", "footplate"): (
        "footplate.recipes.composition.wall_e_callbacks",
        "wall_e_hook",
    ),
    ("Callback", "lightning", "pytorch_lightning"): (
        "footplate.recipes.composition.lightning.callbacks",
        "LightningCallback",
    ),
}
"""Where the bundle is that takes a hook, by the hook's base class and where that may come from."""


def is_foreign_hook(given: object) -> bool:
    """Whether it is a hook of another system, or a class of such.

    Example:
        >>> is_foreign_hook(print)
        False
    """
    return _bundle_for(given) is not None


def welcomed(given: Any) -> Any:
    """A hook of another system as a :class:`.Bundle` or a hook of ours; others as they are."""
    if isinstance(given, type) or (found := _bundle_for(given)) is None:
        return given
    module, attribute = found
    return getattr(importlib.import_module(module), attribute)(given)


def make_way(kind: object, runner: Any) -> None:
    """Have ready what a hook of another system asks for when it is made.

    Args:
        kind: its class.
        runner: the runner that it is made for.
    """
    if (found := _bundle_for(kind)) is not None:
        module, attribute = found
        bundle = getattr(importlib.import_module(module), attribute)
        if hasattr(bundle, "make_way"):
            bundle.make_way(runner)


def _bundle_for(given: object) -> tuple[str, str] | None:
    return next((found for base, found in _KINDS.items() if descends_from(given, *base)), None)
