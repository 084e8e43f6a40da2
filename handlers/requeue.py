"""Requeue: a job of SLURM that is told to stop asks to be run again."""

from __future__ import annotations

import logging
import os
import signal
import subprocess
import warnings
from collections.abc import Collection
from typing import Any

from ..engine.engine import Engine
from ..engine.handler import Handler
from ..engine.placement.ranks import is_first
from ..engine.priority import Priority
from ..engine.state import Reason

__all__ = ["Requeue"]

_logger = logging.getLogger("footplate.requeue")

_SECONDS = 60  # that the controller may take to answer


class Requeue(Handler):
    """Has SLURM run the job again when a signal has stopped it.

    SLURM sends the signal some time before a job's time is up, if ``sbatch --signal=USR1@300`` asks
    for it. When the run has stopped and its save is written, the first process calls
    ``scontrol requeue`` for the job; of an array, for its own task. The job that is run again goes
    on from the checkpoint if it resumes from the last one. Where there is no ``SLURM_JOB_ID``, or
    no ``scontrol``, it warns, and the run has stopped all the same.

    Args:
        signals: signals on which to stop and ask to be run again; any other one that stops the run
            ends the job for good.

    Raises:
        ValueError: for what is no signal.

    Example:
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> requeue = trainer.attach(Requeue())
        >>> trainer.run([0, 1]).iteration
        2
    """

    priority = Priority.LOWEST  # behind whoever still writes a checkpoint
    for_one_engine = True

    def __init__(self, signals: Collection[int] = (signal.SIGUSR1,)) -> None:
        self.signals = tuple(signals)

    def on_register(self, engine: Engine) -> None:
        """Have the signals stop the run."""
        engine.stop_on(*self.signals)

    def closed(self, engine: Engine) -> None:
        """Ask to be run again, if that is due."""
        watch: Any = engine.watch
        stopped = engine.state.reason == Reason.SIGNALLED and watch.due in self.signals
        if stopped and is_first():
            _requeue(os.environ)


def _requeue(environment: Any) -> None:
    job = _job(environment)
    if job is None:
        _warn("there is no SLURM_JOB_ID")
        return
    try:
        subprocess.run(
            ["scontrol", "requeue", job],
            check=True,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
    except subprocess.CalledProcessError as error:
        _warn(f"scontrol requeue {job} said: {error.stderr.strip() or error.returncode}")
    except (OSError, subprocess.TimeoutExpired) as error:
        _warn(f"scontrol requeue {job}: {error}")
    else:
        _logger.info("job %s is to be run again", job)


def _job(environment: Any) -> str | None:
    """The job, as ``scontrol`` takes it; a task of an array by both of its numbers.

    The last task of an array has the number of the whole array for a job.
    """
    array, task = environment.get("SLURM_ARRAY_JOB_ID"), environment.get("SLURM_ARRAY_TASK_ID")
    if array and task:
        return f"{array}_{task}"
    job: str | None = environment.get("SLURM_JOB_ID")
    return job


def _warn(why: str) -> None:
    warnings.warn(f"the job is not run again: {why}.", RuntimeWarning, stacklevel=4)
