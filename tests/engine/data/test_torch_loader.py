"""A DataLoader is taken up in the midst of a pass: the same samples, none of them for nothing."""

from __future__ import annotations

import random
import time

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.utils.data import (
    BatchSampler,
    DataLoader,
    Dataset,
    DistributedSampler,
    IterableDataset,
    RandomSampler,
    Sampler,
    Subset,
    SubsetRandomSampler,
    WeightedRandomSampler,
    get_worker_info,
)

from footplate import Engine, Events
from footplate.engine.combined import combined
from footplate.engine.data.device import DeviceLoader
from footplate.engine.errors import DataError
from footplate.engine.iter_loader import IterLoader
from footplate.engine.limited import limited, overfit
from footplate.engine.passes import Through, passes_over
from footplate.engine.random import capture, restore
from footplate.handlers.sampler_seed import SamplerSeed

pytestmark = pytest.mark.covers("G4")
SIZE = 22


class Noisy(Dataset):
    """Samples with random numbers of all three generators, which counts what is loaded."""

    def __init__(self, size: int = SIZE) -> None:
        self.size = size
        self.loaded: list[int] = []

    def __len__(self) -> int:
        return self.size

    def __getitem__(self, index: int) -> torch.Tensor:
        self.loaded.append(int(index))
        drawn = [random.random(), np.random.rand(), torch.rand(()).item()]
        return torch.tensor([float(index), *drawn], dtype=torch.float64)


class OwnEpoch(Sampler):
    """As people write them: an order by epoch, from a generator of its own."""

    def __init__(self, size: int) -> None:
        self.size, self.epoch = size, 0

    def set_epoch(self, epoch: int) -> None:
        self.epoch = epoch

    def __iter__(self):
        order = list(range(self.size))
        random.Random(self.epoch).shuffle(order)
        return iter(order)

    def __len__(self) -> int:
        return self.size


class Lazy(Sampler):
    """Draws numbers as it goes, from a generator of its own that it never seeds anew."""

    def __init__(self, size: int) -> None:
        self.size, self.generator = size, torch.Generator().manual_seed(5)

    def __iter__(self):
        for _ in range(self.size):
            yield int(torch.randint(self.size, (), generator=self.generator))

    def __len__(self) -> int:
        return self.size


def private(data) -> DataLoader:
    return DataLoader(data, 4, shuffle=True, generator=torch.Generator().manual_seed(3))


LOADERS = {
    "in order": lambda data, **o: DataLoader(data, 4, **o),
    "shuffled": lambda data, **o: DataLoader(data, 4, shuffle=True, **o),
    "last dropped": lambda data, **o: DataLoader(data, 4, shuffle=True, drop_last=True, **o),
    "one by one": lambda data, **o: DataLoader(data, batch_size=None, shuffle=True, **o),
    "generator": lambda data, **o: DataLoader(
        data, 4, shuffle=True, generator=torch.Generator().manual_seed(3), **o
    ),
    "drawn with replacement": lambda data, **o: DataLoader(
        data, 4, sampler=RandomSampler(data, replacement=True, num_samples=50), **o
    ),
    "weighted": lambda data, **o: DataLoader(
        data, 4, sampler=WeightedRandomSampler(torch.arange(1.0, SIZE + 1), SIZE), **o
    ),
    "subset": lambda data, **o: DataLoader(
        data, 4, sampler=SubsetRandomSampler(range(3, SIZE)), **o
    ),
    "distributed": lambda data, **o: DataLoader(
        data, 4, sampler=DistributedSampler(data, num_replicas=2, rank=1), **o
    ),
    "own sampler": lambda data, **o: DataLoader(data, 4, sampler=OwnEpoch(SIZE), **o),
    "own lazy sampler": lambda data, **o: DataLoader(data, 4, sampler=Lazy(SIZE), **o),
    "batch sampler": lambda data, **o: DataLoader(
        data, batch_sampler=BatchSampler(RandomSampler(data), 5, drop_last=False), **o
    ),
    "list of batches": lambda data, **o: DataLoader(
        data, batch_sampler=[[1, 2], [3], [4, 5, 6], [7], [8, 9], [0]], **o
    ),
    "batches as samples": lambda data, **o: DataLoader(
        Indexed(), sampler=BatchSampler(RandomSampler(data), 5, drop_last=False), batch_size=None
    ),
}


