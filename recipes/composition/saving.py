"""Saving: how a runner saves, goes on from what was saved, and loads weights."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from ...engine.checkpoints.store import CheckpointStore
from ...engine.checkpoints.tensor_file import WeightsReport
from ...engine.checkpoints.weights import load_from as load_weights_from
from ...engine.engine import Engine
from ...engine.stream.journal import set_aside
from ...handlers.checkpoint import Checkpoint
from ..config.layers import dump
from ..config.yaml_files import parsed
from .engines import Engines
from .folders import checkpoint_to_resume

__all__ = ["Saving"]

_BEGINNING = ("load_from", "resume")


class Saving(Engines):
    """What a runner does with checkpoints."""

    _resumed: bool  # whether training goes on, or had its weights loaded by hand

    @property
    def checkpoint(self) -> Checkpoint:
        """The handler that saves the run.

        Raises:
            ValueError: if there is none.
        """
        found = (one for one in self.trainer.handlers.values() if isinstance(one, Checkpoint))
        if (handler := next(found, None)) is None:
            raise ValueError(
                "the run has no checkpoints, as default_hooks took 'checkpoint' away; leave it "
                "there to save and to resume."
            )
        return handler

    def save_checkpoint(self, name: str | None = None, **options: Any) -> Path:
        """Save now, between two iterations; see :meth:`.Checkpoint.save` for the options."""
        return self.checkpoint.save(self.trainer, name=name, **options)

    def load_checkpoint(self, filename: str | Path, **options: Any) -> WeightsReport:
        """Load weights into the model; see :func:`footplate.load_from` for the options.

        What is called next begins with them, whatever ``load_from`` and ``resume`` say.
        """
        report = load_weights_from(self.model, filename, **options)
        self._loaded, self._resumed = Path(filename), True
        return report

    def resume(
        self,
        filename: str | Path,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
    ) -> Path | None:
        """Have the next ``train()`` go on from a checkpoint.

        Args:
            filename: of the checkpoint, or of a folder, whose newest is taken.
            resume_optimizer: whether optimizers go on, too.
            resume_param_scheduler: whether schedulers go on, too.
        """
        self.to_resume = checkpoint_to_resume(str(filename), None, self.experiment)
        left: list[str] = [] if resume_optimizer else list(self.optimizations)
        left += [] if resume_param_scheduler else [str(one.name) for one in self.param_schedulers]
        found = self.checkpoint.resume(self.trainer, str(self.to_resume), without=left)
        self._loaded, self._resumed = found, True
        return found

    def load_or_resume(self, trainer: Engine | None = None) -> None:
        """Go on from a checkpoint or load weights, as the runner was told.

        Args:
            trainer: the engine that goes on; without it the weights alone are loaded. A trial does
                not go on either.
        """
        found = self.to_resume
        if self._resumed or (trainer is None and self._loaded is not None):
            return
        if found is None and not self.given["resume"] and self.given["load_from"] is not None:
            if self._loaded is None:
                load_weights_from(self.model, self.given["load_from"])
                self._loaded = Path(self.given["load_from"])
        elif found is not None and trainer is not None and not self.is_trial:
            self._loaded = self.checkpoint.resume(trainer, found)
        elif found is not None:
            CheckpointStore(found.parent).load_weights(found, self.model)
            self._loaded = found
        self._resumed = trainer is not None

    def init_weights(self) -> None:
        """Let a model that can initialize itself, unless it has other weights, or will have."""
        initialize = getattr(self.model, "init_weights", None)
        if callable(initialize) and self._loaded is None and self.to_resume is None:
            initialize()

    def dump_config(self) -> Path:
        """Write what the run is made with into its folder, as ``config.yaml``.

        One that says something else, but for what the run begins with, is set aside as
        ``config.1.yaml``.
        """
        path = self.folder / "config.yaml"
        if path.exists():
            there = parsed(path.read_text(encoding="utf-8"), str(path))
            if _without_beginning(there) == _without_beginning(self.plain_config):
                return path
            set_aside(path)
        path.write_text(dump(self.plain_config), encoding="utf-8")
        return path


def _without_beginning(config: Any) -> dict[str, Any]:
    return {name: one for name, one in dict(config or {}).items() if name not in _BEGINNING}
