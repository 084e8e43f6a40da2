"""Several loaders as one: in which order, of which length, and which a batch is of."""

from __future__ import annotations

import pytest

from footplate.engine.data.in_turn import InTurn


def test_each_pass_begins_with_the_first():
    both = InTurn(["ab", [], "c"])
    for _ in range(2):
        seen = [(batch, both.loader_idx, both.batch_idx) for batch in both]
        assert seen == [("a", 0, 0), ("b", 0, 1), ("c", 2, 0)]
    assert len(both) == 3


def test_without_the_length_of_one_there_is_none():
    with pytest.raises(TypeError, match="together they have none"):
        len(InTurn(["ab", iter("c")]))
