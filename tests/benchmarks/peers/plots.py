"""Plots of the results, as SVG that is legible on light and on dark pages."""

import matplotlib
import matplotlib.figure

from .field import CONTENDERS

INK, OURS, THEIRS = "#808080", "#2f9e6e", "#8a93a6"  # each stands out from white and from black
STYLE = {
    "svg.hashsalt": "peers",  # so that the same results make the same file
    "svg.fonttype": "none",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "axes.spines.right": False,
}


def draw(measure, found, path, number):
    """Bars of the figure that a measure is plotted by, one for each contender that has it.

    Args:
        measure: its module.
        found: what it has found, by contender.
        path: where the SVG goes.
        number: from a value to its text.
    """
    figures = {name: each[measure.PLOT] for name, each in found.items() if measure.PLOT in each}
    with matplotlib.rc_context(STYLE):
        figure = matplotlib.figure.Figure(figsize=(7, 0.4 * len(figures) + 1), layout="constrained")
        axes = figure.subplots()
        colors = [OURS if name == "footplate" else THEIRS for name in figures]
        names = [CONTENDERS[name] for name in figures]
        bars = axes.barh(names, [*figures.values()], color=colors)
        axes.bar_label(bars, [number(value) for value in figures.values()], padding=4)
        axes.invert_yaxis()
        axes.set_xlabel(measure.FIGURES[measure.PLOT])
        axes.set_title(measure.TITLE, loc="left")
        axes.margins(x=0.12)
        figure.savefig(path, transparent=True, metadata={"Date": None})
