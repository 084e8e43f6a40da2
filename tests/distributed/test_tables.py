"""Each row of a table or a stream goes to one process, whoever deals it out."""

from __future__ import annotations

import pytest

from tests.distributed.launching import Ranks

pytest.importorskip("datasets")
pytestmark = pytest.mark.covers("I1")


@pytest.mark.parametrize("kind", ["table", "stream", "stream of 3", "shuffled stream"])
@pytest.mark.parametrize("evaluates", [True, False])
def test_rows_are_dealt_out(ranks: Ranks, kind: str, evaluates: bool) -> None:
    first, second = ranks.call("tests.distributed.tables:dealt", kind, 16, evaluates)
    assert sorted(first + second) == list(range(16))
    assert len(first) == len(second) == 8


def test_an_evaluation_sees_each_row_once_and_training_takes_as_many_steps(ranks: Ranks) -> None:
    first, second = ranks.call("tests.distributed.tables:dealt", "stream of 3", 15, True)
    assert sorted(first + second) == list(range(15))
    first, second = ranks.call("tests.distributed.tables:dealt", "stream", 13, False)
    assert not set(first) & set(second)
    assert -(-len(first) // 2) == -(-len(second) // 2)


def test_a_stream_that_was_split_is_left_alone(ranks: Ranks) -> None:
    split = ranks.call("tests.distributed.tables:dealt", "stream", 16, True, True)
    assert split == ranks.call("tests.distributed.tables:dealt", "stream", 16, True)


def test_a_table_that_was_split_is_warned_of(ranks: Ranks) -> None:
    warned, _ = ranks.call("tests.distributed.tables:dealt_twice")
    assert len(warned) == 1
    assert "most rows are never seen; leave it out" in warned[0]
