"""The index of tensors in pieces, none of which is believed before it is checked."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

import torch

from ..errors import StateError
from .shards import Shape

__all__ = ["INDEX", "is_of_pieces", "read_index", "shape_in"]

INDEX = "shards.json"
_FILE = re.compile(r"shards-\d{5,}\.safetensors")

_Box = tuple[list[int], list[int]]  # where a piece begins, and its sizes


def is_of_pieces(name: str) -> bool:
    """Whether a file of that name holds pieces of tensors.

    Example:
        >>> is_of_pieces("shards-00002.safetensors"), is_of_pieces("model.safetensors")
        (True, False)
    """
    return _FILE.fullmatch(name) is not None


def read_index(directory: Path, files: Collection[str] | None = None) -> dict[str, Any]:
    """The entries of an index, each of which says where all of a tensor is, and once.

    Args:
        directory: where it is.
        files: the names of all that the checkpoint has; by default what is there.

    Raises:
        StateError: if it is not as it was written.
        OSError: if it can't be read.
    """
    names = [one.name for one in directory.iterdir()] if files is None else files
    pieces = [name for name in names if is_of_pieces(name) and (directory / name).is_file()]
    room = {name: (directory / name).stat().st_size for name in pieces}
    try:
        entries = json.loads((directory / INDEX).read_bytes())
        if not entries:
            raise ValueError("it speaks of no tensor")
        for entry in entries.values():
            _check(entry, room)
    except (ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        raise StateError(
            f"{directory / INDEX} is not as it was written: {type(error).__name__}: {error}."
        ) from error
    return dict(entries)


def shape_in(entry: Mapping[str, Any]) -> Shape:
    """What an entry says a whole tensor is like.

    Raises:
        ValueError: if there is no such type of numbers.
    """
    dtype = getattr(torch, str(entry["dtype"]), None)
    if not isinstance(dtype, torch.dtype):
        raise ValueError(f"there is no type {entry['dtype']!r}")
    return Shape(tuple(entry["shape"]), dtype, tuple(map(str, entry["placements"])))


def _check(entry: Mapping[str, Any], room: Mapping[str, int]) -> None:
    size, width = _numbers(entry["shape"]), shape_in(entry).dtype.itemsize
    if math.prod(max(one, 1) for one in size) * width >= 2**63:
        raise ValueError(f"no tensor is as large as {size}")
    boxes, used = list[_Box](), set[str]()
    for chunk in entry["chunks"]:
        offsets, sizes, file = _numbers(chunk["offsets"]), _numbers(chunk["sizes"]), chunk["file"]
        if not len(offsets) == len(sizes) == len(size) or any(
            at + length > whole for at, length, whole in zip(offsets, sizes, size, strict=True)
        ):
            raise ValueError(f"a piece {offsets}, {sizes} is not in a tensor of {size}")
        if file not in room:
            raise ValueError(f"{file!r} is no file of pieces of this checkpoint")
        if file in used:
            raise ValueError(f"{file!r} has one piece of a tensor, not several")
        if math.prod(sizes) * width > room[file]:
            raise ValueError(f"{file!r} is too small for a piece of {sizes}")
        used.add(file)
        boxes.append((offsets, sizes))
    held = sum(math.prod(sizes) for _, sizes in boxes)
    if held != math.prod(size):
        raise ValueError(f"of a tensor of {math.prod(size)} numbers there are {held}")
    _check_apart([one for one in boxes if math.prod(one[1])])


def _check_apart(boxes: list[_Box]) -> None:
    """Refuse pieces that overlap; each is compared with those that end behind its beginning."""
    if len(boxes) < 2:
        return
    dimensions = range(len(boxes[0][0]))
    along = max(dimensions, key=lambda at: len({offsets[at] for offsets, _ in boxes}), default=None)
    if along is None:
        raise ValueError("a single number has no pieces")
    near: list[_Box] = []
    for offsets, sizes in sorted(boxes, key=lambda one: one[0][along]):
        near = [one for one in near if one[0][along] + one[1][along] > offsets[along]]
        for others, lengths in near:
            if all(
                max(offsets[at], others[at])
                < min(offsets[at] + sizes[at], others[at] + lengths[at])
                for at in dimensions
            ):
                raise ValueError(f"the pieces at {others} and {offsets} overlap")
        near.append((offsets, sizes))


def _numbers(given: Any) -> list[int]:
    if not isinstance(given, list) or not all(type(one) is int and one >= 0 for one in given):
        raise ValueError(f"{given!r} are no sizes")
    return given
