"""The randomness of a sample follows from seed, pass and index, whoever loads it."""

from __future__ import annotations

import copy
import pickle
import random
from typing import Any

import numpy as np
import pytest
import torch
from torch.utils.data import Dataset, IterableDataset

from footplate import Engine
from footplate.engine.data.order import ordered_loader
from footplate.engine.data.sample_random import PassIndex, SampleRandomness

SIZE = 7


class Noise(Dataset):
    """Draws from all generators; odd numbers of Gaussians, of which they keep the second."""

    classes = ("a", "b")

    def __init__(self, size: int = SIZE) -> None:
        self.size = size

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.tensor([float(index), *draw()], dtype=torch.float64)


class Fails(Noise):
    """Draws, and fails."""

    def __getitem__(self, index: int) -> torch.Tensor:
        super().__getitem__(index)
        raise OSError(f"sample {index} is broken")


class Batched(Noise):
    """Has a way of its own to load a batch."""

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [Noise.__getitem__(self, index) for index in indices]

    def __getitem__(self, index: int) -> torch.Tensor:
        raise AssertionError("its batches are loaded another way")


def draw() -> list[float]:
    return [
        random.random(),
        random.gauss(0, 1),
        np.random.rand(),
        np.random.randn(),
        torch.rand(1).item(),
        torch.randn(1).item(),
    ]


def seed_generators(seed: int) -> None:
    random.seed(seed)
    np.random.seed(seed)
    torch.manual_seed(seed)


def values(loader: Any) -> dict[int, tuple[float, ...]]:
    """What was drawn, by sample."""
    return {int(row[0]): tuple(row[1:].tolist()) for batch in loader for row in batch}


def passes(**options: Any) -> list[dict[int, tuple[float, ...]]]:
    """What was drawn in two passes, after one that is left in the midst."""
    loader = ordered_loader(
        Noise(), options.pop("batch_size", 3), shuffle=True, seed=4, sample_rng=True, **options
    )
    loader.sampler.set_epoch(5)
    next(iter(loader))
    loader.sampler.set_epoch(0)
    return [values(loader), values(loader)]


# ------------------------------------------------------------------ whoever loads it


@pytest.mark.covers("G4")
@pytest.mark.parametrize(
    "options",
    [
        {"batch_size": 1},
        {"batch_size": 7},
        {"num_workers": 1},
        {"num_workers": 2},
        {"num_workers": 2, "persistent_workers": True},
        {"num_workers": 1, "persistent_workers": True, "prefetch_factor": 4},
        {"num_workers": 2, "multiprocessing_context": "spawn", "persistent_workers": True},
    ],
    ids=str,
)
def test_it_does_not_matter_who_loads_a_sample_nor_with_which_others(options):
    seed_generators(1)
    expected = passes()
    seed_generators(2)
    assert passes(**options) == expected
    assert [sorted(one) for one in expected] == [list(range(SIZE))] * 2


@pytest.mark.covers("G4")
@pytest.mark.parametrize(("workers", "later"), [(0, 0), (2, 2), (0, 2), (2, 0)])
def test_a_run_goes_on_with_the_same_samples_and_another_number_of_workers(workers, later):
    def run(num_workers: int, state: Any = None, stop: int = 0) -> tuple[list[Any], Any]:
        def step(engine: Engine, batch: torch.Tensor) -> None:
            seen.append(batch.tolist())
            if engine.state.iteration == stop:
                engine.interrupt()

        seen: list[Any] = []
        trainer = Engine(step, name="train")
        if state is not None:
            trainer.load_state_dict(state)
        loader = ordered_loader(
            Noise(), 2, shuffle=True, seed=4, sample_rng=True, num_workers=num_workers
        )
        trainer.run(loader, max_epochs=2)
        return seen, trainer.state_dict()

    unbroken, _ = run(0)
    for stop in (1, 4, 6):
        first, state = run(workers, stop=stop)
        second, _ = run(later, state=state)
        assert len(first) == stop
        assert first + second == unbroken


def test_single_samples_are_drawn_alike_in_a_worker_and_here():
    here, there = (
        [
            {int(row[0]): row.tolist() for row in loader}
            for loader in [ordered_loader(Noise(), None, sample_rng=True, num_workers=workers)] * 2
        ]
        for workers in (0, 1)
    )
    assert here == there
    assert here[0] != here[1]


