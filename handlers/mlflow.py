"""MLflow: scalars and media of a run, by its own client."""

from __future__ import annotations

import re
import time
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict
from typing import Any

from ..engine.data.media import columns_and_rows, drawn, histogram_of, pixels, tiled
from ..engine.engine import Engine
from ..engine.flattened import flattened
from ..engine.hyper_parameters import hyper_parameters as plain
from ..engine.optional import required
from ..engine.stream.sink import LogPoint, Sink
from ..engine.stream.strict import strict

__all__ = ["MLflow"]

_STATUS = {"completed": "FINISHED", "terminated": "FINISHED", "error": "FAILED"}
_PARAMETERS = 100  # what the server takes at once


class MLflow(Sink):
    """Logs to MLflow: a server, a data base or a folder.

    Metrics are named ``engine/name``, steps are iterations; media become artifacts, in whose JSON
    NaN and infinities are ``"NaN"`` and ``"Infinity"``. Characters that MLflow does not take in
    the names of metrics and parameters, as in ``acc@1``, are written as ``_``. A trainer that
    starts anew again has a new run there. A run that is resumed from a checkpoint goes on with the
    same run there. What that has of what is repeated stays, and is not logged again; media of it
    take the place of the old ones.

    Args:
        experiment: the experiment's name; made if need be.
        tracking_uri: where the runs are, ``"sqlite:///mlflow.db"`` say; by default where MLflow
            says.
        run_name: the run's name; MLflow makes one up otherwise.
        tags: tags of the run.
        hyper_parameters: the run's parameters: a mapping, a data class instance or a namespace;
            nested ones get dots in their names.
        names: shell patterns of the names that it takes.
        every: which log points of iterations it takes: each n-th.

    Attributes:
        client: an ``mlflow.MlflowClient``.
        run_id: the run's identity; ``None`` before it begins.

    Raises:
        ImportError: if mlflow is not installed.
        ValueError: when two metrics, or two parameters, come to have the same name.

    Example:
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: {"loss": batch}, name="train")
        >>> sink = trainer.attach(MLflow("digits", tracking_uri="http://127.0.0.1:5000"))
        >>> sink.experiment, sink.run_id   # it has one once the trainer runs
        ('digits', None)
    """

    name = "mlflow"

    def __init__(
        self,
        experiment: str = "Default",
        *,
        tracking_uri: str | None = None,
        run_name: str | None = None,
        tags: Mapping[str, str] | None = None,
        hyper_parameters: object = None,
        names: str | Sequence[str] = "*",
        every: int = 1,
    ) -> None:
        super().__init__(names=names, every=every)
        with required("mlflow", "the sink MLflow"):
            import mlflow
        self._mlflow: Any = mlflow
        self.experiment = experiment
        self.run_name = run_name
        self.tags = dict(tags or {})
        self.hyper_parameters = None if hyper_parameters is None else plain(hyper_parameters)
        self.run_id: str | None = None
        self.client: Any = self._mlflow.MlflowClient(tracking_uri=tracking_uri)
        self._began = 0  # the iteration
        self._points: Counter[str] = Counter()  # how many of each metric the run comes to so far
        self._again: dict[str, Counter[int]] = {}  # those that are there and come again, by step
        self._names: dict[str, str] = {}  # of metrics, by what they are called there

    def start_anew(self, *, again: bool) -> None:
        """Begin another run."""
        if again:
            self.run_id = None

    def begin(self, engine: Engine) -> None:
        """Begin a run, or go on with it."""
        self._began, self._again = engine.progress.began, {}
        if self.run_id is not None:
            if self.goes_on_from is not None:
                self._points = Counter(self.goes_on_from)
            self.client.update_run(self.run_id, status="RUNNING")
            return
        self._points = Counter()
        known: dict[str, Any] = {}
        for name, value in flattened(self.hyper_parameters or {}).items():
            known[_legal(name, known, "hyper-parameters")] = value
        found = self.client.get_experiment_by_name(self.experiment)
        where = found.experiment_id if found else self.client.create_experiment(self.experiment)
        run = self.client.create_run(where, run_name=self.run_name, tags=self.tags)
        self.run_id = run.info.run_id
        told = [self._mlflow.entities.Param(name, str(value)) for name, value in known.items()]
        for first in range(0, len(told), _PARAMETERS):
            self.client.log_batch(self.run_id, params=told[first : first + _PARAMETERS])

    def write(self, engine: Engine, point: LogPoint) -> None:
        """Log the scalars."""
        now = int(time.time() * 1000)
        metrics = [
            self._mlflow.entities.Metric(name, value, now, point.step)
            for name, value in self._named(point).items()
            if not self._is_there(name, point.step)
        ]
        if metrics:
            self.client.log_batch(self.run_id, metrics=metrics)

    def end(self, engine: Engine, status: str) -> None:
        """Close the run; killed is what a signal or a pause ended."""
        self.client.set_terminated(self.run_id, status=_STATUS.get(status, "KILLED"))

    def place(self) -> dict[str, int]:
        """How many points there are of each metric."""
        return dict(self._points)

    def _named(self, point: LogPoint) -> dict[str, float]:
        """Scalars by names that MLflow takes."""
        named = {}
        for name, value in point.scalars.items():
            full = f"{point.engine}/{name}"
            if full not in self._names:
                self._names[full] = _legal(full, self._names.values(), "scalars")
            named[self._names[full]] = value
        return named

    def _is_there(self, metric: str, step: int) -> bool:
        """Count a point, and say whether an earlier process has logged it already."""
        if metric not in self._again:
            self._again[metric] = self._coming_again(metric)
        self._points[metric] += 1
        again = self._again[metric]
        again[step] -= 1
        return again[step] >= 0

    def _coming_again(self, metric: str) -> Counter[int]:
        """How many points that are there of each step a run that goes on comes to once more."""
        known = self.goes_on_from is not None
        if not known and not self._began:
            return Counter()
        history = self.client.get_metric_history(self.run_id, metric)
        again = Counter(one.step for one in history if one.step > self._began)
        if known:  # those of a nested run, at the iteration that it goes on from
            again[self._began] = max(len(history) - self._points[metric] - again.total(), 0)
        return again

    # ------------------------------------------------------------------ media

    def write_image(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Log an image, or several as tiles of one."""
        file = _file(engine, name, step, "png")
        self.client.log_image(self.run_id, tiled(pixels(value)), artifact_file=file)

    def write_figure(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Log a figure as an image."""
        self.write_image(engine, name, drawn(value), step)

    def write_histogram(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Log a histogram as JSON."""
        found = strict(asdict(histogram_of(value)))
        self.client.log_dict(self.run_id, found, _file(engine, name, step, "json"))

    def write_text(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Log a text."""
        self.client.log_text(self.run_id, str(value), _file(engine, name, step, "txt"))

    def write_table(self, engine: Engine, name: str, value: Any, step: int) -> None:
        """Log a table as JSON, with the columns and the rows."""
        columns, rows = columns_and_rows(value)
        table = strict({"columns": columns, "data": rows})
        self.client.log_dict(self.run_id, table, _file(engine, name, step, "json"))

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """Which run it is."""
        return {"run_id": self.run_id}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with that run."""
        self.run_id = state["run_id"]


def _legal(name: str, others: Iterable[str], what: str) -> str:
    """A name that MLflow takes, if no other has become the same.

    Raises:
        ValueError: if one has.
    """
    legal = re.sub(r"[^\w. :/-]|^\.\.", "_", name)
    legal = "/".join(one if one.strip(".") else "_" for one in legal.split("/"))  # it is a path
    if legal in others:
        raise ValueError(
            f"MLflow takes letters, digits and _-. :/ in names, so that {name!r} becomes "
            f"{legal!r}, as another of the {what} does already; give one of them another name."
        )
    return legal


def _file(engine: Engine, name: str, step: int, suffix: str) -> str:
    """Where an artifact goes, within those of the run."""
    safe = re.sub(r"[^\w./-]+", "_", name).strip("./")
    return f"{engine.name or 'engine'}/{safe}/{step:08d}.{suffix}"
