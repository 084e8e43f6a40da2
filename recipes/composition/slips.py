"""Slips of the pen: keys that nearly are one of those that the runner itself looks at."""

from __future__ import annotations

import inspect
from collections.abc import Iterable, Iterator, Mapping
from difflib import get_close_matches
from typing import Any

from ...engine.errors import nearest
from ..config.objects import Objects
from ..config.problems import Problem
from ..config.registry import Registry

__all__ = ["slips", "taken_by"]


def taken_by(type: object, objects: Objects, registry: Registry) -> list[str]:
    """The names of the arguments of what a ``type`` means; none if there is no such."""
    try:
        return list(inspect.signature(objects.find(type, registry)).parameters)
    except LookupError:
        return []


def slips(
    given: Mapping[str, Any], ours: Iterable[str], theirs: Iterable[str], path: str
) -> Iterator[Problem]:
    """The keys of a mapping that are none, but near to one that the runner takes out of it.

    Args:
        given: the mapping.
        ours: keys that the runner takes out.
        theirs: keys that are left for what is built of it, and so are right.
        path: where it stands.

    Example:
        >>> for problem in slips({"prioritty": "LOW"}, ["priority", "on"], ["lr"], "hooks[0]"):
        ...     print(problem)
        hooks[0].prioritty: there is no such key, given 'LOW'. Did you mean 'priority'?
    """
    known, right = list(ours), [*ours, *theirs]
    for name, value in list(given.items()):  # the caller may take them out meanwhile
        near = get_close_matches(str(name), right, 1) if name not in right else []
        if near and near[0] in known:
            reason, hint = "there is no such key", nearest(str(name), known)
            yield Problem(path=f"{path}.{name}", given=value, reason=reason, hint=hint)
