"""What of MMCV's hooks is not here, and what does the same."""

from __future__ import annotations

from typing import Any

__all__ = ["refuse_unsupported"]

_SINK = "a sink is a class with write(engine, point), attached by runner.trainer.attach(…)"
_INSTEAD = {
    "ProfilerHook": "footplate.handlers.profiler.Profiler, attached by runner.trainer.attach(…)",
    "SyncBuffersHook": "footplate.Runner, which trains in several processes",
    "DistEvalHook": "EvalHook in one process; in several footplate.Runner with val_evaluator",
    "PaviLoggerHook": _SINK,
    "NeptuneLoggerHook": _SINK,
    "DvcliveLoggerHook": _SINK,
    "SegmindLoggerHook": _SINK,
    "ClearMLLoggerHook": _SINK,
    "WandbLoggerHook": "footplate.handlers.wandb.WandB, attached by runner.trainer.attach(…)",
    "MlflowLoggerHook": "footplate.handlers.mlflow.MLflow, attached by runner.trainer.attach(…)",
}


def refuse_unsupported(kind: Any) -> None:
    """Refuse a hook of MMCV that is not here.

    Args:
        kind: its type, by name or not.

    Raises:
        NotImplementedError: naming it, and what to take in its place.

    Example:
        >>> refuse_unsupported("DistEvalHook")
        Traceback (most recent call last):
        NotImplementedError: DistEvalHook is not here; in its place: EvalHook in one process; in \
several footplate.Runner with val_evaluator.
    """
    if isinstance(kind, str) and kind in _INSTEAD:
        raise NotImplementedError(f"{kind} is not here; in its place: {_INSTEAD[kind]}.")