class Indexed(Dataset):
    """Takes a list of indices for an index."""

    def __getitem__(self, indices: list[int]) -> torch.Tensor:
        return torch.tensor(indices) + torch.rand(len(indices))

    def __len__(self) -> int:
        return SIZE


def trained(loader, epochs: int = 3, cut: int | None = None, state=None):
    """Batches that a run sees whose step draws numbers, too; with the state at a safe point."""
    seen, saved = [], []

    def step(engine: Engine, batch: torch.Tensor) -> None:
        seen.append(batch.clone())
        random.random(), np.random.rand(2), torch.rand(3)

    engine = Engine(step, name="train")
    engine.attach(SamplerSeed())
    if state is None:
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
    else:
        engine.load_state_dict(state["engine"])
        restore(state["random"])

    @engine.on(Events.SAFE_POINT)
    def save(engine: Engine) -> None:  # no closure: garbage with worker processes would linger
        if engine.state.iteration == cut:
            saved.append({"engine": engine.state_dict(), "random": capture()})

    engine.run(loader, max_epochs=epochs)
    return seen, saved


def assert_goes_on(make, cut: int, epochs: int = 3) -> None:
    """A run that was saved at an iteration and goes on elsewhere sees what it would have seen."""
    whole, _ = trained(make(), epochs)
    cut = min(cut, len(whole))
    _, saved = trained(make(), epochs, cut)
    random.seed(77), np.random.seed(77), torch.manual_seed(77)
    rest, _ = trained(make(), epochs, state=saved[-1])
    assert len(rest) == len(whole) - cut
    assert all(map(torch.equal, whole[cut:], rest))


@pytest.mark.parametrize("name", LOADERS)
@pytest.mark.parametrize("cut", [1, 3, 5, 6, 8, 12])
def test_any_loader_goes_on_in_the_midst_of_a_pass(name, cut):
    assert_goes_on(lambda: LOADERS[name](Noisy()), cut)


@pytest.mark.parametrize("name", LOADERS)
def test_an_engine_walks_a_loader_in_the_loader_s_own_order(name):
    if name in ("distributed", "own sampler"):
        pytest.skip("the order follows set_epoch(), which a plain loop would have to call")
    seen, _ = trained(LOADERS[name](Noisy()), epochs=2)
    random.seed(1), np.random.seed(1), torch.manual_seed(1)
    loader, plain = LOADERS[name](Noisy()), []
    for _ in range(2):
        for batch in loader:
            plain.append(batch)
            random.random(), np.random.rand(2), torch.rand(3)
    assert len(seen) == len(plain)
    assert all(map(torch.equal, seen, plain))


@pytest.mark.covers("G5")
@pytest.mark.parametrize("name", [name for name in LOADERS if name != "batches as samples"])
def test_no_sample_is_loaded_for_nothing(name):
    _, saved = trained(LOADERS[name](Noisy()), cut=3)
    whole, rest = Noisy(), Noisy()
    trained(LOADERS[name](whole))
    trained(LOADERS[name](rest), state=saved[-1])
    assert rest.loaded == whole.loaded[-len(rest.loaded) :]
    passed = len(whole.loaded) - len(rest.loaded)
    assert passed == (3 if name == "one by one" else 6 if name == "list of batches" else passed)
    assert passed in (3, 6, 11, 12, 15)


class Counting(Noisy):
    """Counts over processes."""

    def __init__(self, size: int = SIZE) -> None:
        super().__init__(size)
        self.count = torch.zeros((), dtype=torch.int64).share_memory_()

    def __getitem__(self, index: int) -> torch.Tensor:
        self.count += 1
        return super().__getitem__(index)


@pytest.mark.covers("G5")
def test_workers_load_nothing_for_nothing():
    def make(data):
        return DataLoader(data, 4, shuffle=True, num_workers=1, prefetch_factor=2)

    _, saved = trained(make(Counting()), 1, cut=4)
    data = Counting()
    rest, _ = trained(make(data), 1, state=saved[-1])
    assert len(rest) == 2
    assert int(data.count) == SIZE - 4 * 4


