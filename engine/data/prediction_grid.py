"""Images in a grid, with what was predicted of each and what is true."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .media import Pixels, drawn

__all__ = ["check_samples", "prediction_grid", "right"]

_TILE, _IMAGE, _TITLE, _DPI = 1.4, 1.3, 0.25, 100  # inches, and dots an inch


def right(predicted: Tensor, labels: Tensor) -> Tensor:
    """Which predictions are no mistakes; those that are no classes can't be.

    Example:
        >>> right(torch.tensor([1, 2]), torch.tensor([1, 3]))
        tensor([ True, False])
    """
    if _is_measured(predicted, labels):
        return torch.ones(len(labels), dtype=torch.bool, device=labels.device)
    return predicted == labels


def prediction_grid(
    images: Tensor, predicted: Tensor, labels: Tensor, *, names: Sequence[str] | None = None
) -> Pixels:
    """Draw images in a grid, each below what was predicted, and what is true if that differs.

    Args:
        images: of shape (N, C, H, W), with C of 1 or 3, floats from 0 to 1 or uint8.
        predicted: of shape (N,).
        labels: of shape (N,).
        names: of the classes, by number.

    Returns:
        an image of shape (H', W', 3), uint8.

    Raises:
        ValueError: for images of another shape, and for predictions or labels that are not one an
            image.

    Example:
        >>> prediction_grid(torch.rand(4, 1, 8, 8), torch.arange(4), torch.arange(4)).shape
        (330, 280, 3)
    """
    from matplotlib.figure import Figure

    check_samples(images, predicted, labels)
    columns = math.ceil(math.sqrt(len(images)))
    rows = math.ceil(len(images) / columns)
    width, height = columns * _TILE, rows * (_TILE + _TITLE)
    figure = Figure((width, height), _DPI)
    axes = figure.add_axes((0, 0, 1, 1))  # one for all: an axes takes 20 ms to draw
    titles, colors = _titles(predicted, labels, names)
    for place, image in enumerate(_as_pixels(images)):
        row, column = divmod(place, columns)
        left, top = column * _TILE, row * (_TILE + _TITLE)
        edges = _within(left, top + _TITLE, image.shape[1] / image.shape[0])
        axes.imshow(image, cmap="gray", vmin=0, vmax=255, extent=edges, aspect="auto")
        middle, above = left + _TILE / 2, edges[-1] - 0.06
        axes.text(middle, above, titles[place], color=colors[place], fontsize=8, ha="center")
    axes.set(xlim=(0, width), ylim=(height, 0))
    axes.set_axis_off()
    return drawn(figure)


def check_samples(images: Tensor, predicted: Tensor, labels: Tensor) -> None:
    """Refuse what can't be drawn, by its shape.

    Args:
        images: of shape (N, C, H, W), with C of 1 or 3.
        predicted: of shape (N,).
        labels: of shape (N,).

    Raises:
        ValueError: for other shapes.

    Example:
        >>> check_samples(torch.rand(2, 1, 8, 8), torch.zeros(2), torch.zeros(2))
    """
    if images.ndim != 4 or images.shape[1] not in (1, 3):
        raise ValueError(
            f"images have shape (N, C, H, W) with C of 1 or 3, given {tuple(images.shape)}; give "
            f"read=… to make such of a batch."
        )
    for what, values in (("predictions", predicted), ("labels", labels)):
        if values.shape != images.shape[:1]:
            raise ValueError(
                f"{what} are one an image, of shape ({len(images)},), given "
                f"{tuple(values.shape)}; give read=… to make such of a batch and an output."
            )


def _is_measured(predicted: Tensor, labels: Tensor) -> bool:
    return predicted.is_floating_point() or labels.is_floating_point()


def _titles(
    predicted: Tensor, labels: Tensor, names: Sequence[str] | None
) -> tuple[list[str], list[str]]:
    """What stands above each image, and in which color."""
    measured, all_right = _is_measured(predicted, labels), right(predicted, labels).tolist()
    titles = [_named(guess, names) for guess in predicted.tolist()]
    for place, truth in enumerate(labels.tolist()):
        if measured or not all_right[place]:
            titles[place] += f"{' /' if measured else ', not'} {_named(truth, names)}"
    return titles, ["black" if one else "crimson" for one in all_right]


def _within(left: float, top: float, ratio: float) -> tuple[float, float, float, float]:
    """The left, right, bottom and top of the largest image of a ratio in a tile, in its middle."""
    width, height = (max(_IMAGE * min(1, one), 1 / _DPI) for one in (ratio, 1 / ratio))
    x, y = left + (_TILE - width) / 2, top + (_TILE - height) / 2
    return x, x + width, y + height, y


def _as_pixels(images: Tensor) -> Pixels:
    """Images of shape (N, H, W) or (N, H, W, 3)."""
    if images.is_floating_point():
        images = (255 * images.nan_to_num().clamp(0, 1)).round().to(torch.uint8)
    array: Pixels = np.ascontiguousarray(images.movedim(1, -1).cpu().numpy())
    return array[..., 0] if array.shape[-1] == 1 else array


def _named(value: float, names: Sequence[str] | None) -> str:
    if isinstance(value, float):
        return f"{value:.3g}"
    return str(names[value]) if names is not None and 0 <= value < len(names) else str(value)
