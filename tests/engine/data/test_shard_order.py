"""Samples in shards: each once over the ranks, in an order that follows from seed and pass."""

from __future__ import annotations

import bisect
import itertools
from collections import Counter

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from footplate.engine.data.order import Order
from footplate.engine.data.shard_order import ShardOrder

LENGTHS = st.lists(st.integers(0, 9), max_size=8).map(tuple)
WORLDS = st.integers(1, 5)


def orders(lengths, world, **options):
    return [
        ShardOrder(sum(lengths), lengths=lengths, rank=rank, world_size=world, **options)
        for rank in range(world)
    ]


def shards_of(order, number):
    """The shards that a rank reads, in the order in which it comes to each."""
    ends = list(itertools.accumulate(order.lengths))
    found = (
        next(n for n, end in enumerate(ends) if one < end) for one in order.indices(number).tolist()
    )
    return list(dict.fromkeys(found))


OPTIONS = st.fixed_dictionaries(
    {"shuffle": st.booleans(), "at_once": st.integers(1, 6), "window": st.integers(1, 7)}
)


@given(LENGTHS, WORLDS, OPTIONS, st.integers(0, 3))
def test_each_sample_comes_once_over_the_ranks(lengths, world, options, number):
    shares = [one.indices(number).tolist() for one in orders(lengths, world, even=False, **options)]
    assert sorted(itertools.chain(*shares)) == list(range(sum(lengths)))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(LENGTHS, WORLDS, OPTIONS)
def test_even_shares_repeat_no_more_than_they_must(lengths, world, options):
    made = orders(lengths, world, **options)
    counted = Counter(itertools.chain(*(one.indices(1).tolist() for one in made)))
    assert set(counted) == set(range(sum(lengths)))
    assert {len(one.indices(1)) for one in made} == {len(made[0])} == {-(-sum(lengths) // world)}
    assert sum(counted.values()) - sum(lengths) < world


@given(LENGTHS, WORLDS, WORLDS, OPTIONS, st.integers(0, 40))
def test_another_number_of_ranks_can_finish_a_pass(lengths, before, after, options, taken):
    shares = [one.indices(1)[:taken] for one in orders(lengths, before, even=False, **options)]
    used = list(itertools.chain(*(share.tolist() for share in shares)))
    rest = [
        one.rest(1, len(used)).tolist() for one in orders(lengths, after, even=False, **options)
    ]
    assert sorted(used + list(itertools.chain(*rest))) == list(range(sum(lengths)))


def test_unshuffled_it_is_any_order():
    for order in orders((3, 0, 4, 2), 2):
        assert (
            order.indices(0).tolist() == Order(9, rank=order.rank, world_size=2).indices(0).tolist()
        )


@pytest.mark.parametrize("world", [1, 2, 3, 4, 6, 8, 12, 16, 24, 48])
@pytest.mark.parametrize("count", [48, 96, 144])
def test_each_rank_reads_shards_of_its_own(world, count):
    made = orders((10,) * count, world, shuffle=True, window=7)
    for number in range(3):
        read = [shards_of(order, number) for order in made]
        assert sorted(itertools.chain(*read)) == list(range(count))
    assert shards_of(made[0], 0) != shards_of(made[0], 1)


@pytest.mark.parametrize("count", [7, 10, 31, 50])
def test_fewer_shards_are_shared_than_there_are_ranks(count):
    made = orders((10,) * count, 4, at_once=16, shuffle=True, even=False)
    read = Counter(itertools.chain(*(shards_of(order, 0) for order in made)))
    assert sum(times > 1 for times in read.values()) < 4
    assert set(read) == set(range(count))


def test_where_lengths_differ_few_shards_are_shared():
    lengths = tuple(100 + n % 37 for n in range(200))
    made = orders(lengths, 4, at_once=8, shuffle=True, even=False)
    read = Counter(itertools.chain(*(shards_of(order, 0) for order in made)))
    assert sum(times > 1 for times in read.values()) <= 8
    assert set(read) == set(range(200))


def test_a_shard_takes_the_place_of_one_that_ends():
    order = ShardOrder(60, lengths=(10, 20, 20, 10), at_once=2, shuffle=True)
    ends = list(itertools.accumulate(order.lengths))
    of = [bisect.bisect_right(ends, one) for one in order.indices(0).tolist()]
    places = [list(dict.fromkeys(of[place::2])) for place in (0, 1)]
    assert sorted(places[0][:2] + places[1][:2]) == [0, 1, 2, 3]
    assert all(len(set(of[first : first + 2])) == 2 for first in range(0, 40, 2))


def test_few_shards_are_read_at_once_each_to_its_end():
    order = ShardOrder(200, lengths=(10,) * 20, at_once=4, shuffle=True)
    of = [one // 10 for one in order.indices(0).tolist()]
    assert all(len(set(of[first : first + 40])) == 4 for first in range(0, 200, 40))
    assert all(len(set(of[first : first + 4])) == 4 for first in range(0, 200, 4))


def test_samples_stay_in_their_window():
    order = ShardOrder(100, lengths=(50, 50), window=10, at_once=1, shuffle=True, seed=3)
    for one in map(torch.Tensor.tolist, order.indices(0).split(10)):
        first = min(one)
        assert first % 10 == 0
        assert sorted(one) == list(range(first, first + 10)) != one


def test_passes_seeds_and_ranks_differ_and_each_is_always_the_same():
    def drawn(number=0, seed=1, rank=0, window=50):
        order = ShardOrder(
            1000,
            lengths=(50,) * 20,
            shuffle=True,
            seed=seed,
            rank=rank,
            world_size=2,
            window=window,
        )
        return tuple(order.indices(number).tolist())

    cases = [{}, {"number": 1}, {"seed": 2}, {"rank": 1}, {"window": 10}]
    assert len({drawn(**case) for case in cases}) == len(cases)
    torch.manual_seed(9)
    before = torch.get_rng_state()
    assert drawn() == drawn()
    assert torch.equal(torch.get_rng_state(), before)


def test_lengths_that_do_not_fit_are_refused():
    with pytest.raises(ValueError, match="the shards have 4 samples together, and the data 5"):
        ShardOrder(5, lengths=(2, 2))
    with pytest.raises(ValueError, match="window is a whole number from 1 on"):
        ShardOrder(4, lengths=(2, 2), window=0)
    with pytest.raises(ValueError, match="at_once is a whole number from 1 on"):
        ShardOrder(4, lengths=(2, 2), at_once=0)
    with pytest.raises(ValueError, match="the length of a shard"):
        ShardOrder(4, lengths=(5, -1))
