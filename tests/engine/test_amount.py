"""How much: counts and fractions never mix."""

from __future__ import annotations

import math
from decimal import Decimal
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.engine.amount import Amount

pytestmark = pytest.mark.covers("B5")

QUARTER = Amount(None, Fraction(1, 4))
ALL = Amount(None, Fraction(1))


@pytest.mark.parametrize(
    ("said", "amount"),
    [
        (10, Amount(10, None)),
        (10.0, Amount(10, None)),
        (1, Amount(1, None)),
        (1.0, Amount(1, None)),
        (np.int64(3), Amount(3, None)),
        (np.float32(3), Amount(3, None)),
        ("25%", QUARTER),
        (" 25.0 % ", QUARTER),
        ("1/4", QUARTER),
        (Fraction(1, 4), QUARTER),
        ("12.5%", Amount(None, Fraction(1, 8))),
        ("100%", ALL),
        ("1/1", ALL),
        (Fraction(1), ALL),
        (None, ALL),
        (QUARTER, QUARTER),
    ],
)
def test_what_is_said_is_what_is_meant(said, amount):
    assert Amount.of(said) == amount


def test_one_is_not_everything():
    assert Amount.of(1) != Amount.of("100%")
    assert (Amount.of(1).is_everything, Amount.of("100%").is_everything) == (False, True)


@pytest.mark.parametrize(
    ("said", "error", "message"),
    [
        (0.25, ValueError, r"write '25%' or Fraction\(1, 4\)"),
        (0.1, ValueError, r"write '10%' or Fraction\(1, 10\)"),
        (np.float64(0.5), ValueError, r"write '50%' or Fraction\(1, 2\)"),
        (2.5, ValueError, "write 2 or 3"),
        (True, TypeError, "given True"),
        (Decimal("0.5"), TypeError, "given Decimal"),
        ([1], TypeError, r"given \[1\]"),
        (-1, ValueError, "an amount is a whole number from 0 on, given -1"),
        (-0.5, ValueError, "from 0 on, given -0.5"),
        (math.inf, ValueError, "write None or '100%'"),
        (math.nan, ValueError, "is no amount"),
        ("120%", ValueError, "between 0 and 100%"),
        (Fraction(5, 4), ValueError, "between 0 and 100%"),
        (Fraction(-1, 4), ValueError, "between 0 and 100%"),
        ("10", ValueError, "without quotes for a count"),
        ("0.25", ValueError, "says no fraction"),
        ("1/0", ValueError, "says no fraction"),
        ("-5%", ValueError, "says no fraction"),
        ("a lot", ValueError, "says no fraction"),
        (0, ValueError, "nothing at all"),
        ("0%", ValueError, "nothing at all"),
        (Fraction(0), ValueError, "nothing at all"),
    ],
)
def test_anything_else_is_refused_and_says_what_to_write(said, error, message):
    with pytest.raises(error, match=message):
        Amount.of(said)


def test_nothing_is_an_amount_where_that_is_said():
    assert Amount.of(0, zero=True).of_total(5) == 0
    assert Amount.of("0%", zero=True).of_total(5) == 0
    assert not Amount.of(0, zero=True).is_everything


@given(st.fractions(0, 1).filter(bool), st.integers(0, 10**6))
def test_a_fraction_is_rounded_down_but_to_one_at_least(fraction, total):
    taken = Amount.of(fraction).of_total(total)
    if total:
        assert taken == max(1, math.floor(fraction * total)) <= total
    else:
        assert taken == 0


@given(st.integers(1, 100), st.integers(0, 100))
def test_a_count_is_at_most_the_total(count, total):
    assert Amount.of(count).of_total(total) == min(count, total)
    assert Amount.of(count).of_total(None) == count


@pytest.mark.parametrize("said", ["25%", "100%", None])
def test_a_fraction_of_an_unknown_length_is_refused(said):
    with pytest.raises(ValueError, match="length that is not known; give a count"):
        Amount.of(said).of_total(None)


@pytest.mark.parametrize("text", ["10", "25%", "12.5%", "1/3", "100%", "0.001%"])
def test_it_reads_as_it_is_written(text):
    assert str(Amount.of(10 if text == "10" else text)) == text
