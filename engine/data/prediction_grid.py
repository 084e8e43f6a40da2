"""Images in a grid, with what was predicted of each and what is true."""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from .media import Pixels, drawn

__all__ = ["check_samples", "prediction_grid", "right"]

_TILE, _TITLE, _DPI = 1.4, 0.25, 100  # inches, inches, dots an inch


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
    figure = Figure((columns * _TILE, rows * (_TILE + _TITLE)), _DPI, layout="constrained")
    measured, all_right = _is_measured(predicted, labels), right(predicted, labels).tolist()
    told = zip(_as_pixels(images), predicted.tolist(), labels.tolist(), all_right, strict=True)
    for place, (image, guess, truth, is_right) in enumerate(told):
        axes = figure.add_subplot(rows, columns, place + 1)
        axes.imshow(image, cmap="gray", vmin=0, vmax=255)
        axes.set_axis_off()
        title = _named(guess, names)
        if measured or not is_right:
            title += f"{' /' if measured else ', not'} {_named(truth, names)}"
        axes.set_title(title, fontsize=8, color="black" if is_right else "crimson")
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
