"""Loggers: what a LightningModule finds under ``self.logger``: the way to the scalar stream."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ...placement.ranks import is_first
from .names import is_taken

if TYPE_CHECKING:
    from ...stream.sink import Sink
    from .trainer import LightningTrainer

__all__ = ["StreamLogger"]


class StreamLogger:
    """A logger that hands numbers to the stream of the training, from where all sinks have them.

    Args:
        trainer: what the module has for its trainer.
    """

    group_separator = "/"

    def __init__(self, trainer: LightningTrainer) -> None:
        self._trainer = trainer

    def __getattr__(self, name: str) -> Any:
        if name.startswith("__"):
            raise AttributeError(name)
        if name == "experiment":
            raise AttributeError(self._no_client())
        raise AttributeError(
            f"the logger of this module is Footplate's, which has no {name!r}; numbers go to the "
            f"run's sinks by log_metrics(), and for anything else logger.experiment is the client "
            f"of the first sink that has one, as TensorBoard's writer."
        )

    @property
    def name(self) -> str:
        """What runs are called: Footplate's."""
        return "footplate"

    @property
    def version(self) -> str:
        """What this run is called: its folder's name."""
        return (self.save_dir or "").rpartition("/")[2]

    @property
    def save_dir(self) -> str | None:
        """Where the run writes to."""
        return self._trainer.facts.folder()

    log_dir = root_dir = save_dir

    @property
    def experiment(self) -> Any:
        """The client of the first sink that has one, as TensorBoard's writer.

        It is what the sink's own library has made. Where nobody writes, as in other processes than
        the first, it is one that does nothing.

        Raises:
            AttributeError: if there are sinks, but none of them has a client.
        """
        sinks = self._sinks
        if not is_first() or not sinks:
            return _Nothing()
        for sink in sinks:
            if (client := getattr(sink, "client", None)) is not None:
                return client
        raise AttributeError(self._no_client())

    def _no_client(self) -> str:
        sinks = ", ".join(one.name or type(one).__name__ for one in self._sinks)
        return (
            f"none of the sinks of this run ({sinks}) has a client that is open; give the runner "
            f"visualizer=dict(type='TensorBoard'), say."
        )

    def log_metrics(self, metrics: Mapping[str, Any], step: int | None = None) -> None:
        """Hand numbers to the stream; they are logged at its next log point.

        Those by a name that the run itself has numbers by get ``train_`` before it.
        """
        if (engine := self._trainer.engine()) is not None:
            for name, value in metrics.items():
                engine.log(f"train_{name}" if is_taken(name) else name, value)

    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        """Have them kept with the run's own hyper-parameters."""
        self._trainer.facts.note_hyper_parameters(
            params if isinstance(params, Mapping) else vars(params)
        )

    def log_graph(self, model: Any, input_array: Any = None) -> None:
        """Do nothing: a graph is drawn by the sink TensorBoard(graph=…)."""

    def save(self) -> None:
        """Do nothing: sinks write at once."""

    def finalize(self, status: str) -> None:
        """Do nothing: sinks are closed with the run."""

    def after_save_checkpoint(self, checkpoint_callback: Any) -> None:
        """Do nothing: checkpoints are the run's own."""

    @property
    def _sinks(self) -> list[Sink]:
        return self._trainer.facts.sinks(self._trainer.engine())


class _Nothing:
    """A client that takes whatever it is given."""

    def __getattr__(self, name: str) -> Any:
        return self._do_nothing

    def _do_nothing(self, *args: Any, **kwargs: Any) -> None:
        return None
