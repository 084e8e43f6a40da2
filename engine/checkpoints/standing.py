"""Where a run stands, as far as it matters to whether it is saved."""

from __future__ import annotations

from ..beginning import is_done, is_spent
from ..engine import Engine
from ..state import Next

__all__ = ["ends", "has_ended_an_epoch", "is_safe", "is_to_be_evaluated"]


def is_safe(engine: Engine) -> bool:
    """Whether nothing is under way."""
    return engine.watch is None or engine.last_event_name == "SAFE_POINT"


def ends(engine: Engine) -> bool:
    """Whether this safe point is the last one of the run."""
    following, state = engine.progress.next, engine.state
    over = following is Next.EPOCH_STARTED and is_done(state)
    asked = following is Next.TERMINATE or bool(engine.should_terminate)
    return over or asked or is_spent(state)


def has_ended_an_epoch(engine: Engine) -> bool:
    """Whether what is measured once an epoch could be there."""
    return engine.state.epoch > 1 or engine.delivering in ("EPOCH_COMPLETED", "COMPLETED")


def is_to_be_evaluated(engine: Engine) -> bool:
    """Whether an evaluation is still to come."""
    evaluators = [getattr(one, "evaluator", None) for one in engine.handlers.values()]
    return any(one is not None and not one.state.iteration for one in evaluators)
