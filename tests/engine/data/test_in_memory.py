"""Data in memory come in batches, each pass in its order, and from any position on at once."""

from __future__ import annotations

import io
import time
from collections import namedtuple
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import TensorDataset

from footplate import Engine
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.data.order import Order
from footplate.engine.errors import DataError, StateError
from footplate.engine.nested import leaves
from footplate.engine.passes import passes_over
from footplate.handlers.sampler_seed import SamplerSeed

SHUFFLE = pytest.mark.parametrize("shuffle", [True, False])
Pair = namedtuple("Pair", ["x", "y"])


@dataclass
class Sample:
    image: torch.Tensor
    label: np.ndarray


class Recorded(torch.Tensor):
    """Writes down what is done with it: each function, and the indices that it was given."""

    calls: list[tuple[str, list[int]]]

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        name = function.__name__
        if name not in ("__get__", "__len__", "dim"):
            taken = [one for one in args[1:] if isinstance(one, torch.Tensor)]
            args[0].calls.append((name, taken[0].tolist() if taken else []))
        with torch._C.DisableTorchFunctionSubclass():
            return function(*args, **(kwargs or {}))


def numbers(size: int) -> torch.Tensor:
    return torch.arange(size)


def lists(batches: Any) -> list[list[int]]:
    return [batch.tolist() for batch in batches]


# ------------------------------------------------------------------ batches


@SHUFFLE
@pytest.mark.parametrize(("size", "batch_size"), [(6, 2), (7, 2), (7, 7), (7, 20), (1, 1)])
@pytest.mark.parametrize("drop_last", [True, False])
def test_the_batches_are_the_order_in_pieces(size, batch_size, shuffle, drop_last):
    loader = InMemoryLoader(numbers(size), batch_size, shuffle=shuffle, seed=3, drop_last=drop_last)
    pieces = [
        piece.tolist()
        for piece in Order(size, shuffle=shuffle, seed=3).indices(0).split(batch_size)
        if len(piece) == batch_size or not drop_last
    ]
    assert lists(loader) == pieces
    assert len(loader) == len(pieces)
    assert loader.num_samples == size


@SHUFFLE
@pytest.mark.parametrize(
    "build",
    [
        lambda x, y, a: x,
        lambda x, y, a: a,
        lambda x, y, a: (x, y),
        lambda x, y, a: [x, [y, (a,)]],
        lambda x, y, a: {"x": x, "deep": {"y": y, "a": a}},
        lambda x, y, a: Pair(x, a),
        lambda x, y, a: Sample(x, a),
        lambda x, y, a: {"sample": Sample(x, a), "pair": [Pair(x, y)]},
    ],
)
def test_a_batch_has_the_structure_of_the_data(build, shuffle):
    x, y, a = torch.randn(5, 2, 3), torch.arange(5), np.arange(10.0).reshape(5, 2)
    for number, batch in enumerate(InMemoryLoader(build(x, y, a), 2, shuffle=shuffle)):
        taken = Order(5, shuffle=shuffle).indices(0)[2 * number : 2 * number + 2]
        expected = build(x[taken], y[taken], a[taken.numpy()])
        assert repr(batch) == repr(expected)  # the containers; of numbers it shows few places
        for (path, one), (expected_path, other) in zip(
            leaves(batch), leaves(expected), strict=True
        ):
            assert (path, type(one), one.dtype) == (expected_path, type(other), other.dtype)
            assert (one == other).all()


def test_a_tensor_dataset_gives_its_tensors():
    x, y = torch.randn(5, 2), torch.arange(5)
    x0, y0 = next(iter(InMemoryLoader(TensorDataset(x, y), 3)))
    assert torch.equal(x0, x[:3])
    assert y0.tolist() == [0, 1, 2]


def test_tensors_stay_on_their_device():
    data = {"here": numbers(5), "there": torch.empty(5, 2, device="meta")}
    batch = next(iter(InMemoryLoader(data, 3, shuffle=True)))
    assert batch["here"].device.type == "cpu"
    assert (batch["there"].device.type, batch["there"].shape) == ("meta", (3, 2))


@SHUFFLE
def test_a_batch_may_be_changed_in_place(shuffle):
    data = {"x": torch.ones(4, 2), "a": np.ones((4, 2))}
    for batch in InMemoryLoader(data, 2, shuffle=shuffle):
        batch["x"].zero_()
        batch["a"][:] = 0
    assert data["x"].all()
    assert data["a"].all()


# ------------------------------------------------------------------ passes


def test_each_pass_has_the_next_order():
    loader = InMemoryLoader(numbers(20), 20, shuffle=True, seed=2)
    order = [[Order(20, shuffle=True, seed=2).indices(number).tolist()] for number in range(8)]
    assert loader.epoch == 0
    assert [lists(loader), lists(loader)] == order[:2]
    loader.set_epoch(6)
    assert [lists(loader), lists(loader)] == order[6:]
    assert loader.epoch == 8


