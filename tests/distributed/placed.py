"""Runners whose model several processes train in one way or another, called in each of them."""

from __future__ import annotations

import contextlib
import warnings
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

from footplate import Engine, Runner
from footplate.engine.checkpoints.finding import find
from footplate.engine.events import Events
from footplate.engine.placement.ranks import barrier, rank, world_size
from footplate.handlers.averaging import SWA
from footplate.handlers.non_finite import NonFiniteError
from footplate.handlers.weights import WeightHistograms
from tests.distributed.composed import Rows, config

ADAMW = {"optimizer": {"type": "AdamW", "lr": 0.02}}


def zero(stage: int, **more: Any) -> dict[str, Any]:
    """What has DeepSpeed train the model; in stage 3 small parameters stay whole, and no others."""
    warnings.filterwarnings("ignore", category=FutureWarning)  # torch's, of what DeepSpeed calls
    import deepspeed.ops

    # an operator for inference, which would be compiled here for minutes
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    told = {"stage": stage, "stage3_param_persistence_threshold": 10}
    told |= {"stage3_max_live_parameters": 0, "stage3_max_reuse_distance": 0}
    return {"type": "deepspeed", "config": {"zero_optimization": told, **more}}


class BatchNormed(nn.Sequential):
    """Layers with running means of what they are given."""

    def __init__(self) -> None:
        super().__init__(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Tanh(), nn.Linear(8, 3))


def made(folder: str, more: dict[str, Any]) -> Runner:
    """A runner, wrapped by ``stage`` of ZeRO or ``model_wrapper_cfg``; alone it is not."""
    more = {"val_evaluator": [{"type": "Accuracy"}, LOSS], **more}
    stage, own, sizes = (more.pop(one, None) for one in ("stage", "zero", "val sizes"))
    if stage is not None:
        more["model_wrapper_cfg"] = zero(stage, **(own or {}))
    if world_size() == 1:
        more.pop("model_wrapper_cfg", None)
    more["train_cfg"] = {"max_epochs": 3, "loss": loss, **more.get("train_cfg", {})}
    given = config(folder, **more)
    if sizes is not None:
        one = given["val_dataloader"]
        given["val_dataloader"] = {str(n): {**one, "dataset": Rows(n)} for n in sizes}
    return Runner(**given)


def loss(y_pred: Tensor, y: Tensor) -> Tensor:
    """Of outputs of any precision."""
    return F.cross_entropy(y_pred.float(), y)


LOSS = {"type": "ignite.metrics.Loss", "loss_fn": loss}


def weights(runner: Runner) -> dict[str, list[float]]:
    """All of the model's parameters, by name, in each process."""
    model = runner.model
    in_parts = any(hasattr(one, "ds_id") for one in model.parameters())
    with runner.placement.loading(model) if in_parts else contextlib.nullcontext():
        return {name: whole(one) for name, one in model.named_parameters()}


def whole(one: Tensor) -> list[float]:
    """The values of a tensor, of one in shards all of them."""
    one = one.full_tensor() if isinstance(one, DTensor) else one
    return one.detach().double().reshape(-1).tolist()


def trained(folder: str, more: dict[str, Any]) -> dict[str, Any]:
    """The weights, losses, metrics and pictures of a run, and what was saved of its weights."""
    model = config(folder)["model"]
    if more.pop("histograms", False):
        now_and_then = WeightHistograms(model, Events.ITERATION_STARTED(every=7))
        more["custom_hooks"] = [now_and_then]
    runner, losses, shown = made(folder, {"model": model, **more}), [], {}

    @runner.trainer.on("ITERATION_COMPLETED")
    def note(engine: Engine) -> None:
        losses.append(float(engine.state.output["loss"]))

    @runner.trainer.on("MEDIA_LOGGED")
    def look(kind: str, name: str, value: Any) -> None:
        if kind == "histogram":
            assert type(value) is Tensor  # which the sinks of one process can read alone
        if kind == "histogram" or name == "model":
            shown[name] = value if kind == "text" else whole(value)

    runner.train()
    metrics = {name: float(one) for name, one in runner.trainer.state.metrics.items()}
    told = {"weights": weights(runner), "losses": losses, "metrics": metrics, "shown": shown}
    return {**told, "folder": str(runner.folder)}


