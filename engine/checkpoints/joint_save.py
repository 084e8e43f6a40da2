"""One checkpoint that several processes write: who says what, and when."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from threading import Event, Thread
from typing import Any

import torch

from .reading import state_name
from .share import Share
from .store import Files, write_state

__all__ = ["JointSave", "raise_of_another", "told_of"]

_BEAT = 1.0  # seconds
_DIRECTORY, _FILES, _OUTCOME, _NOTHING = range(4)  # what the processes talk about next


class JointSave:
    """How the processes write one checkpoint; the first one's store calls the first two methods.

    Each step is taken by all of them: they hear of the directory, or that there is none; each
    writes, and says what, or by what it failed; they hear that the checkpoint is in its place, or
    is not. Use it as a context manager.

    Args:
        group: the processes, who talk about nothing else meanwhile.
        own: the number of this one.
        share: what it writes.
    """

    def __init__(self, group: Any, own: int, share: Share) -> None:
        self._group, self._own, self._share = group, own, share
        self._files: Files = {}
        self._error: Exception | None = None
        self._next = _DIRECTORY
        self._pulse = _Pulse(group)

    def __enter__(self) -> JointSave:
        return self

    def __exit__(self, *_: object) -> None:
        """Leave the others to themselves where this process was interrupted."""
        self._pulse.abandon()

    def begin(self, directory: Path) -> None:
        """Have them write into a directory."""
        self._hear((str(directory), None))
        self._write(directory)

    def files(self, written: Files) -> Files:
        """All files that there are, once all processes have written theirs."""
        return self._all({**written, **self._files})

    def tell(self, outcome: Path | Exception) -> None:
        """Have the others know how it ended, if they don't yet."""
        failed = isinstance(outcome, Exception)
        if isinstance(outcome, Exception):
            self.wait(outcome)
        if self._next in (_DIRECTORY, _OUTCOME):
            self._hear((None, told_of(outcome)) if failed else (str(outcome), None))

    def wait(self, error: Exception) -> None:
        """Have the others hear of an error while they write, once they have written all."""
        if self._next == _FILES:
            self._error = self._error or error
            self._gather({})

    def follow(self) -> Path:
        """Take part, as one of the others."""
        self._write(Path(self._heard()))
        self._all(self._files)
        return Path(self._heard())

    def _write(self, directory: Path) -> None:
        """Write this process's own files; if that fails, all are told of it later."""
        try:
            write_pieces = self._planned(directory)
            self._pulse.start()
            if self._own and not directory.is_dir():
                raise FileNotFoundError(
                    f"rank {self._own} sees no {directory}, which rank 0 has made; all of them "
                    f"have to write to one disk, such as one that their hosts share."
                )
            self._files |= write_pieces()
            if self._own:
                self._files |= write_state(directory / state_name(self._own), self._share.state)
        except Exception as error:
            self._error = error

    def _planned(self, directory: Path) -> Callable[[], Files]:
        if not self._share.pieces:  # then no process has any
            return dict
        from .shard_files import planned

        return planned(directory, self._share.pieces, self._group)

    def _all(self, own: Files) -> Files:
        told = self._gather(own)
        first_failed = told[0][1] is not None  # which all are told of then
        if self._error is not None and not (first_failed and self._own):
            raise self._error
        raise_of_another([error for _, error in told])
        return {name: one for files, _ in told for name, one in files.items()}

    def _gather(self, own: Files) -> list[tuple[Files, str | None]]:
        import torch.distributed as dist

        self._next = _NOTHING
        self._pulse.stop()
        told: list[Any] = [None] * dist.get_world_size(self._group)
        mine = (own, None if self._error is None else told_of(self._error))
        dist.all_gather_object(told, mine, group=self._group)
        if not any(error for _, error in told):
            self._next, self._pulse = _OUTCOME, _Pulse(self._group)
            self._pulse.start()  # as the first one may be sending it somewhere else
        return told

    def _hear(self, said: tuple[str | None, str | None]) -> tuple[str | None, str | None]:
        import torch.distributed as dist

        heard, before, self._next = [said], self._next, _NOTHING
        if before == _OUTCOME:
            self._pulse.stop()
        dist.broadcast_object_list(heard, src=0, group=self._group)
        if before == _DIRECTORY and heard[0][0] is not None:
            self._next = _FILES
        return heard[0]

    def _heard(self) -> str:
        path, error = self._hear((None, None))
        if path is None:
            raise RuntimeError(f"the checkpoint could not be saved: rank 0 failed with {error}")
        return path


class _Pulse:
    """Has the processes know of each other while they write, for however long that takes.

    A thread in each says about once a second whether its process has written all. So one that
    hangs is noticed within the time that processes wait for each other, and a slow disk is not
    taken for that.
    """

    def __init__(self, group: Any) -> None:
        self._group = group
        self._done = Event()
        self._given_up = False
        self._thread: Thread | None = None
        self._error: Exception | None = None

    def start(self) -> None:
        """Begin, as all processes do at this point."""
        self._thread = Thread(target=self._beat, name="footplate-pulse", daemon=True)
        self._thread.start()

    def stop(self) -> None:
        """Say that this process has written all, and wait until all have.

        Raises:
            RuntimeError: if one does not answer.
        """
        self._done.set()
        if self._thread is not None:
            self._thread.join()
        if self._error is not None:
            raise self._error

    def abandon(self) -> None:
        """Say nothing any longer."""
        self._given_up = True
        self._done.set()

    def _beat(self) -> None:
        import torch.distributed as dist

        try:
            while True:
                done = self._done.wait(_BEAT)
                if self._given_up:
                    return
                all_done = torch.tensor([done], dtype=torch.uint8)
                dist.all_reduce(all_done, dist.ReduceOp.MIN, group=self._group)
                if all_done.item():
                    return
        except Exception as error:  # raised where it is waited for
            self._error = error


def raise_of_another(errors: list[str | None]) -> None:
    """Raise an error that tells of the first process that has one."""
    for number, error in enumerate(errors):
        if error is not None:
            raise RuntimeError(f"rank {number} failed with {error}")


def told_of(error: Any) -> str:
    """An error as others hear of it."""
    return f"{type(error).__name__}: {error}"
