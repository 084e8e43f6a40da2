"""Images, histograms, figures and tables in the forms that sinks write."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from .png import png

__all__ = ["Histogram", "columns_and_rows", "drawn", "histogram_of", "pixels", "png_of", "tiled"]

Pixels = NDArray[np.uint8]


@dataclass(frozen=True)
class Histogram:
    """How often values fall into bins of equal width.

    Attributes:
        counts: in each bin.
        edges: of the bins, one more than counts.
        total, squares: the sum of the values, and of their squares.
        not_finite: how many values are left out as NaN or infinite.

    Example:
        >>> histogram_of([1.0, 1.0, 3.0], bins=2)
        Histogram(counts=[2, 1], edges=[1.0, 2.0, 3.0], total=5.0, squares=11.0, not_finite=0)
    """

    counts: list[int]
    edges: list[float]
    total: float
    squares: float
    not_finite: int


def histogram_of(values: Any, bins: int = 64) -> Histogram:
    """The histogram of numbers, from the least of them to the greatest.

    Args:
        values: an array, a tensor on any device, or a sequence; of any shape.
        bins: how many bins.

    Example:
        >>> found = histogram_of(torch.tensor([0.0, 0.0, 1.0, torch.nan]), bins=2)
        >>> found.counts, found.edges, found.not_finite
        ([2, 1], [0.0, 0.5, 1.0], 1)
    """
    if isinstance(values, torch.Tensor):
        values = values.detach().to("cpu", torch.float64).numpy()
    flat = np.asarray(values, dtype=np.float64).reshape(-1)
    finite = flat[np.isfinite(flat)]
    counts, edges = np.histogram(finite, bins=bins)
    return Histogram(
        counts=counts.tolist(),
        edges=edges.tolist(),
        total=float(finite.sum()),
        squares=float(finite @ finite),
        not_finite=len(flat) - len(finite),
    )


def pixels(image: Any) -> Pixels:
    """An image, or several, as an array.

    Args:
        image: uint8, of shape (H, W), (H, W, 3) or (N, H, W, 3); an array or a tensor.

    Raises:
        TypeError: for other numbers.
        ValueError: for another shape.

    Example:
        >>> pixels(torch.zeros(4, 6, dtype=torch.uint8)).shape
        (4, 6)
    """
    if isinstance(image, torch.Tensor):
        image = image.detach().cpu().numpy()
    array = np.asarray(image)
    if array.dtype != np.uint8:
        raise TypeError(
            f"an image is uint8, from 0 to 255, given {array.dtype}; of numbers from 0 to 1 take "
            f"(255 * image).round().to(torch.uint8)."
        )
    if array.ndim not in (2, 3, 4) or (array.ndim > 2 and array.shape[-1] != 3):
        raise ValueError(
            f"an image has shape (H, W), (H, W, 3), or (N, H, W, 3) for several, given "
            f"{array.shape}; where channels come first, write image.movedim(-3, -1)."
        )
    return array


def tiled(images: Pixels) -> Pixels:
    """Several images as one: rows and columns of tiles, with lines of a pixel between them.

    Args:
        images: of shape (H, W), (H, W, 3) or (N, H, W, 3); a single one is returned as it is.

    Example:
        >>> tiled(np.zeros((3, 4, 6, 3), dtype=np.uint8)).shape
        (9, 13, 3)
    """
    if images.ndim < 4:
        return images
    number, height, width, channels = images.shape
    columns = math.ceil(math.sqrt(number))
    rows = math.ceil(number / columns)
    sheet = np.full((rows * (height + 1), columns * (width + 1), channels), 255, np.uint8)
    for place, image in enumerate(images):
        top, left = place // columns * (height + 1), place % columns * (width + 1)
        sheet[top : top + height, left : left + width] = image
    return sheet[:-1, :-1]


def png_of(image: Pixels) -> bytes:
    """An image as the contents of a PNG file; several as tiles of one.

    Example:
        >>> png_of(np.zeros((2, 2), dtype=np.uint8))[1:4]
        b'PNG'
    """
    sheet = tiled(image)
    height, width, *channels = sheet.shape
    return png(sheet.tobytes(), width, height, *channels)


def drawn(figure: Any) -> Pixels:
    """A figure of matplotlib as an image of shape (H, W, 3). The figure stays as it is.

    Example:
        >>> from matplotlib.figure import Figure
        >>> figure = Figure(figsize=(2, 1), dpi=50)
        >>> drawn(figure).shape
        (50, 100, 3)
    """
    from matplotlib.image import imread

    buffer = io.BytesIO()
    figure.savefig(buffer, format="png")
    buffer.seek(0)
    image: Pixels = np.round(imread(buffer)[..., :3] * 255).astype(np.uint8)
    return image


def columns_and_rows(table: Sequence[Mapping[str, Any]]) -> tuple[list[str], list[list[Any]]]:
    """The columns of a table, in the order in which they appear, and what stands below them.

    Args:
        table: a list of rows, each a mapping from column to value.

    Raises:
        TypeError: for anything else.

    Example:
        >>> columns_and_rows([{"class": "cat", "recall": 0.5}, {"class": "dog"}])
        (['class', 'recall'], [['cat', 0.5], ['dog', None]])
    """
    if not isinstance(table, Sequence) or not all(isinstance(row, Mapping) for row in table):
        raise TypeError(
            f"a table is a list of rows, each a mapping from column to value, given "
            f"{table!r:.80}; of a data frame take frame.to_dict('records')."
        )
    columns = list(dict.fromkeys(name for row in table for name in row))
    return columns, [[_plain(row.get(name)) for name in columns] for row in table]


def _plain(value: Any) -> Any:
    """A number out of a tensor or an array, and what is no number as text."""
    if hasattr(value, "ndim") and hasattr(value, "item") and value.ndim == 0:
        value = value.item()
    return value if isinstance(value, (int, float, str, type(None))) else str(value)
