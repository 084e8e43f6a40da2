"""A server of files on this machine, which can break off in the midst of one."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

__all__ = ["Served", "serving"]


class Served:
    """What a server serves, and what it was asked for.

    Attributes:
        files: by name.
        asked: the names that were asked for, in order.
        missing: bytes that are held back at the end of each file.
        sized: whether it says beforehand how many bytes come.
        address: in front of the names.
    """

    def __init__(self, files: dict[str, bytes]) -> None:
        self.files, self.asked, self.missing, self.sized = files, [], 0, True
        self.address = ""


@contextmanager
def serving(files: dict[str, bytes]) -> Iterator[Served]:
    """A server on 127.0.0.1, for as long as the block runs."""
    served = Served(files)

    class Answer(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            name = self.path.removeprefix("/")
            served.asked.append(name)
            if name not in served.files:
                self.send_error(404)
                return
            body = served.files[name]
            self.send_response(200)
            if served.sized:
                self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body[: len(body) - served.missing])

        def log_message(self, *_: object) -> None:
            pass

    with ThreadingHTTPServer(("127.0.0.1", 0), Answer) as server:
        served.address = f"http://127.0.0.1:{server.server_port}"
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield served
        finally:
            server.shutdown()
            thread.join()
