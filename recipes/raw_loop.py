"""A training loop that stays your own, and gains what an engine has.

Device, precision, accumulation, clipping, checkpoints, and going on to the bit after a kill, for
some five changed lines::

    loop = setup(model, optimizer, loader, precision="bf16", checkpoints="checkpoints")
    loop.resume()
    for epoch in loop.epochs(10):
        for x, y in loop.batches():
            loss = F.cross_entropy(loop.model(x), y)
            loop.update(loss)
        loop.save()
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.optim import Optimizer
from torch.utils.data import DataLoader

from footplate.engine.data.device import DeviceLoader
from footplate.engine.data.torch_loader import goes_by_indices
from footplate.engine.engine import Engine
from footplate.engine.errors import DataError
from footplate.engine.nested import map_nested
from footplate.engine.passes import moves_with_batches, passes_over
from footplate.engine.placement.devices import device_of
from footplate.engine.random import preserved
from footplate.engine.samplers import loaders_in
from footplate.engine.source import END, NOTHING, length_of
from footplate.engine.state import Next
from footplate.engine.step.accumulation import Accumulation
from footplate.engine.step.optimization import Clip, Optimization
from footplate.engine.step.precision import Precision
from footplate.engine.whole import whole
from footplate.handlers.checkpoint import Checkpoint, Which

__all__ = ["RawLoop", "setup"]


def setup(
    model: nn.Module,
    optimizer: Optimizer,
    *loaders: Any,
    device: str | int | torch.device = "auto",
    precision: str | Precision | None = None,
    accumulate: int | Mapping[int, int] | Accumulation | None = None,
    clip: Clip | None = None,
    checkpoints: str | Path | Checkpoint | None = None,
    others: Mapping[str, Any] | None = None,
) -> RawLoop:
    """Make ready what a loop of your own needs.

    Args:
        model: the model; it is moved to the device.
        optimizer: its optimizer.
        loaders: data. The first are those that are trained on, and whose place is saved; all have
            their batches moved to the device.
        device: ``"auto"`` for CUDA where there is any, else MPS, else the CPU; or a device.
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"`` or a :class:`.Precision`.
        accumulate: batches that make one optimizer step, ``{epoch: batches}``, or an
            :class:`.Accumulation`.
        clip: what bounds the gradients, as ``ClipNorm(1.0)``.
        checkpoints: the directory, or a URL, that checkpoints go to; or a :class:`.Checkpoint`,
            for how many to keep and the like. Its events never fire here: :meth:`RawLoop.save`
            says when.
        others: what else is saved, by name, such as a schedule of the learning rate.

    Raises:
        TypeError: without a loader, for what is no model or optimizer, for others without a state.
        ValueError: for a device that is not there, and options that contradict each other.

    Example:
        >>> import tempfile
        >>> folder = tempfile.mkdtemp()
        >>> def made() -> RawLoop:
        ...     model = nn.Linear(1, 1)
        ...     sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        ...     return setup(model, sgd, [torch.ones(4, 1)] * 3, device="cpu", checkpoints=folder)
        >>> loop = made()
        >>> for epoch in loop.epochs(2):
        ...     for x in loop.batches():
        ...         _ = loop.update((loop.model(x) - x).square().mean())
        ...     _ = loop.save()
        >>> again = made()
        >>> again.resume().name, list(again.epochs(3))
        ('00000006', [3])
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"setup() takes a model of torch first, given {model!r:.80}.")
    if not loaders:
        raise TypeError("setup() was given no data; give what is trained on behind the optimizer.")
    place = device_of(device)
    optimization = Optimization(
        optimizer,
        precision="fp32" if precision is None else precision,
        accumulate=1 if accumulate is None else accumulate,
        clip=clip,
    )
    saver = _checkpoint(checkpoints, model, others)
    moved = [DeviceLoader(one, place) for one in loaders]
    _move(model, optimizer, place)
    return RawLoop(model, optimization, moved, place, saver)


