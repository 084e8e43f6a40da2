"""Saving: the run's own checkpoints, from which it goes on to the bit, and files as MMCV's."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn
from torch.optim import Optimizer

from ...engine.checkpoints.contents import HandlersDiffer
from ...engine.checkpoints.state_file import read_state
from ...engine.checkpoints.tensor_file import WeightsReport
from ...engine.checkpoints.weights import load_from
from ...engine.checkpoints.when import When
from ...engine.engine import Engine
from ...engine.errors import StateError
from ...engine.events import Event, Events
from ...engine.phases import Feed
from ...engine.step.optimization import Optimization
from ...engine.workflow import Workflow
from ...handlers.checkpoint import Checkpoint
from .checkpoint_hook import CheckpointHook
from .evaluation import EvalHook
from .facts import Facts, unwrapped
from .keeping import DueAndBest

if TYPE_CHECKING:
    from .base_runner import BaseRunner

__all__ = ["Saving", "begin_at", "checkpoint_for", "load_checkpoint", "save_checkpoint"]

_ALL = 2**31
_REVISE = ((r"^module\.", ""),)


class Saving(Facts):
    """What a runner does with checkpoints."""

    def load_checkpoint(
        self,
        filename: str,
        map_location: str | torch.device = "cpu",
        strict: bool = False,
        revise_keys: Iterable[tuple[str, str]] = _REVISE,
    ) -> WeightsReport:
        """Load weights; see :func:`load_checkpoint`."""
        return load_checkpoint(self.model, filename, map_location, strict, revise_keys)

    def save_checkpoint(
        self,
        out_dir: str,
        filename_tmpl: str | None = None,
        save_optimizer: bool = True,
        meta: Mapping[str, Any] | None = None,
        create_symlink: bool = True,
    ) -> None:
        """Write a file as MMCV's: ``meta``, ``state_dict`` and ``optimizer``.

        A run goes on from it as MMCV's does, by counts, weights and optimizer. What a
        ``CheckpointHook`` saves is the whole run.

        Args:
            out_dir: the folder.
            filename_tmpl: its name, with ``{}`` for the number of the epoch or iteration.
            save_optimizer: whether the optimizer is in it.
            meta: facts to keep in it, besides those of the runner.
            create_symlink: whether ``latest.pth`` points to it then.
        """
        by_epoch = self.unit == "epoch"
        template = filename_tmpl or ("epoch_{}.pth" if by_epoch else "iter_{}.pth")
        name = template.format((self.epoch if by_epoch else self.iter) + 1)
        facts = {**(meta or {}), **(self.meta or {}), "epoch": self.epoch + 1, "iter": self.iter}
        optimizer = self.optimizer if save_optimizer else None
        save_checkpoint(self.bare_model, os.path.join(out_dir, name), optimizer, facts)
        if create_symlink:
            _link(Path(out_dir) / "latest.pth", name)

    def resume(
        self,
        checkpoint: str,
        resume_optimizer: bool = True,
        map_location: str | torch.device = "default",
    ) -> None:
        """Go on from a checkpoint: the next ``run()`` continues there.

        Call it when all hooks are registered. What logs may come and go: what it has saved is
        left, or it begins anew, with a warning.

        Args:
            checkpoint: a checkpoint of a ``CheckpointHook``, or a folder with some below it, of
                which the last is taken: the run goes on to the bit. Or a file as MMCV's.
            resume_optimizer: whether the optimizer's state is loaded.
            map_location: where tensors are put on their way.

        Raises:
            StateError: if there is none, or it does not fit.
        """
        self.settle()
        path = Path(checkpoint)
        if path.is_dir():
            without = () if resume_optimizer else [one.name for one in self.optimizations.values()]
            self._resume_from_folder(path, without)
        else:
            device = "cpu" if map_location == "default" else map_location
            self._resume_from_file(path, device, resume_optimizer)
        self.logger.info("the run goes on from epoch %d, iteration %d", self.epoch, self.iter)

    def _resume_from_folder(self, path: Path, without: Collection[str]) -> None:
        """Go on, though handlers came or went since; what trains has to be the same."""
        saver = self.checkpoint or Checkpoint(path, self.bare_model)
        try:
            saver.resume(self.trainer, path, without=without)
        except HandlersDiffer as error:
            if any(map(_trains, [*error.added.values(), *error.gone.values()])):
                raise
            for name in error.added:
                _warn(f"{path} has no state of {name!r}, which begins anew.")
            for name in error.gone:
                _warn(
                    f"{path} has a state of {name!r}, but there is nothing of that name any "
                    f"longer, so it is left; register what it was of, if that was to go on."
                )
            saver.resume(self.trainer, path, without=[*without, *error.added, *error.gone])

    def _resume_from_file(
        self,
        path: Path,
        map_location: str | torch.device,
        with_optimizer: bool,
    ) -> None:
        loaded = read_state(path)
        if "meta" not in loaded or not {"epoch", "iter"} <= loaded["meta"].keys():
            raise StateError(f"{path} has no meta with epoch and iter; load its weights alone.")
        load_checkpoint(self.model, str(path), map_location)
        meta = self.meta = dict(loaded["meta"])
        if with_optimizer and "optimizer" in loaded:
            _load_optimizers(self.optimizers, loaded["optimizer"], path)
        self._start_at = self.place.epoch, self.place.iter = meta["epoch"], meta["iter"]


def load_checkpoint(
    model: nn.Module,
    filename: str,
    map_location: str | torch.device = "cpu",
    strict: bool = False,
    revise_keys: Iterable[tuple[str, str]] = _REVISE,
) -> WeightsReport:
    """Load weights into a model, of a file of MMCV or of anything else that holds weights.

    No file can run code.

    Args:
        model: the model.
        filename: a path, a URL, ``torchvision://…``, or a checkpoint of Footplate.
        map_location: where tensors are put on their way.
        strict: whether all names and shapes must match.
        revise_keys: regular expressions and what takes the place of their matches in names.

    Returns:
        what did not match, where MMCV gives what was in the file.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/epoch_1.pth"
        >>> save_checkpoint(nn.Linear(2, 1), path, meta=dict(epoch=1, iter=10))
        >>> load_checkpoint(nn.Linear(2, 1), path).missing
        {}
    """
    if callable(map_location):
        raise TypeError(f"map_location is a device, 'cpu' say, given {map_location!r}.")
    return load_from(
        unwrapped(model),
        filename,
        strict=strict,
        map_location=map_location,
        revise_keys=revise_keys,
    )


def save_checkpoint(
    model: nn.Module,
    filename: str,
    optimizer: Optimizer | Mapping[str, Optimizer] | None = None,
    meta: Mapping[str, Any] | None = None,
) -> None:
    """Write a file as MMCV's; it appears whole, or not at all.

    Args:
        model: whose weights are saved.
        filename: where to.
        optimizer: an optimizer, or several by name.
        meta: facts to keep in it.

    Example:
        >>> import torch
        >>> model = torch.nn.Linear(2, 1)
        >>> save_checkpoint(model, "line.pth", meta={"epoch": 3})
        >>> saved = torch.load("line.pth")
        >>> sorted(saved), saved["meta"]["epoch"]
        (['meta', 'state_dict'], 3)
    """
    facts = {**(meta or {}), "time": time.asctime()}
    if getattr(model, "CLASSES", None) is not None:
        facts["CLASSES"] = model.CLASSES
    weights = model.state_dict()
    for name, value in weights.items():
        weights[name] = value.cpu()
    saved: dict[str, Any] = {"meta": facts, "state_dict": weights}
    if isinstance(optimizer, Mapping):
        saved["optimizer"] = {name: one.state_dict() for name, one in optimizer.items()}
    elif optimizer is not None:
        saved["optimizer"] = optimizer.state_dict()
    path = Path(filename)
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{path.name}.{os.getpid()}")
    torch.save(saved, unfinished)
    unfinished.replace(path)


def checkpoint_for(runner: BaseRunner) -> Checkpoint | None:
    """The handler that saves a run, as its hooks ask for it; ``None`` if none does.

    Raises:
        ValueError: for a runner without a ``work_dir``, and a hook that would never save.
    """
    hook = next((one for one in runner.hooks if isinstance(one, CheckpointHook)), None)
    judge = next((o for o in runner.hooks if isinstance(o, EvalHook) and o.save_best), None)
    if hook is None and judge is None:
        return None
    keeps = hook or CheckpointHook(save_last=False)
    if runner.work_dir is None:
        raise ValueError("checkpoints need a place; give the runner a work_dir.")
    root = Path(runner.work_dir)
    folder = root if keeps.out_dir is None else Path(keeps.out_dir) / root.name
    place = folder / "checkpoints"
    unit: Literal["epoch", "iteration"] = "epoch" if keeps.by_epoch else "iteration"
    handler = Checkpoint(
        place if judge is None else DueAndBest(place.expanduser(), keeps.interval, unit),
        runner.bare_model,
        when=When(_events(runner, keeps), at_end=keeps.save_last),
        last=_ALL if keeps.max_keep_ckpts < 1 else keeps.max_keep_ckpts,
        best=0 if judge is None else 1,
        metric=None if judge is None else judge.metric,
        mode="min" if judge is not None and judge.rule == "less" else "max",
        config=runner.meta,
    )
    return runner.trainer.attach(handler)


def begin_at(
    trainer: Engine,
    start: tuple[int, int],
    workflow: Workflow,
    loaders: Sequence[Any],
    end: int | None,
) -> None:
    """Have an engine go on from the counts of a file as MMCV's.

    Args:
        trainer: the engine.
        start: epochs and iterations that are over.
        workflow: what it is about to run.
        loaders: one for each phase.
        end: how many epochs or iterations the run has in all.
    """
    feeds = [phase for phase in workflow.phases if isinstance(phase, Feed)]
    length = len(loaders[feeds[0].number])
    if workflow.limit == "max_epochs":
        done = {"epoch": start[0], "epoch_length": length}
    else:
        done = {"iteration": start[1], "epoch_length": feeds[0].of if len(feeds) > 1 else length}
    trainer.load_state_dict({**done, workflow.limit: end}, strict=False)


def _events(runner: BaseRunner, hook: CheckpointHook) -> Event | None:
    """The event on which a save is due."""
    if hook.by_epoch and runner.unit == "iteration":
        raise ValueError(
            "CheckpointHook(by_epoch=True) never saves in an IterBasedRunner; give by_epoch=False."
        )
    if hook.interval < 1:
        return None
    event = Events.EPOCH_COMPLETED if hook.by_epoch else Events.ITERATION_COMPLETED
    return event(every=hook.interval) if hook.interval > 1 else event


def _load_optimizers(optimizers: Mapping[str, Optimizer], saved: Any, path: Path) -> None:
    states = {"": saved} if "" in optimizers else saved
    for name, optimizer in optimizers.items():
        try:
            optimizer.load_state_dict(states[name])
        except (KeyError, ValueError) as error:
            error.add_note(f"while the optimizer {name} was loaded of {path}")
            raise


def _trains(one: Any) -> bool:
    """Whether it is an optimization, or the state of one."""
    return isinstance(one, Optimization) or (isinstance(one, Mapping) and "optimizer" in one)


def _warn(text: str) -> None:
    warnings.warn(text, RuntimeWarning, stacklevel=4)


def _link(link: Path, target: str) -> None:
    """Have a link point to a file beside it; there is none in between that points nowhere."""
    fresh = link.with_name(f".{link.name}.{os.getpid()}")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(target)
    fresh.replace(link)
