"""Files that are fetched from a server on this machine."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from footplate.engine.data.download import download
from footplate.engine.errors import DataError
from tests.engine.data.serving import serving

pytestmark = pytest.mark.covers("K1")

CONTENT = os.urandom(3_000_000)
SHA256 = hashlib.sha256(CONTENT).hexdigest()

STALLS = """
import socket
with socket.create_server(("127.0.0.1", 0)) as server:
    print(server.getsockname()[1], flush=True)
    connection, _ = server.accept()
    connection.recv(10000)
    connection.sendall(b"HTTP/1.1 200 OK\\r\\nContent-Length: 9000000\\r\\n\\r\\n")
    connection.sendall(bytes(4_000_000))
    connection.recv(1)
"""
"""A server that sends less than half of what it says will come, and waits."""


@pytest.fixture
def served():
    with serving({"file": CONTENT}) as served:
        yield served


def test_a_file_is_fetched_once(served, tmp_path):
    file = tmp_path / "deep" / "inside" / "file"
    for _ in range(2):
        assert download(f"{served.address}/file", file, sha256=SHA256) == file
    assert file.read_bytes() == CONTENT
    assert served.asked == ["file"]
    assert list(file.parent.iterdir()) == [file]


def test_another_file_than_expected_is_not_kept(served, tmp_path):
    with pytest.raises(DataError, match="another file than expected") as caught:
        download(f"{served.address}/file", tmp_path / "file", sha256="0" * 64)
    assert SHA256 in str(caught.value)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("sized", [True, False])
def test_half_a_file_is_not_kept(served, tmp_path, sized):
    served.missing, served.sized = 1_000_000, sized
    words = "2000000 of 3000000|IncompleteRead" if sized else "another file than expected"
    with pytest.raises(DataError, match=words):
        download(f"{served.address}/file", tmp_path / "file", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []
    served.missing = 0
    assert download(f"{served.address}/file", tmp_path / "file", sha256=SHA256).exists()


def test_what_is_not_there_is_told(served, tmp_path):
    with pytest.raises(DataError, match="nothing can't be fetched: HTTP Error 404"):
        download(f"{served.address}/nothing", tmp_path / "file", sha256=SHA256)
    with pytest.raises(DataError, match="Connection refused"):
        download("http://127.0.0.1:9/file", tmp_path / "file", sha256=SHA256)
    assert list(tmp_path.iterdir()) == []


def test_another_file_of_this_name_is_left_alone(served, tmp_path):
    mine = tmp_path / "file"
    mine.write_bytes(b"mine")
    with pytest.raises(DataError, match="take it away"):
        download(f"{served.address}/file", mine, sha256=SHA256)
    assert mine.read_bytes() == b"mine"
    assert served.asked == []


def test_several_may_ask_at_once(served, tmp_path):
    def fetch(_: int) -> bytes:
        return download(f"{served.address}/file", tmp_path / "file", sha256=SHA256).read_bytes()

    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(fetch, range(4))) == {CONTENT}
    assert [one.name for one in tmp_path.iterdir()] == ["file"]


def test_who_is_killed_leaves_nothing_under_the_name(served, tmp_path):
    script = (
        "import sys; from footplate.engine.data.download import download; "
        "download(sys.argv[1], sys.argv[2], sha256='0' * 64)"
    )
    stalling = subprocess.Popen([sys.executable, "-c", STALLS], stdout=subprocess.PIPE, text=True)
    try:
        url = f"http://127.0.0.1:{int(stalling.stdout.readline())}/file"
        fetching = subprocess.Popen([sys.executable, "-c", script, url, tmp_path / "file"])
        deadline = time.monotonic() + 60
        while not any(one.stat().st_size for one in tmp_path.iterdir()):
            assert time.monotonic() < deadline
            time.sleep(0.01)
        fetching.send_signal(signal.SIGKILL)
        fetching.wait()
    finally:
        stalling.kill()
        stalling.communicate()
    assert not (tmp_path / "file").exists()
    fetched = download(f"{served.address}/file", tmp_path / "file", sha256=SHA256)
    assert fetched.read_bytes() == CONTENT
