"""The most memory that a process had: by a training with little besides, and a default stack."""

import tempfile
from pathlib import Path

from footplate.engine.process_memory import peak_memory

from .. import tasks
from ..turns import in_turns

TITLE = "Peak memory"
FIGURES = {"least": "MiB, the training alone", "stack": "MiB, a default stack"}
OVER = "bare"
PLOT = "stack"


def measure(names, *, quick, device):
    """By contender: mebibytes; on a GPU still those of the host."""
    least = in_turns("memory", names, 1, stack=False, device=device)
    whole = in_turns("memory", names, 1, stack=True, device=device)
    return {name: {**least[name], **whole[name]} for name in names}


def alone(contender, *, stack, device):
    if stack:
        contender.stack(tasks.scheduled(1, device=device), Path(tempfile.mkdtemp()))()
    else:
        contender.train(tasks.digits(20, device=device))()
    return {"stack" if stack else "least": peak_memory()}
