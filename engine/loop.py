"""The loop: from wherever a run stands to its end, firing an event wherever one may listen."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, cast

from .beginning import is_done, is_spent
from .bus import Bus
from .channel import Channel, Suspended
from .emitter import Emitter
from .errors import DataError, Signalled
from .notes import Notes
from .random import preserved
from .serialization import is_plain
from .signature import label
from .source import END, NOTHING, Source, length_of
from .state import Next, Progress, Reason, State, Status
from .stopping import SignalWatch
from .trace.tracing import follow

__all__ = ["Loop"]


class _Terminated(Exception):
    """``terminate()`` was heard."""


class _Spent(Exception):
    """``max_iters`` was reached in the midst of an epoch."""


class _EpochTerminated(Exception):
    """``terminate_epoch()`` was heard."""


class _Interrupted(Exception):
    """``interrupt()`` was heard, at a safe point."""


class _Stopped(Exception):
    """A signal of the operating system was heard, at a safe point."""

    def __init__(self, signum: int) -> None:
        self.signum = signum


class Loop(Emitter):
    """An emitter that walks over data; :class:`~footplate.engine.engine.Engine` runs it.

    ::

        OPENED
        STARTED                                   unless the run goes on
        while no limit is reached:
            epoch += 1
            EPOCH_STARTED
            for each of epoch_length batches:
                GET_BATCH_STARTED
                batch = next(iterator)            at its end: DATALOADER_STOP_ITERATION, a new one
                GET_BATCH_COMPLETED
                iteration += 1
                ITERATION_STARTED
                output = process_function(engine, batch)
                ITERATION_COMPLETED
                SAFE_POINT                        in the last iteration, behind EPOCH_COMPLETED
            EPOCH_COMPLETED
            SAFE_POINT
        COMPLETED
        CLOSED                                    whatever happened

    Args:
        process_function: called as ``process_function(engine, batch)``.
        bus: the bus to fire on; one of its own by default.
        name: what it is called in errors and plans.

    Attributes:
        state: what people read and some of what they may write.
        progress: exactly where the run stands.
        source: where in the data that is.
        notes: what is saved with it for whoever asks when it goes on.
        last_event_name: the last event whose handlers were called.
        delivering: the event that is being delivered, if a signal may cut it between two
            receivers.
        should_terminate, should_terminate_single_epoch, should_interrupt: what was asked for.
        watch: who listens to signals; ``None`` while nothing runs.

    Example:
        >>> from footplate import Engine, Events
        >>> engine = Engine(lambda engine, batch: None)
        >>> for event in Events:
        ...     if event != Events.EXCEPTION_RAISED:  # which hands over an error besides
        ...         _ = engine.add_event_handler(event, lambda e: print(e.last_event_name))
        >>> state = engine.run(["batch"])
        OPENED
        STARTED
        EPOCH_STARTED
        GET_BATCH_STARTED
        GET_BATCH_COMPLETED
        ITERATION_STARTED
        ITERATION_COMPLETED
        EPOCH_COMPLETED
        SAFE_POINT
        COMPLETED
        CLOSED
    """

    def __init__(
        self,
        process_function: Callable[[Any, Any], Any],
        *,
        bus: Bus | None = None,
        name: str | None = None,
    ) -> None:
        self.state: State = State(stage=name)
        self.progress = Progress()
        self.source = Source()
        self.notes = Notes()
        self.last_event_name: str | None = None
        self.delivering: str | None = None
        self.should_terminate: bool | str = False
        self.should_terminate_single_epoch: bool | str = False
        self.should_interrupt = False
        self.watch: SignalWatch | None = None
        self._process_function = process_function
        super().__init__(bus=bus, name=name)

    def __repr__(self) -> str:
        name = repr(self.name) if self.name else f"of {label(self._process_function)}"
        return f"<Engine {name}: epoch {self.state.epoch}, iteration {self.state.iteration}>"

    def register_events(
        self,
        *events: object,
        event_to_attr: Mapping[Any, str] | None = None,
        payload: Sequence[str] | None = None,
        behind: object = None,
    ) -> None:
        """Make custom events known; see :meth:`.Emitter.register_events`."""
        super().register_events(
            *events, event_to_attr=event_to_attr, payload=payload, behind=behind
        )
        self.bind_state()

    def bind_state(self) -> None:
        """Make the state, which anybody may have assigned, count as this engine does."""
        state, counts = self.state, self.progress.counts
        attributes = {name: self.channels[name].counter for name in self.fires}
        for name, attribute in attributes.items():
            if attribute is None:
                counts.setdefault(name, 0)
            elif not hasattr(state, attribute):
                setattr(state, attribute, 0)
        state.event_to_attr = {name: one for name, one in attributes.items() if one is not None}
        state.counts = counts
        if not hasattr(state, "measured"):  # one of pytorch-ignite's
            state.measured = {}
        if getattr(state, "stage", None) is None:
            state.stage = self.name

    def count_of(self, event: str) -> int:
        """How often an event fired in this run that no attribute of the state counts."""
        return self.progress.counts.get(event, 0)

    @property
    def can_be_cut(self) -> bool:
        """Whether the event at hand can go on later with the receiver that runs now."""
        event = self.delivering
        if event is None or (self.should_terminate and event != "COMPLETED"):
            return False  # what was asked for would be forgotten
        if event != "ITERATION_COMPLETED":
            return True
        if self.should_terminate_single_epoch:
            return False
        return is_plain(self.state.batch) and is_plain(self.state.output)

    # ------------------------------------------------------------------ the loop

    def _run(self) -> None:
        """Advance and close, whatever happens."""
        state, progress = self.state, self.progress
        try:
            progress.run_time.start()
            state.reason = self._advance()
            state.status = Status.FINISHED
        except _Interrupted:
            state.reason, state.status = Reason.INTERRUPTED, Status.INTERRUPTED
        except _Stopped as stop:
            state.reason, state.status = Reason.SIGNALLED, Status.INTERRUPTED
            raise self._closed(cast("SignalWatch", self.watch).error(stop.signum)) from None
        except BaseException as error:
            try:
                self._fail(error)
            finally:
                self._close(error)
            raise
        self._close()

    def _advance(self) -> Reason:
        """Open, and go from wherever the run stands to its end."""
        progress = self.progress
        progress.recent.clear()
        progress.began = self.state.iteration
        follow(self)
        try:
            self.emit(self.channels["OPENED"])
            progress.recent.clear()
            progress.loaded = False
            self._obey_outside_epochs()
            if progress.next is Next.STARTED:
                self._start()
            while progress.next not in (Next.TERMINATE, Next.COMPLETED):
                if progress.next is Next.EPOCH_STARTED:
                    if is_done(self.state):
                        break
                    self._start_epoch()
                progress.epoch_time.start()
                if progress.next is not Next.EPOCH_COMPLETED:
                    self._iterate()
                self._end_epoch()
        except _Terminated:
            progress.end(Reason.TERMINATED)
        except _Spent:
            progress.end(Reason.COMPLETED)
        if progress.next is Next.TERMINATE:
            self._terminate()
        else:
            self._complete()
        return progress.reason

    def _start(self) -> None:
        self.progress.run_time.restart()
        self.state.times.update(EPOCH_COMPLETED=0.0, COMPLETED=0.0)
        self._fire_in_parts(self.channels["STARTED"])
        self._obey_outside_epochs()
        self.progress.stand(self.state)
        self.progress.next = Next.EPOCH_STARTED

    def _start_epoch(self) -> None:
        progress, state = self.progress, self.state
        progress.reason = Reason.COMPLETED
        progress.epoch_time.restart()
        state.epoch += 1
        self._fire_in_parts(self.channels["EPOCH_STARTED"])
        self._obey_outside_epochs()
        progress.stand(state)
        progress.epoch_iteration = 0
        progress.next = Next.ITERATION

    def _iterate(self) -> None:
        """The iterations of an epoch, from wherever it stands to its end."""
        state, progress, source, watch = self.state, self.progress, self.source, self.watch
        process, channels = self._process_function, self.channels
        fetching, fetched = channels["GET_BATCH_STARTED"], channels["GET_BATCH_COMPLETED"]
        started, completed = channels["ITERATION_STARTED"], channels["ITERATION_COMPLETED"]
        safe_point = channels["SAFE_POINT"]
        cut = progress.next is Next.ITERATION_COMPLETED
        if not cut and is_spent(state) and progress.epoch_iteration != state.epoch_length:
            raise _Spent
        try:
            while True:  # CPython 3.11 makes no fast code of a loop with its condition at the top
                if progress.epoch_iteration == state.epoch_length:
                    break
                if cut:
                    self._take_up_iteration()
                    cut = False
                else:
                    if source.in_hand is NOTHING:
                        if fetching.calls and state.dataloader is not None:
                            self._fire(fetching)
                        if source.take(state.dataloader) is END and self._turn_over() is END:
                            break
                    state.batch, state.output = source.in_hand, None
                    if fetched.calls and state.dataloader is not None:
                        self._fire(fetched)
                    state.iteration += 1
                    if started.calls:
                        self._fire(started)
                    try:
                        state.output = process(self, state.batch)
                    except BaseException as error:
                        error.add_note(f"raised by {label(process)}, the step of {self!r}")
                        raise
                if completed.calls:
                    self._fire_in_parts(completed)
                source.in_hand = NOTHING
                progress.epoch_iteration += 1
                progress.iteration = state.iteration
                if progress.recent:
                    progress.recent.clear()
                if (
                    safe_point.calls
                    or self.should_terminate
                    or self.should_terminate_single_epoch
                    or self.should_interrupt
                    or state.max_iters is not None
                    or watch.signum is not None  # type: ignore[union-attr]
                ):
                    self._between_iterations()
        except _EpochTerminated:
            self._terminate_epoch()

    def _take_up_iteration(self) -> None:
        """Stand where a signal cut ITERATION_COMPLETED between two receivers."""
        state, progress, source = self.state, self.progress, self.source
        if source.in_hand is NOTHING:  # the state was loaded, or the data given anew
            if progress.batch is NOTHING:
                with preserved():  # what is drawn for it was drawn when it came first
                    source.take(state.dataloader)
            else:
                source.hold(progress.batch)
            state.batch, state.output = source.in_hand, progress.output
            progress.iteration = state.iteration - 1
        state.iteration = progress.iteration + 1  # an error may have taken it back
        progress.next, progress.batch, progress.output = Next.ITERATION, NOTHING, None

    def _turn_over(self) -> Any:
        """Take the first batch of a new pass in hand, now that the last one has ended.

        Returns:
            END if the end tells how long an epoch is, and this one is over.
        """
        promised = length_of(self.state.dataloader)
        if promised is not None and (self.source.position or 0) < promised:
            raise DataError(
                f"the data say that they have {promised} batches, but ended behind "
                f"{self.source.position}; mend their __len__, or the StopIteration that something "
                f"in them raised."
            )
        if self.state.epoch_length is None:
            if not self.progress.epoch_iteration:
                raise DataError("the data gave not one batch; give at least one.")
            self.source.length = self.state.epoch_length = self.progress.epoch_iteration
            return END
        state, source, ended = self.state, self.source, self.source.iterator
        self.emit(self.channels["DATALOADER_STOP_ITERATION"])
        self._obey()
        if source.iterator is ended:  # else a handler has called set_data()
            if state.dataloader is ended:
                raise DataError(
                    f"the data are a one-shot iterator that ended at iteration "
                    f"{state.iteration}, and the run needs more; give data that can be iterated "
                    f"over again, such as a list or a DataLoader, or set new ones in a handler of "
                    f"DATALOADER_STOP_ITERATION."
                )
            source.restart(state.dataloader)
        if source.take(state.dataloader) is END:
            raise DataError(
                f"pass {source.passes} over the data gave no batch; "
                f"give data that can be iterated over again, such as a list or a DataLoader."
            )
        return None

    def _between_iterations(self) -> None:
        """Serve whoever wants something between two iterations."""
        state, progress = self.state, self.progress
        if self.should_terminate:
            progress.end(Reason.TERMINATED)
            self._safe_point()
        if self.should_terminate_single_epoch:
            raise _EpochTerminated
        if progress.epoch_iteration != state.epoch_length:
            self._safe_point()
            if self.should_terminate_single_epoch:
                raise _EpochTerminated
            if is_spent(state):
                raise _Spent

    def _terminate_epoch(self) -> None:
        state, progress, source = self.state, self.progress, self.source
        begun = state.iteration - progress.iteration
        self.emit(
            self.channels["TERMINATE_SINGLE_EPOCH"],
            {"iter_counter": progress.epoch_iteration + begun},
        )
        source.in_hand = NOTHING
        source.restart(state.dataloader)

    def _end_epoch(self) -> None:
        state, progress = self.state, self.progress
        progress.next = Next.EPOCH_COMPLETED
        state.times["EPOCH_COMPLETED"] = progress.epoch_time.seconds
        if self.should_terminate_single_epoch != "skip_epoch_completed":
            self._fire_in_parts(self.channels["EPOCH_COMPLETED"])
        state.times["EPOCH_COMPLETED"] = progress.epoch_time.stop()
        progress.next = Next.EPOCH_STARTED
        if self.should_terminate:
            progress.end(Reason.TERMINATED)
        progress.stand(state)
        self._safe_point()
        self.should_terminate_single_epoch = False
        if self.should_terminate:
            raise _Terminated

    def _terminate(self) -> None:
        """Fire TERMINATE, and leave the pass, so that a next run begins with a new epoch."""
        self.emit(self.channels["TERMINATE"])
        self.source.abandon()
        self.progress.iteration = self.state.iteration
        self._complete()

    def _complete(self) -> None:
        state, progress = self.state, self.progress
        progress.next = Next.COMPLETED
        state.times["COMPLETED"] = progress.run_time.seconds
        if self.should_terminate != "skip_completed":
            self._fire_in_parts(self.channels["COMPLETED"])
        state.times["COMPLETED"] = progress.run_time.stop()
        progress.next = Next.NOTHING
        self.source.close()

    # ------------------------------------------------------------------ firing

    def emit(self, channel: Channel, payload: Mapping[str, Any] | None = None) -> None:
        """Count an event, and deliver it to its receivers."""
        self.last_event_name = channel.event
        if channel.counter is None:
            self.progress.count(channel.event)
            if self.watch is None:  # outside of a run nothing takes it back
                self.progress.recent.clear()
        channel.deliver(self, payload)

    def _fire(self, channel: Channel) -> None:
        """Fire an event that an attribute counts, and obey what its handlers asked for."""
        self.last_event_name = channel.event
        channel.deliver(self)
        if self.should_terminate or self.should_terminate_single_epoch:
            self._obey()

    def _obey(self) -> None:
        if self.should_terminate:
            raise _Terminated
        if self.should_terminate_single_epoch:
            raise _EpochTerminated

    def _fire_in_parts(self, channel: Channel) -> None:
        """Fire an event that a signal may cut between two receivers, and that goes on there."""
        progress = self.progress
        start, progress.delivered = progress.delivered, 0
        self.last_event_name = self.delivering = channel.event
        try:
            channel.deliver(self, None, start)
        except Suspended as cut:
            self.delivering = None
            if self.watch is None or self.watch.engine is not self:
                raise
            self.watch.notes.extend(getattr(cut, "__notes__", ()))
            progress.next, progress.delivered = Next(channel.event), cut.delivered
            if progress.next is Next.ITERATION_COMPLETED:
                progress.batch, progress.output = self.state.batch, self.state.output
            if progress.next is Next.EPOCH_STARTED:
                self.state.epoch = progress.epoch
            self._safe_point()
        finally:
            self.delivering = None

    def _obey_outside_epochs(self) -> None:
        if self.should_terminate:
            raise _Terminated
        if self.should_terminate_single_epoch:
            raise RuntimeError(
                "terminate_epoch() was called in a handler of OPENED, STARTED or EPOCH_STARTED, "
                "before any batch of the epoch; call it later, or terminate() to end the run."
            )

    def _safe_point(self) -> None:
        """Fire SAFE_POINT, and serve signals and ``interrupt()``."""
        progress, watch = self.progress, cast("SignalWatch", self.watch)
        outermost = watch.engine is self
        if outermost and watch.cuts:
            watch.serve(cast("int", watch.signum))
        self.emit(self.channels["SAFE_POINT"])
        if outermost and watch.due is not None:
            raise _Stopped(watch.due)
        if self.should_terminate:
            raise _Terminated
        if self.should_interrupt:
            self.should_interrupt = False
            self.emit(self.channels["INTERRUPT"])
            raise _Interrupted
        if outermost or not watch.cuts or not watch.engine.can_be_cut:
            return
        over = is_spent(self.state) or (progress.next is Next.EPOCH_STARTED and is_done(self.state))
        if not over and progress.next is not Next.TERMINATE:
            raise Suspended

    # ------------------------------------------------------------------ failing and closing

    def _fail(self, error: BaseException) -> None:
        """Show an error to EXCEPTION_RAISED, then return to the last completed iteration."""
        state, progress = self.state, self.progress
        state.status = Status.INTERRUPTED
        if isinstance(error, Suspended):  # runs whole when the outer engine goes on
            state.reason, state.max_epochs, state.max_iters = Reason.SIGNALLED, None, None
            return
        stopped = isinstance(error, (KeyboardInterrupt, Signalled))
        state.reason = Reason.SIGNALLED if stopped else Reason.ERROR
        if not any(repr(self) in note for note in getattr(error, "__notes__", ())):
            error.add_note(f"in {self!r}")
        undone, progress.recent = progress.recent, []
        channel = self.channels["EXCEPTION_RAISED"]
        self._note(error, self._emit_to_all(channel, {"exception": error}))
        state.iteration, state.epoch = progress.iteration, progress.epoch
        for event in undone:
            progress.counts[event] -= 1
        progress.recent.clear()

    def _close(self, error: BaseException | None = None) -> None:
        """Fire CLOSED; its errors go to the one under way, or are raised."""
        self.progress.run_time.stop()
        self.progress.epoch_time.stop()
        failures = self._emit_to_all(self.channels["CLOSED"])
        self.progress.recent.clear()
        try:
            if error is not None:
                self._note(error, failures)
            elif len(failures) == 1:
                raise failures[0]
            elif failures:
                raise BaseExceptionGroup(f"handlers of CLOSED failed on {self!r}", tuple(failures))
        finally:
            failures.clear()  # the traceback of each leads to the list: it would hold the engine

    def _closed(self, error: BaseException) -> BaseException:
        self._close(error)
        return error

    def _emit_to_all(
        self, channel: Channel, payload: Mapping[str, Any] | None = None
    ) -> list[BaseException]:
        self.last_event_name = channel.event
        self.progress.count(channel.event)
        return channel.deliver_all(self, payload)

    @staticmethod
    def _note(error: BaseException, others: list[BaseException]) -> None:
        for other in others:
            notes = "; ".join(getattr(other, "__notes__", []))
            error.add_note(f"besides, {type(other).__name__}: {other} ({notes})")
        others.clear()
