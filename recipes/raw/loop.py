"""A raw loop: its epochs and batches, the updates of its model, and how it goes on."""

from __future__ import annotations

import sys
import warnings
from collections.abc import Iterator, Mapping
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from ...engine.step.optimization import Optimization
from ...engine.whole import whole
from ...handlers.checkpoint import Checkpoint, Which
from .in_step import InStep, explained
from .model import called, exchanged_nothing
from .processes import Processes
from .standing import Standing
from .stopping import Stopping, stop_for

__all__ = ["RawLoop"]


class RawLoop(Processes):
    """What :func:`~footplate.recipes.raw_loop.setup` gives to a loop.

    Args:
        model: the model, placed already.
        optimization: what steps its optimizer.
        loaders: the data, of which the first is trained on.
        device: where batches go.
        checkpoint: what saves; ``None`` for nothing.
        joined: whether this process has joined others, whom it leaves in the end.

    Attributes:
        model: the model; calling it computes in the precision that was asked for and gives
            float32, and has several processes exchange gradients. The same object as given where
            there is nothing of that to do.
        optimizer: the optimizer.
        device: where model and batches are.
        loaders: the data, their batches moved to the device. Walking over them here counts for
            nothing; :meth:`batches` is what is trained on.

    Example:
        >>> from footplate.recipes.raw_loop import setup
        >>> model = nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> data = [torch.ones(4, 1), torch.zeros(4, 1)]
        >>> def begin():
        ...     return setup(model, sgd, data, device="cpu", checkpoints="raw")
        >>> loop = begin()
        >>> for epoch in loop.epochs(2):
        ...     for x in loop.batches():
        ...         stepped = loop.update(loop.model(x).square().mean())
        ...     path = loop.save()
        >>> loop.iteration
        4
        >>> again = begin()
        >>> path = again.resume()
        >>> list(again.epochs(3))
        [3]
    """

    def __init__(
        self,
        model: nn.Module,
        optimization: Optimization,
        loaders: list[Any],
        device: torch.device,
        checkpoint: Checkpoint | None,
        *,
        joined: bool = False,
    ) -> None:
        super().__init__(device, joined=joined)
        self.model = called(model, optimization, device)
        self.optimizer = optimization.optimizer
        self.loaders = tuple(loaders)
        self._optimization = optimization
        self._checkpoint = checkpoint
        self._standing = Standing(self.loaders[0])
        self._epoch: int | None = None  # given out by epochs()
        self._walk: object = None  # the iterator that counts
        self._trained = False  # whether the batch in hand was
        self._saved_amid: int | None = None  # behind which iteration, if it was amid an epoch
        self._in_step = None if optimization.placement is None else InStep()
        self._stopping: Stopping | None = None  # without checkpoints signals do what they did
        engine = self._standing.engine
        engine.attach(optimization)
        if checkpoint is not None:
            engine.attach(checkpoint)
            checkpoint.opened(engine)  # refuses now what could not be saved later
            self._stopping = Stopping(engine, checkpoint.when.signals)

    @property
    def iteration(self) -> int:
        """Batches taken so far, the one at hand included."""
        return self._standing.iteration

    # ------------------------------------------------------------------ walking

    def epochs(self, n: int) -> Iterator[int]:
        """The numbers of the epochs that are still to come, from 1 up to and including ``n``.

        ``epochs(0)`` has none. Behind a :meth:`resume` that goes on amid an epoch, that epoch
        comes first, once more. Where there are checkpoints, SIGTERM and Ctrl-C are heard meanwhile:
        behind a batch, and behind an epoch, the loop is saved and ends.

        Raises:
            Stopped: by a signal, once the loop is saved.
            KeyboardInterrupt: by Ctrl-C, once it is.
        """
        return self._count(whole("epochs", n, least=0))

    def batches(self) -> Iterator[Any]:
        """The batches of an epoch, on the device, from wherever it stands.

        An epoch is over when they end, or when their loop is left by ``break``; where a variable
        keeps them, as in ``bar = tqdm(loop.batches())``, nothing tells of that ``break``, and
        :meth:`leave` says it. A window that is still open is stepped with, unless it is to be
        carried on: when the batches have ended; and behind a ``break`` with :meth:`save`, or when
        the next epoch is asked for.

        Raises:
            RuntimeError: outside of :meth:`epochs`, and in an epoch that is over.
            DataError: if there are none.
        """
        standing = self._standing
        if self._epoch is None:
            raise RuntimeError(
                "batches() was called outside of an epoch; write `for epoch in loop.epochs(n):` "
                "around it."
            )
        if not standing.is_amid_epoch:
            if standing.epoch == self._epoch:
                raise RuntimeError(
                    f"epoch {self._epoch} is over: its batches have ended, or were left. Go on "
                    f"with the next of loop.epochs(); to look at a batch, take one of "
                    f"loop.loaders[0]."
                )
            standing.begin_epoch()
        return self._batches()

    def update(self, loss: Tensor, weight: float | Tensor | None = None) -> bool:
        """Backward; and once a window of batches is full clip, step, and let the gradients go.

        Where there are several processes, all update for a batch, or none does; and none of them
        steps by hand.

        Args:
            loss: the loss of the batch at hand, a tensor of one number.
            weight: how many samples or tokens it is the mean of, where batches of several sizes
                make a window; all batches weigh the same by default.

        Returns:
            whether the optimizer stepped.

        Raises:
            RuntimeError: if there is no batch at hand.
            TypeError: for a loss that is no tensor.
            ValueError: for one of several numbers.
        """
        if not self._standing.has_batch:
            raise RuntimeError(
                "update() was called with no batch at hand; call it within "
                "`for batch in loop.batches():`, before save()."
            )
        _check_loss(loss)
        if self._in_step is None:
            stepped = self._optimization.update(loss, weight)
        else:
            with self._in_step.updating():
                stepped = self._optimization.update(loss, weight)
        self._trained = True
        return stepped

    def leave(self) -> None:
        """End the epoch under way, as ``break`` does; if it is over, nothing is done.

        Within the loop over :meth:`batches`, which ends by it, or behind it.

        Raises:
            RuntimeError: outside of :meth:`epochs`.
        """
        if self._epoch is None:
            raise RuntimeError(
                "leave() was called outside of an epoch; call it within `for epoch in "
                "loop.epochs(n):`."
            )
        if self._standing.is_amid_epoch:
            self._leave()

    def autocast(self) -> AbstractContextManager[None]:
        """The context in which :attr:`model` computes, for what else should."""
        return self._optimization.precision.autocast(self.device.type)

    # ------------------------------------------------------------------ saving and going on

    def save(self, *, name: str | None = None, meta: Mapping[str, Any] | None = None) -> Path:
        """Save all that the loop needs to go on from here, to the bit.

        Call it within the loop over batches behind :meth:`update`, or behind that loop, as the
        last thing of an epoch: the run goes on with the next batch, or the next epoch. Several
        processes save together; all of them have to call this.

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
        checkpoint, standing = self._saver("save()"), self._standing
        if standing.has_batch:
            if not self._trained:
                raise RuntimeError(
                    "save() was called amid a batch, where nothing can go on to the same bits; "
                    "call it behind update(), or behind the loop over the batches."
                )
            standing.complete()
        if standing.cut and (error := sys.exception()) is not None:  # nobody said `break`
            raise RuntimeError(
                f"save() was called while a {type(error).__name__} is handled that left the loop "
                f"amid a batch; go on from the checkpoint before it. If the rest of the epoch is "
                f"to be left out, call save() behind the except block."
            )
        self._saved_amid = standing.iteration if standing.is_amid_epoch else None
        with explained():
            if not standing.is_amid_epoch:
                self._flush()
            return checkpoint.save(standing.engine, name=name, meta=meta)

    def resume(self, which: Which = "last") -> Path | None:
        """Go on from a checkpoint; call it before :meth:`epochs`, in all processes.

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
        path = checkpoint.resume(self._standing.engine, which)
        if path is not None:
            self._walk, self._trained, self._saved_amid = None, False, None
            self._standing.taken_up()
        return path

    def _saver(self, method: str) -> Checkpoint:
        if self._checkpoint is None:
            raise RuntimeError(f"{method} needs a place; say setup(…, checkpoints='checkpoints').")
        return self._checkpoint

    # ------------------------------------------------------------------ parts of these

    def _count(self, n: int) -> Iterator[int]:
        standing, state = self._standing, self._standing.engine.state
        if n:
            state.max_epochs = max(n, state.epoch)
        try:
            with self._watching(), self._listening():
                while (number := standing.upcoming) <= n:
                    self._epoch = number
                    yield number
                    standing.pass_over(number)
                    if standing.is_amid_epoch:
                        self._tell_of_keeping()
                    self._leave()
                    self._flush()
                    self._serve()
            self.leave_at_exit()
        finally:
            self._epoch = None

    def _batches(self) -> Iterator[Any]:
        standing = self._standing
        walk = self._walk = object()
        try:
            while standing.take():
                self._trained = False
                yield standing.batch
                if self._walk is not walk:  # by leave(), or as another walk goes on from here
                    return
                self._complete()
                self._serve()
            standing.check_not_empty()
            self._flush()
            self._leave(cut=False)
        finally:  # also when the loop is left, and this iterator let go of
            if self._walk is walk:
                self._leave()

    def _complete(self) -> None:
        """Count the batch at hand as done."""
        placement = self._optimization.placement
        if placement is not None and not self._trained and self._standing.has_batch:
            exchanged_nothing(placement)
        self._standing.complete()

    def _serve(self) -> None:
        """End the loop behind a save, if a signal was heard."""
        signum = None if self._stopping is None else self._stopping.due()
        if signum is not None:
            self._saver("a signal").save(self._standing.engine)
            self.leave_at_exit()
            raise stop_for(signum)

    def _leave(self, *, cut: bool = True) -> None:
        """End the epoch under way, if there is one."""
        if self._standing.is_amid_epoch:
            self._complete()
            self._walk = None
        self._standing.leave(cut=cut)

    def _flush(self) -> None:
        """Step with what a window holds, unless it is carried on."""
        with nullcontext() if self._in_step is None else self._in_step.updating():
            self._optimization.epoch_completed(self._standing.engine)

    def _watching(self) -> AbstractContextManager[None]:
        """Have steps by hand refused meanwhile, where processes step together."""
        if self._in_step is None:
            return nullcontext()
        return self._in_step.watching(self.optimizer)

    def _listening(self) -> AbstractContextManager[None]:
        """Hear signals meanwhile, where there is a place to save."""
        return nullcontext() if self._stopping is None else self._stopping.listening()

    def _tell_of_keeping(self) -> None:
        """Warn of a save that was meant to end an epoch, which nobody knew was left."""
        if self._saved_amid == self._standing.iteration:
            warnings.warn(
                f"epoch {self._epoch} was left behind a save(), which goes on with the rest of it, "
                f"as something keeps its batches, such as `bar = tqdm(loop.batches())`. If it was "
                f"to end the epoch, call loop.leave() before save(), or in place of `break`.",
                RuntimeWarning,
                stacklevel=3,
            )


def _check_loss(loss: Any) -> None:
    if not isinstance(loss, Tensor):
        raise TypeError(f"update() takes the loss of a batch, a tensor, given {loss!r:.80}.")
    if loss.numel() != 1:
        raise ValueError(
            f"update() takes the loss of a batch as one number, given a tensor of shape "
            f"{tuple(loss.shape)}; give its mean(), or its sum()."
        )
