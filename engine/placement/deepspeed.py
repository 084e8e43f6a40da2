"""DeepSpeed: its ZeRO keeps optimizer states, gradients and parameters in parts."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils._pytree import tree_map

from ..errors import StateError
from ..optional import required
from ..step.compiling import own_name
from .placement import Placement
from .ranks import is_first, local_rank, world_size
from .solitude import join_alone
from .spreading import mean_over_processes, spread
from .zero_config import checked_config
from .zero_state import ZeroState

__all__ = ["DeepSpeed"]


class DeepSpeed(Placement):
    """A model that DeepSpeed trains, by ZeRO of stage 1, 2 or 3.

    The model stays the object that it was. Its optimizer is stepped by DeepSpeed, in parts: in all
    stages its state lies in parts in the processes, from stage 2 on the gradients, and in stage 3
    the parameters, too. Batches are accumulated and losses weighed by the training step; gradients
    are clipped by DeepSpeed, be it asked for by the training step or in the configuration. Since it
    keeps the gradients to itself, handlers that look at them or change them see none, and a
    checkpoint can't be written within an open window.

    Args:
        device: of this process.
        config: DeepSpeed's configuration, a mapping or the path of a JSON file. What says how
            large batches are may be left out.

    Attributes:
        engine: DeepSpeed's own, once there is an optimizer.

    Raises:
        ImportError: if DeepSpeed is not installed.
        ValueError: for what the training step, or a handler, has to be asked for.

    Source: Rajbhandari et al., ZeRO: Memory Optimizations Toward Training Trillion Parameter
    Models, 2020.

    Example:
        >>> placement = DeepSpeed("cpu", config={"zero_optimization": {"stage": 2}})
        >>> placement.stage, placement.several, placement.engine is None
        (2, True, True)
    """

    several = True
    keeps_gradients = True

    def __init__(
        self,
        device: str | int | torch.device = "auto",
        *,
        config: Mapping[str, Any] | str | os.PathLike[str],
    ) -> None:
        super().__init__(device)
        given = config if isinstance(config, Mapping) else json.loads(Path(config).read_text())
        self.config = checked_config(given)
        os.environ.setdefault("DS_ACCELERATOR", self.device.type)  # asked for by its import
        with required("deepspeed", "DeepSpeed()"):
            import deepspeed
        self._deepspeed = deepspeed
        self.engine: Any = None
        self._model: nn.Module | None = None
        self._optimization: Any = None
        self._own_optimizer: Optimizer | None = None
        self._total: float = 1.0  # what the gradients at hand are divided by
        self._held = 0  # batches whose gradients DeepSpeed holds
        self._takes_weights = False  # whether the model's weights may have been loaded

    @property
    def stage(self) -> int:
        """Of ZeRO."""
        return int(self.config["zero_optimization"]["stage"])

    @property
    def in_step(self) -> bool:  # type: ignore[override]
        """Whether a forward pass waits for those of other processes, as in stage 3."""
        return self.stage == 3

    # ------------------------------------------------------------------ what is trained

    def place(self, model: nn.Module) -> nn.Module:
        """Put the model on its device; the first process's weights count."""
        model = super().place(model)
        if world_size() > 1:
            spread([*model.parameters(), *model.buffers()])
        self._model = model
        return model

    def bind(self, model: nn.Module, *, one_backward: bool) -> None:
        """Know the model.

        Raises:
            ValueError: for another one than was placed, and one that steps its optimizer itself.
        """
        if model is not self._model:
            raise ValueError("DeepSpeed trains the model that place() was given; place this one.")
        if not one_backward:
            raise ValueError(
                "DeepSpeed trains a model by one loss and one optimizer a batch; several "
                "optimizers, turns, and models that step their optimizer can be had as replicas."
            )

    def optimizer(self, model: nn.Module) -> Optimizer | None:
        """The optimizer that the configuration tells of, made by DeepSpeed, if it does."""
        if "optimizer" not in self.config:
            return None
        self._start(model, None, 0.0)
        self._own_optimizer = _Told(model, self._zero.param_groups[0])
        return self._own_optimizer

    def own(self, optimization: Any) -> None:
        """Have DeepSpeed take over an optimization, which keeps its learning rates and events.

        Raises:
            ValueError: for what DeepSpeed can't do, or is asked for in its configuration, too.
        """
        norm = _norm_to_clip(optimization, self.config)
        optimizer = optimization.optimizer
        if self._own_optimizer is None:
            if "optimizer" in self.config:
                raise ValueError(
                    "an optimizer was given, and config= tells of another one; leave one of them "
                    "out."
                )
            assert self._model is not None
            self._start(self._model, _twin(optimizer), norm)
        elif optimizer is not self._own_optimizer:
            raise ValueError("DeepSpeed has made an optimizer already; train with that one.")
        elif norm:
            raise ValueError("clip= comes too late; say 'gradient_clipping' in config=.")
        optimization.clip = None
        self._optimization = optimization

    # ------------------------------------------------------------------ a batch

    def call(self, function: Callable[..., Any], *args: Any) -> Any:
        """Call the forward pass, with the weights that the model has now."""
        self._take_weights()
        self._zero.clear_backward_seen_flag()
        return function(*args)

    def backward(self, loss: Tensor, **how: Any) -> None:
        """Have DeepSpeed compute gradients."""
        if how:
            raise TypeError(
                f"DeepSpeed runs backward by itself, and can't be told {', '.join(how)}; leave it "
                f"out, or train with model_wrapper_cfg=dict(type='ddp')."
            )
        if self._held and not self._optimization.window.held:
            raise RuntimeError(
                "DeepSpeed holds gradients of a step that was left out, by a veto or an error, and "
                "can't let go of them; go on from a checkpoint, without the handler that vetoes."
            )
        self._held += 1
        self.engine.backward(loss, scale_wrt_gas=False)

    def divide(self, gradients: list[Tensor], total: float | Tensor) -> None:
        """Divide them when DeepSpeed steps."""
        self._total = float(total)

    def mean(self, total: float | Tensor) -> float | Tensor:
        """The mean over the processes."""
        return mean_over_processes(total, self.device)

    def step(self, optimizer: Optimizer) -> str | None:
        """Have DeepSpeed exchange, clip and step."""
        zero, total = self._zero, self._total
        for own, theirs in zip(optimizer.param_groups, zero.param_groups, strict=True):
            theirs.update({key: value for key, value in own.items() if key != "params"})
        zero.loss_scale *= total  # which it divides gradients by
        try:
            self.engine.step()
        finally:
            zero.loss_scale /= total
            self._total, self._held = 1.0, 0
        norm = self.engine.get_global_grad_norm()
        self._optimization.norm = None if norm is None else torch.as_tensor(norm).float()
        return None if self.engine.was_step_applied() else "overflow"

    def align(self, model: nn.Module) -> None:
        """Have all processes know the first one's buffers."""
        if world_size() > 1:
            spread(model.buffers())

    @contextmanager
    def whole(self, model: nn.Module) -> Iterator[None]:
        """Within it the model has all its parameters, which is so anyway but in stage 3.

        What the first process changes in them counts behind it in all. All have to enter it.
        """
        if not self._in_parts:
            yield
            return
        parameters = [*model.parameters()]
        with self._deepspeed.zero.GatheredParameters(parameters, modifier_rank=0):
            yield

    @contextmanager
    def loading(self, model: nn.Module) -> Iterator[None]:
        """Within it weights are loaded, of which the first process's count."""
        try:
            with self.whole(model):
                yield
        finally:
            self._takes_weights = True

    def collected(self, model: nn.Module, weights: dict[str, Tensor]) -> dict[str, Tensor]:
        """In stage 3 the whole of each, gathered one after the other, on the first process."""
        if not self._in_parts:
            return weights
        named = model.named_parameters(remove_duplicate=False)
        parameters = {own_name(name): one for name, one in named}
        copies = {}
        for one in dict.fromkeys(parameters.values()):  # a tied one once
            with self._deepspeed.zero.GatheredParameters([one]):
                if is_first():
                    copies[one] = one.detach().to("cpu", copy=True)
        told = {name: copies[one] for name, one in parameters.items() if one in copies}
        return {**weights, **{name: one for name, one in told.items() if name in weights}}

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """This process's part: weights in full precision, the optimizer's state, the loss scale.

        Raises:
            StateError: within a window of several batches, whose gradients DeepSpeed has.
        """
        if self._held:
            raise StateError(
                f"DeepSpeed holds gradients of {self._held} batches, which can't be saved; save "
                f"when a window ends, or train without accumulate=."
            )
        self._take_weights()
        return ZeroState(self._zero, self.stage).state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from this process's part, behind the loading of the model's weights.

        Raises:
            StateError: if it is of another stage, or of another number of processes.
        """
        ZeroState(self._zero, self.stage).load_state_dict(state)
        self._takes_weights = False

    # ------------------------------------------------------------------ parts

    @property
    def _in_parts(self) -> bool:
        return self.stage == 3 and self.engine is not None

    def _take_weights(self) -> None:
        """Have those that were loaded count in full precision, too."""
        if self._takes_weights:
            self._takes_weights = False
            self._zero.refresh_fp32_params()

    @property
    def _zero(self) -> Any:
        if self.engine is None:
            raise RuntimeError("DeepSpeed has no optimizer yet; make the training step first.")
        return self.engine.optimizer

    def _start(self, model: nn.Module, optimizer: Optimizer | None, norm: float) -> None:
        config = {**self.config, **({"gradient_clipping": norm} if norm else {})}
        logging.getLogger("DeepSpeed").setLevel(logging.WARNING)
        join_alone()
        os.environ.setdefault("LOCAL_RANK", str(local_rank()))  # which DeepSpeed looks up
        self.engine, *_ = self._deepspeed.initialize(
            model=model,
            model_parameters=[*model.parameters()] if optimizer is None else None,
            optimizer=optimizer,
            config=config,
            dist_init_required=False,
        )
        self._takes_weights = True
        if (dtype := self.engine.get_data_types()[0]) != torch.float32:
            model.register_forward_pre_hook(partial(_cast, dtype), with_kwargs=True)


class _Told(Optimizer):
    """What stands for an optimizer that DeepSpeed has: its options over the model's parameters."""

    def __init__(self, model: nn.Module, group: Mapping[str, Any]) -> None:
        options = {key: value for key, value in group.items() if key != "params"}
        super().__init__(model.parameters(), options)

    def step(self, closure: Any = None) -> None:  # type: ignore[override]
        raise RuntimeError("DeepSpeed steps this optimizer; let the training step do it.")


