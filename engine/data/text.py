"""Text: some that every machine has, and pieces of it to learn from."""

from __future__ import annotations

import sysconfig
from pathlib import Path

import torch
from torch import Tensor

from ..errors import DataError
from ..whole import whole

__all__ = ["characters", "standard_library", "windows"]


def standard_library(most: int = 2_000_000) -> str:
    """The source of the modules of Python's standard library, in the order of their names.

    It differs a little from version to version of Python.

    Args:
        most: characters at which it is cut off.

    Example:
        >>> text = standard_library(100_000)
        >>> len(text), "import" in text
        (100000, True)
    """
    texts, size = [], 0
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        texts.append(file.read_text(encoding="utf-8", errors="replace"))
        size += len(texts[-1])
        if size > most:
            break
    return "\n".join(texts)[:most]


def characters(text: str, symbols: int) -> Tensor:
    """The characters of a text as numbers.

    Args:
        text: the text.
        symbols: how many characters are told apart, the first ones of Unicode: 128 for ASCII. Any
            other becomes 0.

    Returns:
        int64 of shape (len(text),).

    Example:
        >>> characters("abé", 128).tolist()
        [97, 98, 0]
    """
    return torch.tensor([code if (code := ord(one)) < symbols else 0 for one in text])


def windows(tokens: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Pieces of a text, one behind the other, and what comes next at each of their places.

    Args:
        tokens: a text in numbers, of shape (N,).
        length: of a piece; what is left at the end is less than one.

    Returns:
        the pieces and, one place later, what they are followed by, both (N // length, length).

    Raises:
        DataError: if the text has not one piece with a symbol behind it.

    Example:
        >>> [piece.tolist() for piece in windows(torch.arange(6), 2)]
        [[[0, 1], [2, 3]], [[1, 2], [3, 4]]]
    """
    length = whole("length", length)
    if len(tokens) <= length:
        raise DataError(f"the text has {len(tokens)} characters; it needs over {length}.")
    end = (len(tokens) - 1) // length * length
    return tokens[:end].view(-1, length), tokens[1 : end + 1].view(-1, length)
