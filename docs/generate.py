"""Writes the tables that the pages show from the code: ``python docs/generate.py``.

A table stands between ``<!-- generated: name -->`` and ``<!-- end -->``. A test keeps the pages
equal to the code.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterable
from dataclasses import MISSING, fields
from functools import partial
from pathlib import Path
from runpy import run_path

from footplate.engine.events import Event, Events
from footplate.engine.lifecycle import POINTS
from footplate.engine.priority import Priority
from footplate.engine.step.events import StepEvents
from footplate.engine.stream.scalars import (
    MEDIA_LOGGED,
    METRICS_COMPUTED,
    SCALARS_LOGGED,
    VALUE_LOGGED,
)
from footplate.recipes.composition import options
from footplate.recipes.composition.bundles import DEFAULT_HOOKS
from footplate.recipes.composition.points import CALLS, EVERYWHERE, KEEPING
from footplate.recipes.composition.points import POINTS as HOOK_POINTS
from footplate.recipes.config.registry import HOOKS

PAGES = Path(__file__).parent
MARKED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)


def events() -> str:
    """Every event in the order of the loop."""
    return _events(Events)


def step_events() -> str:
    """Every event of a step, in its order."""
    return _events(StepEvents)


def _events(table: Iterable[Event]) -> str:
    return _table(
        ("event", "fires", "hands over", "counted by"),
        (
            (
                f"`{event}`",
                event.doc,
                _listed(event.payload or ()),
                f"`state.{event.counter}`" if event.counter else "its own count",
            )
            for event in table
        ),
    )


def points() -> str:
    """Every life-cycle point, spelled for the engine named ``train`` where it has a role."""
    return _table(
        ("method", "is", "of", "hands over"),
        (
            (
                f"`{point.pattern.format(role='train')}`",
                f"`{point.event}`",
                "the engine named `train`" if "{role}" in point.pattern else "any engine",
                _listed((*(point.event.payload or ()), *point.values)),
            )
            for point in POINTS
        ),
    )


def priorities() -> str:
    """The named priorities."""
    return _table(("name", "number"), ((f"`{one.name}`", str(one.value)) for one in Priority))


def logging_events() -> str:
    """Every event by which numbers and pictures travel."""
    return _events((VALUE_LOGGED, METRICS_COMPUTED, SCALARS_LOGGED, MEDIA_LOGGED))


def hook_points() -> str:
    """Every point of an engine that hooks are named after, those of one event in one row.

    What only differs by the engine's name is spelled for ``train``.
    """
    rows: dict[tuple[str, str], dict[str, list[str]]] = {}
    values = {}
    for point in HOOK_POINTS.values():
        of = "any engine" if len(point.roles) > 1 else f"`{point.roles[0]}`"
        key = f"`{point.event}`", "the outermost engine" if point.outer else of
        values[key] = point.values
        rows.setdefault(key, {}).setdefault(point.system, []).append(f"`{point.name}`")
    return _table(
        ("event", "of", "MMEngine, MMCV", "wall_e", "Lightning", "hands over"),
        (
            (
                *key,
                ", ".join(by.get("MMEngine", []) + by.get("MMCV", [])),
                ", ".join(by.get("wall_e", [])),
                ", ".join(by.get("Lightning", [])),
                _listed(values[key]),
            )
            for key, by in rows.items()
            if key[1] not in ("`val`", "`test`", "`predict`") or "wall_e" in by
        ),
    )


def hook_values() -> str:
    """What every method of a hook may ask for."""
    return _listed(EVERYWHERE) + "\n"


def hook_calls() -> str:
    """Every point of a call, and of a hook's own part of a checkpoint."""
    calls = ((f"`{name}`", one.when, _listed(one.values)) for name, one in CALLS.items())
    keeping = ((f"`{name}`", when, "`checkpoint`") for name, when in KEEPING.items())
    return _table(("method", "is called when", "hands over"), (*calls, *keeping))


def default_hooks() -> str:
    """The default hooks with their options."""
    rows = []
    for name, spec in DEFAULT_HOOKS.items():
        kind = HOOKS.find(spec["type"])
        taken = [one.name for one in fields(kind) if one.init]
        does = inspect.getdoc(kind).splitlines()[0]
        priority = f"`{kind.priority.name}`"
        rows.append((f"`{name}`", f"`{kind.__name__}`", priority, does, _listed(taken)))
    return _table(("name", "type", "priority", "what it does", "options"), rows)


def group(kind: type) -> str:
    """The options of a group, as its docstring has them."""
    text = inspect.getdoc(kind).partition("Attributes:\n")[2]
    said = re.findall(r"^    (\w+): (.*(?:\n        .*)*)", text, re.MULTILINE)
    told = {name: re.sub(r"\s+", " ", does).replace("``", "`") for name, does in said}
    rows = ((f"`{one.name}`", _default(one), told[one.name]) for one in fields(kind))
    return _table(("option", "default", "meaning"), rows)


def _default(field: object) -> str:
    return "none" if field.default in (MISSING, None) else f"`{field.default!r}`"


def ignite_metrics() -> str:
    """What becomes of every metric of pytorch-ignite."""
    return _verdicts("METRICS")


def ignite_handlers() -> str:
    """What becomes of every handler of pytorch-ignite."""
    return _verdicts("HANDLERS")


def _verdicts(of: str) -> str:
    """What the tests find of each, in groups of those of which they find the same."""
    found = run_path(str(PAGES.parent / "tests" / "handlers" / "ignite" / "verdicts.py"))[of]
    return _table(
        ("for", "of pytorch-ignite", "", "needs", "to be known"),
        (
            (one.about, _listed(one.names), one.how, f"`{one.needs}`" if one.needs else "", one.why)
            for one in found
        ),
    )


TABLES = {
    "ignite_metrics": ignite_metrics,
    "ignite_handlers": ignite_handlers,
    "hook_points": hook_points,
    "hook_values": hook_values,
    "hook_calls": hook_calls,
    "default_hooks": default_hooks,
    **{
        name: partial(group, kind)
        for name, kind in (
            ("train_cfg", options.TrainCfg),
            ("eval_cfg", options.EvalCfg),
            ("randomness", options.Randomness),
            ("env_cfg", options.EnvCfg),
            ("log_processor", options.LogProcessorCfg),
        )
    },
    "events": events,
    "step_events": step_events,
    "logging_events": logging_events,
    "points": points,
    "priorities": priorities,
}


def fill(page: str) -> str:
    """A page with its tables as they should be."""
    return MARKED.sub(lambda found: f"{found[1]}{TABLES[found[2]]()}{found[3]}", page)


def _table(head: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = [head, ("---",) * len(head), *rows]
    return "".join(f"| {' | '.join(line)} |\n" for line in lines)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names) or "nothing"


if __name__ == "__main__":
    for file in PAGES.glob("*.md"):
        file.write_text(fill(file.read_text()))
