"""Files come from paths, URLs and names of torchvision, whole or not at all."""

from __future__ import annotations

import hashlib
import os
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import torch

from footplate.engine.checkpoints import locations
from footplate.engine.checkpoints.locations import fetched
from footplate.engine.errors import StateError

pytestmark = pytest.mark.covers("G6")

BODY = bytes(range(256)) * 20
DIGEST = hashlib.sha256(BODY).hexdigest()


class Server(ThreadingHTTPServer):
    """Serves one body in many ways, and counts what it is asked for."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.asked: Counter[str] = Counter()
        self.body = BODY
        self.stalled, self.go_on = threading.Event(), threading.Event()

    def url(self, path: str) -> str:
        return f"http://127.0.0.1:{self.server_address[1]}/{path}"


class Handler(BaseHTTPRequestHandler):
    server: Server

    def do_GET(self) -> None:
        self.server.asked[self.path] += 1
        kind, body = self.path.split("/")[1], self.server.body
        if kind == "missing":
            self.send_error(404)
            return
        self.send_response(200)
        if kind != "unsized":
            self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        if kind == "cut":
            self.wfile.write(body[:1000])
        elif kind == "stall":
            self.wfile.write(body[:1000])
            self.wfile.flush()
            self.server.stalled.set()
            self.server.go_on.wait(60)
        else:
            self.wfile.write(body)

    def log_message(self, *arguments: object) -> None:
        pass


@pytest.fixture
def server() -> Iterator[Server]:
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        yield server
        server.go_on.set()
        server.shutdown()
        thread.join()


def files(folder: Path) -> list[str]:
    return sorted(one.name for one in folder.rglob("*") if one.is_file())


def test_a_path_is_returned_as_it_is(tmp_path, monkeypatch):
    (tmp_path / "weights.pth").write_bytes(BODY)
    assert fetched(tmp_path / "weights.pth", digest=f"sha256:{DIGEST}") == tmp_path / "weights.pth"
    assert fetched(tmp_path) == tmp_path
    monkeypatch.setenv("HOME", str(tmp_path))
    assert fetched("~/weights.pth") == tmp_path / "weights.pth"
    monkeypatch.chdir(tmp_path)
    assert fetched("weights.pth") == Path("weights.pth")


def test_a_missing_path_is_said_with_the_nearest_name(tmp_path):
    (tmp_path / "weights.pth").write_bytes(BODY)
    with pytest.raises(FileNotFoundError, match=r"weigths\.pth\. Did you mean 'weights.pth'"):
        fetched(tmp_path / "weigths.pth")
    with pytest.raises(FileNotFoundError, match=r"there is no .*nowhere/weights.pth"):
        fetched(tmp_path / "nowhere" / "weights.pth")


def test_a_path_with_another_digest_is_refused_and_stays(tmp_path):
    (tmp_path / "weights.pth").write_bytes(BODY)
    with pytest.raises(StateError, match=f"{DIGEST}, and 00000000… is asked for"):
        fetched(tmp_path / "weights.pth", digest="sha256:00000000")
    assert files(tmp_path) == ["weights.pth"]
    with pytest.raises(ValueError, match="is a folder"):
        fetched(tmp_path, digest=DIGEST)


@pytest.mark.parametrize("digest", ["abc", "md5:d41d8cd98f00b204e9800998ecf8427e", "xyz" * 8, ""])
def test_what_is_no_digest_is_refused(tmp_path, digest):
    with pytest.raises(ValueError, match="a digest is 'sha256:'"):
        fetched(tmp_path, digest=digest)


@pytest.mark.parametrize("kind", ["sized", "unsized"])
def test_a_url_is_downloaded_once(tmp_path, server, kind):
    path = fetched(server.url(f"{kind}/weights.pth?download=1"), cache=tmp_path)
    assert path.read_bytes() == BODY
    assert path.name == "weights.pth"
    assert fetched(server.url(f"{kind}/weights.pth?download=1"), cache=tmp_path) == path
    assert server.asked == {f"/{kind}/weights.pth?download=1": 1}
    assert files(tmp_path) == ["weights.pth"]


def test_files_of_one_name_from_two_places_are_two(tmp_path, server):
    first = fetched(server.url("a/weights.pth"), cache=tmp_path)
    server.body = b"other"
    second = fetched(server.url("b/weights.pth"), cache=tmp_path)
    assert (first.read_bytes(), second.read_bytes()) == (BODY, b"other")


@pytest.mark.parametrize("path", ["", "a/..", "a/."])
def test_a_url_without_a_name_stays_in_the_cache(tmp_path, server, path):
    found = fetched(server.url(path), cache=tmp_path)
    assert found.read_bytes() == BODY
    assert tmp_path in found.resolve().parents


def test_the_cache_is_that_of_torch_hub(tmp_path, server, monkeypatch):
    torch.save({"weight": torch.ones(1)}, tmp_path / "net.pth")
    server.body = (tmp_path / "net.pth").read_bytes()
    name = f"net-{hashlib.sha256(server.body).hexdigest()[:8]}.pth"
    monkeypatch.setattr(torch.hub, "_hub_dir", None)
    monkeypatch.setenv("TORCH_HOME", str(tmp_path))
    assert fetched(server.url(name)) == tmp_path / "hub" / "checkpoints" / name
    state = torch.hub.load_state_dict_from_url(server.url(name), weights_only=True)
    assert state == {"weight": torch.ones(1)}
    assert server.asked == {f"/{name}": 1}  # it found what was here


def test_a_file_of_torch_hub_is_not_loaded_again(tmp_path, server):
    (tmp_path / f"net-{DIGEST[:8]}.pth").write_bytes(BODY)
    fetched(server.url(f"a/net-{DIGEST[:8]}.pth"), cache=tmp_path)
    fetched(server.url(f"b/net-{DIGEST[:8]}.pth"), cache=tmp_path, digest=DIGEST)
    assert not server.asked


@pytest.mark.parametrize(
    ("name", "digest"),
    [("net-00000000.pth", None), ("net.pth", "sha256:" + "0" * 64), ("net.pth", "00000000")],
)
def test_a_wrong_digest_is_an_error_and_leaves_no_file(tmp_path, server, name, digest):
    with pytest.raises(StateError, match=f"{name} has the SHA-256 {DIGEST}, and 0000"):
        fetched(server.url(name), cache=tmp_path, digest=digest)
    assert files(tmp_path) == []


def test_a_number_that_is_no_digest_is_outdone_by_the_true_one(tmp_path, server):
    with pytest.raises(StateError, match=f"give digest='sha256:{DIGEST}'"):
        fetched(server.url("net-20240131.pth"), cache=tmp_path)
    path = fetched(server.url("net-20240131.pth"), cache=tmp_path, digest=f"sha256:{DIGEST}")
    assert path.read_bytes() == BODY


def test_a_cached_file_with_another_digest_is_replaced(tmp_path, server):
    path = fetched(server.url("net.pth"), cache=tmp_path)
    path.write_bytes(b"damaged")
    assert fetched(server.url("net.pth"), cache=tmp_path, digest=DIGEST) == path
    assert path.read_bytes() == BODY


def test_a_cached_file_outlives_a_download_that_fails(tmp_path, server):
    path = fetched(server.url("net.pth"), cache=tmp_path)
    with pytest.raises(StateError, match="expected"):
        fetched(server.url("net.pth"), cache=tmp_path, digest="00000000")
    assert path.read_bytes() == BODY


@pytest.mark.parametrize(
    ("path", "cause"),
    [("cut/net.pth", "ended at 1000 of 5120 bytes"), ("missing/net.pth", "404")],
)
def test_a_failed_download_names_url_and_place_and_leaves_no_file(tmp_path, server, path, cause):
    with pytest.raises(OSError, match=cause) as caught:
        fetched(server.url(path), cache=tmp_path)
    assert server.url(path) in str(caught.value)
    assert files(tmp_path) == []
    place = Path(str(caught.value).partition("put the file at ")[2].rstrip("."))
    place.write_bytes(BODY)  # by hand
    assert fetched(server.url(path), cache=tmp_path) == place


def test_without_a_server_a_cached_file_is_found_and_another_is_not(tmp_path):
    with Server() as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        path = fetched(server.url("net.pth"), cache=tmp_path)
        server.shutdown()
        thread.join()
    assert fetched(server.url("net.pth"), cache=tmp_path) == path
    with pytest.raises(OSError, match=r"other.pth could not be fetched.*put the file at "):
        fetched(server.url("other.pth"), cache=tmp_path)


def test_a_silent_server_is_not_waited_for_without_end(tmp_path, server, monkeypatch):
    monkeypatch.setattr(locations, "_SILENCE", 0.2)
    with pytest.raises(OSError, match="timed out"):
        fetched(server.url("stall/net.pth"), cache=tmp_path)
    assert files(tmp_path) == []


CHILD = """
import sys
from footplate.engine.checkpoints.locations import fetched
try:
    fetched(sys.argv[1], cache=sys.argv[2])
