"""TensorBoard: metrics, scalars of the output, and learning rates, by tensorboardX."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from tensorboardX import SummaryWriter
from torch.optim import Optimizer

from ..engine.engine import Engine
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.priority import Priority
from ..engine.scalars import scalars_of

__all__ = ["TensorBoard"]


class TensorBoard(Handler):
    """Writes event files for TensorBoard.

    The files are opened in OPENED and closed in CLOSED, on an error, too. A run that goes on writes
    to the same folder, and TensorBoard hides what was written beyond the place where it goes on.

    Args:
        folder: where the event files go; made if need be.
        output: makes scalars, by name, from ``engine.state.output``; written when ``when`` fires.
        when: how often to do so.
        optimizer: whose learning rates to write together with them.

    Example:
        >>> import tempfile
        >>> from footplate import Engine
        >>> folder = tempfile.mkdtemp()
        >>> trainer = Engine(lambda engine, batch: batch / 2, name="train")
        >>> board = trainer.attach(TensorBoard(folder, output=lambda loss: {"loss": loss}))
        >>> state = trainer.run([4, 2])
        >>> [path.name[:6] for path in Path(folder).iterdir()]
        ['events']
    """

    priority = Priority.BELOW_NORMAL

    def __init__(
        self,
        folder: str | Path,
        *,
        output: Callable[[Any], Mapping[str, Any]] | None = None,
        when: Event | EventList = Events.ITERATION_COMPLETED,
        optimizer: Optimizer | None = None,
    ) -> None:
        self.folder = Path(folder)
        self.output = output
        self.when = when
        self.optimizer = optimizer
        self._writers: dict[int, SummaryWriter] = {}  # of the engines that run, by identity

    def on_register(self, engine: Engine) -> None:
        """Write scalars when asked for."""
        engine.add_event_handler(self.when, self._write_output, priority=self.priority)

    def opened(self, engine: Engine) -> None:
        """Open a file of its own for this call."""
        again = engine.state.iteration + 1 if engine.state.iteration else None
        suffix = f".{uuid.uuid4().hex[:8]}"  # else two files of one second are one
        writer = SummaryWriter(str(self.folder), purge_step=again, filename_suffix=suffix)
        self._writers[id(engine)] = writer

    def epoch_completed(self, engine: Engine) -> None:
        """Write the metrics."""
        self._write(engine, engine.state.metrics)

    def closed(self, engine: Engine) -> None:
        """Close the file."""
        writer = self._writers.pop(id(engine), None)
        if writer is not None:
            writer.close()

    def _write_output(self, engine: Engine) -> None:
        scalars = dict(self.output(engine.state.output)) if self.output else {}
        for number, group in enumerate(self.optimizer.param_groups if self.optimizer else ()):
            scalars[f"lr/{number}" if number else "lr"] = group["lr"]
        self._write(engine, scalars)

    def _write(self, engine: Engine, scalars: Mapping[str, Any]) -> None:
        writer = self._writers.get(id(engine))
        if writer is None:  # fired outside of a run
            return
        for key, value in scalars_of(scalars).items():
            writer.add_scalar(f"{engine.name or 'engine'}/{key}", value, engine.state.iteration)
