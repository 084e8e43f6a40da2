"""Base of models whose ``forward`` has a ``mode``, by the names that MMEngine has."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from torch import nn

__all__ = ["BaseModel"]


class BaseModel(nn.Module):
    """A module with a place for what prepares its batches, and weights that are initialized once.

    A ``forward(…, mode)`` of it answers to ``"loss"``, ``"predict"`` and ``"tensor"``, as
    :class:`~footplate.engine.step.modes.Modes` says. No model has to derive from it.

    Args:
        data_preprocessor: makes a batch ready for ``forward``, as a function or a module; called
            with the batch, and with ``training`` if it takes that.
        init_cfg: initializes weights: a function that is called with each module within, as
            ``nn.Module.apply`` does.

    Attributes:
        data_preprocessor: as given.
        is_init: whether the weights were initialized by :meth:`init_weights`.

    Raises:
        TypeError: for what can't be called.

    Example:
        >>> def zero(module):
        ...     if isinstance(module, nn.Linear):
        ...         nn.init.zeros_(module.weight)
        >>> class Line(BaseModel):
        ...     def __init__(self):
        ...         super().__init__(init_cfg=zero)
        ...         self.line = nn.Linear(2, 1)
        >>> model = Line()
        >>> model.init_weights()
        >>> model.line.weight.abs().sum().item(), model.is_init
        (0.0, True)
    """

    def __init__(
        self,
        data_preprocessor: Callable[..., Any] | None = None,
        init_cfg: Callable[[nn.Module], Any] | None = None,
    ) -> None:
        super().__init__()
        name = type(self).__name__
        if data_preprocessor is not None and not callable(data_preprocessor):
            raise TypeError(
                f"{name}: data_preprocessor is a module or a function of a batch, given "
                f"{data_preprocessor!r:.80}; build it before, and give what was built."
            )
        if init_cfg is not None and not callable(init_cfg):
            raise TypeError(
                f"{name}: init_cfg is a function of a module, called with each one within, given "
                f"{init_cfg!r:.80}; write def init(module): nn.init.…, or override init_weights()."
            )
        self.data_preprocessor = data_preprocessor
        self.init_cfg = init_cfg
        self.is_init = False

    def init_weights(self) -> None:
        """Initialize the weights; a second call does nothing.

        First ``init_cfg`` is applied to every module within; then those that have an
        ``init_weights()`` of their own, which know better, are asked for it.
        """
        if self.is_init:
            return
        if self.init_cfg is not None:
            self.apply(self.init_cfg)
        _initialize(self.children())
        self.is_init = True


def _initialize(modules: Iterable[nn.Module]) -> None:
    """Ask each module that knows how; of others, the modules within."""
    for one in modules:
        if callable(init := getattr(one, "init_weights", None)):
            init()
        else:
            _initialize(one.children())
