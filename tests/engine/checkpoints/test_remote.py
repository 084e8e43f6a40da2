"""Checkpoints on file systems of fsspec: a memory, a disk, a server, and one that fails."""

from __future__ import annotations

import errno
import os
import pickle
import subprocess
import sys
import threading
import warnings
from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from pathlib import Path

import pytest
import torch

from footplate.engine.checkpoints.finding import find
from footplate.engine.checkpoints.manifest import Manifest
from footplate.engine.checkpoints.remote import RemoteStore, store_at
from footplate.engine.checkpoints.store import CheckpointStore, Store
from footplate.engine.checkpoints.tensor_file import weights_of
from footplate.engine.errors import StateError
from tests.engine.checkpoints.faulty import Faulty
from tests.engine.checkpoints.ftp_server import serving
from tests.engine.checkpoints.saves import manifest, save, state, weights

pytestmark = pytest.mark.covers("G6")

FILES = ["manifest.json", "model.safetensors", "state.pt"]


@pytest.fixture
def cache(tmp_path: Path) -> Path:
    return tmp_path / "cache"


@pytest.fixture
def disk(tmp_path: Path) -> Path:
    """Where the file systems that are on a disk have their files."""
    return tmp_path / "disk"


@pytest.fixture(params=["memory", "file", "ftp"])
def store(request, tmp_path: Path, cache: Path, disk: Path) -> Iterator[RemoteStore]:
    if request.param == "ftp":
        disk.mkdir()
        with serving(disk) as port:
            options = {"port": port, "skip_instance_cache": True}
            yield RemoteStore("ftp://127.0.0.1/deep/run", cache=cache, **options)
    elif request.param == "file":
        yield RemoteStore(f"file://{disk}/run", cache=cache)
    else:
        options = {"global_store": False, "skip_instance_cache": True}
        yield RemoteStore("memory://deep/run", cache=cache, **options)


@pytest.fixture
def faulty(disk: Path, cache: Path) -> Iterator[RemoteStore]:
    Faulty.arm()
    yield RemoteStore(f"faulty://{disk}/run", cache=cache)
    Faulty.arm()


def is_empty(cache: Path) -> bool:
    return not cache.exists() or list(cache.iterdir()) == []


def is_whole(store: Store, path: Path) -> bool:
    """Whether a checkpoint holds what belongs to its iteration."""
    iteration = store.verify(path, digests=True).iteration
    model = torch.nn.ParameterDict({name: torch.zeros(10) for name in ("a", "b", "c")})
    matched = not store.load_weights(path, model)
    read = store.load_state(path)
    return (
        matched
        and all((value == iteration).all() for value in model.values())
        and read["iteration"] == iteration
        and bool((read["moments"] == iteration).all())
    )


def flip(file: Path) -> None:
    """Change one bit, so that only the digest tells."""
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))


def there(disk: Path) -> list[str]:
    run = disk / "run"
    return sorted(str(path.relative_to(run)) for path in run.rglob("*") if path.is_file())


# ---------------------------------------------------------------------- as on a disk


def test_what_is_saved_is_read(store, cache):
    assert list(store) == []
    path = save(store, 3, metrics={"loss": float("nan")}, meta={"note": "ö"})
    assert path == store.directory / "00000003"
    assert is_whole(store, path)
    assert store.manifest(path).meta == {"note": "ö"}
    assert is_empty(cache)


def test_the_order_is_the_one_they_were_saved_in(store):
    paths = [save(store, iteration) for iteration in (5, 3, 3)]
    assert [path.name for path in paths] == ["00000005", "00000003", "00000003-2"]
    assert [(path, found.number) for path, found in store] == list(zip(paths, range(3)))  # noqa: B905


def test_names(store):
    path = store.save({}, {}, manifest(3), name="before surgery")
    assert [path.name for path, _ in store] == ["before surgery"] == [path.name]
    assert save(store, 3, exact=False).name == "00000003-inexact"
    with pytest.raises(ValueError, match="plain file name"):
        store.save({}, {}, manifest(3), name="a/b")


