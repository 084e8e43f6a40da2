"""A file system of fsspec on the disk, which fails on demand."""

import errno
import os
from pathlib import Path

from fsspec import register_implementation
from fsspec.implementations.local import LocalFileSystem


class Faulty(LocalFileSystem):
    """Counts the calls that change something, notes them, and fails at one of them.

    Where it fails to write, half of the bytes are there.
    """

    protocol = "faulty"
    log: list[str] = []  # noqa: RUF012  # shared by all instances, as the disk is
    fail_at: int | None = None
    lasting = False  # whether all later calls fail, too
    kind = "ENOSPC"

    @classmethod
    def arm(cls, fail_at=None, *, lasting=False, kind="ENOSPC"):
        cls.log, cls.fail_at, cls.lasting, cls.kind = [], fail_at, lasting, kind

    @classmethod
    def _strip_protocol(cls, path):
        return super()._strip_protocol(str(path).removeprefix("faulty://"))

    def _note(self, call, path):
        """Whether the call is to be left undone."""
        self.log.append(f"{call} {Path(path).name}")
        at = len(self.log) - (self.fail_at or len(self.log) + 1)
        if at != 0 and not (at > 0 and self.lasting):
            return False
        if self.kind == "exit":
            os._exit(9)
        if self.kind == "strange":
            raise RuntimeError("the server is on fire")
        if self.kind == "ENOSPC":
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        return True

    def put_file(self, lpath, rpath, **options):
        self.pipe_file(rpath, Path(lpath).read_bytes())

    def pipe_file(self, path, value, **options):
        path = Path(self._strip_protocol(path))
        path.write_bytes(value[: len(value) // 2])
        if not self._note("write", path):
            path.write_bytes(value)

    def rm_file(self, path):
        self._note("remove", path)
        super().rm_file(path)

    def makedirs(self, path, exist_ok=False):
        self._note("make", path)
        super().makedirs(path, exist_ok=exist_ok)


register_implementation("faulty", Faulty, clobber=True)
