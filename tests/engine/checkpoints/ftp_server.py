"""A small FTP server of a folder, as the standard library has none."""

import socketserver
import threading
from contextlib import contextmanager
from pathlib import Path


class Session(socketserver.StreamRequestHandler):
    """The commands that fsspec gives, each a method."""

    disable_nagle_algorithm = True

    def handle(self):
        self.begin, self.data = 0, None
        self.say(220, "ready")
        while line := self.rfile.readline().decode().strip():
            command, _, argument = line.partition(" ")
            try:
                getattr(self, command.lower(), self.unknown)(argument)
            except OSError as error:
                self.say(550, str(error))
            if self.data is not None and command not in ("PASV", "REST"):
                self.data.server_close()

    def say(self, number, text):
        self.wfile.write(f"{number} {text}\r\n".encode())

    def place(self, path):
        return self.server.folder / path.lstrip("/")

    def unknown(self, _):
        self.say(502, "what?")

    def user(self, name):
        self.say(230, "welcome")

    def type(self, kind):
        self.say(200, "yes")

    def rest(self, begin):
        self.begin = int(begin)
        self.say(350, "go on")

    def pasv(self, _):
        self.data = socketserver.TCPServer(("127.0.0.1", 0), None)
        high, low = divmod(self.data.server_address[1], 256)
        self.say(227, f"(127,0,0,1,{high},{low})")

    @contextmanager
    def channel(self):
        self.say(150, "here it comes")
        connection, _ = self.data.get_request()
        with connection, connection.makefile("rwb") as file:
            yield file
        self.say(226, "done")

    def mlsd(self, path):
        lines = [
            f"type={'dir' if one.is_dir() else 'file'};size={one.stat().st_size}; {one.name}\r\n"
            for one in self.place(path).iterdir()
        ]
        with self.channel() as file:
            file.write("".join(lines).encode())

    def retr(self, path):
        data = self.place(path).read_bytes()
        begin, self.begin = self.begin, 0
        with self.channel() as file:
            file.write(data[begin:])

    def stor(self, path):
        begin, self.begin = self.begin, 0
        with self.place(path).open("r+b" if begin else "wb") as to, self.channel() as file:
            to.seek(begin)
            to.write(file.read())

    def dele(self, path):
        self.place(path).unlink()
        self.say(250, "gone")

    def mkd(self, path):
        self.place(path).mkdir()
        self.say(257, f'"{path}"')

    def rmd(self, path):
        self.place(path).rmdir()
        self.say(250, "gone")


class Server(socketserver.ThreadingTCPServer):
    daemon_threads = True

    def __init__(self, folder):
        self.folder = folder
        super().__init__(("127.0.0.1", 0), Session)


@contextmanager
def serving(folder: Path):
    """Serve a folder; gives the port."""
    with Server(folder) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,))
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()