@pytest.mark.covers("G1")
def test_pruning_keeps_what_it_does_on_a_disk(store, tmp_path):
    other, local = save(store, 1, run="other"), CheckpointStore(tmp_path / "local")
    spared = save(store, 2)
    scores = {3: 0.5, 4: 0.9, 5: 0.9, 6: None, 7: 0.1}
    for one in (store, local):
        for iteration, score in scores.items():
            save(one, iteration, score=score)
        for iteration in (8, 9):
            save(one, iteration, exact=False)
    store.prune("mine", last=2, best=1, spare=[spared])
    local.prune("mine", last=2, best=1)
    kept = [path.name for path, _ in local]
    assert [path.name for path, _ in store] == [other.name, spared.name, *kept]
    assert all(is_whole(store, path) for path, _ in store)
    store.prune("mine", last=0, best=0)
    assert [path.name for path, _ in store] == [other.name, "00000009-inexact"]


def test_weights_that_do_not_fit_are_refused(store, cache):
    path, model = save(store, 1), torch.nn.Linear(2, 1)
    with pytest.raises(StateError, match=rf"{path}: the weights do not fit the Linear:\nmissing"):
        store.load_weights(path, model)
    assert list(store.load_weights(path, model, strict=False).unexpected) == ["a", "b", "c"]
    assert is_empty(cache)


def test_a_state_that_can_not_be_saved_leaves_nothing(store, cache):
    with pytest.raises(TypeError, match=r"state\['x'\]"):
        store.save({}, {"x": object()}, manifest(1))
    assert list(store) == []
    assert is_empty(cache)


# ---------------------------------------------------------------------- broken ones


@pytest.fixture
def on_disk(disk: Path, cache: Path) -> RemoteStore:
    return RemoteStore(f"file://{disk}/run", cache=cache)


def test_two_runs_share_a_directory(on_disk):
    """Each save is whole, whoever else saves there at the same time."""
    errors = []

    def run(name: str) -> None:
        try:
            for iteration in (1, 2, 3):
                save(on_disk, iteration, run=name)
        except BaseException as error:
            errors.append(error)

    threads = [threading.Thread(target=run, args=(name,)) for name in ("one", "two")]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert errors == []
    assert sorted(found.run for _, found in on_disk) == ["one"] * 3 + ["two"] * 3
    assert all(is_whole(on_disk, path) for path, _ in on_disk)


def test_a_flipped_bit_is_found_by_digest(on_disk, disk, cache):
    path = save(on_disk, 1)
    for file in ("state.pt", "model.safetensors"):
        place = disk / "run/00000001" / file
        good = place.read_bytes()
        flip(place)
        on_disk.verify(path, digests=False)
        with pytest.raises(StateError, match=f"{path}/{file} is not as it was written"):
            on_disk.verify(path, digests=True)
        place.write_bytes(good)
    for file in ("state.pt", "model.safetensors"):
        flip(disk / "run/00000001" / file)
    with pytest.raises(StateError, match=f"{path}/state.pt is not as it was written"):
        on_disk.load_state(path, digests=False)
    model = torch.nn.ParameterDict({name: torch.zeros(10) for name in ("a", "b", "c")})
    with pytest.raises(StateError, match=f"{path}/model.safetensors is not as it was written"):
        on_disk.load_weights(path, model)
    assert not model["a"].any()
    assert is_empty(cache)


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("harm", [Path.unlink, lambda file: os.truncate(file, 20)])
def test_one_that_is_not_whole_is_said_and_passed_over(on_disk, disk, harm, file):
    good, bad = save(on_disk, 1), save(on_disk, 2)
    harm(disk / "run" / bad.name / file)
    with pytest.warns(RuntimeWarning, match=rf"passed over: {bad}.*{file}") as caught:
        assert [path for path, _ in on_disk] == [good]
    assert len(caught) == 1
    with pytest.raises(StateError, match=rf"{bad}.*{file}"):
        on_disk.verify(bad, digests=False)
    with pytest.warns(RuntimeWarning, match="passed over"):
        assert find(on_disk) == good
    harm(disk / "run" / good.name / file)
    with (
        pytest.warns(RuntimeWarning, match="passed over"),
        pytest.raises(StateError, match=f"none to go on from: .*{good.name}.*{bad.name}"),
    ):
        find(on_disk)