@pytest.mark.parametrize("persistent", [False, True])
@pytest.mark.parametrize("workers", [1, 2])
@pytest.mark.parametrize("name", ["shuffled", "one by one", "generator", "batch sampler"])
def test_workers_that_augment_go_on_with_the_same_numbers(workers, persistent, name):
    def make():
        options = {"num_workers": workers, "persistent_workers": persistent}
        return LOADERS[name](Noisy(12), **options)

    assert_goes_on(make, cut=5 if name != "one by one" else 17)


@pytest.mark.parametrize("cut", [1, 3, 4])
def test_workers_that_persist_go_on_over_ends_of_passes(cut):
    assert_goes_on(lambda: DataLoader(Noisy(9), 3, num_workers=2, persistent_workers=True), cut)


def test_workers_get_other_numbers_in_every_batch_and_pass():
    loader = DataLoader(Noisy(6), 2, num_workers=2, persistent_workers=True)
    seen, _ = trained(loader, epochs=3)
    drawn = torch.cat(seen)[:, 1:]
    assert len(drawn.unique()) == drawn.numel()


def test_the_numbers_of_a_batch_do_not_depend_on_how_many_workers_there_are():
    one, _ = trained(DataLoader(Noisy(12), 3, num_workers=1), 2)
    two, _ = trained(DataLoader(Noisy(12), 3, num_workers=2), 2)
    assert all(map(torch.equal, one, two))


def test_a_spawned_worker_goes_on_too():
    assert_goes_on(
        lambda: DataLoader(Noisy(8), 4, num_workers=1, multiprocessing_context="spawn"), 1, 1
    )


class Setup(Noisy):
    """Is set up in its workers."""

    added = 0.0

    def __getitem__(self, index: int) -> torch.Tensor:
        return super().__getitem__(index) + self.added


def set_up(worker: int) -> None:
    get_worker_info().dataset.added = 100.0 + get_worker_info().dataset.size


def test_a_worker_init_fn_can_set_up_the_data():
    seen, _ = trained(DataLoader(Setup(4), 2, num_workers=1, worker_init_fn=set_up), 1)
    assert torch.cat(seen)[:, 0].tolist() == [104.0, 105.0, 106.0, 107.0]


class ByBatch(Noisy):
    """Loads whole batches at once."""

    def __getitems__(self, indices: list[int]) -> list[torch.Tensor]:
        return [self[index] for index in reversed(indices)]


def test_data_that_load_whole_batches_do_so_in_workers():
    seen, _ = trained(DataLoader(ByBatch(4), 2, num_workers=1), 1)
    assert [batch[:, 0].tolist() for batch in seen] == [[1.0, 0.0], [3.0, 2.0]]


class Remembering(Dataset):
    """Has a private generator, and a state."""

    def __init__(self) -> None:
        self.generator = torch.Generator().manual_seed(9)

    def __len__(self) -> int:
        return 10

    def __getitem__(self, index: int) -> torch.Tensor:
        return index + torch.rand((), generator=self.generator)

    def state_dict(self):
        return {"generator": self.generator.get_state()}

    def load_state_dict(self, state) -> None:
        self.generator.set_state(state["generator"])


@pytest.mark.parametrize("cut", [1, 3, 5, 7])
def test_a_private_generator_of_data_with_a_state_goes_on(cut):
    assert_goes_on(lambda: DataLoader(Remembering(), 3, shuffle=True), cut, epochs=2)


class Stream(IterableDataset):
    """Iterable only, with a state."""

    def __init__(self) -> None:
        self.next = 0

    def __iter__(self):
        while self.next < 11:
            self.next += 1
            yield self.next - 1
        self.next = 0

    def state_dict(self):
        return {"next": self.next}

    def load_state_dict(self, state) -> None:
        self.next = state["next"]


@pytest.mark.covers("G5")
@pytest.mark.parametrize("cut", [1, 2, 4, 6])
def test_iterable_data_with_a_state_go_on(cut):
    assert_goes_on(lambda: DataLoader(Stream(), 3), cut, epochs=2)


class Endless(IterableDataset):
    """Iterable only, without a state."""

    def __iter__(self):
        return iter(torch.rand(20).tolist())


def test_iterable_data_without_a_state_are_walked_again_and_that_is_said_once():
    with pytest.warns(RuntimeWarning, match="first 3 batches are fetched again") as said:
        assert_goes_on(lambda: DataLoader(Endless(), 4), 3, epochs=2)
    assert len(said) == 1


