"""What a whole default stack costs: ours, Lightning's and MMEngine's, over the bare loop.

The same network learns the same digits: training with a cosine schedule, and a validation of its
accuracy after each epoch. Over the bare loop each system does what it does by default, and writes
to TensorBoard: lines or a bar on the console, metrics, a checkpoint after each epoch, and ours a
file of JSON lines. All log each 50 iterations, and run in turns, each time in a fresh process,
with one thread. What is measured is the call that trains; of MMEngine that also builds the loop.
The bare loop runs once more with durable saves written by hand, which neither peer makes.
Ours draws its bar as on a terminal; Lightning draws none where there is no terminal.
"""

import contextlib
import io
import os
import pathlib
import statistics
import sys
import tempfile
import warnings

import torch

from .peers.field import contender
from .peers.tasks import scheduled
from .timing import Row, in_turns, python, seconds, show

EPOCHS = 6
BATCH = 16
ROUNDS = 7


def bare_and_safe(task, folder):
    """The loop written out that also saves by hand what a kill or a crash must not take.

    Two files for weights and all else, made durable beside their place, and one rename: the least
    that the promise of a checkpoint costs, whoever writes it.
    """

    def durable(path):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def save(model, optimizer):
        beside = folder / "beside"
        beside.mkdir()
        for name, part in (("model", model), ("state", optimizer)):
            torch.save(part.state_dict(), beside / name)
            durable(beside / name)
        durable(beside)
        beside.rename(folder / f"{len(list(folder.iterdir()))}")
        durable(folder)

    return contender("bare").stack(task, folder, save)


def ours_in_background(task, folder):
    """Ours with checkpoints that are written while training goes on."""
    return contender("footplate").stack(task, folder, background=True)


STACKS = {
    "bare": contender("bare").stack,
    "bare_and_safe": bare_and_safe,
    "ours": contender("footplate").stack,
    "ours_in_background": ours_in_background,
    "lightning": contender("lightning").stack,
    "mmengine": contender("mmengine").stack,
}


def fit_in_a_process(name):
    return float(python("-m", __name__, name).split()[-1])


def main():
    names = [*STACKS]
    rounds = [
        in_turns(fit_in_a_process, names if number % 2 else names[::-1], 1)
        for number in range(ROUNDS)
    ]
    bare_took = statistics.median(one["bare"] for one in rounds)
    spread = max(one["bare"] for one in rounds) / min(one["bare"] for one in rounds) - 1
    over = {
        name: statistics.median(one[name] - one["bare"] for one in rounds) for name in names[1:]
    }
    steps = EPOCHS * -(-1258 // BATCH)
    rows = [
        Row("the bare loop", bare_took, "s"),
        Row("  its slowest run over its fastest: more than that", spread * 100, "%"),
    ]
    for name in names[1:]:
        target = 3.0 if name.startswith("ours") else None
        rows.append(Row(f"{name}: more than that", over[name] / bare_took * 100, "%", target))
        rows.append(Row("  an iteration", over[name] / steps * 1e3, "ms"))
    for name in ("lightning", "mmengine"):
        if over["ours"] > 0:  # else the machine was too busy to tell
            ratio = over[name] / over["ours"]
            rows.append(Row(f"{name}'s overhead over ours", ratio, "x", 5, True))
    show("the default stack on the digits CNN", rows)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    folder = pathlib.Path(tempfile.mkdtemp())
    fit = STACKS[sys.argv[1]](scheduled(EPOCHS), folder)
    with contextlib.redirect_stdout(io.StringIO()):
        took = seconds(fit)
    print(took)
