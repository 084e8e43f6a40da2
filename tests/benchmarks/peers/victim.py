"""A run that is killed, forked from a process that has imported its contender.

It rings a bell at an iteration, for the kill to come soon. Beside its folder it notes how many
iterations it has begun; a run that comes to its end leaves what its weights and batches were there.
"""

import json
import os
import warnings
from pathlib import Path
from time import perf_counter

from tests.crash.child import digest

from . import tasks
from .field import contender
from .measures.kills import EVERY


def warm_up(name):
    """Import what its runs need."""
    warnings.simplefilter("ignore")
    exec(contender(name).IMPORTS, {})
    tasks.images_and_labels()


def main(arguments, bell):
    """Run.

    Args:
        arguments: the contender's name, the folder of its checkpoints, and the iteration at which
            the bell is rung, or 0.
        bell: rings it.
    """
    name, folder, at = arguments
    task, batches, stamps = tasks.brief(), [], []
    loss_of = task.loss_of
    begun = os.open(Path(folder).with_suffix(".begun"), os.O_CREAT | os.O_WRONLY)

    def watched(scores, targets):
        batches.append(digest(targets))
        stamps.append(perf_counter())
        os.pwrite(begun, f"{len(batches):06}".encode(), 0)
        if len(batches) == int(at):
            bell()
        return loss_of(scores, targets)

    task.loss_of = watched
    contender(name).resumable(task, Path(folder), EVERY)()
    left = {
        "weights": digest(task.model.state_dict()),
        "batches": batches,
        "seconds": stamps[-1] - stamps[0],
    }
    Path(folder).with_suffix(".json").write_text(json.dumps(left))
