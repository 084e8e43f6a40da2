"""In step: what the processes of a raw loop do together, and what is said of one that did not."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from typing import Any

import torch.distributed as dist
from torch.optim import Optimizer

__all__ = ["InStep", "explained", "told_of_others"]

_RULE = (
    "another process has ended, or did something else meanwhile. The processes of a raw loop go in "
    "step: for each batch all of them call update(), or none does; all leave an epoch behind the "
    "same batch; and all call save(). See what the other process said."
)


class InStep:
    """Has several processes update together, and none of them step by hand.

    Example:
        >>> import torch
        >>> sgd = torch.optim.SGD([torch.zeros(1, requires_grad=True)], lr=0.1)
        >>> in_step = InStep()
        >>> with in_step.watching(sgd), in_step.updating():
        ...     sgd.step()
    """

    def __init__(self) -> None:
        self._updates = False

    @contextmanager
    def watching(self, optimizer: Optimizer) -> Generator[None, None, None]:
        """Refuse steps of an optimizer outside of :meth:`updating`."""
        handle = optimizer.register_step_pre_hook(self._check)
        try:
            yield
        finally:
            handle.remove()

    @contextmanager
    def updating(self) -> Generator[None, None, None]:
        """The context in which the loop itself steps."""
        self._updates = True
        try:
            with explained():
                yield
        finally:
            self._updates = False

    def _check(self, optimizer: Optimizer, args: Any, kwargs: Any) -> None:
        if not self._updates:
            raise RuntimeError(
                f"{type(optimizer).__name__}.step() was called by hand, where gradients are "
                f"exchanged with other processes, so that the models may come to differ; call "
                f"loop.update(loss) in place of backward(), step() and zero_grad()."
            )


@contextmanager
def explained() -> Generator[None, None, None]:
    """Have an error that tells of another process say which rules they go by."""
    try:
        yield
    except RuntimeError as error:
        told_of_others(error)
        raise


def told_of_others(error: RuntimeError) -> None:
    """Note by which rules the processes go, if it is the connection to another one that failed.

    Example:
        >>> error = RuntimeError("[gloo/transport/tcp/pair.cc] Connection closed by peer")
        >>> told_of_others(error)
        >>> error.__notes__[0].partition(".")[0]
        'another process has ended, or did something else meanwhile'
    """
    is_theirs = isinstance(error, dist.DistError) or "gloo" in str(error)
    if is_theirs and _RULE not in getattr(error, "__notes__", ()):
        error.add_note(_RULE)
