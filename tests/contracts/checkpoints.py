"""What the checkpoints of every format hold: ``python -m tests.contracts.checkpoints`` writes one.

``format_1`` was written by the first version of the format, before it had an exact mark, a seed,
hyper-parameters and a machine; ``format_1_full`` has all of them.
"""

import math
import shutil
import tempfile
from collections import Counter, OrderedDict
from pathlib import Path

import torch

from footplate.engine.checkpoints.manifest import Manifest
from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.checkpoints.tensor_file import weights_of

HERE = Path(__file__).parent


def network():
    """A model with tied weights, running statistics, whole numbers and a short type."""
    model = torch.nn.Sequential(
        OrderedDict(
            first=torch.nn.Linear(3, 3),
            norm=torch.nn.BatchNorm1d(3),
            tied=torch.nn.Linear(3, 3, bias=False),
            short=torch.nn.Linear(3, 2).to(torch.bfloat16),
        )
    )
    model.tied.weight = model.first.weight
    return model


def trained():
    """The same with the values that are saved."""
    model = network()
    with torch.no_grad():
        for number, value in enumerate(model.state_dict().values()):
            value.copy_((torch.arange(value.numel()).reshape(value.shape) + number) / 7)
    return model


def state():
    """Every kind of value that a state may hold."""
    moments = {"step": torch.tensor(3.0), "exp_avg": torch.arange(6.0).reshape(2, 3) / 7}
    return {
        "engine": {
            "iteration": 7,
            "epoch_length": None,
            "max_epochs": math.inf,
            "footplate": {"counts": Counter(a=3), "position": (1, 2.5, True)},
        },
        "others": OrderedDict(
            optimizer={"state": {0: moments}, "param_groups": [{"lr": 0.1, "params": [0]}]}
        ),
        "random": {
            "torch": torch.arange(16, dtype=torch.uint8),
            "python": (3, tuple(range(5)), None),
        },
        "kinds": [
            torch.float16,
            torch.device("cpu"),
            torch.Size([2, 3]),
            {1, 2},
            1 + 2j,
            b"bytes",
            "text",
        ],
    }


def manifest():
    return Manifest(
        run="contract",
        iteration=7,
        epoch=2,
        exact=False,
        left_out=("optimizer",),
        error="ValueError: no",
        metrics={"accuracy": 0.75, "loss": math.nan, "worst": math.inf},
        score=0.75,
        seed=2**40,
        config={"lr": 0.1, "layers": [3, 3], "name": None, "nested": {"on": True}},
        meta={"note": "Grüße"},
    )


if __name__ == "__main__":
    folder = Path(tempfile.mkdtemp())
    path = CheckpointStore(folder).save(weights_of(trained()), state(), manifest())
    shutil.copytree(path, HERE / "format_1_full")
    shutil.rmtree(folder)
