"""Curves of a run: which scalars are shown together, in which order and colour."""

from __future__ import annotations

from collections.abc import Sequence
from itertools import cycle

from .line_chart import Line, line_chart
from .markup import Markup, data, tag
from .naming import Name, Topic, better, name_of
from .run import Run
from .series import Series

__all__ = ["COLOURS", "PASSING", "curves"]

COLOURS = {"train": "c1", "val": "c2", "test": "c3"}
"""Whose scalars have which colour, all over the page."""

PASSING = frozenset({"eta"})
"""Scalars that nobody looks at when the run is over."""

_OTHERS = ("c4", "c5", "c6", "c7", "c8")
_ORDER: tuple[Topic, ...] = ("loss", "metric", "rate", "gradient", "speed")
_MOST = 8  # lines in a chart


def curves(run: Run) -> Markup | None:
    """Charts of all scalars, those of one subject in one; ``None`` where there are none."""
    groups: dict[tuple[int, str], list[tuple[Name, Series]]] = {}
    for (engine, _), series in run.scalars.series.items():
        name = name_of(series.name, "train" if engine == run.engine else engine)
        if name.subject not in PASSING and len(series) > 1:
            key = _ORDER.index(name.topic), name.subject
            groups.setdefault(key, []).append((name, series))
    epochs = sorted((step, epoch) for epoch, step in run.scalars.epochs.get(run.engine, {}).items())
    charts = [
        line_chart(title, _lines(part, run), epochs=epochs if len(epochs) > 1 else ())
        for (_, subject), members in sorted(groups.items(), key=lambda item: item[0][0])
        for title, part in _parts(subject, members)
    ]
    return tag("div", charts, data(epochs, id="epochs"), class_="charts") if charts else None


def _parts(
    subject: str, members: list[tuple[Name, Series]]
) -> list[tuple[str, list[tuple[Name, Series]]]]:
    """The charts that a subject makes: several where one would hold too many lines."""
    parts = [members[start : start + _MOST] for start in range(0, len(members), _MOST)]
    title = subject.replace("_", " ")
    if len(parts) == 1:
        return [(title, members)]
    return [(f"{title}, {n} of {len(parts)}", part) for n, part in enumerate(parts, 1)]


def _lines(members: Sequence[tuple[Name, Series]], run: Run) -> list[Line]:
    """Each with the colour of its role, as long as there is one of that."""
    others, taken = cycle(_OTHERS), set()
    lines = []
    for name, series in members:
        kind = name.role, name.over_epoch
        colour = COLOURS.get(name.role) if kind not in taken else None
        taken.add(kind)
        way = better(series.name, run.compared_by) if name.role != "train" else None
        lines.append(
            Line(
                label=_label(series, run),
                colour=colour or next(others),
                series=series,
                mark=series.best(way) if way else None,
                is_mean=name.over_epoch,
            )
        )
    return lines


def _label(series: Series, run: Run) -> str:
    return series.name if series.engine == run.engine else f"{series.engine} {series.name}"
