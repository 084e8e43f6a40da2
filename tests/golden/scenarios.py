"""What the golden event orders show: runs for pytorch-ignite's engine and for Footplate's."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

GROUPS = (
    "plain",
    "epoch_length",
    "unsized",
    "no_data",
    "max_iters",
    "terminate",
    "terminate_epoch",
    "interrupt",
    "errors",
    "custom_events",
)


class Line(NamedTuple):
    """One event, and where the state stood when it fired."""

    event: str
    epoch: int
    iteration: int

    def __str__(self) -> str:
        return f"{self.event:<25} {self.epoch}/{self.iteration}"


Order = list[list[Line]]
"""The events of one ``run()`` call after the other."""


class Act(NamedTuple):
    """A handler of ``event`` that does something where the state stands at ``place``.

    The event STEP is the process function.
    """

    event: str
    place: str
    call: str
    keywords: Mapping[str, Any] = {}


@dataclass(frozen=True)
class Scenario:
    """One run, or several calls of ``run()`` that make one.

    Attributes:
        group: the golden file that it is in.
        name: its heading there.
        limits: what ``run()`` is given besides the data.
        data: makes the data.
        acts: what handlers do.
        runs: how often ``run()`` is called.
        custom: custom events, fired by the step in this order.
    """

    group: str
    name: str
    limits: Mapping[str, int] = field(default_factory=lambda: {"max_epochs": 2})
    data: Callable[[], Any] = lambda: [10, 20]
    acts: tuple[Act, ...] = ()
    runs: int = 1
    custom: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.group}: {self.name}"


class Play:
    """A scenario that is played with an engine."""

    def __init__(self, scenario: Scenario) -> None:
        self.scenario = scenario
        self.failed: set[tuple[str, ...]] = set()

    def step(self, engine: Any, batch: Any) -> Any:
        """The process function."""
        for event in self.scenario.custom:
            engine.fire_event(event)
        for act in self.scenario.acts:
            if act.event == "STEP":
                self.do(act, engine)
        return batch

    def attach(self, engine: Any) -> None:
        """Add the handlers that act."""
        for act in self.scenario.acts:
            if act.event != "STEP":

                def handle(engine: Any, act: Act = act, **_: Any) -> None:
                    self.do(act, engine)

                engine.add_event_handler(act.event, handle)

    def do(self, act: Act, engine: Any) -> None:
        """Act, if this is the place. What fails does so once."""
        if f"{engine.state.epoch}/{engine.state.iteration}" != act.place:
            return
        if act.call != "fail":
            getattr(engine, act.call)(**act.keywords)
        elif act[:3] not in self.failed:
            self.failed.add(act[:3])
            raise Failure


class Failure(Exception):
    """What fails in these runs."""


class Unsized:
    """Data that can be iterated over again, but don't say how long they are."""

    def __init__(self, *batches: int) -> None:
        self.batches = batches

    def __iter__(self) -> Iterator[int]:
        yield from self.batches


class Unreliable:
    """Data that fail once behind their first batch."""

    def __init__(self, *batches: int) -> None:
        self.batches, self.failed = batches, False

    def __len__(self) -> int:
        return len(self.batches)

    def __iter__(self) -> Iterator[int]:
        for batch in self.batches:
            if batch != self.batches[0] and not self.failed:
                self.failed = True
                raise Failure
            yield batch


def write(order: Order) -> str:
    """An order as it stands in a golden file."""
    return "\n--\n".join("\n".join(map(str, lines)) for lines in order)


def read(text: str) -> dict[str, str]:
    """The orders of a golden file by heading."""
    lines = [line for line in text.splitlines() if not line.startswith("#")]
    parts = [part.partition("\n") for part in "\n".join(lines).split("\n== ")[1:]]
    return {heading: body.strip("\n") for heading, _, body in parts}


