"""Writes the golden event orders: what pytorch-ignite does, and our differences applied to that.

    python -m tests.golden.make_event_orders

Nothing of Footplate is imported here. ``run_again_after_error.txt`` and ``safe_point.txt`` are
written by hand, since pytorch-ignite can do nothing of the kind.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import ignite
from ignite.engine import Engine

from tests.golden.scenarios import GROUPS, SCENARIOS, Failure, Line, Order, Play, Scenario, write

__all__ = ["golden"]

HEAD = """\
# Every event of a run, with the epoch and iteration at which it fires; -- parts calls of run().
# Written by tests/golden/make_event_orders.py, which runs pytorch-ignite {version} and applies the
# differences that docs/ignite.md lists. Not written by Footplate.
"""


class Recorder(Engine):
    """pytorch-ignite's engine, which notes all that it fires."""

    def __init__(self, scenario: Scenario) -> None:
        play = Play(scenario)
        super().__init__(play.step)
        self.lines: list[Line] = []
        self.logger.setLevel("CRITICAL")
        self.register_events(*scenario.custom)
        play.attach(self)

    def _fire_event(self, event_name: Any, *event_args: Any, **event_kwargs: Any) -> None:
        name = getattr(event_name, "name", event_name)
        self.lines.append(Line(name, self.state.epoch, self.state.iteration))
        super()._fire_event(event_name, *event_args, **event_kwargs)


def golden(group: str) -> str:
    """The text of a golden file."""
    orders = [f"== {s.name}\n{write(order_of(s))}\n" for s in SCENARIOS if s.group == group]
    return "\n".join([HEAD.format(version=ignite.__version__), *orders])


def order_of(scenario: Scenario) -> Order:
    """What Footplate is to fire."""
    calls, failed = ignites_order(scenario)
    if failed:
        return [closed_after_error(calls[0])]
    return [
        closed(opened(lines))
        for whole in joined(calls)
        for lines in interrupted_at_safe_points(with_safe_points(whole))
    ]


def ignites_order(scenario: Scenario) -> tuple[Order, bool]:
    """What pytorch-ignite fires, and whether it raised."""
    engine, data, calls = Recorder(scenario), scenario.data(), []
    for _ in range(scenario.runs):
        engine.lines = []
        calls.append(engine.lines)
        try:
            engine.run(data, **scenario.limits)
        except (Failure, RuntimeError):
            return calls, True
    return calls, False


def joined(calls: Order) -> Order:
    """Calls that were interrupted, joined to those that went on."""
    result: Order = []
    for lines in calls:
        if result and result[-1][-1].event == "INTERRUPT":
            result[-1] += lines
        else:
            result.append(lines)
    return result


# ------------------------------------------------------------------ the differences, one by one


def with_safe_points(lines: list[Line]) -> list[Line]:
    """SAFE_POINT fires behind each iteration; if it is an epoch's last, when the epoch is over."""
    result = []
    for number, line in enumerate(lines, 1):
        result.append(line)
        next_ones = (one.event for one in lines[number:] if one.event != "INTERRUPT")
        following = next(next_ones, "")
        ends = {
            "ITERATION_COMPLETED": following not in ("EPOCH_COMPLETED", "TERMINATE_SINGLE_EPOCH"),
            "TERMINATE_SINGLE_EPOCH": following != "EPOCH_COMPLETED",
            "EPOCH_COMPLETED": True,
        }
        if following and ends.get(line.event):
            result.append(line._replace(event="SAFE_POINT"))
    return result


def interrupted_at_safe_points(lines: list[Line]) -> Order:
    """INTERRUPT fires right behind SAFE_POINT, wherever it was asked for, and ends that call."""
    calls: Order = [[]]
    asked = False
    for line in lines:
        if line.event == "INTERRUPT":
            asked = True
        else:
            calls[-1].append(line)
        last = calls[-1][-1]
        if asked and last.event == "SAFE_POINT":
            calls[-1].append(last._replace(event="INTERRUPT"))
            calls.append([])
            asked = False
    return calls


def opened(lines: list[Line]) -> list[Line]:
    """OPENED fires first, where the last call of run() left the state."""
    first = lines[0]
    epoch = first.epoch - (first.event == "EPOCH_STARTED")
    iteration = first.iteration - (first.event == "ITERATION_STARTED")
    return [Line("OPENED", epoch, iteration), *lines]


def closed(lines: list[Line]) -> list[Line]:
    """CLOSED fires last."""
    return [*lines, lines[-1]._replace(event="CLOSED")]


def closed_after_error(lines: list[Line]) -> list[Line]:
    """EXCEPTION_RAISED sees the failing numbers; then they return to what was completed."""
    *before, failing = lines
    epoch = max([line.epoch for line in before if line.event == "EPOCH_STARTED"], default=0)
    iterations = [line.iteration for line in before if line.event == "ITERATION_COMPLETED"]
    return [
        *opened(with_safe_points(lines)),
        failing._replace(event="EXCEPTION_RAISED"),
        Line("CLOSED", epoch, max(iterations, default=0)),
    ]


if __name__ == "__main__":
    for group in GROUPS:
        Path(__file__).with_name(f"{group}.txt").write_text(golden(group))
