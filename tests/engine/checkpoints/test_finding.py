"""Which checkpoint a run goes on from."""

from __future__ import annotations

import os
import re
import shutil
import warnings
from pathlib import Path

import pytest

from footplate.engine.checkpoints.finding import find
from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.errors import StateError
from tests.engine.checkpoints.saves import manifest, save, state, weights

pytestmark = pytest.mark.covers("G6")


def written_at(path: Path, seconds: int) -> Path:
    os.utime(path / "manifest.json", (seconds, seconds))
    return path


def flip(file: Path) -> None:
    """Change one bit, so that only the digest tells."""
    data = bytearray(file.read_bytes())
    data[-1] ^= 1
    file.write_bytes(data)


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-1])


@pytest.fixture
def store(tmp_path: Path) -> CheckpointStore:
    return CheckpointStore(tmp_path / "checkpoints")


@pytest.fixture
def work_dir(tmp_path: Path) -> Path:
    """Two runs of an experiment and one of another, at the depth that recipes have."""
    for name, second in [("a/monday", 1000), ("a/tuesday", 3000), ("b/sunday", 2000)]:
        run = CheckpointStore(tmp_path / "work" / name / "checkpoints")
        for iteration in (1, 2):
            written_at(save(run, iteration, run=name), second + iteration)
    return tmp_path / "work"


# ---------------------------------------------------------------------- the last


@pytest.mark.parametrize("which", [True, "last"])
@pytest.mark.parametrize("digests", [True, False])
def test_there_is_nothing_yet(store, tmp_path, which, digests):
    assert find(store, which, digests=digests) is None
    assert find(tmp_path / "nowhere", which, digests=digests) is None
    assert find(store, "best", digests=digests) is None


def test_the_last_is_the_one_that_was_saved_last(store):
    paths = [save(store, iteration) for iteration in (1, 2, 10)]
    assert find(store) == find(store, "last") == find(store, True) == paths[-1]


def test_in_one_directory_a_clock_that_was_set_back_changes_nothing(store):
    first, second = save(store, 1), save(store, 2)
    written_at(first, 2_000_000_000)
    written_at(second, 1000)
    assert find(store, "last") == second
    assert find(store.directory.parent, "last") == second
    assert save(store, 1).name == "00000001-2"
    assert find(store, "last").name == "00000001-2"


def test_of_several_directories_the_clock_decides(work_dir):
    assert find(work_dir).parent.parent == work_dir / "a/tuesday"
    newest = find(work_dir / "b")
    assert newest == work_dir / "b/sunday/checkpoints/00000002"
    written_at(newest, 9000)
    assert find(work_dir) == newest


def test_of_several_directories_the_last_of_each_is_compared(work_dir):
    """The clock was set back in the midst of the first run."""
    written_at(work_dir / "b/sunday/checkpoints/00000001", 9000)
    assert find(work_dir) == work_dir / "a/tuesday/checkpoints/00000002"


def test_only_folders_four_levels_deep_are_looked_at(tmp_path):
    path = save(CheckpointStore(tmp_path / "0/1/2/3"), 1)
    assert find(tmp_path / "0") == path
    assert find(tmp_path) is None


def test_links_and_hidden_folders_are_not_followed(tmp_path, work_dir):
    (work_dir / "circle").symlink_to(work_dir)
    outside = save(CheckpointStore(tmp_path / "outside"), 5)
    written_at(outside, 9000)
    (work_dir / "link").symlink_to(tmp_path / "outside")
    shutil.copytree(tmp_path / "outside", work_dir / ".hidden")
    assert find(work_dir) == work_dir / "a/tuesday/checkpoints/00000002"


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
@pytest.mark.parametrize("file", ["model.safetensors", "state.pt"])
def test_a_broken_one_is_said_and_passed_over(store, harm, file):
    good, bad = save(store, 1), save(store, 2)
    harm(bad / file)
    with pytest.warns(RuntimeWarning, match=rf"passed over: .*{bad.name}.*{file}") as caught:
        assert find(store, "last", digests=True) == good
    assert len(caught) == 1


def test_a_broken_manifest_is_said_and_passed_over(store):
    good, bad = save(store, 1), save(store, 2)
    cut(bad / "manifest.json")
    with pytest.warns(RuntimeWarning, match=f"{bad}/manifest.json is not as it was written"):
        assert find(store) == good


def test_without_digests_sizes_are_compared_only(store):
    path = save(store, 1)
    flip(path / "state.pt")
    assert find(store, digests=False) == path
    with (
        pytest.warns(RuntimeWarning, match=r"state\.pt is not as it was written"),
        pytest.raises(
            StateError, match=r"none to go on from: .*state\.pt is not as it was written"
        ),
    ):
        find(store, digests=True)


