"""What a guest costs: under its own system, under ours, and in a loop written out.

Each module beside this one has one guest, with the functions ``peer(iterations)``,
``ours(iterations)`` and perhaps ``bare(iterations)``, which do the same work. Each runs in turns,
each time in a fresh process, for few iterations and for many. The difference is the cost of the
iterations between, so that the start drops out. Memory is the most that a process had with many.
"""

import contextlib
import importlib
import io
import pathlib
import resource
import statistics
import sys
import warnings

from ..timing import Row, python, seconds, show

FEW, MANY = 100, 1100
ROUNDS = 3
WHO = ("peer", "ours", "bare")


def guests():
    """The modules that have a guest."""
    here = pathlib.Path(__file__)
    names = sorted(one.stem for one in here.parent.glob("*.py") if one != here)
    return [name for name in names if "peer" in roles(name)]  # where its system is installed


def roles(guest):
    """Which of the functions its module has."""
    module = importlib.import_module(f"{__package__}.{guest}")
    return [who for who in WHO if hasattr(module, who)]


def taken(guest, who, iterations):
    """Seconds and mebibytes that it took in a process of its own."""
    told = python("-m", f"{__package__}.side_by_side", guest, who, str(iterations))
    took, memory = told.split()[-2:]
    return float(took), float(memory)


def measured(guest, who):
    """Microseconds an iteration, and mebibytes."""
    (few, _), (many, memory) = (taken(guest, who, number) for number in (FEW, MANY))
    return (many - few) / (MANY - FEW) * 1e6, memory


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
    yield Row("  by ours", time["ours"], "µs")
    if "bare" in time:
        yield Row("  by the loop written out", time["bare"], "µs")
    yield Row("  its own system's time over ours", time["peer"] / time["ours"], "x", 1, True)
    yield Row("  the most memory by its own system", memory["peer"], "MiB")
    yield Row("  by ours", memory["ours"], "MiB")


def main():
    show("guests", [row for guest in guests() for row in rows_of(guest)])


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    name, who, number = sys.argv[1:]
    work = getattr(importlib.import_module(f"{__package__}.{name}"), who)
    with contextlib.redirect_stdout(io.StringIO()):
        took = seconds(work, int(number))
    print(took, resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024)