def _basic() -> Iterator[Scenario]:
    yield Scenario("plain", "two epochs over two batches")
    yield Scenario("plain", "one batch, one epoch", {}, lambda: [10])
    for length in (1, 3, 5):
        limits = {"max_epochs": 3, "epoch_length": length}
        yield Scenario("epoch_length", f"{length} iterations over two batches", limits)
    yield Scenario("unsized", "two epochs over two batches", data=lambda: Unsized(10, 20))
    for length in (1, 3):
        limits = {"max_epochs": 2, "epoch_length": length}
        name = f"{length} iterations over two batches"
        yield Scenario("unsized", name, limits, lambda: Unsized(10, 20))
    limits = {"max_epochs": 2, "epoch_length": 2}
    yield Scenario("no_data", "two epochs of two iterations", limits, lambda: None)
    for count, where in ((3, "within an epoch"), (4, "at an epoch's end"), (1, "at once")):
        yield Scenario("max_iters", f"{count}, {where}", {"max_iters": count})
    ended = (Act("ITERATION_COMPLETED", "1/1", "terminate_epoch"),)
    yield Scenario("max_iters", "1, in an epoch that is terminated", {"max_iters": 1}, acts=ended)
    limits = {"max_iters": 3, "epoch_length": 2}
    yield Scenario("max_iters", "3, without data", limits, lambda: None)
    yield Scenario("max_iters", "2, unsized", {"max_iters": 2}, lambda: Unsized(10, 20))
    yield Scenario("max_iters", "3, unsized", {"max_iters": 3}, lambda: Unsized(10, 20))
    yield Scenario("custom_events", "in the step", custom=("FORWARD", "BACKWARD"))
    yield Scenario(
        "custom_events",
        "whose handler terminates, which is heard behind ITERATION_COMPLETED",
        acts=(Act("BACKWARD", "1/1", "terminate"),),
        custom=("FORWARD", "BACKWARD"),
    )


LOOP = (
    ("STARTED", "0/0"),
    ("EPOCH_STARTED", "1/0"),
    ("EPOCH_STARTED", "2/2"),
    ("GET_BATCH_STARTED", "1/0"),
    ("GET_BATCH_COMPLETED", "1/1"),
    ("ITERATION_STARTED", "1/1"),
    ("ITERATION_COMPLETED", "1/1"),
    ("ITERATION_COMPLETED", "1/2"),
    ("EPOCH_COMPLETED", "1/2"),
    ("EPOCH_COMPLETED", "2/4"),
    ("COMPLETED", "2/4"),
)
"""Phases of two epochs over two batches."""

TURNING = ("DATALOADER_STOP_ITERATION", "1/2")
LONG = {"max_epochs": 2, "epoch_length": 3}
"""The phase that there is where epochs are longer than the data, and how they become so."""


def _each(
    group: str, call: str, *, options: tuple[Mapping[str, Any], ...] = ({},), runs: int = 1
) -> Iterator[Scenario]:
    """A call in each phase of the loop."""
    for keywords in options:
        said = "".join(f", {key}" for key in keywords)
        for event, place in LOOP:
            acts = (Act(event, place, call, keywords),)
            yield Scenario(group, f"in {event} at {place}{said}", acts=acts, runs=runs)
        if group != "interrupt":  # pytorch-ignite fires GET_BATCH_STARTED once too often there
            acts = (Act(*TURNING, call, keywords),)
            yield Scenario(group, f"in {TURNING[0]} at {TURNING[1]}{said}", LONG, acts=acts)