def test_the_number_is_behind_that_of_one_that_is_not_whole(on_disk, disk):
    save(on_disk, 1)
    (disk / "run/00000001/state.pt").unlink()
    assert on_disk.manifest(save(on_disk, 2)).number == 1


@pytest.mark.covers("G7")
def test_a_pickle_never_runs(on_disk, disk, tmp_path):
    """Not even one that the manifest vouches for."""
    path, canary = save(on_disk, 1), tmp_path / "canary"

    class Bomb:
        def __reduce__(self):
            return os.mkdir, (str(canary),)

    place = disk / "run" / path.name
    bomb = pickle.dumps(Bomb())
    pickle.loads(bomb)
    canary.rmdir()  # it works
    torch.save({"x": Bomb()}, place / "state.pt")
    (place / "model.safetensors").write_bytes(bomb)
    files = {
        name: ((place / name).stat().st_size, sha256((place / name).read_bytes()).hexdigest())
        for name in ("state.pt", "model.safetensors")
    }
    vouched = replace(Manifest.from_json((place / "manifest.json").read_bytes()), files=files)
    (place / "manifest.json").write_text(vouched.to_json())
    with pytest.raises(StateError, match=r"posix\.mkdir"):
        on_disk.load_state(path)
    with pytest.raises(StateError, match="no whole file of safetensors"):
        on_disk.load_weights(path, torch.nn.Linear(1, 1))
    assert not canary.exists()


def test_foreign_files_stay(on_disk, disk):
    (disk / "run/notes").mkdir(parents=True)
    (disk / "run/notes/text.txt").touch()
    (disk / "run/00000001").mkdir()
    (disk / "run/00000001/theirs").touch()
    (disk / "run/readme").touch()
    assert save(on_disk, 1).name == "00000001-2"
    on_disk.prune("mine", last=0, best=0)
    assert there(disk) == ["00000001/theirs", "notes/text.txt", "readme"]


# ---------------------------------------------------------------------- failures


def test_the_manifest_comes_last_and_goes_first(faulty):
    path = save(faulty, 1)
    claim = Faulty.log[1].removeprefix("write ")
    assert claim.endswith(".part")
    assert Faulty.log[0] == f"make {path.name}"
    assert sorted(Faulty.log[2:4]) == ["write model.safetensors", "write state.pt"]
    assert Faulty.log[4:] == ["write manifest.json", f"remove {claim}"]
    Faulty.arm()
    faulty.prune("mine", last=0, best=0)
    assert Faulty.log[:2] == [f"write {claim}", "remove manifest.json"]
    assert Faulty.log[-1] == f"remove {claim}"
    assert len(Faulty.log) == 5


@pytest.mark.parametrize("lasting", [False, True], ids=["once", "from then on"])
@pytest.mark.parametrize("call", range(1, 7))
def test_a_save_that_fails_leaves_no_checkpoint_and_what_was_there(
    faulty, disk, cache, call, lasting
):
    good = save(faulty, 1)
    Faulty.arm(call, lasting=lasting)
    if call == 6:  # the claim stays behind, of what is whole
        assert is_whole(faulty, save(faulty, 2))
    else:
        with pytest.raises(OSError, match=r"'00000002' could not be saved in faulty:.*No sp") as e:
            save(faulty, 2)
        assert e.value.errno == errno.ENOSPC
        assert [path for path, _ in faulty] == [good]
        left = [path for path in there(disk) if path.startswith("00000002")]
        assert bool(left) == (call == 2 or (lasting and call > 1))
    assert is_whole(faulty, good)
    assert is_empty(cache)
    Faulty.arm()
    save(faulty, 9, run="other")
    save(faulty, 3)
    assert [path for path in there(disk) if path.endswith(".part")] == []
    names = ["00000001", *(["00000002"] if call == 6 else []), "00000003", "00000009"]
    assert there(disk) == [f"{name}/{file}" for name in names for file in FILES]


