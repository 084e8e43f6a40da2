"""What is wrong with a configuration: each problem with its path, all of them in one error."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from enum import Enum

__all__ = ["ABSENT", "ConfigError", "OptionError", "Problem"]

_LONGEST = 80


class _Absent(Enum):
    ABSENT = "absent"


ABSENT = _Absent.ABSENT
"""What is given where nothing is: ``None`` is a value, too."""


@dataclass(frozen=True, kw_only=True)
class Problem:
    """One thing that is wrong, and where.

    Attributes:
        path: where it stands, ``"optim_wrapper.optimizer.lr"``; empty for the whole.
        given: the value there; ``ABSENT`` if there is none, or if ``reason`` says it.
        reason: why it is refused.
        hint: what to do, a sentence behind a space; empty if ``reason`` says it.

    Example:
        >>> print(Problem(path="a.momentun", given=0.9, reason="SGD takes no 'momentun'",
        ...     hint=" Did you mean 'momentum'?"))
        a.momentun: SGD takes no 'momentun', given 0.9. Did you mean 'momentum'?
    """

    path: str
    given: object
    reason: str
    hint: str = ""

    def __str__(self) -> str:
        given = "" if self.given is ABSENT else f", given {_short(self.given)}"
        start = f"{self.path}: " if self.path else ""
        ending = "" if not given and self.reason.endswith((".", "?", "!")) else "."
        return f"{start}{self.reason}{given}{ending}{self.hint}"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= _LONGEST else f"{text[: _LONGEST - 1]}…"


class ConfigError(ValueError):
    """A configuration that is refused, with all that is wrong with it, one problem a line.

    Args:
        problems: what is wrong, one at least.

    Attributes:
        problems: the same, as a tuple.

    Example:
        >>> first = Problem(path="lr", given="fast", reason="SGD takes a number as 'lr'")
        >>> print(ConfigError([first]))
        lr: SGD takes a number as 'lr', given 'fast'.
    """

    def __init__(self, problems: Iterable[Problem]) -> None:
        self.problems = tuple(problems)
        super().__init__("\n".join(map(str, self.problems)))

    def __reduce__(self) -> tuple[type[ConfigError], tuple[tuple[Problem, ...]]]:
        return type(self), (self.problems,)


class OptionError(ValueError):
    """An option whose value is refused by what it is for.

    Args:
        name: the option's name.
        reason: why it is refused; what was given is told besides.

    Example:
        >>> error = OptionError("max_epochs", "a run has one epoch at least")
        >>> error.name, str(error)
        ('max_epochs', 'max_epochs: a run has one epoch at least')
    """

    def __init__(self, name: str, reason: str) -> None:
        self.name, self.reason = name, reason
        super().__init__(f"{name}: {reason}")

    def __reduce__(self) -> tuple[type[OptionError], tuple[str, str]]:
        return type(self), (self.name, self.reason)
