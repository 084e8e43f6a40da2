"""pytorch-ignite's factories of supervised trainers and evaluators, for Footplate's engine."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

import torch
from ignite.metrics import Metric
from ignite.utils import convert_tensor
from torch import nn
from torch.amp.grad_scaler import GradScaler
from torch.optim import Optimizer

from ...engine.engine import Engine
from ...engine.errors import nearest
from ...engine.step.evaluation import EvaluationStep
from ...engine.step.precision import Precision
from ...engine.step.training import TrainingStep
from ...engine.whole import whole
from .prepared import Prepared
from .seeded_passes import SeededPasses
from .updates import Amp, DividedLosses

__all__ = ["create_supervised_evaluator", "create_supervised_trainer"]

Device = str | torch.device | None
Prepare = Callable[..., tuple[Any, Any]]


def _pair(batch: Any, device: Device, non_blocking: bool) -> tuple[Any, Any]:
    x, y = batch
    move = partial(convert_tensor, device=device, non_blocking=non_blocking)
    return move(x), move(y)


def _answer(model: nn.Module, x: Any) -> Any:
    return model(x)


def _as_it_is(outputs: Any) -> Any:
    return outputs


def _number(x: Any, y: Any, y_pred: Any, loss: torch.Tensor) -> float:
    return loss.item()


def _answer_and_target(x: Any, y: Any, y_pred: Any) -> tuple[Any, Any]:
    return y_pred, y


def create_supervised_trainer(
    model: nn.Module,
    optimizer: Optimizer,
    loss_fn: Callable[[Any, Any], torch.Tensor] | nn.Module,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Prepare = _pair,
    model_transform: Callable[[Any], Any] = _as_it_is,
    output_transform: Callable[[Any, Any, Any, torch.Tensor], Any] = _number,
    deterministic: bool = False,
    amp_mode: str | None = None,
    scaler: bool | GradScaler = False,
    gradient_accumulation_steps: int = 1,
    model_fn: Callable[[nn.Module, Any], Any] = _answer,
) -> Engine:
    """An engine that trains as pytorch-ignite's function of this name has its engine train.

    The losses are the same to the last bit. The step is a
    :class:`~footplate.engine.step.training.TrainingStep`: it fires the events of steps, and the
    optimizer and the scaler are saved with the engine.

    Args:
        model: the model; it is not moved.
        optimizer: its optimizer, of all parameters or some.
        loss_fn: called as ``loss_fn(y_pred, y)``.
        device: where batches are moved to.
        non_blocking: whether copies from pinned memory to a GPU are not waited for.
        prepare_batch: called as ``prepare_batch(batch, device=…, non_blocking=…)``; gives
            ``(x, y)``.
        model_transform: makes ``y_pred`` of what the model returns.
        output_transform: makes ``engine.state.output`` of ``(x, y, y_pred, loss)``, the last two
            detached; by default it is the loss as a number, which waits for the device.
        deterministic: whether each pass over the data is seeded, as by
            :class:`ignite.engine.DeterministicEngine`.
        amp_mode: ``"amp"`` for autocast on CUDA.
        scaler: what scales losses then; ``True`` for a new one, which ``engine.state.scaler`` is.
        gradient_accumulation_steps: batches that make one optimizer step.
        model_fn: called as ``model_fn(model, x)``.

    Returns:
        an engine named ``"train"``.

    Raises:
        ValueError: for a TPU, apex, autocast on MPS, and a scaler without autocast.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = create_supervised_trainer(model, sgd, nn.functional.mse_loss)
        >>> state = trainer.run([(torch.ones(4, 1), torch.ones(4, 1))] * 20)
        >>> state.iteration, state.output < 0.1
        (20, True)
    """
    grad_scaler = _scaler(device, amp_mode, scaler)
    precision = Amp(grad_scaler) if amp_mode else Precision("fp32")
    size = whole("gradient_accumulation_steps", gradient_accumulation_steps)
    prepare = partial(prepare_batch, device=device, non_blocking=non_blocking)
    contract = Prepared(model, prepare, model_fn, model_transform, loss_fn)

    def output(batch: Any, y_pred: Any, report: Mapping[str, Any]) -> Any:
        return output_transform(contract.x, contract.y, y_pred, report["loss"])

    step = TrainingStep(contract, DividedLosses(optimizer, size, precision), output=output)
    trainer = Engine(step, name="train")
    if deterministic:
        trainer.attach(SeededPasses())
    if scaler is True:
        trainer.state.scaler = grad_scaler
    return trainer


def create_supervised_evaluator(
    model: nn.Module,
    metrics: Mapping[str, Metric] | None = None,
    device: Device = None,
    non_blocking: bool = False,
    prepare_batch: Prepare = _pair,
    model_transform: Callable[[Any], Any] = _as_it_is,
    output_transform: Callable[[Any, Any, Any], Any] = _answer_and_target,
    amp_mode: str | None = None,
    model_fn: Callable[[nn.Module, Any], Any] = _answer,
) -> Engine:
    """An engine that evaluates as pytorch-ignite's function of this name has its engine evaluate.

    The model is in evaluation mode while it runs, and then in the mode that it was in. What comes
    out of autocast in half precision is reported as fp32.

    Args:
        model: the model; it is not moved.
        metrics: metrics of pytorch-ignite by name, which are attached.
        device: where batches are moved to.
        non_blocking: whether copies from pinned memory to a GPU are not waited for.
        prepare_batch: called as ``prepare_batch(batch, device=…, non_blocking=…)``; gives
            ``(x, y)``.
        model_transform: makes ``y_pred`` of what the model returns.
        output_transform: makes ``engine.state.output`` of ``(x, y, y_pred)``; by default it is the
            pair ``(y_pred, y)``, as metrics take it.
        amp_mode: ``"amp"`` for autocast on CUDA.
        model_fn: called as ``model_fn(model, x)``.

    Returns:
        an engine named ``"val"``.

    Raises:
        ValueError: for a TPU, apex and autocast on MPS.

    Example:
        >>> from ignite.metrics import Accuracy
        >>> evaluator = create_supervised_evaluator(nn.Identity(), {"accuracy": Accuracy()})
        >>> evaluator.run([(torch.eye(3), torch.tensor([0, 1, 1]))]).metrics
        {'accuracy': 0.6666666666666666}
    """
    _scaler(device, amp_mode, False)
    prepare = partial(prepare_batch, device=device, non_blocking=non_blocking)
    contract = Prepared(model, prepare, model_fn, model_transform, output=output_transform)
    precision = Amp() if amp_mode else Precision("fp32")
    evaluator = Engine(EvaluationStep(contract, precision=precision), name="val")
    for name, metric in (metrics or {}).items():
        metric.attach(evaluator, name)  # type: ignore[arg-type]
    return evaluator


def _scaler(device: Device, amp_mode: str | None, scaler: bool | GradScaler) -> GradScaler | None:
    """The scaler that is asked for; refuses what can't be done."""
    kind = str(device).partition(":")[0]
    if kind == "xla":
        raise ValueError(
            f"device={str(device)!r} is a TPU, which Footplate does not train on; give 'cuda' or "
            f"'cpu'."
        )
    if amp_mode == "apex":
        raise ValueError(
            "amp_mode='apex' is not supported: apex's amp has given way to torch's; write "
            "amp_mode='amp'."
        )
    if amp_mode not in (None, "amp"):
        hint = nearest(str(amp_mode), ["amp"])
        raise ValueError(f"amp_mode is 'amp' or None, given {amp_mode!r}.{hint}")
    if amp_mode and kind == "mps":
        raise ValueError("amp_mode='amp' is autocast on CUDA, given device='mps'; leave it out.")
    if scaler and not amp_mode:
        raise ValueError("scaler= scales losses under autocast; add amp_mode='amp'.")
    if isinstance(scaler, bool):
        return GradScaler("cuda") if scaler else None
    return scaler
