"""What an iteration costs beyond the step: of two steps, with as little besides as can be.

The batches lie in a list, which a stock loader hands out. An iteration goes from one step to the
next, so that what a run begins and ends with is not in it; what it does now and then is.
"""

from time import perf_counter

from ...timing import pace
from .. import tasks
from ..turns import in_turns
from ..watching import Stamps

TITLE = "An iteration"
FIGURES = {"empty": "µs, empty step", "linear": "µs, 16 → 1"}
OVER = "bare"  # figures are told as what is more than that, too
NOISE = 0.05  # what is within that of the bare loop
PLOT = "empty"
ITERATIONS = {"empty": 5000, "linear": 3000}
QUICK = {"empty": 600, "linear": 300}
SHARE = 10  # of the iterations, one in so many is to warm up


def measure(names, *, quick, device):
    """By contender: microseconds of an iteration."""
    iterations = QUICK if quick else ITERATIONS
    rounds = 1 if quick else 5
    return in_turns("overhead", names, rounds, iterations=iterations, device=device)


def alone(contender, *, iterations, device):
    figures = {}
    for name, number in iterations.items():
        paced = empty if name == "empty" else trained
        figures[name] = paced(contender, name, number, device) * 1e6
    return figures


def empty(contender, name, number, device):
    stamps = []
    loader = tasks.linear(number).loader()
    contender.empty(loader, lambda: stamps.append(perf_counter()))()
    return pace(stamps, number // SHARE)


def trained(contender, name, number, device):
    task = getattr(tasks, name)(number, device=device)
    stamps = Stamps(task)
    contender.train(task)()
    return pace(stamps, number // SHARE)
