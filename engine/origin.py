"""Origins: which package a class, a function or a path is from."""

from __future__ import annotations

__all__ = ["package_of"]


def package_of(found: object) -> str:
    """The package at the top of where something is from.

    Args:
        found: a class, a function, or the dotted path of one.

    Example:
        >>> from fractions import Fraction
        >>> package_of(Fraction), package_of("mmengine.hooks.Hook")
        ('fractions', 'mmengine')
    """
    path = found if isinstance(found, str) else str(getattr(found, "__module__", ""))
    return path.partition(".")[0]
