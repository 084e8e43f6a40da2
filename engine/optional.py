"""Libraries that need not be installed."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager

__all__ = ["required"]


@contextmanager
def required(package: str, why: str, *, extra: str | None = None) -> Generator[None, None, None]:
    """Around the import of an optional library: where it is missing, say how to install it.

    Args:
        package: what it is imported as.
        why: what needs it.
        extra: footplate's extra that brings it; by default that of the package's name.

    Raises:
        ImportError: if it is not installed; an error within an installed one passes as it is.

    Example:
        >>> with required("absent", "the example"):
        ...     import absent
        Traceback (most recent call last):
        ImportError: the example needs absent, which is not here: pip install 'footplate[absent]'.
    """
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != package:
            raise
        raise ImportError(
            f"{why} needs {package}, which is not here: "
            f"pip install 'footplate[{extra or package}]'.",
            name=package,
        ) from error
