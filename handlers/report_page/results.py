"""What came out of a run: the numbers that matter as cards, and all of them as a table."""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from statistics import median

from .curves import COLOURS, PASSING
from .line_chart import sparkline
from .markup import Markup, scrolled, tag
from .naming import Name, better, is_rate, name_of
from .run import Run
from .series import Series
from .wording import NOTHING, duration, number, percent

__all__ = ["cards", "metrics_table"]

_MOST = 6


@dataclass(frozen=True)
class _Card:
    title: str
    value: str
    below: str
    picture: Markup
    weight: float  # the least comes first


def cards(run: Run) -> Markup | None:
    """The few numbers that people ask for first."""
    found = sorted([*_of_metrics(run), *_of_results(run), *_of_the_run(run)], key=_by_weight)
    shown = [
        tag(
            "div",
            tag("h3", one.title),
            tag("p", one.value, class_="value"),
            tag("p", one.below, class_="below"),
            one.picture,
            class_="card",
        )
        for one in found[:_MOST]
    ]
    return tag("div", shown, class_="cards") if shown else None


def metrics_table(run: Run) -> Markup | None:
    """Of each scalar the last value, the best and its epoch, the least and the most."""
    rows = [_row(series, run) for series in _sorted(run)]
    if not rows:
        return None
    heads = ("scalar", "last", "best", "in epoch", "least", "most", "points")
    head = tag("tr", [tag("th", one, scope="col", class_=_column(one)) for one in heads])
    table = tag("table", tag("thead", head), tag("tbody", rows), class_="numbers wide")
    return scrolled(table, "metrics", "panel")


# ---------------------------------------------------------------------- cards


def _of_metrics(run: Run) -> Iterator[_Card]:
    for series in _sorted(run):
        name = _name(series, run)
        if name.topic not in ("loss", "metric") or (name.role == "train" and not _is_mean(series)):
            continue
        way = better(series.name, run.compared_by)
        place = series.best(way) if way and name.role != "train" else None
        told = series.last if place is None else series.values[place]
        below = "last epoch" if place is None else f"best, in epoch {_epoch(series, place)}"
        chosen = (run.compared_by or "").endswith(f" {series.name}")
        yield _Card(
            title=series.name,
            value=_value(series.name, told),
            below=below,
            picture=sparkline(series, COLOURS.get(name.role, "c4"), place),
            weight=0 if chosen else 2 + (name.role == "train") + (name.topic == "loss") / 2,
        )


def _of_results(run: Run) -> Iterator[_Card]:
    """What engines ended with that were run for themselves, as on test data."""
    results = run.record.get("results")
    for engine, metrics in (results if isinstance(results, dict) else {}).items():
        for name, value in (metrics if isinstance(metrics, dict) else {}).items():
            known = engine == run.engine and (run.scalars.series or name.endswith("_epoch"))
            if isinstance(value, (int, float)) and not known:
                title = name if engine == run.engine else f"{engine} {name}"
                weight = 1 if better(name) == "max" else 1.5
                yield _Card(title, _value(name, value), "final", Markup(), weight)


def _of_the_run(run: Run) -> Iterator[_Card]:
    if run.seconds is not None:
        yield _Card("run time", duration(run.seconds), _extent(run), Markup(), 4)
    for name in ("samples/s", "iterations/s"):
        series = run.scalars.series.get((run.engine, name))
        finite = [value for value in series.values if math.isfinite(value)] if series else []
        if series and finite:
            typical = f"{median(finite):,.0f}"
            yield _Card(name, typical, "typical", sparkline(series, "c1"), 5)
            return


def _extent(run: Run) -> str:
    """How far the run has come."""
    last = [one for one in run.scalars.series.values() if one.engine == run.engine]
    iteration = run.record.get("iteration") or max((s.steps[-1] for s in last), default=0)
    epoch = run.record.get("epoch") or max((s.epochs[-1] for s in last), default=0)
    parts = [f"{number(float(epoch))} epochs"] if epoch and epoch > 1 else []
    parts += [f"{number(float(iteration))} iterations"] if iteration else []
    return ", ".join(parts) or "so far"


def _by_weight(card: _Card) -> float:
    return card.weight


def _is_mean(series: Series) -> bool:
    return series.is_sparse or series.name.endswith("_epoch")


# ---------------------------------------------------------------------- the table


def _row(series: Series, run: Run) -> Markup:
    way = better(series.name, run.compared_by)
    place = series.best(way) if way else None
    finite = [value for value in series.values if math.isfinite(value)]
    arrow = {"max": " ↑", "min": " ↓"}.get(way or "", "")
    colour = COLOURS.get(_name(series, run).role, "c4")
    label = series.name if series.engine == run.engine else f"{series.engine} {series.name}"
    cells = (
        ("last", number(series.last)),
        ("best", NOTHING if place is None else number(series.values[place]) + arrow),
        ("in epoch", NOTHING if place is None else _epoch(series, place)),
        ("least", number(min(finite)) if finite else NOTHING),
        ("most", number(max(finite)) if finite else NOTHING),
        ("points", number(len(series))),
    )
    return tag(
        "tr",
        tag("th", tag("i", class_=f"key {colour}"), label, scope="row"),
        [tag("td", value, class_=_column(column)) for column, value in cells],
    )


def _sorted(run: Run) -> list[Series]:
    order = {"loss": 0, "metric": 1, "rate": 2, "gradient": 3, "speed": 4}
    known = [one for one in run.scalars.series.values() if one.name not in PASSING]
    return sorted(known, key=lambda one: order[_name(one, run).topic])


def _name(series: Series, run: Run) -> Name:
    return name_of(series.name, "train" if series.engine == run.engine else series.engine)


def _epoch(series: Series, place: int) -> str:
    return number(series.epochs[place])


def _value(name: str, value: float) -> str:
    return percent(value) if is_rate(name) and 0 <= value <= 1 else number(value)


def _column(name: str) -> str | None:
    return "extra" if name in ("least", "most", "points") else None
