"""Runners whose model is wrapped in one way or another, called in each of several processes."""

from __future__ import annotations

import warnings
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

from footplate import Runner
from footplate.engine.checkpoints.finding import find
from tests.distributed.composed import Rows, config

__all__: list[str] = []


def zero(stage: int, **more: Any) -> dict[str, Any]:
    """What has DeepSpeed train the model, with some parameters in parts, in stage 3, and some not."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # torch's, of what DeepSpeed calls
    import deepspeed.ops

    # an operator for inference, which would be compiled here for minutes
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    told = {"stage": stage, "stage3_param_persistence_threshold": 10}
    return {"type": "deepspeed", "config": {"zero_optimization": told, **more}}


def weights(runner: Runner) -> dict[str, list[float]]:
    """All of the model's, by name, in each process."""
    whole = getattr(runner.placement, "whole", None)
    sharded = any(isinstance(one, DTensor) for one in runner.model.parameters())
    if sharded or whole is None:
        return {name: _whole(one) for name, one in runner.model.state_dict().items()}
    with whole(runner.model):
        return {name: _whole(one) for name, one in runner.model.state_dict().items()}


def _whole(one: Tensor) -> list[float]:
    one = one.full_tensor() if isinstance(one, DTensor) else one
    return one.detach().double().reshape(-1).tolist()


def resumed(folder: str, stage: int, more: dict[str, Any]) -> dict[str, Any]:
    """The weights of a run in one go, of one that goes on, and in the file of the latter's."""

    def run(epochs: int, **how: Any) -> Runner:
        given = {"optim_wrapper": {"optimizer": {"type": "AdamW", "lr": 0.02}}, **more, **how}
        given["model_wrapper_cfg"] = zero(stage, **given.pop("zero", {}))
        given["train_cfg"] = {"max_epochs": epochs, "loss": _loss}
        return Runner(**config(folder, **given))

    whole = run(4, experiment_name="whole")
    whole.train()
    first = run(2, experiment_name="parts")
    first.train()
    second = run(4, experiment_name="parts", resume=True)
    second.train()
    saved = load_file(find(second.folder / "checkpoints", "last") / "model.safetensors")
    told = {name: _whole(one) for name, one in sorted(saved.items())}
    return {
        "once": weights(whole),
        "half": weights(first),
        "twice": weights(second),
        "saved": told,
        "accuracy": [one.trainer.state.metrics["val_accuracy"] for one in (whole, second)],
        "began": second.trainer.state.iteration,
    }


def _loss(y_pred: Tensor, y: Tensor) -> Tensor:
    return F.cross_entropy(y_pred.float(), y)


class BatchNormed(nn.Sequential):
    """Layers with the statistics of their inputs."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def trained(folder: str, more: dict[str, Any]) -> dict[str, Any]:
    """The weights, losses and metrics of a run, and its largest tags for pictures."""
    more = dict(more)
    if more.pop("batch norm", False):
        torch.manual_seed(4)
        more["model"] = BatchNormed()
    if (stage := more.pop("stage", None)) is not None:
        more["model_wrapper_cfg"] = zero(stage)
    if "train_cfg" in more:
        more["train_cfg"] = {"max_epochs": 3, "loss": _loss, **more["train_cfg"]}
    if several := more.pop("val sizes", None):
        given = config(folder)["val_dataloader"]
        more["val_dataloader"] = {str(size): {**given, "dataset": Rows(size)} for size in several}
    runner = Runner(**config(folder, **more))
    losses: list[float] = []
    runner.trainer.add_event_handler(
        "ITERATION_COMPLETED", lambda engine: losses.append(float(engine.state.output["loss"]))
    )
    runner.train()
    metrics = {k: float(v) for k, v in runner.trainer.state.metrics.items()}
    return {
        "weights": weights(runner),
        "losses": losses,
        "metrics": metrics,
        "folder": str(runner.folder),
    }
