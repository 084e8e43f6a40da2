"""Older steps: what LightningModules of Lightning 1.x have, and Lightning 2 refuses."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from ...nested import leaves, map_nested
from ..losses import detached
from .calling import call_module
from .overridden import takes
from .steps import LightningSteps

if TYPE_CHECKING:
    from .optimization import LightningOptimization

__all__ = ["OlderSteps", "lightning_steps", "splits"]

_STEPS = ("training_step", "validation_step", "test_step")


class OlderSteps(LightningSteps):
    """A LightningModule with methods and parameters that Lightning had before version 2.

    - ``training_step(…, optimizer_idx)`` is called for each optimizer, whose parameters alone
      require gradients then; its steps and windows are its own.
    - With ``truncated_bptt_steps`` a batch is taken apart along its second axis, and each part is
      trained on; ``training_step(…, hiddens)`` gets what that of the part before has returned as
      ``"hiddens"``, detached, and ``None`` for the first.
    - ``training_step_end(outputs)``, ``validation_step_end`` and ``test_step_end`` make what counts
      of what the steps have returned.

    Several reports of one batch are a list: of parts, of optimizers, or of lists of these.

    Args:
        model: the module.

    Raises:
        TypeError: for parts where the module optimizes by hand.
    """

    def __init__(self, model: nn.Module, loss: None = None) -> None:
        super().__init__(model, loss)
        self._in_turn = takes(model, "training_step", "optimizer_idx")
        self._with_hiddens = takes(model, "training_step", "hiddens")
        self._size = int(getattr(model, "truncated_bptt_steps", 0) or 0)
        if self._size and not model.automatic_optimization:
            raise TypeError(
                f"{type(model).__name__} has truncated_bptt_steps = {self._size}, but optimizes by "
                f"hand; take the batch apart in training_step."
            )

    @staticmethod
    def wanted(model: nn.Module) -> bool:
        """Whether a module has anything of that."""
        named = any(takes(model, "training_step", one) for one in ("optimizer_idx", "hiddens"))
        ends = any(callable(getattr(model, f"{one}_end", None)) for one in _STEPS)
        return named or ends or bool(getattr(model, "truncated_bptt_steps", 0))

    def _train(self, batch: Any) -> Any:
        """Train on each part of the batch, by each optimizer."""
        parts = splits(self.model, batch, self._size) if self._size else [batch]
        turns = self._own if self._in_turn else self._own[:1]
        hiddens, reports = None, []
        for part in parts:
            of_part = []
            for number, one in enumerate(turns):
                with self._turn_of(one):
                    returned = self._optimize(one, part, **self._more(number, hiddens))
                of_part.append(self._reported(returned))
            if isinstance(of_part[-1], dict):
                hiddens = of_part[-1].get("hiddens", hiddens)
            reports.append(_squeezed(of_part))
        return _squeezed(reports)

    def _more(self, number: int, hiddens: Any) -> dict[str, Any]:
        """What the step is given by name."""
        asked = {"optimizer_idx": self._in_turn, "hiddens": self._with_hiddens}
        known = {"optimizer_idx": number, "hiddens": detached(hiddens)}
        return {name: known[name] for name, is_asked in asked.items() if is_asked}

    def _turn_of(self, optimization: LightningOptimization) -> AbstractContextManager[Any]:
        """The context in which the parameters of one optimizer alone require gradients."""
        if not self._in_turn or len(self._own) == 1:
            return nullcontext()
        module: Any = self.model
        turn: AbstractContextManager[Any] = module.toggled_optimizer(optimization.by_module)
        return turn

    def _call(self, name: str, batch: Any, **more: Any) -> Any:
        returned = super()._call(name, batch, **more)
        if not callable(getattr(self.model, f"{name}_end", None)):
            return returned
        return call_module(self.model, f"{name}_end", returned)


def lightning_steps(model: nn.Module, loss: None = None) -> LightningSteps:
    """The contract of a LightningModule, be it one for Lightning 2 or for an older one.

    Args:
        model: the module.
        loss: none; the module has its own.
    """
    return (OlderSteps if OlderSteps.wanted(model) else LightningSteps)(model, loss)


def splits(module: Any, batch: Any, size: int) -> Sequence[Any]:
    """Parts of a batch of sequences, so many steps long; the last may be shorter.

    Args:
        module: whose own ``tbptt_split_batch(batch, size)`` does it, if it has that.
        batch: tensors of shape (samples, time, …), nested at will.
        size: steps of time in a part.

    Raises:
        ValueError: if the tensors are not all as long.

    Example:
        >>> import torch
        >>> [part.shape[1] for part in splits(None, torch.zeros(8, 5, 3), 2)]
        [2, 2, 1]
    """
    if callable(own := getattr(module, "tbptt_split_batch", None)):
        parts: Sequence[Any] = own(batch, size)
        return parts
    lengths = {one.shape[1] if one.dim() > 1 else None for _, one in leaves(batch, kind=Tensor)}
    length = next(iter(lengths), None)
    if len(lengths) != 1 or length is None:
        raise ValueError(
            f"truncated_bptt_steps={size} takes batches apart along their second axis, which has "
            f"to be as long in all tensors, given {sorted(map(str, lengths))}; write "
            f"tbptt_split_batch(self, batch, split_size) for batches of another kind."
        )
    return [
        map_nested(lambda one, start=start: one[:, start : start + size], batch, kind=Tensor)
        for start in range(0, length, size)
    ]


def _squeezed(reports: list[Any]) -> Any:
    return reports[0] if len(reports) == 1 else reports
