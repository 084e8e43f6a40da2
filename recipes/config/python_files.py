"""Configurations in Python files, as MMEngine has them: it runs them, and we take the values."""

from __future__ import annotations

from collections.abc import Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from .problems import ABSENT, ConfigError, Problem

__all__ = ["is_config", "of_config", "read_python"]

_ARGUMENTS = (
    "model",
    "work_dir",
    "train_dataloader",
    "val_dataloader",
    "test_dataloader",
    "predict_dataloader",
    "train_cfg",
    "val_cfg",
    "test_cfg",
    "predict_cfg",
    "auto_scale_lr",
    "optim_wrapper",
    "param_scheduler",
    "val_evaluator",
    "test_evaluator",
    "default_hooks",
    "custom_hooks",
    "data_preprocessor",
    "load_from",
    "resume",
    "launcher",
    "env_cfg",
    "log_processor",
    "log_level",
    "visualizer",
    "default_scope",
    "randomness",
    "experiment_name",
    "compile",
    "model_wrapper_cfg",
    "runner_type",
)
"""What a runner takes out of such a file; whatever else it has are its own variables."""

_NEAR = 0.85  # how alike a variable's name is that is meant to be one of these


def read_python(path: Path) -> dict[str, Any]:
    """What a file says: MMEngine's ``_base_`` files and ``read_base()`` are filled in.

    The file is run, with what its ``custom_imports`` names. Its variables that are no arguments of
    a runner are kept as ``cfg``.

    Args:
        path: of the file.

    Raises:
        ConfigError: without MMEngine, and for a file that can't be run.
    """
    try:
        from mmengine.config import Config
    except ImportError as error:
        reason = (
            "a configuration in a Python file is MMEngine's, which is not installed; pip install "
            "mmengine, or write YAML"
        )
        raise ConfigError([Problem(path=path.name, given=str(path), reason=reason)]) from error
    try:
        return of_config(Config.fromfile(path))
    except ConfigError:
        raise
    except FileNotFoundError as error:
        reason = "there is no such file"
        raise ConfigError([Problem(path=path.name, given=str(error), reason=reason)]) from error
    except Exception as error:  # whatever the file raises
        reason = f"it can't be read: {type(error).__name__}: {error}"
        raise ConfigError([Problem(path=path.name, given=ABSENT, reason=reason)]) from error


def is_config(given: object) -> bool:
    """Whether it is a ``Config`` of MMEngine.

    Example:
        >>> is_config({"model": None})
        False
    """
    kinds = type(given).__mro__
    return any(one.__name__ == "Config" and _is_mmengines(one) for one in kinds)


def of_config(config: Any) -> dict[str, Any]:
    """What a ``Config`` of MMEngine says, in plain dictionaries and lists.

    Args:
        config: the configuration; classes of one in MMEngine's newer style become their paths.
    """
    values: Mapping[str, Any] = config.to_dict()
    near = [name for name in values if name not in _ARGUMENTS and _is_near(name)]
    said = {name: one for name, one in values.items() if name in (*_ARGUMENTS, *near)}
    own = {name: one for name, one in values.items() if name not in said}
    return {**said, "cfg": own} if own else said


def _is_mmengines(kind: type) -> bool:
    return kind.__module__.startswith("mmengine.")


def _is_near(name: str) -> bool:
    """Whether it is a slip of the pen, which the runner is to refuse."""
    return bool(get_close_matches(name, _ARGUMENTS, 1, _NEAR))
