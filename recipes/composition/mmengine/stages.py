"""Which hooks of MMEngine are called at each of its points, as text."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from ....engine.priority import Priority

__all__ = ["hooks_by_stage"]


def hooks_by_stage(hooks: Iterable[Any]) -> str:
    """The hooks at each point, in MMEngine's form; others than MMEngine's are left out.

    Args:
        hooks: the hooks in their order.
    """
    from mmengine.hooks import Hook

    named: dict[str, list[str]] = {}
    for hook in hooks:
        if isinstance(hook, Hook):
            place = Priority.label(Priority.of(hook.priority))
            for stage in hook.get_triggered_stages():
                named.setdefault(stage, []).append(f"({place:<12}) {type(hook).__name__:<35}")
    rule = f" {20 * '-'} "
    told = [[f"{stage}:", *named[stage], rule] for stage in Hook.stages if stage in named]
    return "\n".join(line for lines in told for line in lines)
