"""N-grams: how well a text is foretold by counting, which a model has to beat."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from torch import Tensor

from ...engine.errors import DataError
from ...engine.whole import whole

__all__ = ["n_gram_bits"]

Numbers = NDArray[np.int64]
Chances = NDArray[np.float64]


def n_gram_bits(seen: Tensor, unseen: Tensor, order: int, symbols: int) -> float:
    r"""The bits a symbol that an n-gram model needs for a text, having counted in another one.

    The model is smoothed as well as is known for counting: interpolated Kneser-Ney with three
    discounts. The chance of a symbol :math:`w` behind the context :math:`h` is

    .. math:: p(w|h) = \frac{\max(c(hw) - D_{c(hw)}, 0) + \sum_v D_{c(hv)} \; p(w|h')}{c(h)}

    where :math:`h'` is :math:`h` without its first symbol. For the highest order :math:`c` counts
    how often something comes; for those below, behind how many different symbols it does. Below
    the lowest, all symbols have the same chance.

    Args:
        seen: the text that is counted in, whole numbers from 0, of shape (N,).
        unseen: the text that is foretold, of shape (M,); its first ``order - 1`` symbols are
            context alone.
        order: how many symbols are looked at together: 2 for bigrams.
        symbols: how many there are.

    Raises:
        DataError: if a text is shorter than the order, or has other symbols.
        ValueError: for numbers out of range.

    Example:
        >>> import torch
        >>> text = torch.tensor([0, 1, 2] * 100)
        >>> round(n_gram_bits(text, text, 1, symbols=3), 2)  # three symbols, equally often
        1.58
        >>> n_gram_bits(text, text, 2, symbols=3) < 0.1
        True

    Source: S. F. Chen and J. Goodman, "An empirical study of smoothing techniques for language
    modeling", 1999.
    """
    order, symbols = whole("order", order), whole("symbols", symbols)
    if symbols**order >= 2**63:
        raise ValueError(f"{order} of {symbols} symbols don't fit into 64 bits; take fewer.")
    past, asked = _checked("seen", seen, order, symbols), _checked("unseen", unseen, order, symbols)
    grams = [
        np.unique(_codes(past, length, symbols), return_counts=True)
        for length in range(1, order + 1)
    ]
    chances = np.full(len(asked) - order + 1, 1 / symbols)
    for length in range(1, order + 1):
        kinds, counts = grams[length - 1]
        if length < order:
            kinds, counts = np.unique(grams[length][0] % symbols**length, return_counts=True)
        codes = _codes(asked, length, symbols)[order - length :]
        chances = _interpolated(kinds, counts, codes, chances, symbols)
    return float(-np.log2(chances).mean())


def _checked(name: str, text: Tensor, order: int, symbols: int) -> Numbers:
    numbers: Numbers = text.numpy().astype(np.int64)
    if numbers.ndim != 1 or len(numbers) < order:
        raise DataError(
            f"{name} is a row of at least {order} symbols, given the shape {numbers.shape}."
        )
    if numbers.min() < 0 or numbers.max() >= symbols:
        raise DataError(
            f"{name} has symbols from {numbers.min()} to {numbers.max()}, which are to be from 0 "
            f"to {symbols - 1}."
        )
    return numbers


def _codes(text: Numbers, length: int, symbols: int) -> Numbers:
    """The grams of a length at each place, each as one number whose first digit is the oldest."""
    codes = np.zeros(len(text) - length + 1, np.int64)
    for place in range(length):
        codes = codes * symbols + text[place : place + len(codes)]
    return codes


def _interpolated(
    kinds: Numbers, counts: Numbers, codes: Numbers, lower: Chances, symbols: int
) -> Chances:
    """The chances of grams, given those of the grams that are one shorter.

    Args:
        kinds: the codes of the grams that were seen, ascending.
        counts: of each of them.
        codes: of the grams that are asked for.
        lower: the chances without the first symbol.
        symbols: how many there are.
    """
    contexts, which = np.unique(kinds // symbols, return_inverse=True)
    discounts = _discounts(counts)
    of_context = np.bincount(which, counts)
    spared = np.bincount(which, discounts[np.minimum(counts, 3)])
    count, context = _looked_up(kinds, counts, codes), codes // symbols
    total = _looked_up(contexts, of_context, context)
    own = np.maximum(count - discounts[np.minimum(count, 3)], 0)
    mixed = own + _looked_up(contexts, spared, context) * lower
    return np.where(total > 0, mixed / np.maximum(total, 1), lower)


def _discounts(counts: Numbers) -> Chances:
    """What is taken off a count of 0, 1, 2 and 3 or more, by how many there are of each."""
    ones, *more = ((counts == count).sum() for count in (1, 2, 3, 4))
    if not (ones and all(more)):  # too few to tell
        return np.array([0, 0.5, 0.5, 0.5])
    twos, threes, fours = more
    share = ones / (ones + 2 * twos)
    estimated = [1 - 2 * share * twos / ones, 2 - 3 * share * threes / twos]
    estimated.append(3 - 4 * share * fours / threes)
    return np.array([0, *np.clip(estimated, 0.1, [1, 2, 3])])


def _looked_up(keys: Numbers, values: NDArray[Any], asked: Numbers) -> NDArray[Any]:
    """The value of each key that is asked for; 0 where there is none."""
    places = np.minimum(np.searchsorted(keys, asked), len(keys) - 1)
    return np.where(keys[places] == asked, values[places], 0)