def test_what_another_run_left_stays(faulty, disk):
    Faulty.arm(4, lasting=True)
    with pytest.raises(OSError, match="No space"):
        save(faulty, 1, run="other")
    Faulty.arm()
    left = there(disk)
    assert len(left) == 3
    assert save(faulty, 1).name == "00000001-2"
    assert [path for path in there(disk) if path.startswith("00000001/")] == left


@pytest.mark.parametrize("call", [3, 4, 5])
def test_a_server_that_takes_less_than_it_is_given_is_found_out(faulty, disk, call):
    Faulty.arm(call, kind="short")
    with pytest.raises(OSError, match="what was sent did not arrive: ") as caught:
        save(faulty, 1)
    assert "faulty:" in str(caught.value)
    assert there(disk) == []


@pytest.mark.parametrize("call", range(2, 6))
def test_a_save_that_is_killed_is_swept_by_the_next(disk, cache, call):
    program = f"""
from tests.engine.checkpoints.faulty import Faulty
from tests.engine.checkpoints.saves import save
from footplate.engine.checkpoints.remote import RemoteStore
store = RemoteStore({f"faulty://{disk}/run"!r}, cache={str(cache)!r})
save(store, 1)
Faulty.arm({call}, kind="exit")
save(store, 2)
"""
    done = subprocess.run([sys.executable, "-c", program], check=False, timeout=120)
    assert done.returncode == 9
    assert not is_empty(cache)
    Faulty.arm()
    store = RemoteStore(f"faulty://{disk}/run", cache=cache)
    assert [path.name for path, _ in store] == ["00000001"]
    assert save(store, 2).name == "00000002"
    assert there(disk) == [f"{name}/{file}" for name in ("00000001", "00000002") for file in FILES]
    assert is_empty(cache)


@pytest.mark.parametrize("call", range(1, 6))
def test_what_can_not_be_taken_away_is_said_and_swept_later(faulty, disk, call):
    first, second = save(faulty, 1), save(faulty, 2)
    Faulty.arm(call, lasting=True)
    with pytest.warns(RuntimeWarning, match=rf"{first} could not be taken away: OSError.* No spa"):
        faulty.prune("mine", last=1, best=0)
    Faulty.arm()
    with warnings.catch_warnings():
        warnings.simplefilter("error")  # what is half gone is none, and not a broken one
        found = [path for path, _ in faulty]
    assert found == ([first, second] if call <= 2 else [second])
    save(faulty, 3)
    faulty.prune("mine", last=1, best=0)
    assert there(disk) == [f"00000003/{file}" for file in FILES]


def test_any_error_names_the_place_and_the_cause(faulty):
    Faulty.arm(3, kind="strange")
    with pytest.raises(OSError, match=r"faulty:.*RuntimeError: the server is on fire") as caught:
        save(faulty, 1)
    assert isinstance(caught.value.__cause__, RuntimeError)


def test_a_name_that_another_run_takes_at_the_same_time_is_left_to_it(faulty, disk, monkeypatch):
    write = Faulty.pipe_file

    def write_both(self, path, value, **options):
        if path.endswith("/00000001/" + theirs.name):
            pass
        if path.endswith(".part") and "/00000001/" in path:
            theirs.touch()
        write(self, path, value, **options)

    theirs = disk / "run/00000001/theirs.part"
    monkeypatch.setattr(Faulty, "pipe_file", write_both)
    assert save(faulty, 1).name == "00000001-2"
    assert [path for path in there(disk) if path.startswith("00000001/")] == [
        "00000001/theirs.part"
    ]


def test_a_cache_that_can_not_be_written_is_named(on_disk, cache, disk):
    cache.touch()
    with pytest.raises(OSError, match=str(cache)):
        save(on_disk, 1)
    assert not (disk / "run").exists()


# ---------------------------------------------------------------------- which one, and where


