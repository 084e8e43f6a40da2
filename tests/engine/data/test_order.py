"""The order of samples follows from seed, pass and rank alone, and a stock DataLoader keeps it."""

from __future__ import annotations

import io
from collections import Counter
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, Dataset, DistributedSampler, IterableDataset

from footplate import Engine
from footplate.engine.data.order import Order, OrderSampler, ordered_loader
from footplate.engine.data.sample_random import PassIndex
from footplate.engine.errors import StateError
from footplate.engine.samplers import samplers_in
from footplate.handlers.predictions import Predictions
from footplate.handlers.sampler_seed import SamplerSeed

SIZES = st.integers(1, 60)
WORLDS = st.integers(1, 9)
NUMBERS = st.integers(0, 2**40)
WORKERS = pytest.mark.parametrize(
    ("num_workers", "persistent_workers"), [(0, False), (1, False), (2, False), (2, True)]
)


class Numbers(Dataset):
    """Its samples are their own index."""

    def __init__(self, length: int) -> None:
        self.length = length

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> int:
        return index


def ranks(size: int, world: int, number: int = 0, **options: Any) -> list[list[int]]:
    """What each rank takes in a pass."""
    orders = [Order(size, rank=rank, world_size=world, **options) for rank in range(world)]
    shares = [order.indices(number) for order in orders]
    assert [len(share) for share in shares] == [len(order) for order in orders]
    assert {share.dtype for share in shares} == {torch.int64}
    return [share.tolist() for share in shares]


def samples(loader: Any) -> list[int]:
    return [int(sample) for batch in loader for sample in batch]


# ------------------------------------------------------------------ the order


@given(SIZES, NUMBERS, NUMBERS)
def test_a_shuffled_pass_is_a_permutation_and_always_the_same(size, seed, number):
    order = Order(size, shuffle=True, seed=seed).indices(number).tolist()
    assert sorted(order) == list(range(size))
    assert Order(size, shuffle=True, seed=seed).indices(number).tolist() == order


@given(st.integers(0, 60), WORLDS, NUMBERS, st.booleans())
def test_uneven_ranks_take_every_sample_once(size, world_size, number, shuffle):
    shares = ranks(size, world_size, number, shuffle=shuffle, even=False)
    assert sorted(sample for share in shares for sample in share) == list(range(size))
    assert max(map(len, shares)) - min(map(len, shares)) <= 1