def test_a_rank_draws_for_a_sample_what_any_other_would():
    alone = values(ordered_loader(Noise(), 2, seed=1, sample_rng=True))
    for rank in range(2):
        loader = ordered_loader(Noise(), 2, seed=1, sample_rng=True, rank=rank, world_size=2)
        assert values(loader).items() <= alone.items()


def test_every_pass_sample_and_seed_has_numbers_of_its_own():
    drawn = [
        tuple(SampleRandomness(Noise(), seed)[PassIndex(number, index)].tolist()[1:])
        for seed in range(10)
        for number in range(10)
        for index in range(10)
    ]
    for which in range(6):
        assert len({one[which] for one in drawn}) == 1000
    assert len(SampleRandomness(Noise(), 0)) == SIZE


def test_the_numbers_stay_what_they_were():
    """A run that was saved by an earlier version goes on with its own augmentation."""
    drawn = SampleRandomness(Noise(), seed=3)[PassIndex(1, 2)].tolist()
    assert drawn == pytest.approx(
        [2.0, 0.2517715, -0.8124062, 0.9691249, 0.0894065, 0.8550265, -0.1806502],
        abs=1e-6,
    )


# ------------------------------------------------------------------ the process' own generators


def test_the_generators_are_put_back_to_the_last_gaussian():
    seed_generators(5)
    expected = draw() + draw()
    seed_generators(5)
    before = draw()
    noise = SampleRandomness(Noise(), 1)
    noise[PassIndex(0, 3)]
    noise.__getitems__([PassIndex(0, 1), PassIndex(0, 2)])
    assert before + draw() == expected


def test_they_are_put_back_when_a_sample_fails():
    seed_generators(5)
    expected = draw() + draw()
    seed_generators(5)
    before = draw()
    with pytest.raises(OSError, match="sample 3 is broken"):
        SampleRandomness(Fails(), 1)[PassIndex(0, 3)]
    assert before + draw() == expected


def test_a_loader_in_this_process_leaves_its_stream_alone():
    loader = iter(ordered_loader(Noise(), 2, sample_rng=True, shuffle=True))
    seed_generators(5)
    before = draw()
    next(loader)
    after = draw()
    seed_generators(5)
    assert before + after == draw() + draw()


# ------------------------------------------------------------------ the data set behind it


def test_other_attributes_are_those_of_the_data_set():
    noise = SampleRandomness(Noise(), 1)
    assert noise.classes == ("a", "b")
    assert noise.size == SIZE
    assert not hasattr(noise, "set_epoch")
    with pytest.raises(AttributeError, match="'Noise' object has no attribute 'labels'"):
        noise.labels  # noqa: B018


def test_a_data_set_without_a_length_may_have_none():
    assert SampleRandomness({7: "seven"}, 1)[PassIndex(0, 7)] == "seven"
    with pytest.raises(TypeError, match="has no len"):
        len(SampleRandomness(type("Bare", (), {"__getitem__": lambda *_: 0})(), 1))


@pytest.mark.parametrize("copied", [lambda one: pickle.loads(pickle.dumps(one)), copy.deepcopy])
def test_it_can_be_copied_and_sent(copied):
    noise = SampleRandomness(Noise(), 1)
    other = copied(noise)
    assert (other.size, other.seed) == (SIZE, 1)
    assert torch.equal(other[PassIndex(2, 3)], noise[PassIndex(2, 3)])


def test_a_data_set_that_loads_batches_its_own_way_draws_by_sample_too():
    one, other = (ordered_loader(data, 3, sample_rng=True) for data in (Noise(), Batched()))
    assert values(one) == values(other)


@pytest.mark.parametrize("index", [3, (0, 3), torch.tensor(3)], ids=str)
def test_an_index_that_does_not_tell_its_pass_is_refused(index):
    with pytest.raises(TypeError, match=r"follows its pass, .*index by PassIndex\(pass, index\)"):
        SampleRandomness(Noise(), 1)[index]


class Stream(IterableDataset):
    def __iter__(self):
        return iter(range(4))


@pytest.mark.parametrize("dataset", [Stream(), iter([1]), None])
def test_data_without_indices_are_refused(dataset):
    with pytest.raises(TypeError, match=f"given a {type(dataset).__name__}; give one"):
        SampleRandomness(dataset, 1)
