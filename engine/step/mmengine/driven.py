"""Wrappers of MMEngine that go about an update in their own way, driven as they are."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from torch import Tensor

from ...errors import StateError
from ..optimization import Optimization

__all__ = ["DrivenOptimization"]


class DrivenOptimization(Optimization):
    """An optimization that leaves backward, accumulation, clipping and steps to a wrapper.

    A model's ``train_step`` is handed the wrapper itself. Of the events of a step
    OPTIMIZER_STEPPED fires, and those of backward where the engine runs it.

    Args:
        wrapper: an ``OptimWrapper`` of MMEngine, of a class of the user's.

    Attributes:
        wrapper: the same.
    """

    def __init__(self, wrapper: Any) -> None:
        super().__init__(wrapper.optimizer)
        self.wrapper = wrapper
        self.optimizer.register_step_post_hook(self._stepped)

    def backward(
        self,
        loss: Tensor,
        weight: float | Tensor | None = None,
        *,
        shared_with: Sequence[Optimization] = (),
        **how: Any,
    ) -> None:
        """The wrapper's backward.

        Raises:
            ValueError: for weights, and for a loss that several optimizers share, which it does
                not know of.
        """
        if weight is not None or shared_with:
            raise ValueError(
                f"{type(self.wrapper).__name__} goes about an update in its own way, and knows of "
                f"no {'weight of a batch' if weight is not None else 'other optimizers'}; give an "
                f"optimizer, or MMEngine's own OptimWrapper."
            )
        announce = self._announce
        if announce.backward_started.calls:
            announce(announce.backward_started, loss=loss, optimization=self)
        self.wrapper.backward(self.wrapper.scale_loss(loss), **how)
        if announce.backward_completed.calls:
            announce(announce.backward_completed, loss=loss, optimization=self)

    def closes(self) -> bool:
        """Whether the wrapper would make a step."""
        return bool(self.wrapper.should_update())

    def closes_next(self) -> bool:
        """Whether it will with the batch that is about to come."""
        return bool(self.wrapper.should_sync())

    def step(self) -> bool:
        """The wrapper's step."""
        self.wrapper.step()
        self.zero_grad()
        return True

    def zero_grad(self) -> None:
        """Have the wrapper let the gradients go."""
        self.wrapper.zero_grad()

    def _stepped(self, *_: Any) -> None:
        stepped = self._announce.optimizer_stepped
        if stepped.calls:
            self._announce(stepped, optimization=self)
        elif self._announce.engine is not None:
            self._announce.count(stepped)

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """The wrapper's state, how far it has counted, and the gradients that it gathers."""
        gradients = [None if p.grad is None else p.grad.clone() for p in self.parameters]
        return {
            "wrapper": self.wrapper.state_dict(),
            "counted": self.wrapper._inner_count,
            "gradients": gradients,
        }

    def check_state(self, state: Mapping[str, Any]) -> None:
        """Refuse the state of another kind of optimization."""
        if state.keys() != {"wrapper", "counted", "gradients"}:
            raise StateError(
                f"the state of {self.name!r} is not that of a {type(self.wrapper).__name__}; go on "
                f"with the optim_wrapper that the run was begun with."
            )

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Go on from it.

        Raises:
            StateError: if it is that of another kind of optimization.
        """
        self.check_state(state)
        self.wrapper.load_state_dict(dict(state["wrapper"]))
        self.wrapper._inner_count = state["counted"]
        for parameter, gradient in zip(self.parameters, state["gradients"], strict=True):
            parameter.grad = None if gradient is None else gradient.clone().to(parameter.device)
