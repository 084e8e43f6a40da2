"""Saving while training goes on: a copy in the host's memory, and a thread that writes it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Thread
from typing import Any

import numpy as np
import torch
from torch import Tensor

from .plain import identity, in_storage, mapped, storage_of, tensors_of, wholly_used

__all__ = ["BackgroundSave", "HostCopy"]

_PIECE = 8 * 2**20  # bytes that one thread copies at once
_THREADS = 4  # more don't make memory faster


class HostCopy:
    """Copies of nested tensors in the host's memory, which is kept for the next one.

    What shares memory shares it in the copy, too. Host memory is pinned where the tensors come
    from an accelerator, so that copying waits once for all of them.

    Example:
        >>> weight = torch.ones(2)
        >>> copy = HostCopy().of({"weight": weight, "again": [weight]})
        >>> _ = weight.zero_()
        >>> copy["weight"].tolist(), copy["again"][0] is copy["weight"]
        ([1.0, 1.0], True)
    """

    def __init__(self) -> None:
        self._buffers: dict[tuple[int, bool], list[Tensor]] = {}  # by size in bytes and pinned

    def of(self, tree: Any) -> Any:
        """Copy nested plain values; the copy made before must not be in use any longer.

        Args:
            tree: tensors and primitives in dicts, lists, tuples and sets.

        Returns:
            the same of tensors in the host's memory, without graphs.
        """
        tensors = list(tensors_of(tree))
        copies = _Copies(tensors, self._buffers)
        copied = mapped(tree, copies.of)
        _copy_all(copies.waiting)
        for device in {one.device for one in tensors if one.device.type != "cpu"}:
            torch.accelerator.synchronize(device)
        self._buffers = copies.taken
        return copied


class _Copies:
    """One copy of many tensors: buffers to take from, what was taken, and what was copied."""

    def __init__(
        self, tensors: list[Tensor], buffers: dict[tuple[int, bool], list[Tensor]]
    ) -> None:
        self.taken: dict[tuple[int, bool], list[Tensor]] = {}
        self._free = {kind: list(some) for kind, some in buffers.items()}
        self._whole = wholly_used(tensors)
        self._done: dict[object, Tensor] = {}
        self.waiting: list[tuple[Tensor, Tensor]] = []  # bytes: to, from

    def of(self, tensor: Tensor) -> Tensor:
        """The copy of a tensor, made once."""
        key = identity(tensor)
        if key not in self._done:
            self._done[key] = self._made(tensor.detach())
        return self._done[key]

    def _made(self, tensor: Tensor) -> Tensor:
        storage = storage_of(tensor)
        if storage in self._whole:
            return self._view(storage, tensor)
        if not in_storage(tensor):
            return tensor.to("cpu", copy=True)
        host = self._buffer(tensor.nbytes, tensor).view(tensor.dtype).view(tensor.shape)
        return host.copy_(tensor, non_blocking=True)

    def _view(self, storage: object, tensor: Tensor) -> Tensor:
        """A view of the copy of a storage, placed in it as the tensor is in the storage."""
        key = ("storage", storage)
        if key not in self._done:
            there = torch.empty(0, dtype=torch.uint8, device=tensor.device)
            there.set_(tensor.untyped_storage())
            self._done[key] = self._buffer(there.numel(), there)
            if there.device.type == "cpu":
                self.waiting.append((self._done[key], there))
            else:
                self._done[key].copy_(there, non_blocking=True)
        host = torch.empty(0, dtype=tensor.dtype)
        placed = tensor.storage_offset(), tensor.shape, tensor.stride()
        host.set_(self._done[key].untyped_storage(), *placed)
        host = host.conj() if tensor.is_conj() else host
        return torch._neg_view(host) if tensor.is_neg() else host

    def _buffer(self, size: int, source: Tensor) -> Tensor:
        """Bytes of the host's memory, used before where there are any of that size."""
        kind = size, source.is_cuda
        free = self._free.get(kind)
        buffer = free.pop() if free else torch.empty(size, dtype=torch.uint8, pin_memory=kind[1])
        self.taken.setdefault(kind, []).append(buffer)
        return buffer


def _copy_all(pairs: list[tuple[Tensor, Tensor]]) -> None:
    """Copy bytes within the host, the second of each pair into the first.

    Not by torch, whose threads wait for each other's equal shares, and for long where other
    processes keep the cores busy, as those that load data do.
    """
    pieces = [
        (host[begin : begin + _PIECE].numpy(), source[begin : begin + _PIECE].numpy())
        for host, source in pairs
        for begin in range(0, len(host), _PIECE)
    ]
    if sum(host.nbytes for host, _ in pieces) < 2 * _PIECE:  # sooner done than shared out
        for host, source in pieces:
            np.copyto(host, source)
        return
    with ThreadPoolExecutor(min(_THREADS, torch.get_num_threads())) as pool:
        for _ in pool.map(lambda pair: np.copyto(*pair), pieces):
            pass


class BackgroundSave:
    """One save at a time in a thread of its own.

    The interpreter waits for it at its end. Nothing stays behind when a save is done.

    Example:
        >>> saving, done = BackgroundSave(), []
        >>> saving.start(lambda: done.append("saved"))
        >>> saving.wait()
        >>> saving.check()
        >>> done
        ['saved']
    """

    def __init__(self) -> None:
        self._thread: Thread | None = None
        self._error: BaseException | None = None

    def start(self, function: Callable[[], object], *, daemon: bool = False) -> None:
        """Begin to save; the save before is waited for.

        Args:
            function: saves.
            daemon: whether the interpreter may end without it.

        Raises:
            BaseException: what the save before failed by; this one has not begun then.
        """
        self.wait()
        self.check()
        self._thread = Thread(
            target=self._run, args=(function,), name="footplate-save", daemon=daemon
        )
        try:
            self._thread.start()
        except RuntimeError:  # no thread starts at the interpreter's end
            self._thread = None
            function()

    def wait(self, seconds: float | None = None) -> None:
        """Wait until the save that was begun is done or has failed.

        Args:
            seconds: how long at most; one that takes longer is left to itself then.
        """
        if self._thread is not None:
            self._thread.join(seconds)
            self._thread = None

    def check(self) -> None:
        """Raise what the last save failed by, once; it does not wait.

        Raises:
            BaseException: the error itself.
        """
        error, self._error = self._error, None
        if error is not None:
            raise error

    def _run(self, function: Callable[[], object]) -> None:
        time.sleep(0.001)  # training goes on first, and does not wait for its turn
        try:
            function()
        except BaseException as error:  # raised in the thread that asks
            self._error = error
