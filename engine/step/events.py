"""The events of a step, from the batch to the optimizer and back to empty gradients."""

from __future__ import annotations

from collections.abc import Sequence

from ..events import Event, EventTable

__all__ = ["StepEvents"]


def _event(name: str, payload: Sequence[str], doc: str, counter: str | None = "iteration") -> Event:
    return Event(name, payload=payload, counter=counter, doc=doc)


class StepEvents(EventTable):
    """What fires within an iteration, between ITERATION_STARTED and ITERATION_COMPLETED.

    They are registered where a step, an :class:`~footplate.engine.step.optimization.Optimization`
    or a device loader is attached. All but two are counted by the iteration, so that
    ``BACKWARD_COMPLETED(every=10)`` means each tenth iteration; steps of an optimizer and steps
    left out have counts of their own.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> from footplate.engine.step.training import training_step
        >>> model = torch.nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Engine(training_step(model, sgd, torch.nn.functional.mse_loss), name="train")
        >>> @trainer.on(StepEvents.BACKWARD_COMPLETED(every=2))
        ... def look(engine):
        ...     print(engine.state.iteration, model.weight.grad.shape)
        >>> state = trainer.run([(torch.ones(8, 1), torch.ones(8, 1))] * 4)
        2 torch.Size([1, 1])
        4 torch.Size([1, 1])
    """

    TRANSFER_STARTED = _event(
        "TRANSFER_STARTED", ("batch",), "before a batch is moved to the device"
    )
    TRANSFER_COMPLETED = _event("TRANSFER_COMPLETED", ("batch",), "a batch is on the device")
    FORWARD_STARTED = _event("FORWARD_STARTED", ("batch",), "before the model is called")
    FORWARD_COMPLETED = _event("FORWARD_COMPLETED", ("outputs",), "the model has answered")
    LOSS_STARTED = _event("LOSS_STARTED", ("outputs",), "before the loss is computed")
    LOSS_COMPLETED = _event("LOSS_COMPLETED", ("loss",), "the loss is there, not yet weighted")
    BACKWARD_STARTED = _event(
        "BACKWARD_STARTED", ("loss", "optimization"), "before gradients are added up"
    )
    BACKWARD_COMPLETED = _event(
        "BACKWARD_COMPLETED", ("loss", "optimization"), "the gradients of a batch were added"
    )
    GRADIENTS_READY = _event(
        "GRADIENTS_READY",
        ("optimization",),
        "a window is full, its gradients unscaled and divided; handlers may change them",
    )
    CLIPPING_STARTED = _event("CLIPPING_STARTED", ("optimization",), "before gradients are clipped")
    CLIPPING_COMPLETED = _event(
        "CLIPPING_COMPLETED", ("optimization", "norm"), "gradients are clipped"
    )
    OPTIMIZER_STEP_STARTED = _event(
        "OPTIMIZER_STEP_STARTED",
        ("optimization",),
        "before the optimizer steps; the last moment for `optimization.veto()`",
    )
    OPTIMIZER_STEPPED = _event(
        "OPTIMIZER_STEPPED", ("optimization",), "the optimizer has changed the weights", None
    )
    OPTIMIZER_STEP_SKIPPED = _event(
        "OPTIMIZER_STEP_SKIPPED",
        ("optimization", "reason"),
        "a step was left out: `reason` is `overflow` or `veto`",
        None,
    )
    ZERO_GRAD_STARTED = _event(
        "ZERO_GRAD_STARTED", ("optimization",), "before gradients are let go"
    )
    ZERO_GRAD_COMPLETED = _event("ZERO_GRAD_COMPLETED", ("optimization",), "gradients are gone")
