"""Writes the golden orders of hooks, by running MMEngine's own Runner.

    python -m tests.golden.mmengine.make_orders

Nothing of Footplate is imported here.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import mmengine
from mmengine.hooks import Hook

from tests.recipes.mmengine_task import Accuracy, loader, project

__all__ = ["FOLDER", "SCENARIOS", "Failure", "golden", "order_of"]

FOLDER = Path(__file__).parent

_VAL = {"val_dataloader": loader(12, 5), "val_evaluator": [Accuracy()], "val_cfg": {}}
_TEST = {"test_dataloader": loader(12, 5), "test_evaluator": [Accuracy()], "test_cfg": {}}

SCENARIOS: Mapping[str, tuple[str, dict[str, Any]]] = {
    "by_epoch": ("train", {**_VAL, "train_cfg": {"by_epoch": True, "max_epochs": 2}}),
    "by_iteration": (
        "train",
        {**_VAL, "train_cfg": {"by_epoch": False, "max_iters": 12, "val_interval": 5}},
    ),
    "val_interval": (
        "train",
        {**_VAL, "train_cfg": {"by_epoch": True, "max_epochs": 3, "val_interval": 2}},
    ),
    "without_validation": ("train", {"train_cfg": {"by_epoch": True, "max_epochs": 1}}),
    "validation": ("val", _VAL),
    "test": ("test", _TEST),
    "failed": ("train", {**_VAL, "train_cfg": {"by_epoch": True, "max_epochs": 3}}),
}
"""What is called, and what the runner is given."""


class Failure(Exception):
    """What one scenario raises on purpose."""


class Noting(Hook):
    """Notes each call of a point, where the runner stands, and what it is given."""

    def __init__(self, fails_at: int | None = None):
        self.lines: list[str] = []
        self.fails_at = fails_at

    def note(self, point: str, runner: Any, given: Mapping[str, Any]) -> None:
        told = ", ".join(f"{n}={v}" if n == "batch_idx" else n for n, v in given.items())
        self.lines.append(f"{point}({told}) at {runner.epoch}/{runner.iter}")
        if point == "after_train_iter" and runner.iter == self.fails_at:
            raise Failure


def _noting(point: str) -> Any:
    def method(self: Noting, runner: Any, **given: Any) -> None:
        self.note(point, runner, given)

    return method


for _point in Hook.stages:
    if not _point.endswith("checkpoint"):  # which is a matter of what saves
        setattr(Noting, _point, _noting(_point))


def order_of(name: str, runner: Any) -> list[str]:
    """What a Runner calls."""
    call, given = SCENARIOS[name]
    hook = Noting(fails_at=11 if name == "failed" else None)
    with suppress(Failure):
        options = project(**given, custom_hooks=[hook])
        if call != "train":
            options |= dict.fromkeys(("train_dataloader", "train_cfg", "optim_wrapper"))
        getattr(runner(**options), call)()
    return hook.lines


def golden(name: str) -> str:
    """The text of a golden file."""
    from mmengine.runner import Runner

    written = {"mmengine": mmengine.__version__, "order": order_of(name, Runner)}
    return json.dumps(written, indent=1) + "\n"


if __name__ == "__main__":
    for one in SCENARIOS:
        (FOLDER / f"{one}.json").write_text(golden(one), encoding="utf-8")