@given(st.integers(1, 40), st.integers(1, 6), st.integers(1, 8), st.booleans())
def test_the_ranks_share_the_samples(size, world_size, batch_size, shuffle):
    loaders = [
        InMemoryLoader(
            numbers(size),
            batch_size,
            shuffle=shuffle,
            rank=rank,
            world_size=world_size,
            even=False,
        )
        for rank in range(world_size)
    ]
    taken = [lists(loader) for loader in loaders]
    assert [len(batches) for batches in taken] == [len(loader) for loader in loaders]
    assert sorted(one for batches in taken for batch in batches for one in batch) == [*range(size)]


def test_even_ranks_have_equally_many_batches():
    loaders = [InMemoryLoader(numbers(7), 2, rank=rank, world_size=3) for rank in range(3)]
    assert [lists(one) for one in loaders] == [[[0, 3], [6]], [[1, 4], [0]], [[2, 5], [1]]]


def test_an_engine_walks_over_it_and_a_sampler_seed_counts_its_passes():
    loader = InMemoryLoader(numbers(6), 4, shuffle=True)
    list(loader)  # somebody has a look, so that its own count is ahead
    seen = []
    trainer = Engine(lambda engine, batch: seen.append(batch), name="train")
    trainer.attach(SamplerSeed())
    trainer.run(loader, max_epochs=2)
    expected = torch.cat([loader.order.indices(0), loader.order.indices(1)])
    assert torch.cat(seen).tolist() == expected.tolist()


# ------------------------------------------------------------------ taken up again


@pytest.mark.covers("G4", "G5")
@SHUFFLE
@pytest.mark.parametrize("drop_last", [True, False])
def test_a_pass_goes_on_from_any_position_as_if_it_had_not_stopped(shuffle, drop_last):
    def made() -> InMemoryLoader:
        return InMemoryLoader(numbers(11), 3, shuffle=shuffle, seed=5, drop_last=drop_last)

    unbroken = made()
    passes = [lists(unbroken) for _ in range(4)]
    for position in range(len(unbroken) + 1):
        loader = made()
        loader.set_epoch(2)
        first = loader.make_passes()
        begun = first.begin()
        for _ in range(position):
            next(begun)
        file = io.BytesIO()
        torch.save(first.state_dict(), file)
        file.seek(0)
        assert lists(first.go_on(position)) == passes[2][position:]

        resumed = made().make_passes()
        resumed.load_state_dict(torch.load(file, weights_only=True))
        assert lists(resumed.go_on(position)) == passes[2][position:]
        assert lists(resumed.begin()) == passes[3]


@pytest.mark.covers("G4", "G5")
@pytest.mark.parametrize("stop", range(1, 8))
def test_a_run_goes_on_in_its_order(stop):
    def run(state: Any = None, stop: int = 0) -> tuple[list[list[int]], Any]:
        def step(engine: Engine, batch: torch.Tensor) -> None:
            seen.append(batch.tolist())
            if engine.state.iteration == stop:
                engine.interrupt()

        seen: list[list[int]] = []
        trainer = Engine(step, name="train")
        if state is not None:
            trainer.load_state_dict(state)
        trainer.run(InMemoryLoader(numbers(11), 3, shuffle=True), max_epochs=2)
        return seen, trainer.state_dict()

    unbroken, _ = run()
    first, state = run(stop=stop)
    second, _ = run(state)
    assert len(first) == stop
    assert first + second == unbroken


@pytest.mark.covers("G5")
def test_a_million_samples_are_taken_up_at_once_and_none_before_is_touched():
    size, position = 10**6, 15_000
    data = numbers(size).as_subclass(Recorded)
    Recorded.calls = []
    loader = InMemoryLoader(data, 64, shuffle=True)
    passes = loader.make_passes()
    passes.load_state_dict({**passes.state_dict(), "pass": 3, "next": 4})
    begun = time.perf_counter()
    batch = next(passes.go_on(position))
    took = time.perf_counter() - begun
    expected = loader.order.indices(3)[position * 64 : (position + 1) * 64].tolist()
    assert Recorded.calls == [("index_select", expected)]
    assert batch.tolist() == expected
    assert took < 1


def test_going_on_draws_no_random_numbers_of_others():
    passes = InMemoryLoader(numbers(9), 2, shuffle=True).make_passes()
    torch.manual_seed(3)
    before = torch.get_rng_state()
    list(passes.begin())
    list(passes.go_on(2))
    assert torch.equal(torch.get_rng_state(), before)


