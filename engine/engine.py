"""The engine: what people call. Its loop stands in :mod:`footplate.engine.loop`."""

from __future__ import annotations

import logging
import signal
import threading
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Literal

from .beginning import begin, check_data
from .bus import Bus
from .channel import Suspended
from .handler import Handler
from .loop import Loop
from .random import capture, restore
from .serialization import LoadReport, dump, load
from .signature import check_process_function
from .state import State, Status
from .stopping import current_engine, running, stop_of
from .stream.history import History, names_of
from .stream.scalars import VALUE_LOGGED

__all__ = ["Engine"]


class Engine(Loop):
    """Walks over data, calls a function on each batch, and fires events around it.

    The order of the events is written down at :class:`~footplate.engine.loop.Loop`.

    A handler may call :meth:`terminate`, :meth:`terminate_epoch` or :meth:`interrupt`. Whatever
    raises, EXCEPTION_RAISED fires, and the exception goes on to the caller of :meth:`run`, with
    notes that say where it came from.

    Args:
        process_function: called as ``process_function(engine, batch)``; what it returns is
            ``engine.state.output``. If it is a :class:`~footplate.engine.handler.Handler` with a
            ``__call__``, it is attached: its methods are connected and its state is saved.
        bus: the bus to fire on; one of its own by default.
        name: what the engine is called in errors and plans; also its role, ``"train"`` say, for
            class handlers.

    Raises:
        HandlerError: if the process function can't be called that way.

    Example:
        >>> from footplate import Engine, Events
        >>> summer = Engine(lambda engine, batch: sum(batch))
        >>> @summer.on(Events.ITERATION_COMPLETED)
        ... def show(engine):
        ...     print(engine.state.epoch, engine.state.iteration, engine.state.output)
        >>> state = summer.run([(1, 2), (3, 4)], max_epochs=2)
        1 1 3
        1 2 7
        2 3 3
        2 4 7
        >>> state.reason == "completed"
        True
    """

    def __init__(
        self,
        process_function: Callable[[Engine, Any], Any],
        *,
        bus: Bus | None = None,
        name: str | None = None,
    ) -> None:
        check_process_function(process_function)
        super().__init__(process_function, bus=bus, name=name)
        self.logger = logging.getLogger("footplate.engine")
        self.interrupt_resume_enabled = True
        self.state_dict_user_keys: list[str] = []
        self.history = History()
        self._said_unheard = False
        self._signals: set[int] = set()
        self._claim = threading.Lock()  # held by the run
        if isinstance(process_function, Handler):  # a step with events and a state of its own
            self.attach(process_function)

    # ------------------------------------------------------------------ running

    def run(
        self,
        data: Any = None,
        max_epochs: float | None = None,
        max_iters: float | None = None,
        epoch_length: int | None = None,
    ) -> State:
        """Run over data until a limit is reached.

        The first run, and any run after one that is done, starts anew. After :meth:`interrupt`,
        :meth:`terminate`, an error or :meth:`load_state_dict` the run goes on where it stood; so
        does a finished run that is given a larger limit. Setting ``state.max_epochs`` and
        ``state.max_iters`` to ``None`` makes the next run start anew.

        Args:
            data: anything that can be iterated over: sized, unsized, endless or one-shot. Without
                data, batches are ``None`` and ``epoch_length`` is needed. A run that goes on
                keeps its data if it is given none.
            max_epochs: epochs to run in all; 1 by default, and ``math.inf`` for no end.
            max_iters: iterations to run in all, in place of ``max_epochs``.
            epoch_length: iterations in an epoch; by default one pass over the data.

        Returns:
            the engine's state.

        Raises:
            RuntimeError: if this engine is running.
            DataError: if the data are empty, missing, or exhausted too early.
            ValueError: if the limits contradict each other or where the run stands.
            KeyboardInterrupt: if Ctrl-C stopped the run, at a safe point; of a run that had no
                safe point left, when it is over.
            Signalled: if another signal did that a handler asked to be served.
        """
        if not self._claim.acquire(blocking=False):
            raise RuntimeError(
                f"{self!r} is running; let it finish, or make another engine for another run."
            )
        try:
            return self._begin_and_run(data, max_epochs, max_iters, epoch_length)
        finally:
            self._claim.release()

    def _begin_and_run(
        self,
        data: Any,
        max_epochs: float | None,
        max_iters: float | None,
        epoch_length: int | None,
    ) -> State:
        begin(self, data, max_epochs, max_iters, epoch_length)
        self.should_terminate = self.should_terminate_single_epoch = self.should_interrupt = False
        self.bind_state()
        outer = current_engine()
        self.state.reason, self.state.status = None, Status.RUNNING
        self.state.call = self.name if outer is None else outer.state.call
        drawn = None if outer is None else capture()
        with running(self, self._signals) as watch:
            self.watch = watch
            try:
                self._run()
            except Suspended:  # it will run whole when the outer run goes on
                if drawn is not None:
                    restore(drawn)
                    self.source.rewind()
                raise
            finally:
                self.watch = None
        if watch.engine is self and watch.signum is not None:  # heard behind the last safe point
            raise stop_of(watch.signum)
        return self.state

    def process(self, batch: Any) -> Any:
        """Call the process function on one batch, outside of any run.

        No event of the loop fires, and nothing is counted or kept. Those that the step itself
        fires do, unless the engine is :meth:`silenced`.

        Returns:
            what the process function returned.
        """
        return self._process_function(self, batch)

    def log(
        self,
        name: str,
        value: Any,
        *,
        on: Literal["iteration", "epoch"] = "iteration",
        weight: Any = None,
        bar: bool = False,
        to: str | Sequence[str] | None = None,
    ) -> None:
        """Hand a number to the scalar stream; a tensor stays on its device until a log point.

        It fires VALUE_LOGGED, which a :class:`~footplate.handlers.scalars.Scalars` hears. Where
        none is attached the value is lost, and the logger says so once. Model code that has no
        engine at hand calls :func:`footplate.log <.stream.logging.log>`.

        Args:
            name: what it is called in every sink.
            value: a number, or a tensor with one.
            on: when it is logged: at the next log point, as the mean of what came since the one
                before, or with the end of the ``"epoch"``, as the mean over the epoch.
            weight: what it weighs in these means; by default the samples in the batch.
            bar: whether progress bars show it.
            to: names of the sinks that it is for, ``"tensorboard"`` say; all by default.
        """
        channel = self.channels.get(VALUE_LOGGED.name)
        if channel is None or not channel.plan:
            if not self._said_unheard:
                self._said_unheard = True
                self.logger.warning(
                    "%s logs %r, but nobody hears it; attach a Scalars() first.", repr(self), name
                )
            return
        self.emit(
            channel,
            {
                "name": name,
                "value": value,
                "on": on,
                "weight": weight,
                "bar": bar,
                "to": None if to is None else names_of(to),
            },
        )

    @contextmanager
    def silenced(self) -> Generator[None, None, None]:
        """Within a ``with`` block nobody hears what this engine fires, and nothing is counted.

        What looks for a learning rate or a batch size so has the step called, and leaves no trace.
        """
        counts = dict(self.progress.counts)
        for channel in self.channels.values():
            channel.silence(True)
        try:
            yield
        finally:
            for channel in self.channels.values():
                channel.silence(False)
            self.progress.counts.clear()
            self.progress.counts.update(counts)

    def terminate(self, skip_completed: bool = False) -> None:
        """End the run right after the handlers of the current event: TERMINATE, then COMPLETED.

        The next :meth:`run` goes on with the next epoch. May be called from any thread.

        Args:
            skip_completed: whether to leave COMPLETED out.
        """
        self.should_terminate = "skip_completed" if skip_completed else True

    def terminate_epoch(self, skip_epoch_completed: bool = False) -> None:
        """End the epoch right after the handlers of the current event.

        TERMINATE_SINGLE_EPOCH and EPOCH_COMPLETED fire, and the next epoch begins a new pass over
        the data.

        Args:
            skip_epoch_completed: whether to leave EPOCH_COMPLETED out.
        """
        self.should_terminate_single_epoch = (
            "skip_epoch_completed" if skip_epoch_completed else True
        )

    def interrupt(self) -> None:
        """Pause at the next safe point: INTERRUPT fires and ``run()`` returns.

        The next :meth:`run` goes on at the very place. May be called from any thread.

        Raises:
            RuntimeError: if ``interrupt_resume_enabled`` was set to ``False``.
        """
        if not self.interrupt_resume_enabled:
            raise RuntimeError(f"interrupt_resume_enabled is False on {self!r}; set it to True.")
        self.should_interrupt = True

    def stop_on(self, *signums: int) -> None:
        """Ask that signals of the operating system stop the run at a safe point, as Ctrl-C does.

        Args:
            signums: for example ``signal.SIGTERM``.

        Raises:
            ValueError: for what is no signal, or one that no process can handle.
        """
        for signum in signums:
            possible = signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}
            if signum not in possible:
                raise ValueError(f"{signum!r} is not a valid signal, or can't be handled.")
        self._signals.update(signums)
        if self.watch is not None:
            self.watch.listen(signums)

    def set_data(self, data: Any) -> None:
        """Take the next batch from other data. The epoch's length stays as it is.

        Raises:
            TypeError: if the data can't be iterated over.
        """
        check_data(data)
        self.state.dataloader = data
        if self.watch is None:
            self.source.abandon()
        else:  # the next fetch begins the pass
            self.source.replace()

    # ------------------------------------------------------------------ state

    def state_dict(self) -> dict[str, Any]:
        """Where the run stands, in plain values that ``torch.load(weights_only=True)`` takes.

        Returns:
            pytorch-ignite's keys (``epoch_length``, ``iteration``, ``max_epochs`` or
            ``max_iters``, those in ``state_dict_user_keys``) and ``footplate``, which holds the
            exact place, the counts of events, and the state of each stateful handler.
        """
        return dump(self)

    def load_state_dict(self, state_dict: Mapping[str, Any], *, strict: bool = True) -> LoadReport:
        """Make the next :meth:`run` go on from a state.

        Args:
            state_dict: what :meth:`state_dict` gave, or pytorch-ignite's keys with either
                ``iteration`` or ``epoch``.
            strict: whether states of handlers that are not attached, and attached handlers
                without a state, are an error.

        Returns:
            the handlers that got no state, and the states that found no handler.

        Raises:
            StateError: if keys are missing or contradict each other; nothing is loaded then.
            RuntimeError: if this engine is running.
        """
        return load(self, state_dict, strict=strict)
