"""What a checkpoint says of itself, and how the machine that wrote it differs from this one."""

from __future__ import annotations

import json
import math
import platform
import re
from collections.abc import Callable, Mapping
from dataclasses import MISSING, asdict, dataclass, field, fields
from functools import cache
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from ..errors import StateError

__all__ = ["Manifest", "differences"]

_FORMAT = 1
_DIGEST = re.compile("[0-9a-f]{64}")


def _versions() -> dict[str, str]:
    return {
        "python": platform.python_version(),
        "torch": str(torch.__version__),
        "numpy": _version_of("numpy"),
        "footplate": _version_of("footplate"),
    }


@cache  # metadata are read from files
def _version_of(distribution: str) -> str:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return "not installed"


def _machine() -> dict[str, Any]:
    begun = torch.cuda.is_initialized()  # type: ignore[no-untyped-call]
    return {
        "threads": torch.get_num_threads(),
        "interop_threads": torch.get_num_interop_threads(),
        "cpu": torch.backends.cpu.get_cpu_capability(),
        "accelerators": _accelerators() if begun else [],
    }


def _accelerators() -> list[str]:
    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return [torch.cuda.get_device_name(number) for number in range(count)]


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a checkpoint says of itself.

    Attributes:
        run: the identity of the run that wrote it; a run takes away no other's.
        iteration, epoch: where the run stood.
        number: how many were saved in the directory before it; clocks may be set back.
        exact: whether a run that goes on from it ends with the same bits. One that was written
            after an error, or without some of the state, is for inspection.
        left_out: what was not saved, by choice.
        error: the error that it was written after.
        metrics: the run's scalar metrics then.
        score: the value that checkpoints are compared by, more being better; ``None`` for none.
        compared_by: what that is: ``"max"`` or ``"min"`` and the metric.
        kept: whether somebody saved it under a name, so that it is never taken away.
        world_size: how many processes the run had.
        seed: the run's.
        config: its hyper-parameters. Of this and ``meta`` tuples are read back as lists.
        meta: what the user adds.
        files: size in bytes and SHA-256 digest, by file name.
        versions: of Python, torch, numpy and this library.
        machine: number of threads, within and across operations; the instructions that torch
            uses of the CPU; the names of the accelerators that the process had begun to use.
        format: of the directory.

    Raises:
        TypeError: for a value of another type than these, named.

    Example:
        >>> manifest = Manifest(run="r", iteration=3, epoch=1, metrics={"loss": float("inf")})
        >>> Manifest.from_json(manifest.to_json()) == manifest
        True
    """

    run: str
    iteration: int
    epoch: int
    number: int = 0
    exact: bool = True
    left_out: tuple[str, ...] = ()
    error: str | None = None
    metrics: dict[str, float] = field(default_factory=dict)
    score: float | None = None
    compared_by: str | None = None
    kept: bool = False
    world_size: int = 1
    seed: int | None = None
    config: dict[str, Any] = field(default_factory=dict)
    meta: dict[str, Any] = field(default_factory=dict)
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=_versions)
    machine: dict[str, Any] = field(default_factory=_machine)
    format: int = _FORMAT

    def __post_init__(self) -> None:
        """Refuse what is none of these; the file is written by anybody."""
        for name, (fits, wanted) in _RULES.items():
            value = getattr(self, name)
            if not fits(value):
                raise TypeError(f"{name!r} of a manifest is {wanted}, given {value!r}.")
        for name in ("config", "meta", "machine"):
            _check_json(getattr(self, name), name)

    def to_json(self) -> str:
        """The manifest as text; numbers that are not finite as JavaScript writes them."""
        return json.dumps(asdict(self), indent=2)

    @classmethod
    def from_json(cls, text: str | bytes) -> Manifest:
        """Read what :meth:`to_json` wrote; what an older version did not write has its default.

        Raises:
            StateError: for anything else, naming what is wrong.
        """
        try:
            given = json.loads(text)
        except (ValueError, RecursionError) as error:
            raise StateError(f"it is no JSON: {error}.") from error
        if not isinstance(given, dict):
            raise StateError(f"it is a {type(given).__name__} in place of an object.")
        if given.get("format") != _FORMAT:
            raise StateError(f"it has format {given.get('format')!r}, and this reads {_FORMAT}.")
        if unknown := given.keys() - {one.name for one in fields(cls)}:
            raise StateError(
                f"it has {sorted(unknown)}, which this version knows nothing of; read it with "
                f"the version that wrote it, or a later one."
            )
        if missing := [one.name for one in fields(cls) if _needs(one) and one.name not in given]:
            raise StateError(f"it lacks {missing}.")
        read = {key: _tuples_back(key, value) for key, value in given.items()}
        absent: dict[str, Any] = {"versions": {}, "machine": {}}  # not those of here
        try:
            return cls(**{**absent, **read})
        except TypeError as error:
            raise StateError(str(error)) from error


def differences(manifest: Manifest) -> list[str]:
    """What is another here than it was where a checkpoint was written, a sentence each.

    A run that goes on has the bits of one that was never stopped where none of this differs.

    Example:
        >>> before = {"torch": "1.0"}
        >>> manifest = Manifest(run="r", iteration=0, epoch=0, versions=before, machine={})
        >>> differences(manifest) == [f"torch was 1.0 and is {torch.__version__}"]
        True
    """
    here = {**_versions(), **_said(_machine())}
    there = {**manifest.versions, **_said(manifest.machine)}
    if manifest.machine.get("accelerators"):  # so it is right to begin to use those of here
        here |= _said({"accelerators": _accelerators()})
    return [
        f"{what} was {value} and is {here[what]}"
        for what, value in there.items()
        if what in here and here[what] != value
    ]


_MACHINE = {
    "threads": "the number of threads",
    "interop_threads": "the number of threads across operations",
    "cpu": "the CPU's capability",
    "accelerators": "the list of accelerators",
}


def _said(machine: Mapping[str, Any]) -> dict[str, str]:
    """A machine in words, by what each is called."""
    known = {called: machine[key] for key, called in _MACHINE.items() if key in machine}
    return {
        called: (", ".join(map(str, value)) or "none") if isinstance(value, list) else str(value)
        for called, value in known.items()
    }


# ---------------------------------------------------------------------- what may stand in a field


def _is_text(value: object) -> bool:
    return isinstance(value, str) and value != ""


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_number(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_measured(value: object) -> bool:
    """Whether it is the size and digest of a file."""
    if not isinstance(value, tuple) or len(value) != 2 or not _is_whole(value[0]):
        return False
    return isinstance(value[1], str) and _DIGEST.fullmatch(value[1]) is not None


def _is_file_name(value: object) -> bool:
    if not isinstance(value, str) or value.startswith("."):
        return False
    return value != "" and not any(sign in value for sign in "/\\\0")


def _named(fits: Callable[[object], bool]) -> Callable[[object], bool]:
    """Whether a value is a dict by name of such."""

    def check(value: object) -> bool:
        if not isinstance(value, dict):
            return False
        return all(isinstance(key, str) and fits(one) for key, one in value.items())

    return check


_RULES: dict[str, tuple[Callable[[Any], bool], str]] = {
    "run": (_is_text, "a string that is not empty"),
    "iteration": (_is_whole, "a whole number from 0 on"),
    "epoch": (_is_whole, "a whole number from 0 on"),
    "number": (_is_whole, "a whole number from 0 on"),
    "exact": (lambda value: isinstance(value, bool), "a bool"),
    "kept": (lambda value: isinstance(value, bool), "a bool"),
    "world_size": (lambda value: _is_whole(value) and value > 0, "a whole number from 1 on"),
    "compared_by": (lambda value: value is None or isinstance(value, str), "a string or None"),
    "left_out": (
        lambda value: isinstance(value, tuple) and all(map(_is_text, value)),
        "a tuple of strings",
    ),
    "error": (lambda value: value is None or isinstance(value, str), "a string or None"),
    "metrics": (_named(_is_number), "a dict of numbers by name"),
    "score": (
        lambda value: value is None or (_is_number(value) and not math.isnan(value)),
        "a number or None",
    ),
    "seed": (
        lambda value: value is None or (isinstance(value, int) and not isinstance(value, bool)),
        "a whole number or None",
    ),
    "config": (lambda value: isinstance(value, dict), "a dict"),
    "meta": (lambda value: isinstance(value, dict), "a dict"),
    "files": (
        lambda value: _named(_is_measured)(value) and all(map(_is_file_name, value)),
        "a dict of (size, SHA-256) by file name without folders",
    ),
    "versions": (_named(lambda value: isinstance(value, str)), "a dict of strings by name"),
    "machine": (lambda value: isinstance(value, dict), "a dict"),
    "format": (lambda value: value == _FORMAT and _is_whole(value), f"{_FORMAT}"),
}


def _check_json(value: object, where: str) -> None:
    """Refuse what JSON can't hold, or would give another form."""
    if isinstance(value, dict):
        for key, one in value.items():
            if not isinstance(key, str):
                raise TypeError(f"{where} of a manifest has the key {key!r}; use strings.")
            _check_json(one, f"{where}[{key!r}]")
    elif isinstance(value, (list, tuple)):
        for number, one in enumerate(value):
            _check_json(one, f"{where}[{number}]")
    elif not (value is None or isinstance(value, (bool, int, float, str))):
        raise TypeError(
            f"{where} of a manifest is a {type(value).__module__}.{type(value).__qualname__}; it "
            f"holds what JSON does: numbers, strings, bools, None, lists and dicts."
        )


def _needs(one: Any) -> bool:
    return one.default is MISSING and one.default_factory is MISSING


def _tuples_back(key: str, value: Any) -> Any:
    """A field as it was before JSON made lists of tuples."""
    if key == "left_out" and isinstance(value, list):
        return tuple(value)
    if key == "files" and isinstance(value, dict):
        return {
            name: tuple(pair) if isinstance(pair, list) else pair for name, pair in value.items()
        }
    return value
