"""Optimizations by the names of MMEngine's wrappers, for models that drive them themselves."""

from __future__ import annotations

from collections.abc import ItemsView, Iterator, KeysView, Mapping, ValuesView
from contextlib import AbstractContextManager
from typing import Any

from torch import Tensor, nn

from ..optimization import Optimization
from .driven import DrivenOptimization

__all__ = ["OptimWrapper", "OptimWrapperDict", "optim_wrapper"]


class OptimWrapper:
    """An optimization, by the names that MMEngine's ``OptimWrapper`` has.

    A ``train_step(data, optim_wrapper)`` may call :meth:`update_params`, or take its parts one by
    one, as MMEngine's does. Gradients of a window are divided when it is stepped with, so
    :meth:`scale_loss` leaves a loss as it is; :meth:`step` clips, does what fp16 needs, and lets
    the gradients go. Where there are several optimizers, backward gives gradients to all
    that a loss depends on, as there. Whatever else is asked for, the optimization has.

    Args:
        optimization: what it speaks for.

    Attributes:
        optimization: the same.
        inner_count: batches whose gradients were added, since it was made.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor([1.0]))
        >>> sgd = torch.optim.SGD([weight], lr=0.1)
        >>> wrapper = OptimWrapper(Optimization(sgd, accumulate=2))
        >>> for x in (2.0, 4.0):
        ...     wrapper.update_params((weight * x).sum())
        >>> weight.item(), wrapper.get_lr(), wrapper.inner_count
        (0.699999988079071, {'lr': [0.1]}, 2)
    """

    base_param_settings = None

    def __init__(self, optimization: Optimization) -> None:
        self.optimization = optimization
        self.inner_count = 0

    def __getattr__(self, name: str) -> Any:
        if name == "optimization":  # not there yet, as when it is being copied
            raise AttributeError(name)
        return getattr(self.optimization, name)

    # ------------------------------------------------------------------ an update and its parts

    def update_params(
        self,
        loss: Tensor,
        step_kwargs: Mapping[str, Any] | None = None,
        zero_kwargs: Mapping[str, Any] | None = None,
    ) -> None:
        """Add a batch's gradients, and make a step if that fills the window."""
        self.backward(self.scale_loss(loss))
        if self.should_update():
            self.step(**(step_kwargs or {}))
            self.zero_grad(**(zero_kwargs or {}))

    def optim_context(self, model: nn.Module) -> AbstractContextManager[None]:
        """The context for a model's forward pass."""
        optimization = self.optimization
        return optimization.precision.autocast(optimization.device_type)

    def scale_loss(self, loss: Tensor) -> Tensor:
        """The loss as it is: gradients are divided when they are stepped with."""
        return loss

    def backward(self, loss: Tensor, **how: Any) -> None:
        """Add a batch's gradients, with keywords of ``Tensor.backward``."""
        everywhere = {} if self.optimization.alone else {"inputs": None}
        self.optimization.backward(loss, **{**everywhere, **how})
        self.inner_count += 1

    def should_update(self) -> bool:
        """Whether the window is full, or the epoch ends with this batch, and it with that."""
        return self.optimization.closes()

    def should_sync(self) -> bool:
        """Whether a step follows the batch that is about to come."""
        return self.optimization.closes_next()

    def step(self) -> None:
        """Step with what there is, and let the gradients go."""
        self.optimization.step()

    def zero_grad(self, set_to_none: bool = True) -> None:
        """Let the gradients go.

        Raises:
            TypeError: if they are to be kept as zeros.
        """
        if not set_to_none:
            raise TypeError(
                "zero_grad(set_to_none=False) would leave zeros, with which an optimizer goes on; "
                "gradients are let go of here. Leave it out."
            )
        if any(one.grad is not None for one in self.optimization.parameters):
            self.optimization.zero_grad()

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Nothing: the engine knows where a run stands, and where it ends."""

    # ------------------------------------------------------------------ what it tells

    @property
    def param_groups(self) -> list[dict[str, Any]]:
        """The optimizer's."""
        groups: list[dict[str, Any]] = self.optimization.optimizer.param_groups
        return groups

    @property
    def defaults(self) -> dict[str, Any]:
        """The optimizer's."""
        return self.optimization.optimizer.defaults

    def get_lr(self) -> dict[str, list[float]]:
        """The learning rate of each parameter group."""
        return {"lr": [group["lr"] for group in self.param_groups]}

    def get_momentum(self) -> dict[str, list[float]]:
        """The momentum of each parameter group: Adam's first beta, 0 where there is none."""
        return {"momentum": [_momentum(group) for group in self.param_groups]}

    def __repr__(self) -> str:
        return f"OptimWrapper({self.optimization.optimizer!r})"


