"""What a guest costs: under its own system, under ours, and in a loop written out.

Each module beside this one has one guest, with the functions ``peer(iterations)``,
``ours(iterations)`` and perhaps ``bare``, ``lean_peer`` and ``lean``, which do the same work. They
run in turns, each time in a fresh process, which calls its function with few iterations to warm up
and then twice with many. An iteration goes from one step of the optimizer to the next, so that
what a call begins and ends with is not in it. Memory is the most that a process had.
"""

import contextlib
import importlib
import importlib.util
import io
import pathlib
import statistics
import sys
import warnings
from time import perf_counter

from footplate.engine.process_memory import peak_memory

from ..timing import Row, pace, python, show

FEW, MANY = 100, 1100
ROUNDS = 3
WHO = {
    "ours": "  by ours",
    "bare": "  by the loop written out",
    "lean_peer": "  by its own system with as little as it can",
    "lean": "  by ours with as little as it can",
}
PACKAGES = {"raw": "lightning"}  # of those that are not called as their guest


def guests():
    """The modules whose guest is installed."""
    here = pathlib.Path(__file__)
    names = sorted(one.stem for one in here.parent.glob("*.py") if one != here)
    return [name for name in names if importlib.util.find_spec(PACKAGES.get(name, name))]


def roles(guest):
    """Which of the functions its module has."""
    module = importlib.import_module(f"{__package__}.{guest}")
    return [who for who in ("peer", *WHO) if hasattr(module, who)]


def measured(guest, who):
    """Microseconds an iteration, and mebibytes, in a process of its own."""
    told = python("-m", f"{__package__}.side_by_side", guest, who)
    took, memory = told.split()[-2:]
    return float(took), float(memory)


def iteration(work, few=FEW, many=MANY):
    """Microseconds of an iteration in a process that is warm: of two calls, the faster one's."""
    work(few)
    return min(_paced(work, few, many) for _ in range(2)) * 1e6


def _paced(work, few, many):
    """Seconds from one step of an optimizer to the next, but for the first few of a call."""
    from torch.optim.optimizer import register_optimizer_step_post_hook

    stamps = []
    handle = register_optimizer_step_post_hook(lambda *_: stamps.append(perf_counter()))
    try:
        work(many)
    finally:
        handle.remove()
    return pace(stamps, few)


def rows_of(guest):
    """The rows of a guest: medians over the rounds."""
    seen = {who: [] for who in roles(guest)}
    for number in range(ROUNDS):
        for who in [*seen][:: -1 if number % 2 else 1]:
            seen[who].append(measured(guest, who))
    time, memory = (
        {who: statistics.median(one[part] for one in each) for who, each in seen.items()}
        for part in (0, 1)
    )
    yield Row(f"{guest}: an iteration by its own system", time["peer"], "µs")
    yield from (Row(WHO[who], time[who], "µs") for who in time if who != "peer")
    yield Row("  its own system's time over ours", time["peer"] / time["ours"], "x", 1, True)
    yield Row("  the most memory by its own system", memory["peer"], "MiB")
    yield Row("  by ours", memory["ours"], "MiB")


def main():
    show("guests", [row for guest in guests() for row in rows_of(guest)])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    name, who = sys.argv[1:]
    work = getattr(importlib.import_module(f"{__package__}.{name}"), who)
    with contextlib.redirect_stdout(io.StringIO()):
        took = iteration(work)
    print(took, peak_memory())
