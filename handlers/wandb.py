"""Weights & Biases: scalars and media of a run, by its own client."""

from __future__ import annotations

import html
import uuid
from collections.abc import Iterable, Sequence
from typing import Any

from ..engine.data.media import columns_and_rows, drawn, histogram_of, pixels
from ..engine.engine import Engine
from ..engine.hyper_parameters import hyper_parameters as plain
from ..engine.optional import required
from ..engine.stream.sink import LogPoint, Sink

__all__ = ["WandB"]

_EXIT_CODES = {"completed": 0, "terminated": 0, "error": 1}
_OWN = ("step", "epoch")
_KILLED = 255  # what the client itself says of a run that Ctrl-C ended


class WandB(Sink):
    """Logs to Weights & Biases.

    Keys are ``engine/name``, over the axis ``engine/step``, the iterations; ``engine/epoch`` is
    logged besides. A trainer that starts anew again has a new run there. A run that is resumed
    from a checkpoint goes on with the same run there; rows that the server has already are left
    out. In offline mode the client does not know what an earlier process wrote: it writes another
    folder of the same run, and rows behind the checkpoint are in both.

    Args:
        project: where the run goes.
        hyper_parameters: the run's config: a mapping, a data class instance or a namespace.
        names: shell patterns of the names that it takes.
        every: which log points of iterations it takes: each n-th.
        options: what ``wandb.init()`` takes besides, ``mode="offline"`` or ``tags=["a"]`` say.

    Attributes:
        client: the run of the client, while a run lasts.
        run_id: the run's identity; another one when a run starts anew again.

    Raises:
        ImportError: if wandb is not installed.
        ValueError: when something is named ``step`` or ``epoch``, as what goes with each row.

    Example:
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: {"loss": batch}, name="train")
        >>> sink = WandB("digits", hyper_parameters={"lr": 0.1}, mode="offline")
        >>> _ = trainer.attach(sink)
        >>> sink.project, sink.hyper_parameters
        ('digits', {'lr': 0.1})
    """

    name = "wandb"

    def __init__(
        self,
        project: str,
        *,
        hyper_parameters: object = None,
        names: str | Sequence[str] = "*",
        every: int = 1,
        **options: Any,
    ) -> None:
        super().__init__(names=names, every=every)
        with required("wandb", "the sink WandB"):
            import wandb
        self._wandb: Any = wandb
        self.project = project
        self.hyper_parameters = None if hyper_parameters is None else plain(hyper_parameters)
        self.options = options
        self.run_id: str = options.pop("id", None) or uuid.uuid4().hex[:12]
        self.client: Any = None
        self._rows = 0  # logged since the run began, in all of its processes
        self._axes: set[str] = set()

    def start_anew(self, *, again: bool) -> None:
        """Begin another run."""
        if again:
            self.run_id, self._rows = uuid.uuid4().hex[:12], 0

    def place(self) -> int:
        """How many rows there are."""
        return self._rows

    def begin(self, engine: Engine) -> None:
        """Open the run, or go on with it."""
        self._axes.clear()
        if self.goes_on_from is not None:
            self._rows = self.goes_on_from
        given = {"resume": "allow", "reinit": "create_new", **self.options}
        self.client = self._wandb.init(
            project=self.project, id=self.run_id, config=self.hyper_parameters, **given
        )

    def write(self, engine: Engine, point: LogPoint) -> None:
        """Log the scalars as a row."""
        _check(point.engine, point.scalars)
        self._log(point.engine, point.step, {**point.scalars, "epoch": point.epoch})

    def end(self, engine: Engine, status: str) -> None:
        """Close the run; finished, failed, or killed if a signal or a pause ended it."""
        self.client.finish(exit_code=_EXIT_CODES.get(status, _KILLED))
        self.client = None

    def _log(self, engine: str, step: int, values: dict[str, Any]) -> None:
        if engine not in self._axes:
            self._axes.add(engine)
            self.client.define_metric(f"{engine}/*", step_metric=f"{engine}/step")
        if self._rows >= self.client.step:  # else the server has it, from before a kill
            row = {f"{engine}/{name}": value for name, value in values.items()}
            self.client.log({**row, f"{engine}/step": step}, step=self._rows)
        self._rows += 1

    # ------------------------------------------------------------------ media

    def write_image(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Log an image, or several."""
        image = pixels(value)
        several = [image] if image.ndim < 4 else list(image)
        self._log_media(engine, name, [self._wandb.Image(one) for one in several], step)

    def write_figure(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Log a figure as an image."""
        self.write_image(engine, name, drawn(value), step)

    def write_histogram(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Log a histogram of the values that are finite."""
        found = histogram_of(value)
        counted = self._wandb.Histogram(np_histogram=(found.counts, found.edges))
        self._log_media(engine, name, counted, step)

    def write_text(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Log a text, as it stands."""
        text = f"<pre>{html.escape(str(value))}</pre>"
        self._log_media(engine, name, self._wandb.Html(text), step)

    def write_table(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Log a table."""
        columns, rows = columns_and_rows(value)
        self._log_media(engine, name, self._wandb.Table(columns=columns, data=rows), step)

    def _log_media(self, engine: Engine, name: str, media: Any, step: int) -> None:
        of = engine.name or "engine"
        _check(of, [name])
        self._log(of, step, {name: media})

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """Which run it is."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with that run."""
        self.run_id = state["run_id"]


def _check(engine: str, names: Iterable[str]) -> None:
    """Refuse the names of what goes with each row."""
    if clash := [name for name in names if name in _OWN]:
        raise ValueError(
            f"something is named {clash[0]!r}, but {engine}/{clash[0]} goes with each row; give it "
            f"another name, or leave it out by names=."
        )