def _cast(dtype: torch.dtype, _: nn.Module, args: Any, kwargs: Any) -> tuple[Any, Any]:
    """What a model of half precision is given, in the type of its weights."""

    def cast(value: Any) -> Any:
        floating = isinstance(value, Tensor) and value.is_floating_point()
        return value.to(dtype) if floating else value

    return tree_map(cast, (args, kwargs))  # type: ignore[no-any-return]


def _twin(optimizer: Optimizer) -> Optimizer:
    """The same optimizer over the same parameters, which DeepSpeed may put in parts."""
    if optimizer.state:
        raise ValueError("the optimizer has stepped already; give DeepSpeed a new one.")
    twin = object.__new__(type(optimizer))
    groups = [{**group, "params": [*group["params"]]} for group in optimizer.param_groups]
    twin.__dict__.update(optimizer.__dict__)
    twin.__dict__.update(param_groups=groups, state=type(optimizer.state)(dict))
    return twin


def _norm_to_clip(optimization: Any, config: Mapping[str, Any]) -> float:
    """The norm that the training step is to clip to, 0 for none; refuse what DeepSpeed can't."""
    clip, precision = optimization.clip, optimization.precision.kind
    if not optimization.alone:
        raise ValueError("DeepSpeed trains with one optimizer; make parameter groups of several.")
    if precision == "fp16":
        raise ValueError(
            "precision='fp16' scales losses, which DeepSpeed does itself; say "
            "{'fp16': {'enabled': true}} in config=."
        )
    if clip is None:
        return 0.0
    if config.get("gradient_clipping"):
        raise ValueError(
            f"clip={clip!r} and config= with 'gradient_clipping' "
            f"{config['gradient_clipping']!r} both say how to clip; give one."
        )
    norm, kind = getattr(clip, "max_norm", None), getattr(clip, "norm_type", None)
    if norm is None or kind != 2:
        raise ValueError(f"DeepSpeed clips by the norm alone, given {clip!r}; give ClipNorm(…).")
    return float(norm)