@given(SIZES, WORLDS, NUMBERS, st.booleans())
def test_even_ranks_have_equally_many_and_repeat_from_the_beginning(
    size, world_size, number, shuffle
):
    shares = ranks(size, world_size, number, shuffle=shuffle)
    alone = Order(size, shuffle=shuffle).indices(number).tolist()
    assert {len(share) for share in shares} == {-(-size // world_size)}
    dealt = [sample for round_ in zip(*shares, strict=True) for sample in round_]
    assert dealt == [alone[place % size] for place in range(len(dealt))]


@given(SIZES, WORLDS)
def test_unshuffled_it_is_the_order_of_torchs_distributed_sampler(size, world_size):
    theirs = [
        list(DistributedSampler(range(size), world_size, rank, shuffle=False))
        for rank in range(world_size)
    ]
    assert ranks(size, world_size) == theirs


@pytest.mark.parametrize("even", [True, False])
def test_no_samples_are_no_error(even):
    assert ranks(0, 2, shuffle=True, even=even) == [[], []]


@pytest.mark.parametrize(
    ("seed", "number", "expected"),
    [
        (0, 0, [3, 8, 2, 1, 4, 6, 5, 7, 0, 9]),
        (0, 1, [1, 6, 7, 0, 2, 4, 5, 8, 3, 9]),
        (1, 0, [6, 7, 3, 4, 2, 0, 9, 1, 5, 8]),
        (2**40, 3, [6, 7, 3, 1, 9, 2, 4, 0, 5, 8]),
    ],
)
def test_the_order_stays_what_it_was(seed, number, expected):
    """A run that was saved by an earlier version goes on in its own order."""
    assert Order(10, shuffle=True, seed=seed).indices(number).tolist() == expected


def test_seed_and_pass_are_not_added_up():
    orders = {
        (seed, number): tuple(Order(50, shuffle=True, seed=seed).indices(number).tolist())
        for seed in range(30)
        for number in range(30)
    }
    assert orders[1, 2] != orders[2, 1]
    assert len(set(orders.values())) == len(orders)


def test_every_sample_comes_first_equally_often():
    order = Order(5, shuffle=True, seed=3)
    first = Counter(int(order.indices(number)[0]) for number in range(2000))
    assert all(330 < first[sample] < 470 for sample in range(5))  # 400, and four deviations


def test_neither_the_global_generator_nor_the_default_device_matters():
    expected = Order(20, shuffle=True, rank=1, world_size=2).indices(4)
    torch.manual_seed(7)
    before = torch.get_rng_state()
    with torch.device("meta"):
        there = Order(20, shuffle=True, rank=1, world_size=2).indices(4)
    assert there.tolist() == expected.tolist()
    assert torch.equal(torch.get_rng_state(), before)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"size": -1}, "size is a whole number from 0 on, given -1"),
        ({"size": 2.5}, "size is a whole number from 0 on, given 2.5; give 2 or 3"),
        ({"seed": -3}, "seed is a whole number from 0 on, given -3"),
        ({"seed": True}, "seed is a whole number from 0 on, given True"),
        ({"seed": "7"}, "seed is a whole number from 0 on, given '7'"),
        ({"world_size": 0}, "world_size is a whole number from 1 on, given 0"),
        ({"rank": -1, "world_size": 2}, "rank is a whole number from 0 on, given -1"),
        ({"rank": 2, "world_size": 2}, "rank 2 is not in a world of 2, whose ranks go from 0 to 1"),
    ],
)
def test_what_is_out_of_range_is_refused(options, message):
    with pytest.raises(ValueError, match=message):
        Order(**{"size": 4, **options})


def test_a_pass_before_the_first_is_refused():
    with pytest.raises(ValueError, match="the number of a pass is a whole number from 0 on"):
        Order(4).indices(-1)


# ------------------------------------------------------------------ the sampler


def test_the_sampler_counts_its_passes_unless_it_is_told():
    order = Order(20, shuffle=True)
    passes = [order.indices(number).tolist() for number in range(8)]
    sampler = OrderSampler(order)
    assert [list(sampler), list(sampler)] == passes[:2]
    sampler.set_epoch(6)
    assert [list(sampler), list(sampler)] == passes[6:]
    assert len(sampler) == 20


def test_a_pass_that_nobody_takes_an_index_of_does_not_count():
    sampler = OrderSampler(Order(20, shuffle=True))
    iter(sampler)
    assert list(sampler) == sampler.order.indices(0).tolist()


def test_indices_tell_their_pass():
    sampler = OrderSampler(Order(3), with_pass=True)
    sampler.set_epoch(2)
    given = list(sampler)
    assert given == [PassIndex(2, 0), PassIndex(2, 1), PassIndex(2, 2)]
    assert {type(one) for one in given} == {PassIndex}


@pytest.mark.covers("G4")
def test_the_state_taken_before_a_pass_brings_it_back():
    sampler = OrderSampler(Order(20, shuffle=True, seed=np.int64(5)))
    sampler.set_epoch(np.int64(3))
    file = io.BytesIO()
    torch.save(sampler.state_dict(), file)
    expected = [list(sampler), list(sampler)]
    file.seek(0)
    state = torch.load(file, weights_only=True)
    assert state == {"seed": 5, "pass": 3}

    other = OrderSampler(Order(20, shuffle=True, seed=5))
    list(other)
    other.load_state_dict(state)
    assert [list(other), list(other)] == expected
    other.load_state_dict({"pass": 3})
    assert list(other) == expected[0]


