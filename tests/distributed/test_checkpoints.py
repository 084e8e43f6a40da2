"""Checkpoints of several processes: whole or not at all, and exact for each of them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from safetensors.torch import load_file

from footplate import load_checkpoint
from footplate.engine.checkpoints.manifest import Manifest
from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.checkpoints.weights import load_from
from tests.distributed.checkpointing import SIZE
from tests.distributed.launching import Ranks
from tests.recipes.commands.calling import called

HERE = "tests.distributed.checkpointing:"
KINDS = ["replicated", "sharded"]


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    with Ranks(2, Path(tmp_path_factory.mktemp("two"))) as ranks:
        yield ranks


@pytest.fixture(scope="module")
def four(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    with Ranks(4, Path(tmp_path_factory.mktemp("four"))) as ranks:
        yield ranks


@pytest.fixture(scope="module")
def one(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    with Ranks(1, Path(tmp_path_factory.mktemp("one"))) as ranks:
        yield ranks


@pytest.fixture(scope="module")
def whole(two: Ranks, tmp_path_factory: pytest.TempPathFactory) -> dict[str, list[str]]:
    """What unbroken runs come to, by kind."""
    folder = tmp_path_factory.mktemp("whole")
    return {kind: two.call(f"{HERE}trained", str(folder / kind), kind) for kind in KINDS}


def manifest_in(folder: Path) -> Manifest:
    (path,) = (folder / "checkpoints").iterdir()
    return Manifest.from_json((path / "manifest.json").read_text())


@pytest.mark.covers("G4", "I2")
@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("at", [1, 5, 7, 8, 13])
@pytest.mark.parametrize("kind", KINDS)
def test_each_process_goes_on_to_the_same_bits(
    two: Ranks, tmp_path: Path, whole: dict[str, list[str]], kind: str, at: int, background: bool
) -> None:
    options = {"background": background}
    two.call(f"{HERE}interrupted", str(tmp_path), at, kind, options)
    told = two.call(f"{HERE}resumed", str(tmp_path), kind, options)
    assert [one["path"] for one in told] == [f"{at:08d}"] * 2
    assert [one["digest"] for one in told] == whole[kind]
    assert whole[kind][0] != whole[kind][1], "each takes other samples"
    assert told[0]["warnings"] == told[1]["warnings"] == []


@pytest.mark.covers("G4", "I2")
@pytest.mark.parametrize("at", [1, 5])
def test_gradients_that_were_not_exchanged_go_on_to_the_same_bits(
    two: Ranks, tmp_path: Path, at: int
) -> None:
    whole = two.call(f"{HERE}trained", str(tmp_path / "whole"), "held")
    two.call(f"{HERE}interrupted", str(tmp_path / "cut"), at, "held")
    told = two.call(f"{HERE}resumed", str(tmp_path / "cut"), "held")
    assert [one["path"] for one in told] == [f"{at:08d}"] * 2
    assert [one["digest"] for one in told] == whole


@pytest.mark.covers("G4", "I2")
@pytest.mark.parametrize(
    ("first", "then"),
    [
        ("held", "sharded"),
        ("sharded", "held"),
        ("held", "replicated"),
        ("replicated", "held"),
        ("replicated", "sharded"),
        ("sharded", "replicated"),
    ],
)
def test_a_window_goes_on_whatever_holds_its_gradients(
    two: Ranks, tmp_path: Path, first: str, then: str
) -> None:
    whole, _ = two.call(f"{HERE}window", str(tmp_path / "whole"), first)
    two.call(f"{HERE}window", str(tmp_path / "cut"), first, 2)
    for told in two.call(f"{HERE}window", str(tmp_path / "cut"), then):
        torch.testing.assert_close(told, whole, rtol=1e-4, atol=1e-5)


@pytest.mark.covers("I2")
def test_a_whole_tensor_of_a_parameter_s_shape_stays_whole(
    one: Ranks, two: Ranks, tmp_path: Path
) -> None:
    one.call(f"{HERE}counted", str(tmp_path), "alone", 1)
    told = two.call(f"{HERE}counted", str(tmp_path), "sharded", 2)
    assert told == [["Tensor", 1, ["DTensor", "Tensor"]]] * 2


@pytest.mark.covers("G2")
def test_what_is_the_same_everywhere_is_written_once(two: Ranks, tmp_path: Path) -> None:
    two.call(f"{HERE}interrupted", str(tmp_path), 5)
    (path,) = (tmp_path / "checkpoints").iterdir()
    names = {"manifest.json", "model.safetensors", "state.pt", "state-00001.pt"}
    assert {one.name for one in path.iterdir()} == names
    manifest = manifest_in(tmp_path)
    assert manifest.world_size == 2
    assert set(manifest.files) == names - {"manifest.json"}
    second = load_state(path, 1)["engine"]["footplate"]["handlers"]
    assert set(second["optimization"]) == {"window"}
    assert "ema" not in second
    assert "seen" in second


def load_state(path: Path, rank: int) -> dict[str, Any]:
    return CheckpointStore(path.parent).load_state(path, rank=rank)


@pytest.mark.covers("G4")
def test_buffers_that_differ_are_each_process_s_own(two: Ranks, tmp_path: Path) -> None:
    told = two.call(f"{HERE}buffers", str(tmp_path))
    assert told[0][0] != told[1][0], "they are the same anyway"
    for saved, loaded in told:
        assert saved == loaded


@pytest.mark.covers("G2", "I6")
@pytest.mark.parametrize(
    ("kind", "rank", "where"),
    [
        ("replicated", 1, "state-00001.pt"),
        ("replicated", 0, "model.safetensors"),
        ("replicated", 0, "manifest.json"),
        ("sharded", 1, "shards-00001"),
        ("sharded", 0, "shards.json"),
    ],
)
def test_a_disk_that_fails_in_one_process_fails_in_all(
    two: Ranks, tmp_path: Path, kind: str, rank: int, where: str
) -> None:
    told = two.call(f"{HERE}failing", str(tmp_path), kind, rank, where)
    errors = [one["error"] for one in told]
    assert errors[rank].startswith("OSError: [Errno 28]"), errors
    assert errors[1 - rank].startswith("RuntimeError"), errors
    assert f"rank {rank} failed with OSError: [Errno 28]" in errors[1 - rank]
    assert where in errors[1 - rank]
    assert [one["left"] for one in told] == [[], []]
    assert [one["then"] for one in told] == ["well", "well"]


@pytest.mark.covers("G1", "I6")
@pytest.mark.parametrize("rank", [0, 1])
@pytest.mark.parametrize("kind", KINDS)
def test_an_error_is_told_of_by_the_process_that_failed_alone(
    two: Ranks, tmp_path: Path, kind: str, rank: int
) -> None:
    told = two.call(f"{HERE}raised", str(tmp_path), kind, rank)
    assert max(one["seconds"] for one in told) < 20
    inexact = [name for name, exact, _ in told[0]["found"] if not exact]
    assert inexact == [f"00000004-inexact-rank{rank}"]
    assert ["00000002", True, None] in told[0]["found"], "what was there before stays"


# ---------------------------------------------------------------------- other numbers of processes


@pytest.mark.covers("I2")
def test_shards_load_among_any_number_of_processes(
    one: Ranks, two: Ranks, four: Ranks, tmp_path: Path
) -> None:
    one.call(f"{HERE}interrupted", str(tmp_path / "0"), 5, "sharded")
    seen = []
    for number, ranks in enumerate([one, two, four, two, one]):
        folders = str(tmp_path / f"{number}"), str(tmp_path / f"{number + 1}")
        seen += ranks.call(f"{HERE}carried_on", *folders)
    assert len({told["whole"] for told in seen}) == 1, "the tensors differ"
    assert all("DTensor" in told["moments"] for told in seen)
    assert {told["iteration"] for told in seen} == {5}


@pytest.mark.covers("I2", "G8")
def test_shards_load_without_any_process_group(four: Ranks, tmp_path: Path) -> None:
    four.call(f"{HERE}interrupted", str(tmp_path), 3, "sharded")
    saved = load_checkpoint(tmp_path)
    assert saved.manifest.world_size == 4
    assert {name: tuple(one.shape) for name, one in saved.weights.items()} == {
        "0.weight": (16, 6),
        "0.bias": (16,),
        "1.mean": (16,),
        "4.weight": (1, 16),
        "4.bias": (1,),
    }
    moments = saved.state["engine"]["footplate"]["handlers"]["optimization"]["optimizer"]["state"]
    assert tuple(moments[0]["exp_avg"].shape) == (16, 6)
    assert saved.weights["0.weight"].abs().min() > 0


@pytest.mark.covers("I2", "G8", "H6")
def test_the_command_merges_shards_for_other_tools(two: Ranks, tmp_path: Path) -> None:
    two.call(f"{HERE}interrupted", str(tmp_path), 3, "sharded")
    (path,) = (tmp_path / "checkpoints").iterdir()
    done = called("merge", path, "--output", tmp_path / "out")
    assert done.exit_code == 0, done.stderr
    file = tmp_path / "out" / "model.safetensors"
    assert done.stdout.strip() == str(file)
    merged, whole = load_file(file), load_checkpoint(path).weights
    assert merged.keys() == whole.keys() == {"0.weight", "0.bias", "1.mean", "4.weight", "4.bias"}
    assert all(torch.equal(merged[name], whole[name]) for name in whole)
    again = called("merge", path, "--output", tmp_path / "out")
    assert again.exit_code == 1
    assert "is there already" in again.stderr
    model = torch.nn.Linear(6, 16)
    load_from(model, path, revise_keys=[(r"^0\.", "")], strict=False)
    assert torch.equal(model.weight, whole["0.weight"])


@pytest.mark.covers("G1")
def test_minutes_are_agreed_upon(two: Ranks, tmp_path: Path) -> None:
    """The clock of one process alone says that a save is due."""
    told = two.call(f"{HERE}by_the_clock", str(tmp_path))
    assert told[0] == told[1]
    assert told[0] != ["00000008"], "only its end was saved"


@pytest.mark.covers("G1")
@pytest.mark.parametrize(("rank", "score"), [(0, None), (1, -0.5)])
def test_a_metric_that_is_no_number_on_one_process_keeps_none_waiting(
    two: Ranks, tmp_path: Path, rank: int, score: float | None
) -> None:
    told = two.call(f"{HERE}not_a_number", str(tmp_path), rank)
    assert told[0] == told[1]
    assert told[0] == [["00000002", -0.5], ["00000004", score]], "the first process's counts"


@pytest.mark.covers("G6")
def test_a_store_without_a_disk(two: Ranks, tmp_path: Path) -> None:
    told = two.call(f"{HERE}remote", str(tmp_path))
    assert told[0]["saved"] == told[1]["saved"]
    assert told[0]["names"] == ["manifest.json", "model.safetensors", "state-00001.pt", "state.pt"]


@pytest.mark.covers("I2")
def test_a_run_in_shards_goes_on_whole_and_back(one: Ranks, two: Ranks, tmp_path: Path) -> None:
    two.call(f"{HERE}interrupted", str(tmp_path / "0"), 4, "sharded")
    (whole,) = one.call(f"{HERE}carried_on", str(tmp_path / "0"), str(tmp_path / "1"), "alone")
    back = two.call(f"{HERE}carried_on", str(tmp_path / "1"), str(tmp_path / "2"), "sharded")
    assert whole["moments"] == ["Tensor"]
    assert all("DTensor" in told["moments"] for told in back)
    assert {told["whole"] for told in back} == {whole["whole"]}


@pytest.mark.covers("I4")
@pytest.mark.parametrize("at", [3, 9])
def test_more_processes_take_the_rest_of_the_pass(
    two: Ranks, four: Ranks, tmp_path: Path, at: int
) -> None:
    two.call(f"{HERE}interrupted", str(tmp_path), at)
    told = four.call(f"{HERE}resumed", str(tmp_path))
    (warning,) = {text for one in told for text in one["warnings"]}
    assert "was saved by a run of 2 processes and goes on with 4" in warning
    assert "ranks 2 to 3 took" in warning
    assert "shared out anew where the data can do so, else a warning says" in warning
    check_samples(told, [told[0], told[1]])
    assert len({tuple(one["random"]) for one in told}) == 4, "they draw the same"


@pytest.mark.covers("I4")
def test_fewer_processes_take_the_rest_of_the_pass(two: Ranks, four: Ranks, tmp_path: Path) -> None:
    four.call(f"{HERE}interrupted", str(tmp_path), 2)
    before = [load_state((tmp_path / "checkpoints" / "00000002"), rank) for rank in range(4)]
    told = two.call(f"{HERE}resumed", str(tmp_path))
    (warning,) = told[0]["warnings"]
    assert "4 processes and goes on with 2" in warning
    gone = [one["engine"]["footplate"]["handlers"]["seen"]["samples"] for one in before[2:]]
    check_samples([*told, *({"samples": one} for one in gone)], told)


def check_samples(told: list[Any], own: list[Any]) -> None:
    """Every sample comes once in each epoch, but for those that fill up."""
    took_over = [] if len(told) == 2 else told[2:]
    shared = told[0]["samples"]
    seen: Counter[tuple[int, int]] = Counter()
    for number, one in enumerate(told):
        batches = one["samples"]
        if number >= 2 and len(own) == 2 and "digest" in one:  # it took rank 0's over
            same = sum(1 for a, b in zip(batches, shared, strict=False) if a == b)
            batches = batches[same:]
        seen.update((epoch, sample) for epoch, *samples in batches for sample in samples)
    for epoch in (1, 2):
        assert all(seen[epoch, sample] for sample in range(SIZE)), "a sample is lost"
        assert sum(seen[epoch, sample] - 1 for sample in range(SIZE)) < 8
    assert took_over or len(told) == 2
