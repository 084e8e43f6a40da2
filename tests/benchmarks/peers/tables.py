"""The rows that tell what a measure has found: for a terminal, and for a page."""

from .field import CONTENDERS


def rows_of(measure, found):
    """A head, and a row for each contender, as text."""
    yield ["", *columns(measure)]
    for name, figures in found.items():
        yield [CONTENDERS[name], *cells(measure, name, found, figures)]


def columns(measure):
    """The figures' titles; behind one that is told over another, its ratio to ours."""
    titles = []
    for title in measure.FIGURES.values():
        titles += [title] if measure.OVER is None else [title, "more", "times ours"]
    return titles


def cells(measure, name, found, figures):
    """The figures of one contender."""
    if "error" in figures:
        return [f"failed: {figures['error']}", *[""] * (len(columns(measure)) - 1)]
    told = []
    for figure in measure.FIGURES:
        value = figures.get(figure, "")
        told.append(value if isinstance(value, str) else number(value))
        if measure.OVER is not None:
            told += over(measure, name, found, figure)
    return told


def over(measure, name, found, figure):
    """What a contender adds to the bare loop, and how much that is of what ours adds."""
    more, ours = (added(measure, one, found, figure) for one in (name, "footplate"))
    if more is None or name == measure.OVER:
        return ["", ""]
    noise = measure.NOISE * found[measure.OVER][figure]
    comparable = name != "footplate" and ours is not None and min(more, ours) > noise
    return [number(more), f"{more / ours:.1f}" if comparable else ""]


def added(measure, name, found, figure):
    """What a contender adds to the bare loop; ``None`` if one of them is missing."""
    value, base = (found.get(one, {}).get(figure) for one in (name, measure.OVER))
    return None if value is None or base is None else value - base


def number(value):
    """With three digits that mean something."""
    if value == int(value) or abs(value) >= 100:
        return f"{value:,.0f}".replace(",", "\u2009")
    return f"{value:.3g}" if abs(value) < 10 else f"{value:.1f}"