def test_a_state_with_another_seed_is_refused():
    sampler = OrderSampler(Order(4, seed=1))
    with pytest.raises(StateError, match=r"seed 2, this one has seed 1; make .* with seed=2"):
        sampler.load_state_dict({"seed": 2, "pass": 0})


def test_an_epoch_before_the_first_is_refused():
    with pytest.raises(ValueError, match="the number of a pass is a whole number from 0 on"):
        OrderSampler(Order(4)).set_epoch(-1)


# ------------------------------------------------------------------ the loader


@WORKERS
@pytest.mark.parametrize("batch_size", [3, None])
def test_a_loader_keeps_the_order(num_workers, persistent_workers, batch_size):
    loader = ordered_loader(
        Numbers(7),
        batch_size,
        shuffle=True,
        seed=4,
        num_workers=num_workers,
        persistent_workers=persistent_workers,
    )
    assert type(loader) is DataLoader
    for number in range(3):
        took = samples(loader) if batch_size else [int(sample) for sample in loader]
        assert took == Order(7, shuffle=True, seed=4).indices(number).tolist()


def test_the_loaders_of_all_ranks_share_the_data():
    loaders = [
        ordered_loader(Numbers(7), 2, shuffle=True, seed=1, rank=rank, world_size=3, even=False)
        for rank in range(3)
    ]
    assert [len(samples(loader)) for loader in loaders] == [3, 2, 2]
    assert sorted(sample for loader in loaders for sample in samples(loader)) == list(range(7))
    assert len(ordered_loader(Numbers(7), 2, rank=2, world_size=3)) == 2  # three samples, one twice


def test_options_go_to_the_loader():
    loader = ordered_loader(Numbers(7), 3, drop_last=True, collate_fn=tuple)
    assert list(loader) == [(0, 1, 2), (3, 4, 5)]


def test_a_sampler_seed_tells_it_the_pass():
    loader = ordered_loader(Numbers(6), 6, shuffle=True)
    assert list(samplers_in(loader)) == [loader.sampler]
    list(loader)  # somebody has a look, so that its own count is ahead
    seen = []
    trainer = Engine(lambda engine, batch: seen.append(batch.tolist()), name="train")
    trainer.attach(SamplerSeed())
    trainer.run(loader, max_epochs=2)
    assert seen == [loader.sampler.order.indices(number).tolist() for number in (0, 1)]


def test_predictions_know_whether_it_shuffles():
    predictor = Engine(lambda engine, batch: batch, name="predict")
    predictions = predictor.attach(Predictions())
    predictor.run(ordered_loader(Numbers(5), 2))
    assert predictions.outputs.tolist() == [0, 1, 2, 3, 4]
    with pytest.raises(ValueError, match="does not keep it: its sampler is a OrderSampler"):
        predictor.run(ordered_loader(Numbers(5), 2, shuffle=True))


@pytest.mark.parametrize("name", ["sampler", "batch_sampler", "generator"])
def test_what_would_say_the_order_otherwise_is_refused(name):
    with pytest.raises(ValueError, match=rf"^{name}= would say the order, .* make a torch"):
        ordered_loader(Numbers(4), 2, **{name: None})


def test_an_unknown_option_is_refused_with_the_nearest():
    with pytest.raises(TypeError, match=r"no option 'num_worker'\. Did you mean 'num_workers'\?"):
        ordered_loader(Numbers(4), 2, num_worker=2)


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(4))

    def __len__(self) -> int:
        return 4


class Endless(Dataset):
    def __getitem__(self, index: int) -> int:
        return index


@pytest.mark.parametrize("dataset", [Stream(), Endless(), iter([1])])
def test_data_without_indices_or_length_are_refused(dataset):
    with pytest.raises(TypeError, match=f"an order needs .*{type(dataset).__name__}; give one"):
        ordered_loader(dataset, 2)
