"""Several loaders as one: to the shortest, or cycling to the longest."""

from __future__ import annotations

from itertools import cycle, islice

import pytest
from hypothesis import given
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler

from footplate import Engine, Events
from footplate.engine.combined import combined
from footplate.engine.data.device import DeviceLoader
from footplate.engine.errors import DataError
from footplate.engine.samplers import samplers_in
from footplate.handlers.sampler_seed import SamplerSeed

pytestmark = pytest.mark.covers("B5")

LOADERS = st.lists(st.lists(st.integers(), max_size=6), min_size=1, max_size=4)
FULL = st.lists(st.lists(st.integers(), min_size=1, max_size=6), min_size=1, max_size=4)


class Unsized:
    """Can be iterated over again, but does not say how long it is."""

    def __init__(self, values: list) -> None:
        self.values = values

    def __iter__(self):
        return iter(self.values)


@given(LOADERS, st.booleans())
def test_min_size_is_zip(loaders, sized):
    one = combined(loaders if sized else [Unsized(values) for values in loaders])
    expected = [list(batches) for batches in zip(*loaders, strict=False)]
    assert list(one) == list(one) == expected
    if sized:
        assert len(one) == len(expected)


@given(FULL, st.lists(st.booleans(), min_size=4, max_size=4))
def test_max_size_cycle_cycles_to_the_longest(loaders, sized):
    given_ = [v if s else Unsized(v) for v, s in zip(loaders, sized, strict=False)]
    one = combined(given_, "max_size_cycle")
    longest = max(map(len, loaders))
    expected = list(map(list, islice(zip(*map(cycle, loaders), strict=False), longest)))
    assert list(one) == list(one) == expected
    if all(sized[: len(loaders)]):
        assert len(one) == longest


def test_a_dict_gives_dicts_in_its_order():
    batches = list(combined({"b": [1, 2], "a": "xyz"}, "max_size_cycle"))
    assert batches == [{"b": 1, "a": "x"}, {"b": 2, "a": "y"}, {"b": 1, "a": "z"}]
    assert list(batches[2]) == ["b", "a"]


def test_no_loader_begins_again_for_nothing():
    class Counting(Unsized):
        walks = 0

        def __iter__(self):
            self.walks += 1
            return super().__iter__()

    short, long = Counting([1, 2]), Counting([1, 2, 3, 4])
    assert len(list(combined([short, long], "max_size_cycle"))) == 4
    assert (short.walks, long.walks) == (2, 1)


def test_a_length_needs_all_lengths():
    with pytest.raises(TypeError, match="without a length: 'b'"):
        len(combined({"a": [1], "b": Unsized([1])}))


def test_it_has_worker_processes_where_all_have():
    with_workers = DataLoader(range(2), num_workers=2)
    assert combined([with_workers, with_workers]).num_workers == 2
    assert combined([with_workers, DataLoader(range(2))]).num_workers == 0
    assert combined([with_workers, [1]]).num_workers == 0


def test_a_one_shot_loader_makes_a_one_shot_whole():
    one = combined({"a": iter([1, 2, 3]), "b": [4, 5]})
    assert iter(one) is one
    assert list(one) == [{"a": 1, "b": 4}, {"a": 2, "b": 5}]
    assert list(one) == []
    engine = Engine(lambda engine, batch: None)
    with pytest.raises(DataError, match="one-shot"):
        engine.run(combined([iter([1, 2])]), max_epochs=2)


def test_an_error_in_one_loader_loses_no_batch_of_another():
    class Flaky:
        """Fails once, at its second batch."""

        def __init__(self) -> None:
            self.values = iter([10, ValueError("once"), 20])

        def __iter__(self):
            return self

        def __next__(self):
            value = next(self.values)
            if isinstance(value, Exception):
                raise value
            return value

    seen = []
    engine = Engine(lambda engine, batch: seen.append(batch))
    with pytest.raises(ValueError, match="once"):
        engine.run(combined([iter([1, 2]), Flaky()]))
    engine.run()
    assert seen == [[1, 10], [2, 20]]


@pytest.mark.parametrize(
    ("loaders", "mode", "error", "message"),
    [
        ({}, "min_size", ValueError, "no loaders"),
        ([], "min_size", ValueError, "no loaders"),
        ([[1]], "max_size", ValueError, r"given 'max_size'\.$"),
        ([[1]], "minsize", ValueError, "Did you mean 'min_size'"),
        (DataLoader(range(2)), "min_size", TypeError, "given a DataLoader"),
        ({"a": 3}, "min_size", TypeError, "int can't be iterated over"),
        ({"a": None}, "min_size", TypeError, "loader 'a' is None"),
        ({"a": [1], "b": iter([1])}, "max_size_cycle", ValueError, "'b' is a one-shot iterator"),
        ([[1], []], "max_size_cycle", DataError, "loader 1 is empty"),
    ],
)
def test_what_cannot_be_combined_is_refused(loaders, mode, error, message):
    with pytest.raises(error, match=message) as raised:
        combined(loaders, mode)
    if message.startswith("int"):
        assert "given to combined() as loader 'a'" in raised.value.__notes__


def test_an_empty_loader_without_a_length_is_refused_when_it_would_begin_again():
    with pytest.raises(DataError, match="loader 'b' is empty"):
        list(combined({"a": [1], "b": Unsized([])}, "max_size_cycle"))


# ------------------------------------------------------------------ in a run


def shuffled(count: int, seed: int) -> DataLoader:
    sampler = DistributedSampler(range(count), num_replicas=1, rank=0, seed=seed)
    return DataLoader(range(count), sampler=sampler)


def run(engine: Engine, *args, **limits) -> None:
    engine.attach(SamplerSeed())
    engine.run(*args, **limits)


def recorder() -> tuple[Engine, list]:
    seen: list = []
    return Engine(lambda engine, batch: seen.append({k: v.item() for k, v in batch.items()})), seen


def test_sampler_seed_reaches_the_sampler_of_every_loader():
    loaders = {"a": shuffled(4, 1), "b": shuffled(6, 2)}
    whole = DeviceLoader(combined(loaders, "max_size_cycle"), "cpu")
    assert set(samplers_in(whole)) == {one.sampler for one in loaders.values()}

    engine, seen = recorder()
    run(engine, whole, max_epochs=2)
    expected = []
    for epoch in range(2):
        for loader in loaders.values():
            loader.sampler.set_epoch(epoch)
        a, b = ([one.item() for one in loader] for loader in loaders.values())
        expected += [{"a": x, "b": y} for x, y in zip((a + a)[:6], b, strict=True)]
    assert seen == expected
    assert seen[:6] != seen[6:]


@pytest.mark.parametrize("mode", ["min_size", "max_size_cycle"])
def test_a_resumed_run_goes_on_with_the_right_batches(mode):
    def data():
        return combined({"a": shuffled(3, 1), "b": shuffled(5, 2)}, mode)

    engine, unbroken = recorder()
    saved = []
    engine.on(Events.SAFE_POINT)(lambda e: saved.append((e.state_dict(), len(unbroken))))
    run(engine, data(), max_epochs=2)
    assert len(unbroken) == len(saved) == 2 * len(data())
    for state, position in saved[:-1]:
        resumed, rest = recorder()
        resumed.attach(SamplerSeed())
        resumed.load_state_dict(state)
        resumed.run(data())
        assert unbroken[:position] + rest == unbroken
