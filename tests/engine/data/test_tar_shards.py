"""Samples in shards: read by their place, in each process for itself, and none for nothing."""

from __future__ import annotations

import functools
import itertools
import os
import pickle
import tarfile
from pathlib import Path

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader

from footplate import Engine, Events, Runner
from footplate.engine.data.order import ordered_loader
from footplate.engine.data.shard_order import ShardOrder
from footplate.engine.data.tar_index import TarIndex, index_shards
from footplate.engine.data.tar_shards import TarShards
from footplate.engine.data.tar_writing import write_shards
from footplate.engine.errors import DataError
from footplate.engine.passes import passes_over, refit

SAMPLES, PER_SHARD = 50, 7


@pytest.fixture(scope="module")
def shards(tmp_path_factory) -> list[Path]:
    folder = tmp_path_factory.mktemp("shards") / "data"
    return write_shards(({"cls": n, "txt": f"{n}"} for n in range(SAMPLES)), folder, PER_SHARD)


def noted(log: Path, data: bytes) -> int:
    """A decoder that writes down what it decodes, in whatever process."""
    with log.open("ab", buffering=0) as file:
        file.write(data + b"\n")
    return int(data)


def numbers(batches) -> list[list[int]]:
    return [batch["cls"].tolist() for batch in batches]


def loader_of(shards, log=None, *, workers=0, batch_size=4, at_once=4, window=5, **options):
    decoders = {} if log is None else {"cls": functools.partial(noted, log)}
    data = TarShards(shards, decoders=decoders, at_once=at_once, window=window)
    options = {"shuffle": True, "seed": 3, "num_workers": workers, **options}
    return ordered_loader(data, batch_size, **options)


# ------------------------------------------------------------------ reading


def test_samples_are_read_by_their_number(shards):
    data = TarShards(shards)
    assert len(data) == SAMPLES
    assert data.lengths == (7,) * 7 + (1,)
    assert data[17] == {"__key__": "000000017", "cls": 17, "txt": "17"}
    assert data[-1]["cls"] == SAMPLES - 1
    assert [one["cls"] for one in data] == list(range(SAMPLES))
    for index in (SAMPLES, -SAMPLES - 1):
        with pytest.raises(IndexError, match=f"no number {index}"):
            data[index]


def test_shards_without_an_index_are_read_as_well(shards, tmp_path):
    bare = []
    for shard in shards:
        bare.append(tmp_path / shard.name)
        bare[-1].write_bytes(shard.read_bytes())
    data = pickle.loads(pickle.dumps(TarShards(bare)))
    assert [data[n] for n in range(SAMPLES)] == [TarShards(shards)[n] for n in range(SAMPLES)]
    assert not list(tmp_path.glob("*.index"))


def test_a_copy_in_another_process_opens_files_of_its_own(shards):
    data = TarShards(shards)
    assert data[0]["cls"] == 0
    there = pickle.loads(pickle.dumps(data))
    assert there[1]["cls"] == 1
    del there  # with what it has opened
    assert data[2]["cls"] == 2


@pytest.mark.parametrize("pattern", ["shard-*.tar", "shard-{000000..000007}.tar"])
def test_a_pattern_means_its_shards(shards, pattern):
    data = TarShards(shards[0].parent / pattern)
    assert list(data.shards) == shards
    assert list(TarShards(str(shards[0].parent / pattern)).shards) == shards


def test_a_missing_shard_is_named(shards):
    with pytest.raises(DataError, match=r"the shard .*/shard-000008\.tar is missing"):
        TarShards(shards[0].parent / "shard-{000000..000008}.tar")
    with pytest.raises(DataError, match=r"there are no shards at '.*/none-\*\.tar'"):
        TarShards(shards[0].parent / "none-*.tar")
    with pytest.raises(DataError, match="there are no shards"):
        TarShards([])


def test_a_shard_that_is_torn_or_gone_since_the_run_began_is_named(tmp_path):
    paths = write_shards(({"cls": n} for n in range(4)), tmp_path / "data", 2)
    data = TarShards(paths)
    assert data[1]["cls"] == 1
    os.truncate(paths[0], 600)
    with pytest.raises(DataError, match=r"000000\.tar ends in the midst of the sample '000000001'"):
        data[1]
    paths[1].unlink()
    with pytest.raises(DataError, match=r"the shard .*000001\.tar is missing"):
        data[3]


def test_a_shard_that_was_written_anew_is_named(tmp_path):
    (path,) = write_shards(({"cls": n} for n in range(4)), tmp_path / "data")
    data = TarShards(path)
    (other,) = write_shards(({"cls": n} for n in range(3)), tmp_path / "other")
    other.replace(path)
    Path(f"{other}.index").replace(f"{path}.index")
    with pytest.raises(DataError, match=r"had 4 samples when the run began, and has 3"):
        data[0]


