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
        pair = [named("bare"), contender]
        paces.append([0.0, 0.0])
        for place in (0, 1) if turn % 2 else (1, 0):
            paces[-1][place] = _pace(pair[place], device)
    return {
        "milliseconds": statistics.median(ours for _, ours in paces) * 1e3,
        "percent": statistics.median(ours / bare - 1 for bare, ours in paces) * 100,
    }


def _pace(contender, device):
    """Seconds an iteration."""
    task = tasks.digits(ITERATIONS, device=device)
    stamps = Stamps(task)
    contender.train(task)()
    return pace(stamps, FEW)
