"""Names: what each of a stream's scalars is, so that no two share a name."""

from __future__ import annotations

__all__ = ["Names"]


class Names:
    """The origin of each name; a name keeps the one that claims it first.

    Example:
        >>> names = Names()
        >>> names.claim("loss", "the step's output")
        >>> names.claim("loss", "the step's output")
        >>> names.claim("loss", "a metric")
        Traceback (most recent call last):
          ...
        ValueError: 'loss' is given by a metric, but it is the name of the step's output already; \
give one of them another name, or Scalars(prefix=…) to those of the step's output.
        >>> names.origin("loss"), names.origin("accuracy")
        ("the step's output", None)
    """

    def __init__(self) -> None:
        self._origins: dict[str, str] = {}

    def claim(self, name: str, origin: str) -> None:
        """Take a name for an origin.

        Raises:
            ValueError: when it stands for something else.
        """
        if (other := self._origins.setdefault(name, origin)) != origin:
            raise ValueError(
                f"{name!r} is given by {origin}, but it is the name of {other} already; give one "
                f"of them another name, or Scalars(prefix=…) to those of the step's output."
            )

    def origin(self, name: str) -> str | None:
        """Who has a name; ``None`` where nobody has."""
        return self._origins.get(name)

    def clear(self) -> None:
        """Let go of all of them."""
        self._origins.clear()