def refused(folder: str, more: dict[str, Any]) -> str:
    """What is said of a run that can't be made, or begun."""
    try:
        trained(folder, more)
    except (TypeError, ValueError) as error:
        return str(error)
    return "nothing"


def resumed(folder: str, more: dict[str, Any]) -> dict[str, Any]:
    """The weights of a run in one go, of one that goes on, and in the file of the latter's."""

    def run(epochs: int, name: str, *, resume: bool = False) -> Runner:
        train = {"train_cfg": {"max_epochs": epochs}, "experiment_name": name, "resume": resume}
        runner = made(folder, {"optim_wrapper": ADAMW, **more, **train})
        runner.train()
        return runner

    once, half = run(4, "once"), run(2, "parts")
    kept = half.save_checkpoint("half")
    again = run(4, "parts", resume=True)
    file = find(again.folder / "checkpoints", "last") / "model.safetensors"
    saved = {name: whole(one) for name, one in sorted(load_file(file).items())}
    again.load_checkpoint(kept / "model.safetensors")
    return {
        "once": weights(once),
        "half": weights(half),
        "twice": saved,
        "loaded": weights(again),
        "metrics": [dict(one.trainer.state.metrics) for one in (once, again)],
        "optimizer": type(again.optim_wrapper.optimizer).__name__,
    }


def failed(folder: str, more: dict[str, Any]) -> list[str]:
    """The checkpoints behind an error in the second epoch; no process waits for another."""
    runner = made(folder, more)

    @runner.trainer.on("FORWARD_STARTED")
    def fail(engine: Engine) -> None:
        if engine.state.iteration == 8:
            raise KeyError("lost")

    with contextlib.suppress(KeyError):
        runner.train()
    barrier()
    return sorted(one.name for one in (runner.folder / "checkpoints").iterdir() if one.is_dir())


def not_finite(folder: str, more: dict[str, Any]) -> list[Any]:
    """Where a run ends whose last process is given what is no number, and why."""
    runner = made(folder, more)
    if rank() == world_size() - 1:
        runner.train_dataloader.dataset.x[-24:] = float("nan")
    try:
        runner.train()
    except NonFiniteError as error:
        return [error.name, runner.iter]
    return []


def evaluated(folder: str, run: str, more: dict[str, Any]) -> dict[str, Any]:
    """What fresh runners measure and predict by a checkpoint."""
    given = {**more, "load_from": str(find(Path(run) / "checkpoints", "last"))}
    predicted = {"predict_dataloader": {"dataset": Rows(9), "batch_size": 2}}
    runner = made(folder, {**given, **predicted})
    measured = {name: float(one) for name, one in runner.val().items()}
    outputs = runner.predict()
    return {"metrics": measured, "predicted": [one.tolist() for one in torch.as_tensor(outputs)]}


def averaged(folder: str, more: dict[str, Any]) -> bool:
    """Whether the file of an average has its values, which are halves of the weights."""
    runner = made(folder, more)
    average = SWA(runner.model, start=1)
    average.update()
    before = weights(runner)
    with torch.no_grad():
        for one in runner.model.parameters():
            one.zero_()
    average.update()
    average.save(file := Path(folder) / f"{rank()}.safetensors")
    found = {name: whole(2 * one) for name, one in load_file(file).items()}
    return found == before and not any(map(any, weights(runner).values()))


def estimated(folder: str, more: dict[str, Any]) -> list[float]:
    """Running means of an average, from batches of which each process has some."""
    torch.manual_seed(4)
    runner = made(folder, {"model": BatchNormed(), **more})
    average = SWA(runner.model, start=1)
    average.update()
    x = Rows(40).x.reshape(5, 8, 6)
    mine = x if world_size() == 1 else (x[:2], x[2:])[rank()]
    average.update_batch_norm(mine)
    buffers = [one for name, one in average.averaged.items() if "running" in name]
    return torch.cat(buffers).tolist()