def _stops() -> Iterator[Scenario]:
    yield from _each("terminate", "terminate", options=({}, {"skip_completed": True}))
    yield Scenario(
        "terminate",
        "in ITERATION_COMPLETED at 1/1, then run again",
        acts=(Act("ITERATION_COMPLETED", "1/1", "terminate"),),
        runs=2,
    )
    yield from _each(
        "terminate_epoch", "terminate_epoch", options=({}, {"skip_epoch_completed": True})
    )
    for event in ("TERMINATE_SINGLE_EPOCH", "EPOCH_COMPLETED"):
        yield Scenario(
            "terminate_epoch",
            f"in ITERATION_STARTED at 1/1, then terminate in {event}",
            acts=(
                Act("ITERATION_STARTED", "1/1", "terminate_epoch"),
                Act(event, "1/1", "terminate"),
            ),
        )
    yield from _each("interrupt", "interrupt", runs=2)
    for call in ("terminate", "terminate_epoch"):
        where = ("ITERATION_COMPLETED", "1/1")
        yield Scenario(
            "interrupt",
            f"and {call} in ITERATION_COMPLETED at 1/1",
            acts=(Act(*where, "interrupt"), Act(*where, call)),
            runs=1 if call == "terminate" else 2,
        )


def _errors() -> Iterator[Scenario]:
    for place in ("1/1", "2/4"):
        yield Scenario("errors", f"in the step at {place}", acts=(Act("STEP", place, "fail"),))
    yield Scenario("errors", "in the data behind the first batch", data=lambda: Unreliable(10, 20))
    for event, place in LOOP:
        yield Scenario("errors", f"in {event} at {place}", acts=(Act(event, place, "fail"),))
    yield Scenario(
        "errors", "in DATALOADER_STOP_ITERATION at 1/2", LONG, acts=(Act(*TURNING, "fail"),)
    )


def _at_our_own_points() -> Iterator[Scenario]:
    def one(event: str, place: str, call: str, runs: int = 1, **more: Any) -> Scenario:
        acts = (Act(event, place, call),)
        return Scenario("safe_point", f"{call} in {event} at {place}", acts=acts, runs=runs, **more)

    yield one("OPENED", "0/0", "terminate")
    yield one("OPENED", "0/0", "terminate_epoch")
    yield one("OPENED", "0/0", "interrupt")
    yield one("SAFE_POINT", "1/1", "terminate")
    yield one("SAFE_POINT", "1/2", "terminate")
    yield one("SAFE_POINT", "2/4", "terminate")
    yield one("SAFE_POINT", "1/1", "terminate_epoch")
    yield one("SAFE_POINT", "1/2", "terminate_epoch")
    yield one("SAFE_POINT", "1/1", "interrupt", runs=2)
    yield Scenario(
        "safe_point",
        "interrupt where unsized data have ended, which nobody knows yet",
        {"max_epochs": 1},
        lambda: Unsized(10, 20),
        (Act("SAFE_POINT", "1/2", "interrupt"),),
        runs=3,
    )


def _again() -> Iterator[Scenario]:
    def one(event: str, place: str, **more: Any) -> Scenario:
        acts = (*more.pop("acts", ()), Act(event, place, "fail"))
        limits = more.pop("limits", {"max_epochs": 1})
        group = "run_again_after_error"
        return Scenario(group, f"in {event} at {place}", limits, acts=acts, runs=2, **more)

    for event, place in (
        ("STARTED", "0/0"),
        ("EPOCH_STARTED", "1/0"),
        ("GET_BATCH_STARTED", "1/1"),
        ("GET_BATCH_COMPLETED", "1/1"),
        ("ITERATION_STARTED", "1/2"),
        ("STEP", "1/2"),
        ("ITERATION_COMPLETED", "1/2"),
        ("EPOCH_COMPLETED", "1/2"),
        ("SAFE_POINT", "1/1"),
        ("COMPLETED", "1/2"),
    ):
        yield one(event, place)
    yield one(*TURNING, limits={"max_epochs": 1, "epoch_length": 3})
    yield one("TERMINATE", "1/1", acts=(Act("ITERATION_COMPLETED", "1/1", "terminate"),))
    yield Scenario(
        "run_again_after_error",
        "in the data behind the first batch",
        {"max_epochs": 1},
        lambda: Unreliable(10, 20),
        runs=2,
    )


SCENARIOS = (*_basic(), *_stops(), *_errors())
"""Those that pytorch-ignite can do."""

WRITTEN_BY_HAND = (*_at_our_own_points(), *_again())
"""Those that it can't."""
