"""Places: where a run is kept, which one it goes on from, and where its numbers go."""

from __future__ import annotations

import shutil
import tempfile
import weakref
from functools import cached_property
from pathlib import Path
from typing import Any

from ...engine.stream.sink import Sink
from .bundles import CheckpointHook
from .folders import checkpoint_to_resume, first_missing, folder_of, new_folder, remove_empty
from .hooking import Hooks
from .learning import Learning

__all__ = ["Places"]


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
        """The checkpoint that the run goes on from; ``None`` if it begins anew."""
        hooks = [one for one in self._hooks.in_order() if isinstance(one, CheckpointHook)]
        elsewhere = next((one.out_dir for one in hooks if one.out_dir is not None), None)
        where = self.experiment if elsewhere is None else elsewhere
        return checkpoint_to_resume(self.given["resume"], self.given["load_from"], where)

    @cached_property
    def folder(self) -> Path:
        """The run's folder; of a run that is resumed the one that it is in already.

        It is taken away with the runner if nothing was written there. A trial has one that is.
        """
        if self.is_trial:
            made = Path(tempfile.mkdtemp(prefix="footplate-trial-"))
            weakref.finalize(self, shutil.rmtree, made, ignore_errors=True)
            return made
        if self.to_resume is not None and (known := folder_of(self.to_resume, self.experiment)):
            return known
        top = first_missing(self.experiment)
        made = new_folder(self.experiment, self.timestamp)
        weakref.finalize(self, remove_empty, made, top or made)
        return made

    @cached_property
    def sinks(self) -> list[Sink]:
        """Where numbers and pictures are written to, besides JSON lines."""
        if self.is_trial:
            return []
        return self.build_visualizer(self.given["visualizer"], self.folder, self.plain_config)
