"""A run in a process of its own, which may kill itself at an iteration; prints what came of it."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import sys

import torch
from ignite.metrics import MeanSquaredError
from torch import nn

from footplate.engine.events import Events
from footplate.recipes.runner import Runner


class Noisy(torch.utils.data.Dataset):
    """Samples with noise, as augmented ones have."""

    def __init__(self, size: int = 40) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        x = torch.rand(4) + index / self.size
        return x, x.sum(0, keepdim=True)


class Plain(torch.utils.data.Dataset):
    """Samples that are the same each time."""

    def __len__(self) -> int:
        return 8

    def __getitem__(self, index: int) -> tuple[torch.Tensor, torch.Tensor]:
        return torch.full((4,), float(index)), torch.ones(1)


class Net(nn.Sequential):
    def __init__(self) -> None:
        super().__init__(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 1))


def runner(work_dir: str, **changes: object) -> Runner:
    data = {"type": "tests.recipes.composition.killed_run.Noisy"}
    plain = {"type": "tests.recipes.composition.killed_run.Plain"}
    cfg = {
        "model": {"type": "tests.recipes.composition.killed_run.Net"},
        "work_dir": work_dir,
        "experiment_name": "killed",
        "train_dataloader": {"dataset": data, "batch_size": 4, "shuffle": True},
        "val_dataloader": {"dataset": {**data, "size": 8}, "batch_size": 4},
        "val_evaluator": {"mse": {"type": MeanSquaredError}},
        "test_dataloader": {"dataset": plain, "batch_size": 4},
        "test_evaluator": {"mse": {"type": MeanSquaredError}},
        "optim_wrapper": {"optimizer": {"type": "Adam", "lr": 0.01}, "accumulative_counts": 2},
        "param_scheduler": {"type": "CosineAnnealingLR", "by_epoch": False},
        "train_cfg": {"max_epochs": 3, "loss": {"type": "torch.nn.MSELoss"}},
        "custom_hooks": [{"type": "EMA", "decay": 0.9}],
        "default_hooks": {
            "checkpoint": {"interval": 7, "by_epoch": False, "save_best": "mse"},
            "logger": {"interval": 3, "progress_bar": False},
        },
        "randomness": {"seed": 5},
    }
    return Runner.from_cfg({**cfg, **changes})


def digest(tensors: dict[str, torch.Tensor]) -> str:
    whole = hashlib.sha256()
    for name, tensor in sorted(tensors.items()):
        whole.update(name.encode() + tensor.detach().numpy().tobytes())
    return whole.hexdigest()


def main(work_dir: str, kill_at: str = "", **changes: object) -> None:
    torch.set_num_threads(1)
    if changes.pop("seedless", None):
        changes["randomness"] = None
    made = runner(work_dir, resume=True, **changes)
    if kill_at:

        @made.trainer.on(Events.ITERATION_STARTED(once=int(kill_at)))
        def kill() -> None:
            os.kill(os.getpid(), signal.SIGKILL)

    made.train()
    told = {
        "weights": digest(made.model.state_dict()),
        "average": digest(made.trainer.handlers["ema"].model_state_dict()),
        "metrics": made.trainer.state.metrics["val_mse"],
        "folder": str(made.folder),
        "iter": made.iter,
        "seed": made.seed,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main(*sys.argv[1:3], **dict.fromkeys(sys.argv[3:], True))
