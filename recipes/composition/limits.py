"""Limits of a run that goes on: those that it has passed, or does not count by, are refused."""

from __future__ import annotations

from ...engine.state import State
from ..config.problems import ConfigError, Problem
from .options import TrainCfg

__all__ = ["check_limits"]


def check_limits(state: State, options: TrainCfg) -> None:
    """Check the limit of a run that goes on before it does.

    Args:
        state: the trainer's, loaded or as a run before has left it.
        options: with the limit.

    Raises:
        ConfigError: if the run stands behind it, or counts by the other one.

    Example:
        >>> state = State()
        >>> state.epoch, state.max_epochs = 5, 5
        >>> check_limits(state, TrainCfg(max_epochs=9))
        >>> check_limits(state, TrainCfg(max_epochs=3))
        Traceback (most recent call last):
            ...
        footplate.recipes.config.problems.ConfigError: train_cfg.max_epochs: the run that goes on \
stands at epoch 5, given 3. Give a larger limit, or begin another run: without resume.
    """
    ((name, limit),) = options.limits.items()
    if name == "max_epochs":
        unit, at, other = "epoch", state.epoch, "max_iters"
    else:
        unit, at, other = "iteration", state.iteration, "max_epochs"
    if getattr(state, other) is not None:
        reason, what = f"the run that goes on counts by {other}", f"Give {other}"
    elif getattr(state, name) is not None and limit < at:
        reason, what = f"the run that goes on stands at {unit} {at}", "Give a larger limit"
    else:
        return
    path = f"train_cfg.{name}" if getattr(options, name) is not None else "train_cfg"
    hint = f" {what}, or begin another run: without resume."
    raise ConfigError([Problem(path=path, given=limit, reason=reason, hint=hint)])
