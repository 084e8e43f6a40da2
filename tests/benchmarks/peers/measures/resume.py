"""How long a run takes to go on from its 100 000th iteration, in the midst of an epoch.

That is from the call that builds the run to the loss of its first new iteration, in a process that
has imported all it needs: to load the checkpoint, and to stand where it was in the data.
"""

import shutil
import tempfile
from pathlib import Path
from time import perf_counter

from .. import tasks
from ..turns import in_turns
from ..watching import Stamps

TITLE = "To go on from iteration 100 000"
FIGURES = {"seconds": "s"}
OVER = None
PLOT = "seconds"
ITERATION, MORE, ROUNDS = 100_000, 20, 2


def measure(names, *, quick, device):
    """By contender: seconds to the first new iteration."""
    iteration = ITERATION // 50 if quick else ITERATION
    folder = Path(tempfile.mkdtemp())
    options = {"folder": str(folder), "iteration": iteration, "device": device}
    led = in_turns("resume", names, 1, led=True, **options)
    able = [name for name in names if "error" not in led[name]]
    resumed = in_turns("resume", able, 1 if quick else ROUNDS, led=False, **options)
    shutil.rmtree(folder)
    return {name: resumed.get(name, led[name]) for name in names}


def alone(contender, *, led, folder, iteration, device):
    """Lead a run to behind its checkpoint, or resume a copy of that."""
    place = Path(folder) / contender.__name__.split(".")[-1]
    task = tasks.long(iteration + MORE, device=device)
    if led:
        return {"seconds": _until(contender, task, place, iteration, iteration + MORE)}
    copy = Path(tempfile.mkdtemp()) / "run"
    shutil.copytree(place, copy, symlinks=True)
    contender.resumable(tasks.brief(1), Path(tempfile.mkdtemp()) / "warm", 10)()
    took = _until(contender, task, copy, iteration, 1)
    return {"seconds": took}


class _EnoughError(Exception):
    """Ends a run that has told what was asked."""


def _until(contender, task, folder, every, iterations):
    """Seconds from the call that builds a run to the loss of one of its iterations."""
    stamps = Stamps(task)
    loss_of = task.loss_of

    def counted(scores, targets):
        loss = loss_of(scores, targets)
        if len(stamps) == iterations:
            raise _EnoughError
        return loss

    task.loss_of = counted
    begun = perf_counter()
    try:
        contender.resumable(task, folder, every)()
    except _EnoughError:
        return stamps[-1] - begun
    raise RuntimeError(f"the run ended behind {len(stamps)} iterations, not {iterations}.")