@pytest.mark.parametrize("keys", ["abcde", "abxde"])
def test_an_index_of_another_shard_of_the_same_size_is_found_out(tmp_path, keys):
    (path,) = write_shards([{"__key__": one, "cls": 1} for one in "abcde"], tmp_path / "data")
    files = [{"__key__": one, "cls": 12 if keys == "abcde" else 1} for one in keys]
    (other,) = write_shards(files, tmp_path / "other")
    assert other.stat().st_size == path.stat().st_size
    other.replace(path)
    said = rf"the shard {path} is another than its index was made of: the sample 'c' .*index_shards"
    with pytest.raises(DataError, match=said):
        TarShards(path)[2]
    index_shards([path])
    assert [one["__key__"] for one in TarShards(path)] == list(keys)


def test_a_file_behind_the_first_one_is_found_out_as_well(tmp_path):
    (path,) = write_shards([{"txt": "one", "cls": 1}], tmp_path / "data")
    (other,) = write_shards([{"txt": "one", "cls": 22}], tmp_path / "other")
    other.replace(path)
    with pytest.raises(DataError, match="another than its index was made of"):
        TarShards(path)[0]


@pytest.mark.parametrize(
    "tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT, tarfile.USTAR_FORMAT]
)
@pytest.mark.parametrize("key", ["a", "./a", "größe/ñ√", f"{'long/' * 22}key", "é" * 80])
def test_names_of_all_kinds_are_known_again(tmp_path, monkeypatch, tar_format, key):
    with tarfile.open(tmp_path / "s.tar", "w", format=tar_format) as tar:
        try:
            for name in (f"{key}.TXT", f"{key}.cls"):
                tar.addfile(tarfile.TarInfo(name))
        except ValueError:
            pytest.skip("a name that this format has no place for")
    index_shards([tmp_path / "s.tar"])
    data = TarShards(tmp_path / "s.tar", decoders={"cls": len})
    if tar_format != tarfile.USTAR_FORMAT:  # which parts long names, so all headers are read
        monkeypatch.setattr(TarIndex, "by_headers", None)
    assert data[0] == {"__key__": key, "txt": "", "cls": 0}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("rubbish", "the index of the shard .* is torn, as b'rubbish' tells of no sample; have"),
        ('["k",{"cls":[512,99999999999]}]', "has 10240 bytes, and the sample 'k' ends at"),
    ],
)
def test_a_line_of_an_index_that_can_t_be_is_named(tmp_path, line, said):
    (path,) = write_shards([{"cls": 1}], tmp_path / "data")
    index = Path(f"{path}.index")
    index.write_text(index.read_text().splitlines()[0] + f"\n{line}\n")
    with pytest.raises(DataError, match=said):
        TarShards(path)[0]


@pytest.mark.parametrize("pattern", ["s{4..6}/*.tar", "s{4..6}/shard-{00..03}.tar", "?-{0..3}.tar"])
def test_a_pattern_of_two_kinds_is_refused(pattern):
    with pytest.raises(DataError, match=r"beside '\{.*\}', which stands alone; give a pattern"):
        TarShards(pattern)


def test_an_error_in_decoding_says_where(tmp_path):
    (path,) = write_shards([{"cls": b"seven"}], tmp_path / "data")
    with pytest.raises(ValueError, match="seven") as raised:
        TarShards(path)[0]
    assert raised.value.__notes__ == [f"raised by .cls of the sample '000000000' in {path}"]


def test_a_transform_makes_the_sample(shards):
    data = TarShards(shards, transform=lambda sample: (sample["cls"], len(sample["txt"])))
    assert data[11] == (11, 2)
    assert [batch[0].tolist() for batch in DataLoader(data, 20)][2] == list(range(40, 50))


def test_few_files_are_open_at_a_time(tmp_path, monkeypatch):
    monkeypatch.setattr("footplate.engine.data.tar_shards._MOST_OPEN", 3)
    paths = write_shards(({"cls": n} for n in range(10)), tmp_path / "data", 1)

    def opened():
        links = Path("/proc/self/fd").iterdir()
        return sum(str(tmp_path) in os.path.realpath(link) for link in links)

    data = TarShards(paths, at_once=2)
    assert opened() == 0
    assert [data[n]["cls"] for n in [*range(10), 0, 9]] == [*range(10), 0, 9]
    assert opened() == 3
    del data
    assert opened() == 0


# ------------------------------------------------------------------ order


