"""What a run did when: a lane for each phase, along the time that it ran."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from .curves import COLOURS
from .line_chart import WIDTH
from .markup import Markup, style, tag
from .run import Run, Session
from .scales import time_ticks
from .wording import duration, percent

__all__ = ["time_chart"]

_COLOURS = {"saving": "c4", "evaluation": "c2"}
_LANE = 100  # units high


@dataclass(frozen=True)
class _Span:
    began: float
    ended: float
    own: float  # seconds, without what lies within it
    title: str


def time_chart(run: Run) -> Markup | None:
    """A figure of the phases; ``None`` where none are known."""
    if not run.phases:
        return None
    clock = _Clock(run.sessions, run.phases)
    lanes: dict[str, list[_Span]] = {}
    for one in run.phases:
        began, took = clock.at(float(one["began"])), max(float(one["seconds"]), 0.0)
        title = f"{one.get('what')}, epoch {one.get('epoch')}: {duration(took)}"
        own = float(one.get("own", took))
        lanes.setdefault(str(one.get("what")), []).append(_Span(began, began + took, own, title))
    if clock.seconds <= 0:
        return None
    rows = [_row(name, spans, _colour(name, run), clock) for name, spans in lanes.items()]
    return tag(
        "figure",
        _shares(lanes, clock.seconds, run),
        tag("div", rows, class_="lanes"),
        _ticks(clock.seconds),
        [tag("p", sentence, class_="note") for sentence in clock.breaks()],
        class_="panel timeline",
    )


class _Clock:
    """Time that a run ran: sessions one behind the other."""

    def __init__(self, sessions: Sequence[Session], phases: Iterable[dict[str, float]]) -> None:
        spans = [(one.began, one.ended) for one in sessions]
        if not spans:
            times = [(float(p["began"]), float(p["began"]) + float(p["seconds"])) for p in phases]
            spans = [(min(began for began, _ in times), max(ended for _, ended in times))]
        self.sessions = sessions
        self.begins = [began for began, _ in spans]
        self.before = [0.0]  # seconds in the sessions before each one
        for began, ended in spans:
            self.before.append(self.before[-1] + max(ended - began, 0.0))

    @property
    def seconds(self) -> float:
        """All of it."""
        return self.before[-1]

    @property
    def resumed(self) -> list[float]:
        """How long the run had run each time that it went on."""
        return [
            before
            for before, one in zip(self.before, self.sessions, strict=False)
            if one.iteration and before
        ]

    def at(self, wall_time: float) -> float:
        """How long the run had run at a time of day."""
        place = max(bisect_right(self.begins, wall_time) - 1, 0)
        return self.before[place] + max(wall_time - self.begins[place], 0.0)

    def breaks(self) -> list[str]:
        """A sentence for each time that the run went on."""
        found = []
        for before, one in zip(self.sessions, self.sessions[1:], strict=False):
            if one.iteration:
                away = max(one.began - before.ended, 0.0)
                found.append(
                    f"The run ended ({before.status}), and went on from iteration "
                    f"{one.iteration:,} {duration(away)} later; that time is left out."
                )
        return found


def _colour(name: str, run: Run) -> str:
    if name == run.engine:
        return COLOURS["train"]
    return COLOURS.get(name) or _COLOURS.get(name, "c5")


def _shares(lanes: dict[str, list[_Span]], whole: float, run: Run) -> Markup:
    """How the time is shared out, as a bar and its legend."""
    took = {name: sum(one.own for one in spans) for name, spans in lanes.items()}
    rest = whole - sum(took.values())
    parts = [(name, _colour(name, run), seconds) for name, seconds in took.items()]
    parts += [("all else", "c8", rest)] if rest > 0.005 * whole else []
    bar = [
        tag("span", class_=colour, style=style(v=min(seconds / whole, 1.0)))
        for _, colour, seconds in parts
    ]
    legend = [
        tag(
            "li",
            tag("i", class_="key block"),
            tag("span", name),
            tag("b", percent(seconds / whole)),
            tag("em", duration(seconds)),
            class_=colour,
        )
        for name, colour, seconds in parts
    ]
    return tag(
        "div", tag("div", bar, class_="shares"), tag("ul", legend, class_="legend"), class_="share"
    )


def _row(name: str, spans: list[_Span], colour: str, clock: _Clock) -> Markup:
    bars = [
        tag(
            "rect",
            tag("title", one.title),
            x=round(WIDTH * one.began / clock.seconds),
            y=0,
            width=max(round(WIDTH * (one.ended - one.began) / clock.seconds) - 2, 3),
            height=_LANE,
        )
        for one in _merged(spans, clock.seconds)
    ]
    rules = [
        tag("path", d=f"M{round(WIDTH * before / clock.seconds)} 0V{_LANE}", class_="break")
        for before in clock.resumed
    ]
    drawing = tag(
        "svg",
        tag("title", f"{name}: {len(spans)} times, {_total(spans)} in all"),
        tag("g", bars, class_=colour),
        rules,
        viewBox=f"0 0 {WIDTH} {_LANE}",
        preserveAspectRatio="none",
        role="img",
    )
    return tag("div", tag("span", name, class_="name"), drawing, class_="lane")


def _merged(spans: list[_Span], seconds: float) -> list[_Span]:
    """Spans that can't be told apart as one."""
    if len(spans) <= 300:
        return spans
    merged: list[_Span] = []
    for one in spans:
        if merged and one.began - merged[-1].ended < seconds / 1000:
            before = merged.pop()
            ended, own = max(one.ended, before.ended), before.own + one.own
            merged.append(_Span(before.began, ended, own, f"until {one.title}"))
        else:
            merged.append(one)
    return merged


def _ticks(seconds: float) -> Markup:
    labels = [tag("span", text, style=style(at=at / seconds)) for at, text in time_ticks(seconds)]
    return tag("div", labels, class_="x", aria_hidden="true")


def _total(spans: Iterable[_Span]) -> str:
    return duration(sum(one.ended - one.began for one in spans))
