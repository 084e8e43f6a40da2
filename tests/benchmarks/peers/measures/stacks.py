"""What a run costs as users have it by default: bar, TensorBoard, metrics, checkpoints.

The CNN learns the digits in batches of 16, with a schedule, a validation and a checkpoint each
epoch; all log each 50 iterations. What is measured is the call that trains.
"""

import tempfile
from pathlib import Path

from ...timing import seconds
from .. import tasks
from ..turns import in_turns

TITLE = "A default stack"
FIGURES = {"seconds": "s"}
OVER = "bare"
NOISE = 0.05  # what is within that of the bare loop
PLOT = "seconds"
EPOCHS, ROUNDS = 6, 3


def measure(names, *, quick, device):
    """By contender: seconds of a run."""
    rounds, epochs = (1, 1) if quick else (ROUNDS, EPOCHS)
    return in_turns("stacks", names, rounds, epochs=epochs, device=device)


def alone(contender, *, epochs, device):
    task = tasks.scheduled(epochs, device=device)
    return {"seconds": seconds(contender.stack(task, Path(tempfile.mkdtemp())))}
