"""MLflow: scalars and media of a run, by its own client."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping, Sequence
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
    NaN and infinities are ``"NaN"`` and ``"Infinity"``. A trainer that starts anew again has a new
    run there. A run that is resumed from a checkpoint goes on with the same run there. What that
    has of the iterations that are repeated stays, and is not logged again; media of them take the
    place of the old ones.

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

    Example:
        >>> MLflow("digits", tracking_uri="sqlite:///mlflow.db")  # doctest: +SKIP
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
        self._gone_on_from = 0  # iterations
        self._there: dict[str, set[int]] = {}  # steps behind that, by metric

    def start_anew(self, *, again: bool) -> None:
        """Begin another run."""
        if again:
            self.run_id = None

    def begin(self, engine: Engine) -> None:
        """Begin a run, or go on with it."""
        self._gone_on_from, self._there = engine.progress.began, {}
        if self.run_id is not None:
            self.client.update_run(self.run_id, status="RUNNING")
            return
        found = self.client.get_experiment_by_name(self.experiment)
        where = found.experiment_id if found else self.client.create_experiment(self.experiment)
        run = self.client.create_run(where, run_name=self.run_name, tags=self.tags)
        self.run_id = run.info.run_id
        known = flattened(self.hyper_parameters or {}).items()
        told = [self._mlflow.entities.Param(name, str(value)) for name, value in known]
        for first in range(0, len(told), _PARAMETERS):
            self.client.log_batch(self.run_id, params=told[first : first + _PARAMETERS])

    def write(self, engine: Engine, point: LogPoint) -> None:
        """Log the scalars."""
        now = int(time.time() * 1000)
        metrics = [
            self._mlflow.entities.Metric(name, value, now, point.step)
            for name, value in ((f"{point.engine}/{n}", v) for n, v in point.scalars.items())
            if not self._is_there(name, point.step)
        ]
        if metrics:
            self.client.log_batch(self.run_id, metrics=metrics)

    def end(self, engine: Engine, status: str) -> None:
        """Close the run; killed is what a signal or a pause ended."""
        self.client.set_terminated(self.run_id, status=_STATUS.get(status, "KILLED"))

    def _is_there(self, metric: str, step: int) -> bool:
        """Whether an earlier process has logged it, behind the checkpoint gone on from."""
        if not self._gone_on_from:
            return False
        if metric not in self._there:
            history = self.client.get_metric_history(self.run_id, metric)
            steps = {one.step for one in history}
            self._there[metric] = {one for one in steps if one > self._gone_on_from}
        return step in self._there[metric]

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


def _file(engine: Engine, name: str, step: int, suffix: str) -> str:
    """Where an artifact goes, within those of the run."""
    safe = re.sub(r"[^\w./-]+", "_", name).strip("./")
    return f"{engine.name or 'engine'}/{safe}/{step:08d}.{suffix}"
