"""What an iteration with a network adds: the digits CNN, with batches of 64.

An iteration of it takes longer or less from one process to the next, by more than any contender
adds. So a bare loop runs in the contender's own process, in turns with it, and the bare loop beside
itself shows what of that is noise.
"""

import statistics

from ...timing import pace
from .. import tasks
from ..field import contender as named
from ..turns import in_turns
from ..watching import Stamps

TITLE = "An iteration of the digits CNN"
FIGURES = {"milliseconds": "ms", "percent": "% more than a bare loop beside it"}
OVER = None
PLOT = "percent"
ITERATIONS, FEW = 25, 3  # of which so many are to warm up


def measure(names, *, quick, device):
    """By contender: milliseconds, and percent."""
    rounds, turns = (1, 2) if quick else (3, 8)
    return in_turns("network", names, rounds, turns=turns, device=device)


def alone(contender, *, turns, device):
    paces = []
    for turn in range(turns):
        if turn % 2:
            bare, its = _pace(named("bare"), device), _pace(contender, device)
        else:
            its, bare = _pace(contender, device), _pace(named("bare"), device)
        paces.append((bare, its))
    return {
        "milliseconds": statistics.median(its for _, its in paces) * 1e3,
        "percent": statistics.median(its / bare - 1 for bare, its in paces) * 100,
    }


def _pace(contender, device):
    """Seconds an iteration."""
    task = tasks.digits(ITERATIONS, device=device)
    stamps = Stamps(task)
    contender.train(task)()
    return pace(stamps, FEW)
