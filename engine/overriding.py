"""Overriding: whether an object has a method of its own, and not that of a library's base class."""

from __future__ import annotations

__all__ = ["overrides"]


def overrides(given: object, name: str, *bases: str) -> bool:
    """Whether a method is the user's, by the module of the class that it comes from.

    The library is not imported for that. What was put onto the instance is the user's, too.

    Args:
        given: the object.
        name: of the method.
        bases: what the names of the modules with the library's base classes begin with.

    Example:
        >>> from collections import UserDict
        >>> class Counted(UserDict):
        ...     def __len__(self):
        ...         return 0
        >>> [overrides(Counted(), name, "collections") for name in ("__len__", "items", "other")]
        [True, False, False]
    """
    if name in getattr(given, "__dict__", {}):
        return True
    origin = next((one for one in type(given).__mro__ if name in vars(one)), None)
    return origin is not None and not origin.__module__.startswith(bases)