except KeyboardInterrupt:
    sys.exit(7)
"""


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGKILL])
def test_an_interrupted_download_is_not_taken_for_a_file(tmp_path, server, number):
    url = server.url("stall/net.pth")
    child = subprocess.Popen([sys.executable, "-c", CHILD, url, str(tmp_path)], env=os.environ)
    try:
        assert server.stalled.wait(60)
        begun = time.monotonic()
        while not files(tmp_path) and time.monotonic() - begun < 30:
            time.sleep(0.01)
        child.send_signal(number)
        assert child.wait(30) == (7 if number == signal.SIGINT else -number)
    finally:
        child.kill()
        child.wait()
    assert [name for name in files(tmp_path) if not name.endswith(".part")] == []
    if number == signal.SIGINT:
        assert files(tmp_path) == []
    server.go_on.set()
    server.asked.clear()
    with pytest.raises(OSError, match="ended at 1000"):  # it asks again
        fetched(url, cache=tmp_path)
    assert server.asked == {"/stall/net.pth": 1}


def test_several_at_once_do_not_disturb_each_other(tmp_path, server):
    with ThreadPoolExecutor(8) as pool:
        paths = list(pool.map(lambda _: fetched(server.url("net.pth"), cache=tmp_path), range(16)))
    assert {path.read_bytes() for path in paths} == {BODY}
    assert files(tmp_path) == ["net.pth"]


def test_progress_is_shown_on_stderr_alone(tmp_path, server, capfd):
    fetched(server.url("quiet.pth"), cache=tmp_path)
    assert capfd.readouterr() == ("", "")
    fetched(server.url("net.pth"), cache=tmp_path, progress=True)
    out, err = capfd.readouterr()
    assert out == ""
    assert "net" in err
    assert "100%" in err


@pytest.mark.parametrize("scheme", ["s3", "gs", "hdfs", "file", "open-mmlab", "petrel"])
def test_another_scheme_is_refused_with_what_is_possible(tmp_path, scheme):
    with pytest.raises(ValueError, match=r"a path, http://…, https://… or torchvision://…"):
        fetched(f"{scheme}://bucket/net.pth", cache=tmp_path)


def test_without_torchvision_its_names_say_how_to_install_it(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "torchvision", None)  # importing it fails, as without it
    with pytest.raises(ImportError, match=r"pip install 'footplate\[torchvision\]'"):
        fetched("torchvision://resnet18", cache=tmp_path)


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("resnet18", "https://download.pytorch.org/models/resnet18-f37072fd.pth"),
        ("resnet50", "https://download.pytorch.org/models/resnet50-0676ba61.pth"),
        ("resnet50.IMAGENET1K_V2", "https://download.pytorch.org/models/resnet50-11ad3fa6.pth"),
    ],
)
def test_torchvision_says_where_its_weights_are(tmp_path, monkeypatch, name, url):
    pytest.importorskip("torchvision.models", exc_type=ImportError)
    monkeypatch.setenv("https_proxy", "http://127.0.0.1:9")  # nothing is loaded in fact
    with pytest.raises(OSError, match=url):
        fetched(f"torchvision://{name}", cache=tmp_path)


def test_names_that_torchvision_does_not_know_are_refused_with_the_nearest(tmp_path):
    pytest.importorskip("torchvision.models", exc_type=ImportError)
    with pytest.raises(ValueError, match=r"no model 'resnet19'\. Did you mean 'resnet1"):
        fetched("torchvision://resnet19", cache=tmp_path)
    with pytest.raises(ValueError, match="no weights 'V2' for 'resnet50', but IMAGENET1K_V1"):
        fetched("torchvision://resnet50.V2", cache=tmp_path)