class RawLoop:
    """What :func:`setup` gives to a loop.

    Attributes:
        model: the model; calling it computes in the precision that was asked for, and gives
            float32. The same object as given if that is fp32.
        optimizer: the optimizer.
        device: where model and batches are.
        loaders: the data, their batches moved to the device. Walking over them here counts for
            nothing; :meth:`batches` is what is trained on.
    """

    def __init__(
        self,
        model: nn.Module,
        optimization: Optimization,
        loaders: list[DeviceLoader],
        device: torch.device,
        checkpoint: Checkpoint | None,
    ) -> None:
        precision = optimization.precision
        halved = precision.dtype is not None
        self.model = _Autocast(model, precision, device.type) if halved else model
        self.optimizer = optimization.optimizer
        self.device = device
        self.loaders = tuple(loaders)
        self._optimization = optimization
        self._checkpoint = checkpoint
        self._engine = Engine(_no_step, name="train")  # never runs: it holds where the loop stands
        self._engine.attach(optimization)
        self._engine.state.dataloader = self.loaders[0]
        self._keeps_place = _keeps_place(self.loaders[0])
        self._epoch: int | None = None  # given out by epochs()
        self._walk: object = None  # the iterator that counts
        self._trained = False  # whether the batch in hand was
        self._cut = False  # whether the epoch was left before its batches had ended
        self._resumed = False  # whether no epoch has begun since
        if checkpoint is not None:
            self._engine.attach(checkpoint)
            checkpoint.opened(self._engine)  # refuses now what could not be saved later

    @property
    def iteration(self) -> int:
        """Batches taken so far, the one at hand included."""
        return self._engine.state.iteration

    # ------------------------------------------------------------------ walking

    def epochs(self, n: int) -> Iterator[int]:
        """The numbers of the epochs that are still to come, from 1 up to and including ``n``.

        Behind a :meth:`resume` that goes on amid an epoch, that epoch comes first, once more.
        """
        return self._count(whole("epochs", n))

    def batches(self) -> Iterator[Any]:
        """The batches of an epoch, on the device, from wherever it stands.

        An epoch is over when they end, or when their loop is left by ``break``; don't keep the
        iterator in a variable then. A window that is still open is stepped with, unless it is to
        be carried on: when the batches have ended; and behind a ``break`` with :meth:`save`, or
        when the next epoch is asked for.

        Raises:
            RuntimeError: outside of :meth:`epochs`, and in an epoch that is over.
            DataError: if there are none.
        """
        if self._epoch is None:
            raise RuntimeError(
                "batches() was called outside of an epoch; write `for epoch in loop.epochs(n):` "
                "around it."
            )
        if self._engine.progress.next is not Next.ITERATION:
            if self._engine.state.epoch == self._epoch:
                raise RuntimeError(
                    f"epoch {self._epoch} is over: its batches have ended, or were left. Go on "
                    f"with the next of loop.epochs(); to look at a batch, take one of "
                    f"loop.loaders[0]."
                )
            self._begin_epoch()
        return self._batches()

    def update(self, loss: Tensor, weight: float | Tensor | None = None) -> bool:
        """Backward; and once a window of batches is full clip, step, and let the gradients go.

        Args:
            loss: the loss of the batch at hand, a scalar tensor.
            weight: how many samples or tokens it is the mean of, where batches of several sizes
                make a window; all batches weigh the same by default.

        Returns:
            whether the optimizer stepped.

        Raises:
            RuntimeError: if there is no batch at hand.
        """
        if self._engine.source.in_hand is NOTHING:
            raise RuntimeError(
                "update() was called with no batch at hand; call it within "
                "`for batch in loop.batches():`, before save()."
            )
        stepped = self._optimization.update(loss, weight)
        self._trained = True
        return stepped

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which :attr:`model` computes, for what else should."""
        return self._optimization.precision.autocast(self.device.type)

    # ------------------------------------------------------------------ saving and going on

    def save(self, *, name: str | None = None, meta: Mapping[str, Any] | None = None) -> Path:
        """Save all that the loop needs to go on from here, to the bit.

        Call it within the loop over batches behind :meth:`update`, or behind that loop, as the
        last thing of an epoch: the run goes on with the next batch, or the next epoch.

        Args:
            name: of the checkpoint's directory, which is never taken away then; by default the
                iteration.
            meta: what to note in the manifest besides.

        Returns:
            the checkpoint's directory.

        Raises:
            RuntimeError: if the batch at hand was not trained on yet, or there is nowhere to go.
            OSError: if the disk does not take it; what was there before still is.
        """
        checkpoint, engine = self._saver("save()"), self._engine
        if engine.source.in_hand is not NOTHING:
            if not self._trained:
                raise RuntimeError(
                    "save() was called amid a batch, where nothing can go on to the same bits; "
                    "call it behind update(), or behind the loop over the batches."
                )
            self._complete()
        if self._cut and (error := sys.exception()) is not None:  # nobody said `break`
            raise RuntimeError(
                f"save() was called while a {type(error).__name__} is handled that left the loop "
                f"amid a batch; go on from the checkpoint before it. If the rest of the epoch is "
                f"to be left out, call save() behind the except block."
            )
        if engine.progress.next is not Next.ITERATION:
            self._flush()
        return checkpoint.save(engine, name=name, meta=meta)

    def resume(self, which: Which = "last") -> Path | None:
        """Go on from a checkpoint; call it before :meth:`epochs`.

        Args:
            which: ``"last"``, ``"best"``, or the name or path of one; see
                :meth:`.Checkpoint.resume`.

        Returns:
            the checkpoint's directory; ``None`` if there is none yet, and nothing was changed.

        Raises:
            RuntimeError: within an epoch.
            StateError: if the checkpoint does not fit what is there.
        """
        checkpoint = self._saver("resume()")
        if self._epoch is not None:
            raise RuntimeError("resume() was called within an epoch; call it before loop.epochs().")
        path = checkpoint.resume(self._engine, which)
        if path is not None:
            self._walk, self._trained, self._cut, self._resumed = None, False, False, True
        return path

    def _saver(self, method: str) -> Checkpoint:
        if self._checkpoint is None:
            raise RuntimeError(f"{method} needs a place; say setup(…, checkpoints='checkpoints').")
        return self._checkpoint

    # ------------------------------------------------------------------ where the loop stands

    def _count(self, n: int) -> Iterator[int]:
        state, progress = self._engine.state, self._engine.progress
        state.max_epochs = max(n, state.epoch)
        try:
            while (number := state.epoch + (progress.next is not Next.ITERATION)) <= n:
                self._epoch = number
                yield number
                if state.epoch < number:  # no batch was asked for
                    state.epoch = number
                self._leave()
                self._flush()
        finally:
            self._epoch = None

    def _begin_epoch(self) -> None:
        state, progress, source = self._engine.state, self._engine.progress, self._engine.source
        data = self.loaders[0]
        if self._resumed and self._keeps_place and source.position is not None:
            with preserved():  # they have to be where they were, to begin the next pass from there
                source.take(data)
            source.in_hand = NOTHING
        source.restart(data)
        state.epoch, state.epoch_length = state.epoch + 1, length_of(data)
        progress.epoch_iteration, progress.next = 0, Next.ITERATION
        self._cut = self._resumed = False

    def _batches(self) -> Iterator[Any]:
        state, progress, source = self._engine.state, self._engine.progress, self._engine.source
        walk = self._walk = object()
        try:
            while source.take(self.loaders[0]) is not END:
                state.iteration += 1
                self._trained = False
                yield source.in_hand
                self._complete()
            if not progress.epoch_iteration:
                raise DataError(
                    f"pass {source.passes} over the data gave no batch; give data that can be "
                    f"iterated over again, such as a list or a DataLoader."
                )
            self._flush()
            self._leave(cut=False)
        finally:  # also when the loop is left, and this iterator let go of
            if self._walk is walk:
                self._leave()

    def _complete(self) -> None:
        """Count the batch at hand as done."""
        progress, source = self._engine.progress, self._engine.source
        if source.in_hand is not NOTHING:
            source.in_hand = NOTHING
            progress.epoch_iteration += 1
            progress.stand(self._engine.state)

    def _leave(self, *, cut: bool = True) -> None:
        """End the epoch under way, if there is one."""
        progress = self._engine.progress
        if progress.next is Next.ITERATION:
            self._complete()
            self._cut, self._walk = cut, None
            if cut:
                self._engine.source.close()  # and so its worker processes
        progress.next = Next.EPOCH_STARTED
        progress.stand(self._engine.state)

    def _flush(self) -> None:
        """Step with what a window holds, unless it is carried on."""
        self._optimization.epoch_completed(self._engine)


class _Autocast(nn.Module):
    """A model that computes by autocast, and gives float32; it has the names of the model."""

    def __init__(self, model: nn.Module, precision: Precision, device_type: str) -> None:
        super().__init__()
        self.module = model
        self._precision, self._device_type = precision, device_type

    def forward(self, *args: Any, **kwargs: Any) -> Any:
        with self._precision.autocast(self._device_type):
            outputs = self.module(*args, **kwargs)
        return map_nested(_full, outputs, kind=Tensor)

    def state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.state_dict(*args, **kwargs)

    def load_state_dict(self, *args: Any, **kwargs: Any) -> Any:
        return self.module.load_state_dict(*args, **kwargs)

    def __getattr__(self, name: str) -> Any:
        try:
            return super().__getattr__(name)
        except AttributeError:
            return getattr(super().__getattr__("module"), name)


def _full(tensor: Tensor) -> Tensor:
    return tensor.float() if tensor.dtype in (torch.float16, torch.bfloat16) else tensor


def _no_step(engine: Engine, batch: Any) -> None:
    raise RuntimeError("this engine holds the state of a raw loop, and is not to be run.")


def _keeps_place(data: Any) -> bool:
    """Whether data have a state of their own, in which their place is."""
    loaders = (one for one in loaders_in(data) if isinstance(one, DataLoader))
    return moves_with_batches(passes_over(data)) and not any(map(goes_by_indices, loaders))


def _checkpoint(
    given: str | Path | Checkpoint | None, model: nn.Module, others: Mapping[str, Any] | None
) -> Checkpoint | None:
    if isinstance(given, (str, Path)):
        return Checkpoint(given, model, others)
    if others:
        raise ValueError(
            "others= are saved in checkpoints= by a path; where that is a Checkpoint(…), give them "
            "to it, and without checkpoints= leave them out."
        )
    return given


def _move(model: nn.Module, optimizer: Optimizer, device: torch.device) -> None:
    """Move a model, and what its optimizer knows of its parameters."""
    before = list(model.parameters())
    moves = any(one.device.type != device.type for one in before)
    model.to(device)
    if any(one is not other for one, other in zip(before, model.parameters(), strict=True)):
        raise ValueError(
            f"moving {type(model).__name__} to {str(device)!r} has given it other parameters than "
            f"the optimizer has; move it before its optimizer is made."
        )
    if moves and optimizer.state:  # its tensors follow the parameters only when they are loaded
        optimizer.load_state_dict(optimizer.state_dict())
