"""Paths into nested values: ``param_scheduler[0].gamma``, ``custom_keys["backbone.norm"]``."""

from __future__ import annotations

import json
import re

__all__ = ["Key", "joined", "split"]

Key = str | int
"""One step: the key of a mapping, or the place in a list."""

_PLAIN = r"[^\s.\[\]=\"'{}:,]+"
_STEP = re.compile(
    rf'(?P<dot>\.?)(?P<key>{_PLAIN})|\[(?P<at>-?\d+)\]|\[(?P<text>"(?:[^"\\]|\\.)*")\]'
)
_IS_PLAIN = re.compile(_PLAIN)


def joined(path: str, key: Key) -> str:
    """A path with one more step; a key that would read as several is put in quotes.

    Example:
        >>> joined(joined("param_scheduler", 0), "gamma"), joined("keys", "a.b")
        ('param_scheduler[0].gamma', 'keys["a.b"]')
    """
    if isinstance(key, int):
        return f"{path}[{key}]"
    if not _IS_PLAIN.fullmatch(key):
        return f"{path}[{json.dumps(key, ensure_ascii=False)}]"
    return f"{path}.{key}" if path else key


def split(path: str) -> tuple[Key, ...]:
    """The steps of a path.

    Args:
        path: as :func:`joined` makes it.

    Raises:
        ValueError: if it is none.

    Example:
        >>> split('param_scheduler[0].gamma'), split('keys["a.b"]')
        (('param_scheduler', 0, 'gamma'), ('keys', 'a.b'))
    """
    steps: list[Key] = []
    at = 0
    while at < len(path):
        found = _STEP.match(path, at)
        if found is None or (found["key"] and bool(found["dot"]) != bool(steps)):
            raise ValueError(f"{path!r} is no path; write one as train_cfg.max_epochs or hooks[0].")
        at = found.end()
        if found["key"]:
            steps.append(found["key"])
        else:
            steps.append(int(found["at"]) if found["at"] else json.loads(found["text"]))
    return tuple(steps)
