"""Charts: how pictures of numbers look, one panel below the other, and where they go."""

from __future__ import annotations

from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["chart"]


@contextmanager
def chart(
    path: str | Path, panels: int = 1, *, height: float = 2.4
) -> Generator[list[Axes], None, None]:
    """Panels to draw on, one below the other, with one x-axis; they are written in the end.

    A panel in which something has a label gets a legend. Behind an error nothing is written.

    Args:
        path: where the PNG goes; its folder is made if need be.
        panels: how many.
        height: of each, in inches; it is 7 wide.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "new" / "chart.png"
        >>> with chart(path) as (panel,):
        ...     _ = panel.plot([1, 2, 3], [0.9, 0.5, 0.4], label="loss")
        >>> path.read_bytes()[1:4]
        b'PNG'
    """
    from matplotlib.figure import Figure  # takes long to import

    figure = Figure(figsize=(7, height * panels), layout="constrained")
    axes = list(figure.subplots(panels, 1, sharex=True, squeeze=False)[:, 0])
    yield axes
    for axis in axes:
        axis.grid(alpha=0.3)
        axis.spines[["top", "right"]].set_visible(False)
        if axis.get_legend_handles_labels()[1]:
            axis.legend(frameon=False, fontsize=8)
    Path(path).parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=120, format="png")
