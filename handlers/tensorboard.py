"""TensorBoard: scalars and media of a run as event files, by tensorboardX."""

from __future__ import annotations

import importlib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from tensorboardX.summary import hparams
from torch import nn

from ..engine.data.event_file import EventWriter, cut, set_files_aside
from ..engine.data.media import columns_and_rows, drawn, histogram_of, pixels
from ..engine.engine import Engine
from ..engine.flattened import flattened
from ..engine.hyper_parameters import hyper_parameters as plain
from ..engine.optional import required
from ..engine.step.model_graph import draw_graph
from ..engine.stream.sink import LogPoint, Sink

__all__ = ["TensorBoard"]


class TensorBoard(Sink):
    """Writes event files for TensorBoard.

    Tags are ``engine/name``, steps are iterations. Images, histograms, texts, figures and tables
    are written too; a table becomes a text. Each is handed to the operating system at once, so
    that a killed process loses none. A run that goes on writes another file to the same folder;
    what was written behind the checkpoint is taken out of the files before. A run that starts anew
    moves those of an earlier run of the engine into a folder beside this one, ``name.1``.

    Args:
        folder: where the event files go; made if need be.
        graph: a model and an example of its input, or a tuple of several inputs: the model's graph
            is drawn when a run starts anew. It is traced, and needs the package ``tensorboard``.
        hyper_parameters: what the run is made with; the tab HPARAMS shows it beside the final
            scalars. A mapping, a data class instance or a namespace.
        names: shell patterns of the names that it takes.
        every: which log points of iterations it takes: each n-th.

    Attributes:
        client: tensorboardX's ``SummaryWriter``, while a run lasts.

    Raises:
        ImportError: when a graph is to be drawn without the package ``tensorboard``.
        ValueError: when the model can't be traced.

    Example:
        >>> import tempfile
        >>> from footplate import Engine
        >>> from footplate.handlers.scalars import Scalars
        >>> folder = tempfile.mkdtemp()
        >>> trainer = Engine(lambda engine, batch: {"loss": batch}, name="train")
        >>> sinks = trainer.attach(Scalars()), trainer.attach(TensorBoard(folder))
        >>> state = trainer.run([4, 2])
        >>> [path.name[:6] for path in Path(folder).iterdir()]
        ['events']
    """

    name = "tensorboard"

    def __init__(
        self,
        folder: str | Path,
        *,
        graph: tuple[nn.Module, Any] | None = None,
        hyper_parameters: object = None,
        names: str | Sequence[str] = "*",
        every: int = 1,
    ) -> None:
        super().__init__(names=names, every=every)
        self.folder = Path(folder)
        self.graph = graph
        self.hyper_parameters = None if hyper_parameters is None else plain(hyper_parameters)
        self.client: EventWriter | None = None
        self._file: dict[str, Any] = {"file": "", "size": 0}  # the last one's name and size
        if graph is not None:
            with required("tensorboard", "the graph of a model in TensorBoard"):
                importlib.import_module("tensorboard")

    def start_anew(self, *, again: bool) -> None:
        """Move the files of an earlier run aside."""
        set_files_aside(self.folder, self._run or "engine")

    def begin(self, engine: Engine) -> None:
        """Open a file of its own for this call."""
        done, run = engine.progress.began, engine.name or "engine"
        if done and self.goes_on_from is not None:
            cut(self.folder, run, **self.goes_on_from)
        # A TensorBoard that looks on has read already what was cut, and is to hide it.
        self.client = EventWriter(self.folder, run, purge_step=done + 1 if done else None)
        try:
            if self.graph is not None and not done:
                draw_graph(self.client, *self.graph)
            if self.hyper_parameters is not None:
                self.client.file_writer.add_summary(_session(self.hyper_parameters)[0])
        except BaseException:
            self.client.close()
            raise

    def place(self) -> dict[str, Any]:
        """Which file it writes, and how much of that there is."""
        if self.client is not None:
            file = self.client.file
            self._file = {"file": file.path.name, "size": file.size}
        return self._file

    def write(self, engine: Engine, point: LogPoint) -> None:
        """Write the scalars."""
        for name, value in point.scalars.items():
            self._client.add_scalar(f"{point.engine}/{name}", value, point.step)

    def end(self, engine: Engine, status: str) -> None:
        """Close the file."""
        # The first word on a session stands, so a run that may yet go on gets none.
        if self.hyper_parameters is not None and status in ("completed", "terminated"):
            self._client.file_writer.add_summary(_session({})[1])
        self._client.close()
        self.place()
        self.client = None

    # ------------------------------------------------------------------ media

    def write_image(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Write an image, or several."""
        image = pixels(value)
        layout = {2: "HW", 3: "HWC", 4: "NHWC"}[image.ndim]
        write = self._client.add_images if image.ndim == 4 else self._client.add_image
        write(_tag(engine, name), image, step, dataformats=layout)

    def write_figure(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Write a figure as an image."""
        self.write_image(engine, name, drawn(value), step)

    def write_histogram(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Write a histogram of the values that are finite, and a text if some are not."""
        tag, found = _tag(engine, name), histogram_of(value)
        self._client.add_histogram_raw(
            tag,
            min=found.edges[0],
            max=found.edges[-1],
            num=sum(found.counts),
            sum=found.total,
            sum_squares=found.squares,
            bucket_limits=found.edges[1:],
            bucket_counts=found.counts,
            global_step=step,
        )
        if found.not_finite:
            self._client.add_text(f"{tag}/not_finite", f"{found.not_finite} values", step)

    def write_text(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Write a text, which TensorBoard reads as Markdown."""
        self._client.add_text(_tag(engine, name), str(value), step)

    def write_table(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Write a table as a text."""
        columns, rows = columns_and_rows(value)
        lines = [columns, ["---"] * len(columns), *rows]
        text = "\n".join("| " + " | ".join(map(_cell, line)) + " |" for line in lines)
        self._client.add_text(_tag(engine, name), text, step)

    @property
    def _client(self) -> EventWriter:
        assert self.client is not None, "written to outside of a run"
        return self.client


def _tag(engine: Engine, name: str) -> str:
    return f"{engine.name or 'engine'}/{name}"


def _cell(value: object) -> str:
    return str(value).replace("|", "\\|").replace("\n", " ")


def _session(parameters: Mapping[str, Any]) -> tuple[Any, Any]:
    """What tells TensorBoard that a session begins, and that it has come to its end."""
    known = (bool, int, float, str)
    flat = flattened(parameters)
    told = {name: one if isinstance(one, known) else str(one) for name, one in flat.items()}
    _, start, end = hparams(told, {})
    return start, end
