"""Whatever fails while a checkpoint is saved, one that loads remains, and the error says why."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.errors import StateError
from tests.engine.checkpoints.saves import LARGE, is_whole, manifest, save, state, weights

ROOT = Path(__file__).parents[3]
PATHS = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
FILES = ["manifest.json", "model.safetensors", "state.pt"]


def python(action: str, *arguments: object, preload: Path | None = None) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.engine.checkpoints.saves", action]
    env = {**os.environ, "PYTHONPATH": PATHS, "OMP_NUM_THREADS": "1"}
    if preload is not None:
        env["LD_PRELOAD"] = str(preload)
    pipes = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    return subprocess.Popen([*command, *map(str, arguments)], cwd=ROOT, env=env, **pipes)


def outcome(process: subprocess.Popen[str]) -> dict:
    said, errors = process.communicate()
    assert process.returncode == 0, errors
    return json.loads(said)


@pytest.fixture(scope="module")
def shim(tmp_path_factory: pytest.TempPathFactory) -> Path:
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None or sys.platform != "linux":
        pytest.skip("to have calls of the system fail needs Linux and a C compiler")
    built = tmp_path_factory.mktemp("shim") / "shim.so"
    source = Path(__file__).with_name("shim.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", built, source, "-ldl"], check=True)
    return built


@pytest.mark.covers("G2")
def test_a_disk_that_fails_at_any_call_leaves_the_checkpoint_before(tmp_path, shim):
    said = outcome(python("fail_at_every_call", tmp_path, shim, preload=shim))
    # a directory, 3 + 1 and 2 + 1 and 1 + 1 writes and fsyncs, two directories, a rename
    assert said["calls"] >= 10
    assert len(said["happened"]) == 2 * said["calls"]
    for cause, number, as_given, text, left, whole in said["happened"]:
        assert as_given, (cause, number, text)
        assert str(tmp_path) in text, (cause, number, text)
        assert "raised while checkpoint '00000002' was saved" in text
        assert left == ["00000001"], (cause, number, left)
        assert whole == [True], (cause, number)


@pytest.mark.covers("G2")
def test_writes_that_take_less_than_given_go_on(tmp_path, shim):
    said = outcome(python("cut_every_call", tmp_path, shim, preload=shim))
    assert len(said["happened"]) == said["calls"] + 1
    assert all(whole for _, _, whole in said["happened"])
    assert sum(more for _, more, _ in said["happened"]) >= 6  # of all calls those that write


@pytest.fixture(scope="module")
def calls(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """The calls of the system that a save makes in its directory, each with its name there."""
    strace = shutil.which("strace")
    if strace is None:
        pytest.skip("to see every call of the system needs strace")
    folder = tmp_path_factory.mktemp("traced")
    log, store = folder / "calls", folder / "store"
    traced = "trace=/.*write.*,sendfile,copy_file_range,/fallocate,/f(data)?sync,/rename.*"
    command = [strace, "-f", "-y", "-qq", "-o", log, "-e", traced, sys.executable, "-c", ONE, store]
    env = {**os.environ, "PYTHONPATH": PATHS}
    done = subprocess.run(command, env=env, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0 and "ptrace" in done.stderr:
        pytest.skip("strace may not trace here")
    assert done.returncode == 0, done.stderr
    found = re.findall(rf"(\w+)\([^,]*?[<\"]{store}(/[^>\"]*)?[>\"]", log.read_text())
    return [(call, re.sub(r"/\.00000001[^/]*", "/part", where)) for call, where in found]


@pytest.mark.covers("G2")
def test_every_write_is_one_that_was_made_to_fail(calls):
    """Else a save may write where the tests above do not look."""
    assert {call for call, _ in calls} == {"write", "fsync", "rename"}
    assert sum(call == "write" for call, _ in calls) >= 6


@pytest.mark.covers("G2")
def test_everything_is_durable_before_it_appears_and_its_place_after(calls):
    begun = [one for number, one in enumerate(calls) if one not in calls[:number]]
    last = {one: number for number, one in enumerate(calls)}
    placed = last["rename", "/part"]
    for file in FILES:
        written, synced = last["write", f"/part/{file}"], last["fsync", f"/part/{file}"]
        assert written < synced < last["fsync", "/part"]
    assert last["fsync", "/part"] < placed < last["fsync", ""]
    assert begun[-1] == ("fsync", "")
    assert placed == len(calls) - 2


ONE = """
import sys
from tests.engine.checkpoints.saves import LARGE, CheckpointStore, save
save(CheckpointStore(sys.argv[1]), 1, LARGE)
"""


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=12m", "tmpfs", disk], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("to fill a disk needs the right to mount one")
    yield disk
    subprocess.run(["umount", disk], check=True)


@pytest.mark.covers("G2")
@pytest.mark.skipif(shutil.which("mount") is None, reason="to fill a disk needs mount")
def test_a_disk_that_is_full_leaves_the_checkpoint_before(small_disk):
    said = outcome(python("fill_disk", small_disk))
    assert said["said"].startswith("ENOSPC")
    assert str(small_disk / ".00000002") in said["said"]
    assert said["left"] == ["00000001"]
    assert said["whole"] == [True]
    assert said["next"] == "00000003"


@pytest.fixture
def open_folder() -> Iterator[Path]:
    """One that other users may enter, as those of pytest they may not."""
    folder = Path(tempfile.mkdtemp(prefix="footplate-"))
    folder.chmod(0o755)
    yield folder
    (folder / "store").chmod(0o755)
    shutil.rmtree(folder)


@pytest.mark.covers("G2")
def test_without_the_right_to_write_the_checkpoints_before_remain(open_folder):
    directory = open_folder / "store"
    store = CheckpointStore(directory)
    for iteration in (1, 2):
        save(store, iteration)
    (secret := save(store, 3) / "manifest.json").chmod(0)
    directory.chmod(0o555)
    said = outcome(python("without_rights", directory))
    text, _ = said["save"]
    assert text.startswith(f"[Errno 13] Permission denied: '{directory}/.00000003.mine.")
    assert said["found"] == [["00000001", True], ["00000002", True]]
    assert any(
        f"passed over: {secret.parent}" in one and "Permission denied" in one
        for one in said["warned"]
    )
    [taken] = [one for one in said["warned"] if "can't be taken away" in one]
    assert str(directory / "00000001") in taken
    assert "Permission denied" in taken


@pytest.mark.covers("G2")
def test_a_process_that_is_killed_at_any_time_leaves_one_that_loads(tmp_path):
    said = outcome(python("kill_while_saving", tmp_path, 25))
    iterations = [iteration for iteration, _, _ in said["happened"]]
    assert iterations == sorted(iterations)
    assert iterations[-1] > 0
    assert sum(parts for _, parts, _ in said["happened"]) > 0  # some were killed in the midst
    for number, (_, _, whole) in enumerate(said["happened"]):
        assert whole in ([True], [True, True]), number
    assert said["hidden"] == []


@pytest.mark.covers("G2")
def test_two_runs_share_a_directory(tmp_path):
    foreign = [tmp_path / name for name in ("notes.txt", ".hidden.part", "logs/events")]
    (tmp_path / "logs").mkdir()
    for file in foreign:
        file.write_text("mine")
    both = [python("save_and_prune", tmp_path, run, 30) for run in ("one", "other")]
    for process in both:
        outcome(process)
    store = CheckpointStore(tmp_path)
    for run in ("one", "other"):
        own = [(path, found.iteration) for path, found in store if found.run == run]
        assert [iteration for _, iteration in own] == [29, 30]
        assert all(is_whole(store, path) for path, _ in own)
    assert all(file.read_text() == "mine" for file in foreign)
    assert len(list(tmp_path.iterdir())) == 4 + len(foreign)


@pytest.mark.covers("G2")
@pytest.mark.parametrize("name", FILES)
def test_a_file_that_is_cut_is_named(tmp_path, name):
    store = CheckpointStore(tmp_path)
    good, path = save(store, 1), save(store, 2)
    os.truncate(path / name, (path / name).stat().st_size - 1)
    with pytest.raises(StateError, match=f"{path / name}"):
        store.manifest(path)
    with pytest.warns(RuntimeWarning, match=f"passed over: {path / name}"):
        assert [found for found, _ in store] == [good]
    with pytest.warns(RuntimeWarning, match="passed over"):
        store.prune("mine", last=1, best=0)
    assert is_whole(store, good)


@pytest.mark.covers("G2")
@pytest.mark.parametrize("name", ["model.safetensors", "state.pt"])
def test_any_bit_that_is_flipped_is_seen_by_the_digest(tmp_path, name):
    store = CheckpointStore(tmp_path)
    path = save(store, 1)
    written = (path / name).read_bytes()
    for place in range(0, len(written), 97):
        changed = bytearray(written)
        changed[place] ^= 1 << (place % 8)
        (path / name).write_bytes(changed)
        store.verify(path, digests=False)
        for look in (lambda: store.verify(path, digests=True), lambda: store.load_state(path)):
            with pytest.raises(StateError, match=f"{path / name} is not as it was written"):
                look()
    (path / name).write_bytes(written)
    assert is_whole(store, path)


def test_a_flipped_bit_of_a_manifest_never_gives_another_error(tmp_path):
    store = CheckpointStore(tmp_path)
    path = save(store, 1)
    written = (path / "manifest.json").read_bytes()
    refused = 0
    for place in range(len(written)):
        changed = bytearray(written)
        changed[place] ^= 1 << (place % 8)
        (path / "manifest.json").write_bytes(changed)
        try:
            store.verify(path, digests=True)
        except StateError as error:
            assert str(path) in str(error)  # noqa: PT017
            refused += 1
    assert refused > len(written) / 3


class Deleting(dict):
    """Weights such that a directory disappears when they are written."""

    def __init__(self, given: dict, directory: Path) -> None:
        super().__init__(given)
        self.directory = directory

    def items(self):
        shutil.rmtree(self.directory)
        return super().items()


@pytest.mark.covers("G2")
@pytest.mark.parametrize("above", [False, True])
def test_a_directory_that_is_deleted_meanwhile_is_named_and_made_again(tmp_path, above):
    store = CheckpointStore(tmp_path / "above" / "store")
    save(store, 1)
    deleted = tmp_path / "above" if above else store.directory
    with pytest.raises(FileNotFoundError, match=f"{store.directory}/.00000002") as caught:
        store.save(Deleting(weights(2), deleted), state(2), manifest(2))
    assert "was saved in" in caught.value.__notes__[0]
    assert not deleted.exists()
    assert is_whole(store, save(store, 3))


def test_a_directory_that_is_not_there_holds_no_checkpoints(tmp_path):
    store = CheckpointStore(tmp_path / "none")
    assert list(store) == []
    store.prune("mine", last=1, best=0)


@pytest.mark.covers("G2")
def test_a_clock_that_is_set_back_does_not_matter(tmp_path):
    store = CheckpointStore(tmp_path)
    for number, iteration in enumerate((30, 20, 10)):  # resumed from an earlier one, twice
        path = save(store, iteration)
        for file in (path, *path.iterdir()):
            os.utime(file, (10**9 - number, 10**9 - number))
    assert [found.iteration for _, found in store] == [30, 20, 10]
    store.prune("mine", last=1, best=0)
    assert [found.iteration for _, found in store] == [10]


def test_large_checkpoints_are_whole_too(tmp_path):
    store = CheckpointStore(tmp_path)
    assert is_whole(store, save(store, 1, LARGE), LARGE)