def test_each_rank_reads_shards_of_its_own(shards):
    seen = []
    for rank in range(2):
        loader = loader_of(shards, rank=rank, world_size=2, even=False)
        assert isinstance(loader.sampler.order, ShardOrder)
        seen.append([one for batch in numbers(loader) for one in batch])
    assert sorted(seen[0] + seen[1]) == list(range(SAMPLES))
    read = [{one // PER_SHARD for one in share} for share in seen]
    assert len(read[0] & read[1]) <= 4  # those at the end
    assert read[0] - read[1]
    assert read[1] - read[0]


def test_unshuffled_samples_come_by_their_number(shards):
    loader = loader_of(shards, shuffle=False, rank=1, world_size=2)
    assert numbers(loader) == [list(range(n, min(n + 8, 50), 2)) for n in range(1, 50, 8)]


@pytest.mark.parametrize("workers", [1, 2])
def test_workers_don_t_change_the_order(shards, workers):
    assert numbers(loader_of(shards, workers=workers)) == numbers(loader_of(shards))


def test_samples_of_a_seed_of_their_own(shards):
    def drawn(workers):
        data = TarShards(shards, transform=lambda sample: torch.rand(1).item())
        loader = ordered_loader(data, 4, shuffle=True, sample_rng=True, num_workers=workers)
        return [batch.tolist() for batch in loader]

    assert drawn(0) == drawn(2)


def test_a_runner_makes_its_loader_by_the_shards(shards):
    runner = Runner(
        model=torch.nn.Linear(1, 1),
        train_dataloader={
            "dataset": {
                "type": "footplate.engine.data.tar_shards.TarShards",
                "shards": str(shards[0].parent / "shard-*.tar"),
                "at_once": 2,
                "window": 9,
            },
            "batch_size": 4,
            "shuffle": True,
        },
        train_cfg={"max_epochs": 1},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        randomness={"seed": 5},
    )
    order = runner.train_dataloader.sampler.order
    assert order == TarShards(shards, at_once=2, window=9).make_order(shuffle=True, seed=order.seed)
    taken = [one for batch in numbers(runner.train_dataloader) for one in batch]
    assert sorted(taken) == list(range(SAMPLES))


# ------------------------------------------------------------------ going on


@pytest.mark.covers("G5")
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("cut", [1, 5, 13, 15])
def test_a_run_goes_on_and_decodes_nothing_that_lies_behind(shards, tmp_path, workers, cut):
    def trained(loader, state=None, cut=None):
        batches = []
        trainer = Engine(lambda engine, batch: batches.append(batch["cls"].tolist()))
        if cut is not None:
            trainer.add_event_handler(Events.ITERATION_COMPLETED(once=cut), trainer.interrupt)
        if state is not None:
            trainer.load_state_dict(state)
        trainer.run(loader, max_epochs=None if state else 2)
        return batches, trainer.state_dict()

    whole, _ = trained(loader_of(shards))
    _, state = trained(loader_of(shards), cut=cut)
    log = tmp_path / "decoded"
    rest, _ = trained(loader_of(shards, log, workers=workers), state)
    assert rest == whole[cut:]
    decoded = sorted(map(int, log.read_text().split()))
    assert decoded == sorted(one for batch in rest for one in batch)


@pytest.mark.covers("G4")
@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_from_any_position_of_any_shards_the_rest_is_that_of_the_whole(tmp_path_factory, data):
    lengths = data.draw(st.lists(st.integers(1, 6), min_size=1, max_size=5))
    workers = data.draw(st.sampled_from([0, 0, 0, 1, 2]))
    world = data.draw(st.integers(1, 3))
    options = {
        "rank": data.draw(st.integers(0, world - 1)),
        "world_size": world,
        "at_once": data.draw(st.integers(1, 4)),
        "window": data.draw(st.integers(1, 8)),
        "batch_size": data.draw(st.integers(1, 4)),
        "drop_last": data.draw(st.booleans()),
    }
    folder = tmp_path_factory.mktemp("drawn")
    paths = [
        write_shards([{"cls": 10 * n + one} for one in range(length)], folder / str(n))[0]
        for n, length in enumerate(lengths)
    ]
    before = passes_over(loader_of(paths, **options))
    list(before.begin())
    whole = numbers(before.begin())  # the second pass
    position = data.draw(st.integers(0, len(whole)))
    after = passes_over(loader_of(paths, workers=workers, **options))
    after.load_state_dict(before.state_dict())
    assert numbers(after.go_on(position)) == whole[position:]
    assert numbers(after.begin()) == numbers(before.begin())


def test_a_pass_is_finished_by_another_number_of_ranks(shards):
    taken = []
    for rank in range(2):
        passes = passes_over(loader_of(shards, rank=rank, world_size=2))
        taken += numbers(itertools.islice(passes.begin(), 4))
    after = passes_over(loader_of(shards))
    after.load_state_dict(passes.state_dict())
    _, _, position = refit(after, 4)
    taken += numbers(after.go_on(position))
    assert sorted(one for batch in taken for one in batch) == list(range(SAMPLES))
