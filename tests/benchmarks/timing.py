"""What the benchmarks share: measuring in turns, and a table of results."""

import statistics
import subprocess
import sys
import time
from dataclasses import dataclass


@dataclass
class Row:
    """A figure and, where there is one, its target: at most that, or at least."""

    what: str
    measured: float
    unit: str
    target: float | None = None
    at_least: bool = False

    @property
    def result(self):
        if self.target is None:
            return ""
        reached = (self.measured >= self.target) if self.at_least else self.measured <= self.target
        return "reached" if reached else "MISSED"

    def cells(self):
        measured = f"{self.measured:.2f} {self.unit}"
        if self.target is None:
            return [self.what, measured, "", "", ""]
        target = f"{'≥' if self.at_least else '≤'} {self.target:g} {self.unit}"
        ratio = f"{self.measured / self.target:.0%}" if self.target else ""
        return [self.what, measured, target, ratio, self.result]


def show(title, rows):
    """Print a table; its ratio is the measured value over the target."""
    head = [title, "measured", "target", "ratio", "result"]
    lines = [head, *(row.cells() for row in rows)]
    widths = [max(len(line[column]) for line in lines) for column in range(len(head))]
    lines.insert(1, ["-" * width for width in widths])
    for first, *rest in lines:
        numbers = "  ".join(cell.rjust(w) for cell, w in zip(rest, widths[1:], strict=True))
        print(f"{first.ljust(widths[0])}  {numbers}".rstrip())
    print(flush=True)


def all_in_turns(measure, variants, rounds):
    """All of ``measure(variant)`` for each variant, measured one after the other."""
    seen = {variant: [] for variant in variants}
    for _ in range(rounds):
        for variant in variants:
            seen[variant].append(measure(variant))
    return seen


def in_turns(measure, variants, rounds):
    """The median of ``measure(variant)`` for each variant, measured one after the other."""
    seen = all_in_turns(measure, variants, rounds)
    return {variant: statistics.median(values) for variant, values in seen.items()}


def python(*arguments, **options):
    """What a Python process of its own prints; with options of ``subprocess.run``."""
    command = [sys.executable, *arguments]
    run = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options)
    return run.stdout


def in_a_process(module):
    """A measure that runs ``module.variant()`` in a process of its own, which prints a number."""
    return lambda variant: float(python("-m", module, variant))


def pace(stamps, few):
    """Seconds from one stamp to the next, but for the first few."""
    return (stamps[-1] - stamps[few]) / (len(stamps) - 1 - few)


def seconds(function, *args, **kwargs):
    """How long a call takes."""
    begun = time.perf_counter()
    function(*args, **kwargs)
    return time.perf_counter() - begun