def test_several_broken_ones_are_each_said(store):
    good = save(store, 1)
    for iteration in (2, 3):
        flip(save(store, iteration) / "model.safetensors")
    with pytest.warns(RuntimeWarning, match="passed over") as caught:
        assert find(store, digests=True) == good
    assert [re.search(r"\d{8}", str(one.message))[0] for one in caught] == ["00000003", "00000002"]


@pytest.mark.filterwarnings("ignore:passed over")
def test_where_none_is_whole_any_longer_no_run_begins_anew(store):
    for iteration, harm in enumerate([cut, flip, Path.unlink], 1):
        harm(save(store, iteration) / "state.pt")
    cut(save(store, 4) / "manifest.json")
    save(store, 5, exact=False)
    for where in (store, store.directory, store.directory.parent):
        with pytest.raises(StateError, match="is whole and exact, so there is none") as caught:
            find(where, digests=True)
        said = str(caught.value)
        assert [f"0000000{number}" in said for number in range(1, 6)] == [True] * 4 + [False]
        assert "to begin anew, take these away" in said
    assert find(store, run="nobody") is None
    good = save(store, 6)
    assert find(store, digests=True) == good


@pytest.mark.parametrize("which", ["last", "best"])
def test_where_many_are_broken_some_are_named(store, which):
    for iteration in range(1, 8):
        cut(save(store, iteration, score=1.0) / "model.safetensors")
    with (
        pytest.warns(RuntimeWarning, match="passed over"),
        pytest.raises(StateError, match=r"model\.safetensors has \d+ bytes .* … and 2 more\. Give"),
    ):
        find(store, which)


def test_weights_for_others_are_no_broken_checkpoint(tmp_path):
    (tmp_path / "exported").mkdir()
    (tmp_path / "exported" / "model.safetensors").write_bytes(b"weights")
    with pytest.warns(RuntimeWarning, match="passed over"):
        assert find(tmp_path) is None


@pytest.mark.covers("G1")
def test_one_that_is_not_exact_is_never_taken_by_itself(store):
    good = save(store, 1)
    save(store, 2, exact=False, score=9.0)
    assert find(store, "last") == find(store.directory, "last") == good
    shutil.rmtree(good)
    assert find(store, "last") is None
    assert find(store, "best") is None


def test_the_last_of_one_run(store):
    mine = save(store, 1, run="mine")
    other = save(store, 2, run="other")
    assert find(store) == other
    assert find(store, run="mine") == mine
    assert find(store.directory, run="mine") == mine
    assert find(store, run="nobody") is None


def test_a_folder_that_can_not_be_read_is_said(tmp_path):
    circle = tmp_path / "circle"
    circle.symlink_to(circle)
    with pytest.warns(RuntimeWarning, match=f"passed over: .*{circle}"):
        assert find(circle) is None


# ---------------------------------------------------------------------- the best


def test_the_best_is_of_the_run_that_saved_last(store):
    save(store, 1, run="old", score=99.0)
    scores = {2: 0.1, 3: 0.7, 4: None, 5: 0.7, 6: 0.2}
    paths = {i: save(store, i, run="new", score=score) for i, score in scores.items()}
    assert find(store, "best") == paths[3], "the earlier of equals"
    assert find(store, "best", run="old").name == "00000001"


def test_the_best_by_iteration_is_not_taken_for_the_earliest_by_the_clock(store):
    first, second = save(store, 7, score=0.5), save(store, 3, score=0.5)
    written_at(first, 9000)
    written_at(second, 1000)
    assert find(store, "best") == first


def test_a_broken_best_is_said_and_the_next_best_taken(store):
    best, second = save(store, 1, score=0.9), save(store, 2, score=0.8)
    flip(best / "state.pt")
    with pytest.warns(RuntimeWarning, match=f"passed over: {best}"):
        assert find(store, "best", digests=True) == second


def test_none_has_a_score_to_be_the_best(store):
    save(store, 1)
    with pytest.raises(StateError, match=r"00000001 has a score .* Go on from 'last'"):
        find(store, "best")


# ---------------------------------------------------------------------- by name or path


def test_by_name_and_by_path(store, tmp_path, monkeypatch):
    path = save(store, 1)
    save(store, 2)
    for where in (store, store.directory, str(store.directory)):
        for which in (path.name, Path(path.name), path, str(path)):
            assert find(where, which) == path
    monkeypatch.chdir(tmp_path)
    relative = Path("checkpoints/00000001")
    assert find(store, relative) == relative
    assert find(CheckpointStore("elsewhere"), str(relative), run="another") == relative


def test_a_name_in_the_store_comes_before_a_path_from_here(store, tmp_path, monkeypatch):
    path, other = save(store, 1), save(CheckpointStore(tmp_path), 1)
    monkeypatch.chdir(tmp_path)
    assert find(store, "00000001") == path
    assert find(store, "./00000001") == path
    assert find(store, other) == other


