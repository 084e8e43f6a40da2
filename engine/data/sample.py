"""A sample of what an engine predicts, held on its device until it is asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .png import data_uri, png

__all__ = ["PredictionSample"]

_SIDE = 96  # pixels of a picture, at most
_SHOWN = 24  # samples that are right, and are told all the same

Held = tuple[Tensor | None, Tensor, Tensor]


class PredictionSample:
    """The first samples of a pass, with what was predicted of them and what is true.

    Nothing is read from the device before :meth:`told`.

    Args:
        most: how many samples to hold.

    Example:
        >>> sample = PredictionSample(most=3)
        >>> sample.add((None, None), (torch.eye(2), torch.tensor([0, 0])))
        >>> told = sample.told()
        >>> told["mistakes"], [one["predicted"] for one in told["samples"]]
        (1, [1, 0])
    """

    def __init__(self, most: int) -> None:
        self.most = most
        self._held: list[Held] = []
        self._count = 0

    def clear(self) -> None:
        """Forget all samples."""
        self._held, self._count = [], 0

    def add(self, batch: Any, output: Any) -> None:
        """Take in a batch, if its output is a pair of predictions and truth, and there is room.

        Args:
            batch: whose first part are images, of shape (B, C, H, W) with C of 1 or 3, or (B, H,
                W); anything else is left out.
            output: ``(y_pred, y)``: scores of shape (B, K) and classes of shape (B,), or two
                tensors of floats of shape (B,) or (B, 1).
        """
        room = self.most - self._count
        if room <= 0 or (pair := _pair(output)) is None:
            return
        y_pred, y = (one.detach()[:room].clone() for one in pair)
        images = _images(batch, len(pair[1]))
        self._held.append((None if images is None else images.detach()[:room].clone(), y_pred, y))
        self._count += len(y)

    def told(self) -> dict[str, Any] | None:
        """What was held, as plain values: samples of classes, or pairs of numbers."""
        if not self._held:
            return None
        y_pred = torch.cat([one.float() for _, one, _ in self._held]).cpu()
        y = torch.cat([one for _, _, one in self._held]).cpu()
        if _are_classes(y_pred, y):
            return self._classes(y_pred, y)
        pairs = torch.stack([y_pred.reshape(-1), y.reshape(-1).float()], dim=1).tolist()
        return {"kind": "numbers", "looked_at": len(pairs), "pairs": pairs}

    def _classes(self, y_pred: Tensor, y: Tensor) -> dict[str, Any]:
        confidence, predicted = y_pred.softmax(dim=1).max(dim=1)
        wrong = predicted != y
        order = torch.argsort(wrong.byte(), descending=True, stable=True)
        shown = order[: int(wrong.sum()) + _SHOWN].tolist()
        pictures = self._pictures(shown)
        samples = [
            {
                "predicted": int(predicted[place]),
                "actual": int(y[place]),
                "confidence": round(float(confidence[place]), 4),
                **({} if picture is None else {"image": picture}),
            }
            for place, picture in zip(shown, pictures, strict=True)
        ]
        mistakes = int(wrong.sum())
        return {"kind": "classes", "looked_at": len(y), "mistakes": mistakes, "samples": samples}

    def _pictures(self, places: list[int]) -> list[str | None]:
        images = [one for held, _, y in self._held for one in _each(held, len(y))]
        known = [images[place] for place in places]
        return [None if one is None else data_uri(_drawn(one)) for one in known]


def _pair(output: Any) -> tuple[Tensor, Tensor] | None:
    """Predictions and truth, if an output is these."""
    if not isinstance(output, (tuple, list)) or len(output) != 2:
        return None
    y_pred, y = output
    if not isinstance(y_pred, Tensor) or not isinstance(y, Tensor) or not y.ndim:
        return None
    fits = y_pred.shape == y.shape and y.numel() == len(y) and y.is_floating_point()
    return (y_pred, y) if fits or _are_classes(y_pred, y) else None


def _are_classes(y_pred: Tensor, y: Tensor) -> bool:
    whole = not (y.is_floating_point() or y.is_complex() or y.dtype == torch.bool)
    return whole and y.ndim == 1 and y_pred.ndim == 2 and len(y_pred) == len(y)


def _images(batch: Any, count: int) -> Tensor | None:
    """The images of a batch, of shape (B, C, H, W); ``None`` if it has none."""
    first = batch[0] if isinstance(batch, (tuple, list)) and len(batch) else batch
    if not isinstance(first, Tensor) or not first.ndim or len(first) != count:
        return None
    if first.ndim == 3:
        first = first.unsqueeze(1)
    return first if first.ndim == 4 and first.shape[1] in (1, 3) and first.numel() else None


def _each(images: Tensor | None, count: int) -> list[Tensor | None]:
    return [None] * count if images is None else list(images)


def _drawn(image: Tensor) -> bytes:
    """An image of shape (C, H, W) as PNG, its least value black and its greatest white."""
    every = max(1, -(-max(image.shape[1:]) // _SIDE))
    pixels = image[:, ::every, ::every].float().cpu().nan_to_num()
    if image.is_floating_point():
        low, high = pixels.amin(), pixels.amax()
        pixels = (pixels - low) / (high - low).clamp(min=1e-12) * 255
    channels, height, width = pixels.shape
    array = pixels.round().clamp(0, 255).to(torch.uint8).movedim(0, -1).contiguous()
    return png(array.numpy().tobytes(), width, height, channels)
