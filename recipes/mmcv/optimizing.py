"""Optimizing: the hooks that make steps of losses, each by an Optimization of Footplate."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any, Literal

from torch import Tensor, nn

from ...engine.step.accumulation import Accumulation
from ...engine.step.clipping import ClipNorm
from ...engine.step.losses import read_loss
from ...engine.step.optimization import Clip, Optimization
from ...engine.step.precision import Precision
from ...engine.whole import whole
from .hook import HOOKS, Hook

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = [
    "Fp16OptimizerHook",
    "GradientCumulativeFp16OptimizerHook",
    "GradientCumulativeOptimizerHook",
    "OptimizerHook",
    "optimizations",
]


@HOOKS.register_module()
class OptimizerHook(Hook):
    """Runs backward on ``runner.outputs["loss"]`` behind each iteration, and steps.

    A class of your own may override ``after_train_iter(runner)``, and use ``runner.optimizer`` and
    :meth:`clip_grads`.

    Args:
        grad_clip: keywords of ``torch.nn.utils.clip_grad_norm_``, ``dict(max_norm=35)`` say; the
            norm before that is logged as ``grad_norm``.
        detect_anomalous_params: not supported.
    """

    clip: Clip | None = None
    accumulation: Accumulation = Accumulation()
    precision: Precision = Precision()

    def __init__(
        self, grad_clip: Mapping[str, Any] | None = None, detect_anomalous_params: bool = False
    ) -> None:
        if detect_anomalous_params:
            raise NotImplementedError(
                "detect_anomalous_params is not here; parameters that the loss does not depend on "
                "have no gradient: look at parameter.grad in a handler of GRADIENTS_READY."
            )
        self.grad_clip = grad_clip
        self.clip = None if grad_clip is None else ClipNorm(**grad_clip)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Backward, and a step."""
        self._advance(runner)

    def clip_grads(self, params: Iterable[nn.Parameter]) -> Tensor | None:
        """Clip gradients as ``grad_clip`` says; for an ``after_train_iter`` of your own.

        Args:
            params: of which those count that are trained and have a gradient.

        Returns:
            the norm before that, a scalar; ``None`` where there is no gradient.

        Raises:
            ValueError: without ``grad_clip``.

        Example:
            >>> weight = nn.Parameter(Tensor([0.0, 0.0]))
            >>> weight.grad = Tensor([3.0, 4.0])
            >>> OptimizerHook(grad_clip=dict(max_norm=1.0)).clip_grads([weight]).item()
            5.0
        """
        if self.clip is None:
            raise ValueError(
                f"{type(self).__name__} has no grad_clip; give dict(max_norm=…), or ask "
                f"self.grad_clip before."
            )
        trained = [one for one in params if one.requires_grad and one.grad is not None]
        return self.clip(trained) if trained else None

    def _advance(self, runner: BaseRunner) -> bool:
        """Backward, and a step if it is time for one; returns whether it was."""
        optimization = _the_one(runner)
        loss = read_loss({"loss": runner.outputs.get("loss")})
        if loss is None:
            raise ValueError("train_step returns a dict whose 'loss' is a tensor, not None.")
        optimization.backward(loss)
        last = runner.iter + 1 == runner.max_iters
        stepped = optimization.step() if last else optimization.settle()
        if stepped and optimization.norm is not None:
            count = runner.outputs.get("num_samples", 1)
            runner.log_buffer.update({"grad_norm": float(optimization.norm)}, count)
        return not optimization.window.held