def test_the_home_folder(store, tmp_path, monkeypatch):
    path = save(store, 1)
    monkeypatch.setenv("HOME", str(tmp_path))
    assert find(CheckpointStore("x"), "~/checkpoints/00000001") == path
    assert find("~/checkpoints") == path


def test_a_folder_stands_for_the_newest_below_it(work_dir):
    store = CheckpointStore(work_dir / "new run/checkpoints")
    newest = work_dir / "a/tuesday/checkpoints/00000002"
    assert find(store, work_dir) == newest
    assert find(store, work_dir / "a") == newest
    assert find(store, work_dir / "a/monday/checkpoints").parent.parent.name == "monday"
    assert find(store, work_dir, run="b/sunday").parent.parent.name == "sunday"
    assert find(work_dir, "b").parent.parent.name == "sunday"


def test_a_folder_of_the_name_last_is_one_by_path(store, tmp_path):
    path = save(CheckpointStore(tmp_path / "last"), 1)
    save(store, 9)
    assert find(tmp_path, Path("last")) == find(tmp_path, "./last") == path


@pytest.mark.parametrize("harm", [flip, cut, Path.unlink])
@pytest.mark.parametrize("file", ["model.safetensors", "state.pt", "manifest.json"])
def test_a_broken_one_that_is_named_is_refused(store, harm, file):
    save(store, 1)
    path = save(store, 2)
    harm(path / file)
    for which in (path, path.name):
        with pytest.raises(StateError, match=rf"{path}.*{file}"):
            find(store, which, digests=True)


@pytest.mark.covers("G1")
def test_one_that_is_not_exact_can_be_named(store):
    path = save(store, 2, exact=False)
    assert find(store, path) == find(store, path.name) == path
    with pytest.raises(StateError, match=f"{store.directory} holds no whole, exact checkpoint, 4"):
        find(store, store.directory)


def test_a_folder_with_none_is_refused(store, tmp_path):
    save(store, 1)
    (tmp_path / "empty").mkdir()
    with pytest.raises(StateError, match=r"empty holds no whole, exact checkpoint, 4 levels"):
        find(store, tmp_path / "empty")
    with pytest.raises(StateError, match=r"no whole, exact checkpoint of run nobody"):
        find(store, store.directory, run="nobody")


@pytest.mark.parametrize("given", ["00000013", "{}/00000013"])
def test_what_is_not_there_is_refused_with_what_is(store, given):
    for iteration in range(7, 13):
        save(store, iteration)
    which = given.format(store.directory)
    with pytest.raises(StateError) as caught:
        find(store, which)
    said = str(caught.value)
    assert f"there is no checkpoint {which!r}, neither by that name in {store.directory}" in said
    assert "its last are '00000008', '00000009', '00000010', '00000011', '00000012'" in said
    assert "nor at that path. Give one that is there, or 'last' or 'best'." in said


def test_of_a_path_to_a_number_what_is_beside_it_is_told(store, tmp_path):
    for name in ("00000040", "00000300"):
        (tmp_path / "other" / name).mkdir(parents=True)
    with pytest.raises(StateError) as caught:
        find(store, tmp_path / "other/00000080")
    said = str(caught.value)
    assert f"path. In {tmp_path / 'other'} there are '00000040', '00000300'. Give one" in said


def test_a_name_that_nearly_is_one_is_told(store):
    store.save(weights(1), state(1), manifest(1), name="before-lr")
    with pytest.raises(StateError, match=r"Did you mean 'before-lr'\? Give one that is there"):
        find(store, "before_lr")


def test_what_is_not_there_where_nothing_is(store):
    with pytest.raises(StateError, match=r"checkpoints \(there are none\) nor at that path"):
        find(store, "00000001")


def test_a_file_is_refused(store):
    path = save(store, 1)
    with pytest.raises(StateError, match=rf"is a file, .* give {path}, or have load_from"):
        find(store, path / "model.safetensors")


def test_a_url_that_is_elsewhere_is_refused(store):
    with pytest.raises(StateError, match=r"'s3://bucket/x/1' is not in .*; give store_at"):
        find(store, "s3://bucket/x/1")


@pytest.mark.parametrize("which", [False, None, 3, "", 1.0])
def test_what_is_no_choice_is_refused(store, which):
    with pytest.raises(TypeError, match=f"a name or a path, given {which!r}"):
        find(store, which)


def test_what_another_process_takes_away_meanwhile_is_no_error(work_dir):
    """A run prunes while its folder is looked through: here, behind the list of checkpoints."""

    class Pruned(CheckpointStore):
        def __iter__(self):
            found = list(super().__iter__())
            shutil.rmtree(found[-1][0])
            yield from found

    store = Pruned(work_dir / "a/monday/checkpoints")
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        assert find(store).name == "00000001"
    assert "00000002 is no whole checkpoint" in str(caught[0].message)