def test_passes_follow_what_the_loader_is_told():
    loader = InMemoryLoader(numbers(9), 9, shuffle=True)
    passes = loader.make_passes()
    loader.set_epoch(4)
    next(passes.begin())
    assert (passes.state_dict()["pass"], passes.state_dict()["next"]) == (4, 5)
    loader.set_epoch(2)
    assert lists(passes.go_on(0)) == [loader.order.indices(4).tolist()]
    assert lists(passes.begin()) == [loader.order.indices(2).tolist()]


def test_where_no_pass_is_known_the_next_is_taken_up():
    loader = InMemoryLoader(numbers(9), 3, shuffle=True)
    loader.set_epoch(2)
    passes = loader.make_passes()
    passes.load_state_dict(passes.state_dict() | {"pass": None, "next": 2})
    assert lists(passes.go_on(2)) == [loader.order.indices(2)[6:].tolist()]
    assert lists(passes.begin()) == lists(loader.order.indices(3).split(3))


def test_an_engine_finds_its_passes():
    state = passes_over(InMemoryLoader(numbers(3), 1, seed=4)).state_dict()
    assert state.pop("deal")["world_size"] == 1
    assert state == {
        "seed": 4, "size": 3, "batch_size": 1, "shuffle": False, "pass": None, "next": 0,
    }  # fmt: skip


def test_a_position_behind_the_last_batch_is_refused():
    passes = InMemoryLoader(numbers(7), 2).make_passes()
    passes.begin()
    assert list(passes.go_on(4)) == []
    with pytest.raises(DataError, match="behind batch 5 of its data, but these have only 4; run"):
        passes.go_on(5)


@pytest.mark.parametrize(
    ("changed", "message"),
    [
        ({"seed": 8}, r"order with seed 8, these have seed 1; make the loader with seed=8"),
        ({"size": 9}, r"belongs to 9 samples, these data have 5, .* give the same data"),
    ],
)
def test_the_state_of_other_data_is_refused(changed, message):
    passes = InMemoryLoader(numbers(5), 2, seed=1).make_passes()
    passes.begin()
    with pytest.raises(StateError, match=message):
        passes.load_state_dict({**passes.state_dict(), **changed})


def test_the_state_of_data_of_another_kind_is_refused():
    with pytest.raises(StateError, match="does not tell batch_size, next, pass, shuffle, size"):
        InMemoryLoader(numbers(5), 2).make_passes().load_state_dict({"seed": 0, "start": None})


# ------------------------------------------------------------------ what is refused


@pytest.mark.parametrize(
    ("data", "error", "message"),
    [
        (
            {"x": numbers(3), "y": [numbers(2)]},
            ValueError,
            r"same everywhere, but x has 3, y\[0\] has 2\.",
        ),
        ((numbers(3), np.zeros(4)), ValueError, r"\[0\] has 3, \[1\] has 4"),
        ({"x": torch.tensor(3)}, ValueError, "but the Tensor at x has none"),
        (np.array(3), ValueError, "but the ndarray has none"),
        ({"x": numbers(3), "n": ["a"]}, TypeError, r"given a str at n\[0\]; make a tensor of it"),
        (range(5), TypeError, "given a range; make a tensor of it, or give a data set to a Data"),
        (numbers(3).to_sparse(), TypeError, r"dense tensors, given one of layout torch.sparse_coo"),
        (torch.empty(0, 3), DataError, "hold no sample"),
        ({"x": []}, DataError, "hold no sample"),
        (TensorDataset(), DataError, "hold no sample"),
    ],
)
def test_data_that_have_no_samples_in_common_are_refused(data, error, message):
    with pytest.raises(error, match=message):
        InMemoryLoader(data, 2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"batch_size": 0}, "batch_size is a whole number from 1 on, given 0"),
        ({"batch_size": 2.5}, "batch_size is a whole number from 1 on, given 2.5"),
        ({"batch_size": None}, "batch_size is a whole number from 1 on, given None"),
        ({"seed": -1}, "seed is a whole number from 0 on, given -1"),
        ({"rank": 1}, "rank 1 is not in a world of 1"),
        ({"world_size": 0}, "world_size is a whole number from 1 on"),
    ],
)
def test_options_out_of_range_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        InMemoryLoader(numbers(3), **{"batch_size": 2, **options})


def test_an_epoch_before_the_first_is_refused():
    with pytest.raises(ValueError, match="the number of a pass is a whole number from 0 on"):
        InMemoryLoader(numbers(3), 2).set_epoch(-1)


@pytest.mark.parametrize("changed", [{"batch_size": 3}, {"shuffle": True}])
def test_going_on_with_other_batches_is_warned_about(changed):
    state = InMemoryLoader(numbers(9), 2).make_passes().state_dict()
    loader = InMemoryLoader(numbers(9), **{"batch_size": 2, **changed})
    with pytest.warns(RuntimeWarning, match=r"saved over batches of 2 .* may be others"):
        loader.make_passes().load_state_dict(state)
