"""A run of several processes that may be killed at any moment, and then goes on."""

from __future__ import annotations

import hashlib
import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn

from footplate import Engine, Runner
from footplate.engine.errors import Signalled
from footplate.engine.placement.launching import join
from footplate.engine.placement.ranks import is_first
from tests.distributed.composed import Rows

__all__ = ["main"]


def main(folder: str, pause: str = "0") -> None:
    """Train, going on with what is there; the first process tells what came out of it."""
    join()
    torch.manual_seed(4)
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 3))
    losses: dict[int, float] = {}
    runner = Runner(
        model,
        folder,
        experiment_name="killed",
        resume=True,
        train_dataloader={"dataset": Rows(47), "batch_size": 4, "shuffle": True},
        val_dataloader={"dataset": Rows(7), "batch_size": 4},
        val_evaluator={"type": "Accuracy"},
        train_cfg={"max_epochs": 4, "loss": nn.functional.cross_entropy},
        optim_wrapper={"optimizer": {"type": "Adam", "lr": 0.01}, "accumulative_counts": 3},
        param_scheduler={"type": "CosineAnnealingLR", "T_max": 24},
        default_hooks={
            "report": None,
            "checkpoint": {"type": "CheckpointHook", "interval": 2, "by_epoch": False},
        },
        custom_hooks=[{"type": "EMA"}],
        randomness={"seed": 5},
    )

    @runner.trainer.on("ITERATION_COMPLETED")
    def note(engine: Engine) -> None:
        losses[engine.state.iteration] = engine.state.output["loss"].item()
        time.sleep(float(pause))

    try:
        runner.train()
    except Signalled as stopped:
        sys.exit(128 + stopped.signum)
    if is_first():
        told = {"weights": _digest(model), "metrics": _plain(runner.trainer.state.metrics)}
        Path(folder, "done.json").write_text(json.dumps(told))


def _digest(model: nn.Module) -> str:
    digest = hashlib.sha256()
    for one in model.state_dict().values():
        digest.update(one.numpy().tobytes())
    return digest.hexdigest()


def _plain(metrics: Any) -> dict[str, float]:
    wanted = ("val_accuracy", "loss_epoch")
    return {name: float(metrics[name]) for name in wanted}


if __name__ == "__main__":
    main(*sys.argv[1:])