class Dealt(IterableDataset):
    """Each worker has every n-th of 18 rows, so two of them cut 6 batches of 4, and not 5."""

    def __len__(self) -> int:
        return 18

    def __iter__(self):
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        for number in range(first, 18, step):
            yield torch.tensor([number, torch.rand(())])


@pytest.mark.filterwarnings("ignore:Length of IterableDataset:UserWarning")
@pytest.mark.filterwarnings("ignore:the run goes on behind batch:RuntimeWarning")
@pytest.mark.parametrize("cut", [5, 6, 12])
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda loader: loader,
        lambda loader: DeviceLoader(loader, "cpu"),
        lambda loader: _Concatenated(combined([loader, [torch.ones(1, 2)] * 9], "min_size")),
        IterLoader,
    ],
    ids=["loader", "device", "combined", "iter loader"],
)
def test_a_length_that_is_an_estimate_refuses_no_place_behind_it(wrapped, cut):
    assert_goes_on(lambda: wrapped(DataLoader(Dealt(), 4, num_workers=2)), cut)


@pytest.mark.filterwarnings("ignore:Length of IterableDataset:UserWarning")
@pytest.mark.filterwarnings("ignore:the run goes on behind batch:RuntimeWarning")
@pytest.mark.parametrize(
    ("saved_over", "goes_on_over"),
    [
        (lambda: DataLoader(Dealt(), 4, num_workers=2), lambda: DataLoader(Dealt(), 8)),
        (lambda: limited(DataLoader(Dealt(), 4), 4), lambda: limited(DataLoader(Dealt(), 4), 3)),
    ],
    ids=["fewer", "cut"],
)
def test_behind_an_estimate_too_a_place_that_is_not_there_is_refused(saved_over, goes_on_over):
    _, saved = trained(saved_over(), cut=4)
    with pytest.raises(DataError, match="behind batch 4 of its data, but these have only 3"):
        trained(goes_on_over(), state=saved[-1])


def test_a_generator_is_walked_again_and_that_is_said():
    def made():
        yield from torch.arange(6.0).split(2)

    with pytest.warns(RuntimeWarning, match="a generator can't be told to stand there"):
        assert_goes_on(made, 2, epochs=1)


def test_a_loader_with_a_way_of_its_own_is_walked_again():
    class Own(DataLoader):
        def __iter__(self):
            return reversed(list(super().__iter__()))

    with pytest.warns(RuntimeWarning, match="a Own can't be told to stand there"):
        assert_goes_on(lambda: Own(Noisy(8), 2), 2, epochs=1)


@pytest.mark.parametrize("cut", [1, 5, 6, 8])
@pytest.mark.parametrize(
    "wrapped",
    [
        lambda loader: DeviceLoader(loader, "cpu"),
        lambda loader: limited(loader, 5),
        lambda loader: DeviceLoader(limited(loader, 5), "cpu"),
        IterLoader,
    ],
)
def test_a_loader_within_another_goes_on(wrapped, cut):
    assert_goes_on(lambda: wrapped(private(Noisy())), cut, epochs=2)


@pytest.mark.parametrize("mode", ["min_size", "max_size_cycle"])
@pytest.mark.parametrize("cut", [1, 2, 3, 4, 5, 6, 8])
def test_several_loaders_go_on(mode, cut):
    def make():
        loaders = [private(Noisy()), DataLoader(Noisy(6), 3, shuffle=True)]
        return _Concatenated(combined(loaders, mode))

    assert_goes_on(make, cut, epochs=6 if mode == "min_size" else 2)


class _Concatenated:
    """One tensor of the batches of several loaders."""

    def __init__(self, loaders) -> None:
        self.loaders = loaders

    def __len__(self) -> int:
        return len(self.loaders)

    def __iter__(self):
        return map(torch.cat, self.loaders)

    def make_passes(self):
        return Through(self.loaders, lambda batches, position: map(torch.cat, batches))


@pytest.mark.parametrize("cut", [1, 2, 3])
def test_batches_that_are_fitted_again_and_again_are_the_same_ones(cut):
    def make():
        return overfit(DataLoader(torch.arange(20.0), 4, shuffle=True), 2)

    assert_goes_on(make, cut, epochs=3)