def test_the_one_to_go_on_from_is_found(store, tmp_path):
    assert find(store) is None
    best, last = save(store, 1, score=0.5), save(store, 2, score=0.1)
    save(store, 3, exact=False)
    local = save(CheckpointStore(tmp_path / "local"), 7)
    assert find(store, digests=True) == last
    assert find(store, "best", digests=True) == best
    assert find(store, "00000001") == find(store, best) == best
    assert find(store, f"{store.url}/00000001") == best
    assert find(store, local) == local
    assert is_whole(store, local)
    with pytest.raises(StateError, match=r"there is no checkpoint '00000004'.* '00000001'"):
        find(store, "00000004")
    with pytest.raises(StateError, match=f"{store.directory / 'x'} is no checkpoint: there is no"):
        store.verify(store.directory / "x", digests=False)


def test_where_may_be_a_url(tmp_path, cache):
    store = RemoteStore(f"memory://{tmp_path.name}", cache=cache)
    path = save(store, 1)
    assert find(store.url, "last", digests=True) == path
    store.prune("mine", last=0, best=0)
    assert find(store.url, "last") is None


def test_paths_and_file_urls_are_disks(tmp_path, monkeypatch):
    monkeypatch.setenv("HOME", str(tmp_path))
    for location in (tmp_path / "a b", f"{tmp_path}/a b", f"file://{tmp_path}/a%20b", "~/a b"):
        store = store_at(location)
        assert type(store) is CheckpointStore
        assert store.directory == tmp_path / "a b"
    assert type(store_at("memory://x")) is RemoteStore
    assert str(store_at("memory://x/")) == "memory://x"


def test_options_reach_the_file_system(tmp_path, cache):
    options = {"global_store": False, "skip_instance_cache": True}
    own = store_at("memory://options", cache=cache, **options)
    save(own, 1)
    assert len(list(own)) == 1
    assert list(store_at("memory://options", cache=cache)) == []


@pytest.mark.parametrize("options", [{"cache": "x"}, {"key": "x"}])
def test_a_disk_takes_no_options(options):
    with pytest.raises(TypeError, match=f"a store takes no {next(iter(options))}; leave that out"):
        store_at("checkpoints", **options)


def test_an_unknown_protocol_is_refused():
    with pytest.raises(ValueError, match=r"'memroy://x' .* as s3, gs, .* Did you mean 'memory'\?"):
        store_at("memroy://x")


def test_what_a_protocol_needs_is_said():
    with pytest.raises(ImportError, match=r"'s3://b/x' needs what is not here: Install s3fs"):
        store_at("s3://b/x")


def test_without_fsspec(monkeypatch):
    monkeypatch.setitem(sys.modules, "fsspec", None)
    with pytest.raises(ImportError, match=r"pip install 'footplate\[fsspec\]'"):
        RemoteStore("memory://x")
    assert type(store_at("file:///x")) is CheckpointStore


def test_passwords_are_not_shown(disk):
    disk.mkdir()
    with serving(disk) as port:
        url = f"ftp://me:s3cret@127.0.0.1:{port}/run"
        store = RemoteStore(url, skip_instance_cache=True)
        assert "s3cret" not in f"{store!r} {store} {store.directory}"
        assert store.url == f"ftp://me:…@127.0.0.1:{port}/run"


def test_files_on_their_way_are_beside_those_of_torch_hub(tmp_path, monkeypatch):
    monkeypatch.setenv("TORCH_HOME", str(tmp_path / "torch"))
    store = RemoteStore(f"memory://{tmp_path.name}")
    path = store.save(weights(1), state(1), manifest(1))
    assert is_whole(store, path)
    assert list((tmp_path / "torch/hub/footplate").iterdir()) == []


def test_shared_weights_stay_shared(store):
    model = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
    model[1].weight = model[0].weight
    path = store.save(weights_of(model), {}, manifest(1))
    expected = model[0].weight.clone()
    torch.nn.init.zeros_(model[0].weight)
    assert not store.load_weights(path, model)
    assert torch.equal(model[1].weight, expected)
