"""Visualizer: images of an evaluation, with what was predicted and what is true."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import torch
from torch import Tensor

from ..engine.data.prediction_grid import check_samples, prediction_grid, right
from ..engine.emitter import Handle
from ..engine.engine import Engine
from ..engine.events import Event, EventList, Events
from ..engine.handler import Handler
from ..engine.stream.media import show
from ..engine.stream.scalars import MEDIA_LOGGED
from ..engine.whole import whole

__all__ = ["Visualizer"]

Samples = tuple[Tensor, Tensor, Tensor]
"""Images, predictions and labels, batch first."""

Read = Callable[[Any, Any], Samples]
"""From a batch and an output to its samples."""


def from_pairs(batch: Any, output: Any) -> Samples:
    """Read a batch ``(images, labels, …)`` and an output ``(scores, labels)``.

    Scores of shape (B, C) stand for the class with the highest one; anything else is taken for the
    prediction itself.

    Example:
        >>> images, scores, labels = torch.rand(2, 1, 8, 8), torch.eye(2), torch.tensor([0, 0])
        >>> from_pairs((images, labels), (scores, labels))[1]
        tensor([0, 1])
    """
    predicted, labels = output
    if predicted.ndim == 2 and predicted.is_floating_point():
        predicted = predicted.argmax(dim=1)
    return batch[0], predicted, labels


class Visualizer(Handler):
    """Shows some images of an evaluation as one, mistakes first and in red.

    Attached to a trainer with ``evaluator=`` it looks at what that evaluates, and shows it on the
    trainer: to the trainer's sinks, at the trainer's iteration. Attached to an evaluator alone it
    shows it there. Names of classes come from ``state.dataset_meta["classes"]`` of the evaluator,
    if they are there.

    Nothing is read from the device until it is shown, and only as many samples are held as are.

    Args:
        evaluator: whose batches to show; by default those of the engine that this is attached to.
        when: when to show what was evaluated last, on the engine that this is attached to.
        samples: how many.
        name: what sinks call it.
        read: makes of a batch and an output of the evaluator images of shape (B, C, H, W), with C
            of 1 or 3, as floats from 0 to 1 or uint8, predictions of shape (B,), and labels of
            shape (B,). Whole numbers are classes, and can be mistaken.

    Raises:
        ValueError: when it looks at a batch, for images of another shape, or of another size than
            those before, and for predictions or labels that are not one an image.

    Example:
        >>> evaluator = Engine(lambda engine, batch: (torch.tensor([1, 0]), batch[1]), name="test")
        >>> visualizer = evaluator.attach(Visualizer(samples=2))
        >>> @evaluator.on("MEDIA_LOGGED")
        ... def look(engine, kind, name, value):
        ...     print(kind, name, value.shape[-1], value.dtype)
        >>> state = evaluator.run([(torch.rand(2, 1, 8, 8), torch.tensor([1, 1]))])
        image predictions 3 uint8
    """

    for_one_engine = True

    def __init__(
        self,
        evaluator: Engine | None = None,
        *,
        when: Event | EventList = Events.EPOCH_COMPLETED,
        samples: int = 16,
        name: str = "predictions",
        read: Read = from_pairs,
    ) -> None:
        self.evaluator = evaluator
        self.when = when
        self.samples = whole("samples", samples)
        self.title = name
        self.read = read
        self._held: Samples | None = None
        self._names: Sequence[str] | None = None
        self._looking: list[Handle] = []
        self.name = f"visualizer_{name}"

    def on_register(self, engine: Engine) -> None:
        """Gather in the evaluator's iterations, and show when asked for."""
        engine.register_events(MEDIA_LOGGED, behind=Events.ITERATION_COMPLETED)
        source = self.evaluator or engine
        self._looking = [
            source.add_event_handler(Events.STARTED, self._forget),
            source.add_event_handler(Events.ITERATION_COMPLETED, self._gather),
        ]
        engine.add_event_handler(self.when, self._show, priority=self.priority)

    def on_unregister(self, engine: Engine) -> None:
        """Look at the evaluator no longer."""
        while self._looking:
            self._looking.pop().remove()
        self._forget()

    def _forget(self) -> None:
        self._held = None

    def _gather(self, engine: Engine) -> None:
        """Hold the samples that will be shown: the first ones, but mistakes before others."""
        found = self.read(engine.state.batch, engine.state.output)
        images, predicted, labels = (torch.as_tensor(one).detach() for one in found)
        check_samples(images, predicted, labels)
        batch = self._chosen((images, predicted.to(images.device), labels.to(images.device)))
        if self._held is not None:
            _check_size(images, self._held[0])
            pairs = zip(self._held, batch, strict=True)
            images, predicted, labels = (torch.cat(pair) for pair in pairs)
            batch = self._chosen((images, predicted, labels))
        self._held = batch
        meta = getattr(engine.state, "dataset_meta", None) or {}
        self._names = meta.get("classes")

    def _chosen(self, samples: Samples) -> Samples:
        images, predicted, labels = samples
        order = torch.argsort(right(predicted, labels).byte(), stable=True)[: self.samples]
        return images[order], predicted[order], labels[order]

    def _show(self, engine: Engine) -> None:
        if self._held is not None:
            show(engine, "image", self.title, prediction_grid(*self._held, names=self._names))
            self._held = None


def _check_size(images: Tensor, before: Tensor) -> None:
    if images.shape[1:] != before.shape[1:]:
        raise ValueError(
            f"images of one evaluation are shown in one grid, and so have one shape, given "
            f"(C, H, W) of {tuple(images.shape[1:])} behind {tuple(before.shape[1:])}; give "
            f"read=… to make them alike."
        )