@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(1, 13),
    batch_size=st.integers(1, 5),
    shuffle=st.booleans(),
    drop_last=st.booleans(),
    epoch_length=st.none() | st.integers(1, 9),
    cut=st.integers(1, 9),
)
def test_a_loader_goes_on_wherever_a_run_stands(
    size, batch_size, shuffle, drop_last, epoch_length, cut
):
    if drop_last and batch_size > size:
        return

    def make():
        return DataLoader(Noisy(size), batch_size, shuffle=shuffle, drop_last=drop_last)

    length = epoch_length or len(make())

    def run(cut=None, state=None):
        seen, saved = [], []
        engine = Engine(lambda engine, batch: seen.append(batch.clone()))
        if state is None:
            random.seed(1), np.random.seed(1), torch.manual_seed(1)
        else:
            engine.load_state_dict(state[0])
            restore(state[1])
        engine.on(Events.SAFE_POINT(once=cut or 999))(
            lambda e: saved.append((e.state_dict(), capture(), len(seen)))
        )
        engine.run(make(), max_epochs=2, epoch_length=epoch_length)
        return seen, saved

    cut = min(cut, 2 * length)
    whole, saved = run(cut)
    rest, _ = run(state=saved[0])
    assert len(rest) == len(whole) - saved[0][2]
    assert all(map(torch.equal, whole[saved[0][2] :], rest))


def test_standing_beyond_the_end_is_refused():
    passes = passes_over(DataLoader(Noisy(4), 2))
    assert list(passes.go_on(2)) == []
    engine = Engine(lambda engine, batch: None)
    engine.on(Events.SAFE_POINT(once=3))(engine.interrupt)
    engine.run(DataLoader(Noisy(8), 2))
    resumed = Engine(lambda engine, batch: None)
    resumed.load_state_dict(engine.state_dict())
    with pytest.raises(DataError, match="behind batch 3 of its data, but these have only 2"):
        resumed.run(DataLoader(Noisy(4), 2))


def test_data_of_another_kind_are_told_of():
    _, saved = trained(DataLoader(Noisy(8), 2), 1, cut=2)
    with pytest.warns(RuntimeWarning, match="saved over data of another kind than this"):
        trained(list(DataLoader(Noisy(8), 2)), 1, state=saved[-1])


def test_the_loader_that_was_given_is_left_as_it_is():
    loader = DataLoader(Noisy(8), 2, shuffle=True, num_workers=1, persistent_workers=True)
    before = dict(vars(loader))
    trained(loader, 2)
    assert vars(loader) == before


def test_persistent_workers_are_kept_from_run_to_run():
    class Whose(Dataset):
        def __len__(self):
            return 2

        def __getitem__(self, index):
            import os

            return os.getpid()

    seen = []
    engine = Engine(lambda engine, batch: seen.extend(batch.tolist()))
    loader = DataLoader(Whose(), num_workers=1, persistent_workers=True)
    engine.run(loader, max_epochs=2)
    engine.run(loader, max_epochs=2)
    assert len(seen) == 8
    assert len(set(seen)) == 1


def test_a_fetch_that_failed_is_tried_again_at_its_place():
    class Once(Noisy):
        failed = False

        def __getitem__(self, index):
            if len(self.loaded) == 5 and not self.failed:
                self.failed = True
                raise OSError("a disk")
            return super().__getitem__(index)

    torch.manual_seed(1)
    order = torch.cat(list(DataLoader(torch.arange(8), 2, shuffle=True))).tolist()
    torch.manual_seed(1)
    seen = []
    engine = Engine(lambda engine, batch: seen.extend(batch[:, 0].int().tolist()))
    loader = DataLoader(Once(8), 2, shuffle=True)
    with pytest.raises(OSError, match="a disk"):
        engine.run(loader)
    engine.run()
    assert seen == order


@pytest.mark.covers("G5")
def test_a_million_samples_are_skipped_within_the_time_it_takes_to_say_so():
    loader = DataLoader(range(1_000_000), 64, shuffle=True)
    passes = passes_over(loader)
    next(passes.begin())
    started = time.process_time()
    next(passes.go_on(15_000))
    seconds = time.process_time() - started
    assert seconds < 10  # 0.3 µs an index are 0.3 s; this only shows that no sample is loaded


