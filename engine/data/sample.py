"""A sample of what an engine predicts, held on its device until it is asked for."""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor

from .png import data_uri, png

__all__ = ["PredictionSample"]

_SIDE = 96  # pixels of a picture, at most
_WRONG, _RIGHT = 48, 24  # samples that are told
_ROUGH = 1e-2  # by which probabilities in few bits may miss a sum of 1

Held = tuple[Tensor | None, Tensor, Tensor]  # small pictures, predictions, truth


class PredictionSample:
    """The first samples of a pass, with what was predicted of them and what is true.

    Nothing is read from the device before :meth:`told`, and then all at once. Pictures are held
    small: of large ones some pixels alone, a byte each.

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

        A pair of other shapes than the first one's is let pass.

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
        if self._held and not _fit(self._held[0], (None, y_pred, y)):
            return
        images = _images(batch, len(pair[1]))
        small = None if images is None else _small(images.detach()[:room])
        self._held.append((small, y_pred, y))
        self._count += len(y)

    def told(self) -> dict[str, Any] | None:
        """What was held, as plain values: pairs of numbers, or samples of classes.

        Of these the most confident mistakes come first, and some that are right behind them.
        """
        if not self._held:
            return None
        y_pred = torch.cat([one.float() for _, one, _ in self._held])
        y = torch.cat([one for _, _, one in self._held])
        if not _are_classes(y_pred, y):
            (pairs,) = _read([torch.stack([y_pred.reshape(-1), y.reshape(-1).float()], dim=1)])
            return {"kind": "numbers", "looked_at": len(pairs), "pairs": pairs.tolist()}
        confidence, predicted = _probabilities(y_pred).max(dim=1)
        known = [one for one, _, _ in self._held if one is not None]
        confidence, predicted, y, *pictures = _read([confidence, predicted, y, *known])
        left = iter(pictures)
        held = [None if one is None else next(left) for one, _, _ in self._held]
        images = [
            one
            for part, (*_, y_) in zip(held, self._held, strict=True)
            for one in _each(part, len(y_))
        ]
        return _classes(confidence, predicted, y, images)


def _classes(
    confidence: Tensor, predicted: Tensor, y: Tensor, images: list[Tensor | None]
) -> dict[str, Any]:
    """The samples that are told; scores that are no numbers predict nothing."""
    unknown = confidence.isnan()
    wrong = (predicted != y) | unknown
    order = torch.argsort(confidence.nan_to_num(-1.0), descending=True, stable=True).tolist()
    mistakes = [place for place in order if wrong[place]]
    right = [place for place in range(len(y)) if not wrong[place]]
    samples = []
    for place in [*mistakes[:_WRONG], *right[:_RIGHT]]:
        one: dict[str, Any] = {"predicted": None, "actual": int(y[place])}
        if not unknown[place]:
            one["predicted"] = int(predicted[place])
            one["confidence"] = round(float(confidence[place]), 4)
        if (image := images[place]) is not None:
            one["image"] = data_uri(_drawn(image))
        samples.append(one)
    count = len(mistakes)
    return {"kind": "classes", "looked_at": len(y), "mistakes": count, "samples": samples}


def _probabilities(scores: Tensor) -> Tensor:
    """Scores as probabilities, which they may be already."""
    sums = (scores.sum(dim=1) - 1).abs() < _ROUGH
    are_some = (scores >= 0).all() & sums.all()
    return torch.where(are_some, scores, scores.softmax(dim=1))


def _read(tensors: list[Tensor]) -> list[Tensor]:
    """Tensors of one device on the host, brought there in one go."""
    flat = [one.contiguous().reshape(-1).view(torch.uint8) for one in tensors]
    parts = torch.split(torch.cat(flat).cpu(), [len(one) for one in flat])
    return [
        part.clone().view(one.dtype).reshape(one.shape)
        for part, one in zip(parts, tensors, strict=True)
    ]


def _fit(first: Held, other: Held) -> bool:
    return (
        all(
            a.shape[1:] == b.shape[1:] and a.is_floating_point() == b.is_floating_point()
            for a, b in zip(first[1:], other[1:], strict=True)
            if a is not None and b is not None
        )
        and first[1].device == other[1].device
    )


def _pair(output: Any) -> tuple[Tensor, Tensor] | None:
    """Predictions and truth, if an output is these."""
    if not isinstance(output, (tuple, list)) or len(output) != 2:
        return None
    y_pred, y = output
    if not isinstance(y_pred, Tensor) or not isinstance(y, Tensor):
        return None
    if not y.numel() or not y.ndim or not y_pred.numel() or y_pred.is_complex():
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
    if first.is_complex():
        return None
    if first.ndim == 3:
        first = first.unsqueeze(1)
    return first if first.ndim == 4 and first.shape[1] in (1, 3) and first.numel() else None


def _each(images: Tensor | None, count: int) -> list[Tensor | None]:
    return [None] * count if images is None else list(images)


def _small(images: Tensor) -> Tensor:
    """Images of shape (B, C, H, W) as bytes, each from its least value to its greatest."""
    every = max(1, -(-max(images.shape[2:]) // _SIDE))
    pixels = images[:, :, ::every, ::every]
    if images.dtype == torch.uint8:
        return pixels.clone()
    if images.is_floating_point():
        pixels = pixels.float().nan_to_num()
        low, high = pixels.amin((1, 2, 3), keepdim=True), pixels.amax((1, 2, 3), keepdim=True)
        pixels = (pixels - low) / (high - low).clamp(min=1e-12) * 255
        pixels = pixels.nan_to_num().round()
    elif images.dtype == torch.bool:
        pixels = pixels * 255
    return pixels.clamp(0, 255).to(torch.uint8)


def _drawn(image: Tensor) -> bytes:
    """An image of bytes, of shape (C, H, W), as PNG."""
    channels, height, width = image.shape
    pixels = image.movedim(0, -1).contiguous().numpy()
    return png(pixels.tobytes(), width, height, channels)
