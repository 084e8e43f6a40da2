"""Detectors: models that are handed images of any size, and in training what is on each."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn

from .contract import Contract

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["Detection"]


class Detection(Contract):
    """A detector as torchvision has them: losses in training, what it has found in evaluation.

    A batch is ``(images, targets)``: lists or tuples of as many tensors, each of its own size, and
    mappings, as ``collate_fn=lambda samples: tuple(zip(*samples))`` makes them. In training mode
    ``model(images, targets)`` answers with losses by name, all of which are summed and reported.
    In evaluation mode ``model(images)`` answers with a mapping for each image; an evaluation
    reports the pair ``(found, targets)``, a prediction what was found.

    Args:
        model: the model.
        loss: none, as the model has its own.

    Example:
        >>> import torch
        >>> class Darkest(nn.Module):
        ...     def __init__(self):
        ...         super().__init__()
        ...         self.scale = nn.Parameter(torch.ones(()))
        ...     def forward(self, images, targets=None):
        ...         if self.training:
        ...             return {"classification": self.scale, "box": self.scale * len(targets)}
        ...         return [{"scores": image.min() * self.scale} for image in images]
        >>> contract = Detection(Darkest())
        >>> batch = (torch.zeros(3, 4, 5), torch.zeros(3, 6, 2)), ({"boxes": None}, {"boxes": None})
        >>> losses = contract.loss(contract.forward(None, batch), batch)
        >>> {name: loss.item() for name, loss in losses.items()}
        {'classification': 1.0, 'box': 2.0, 'loss': 3.0}
        >>> _ = contract.model.eval()
        >>> found, targets = contract.evaluate(None, batch)
        >>> len(found), targets is batch[1]
        (2, True)
    """

    name = "detection"
    needs = "a model (images, targets) -> losses by name, and in evaluation mode images -> findings"

    def __init__(self, model: nn.Module, loss: None = None) -> None:
        super().__init__(model, loss)

    @classmethod
    def fits(cls, model: object, loss: object) -> bool:
        """Any module, and no loss besides; what it answers is seen when it does."""
        return loss is None and isinstance(model, nn.Module)

    def forward(self, engine: Engine, batch: Any, turn: str | None = None) -> Any:
        """The model's losses by name."""
        images, targets = _taken_apart(batch)
        return self.model(images, targets)

    def loss(self, outputs: Any, batch: Any) -> Any:
        """The losses, and their sum."""
        if not isinstance(outputs, Mapping) or not outputs:
            raise TypeError(
                f"a detector answers with losses by name when it is trained; "
                f"{type(self.model).__name__} answered with a {type(outputs).__name__}: "
                f"{outputs!r:.80}."
            )
        for name, one in outputs.items():
            if not isinstance(one, Tensor) or one.dim():
                raise TypeError(
                    f"all that a detector answers with in training are losses, of which each is "
                    f"one number; {name!r} is {one!r:.80}."
                )
        return {**outputs, "loss": sum(outputs.values())}

    def evaluate(self, engine: Engine, batch: Any) -> Any:
        """What was found on the images, and the targets."""
        images, targets = _taken_apart(batch)
        return self.model(images), targets

    def predict(self, engine: Engine, batch: Any) -> Any:
        """What was found on the images; the batch may bring targets, which are not looked at."""
        return self.model(_taken_apart(batch)[0] if _has_targets(batch) else batch)


def _taken_apart(batch: Any) -> tuple[Any, Any]:
    """Images and targets, as lists: some models look for those."""
    if not _has_targets(batch):
        raise TypeError(
            f"a batch of a detector is (images, targets), as many mappings as images, given a "
            f"{type(batch).__name__}: {batch!r:.60}; give its loader "
            f"collate_fn=lambda samples: tuple(zip(*samples))."
        )
    images, targets = batch
    if len(images) != len(targets):
        raise ValueError(
            f"a batch of a detector has a target for each image, given {len(images)} images and "
            f"{len(targets)} targets; an image with nothing on it has a target with no boxes."
        )
    return list(images), targets


def _has_targets(batch: Any) -> bool:
    if not isinstance(batch, (list, tuple)) or len(batch) != 2:
        return False
    targets = batch[1]
    return isinstance(targets, (list, tuple)) and all(isinstance(one, Mapping) for one in targets)