class Shards(IterableDataset):
    """Each worker has every n-th sample, and a state."""

    def __init__(self) -> None:
        self.done = 0

    def __iter__(self):
        info = get_worker_info()
        first, step = (info.id, info.num_workers) if info else (0, 1)
        for number in range(first, 17, step)[self.done :]:
            self.done += 1
            yield number
        self.done = 0

    def state_dict(self):
        return {"done": self.done}

    def load_state_dict(self, state) -> None:
        self.done = state["done"]


@pytest.mark.covers("G5")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("data", [Shards, lambda: Noisy(17)], ids=["iterable", "map-style"])
@pytest.mark.parametrize("cut", [1, 3, 5, 6])
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
def test_a_stateful_loader_of_torchdata_goes_on(workers, data, cut):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def make():
        return _FirstOnly(stateful(data(), batch_size=4, num_workers=workers))

    assert_goes_on(make, cut, epochs=2)


@pytest.mark.covers("G4")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("seed", [None, 3])
@pytest.mark.parametrize("cut", [1, 3, 5, 7, 10])
@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
def test_the_passes_behind_that_of_a_stateful_loader_are_the_same_too(workers, seed, cut):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def make():
        torch.manual_seed(5)  # it draws when it is made
        generator = None if seed is None else torch.Generator().manual_seed(seed)
        loader = stateful(Noisy(17), 4, shuffle=True, num_workers=workers, generator=generator)
        return _FirstOnly(loader)

    assert_goes_on(make, cut, epochs=3)


class _FirstOnly:
    """Sample numbers alone: torchdata says that it does not save random numbers of workers."""

    def __init__(self, loader) -> None:
        self.loader = loader

    def __iter__(self):
        return map(_numbers, self.loader)

    def make_passes(self):
        return Through(self.loader, lambda batches, position: map(_numbers, batches))


def _numbers(batch: torch.Tensor) -> torch.Tensor:
    return batch if batch.dim() == 1 else batch[:, 0]


class Live(Sampler):
    """Its state is an object that it goes on changing."""

    def __init__(self) -> None:
        self.state = {"passes": 0}

    def __iter__(self):
        self.state["passes"] += 1
        yield from random.Random(self.state["passes"]).sample(range(9), 9)

    def __len__(self) -> int:
        return 9

    def state_dict(self):
        return self.state

    def load_state_dict(self, state) -> None:
        self.state = state


class CountsEpochs(Sampler):
    """Counts its own passes, and says so to nobody."""

    def __init__(self) -> None:
        self.epoch = 0

    def __iter__(self):
        self.epoch += 1
        yield from random.Random(self.epoch).sample(range(9), 9)

    def __len__(self) -> int:
        return 9


@pytest.mark.parametrize("cut", range(1, 9))
@pytest.mark.parametrize("sampler", [Live, CountsEpochs])
def test_a_sampler_that_counts_its_passes_goes_on(sampler, cut):
    assert_goes_on(lambda: DataLoader(Noisy(9), 3, sampler=sampler()), cut)


@pytest.mark.parametrize("cut", [1, 3, 5])
def test_a_subset_of_data_with_a_state_goes_on(cut):
    assert_goes_on(
        lambda: DataLoader(Subset(Remembering(), range(2, 10)), 3, shuffle=True), cut, epochs=2
    )


def test_batches_as_they_are_ready_can_not_go_on_exactly_and_that_is_said():
    def make():
        return DataLoader(Noisy(6), 2, num_workers=1, in_order=False)

    with pytest.warns(RuntimeWarning, match="in_order=False"):
        assert_goes_on(make, 1, epochs=1)  # one worker keeps the order


def test_another_loader_is_warned_about():
    _, saved = trained(DataLoader(Noisy(8), 2), 1, cut=1)
    with pytest.warns(RuntimeWarning, match="a loader of 4 batches .* with one of 2 batches"):
        trained(DataLoader(Noisy(8), 4), 1, state=saved[-1])


@pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning")
@pytest.mark.parametrize("cut", [2, 3, 5, 6])
@pytest.mark.parametrize("wrapped", [IterLoader, lambda loader: overfit(loader, 3)])
def test_a_stateful_loader_of_torchdata_goes_on_within_others(wrapped, cut):
    stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader

    def make():
        torch.manual_seed(5)  # it draws when it is made
        return wrapped(stateful(list(range(9)), 3, shuffle=True))

    assert_goes_on(make, cut, epochs=2)
