"""For how long a checkpoint of 120 MB keeps a training waiting.

That is how much longer an iteration is that has a checkpoint behind it: the median of these over
the median of the others. Each saves weights, optimizer and place, in the way it is resumed from;
and once more in the background, where that can be asked for.
"""

import inspect
import itertools
import os
import statistics
import tempfile
from pathlib import Path

from .. import tasks
from ..turns import in_turns
from ..watching import Stamps

TITLE = "A checkpoint of 120 MB"
FIGURES = {
    "blocked": "ms blocked",
    "background": "ms blocked, in the background",
    "size": "MB kept",
}
OVER = None
PLOT = "blocked"
EVERY = 10


def measure(names, *, quick, device):
    """By contender: milliseconds a checkpoint, and megabytes that are left on the disk."""
    rounds, iterations = (1, 21) if quick else (3, 81)
    return in_turns("checkpoints", names, rounds, iterations=iterations, device=device)


def alone(contender, *, iterations, device):
    figures = blocked(contender, iterations, device)
    if "background" in inspect.signature(contender.resumable).parameters:
        found = blocked(contender, iterations, device, background=True)
        figures["background"] = found["blocked"]
    return figures


def blocked(contender, iterations, device, **options):
    """Milliseconds that a checkpoint takes, and megabytes that are kept."""
    task = tasks.large(iterations, device=device)
    stamps = Stamps(task)
    with tempfile.TemporaryDirectory() as folder:
        contender.resumable(task, Path(folder) / "run", EVERY, **options)()
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        size = sum(os.path.getsize(path) for path in files) / 1e6
    took = [later - sooner for sooner, later in itertools.pairwise(stamps)]
    saving = took[EVERY - 1 :: EVERY]
    others = [one for number, one in enumerate(took, 1) if number % EVERY]
    return {"blocked": (statistics.median(saving) - statistics.median(others)) * 1e3, "size": size}
