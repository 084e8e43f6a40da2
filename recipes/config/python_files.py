"""Configurations in Python files, as MMEngine has them: it runs them, and we take the values."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any

from ...engine.origin import package_of
from .problems import ABSENT, ConfigError, Problem

__all__ = ["is_config", "of_config", "read_python"]

_NEAR = 0.85  # how alike a variable's name is that is meant to be an argument


def read_python(path: Path, arguments: Collection[str] = ()) -> dict[str, Any]:
    """What a file says: MMEngine's ``_base_`` files and ``read_base()`` are filled in.

    The file is run, with what its ``custom_imports`` names.

    Args:
        path: of the file.
        arguments: as :func:`of_config` takes them.

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
        return of_config(Config.fromfile(path), arguments)
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
    return any(one.__name__ == "Config" and package_of(one) == "mmengine" for one in kinds)


def of_config(config: Any, arguments: Collection[str] = ()) -> dict[str, Any]:
    """What a ``Config`` of MMEngine says, in plain dictionaries and lists.

    Args:
        config: the configuration; classes of one in MMEngine's newer style become their paths.
        arguments: what is taken; whatever else stands there are variables of its own, which are
            kept as ``cfg``, unless they are a slip of the pen, with the ``filename``. By default
            all is taken.
    """
    values: Mapping[str, Any] = config.to_dict()
    if not arguments:
        return dict(values)
    own = {
        name: one
        for name, one in values.items()
        if name not in arguments and not get_close_matches(name, arguments, 1, _NEAR)
    }
    said = {name: one for name, one in values.items() if name not in own}
    if config.filename:  # a name that no variable may have
        own["filename"] = str(config.filename)
    return {**said, "cfg": own} if own else said
