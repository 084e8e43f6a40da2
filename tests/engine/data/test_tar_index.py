"""What lies where in a tar file, with an index beside it and without; and what is wrong with it."""

from __future__ import annotations

import io
import subprocess
import tarfile
from pathlib import Path

import pytest

from footplate.engine.data.tar_index import TarIndex, index_shards, place_in
from footplate.engine.errors import DataError


def tar_of(path: Path, names: list[str], **options) -> Path:
    """A tar file whose files hold their own names."""
    with tarfile.open(path, **{"mode": "w", **options}) as tar:
        for name in names:
            entry = tarfile.TarInfo(name)
            if name.endswith("/"):
                entry.type = tarfile.DIRTYPE
            else:
                entry.size = len(name.encode())
            tar.addfile(entry, io.BytesIO(name.encode()))
    return path


def samples(index: TarIndex) -> list[tuple[str, list[str]]]:
    assert index.lines is not None
    return [(key, list(files)) for key, files in map(place_in, index.lines)]


def test_files_with_the_same_name_up_to_the_first_dot_are_a_sample(tmp_path):
    names = ["./", "a/", "a/1.jpg", "a/1.seg.PNG", "b.1/1.jpg", "2.cls", "README", ".DS_Store"]
    shard = tar_of(tmp_path / "s.tar", names)
    index = TarIndex.of(shard)
    assert samples(index) == [
        ("a/1", ["jpg", "seg.png"]),
        ("b.1/1", ["jpg"]),
        ("2", ["cls"]),
    ]
    _, files = place_in(index.lines[0])
    first, length = files["jpg"]
    assert shard.read_bytes()[first : first + length] == b"a/1.jpg"


@pytest.mark.parametrize("tar_format", [tarfile.PAX_FORMAT, tarfile.GNU_FORMAT])
def test_long_names_are_read(tmp_path, tar_format):
    name = f"{'long/' * 60}sämple.jpg"
    index = TarIndex.of(tar_of(tmp_path / "s.tar", [name, "b.jpg"], format=tar_format))
    assert [key for key, _ in samples(index)] == [name.removesuffix(".jpg"), "b"]


def test_what_gnu_tar_writes_is_read(tmp_path):
    for name in ("1.txt", "1.cls", "2.txt"):
        (tmp_path / name).write_text(name)
    made = ["tar", "cf", "s.tar", "--sort=name", "1.cls", "1.txt", "2.txt"]
    subprocess.run(made, cwd=tmp_path, check=True, timeout=30)
    assert samples(TarIndex.of(tmp_path / "s.tar")) == [("1", ["cls", "txt"]), ("2", ["txt"])]


def test_an_index_beside_it_is_read_in_place_of_the_headers(tmp_path, monkeypatch):
    shard = tar_of(tmp_path / "s.tar", ["1.cls", "2.cls"])
    by_headers = TarIndex.of(shard)
    index_shards([shard])
    monkeypatch.setattr(tarfile, "open", None)
    assert TarIndex.of(shard) == TarIndex(by_headers.size, 2, None)
    assert TarIndex.of(shard, lines=True) == by_headers
    assert sorted(one.name for one in tmp_path.iterdir()) == ["s.tar", "s.tar.index"]


def test_a_missing_shard_is_named(tmp_path):
    for call in (TarIndex.of, lambda path: index_shards([path])):
        with pytest.raises(DataError, match=r"the shard .*/s\.tar is missing; fetch it again"):
            call(tmp_path / "s.tar")
    (tmp_path / "s.tar.index").write_text('{"bytes": 1, "samples": 1}\n')
    with pytest.raises(DataError, match=r"the shard .*/s\.tar is missing"):
        TarIndex.of(tmp_path / "s.tar")


@pytest.mark.parametrize("bytes_left", [0, 100, 512, 600, 1024, 1536, 2000, 2048])
def test_a_torn_shard_is_named_wherever_it_is_cut(tmp_path, bytes_left):
    shard = tar_of(tmp_path / "s.tar", ["1.cls", "2.cls"])  # a header and a block each
    whole = shard.read_bytes()
    shard.write_bytes(whole[:bytes_left])
    with pytest.raises(DataError, match=r"the shard .*/s\.tar .*torn"):
        TarIndex.of(shard)
    shard.write_bytes(whole)
    index_shards([shard])
    shard.write_bytes(whole[:bytes_left])
    with pytest.raises(DataError, match=rf"has {bytes_left} bytes, and 10240 as its index says"):
        TarIndex.of(shard)


def test_garbage_in_the_midst_is_no_end(tmp_path):
    shard = tar_of(tmp_path / "s.tar", ["1.cls", "2.cls"])
    whole = bytearray(shard.read_bytes())
    whole[1024:1536] = b"x" * 512  # the second header
    shard.write_bytes(whole)
    with pytest.raises(DataError, match="torn"):
        TarIndex.of(shard)


def test_a_compressed_one_is_refused(tmp_path):
    with pytest.raises(DataError, match="no uncompressed tar file"):
        TarIndex.of(tar_of(tmp_path / "s.tar.gz", ["1.cls"], mode="w:gz"))


@pytest.mark.parametrize(
    ("index", "said"),
    [
        ("", "is no index of a shard; have index_shards"),
        ("[]\n", "is no index of a shard"),
        ('{"bytes": 10240}\n', "is no index of a shard"),
        ('{"bytes": 10240, "samples": -3}\n', "is no index of a shard"),
        ('{"bytes": 10240, "samples": Infinity}\n', "is no index of a shard"),
        ('{"bytes": 10240, "samples": 2}\n["1",{"cls":[512,5]}]\n', "tells of 2 samples, and has"),
    ],
)
def test_a_torn_index_is_named(tmp_path, index, said):
    shard = tar_of(tmp_path / "s.tar", ["1.cls", "2.cls"])
    (tmp_path / "s.tar.index").write_text(index)
    with pytest.raises(DataError, match=rf"s\.tar\.index {said}"):
        TarIndex.of(shard, lines=True)


def test_a_folder_is_no_shard(tmp_path):
    (tmp_path / "s.tar").mkdir()
    with pytest.raises(DataError, match=r"the shard .*/s\.tar is a folder; give the paths"):
        TarIndex.of(tmp_path / "s.tar")


@pytest.mark.parametrize(
    "line",
    [b"rubbish", b"7", b"\xff", b'["k",{}]', b'["k",{"cls":[-5,5]}]', b'[7,{"cls":[512,5]}]',
     b'["k",{"cls":[512,-1]}]', b'["k",{"cls":"no"}]', b'["k",["cls"]]'],
)  # fmt: skip
def test_a_line_that_tells_of_no_sample_is_quoted(line):
    with pytest.raises(ValueError, match=r"tells of no sample$") as raised:
        place_in(line)
    assert repr(line) in str(raised.value)


def test_a_file_that_comes_twice_in_a_sample_is_refused(tmp_path):
    with pytest.raises(DataError, match=r"s\.tar has 1\.cls twice in one sample"):
        TarIndex.of(tar_of(tmp_path / "s.tar", ["1.cls", "1.txt", "1.cls"]))
