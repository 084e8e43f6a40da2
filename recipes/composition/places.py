"""Places: where a run is kept, which one it goes on from, and where its numbers go."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any

from ...engine.errors import StateError
from ...engine.placement.ranks import from_first, is_first, world_size
from ...engine.stream.sink import Sink
from .checkpoint_hook import out_dir_of
from .folders import (
    checkpoint_to_resume,
    first_missing,
    folder_of,
    new_folder,
    remove_empty,
    seed_in,
)
from .hooking import Hooks, merged
from .learning import Learning
from .restarts import checkpoint_before, note_run

__all__ = ["Places"]

_IN_EXPERIMENT, _ELSEWHERE = 3, 4  # levels, as in time/checkpoints/00000012


class Places(Learning):
    """The folders of a runner, made when they are first needed."""

    work_dir: Path
    timestamp: str
    experiment: Path
    plain_config: dict[str, Any]
    _hooks: Hooks

    @property
    def is_trial(self) -> bool:
        """Whether it is a trial of few batches, by ``fast_dev_run``."""
        return self.settings.train.batches is not None

    @cached_property
    def to_resume(self) -> Path | None:
        """The checkpoint that the run goes on from; ``None`` if it begins anew.

        A run without a name is not one of the experiments that are in ``work_dir``, too. Processes
        that torchrun has started again go on with the run that they were started for.
        """
        if (before := checkpoint_before()) is not None:
            return before
        elsewhere = self._elsewhere()
        resume, load_from = self.given["resume"], self.given["load_from"]
        where = self.experiment if elsewhere is None else elsewhere
        depth = _IN_EXPERIMENT if elsewhere is None else _ELSEWHERE
        return checkpoint_to_resume(resume, load_from, where, depth=depth)

    def resumed_seed(self) -> int | None:
        """The seed of the run that is resumed; ``None`` if there is none."""
        try:
            found = self.to_resume
        except (StateError, RuntimeError):  # which the call tells that needs it
            return None
        if found is None:
            return None
        return from_first(lambda: seed_in(found, self._elsewhere() or self.experiment))

    def settle(self) -> None:
        """Decide on the places at once, where processes have to do that together.

        Later one of them alone may ask, and would wait for the others.

        Raises:
            StateError: if there is no checkpoint to go on from; in one process alone the call
                tells that needs it.
        """
        if world_size() > 1:
            _ = self.folder

    def _elsewhere(self) -> str | None:
        """Where checkpoints go, if that is not the run's folder; asked for before hooks are."""
        hooks = vars(self).get("_hooks")
        if hooks is None:
            custom = self.given["custom_hooks"] or ()
            hooks = [*merged(self.given["default_hooks"]).values(), *custom]
        else:
            hooks = hooks.in_order()
        found = (out_dir_of(one, self.objects) for one in hooks)
        return next((one for one in found if one is not None), None)

    @cached_property
    def folder(self) -> Path:
        """The run's folder; of a run that is resumed the one that it is in already.

        It is taken away with the runner if nothing was written there. A trial has one that is.
        """
        if self.is_trial:
            made = Path(from_first(lambda: tempfile.mkdtemp(prefix="footplate-trial-")))
            if is_first():
                weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
            return made
        made = self._own_folder()
        note_run(made)
        return made

    def _own_folder(self) -> Path:
        if self.to_resume is not None and (known := folder_of(self.to_resume, self.experiment)):
            return known
        experiment = self.experiment.absolute()  # the process may work elsewhere by and by
        top = first_missing(experiment)
        made = new_folder(experiment, self.timestamp)
        if is_first():
            weakref.finalize(self, remove_empty, made, top or made)
        return made

    @cached_property
    def sinks(self) -> list[Sink]:
        """Where numbers and pictures are written to, besides JSON lines."""
        if self.is_trial:
            return []
        return self.build_visualizer(self.given["visualizer"], self.folder, self.plain_config)
