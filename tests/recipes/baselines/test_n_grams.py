"""N-grams: chances that sum to one, that follow the formula, and that real text is foretold by."""

from __future__ import annotations

import itertools
import math
from collections import Counter, defaultdict

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate.engine.data.text import characters, standard_library
from footplate.engine.errors import DataError
from footplate.recipes.baselines.n_grams import n_gram_bits

pytestmark = pytest.mark.covers("K2")

SYMBOLS = 3
TEXTS = st.lists(st.integers(0, SYMBOLS - 1), min_size=4, max_size=60)


def chance(text: list[int], gram: tuple[int, ...]) -> float:
    """The chance of a gram's last symbol behind the others."""
    bits = n_gram_bits(torch.tensor(text), torch.tensor(gram), len(gram), SYMBOLS)
    return 2**-bits


@given(text=TEXTS, order=st.integers(1, 4), data=st.data())
@settings(max_examples=60, deadline=None)
def test_the_chances_behind_a_context_sum_to_one(text, order, data):
    context = data.draw(st.tuples(*[st.integers(0, SYMBOLS - 1)] * (order - 1)))
    chances = [chance(text, (*context, symbol)) for symbol in range(SYMBOLS)]
    assert sum(chances) == pytest.approx(1)
    assert min(chances) > 0


def plain(text: list[int], gram: tuple[int, ...]) -> float:
    """The same, symbol by symbol from the formula, with dicts."""
    order = len(gram)
    chances = 1 / SYMBOLS
    for length in range(1, order + 1):
        counts: Counter[tuple[int, ...]] = Counter()
        if length == order:
            counts.update(tuple(text[i : i + length]) for i in range(len(text) - length + 1))
        else:
            kinds = {tuple(text[i : i + length + 1]) for i in range(len(text) - length)}
            counts.update(kind[1:] for kind in kinds)
        of = Counter(counts.values())
        off = {0: 0.0, 1: 0.5, 2: 0.5, 3: 0.5}
        if all(of[n] for n in (1, 2, 3, 4)):
            share = of[1] / (of[1] + 2 * of[2])
            off = {0: 0.0} | {
                n: min(max(n - (n + 1) * share * of[n + 1] / of[n], 0.1), n) for n in (1, 2, 3)
            }
        following: defaultdict[tuple[int, ...], dict[int, int]] = defaultdict(dict)
        for (*context, symbol), count in counts.items():
            following[tuple(context)][symbol] = count
        seen = following.get(gram[order - length : order - 1])
        if seen:
            count = seen.get(gram[-1], 0)
            spared = sum(off[min(one, 3)] for one in seen.values())
            own = max(count - off[min(count, 3)], 0)
            chances = (own + spared * chances) / sum(seen.values())
    return chances


@pytest.mark.parametrize("order", [1, 2, 3])
def test_the_chances_follow_the_formula(order):
    generator = torch.Generator().manual_seed(5)
    skewed = torch.tensor([0.6, 0.3, 0.1])
    text = torch.multinomial(skewed, 90, replacement=True, generator=generator).tolist()
    for gram in itertools.product(range(SYMBOLS), repeat=order):
        assert chance(text, gram) == pytest.approx(plain(text, gram))


def test_bits_are_the_mean_over_the_text():
    text, asked = [0, 1, 2, 0, 1, 1, 2, 0, 2, 1], [2, 1, 0, 0, 1]
    bits = n_gram_bits(torch.tensor(text), torch.tensor(asked), 2, SYMBOLS)
    each = [-math.log2(chance(text, pair)) for pair in itertools.pairwise(asked)]
    assert bits == pytest.approx(sum(each) / 4)


def test_longer_contexts_foretell_a_program_better():
    text = characters(standard_library(200_000), 128)
    bits = [n_gram_bits(text[:180_000], text[180_000:], order, 128) for order in (1, 2, 3, 5)]
    assert 4 < bits[0] < 5.5
    assert bits == sorted(bits, reverse=True)
    assert bits[0] - bits[-1] > 1.5


def test_what_can_not_be_counted_is_refused():
    text = torch.tensor([0, 1, 2])
    with pytest.raises(DataError, match=r"symbols from 0 to 2, which are to be from 0 to 1"):
        n_gram_bits(text, text, 2, 2)
    with pytest.raises(DataError, match=r"unseen is a row of at least 2 symbols.*\(1,\)"):
        n_gram_bits(text, text[:1], 2, 3)
    with pytest.raises(ValueError, match="64 bits"):
        n_gram_bits(text, text, 10, 128)
    with pytest.raises(ValueError, match="order is a whole number"):
        n_gram_bits(text, text, 0, 3)