@HOOKS.register_module()
class GradientCumulativeOptimizerHook(OptimizerHook):
    """Steps behind each so many iterations, and behind the last one of the run.

    The gradients are summed and divided once, where MMCV divides each loss: where the number is
    no power of two, the last bits may differ.

    Args:
        cumulative_iters: how many.
        options: those of :class:`OptimizerHook`.

    Example:
        >>> hook = HOOKS.build(dict(type="GradientCumulativeOptimizerHook", cumulative_iters=4))
        >>> hook.cumulative_iters   # runner.register_optimizer_hook(hook)
        4
    """

    def __init__(self, cumulative_iters: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.cumulative_iters = whole("cumulative_iters", cumulative_iters)
        self.accumulation = Accumulation(cumulative_iters, at_epoch_end="carry")


@HOOKS.register_module()
class Fp16OptimizerHook(OptimizerHook):
    """Has the forward pass of ``train_step`` in half precision, and scales losses.

    Args:
        grad_clip: as for :class:`OptimizerHook`.
        coalesce, bucket_size_mb, distributed: accepted, and nothing else.
        loss_scale: the scale; ``"dynamic"``; or keywords of ``torch.amp.GradScaler``.

    Raises:
        ValueError: for another scale.

    Example:
        >>> hook = Fp16OptimizerHook(grad_clip=dict(max_norm=35), loss_scale="dynamic")
        >>> hook.precision.dtype
        torch.float16
    """

    def __init__(
        self,
        grad_clip: Mapping[str, Any] | None = None,
        coalesce: bool = True,
        bucket_size_mb: int = -1,
        loss_scale: float | Literal["dynamic"] | Mapping[str, Any] = 512.0,
        distributed: bool = True,
    ) -> None:
        super().__init__(grad_clip)
        self._static: float | None = None
        if isinstance(loss_scale, Mapping):
            scaler = dict(loss_scale)
        elif loss_scale == "dynamic":
            scaler = {}
        elif isinstance(loss_scale, (int, float)) and math.isfinite(loss_scale):
            self._static = float(loss_scale)
            scaler = {"init_scale": self._static}
        else:
            raise ValueError(f"loss_scale is a number, a dict or 'dynamic', given {loss_scale!r}.")
        self.precision = Precision("fp16", **scaler)

    def after_train_iter(self, runner: BaseRunner) -> None:
        """Backward, and a step; a scale that was said as a number stays what it is."""
        scaler = _the_one(runner).scaler
        if self._advance(runner) and self._static is not None and scaler is not None:
            scaler.update(self._static)


@HOOKS.register_module()
class GradientCumulativeFp16OptimizerHook(Fp16OptimizerHook):
    """Both: :class:`GradientCumulativeOptimizerHook` in half precision.

    Args:
        cumulative_iters: behind how many iterations it steps.
        options: those of :class:`Fp16OptimizerHook`.

    Example:
        >>> hook = GradientCumulativeFp16OptimizerHook(cumulative_iters=4, loss_scale=512.0)
        >>> hook.cumulative_iters, hook.precision.dtype
        (4, torch.float16)
    """

    def __init__(self, cumulative_iters: int = 1, **options: Any) -> None:
        super().__init__(**options)
        self.cumulative_iters = whole("cumulative_iters", cumulative_iters)
        self.accumulation = Accumulation(cumulative_iters, at_epoch_end="carry")


def optimizations(runner: BaseRunner) -> dict[str, Optimization]:
    """What steps a runner's optimizers, as its optimizer hook says, and is saved with them."""
    hooks = [one for one in runner.hooks if isinstance(one, OptimizerHook)]
    hook = hooks[0] if hooks else OptimizerHook()
    return {
        name: Optimization(
            optimizer,
            name=f"optimization_{name}" if name else "optimization",
            precision=hook.precision,
            accumulate=hook.accumulation,
            clip=hook.clip,
        )
        for name, optimizer in runner.optimizers.items()
    }


def _the_one(runner: BaseRunner) -> Optimization:
    if len(runner.optimizations) != 1:
        raise ValueError(
            f"an OptimizerHook steps one optimizer, and the runner has "
            f"{len(runner.optimizations)}; with several the model steps them in train_step, and "
            f"optimizer_config is None."
        )
    return next(iter(runner.optimizations.values()))