class OptimWrapperDict:
    """Several of them by name, as MMEngine's ``OptimWrapperDict``; each is driven by itself.

    Args:
        optim_wrappers: the wrappers by name.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)
        >>> both = OptimWrapperDict(generator=OptimWrapper(Optimization(sgd)))
        >>> list(both), both.get_lr()
        (['generator'], {'generator.lr': [0.1]})
    """

    def __init__(self, **optim_wrappers: OptimWrapper) -> None:
        self.optim_wrappers = optim_wrappers

    def __getitem__(self, name: str) -> OptimWrapper:
        return self.optim_wrappers[name]

    def __contains__(self, name: object) -> bool:
        return name in self.optim_wrappers

    def __iter__(self) -> Iterator[str]:
        return iter(self.optim_wrappers)

    def __len__(self) -> int:
        return len(self.optim_wrappers)

    def __getattr__(self, name: str) -> Any:
        raise AttributeError(
            f"there are several optim_wrappers, {', '.join(vars(self).get('optim_wrappers', ()))}, "
            f"and {name!r} is a matter of each: optim_wrapper[name].{name}."
        )

    def keys(self) -> KeysView[str]:
        """The names."""
        return self.optim_wrappers.keys()

    def values(self) -> ValuesView[OptimWrapper]:
        """The wrappers."""
        return self.optim_wrappers.values()

    def items(self) -> ItemsView[str, OptimWrapper]:
        """Both."""
        return self.optim_wrappers.items()

    def zero_grad(self) -> None:
        """Let all gradients go."""
        for one in self.values():
            one.zero_grad()

    def initialize_count_status(self, model: nn.Module, init_counts: int, max_counts: int) -> None:
        """Nothing, as of one alone."""

    @property
    def param_groups(self) -> dict[str, list[dict[str, Any]]]:
        """Those of each by name."""
        return {name: one.param_groups for name, one in self.items()}

    def get_lr(self) -> dict[str, list[float]]:
        """The learning rates, as ``{"generator.lr": […]}``."""
        return {f"{name}.lr": one.get_lr()["lr"] for name, one in self.items()}

    def get_momentum(self) -> dict[str, list[float]]:
        """The momenta, as ``{"generator.momentum": […]}``."""
        return {f"{name}.momentum": one.get_momentum()["momentum"] for name, one in self.items()}

    def state_dict(self) -> dict[str, Any]:
        """The state of each by name."""
        return {name: one.state_dict() for name, one in self.items()}

    def load_state_dict(self, state_dict: Mapping[str, Any]) -> None:
        """Set them."""
        for name, state in state_dict.items():
            self[name].load_state_dict(state)

    def __repr__(self) -> str:
        return f"OptimWrapperDict({self.optim_wrappers!r})"


def optim_wrapper(optimizations: Mapping[str, Optimization]) -> OptimWrapper | OptimWrapperDict:
    """What a ``train_step`` is given: the one wrapper, or several by name."""
    made = {name: _one(one) for name, one in optimizations.items()}
    return OptimWrapperDict(**made) if len(made) > 1 else next(iter(made.values()))


def _one(optimization: Optimization) -> Any:
    """What speaks for it: the wrapper itself, where it is driven as it is."""
    if isinstance(optimization, DrivenOptimization):
        return optimization.wrapper
    return OptimWrapper(optimization)


def _momentum(group: Mapping[str, Any]) -> float:
    if "momentum" in group:
        return float(group["momentum"])
    return float(group["betas"][0]) if "betas" in group else 0.0
