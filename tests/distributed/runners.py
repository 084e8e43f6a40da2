"""A runner in each of several processes, and what it knows of them; run as a module.

python -m tests.distributed.runners FOLDER OPTIONS, the latter as JSON
"""

from __future__ import annotations

import json
import os
import sys
import warnings
from typing import Any

import torch

from footplate import Runner
from footplate.engine.errors import LaunchError
from footplate.engine.placement.launching import leave
from tests.distributed.task import Net, Numbers


def made(folder: str, options: dict[str, Any]) -> Runner:
    """A runner that trains for two epochs."""
    default: dict[str, Any] = {
        "train_dataloader": {"dataset": Numbers(), "batch_size": 2, "shuffle": True},
        "train_cfg": {"max_epochs": 2, "loss": torch.nn.functional.mse_loss},
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 1e-5}},
        "env_cfg": {"dist_cfg": {"backend": "gloo", "timeout": 50}},
        "launcher": "auto",
    }
    return Runner(Net(), folder, **{**default, **options})


def say(what: str, value: Any) -> None:
    """One line for the test."""
    os.write(1, (json.dumps([what, value]) + "\n").encode())


def facts(runner: Runner) -> dict[str, Any]:
    """What a runner knows."""
    return {
        "who": [runner.rank, runner.world_size, runner.distributed, runner.launcher],
        "device": str(runner.device),
        "timestamp": runner.timestamp,
        "folder": str(runner.folder),
        "seed": runner.seed,
        "own seed": torch.initial_seed(),
        "resumes": str(runner.to_resume),
        "backend": torch.distributed.get_backend(),
    }


def main() -> None:
    """Make it, ask it in one process alone, and train."""
    folder, options = sys.argv[1], json.loads(sys.argv[2])
    rank = int(os.environ["RANK"])
    if options.pop("differ", False):
        options["train_cfg"] = {"max_epochs": 2 + rank, "loss": torch.nn.functional.mse_loss}
    warnings.simplefilter("ignore")
    runner = made(folder, options)
    if rank == 1:
        say("alone", [str(runner.folder), str(runner.to_resume)])  # the other does not ask
    say("facts", facts(runner))
    try:
        runner.train()
    except LaunchError as error:
        say("refused", str(error))
        return
    say("trained", [runner.epoch, runner.iter])
    leave()
    say("left", not torch.distributed.is_initialized())


if __name__ == "__main__":
    main()
