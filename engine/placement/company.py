"""Company: processes with fewer batches take part in what those with more do together."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ..handler import Handler
from ..priority import Priority
from .ranks import gathered, world_size

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["Company", "company_of"]


def company_of(engine: Engine) -> Company:
    """The company of an engine, which it gets when it is asked for first.

    Example:
        >>> from footplate import Engine
        >>> evaluator = Engine(lambda engine, batch: None, name="val")
        >>> company_of(evaluator) is company_of(evaluator)
        True
    """
    for handler in engine.handlers.values():
        if isinstance(handler, Company):
            return handler
    return engine.attach(Company())


class Company(Handler):
    """Has all processes call as often, in an epoch, what each of them has to call for the others.

    Shares of a data set that are not padded differ by a batch, and some may be empty. What all
    processes do together in each iteration, such as the forward pass of a model whose parameters
    are spread over them, or a metric that is computed behind each batch, would wait for ever for
    those that have none left. So the processes tell each other, before an epoch, how many batches
    they have; and those that have fewer call, at its end, what was invited, once for each that
    they lack, before anything else of EPOCH_COMPLETED. Nothing counts there and no event fires.

    An epoch must not be terminated in one process alone.

    Use :func:`company_of`, which attaches it once.

    Attributes:
        lengths: how many batches each process has in this epoch, in the order of their ranks.
    """

    name = "company"
    priority = Priority.HIGHEST
    for_one_engine = True

    def __init__(self) -> None:
        self.lengths: list[int] = []
        self._invited: list[Callable[[Engine], Any]] = []

    def invite(self, call: Callable[[Engine], Any]) -> None:
        """Have a function called for each batch that this process lacks, those invited in order."""
        self._invited.append(call)

    def dismiss(self, call: Callable[[Engine], Any]) -> None:
        """Call a function no longer."""
        self._invited = [one for one in self._invited if one != call]

    @property
    def most(self) -> int:
        """How many batches the process has that has most."""
        return max(self.lengths, default=0)

    @property
    def some_have_none(self) -> bool:
        """Whether some processes have no batch, and others do."""
        return self.most > 0 and min(self.lengths) == 0

    def opened(self, engine: Engine) -> None:
        """Agree, if the run goes on within an epoch."""
        self.lengths = []
        if engine.progress.epoch_iteration:
            self._agree(engine)

    def epoch_started(self, engine: Engine) -> None:
        """Agree on the lengths of this epoch."""
        self._agree(engine)

    def epoch_completed(self, engine: Engine) -> None:
        """Keep those company that have more."""
        for _ in range(engine.progress.epoch_iteration, self.most):
            for call in self._invited:
                call(engine)

    def _agree(self, engine: Engine) -> None:
        if world_size() == 1 or not self._invited:
            return
        lengths = gathered(engine.state.epoch_length)
        if None in lengths:
            raise ValueError(
                f"the processes are to be kept company in each iteration of {engine!r}, but the "
                f"data of process {lengths.index(None)} don't tell how many batches they have; "
                f"give data with a length, or run(…, epoch_length=)."
            )
        self.lengths = lengths
