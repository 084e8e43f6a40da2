"""The most memory that a process had: by a training with little besides, and a default stack."""

import re
import tempfile
from pathlib import Path

from .. import tasks
from ..turns import in_turns

TITLE = "Peak memory"
FIGURES = {"least": "MiB, the training alone", "stack": "MiB, a default stack"}
OVER = "bare"
NOISE = 0.01  # what is within that of the bare loop
PLOT = "stack"


def measure(names, *, quick, device):
    """By contender: mebibytes; on a GPU still those of the host."""
    rounds = 1 if quick else 3
    least = in_turns("memory", names, rounds, stack=False, device=device)
    whole = in_turns("memory", names, rounds, stack=True, device=device)
    return {name: {**least[name], **whole[name]} for name in names}


def alone(contender, *, stack, device):
    if stack:
        contender.stack(tasks.scheduled(1, device=device), Path(tempfile.mkdtemp()))()
    else:
        contender.train(tasks.digits(20, device=device))()
    return {"stack" if stack else "least": peak()}


def peak():
    """Mebibytes, as Linux tells them; not by ours, which would be in every contender's process."""
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"VmHWM:\s+(\d+) kB", status)[1]) / 1024
