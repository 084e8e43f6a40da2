"""Priority: where in the order of an event a handler runs."""

from __future__ import annotations

import enum

from .errors import nearest

__all__ = ["Priority"]


class Priority(enum.IntEnum):
    """Named places from 0, which runs first, to 100, which runs last.

    The names and numbers are MMEngine's. Handlers of one priority run in the order in which they
    were attached. Wherever a priority is asked for, the name in any case or any whole number from
    0 to 100 will do.

    Example:
        >>> Priority.of("low"), Priority.of(35), Priority.of(Priority.NORMAL)
        (70, 35, 50)
    """

    HIGHEST = 0
    VERY_HIGH = 10
    HIGH = 30
    ABOVE_NORMAL = 40
    NORMAL = 50
    BELOW_NORMAL = 60
    LOW = 70
    VERY_LOW = 90
    LOWEST = 100

    @classmethod
    def of(cls, given: int | str) -> int:
        """The number of a priority given by number or name.

        Raises:
            ValueError: for an unknown name or a number outside 0 to 100.
            TypeError: for anything that is neither.

        Example:
            >>> Priority.of("very_high")
            10
        """
        names = ", ".join(f"{level.name} {level.value}" for level in cls)
        if isinstance(given, str):
            if given.upper() in cls.__members__:
                return cls[given.upper()].value
            hint = nearest(given.upper(), cls.__members__)
            raise ValueError(f"priority {given!r} is not one of {names}.{hint}")
        if isinstance(given, bool) or not isinstance(given, int):
            raise TypeError(
                f"priority {given!r} is a {type(given).__name__}; "
                f"give a whole number from 0 to 100 or one of {names}."
            )
        if not 0 <= given <= 100:
            raise ValueError(
                f"priority {given} lies outside 0 (first) to 100 (last); the names are {names}."
            )
        return int(given)

    @classmethod
    def label(cls, number: int) -> str:
        """A priority as people read it: its name where it has one, else the number."""
        return cls(number).name if number in cls._value2member_map_ else str(number)
