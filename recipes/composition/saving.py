"""Saving: how a runner saves, goes on from what was saved, and loads weights."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Callable, Collection, Generator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from torch import nn

from ...engine.checkpoints.contents import HandlersDiffer
from ...engine.checkpoints.store import CheckpointStore
from ...engine.checkpoints.tensor_file import WeightsReport
from ...engine.checkpoints.weights import load_from as load_weights_from
from ...engine.engine import Engine
from ...engine.step.optimization import Optimization
from ...engine.stream.journal import set_aside
from ...handlers.checkpoint import Checkpoint
from ...handlers.lr_schedule import LRSchedule
from ...handlers.run_record import RunRecord
from ..config.layers import dump
from ..config.paths import split
from ..config.problems import ABSENT
from ..config.yaml_files import parsed
from .engines import Engines
from .folders import checkpoint_to_resume
from .keeping import differing, kept, put
from .schedules import DURATIONS, OURS, durations

__all__ = ["Saving"]

_logger = logging.getLogger("footplate.runner")

_BEGINNING = ("load_from", "resume")


class Saving(Engines):
    """What a runner does with checkpoints."""

    _initialized: bool  # whether the model's own weights were drawn when it was placed
    _resumed: bool  # whether training goes on, or had its weights loaded by hand
    call_hook: Callable[..., None]

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
        with self.placement.loading(self.model):
            report = load_weights_from(self.model, filename, **options)
        self._loaded, self._resumed = Path(filename), True
        return report

    def resume(
        self,
        filename: str | Path,
        resume_optimizer: bool = True,
        resume_param_scheduler: bool = True,
        *,
        without: Collection[str] = (),
    ) -> Path | None:
        """Have the next ``train()`` go on from a checkpoint.

        Args:
            filename: of the checkpoint, or of a folder, whose newest is taken.
            resume_optimizer: whether optimizers go on, too.
            resume_param_scheduler: whether schedulers go on, too.
            without: what else does not: hooks, whether they are there or were, by the names that
                an error about them says.
        """
        self.to_resume = checkpoint_to_resume(str(filename), None, self.experiment)
        self._take_seed()
        left = [*without, *([] if resume_optimizer else self.optimizations)]
        left += [] if resume_param_scheduler else [str(one.name) for one in self.param_schedulers]
        with self._telling_durations():
            found = self.checkpoint.resume(self.trainer, str(self.to_resume), without=left)
        if found is not None:
            self._keep_options(found, left)
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
                with self.placement.loading(self.model):
                    load_weights_from(self.model, self.given["load_from"])
                self._loaded = Path(self.given["load_from"])
                self.call_hook("after_load_weights", path=self._loaded)
        elif found is not None and trainer is not None and not self.is_trial:
            with self._telling_durations():
                self._loaded = self._go_on(trainer, found)
            self._keep_options(found)
        elif found is not None:
            with self.placement.loading(self.model):
                CheckpointStore(found.parent).load_weights(found, self.model)
            self._loaded = found
            self.call_hook("after_load_weights", path=found)
        self._resumed = trainer is not None

    def _go_on(self, trainer: Engine, found: Path) -> Path | None:
        """Go on, though hooks were added or taken away since; what trains has to be the same."""
        try:
            return self.checkpoint.resume(trainer, found)
        except HandlersDiffer as error:
            if any(map(_trains, [*error.added.values(), *error.gone.values()])):
                raise
            for name in error.added:
                _warn(f"{found} has no state of the hook {name!r}, which begins anew.")
            for name in error.gone:
                _warn(
                    f"{found} has a state of {name!r}, but there is no such hook any longer, so it "
                    f"is left; add the hook if it was to go on."
                )
            return self.checkpoint.resume(trainer, found, without=[*error.added, *error.gone])

    @contextmanager
    def _telling_durations(self) -> Generator[None, None, None]:
        """Warn of schedules that go on with another duration than they would have been made with.

        It is part of where they stand, and a run that is only resumed comes to the same bits by it.
        """
        before = list(durations(self.param_schedulers))
        yield
        for (scheduler, name, made), (_, _, saved) in zip(
            before, durations(self.param_schedulers), strict=False
        ):
            if made != saved:
                kind = type(scheduler).__name__
                _warn(
                    f"{kind} goes on with {name}={saved}, as it was saved, and not with "
                    f"{name}={made}, which this run would give it; behind its end it does as it "
                    f"will, a CosineAnnealingLR rises again. Begin a run that is to become longer "
                    f"with {name}={made} in param_scheduler; for another schedule from here on, "
                    f"begin a run with the weights alone: load_from=path."
                )

    def _keep_options(self, found: Path, without: Collection[str] = ()) -> None:
        """Note the options of optimizers and schedules that a checkpoint's states go on with.

        What a configuration says otherwise is warned about, as nothing would come of it.
        """
        schedules = [str(one.name) for one in self.param_schedulers]
        held = {"optim_wrapper": [*self.optimizations], "param_scheduler": schedules}
        was, now = self.checkpoint.store.manifest(found).config, self.plain_config
        changed = [
            (path, before, after)
            for name, states in held.items()
            if name in was and name in now and not {*states} <= {*without}
            for path, before, after in differing(was[name], now[name], name)
            if _is_of_a_state(path)
        ]
        if not changed:
            return
        for path, before, _ in changed:
            put(now, path, before)
        for one in self.trainer.handlers.values():
            if isinstance(one, (Checkpoint, RunRecord)) and one.config:
                one.config = {**one.config, **{name: now[name] for name in held if name in now}}
        told = (f"{path}={_said(before)} and not {_said(after)}" for path, before, after in changed)
        _warn(
            f"the run goes on with {', '.join(told)}, as optimizers and schedules are what "
            f"{found} has of them, whatever the configuration says. For other values from here "
            f"on, begin a run with the weights alone: load_from=path."
        )

    def _take_seed(self) -> None:
        """Take the seed of a run that is resumed by hand, unless one was given."""
        seed = self.resumed_seed()
        if self.settings.randomness.seed is not None or seed in (None, self.seed):
            return
        self.seed = seed
        self.note_seed()
        self.forget_data()
        if "trainer" in vars(self):
            noted = self.plain_config["randomness"]
            self.checkpoint.config = {**self.checkpoint.config, "randomness": noted}

    def note_seed(self) -> None:
        """Keep the seed in the configuration, so that what is made of that has it, too."""
        given = self.given["randomness"]
        if given is not None and not isinstance(given, Mapping):  # the group of options itself
            given = vars(given)
        self.plain_config["randomness"] = {**kept(given or {}), "seed": self.seed}

    def init_weights(self, model: nn.Module) -> None:
        """Let a model that can initialize itself, once, unless it has other weights, or will."""
        initialize, done = getattr(model, "init_weights", None), self._initialized
        if callable(initialize) and not done and self._loaded is None and self.to_resume is None:
            initialize()
            self._initialized = self.placement.several

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


def _trains(one: Any) -> bool:
    """Whether it is an optimization or a schedule, or the state of one."""
    if isinstance(one, Mapping):
        return "optimizer" in one or "schedulers" in one
    return isinstance(one, (Optimization, LRSchedule))


def _is_of_a_state(path: str) -> bool:
    """Whether what a configuration says there is part of the state of what is made of it."""
    first, *parts = split(path)
    if first == "param_scheduler":
        # durations are told of apart, as they may have been filled in
        return not {"type", "lr_lambda", *OURS, *DURATIONS} & {*parts}
    return parts[-1:] != ["type"] and ("optimizer" in parts or "paramwise_cfg" in parts)


def _said(value: Any) -> str:
    return "nothing" if value is ABSENT else repr(value)


def _warn(text: str) -> None:
    _logger.warning(text)
    warnings.warn(text, RuntimeWarning, stacklevel=4)


def _without_beginning(config: Any) -> dict[str, Any]:
    return {name: one for name, one in dict(config or {}).items() if name not in _BEGINNING}
