"""A training loop that stays your own, and gains what an engine has.

Device, precision, accumulation, clipping, several processes, checkpoints, and going on to the bit
after a kill, for some five changed lines::

    loop = setup(model, optimizer, loader, precision="bf16", checkpoints="checkpoints")
    loop.resume()
    for epoch in loop.epochs(10):
        for x, y in loop.batches():
            loss = F.cross_entropy(loop.model(x), y)
            loop.update(loss)
        loop.save()
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.optim import Optimizer

from footplate.engine.data.device import DeviceLoader
from footplate.engine.data.even import even
from footplate.engine.data.sharding import sharded
from footplate.engine.placement.devices import device_of
from footplate.engine.placement.disagreement import agree_or_raise
from footplate.engine.placement.launching import join
from footplate.engine.placement.placement import Placement
from footplate.engine.placement.ranks import local_rank, world_size
from footplate.engine.placement.replicated import Replicated
from footplate.engine.step.accumulation import Accumulation
from footplate.engine.step.optimization import Clip, Optimization
from footplate.engine.step.precision import Precision
from footplate.handlers.checkpoint import Checkpoint, Which
from footplate.recipes.raw.loop import RawLoop

__all__ = ["RawLoop", "setup"]

_BY_FABRIC = {
    "32-true": "'fp32'",
    "32": "'fp32'",
    "16-mixed": "'fp16'",
    "16": "'fp16'",
    "bf16-mixed": "'bf16'",
    "bf16-true": "no precision at all, and the model moved before its optimizer is made, by "
    "model.to(torch.bfloat16)",
    "64-true": "no precision at all, and the model moved before its optimizer is made, by "
    "model.double()",
}


def setup(
    model: nn.Module,
    optimizer: Optimizer,
    *loaders: Any,
    device: str | int | torch.device = "auto",
    precision: str | Precision | None = None,
    accumulate: int | Mapping[int, int] | Accumulation | None = None,
    clip: Clip | None = None,
    checkpoints: str | Path | Checkpoint | None = None,
    others: Mapping[str, Any] | None = None,
    resume: Which | bool = False,
    placement: Placement | Callable[[torch.device], Placement] = Replicated,
    seed: int = 0,
    launcher: str = "auto",
) -> RawLoop:
    """Make ready what a loop of your own needs.

    Processes that torchrun, srun or mpirun has launched together join each other here, and train
    one model: each takes its share of the samples that are trained on, and steps with the mean of
    all gradients. They leave each other when the script ends behind its epochs.

    Args:
        model: the model; it is moved to the device, and in all processes has the first one's
            weights.
        optimizer: its optimizer.
        loaders: data. The first are those that are trained on, and whose place is saved; all have
            their batches moved to the device. Of the others each process has all.
        device: ``"auto"`` for CUDA where there is any, else MPS, else the CPU; or a device. Each
            process has the CUDA device of its number on its machine.
        precision: ``"fp32"``, ``"bf16"``, ``"fp16"`` or a :class:`.Precision`.
        accumulate: batches that make one optimizer step, ``{epoch: batches}``, or an
            :class:`.Accumulation`.
        clip: what bounds the gradients, as ``ClipNorm(1.0)``.
        checkpoints: the directory, or a URL, that checkpoints go to; or a :class:`.Checkpoint`,
            for how many to keep and the like. Its events never fire here: :meth:`RawLoop.save`
            says when.
        others: what else is saved, by name, such as a schedule of the learning rate.
        resume: whether to go on from the checkpoint that was saved last, if there is one; or from
            which, as :meth:`RawLoop.resume` takes it.
        placement: how several processes train the model: what makes a :class:`.Placement` for this
            process's device, such as ``partial(Replicated, find_unused_parameters=True)``; or the
            one that has placed the model already, as a :class:`.Sharded` has to.
        seed: of the order in which samples are dealt out to several processes, if they are
            shuffled; a run goes on with the one that it was begun with.
        launcher: what has launched the processes, as :func:`.join` takes it.

    Raises:
        TypeError: without a loader, for what is no model or optimizer, for others without a state.
        ValueError: for a device that is not there, an unknown precision, and options that
            contradict each other.
        LaunchError: if the processes can't join each other, or have models of different shapes.

    Example:
        >>> model = nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> loop = setup(model, sgd, [torch.ones(4, 1)] * 3, device="cpu")
        >>> for epoch in loop.epochs(2):
        ...     for x in loop.batches():
        ...         stepped = loop.update((loop.model(x) - x).square().mean())
        >>> loop.iteration, stepped
        (6, True)
    """
    if not isinstance(model, nn.Module):
        raise TypeError(f"setup() takes a model of torch first, given {model!r:.80}.")
    if not loaders:
        raise TypeError("setup() was given no data; give what is trained on behind the optimizer.")
    joined = join(launcher, device=device)
    place = device_of(device, local_rank=local_rank() if world_size() > 1 else None)
    said = {"precision": _known(precision), "accumulate": accumulate}
    given: dict[str, Any] = {name: one for name, one in said.items() if one is not None}
    optimization = Optimization(optimizer, clip=clip, **given)
    placed = _placed(model, optimization, placement, place)
    saver = _checkpoint(checkpoints, model, others, placed)
    data = _moved(loaders, place, seed)
    loop = RawLoop(model, optimization, data, place, saver, joined=joined)
    if resume:
        loop.resume(resume)
    return loop


def _known(precision: str | Precision | None) -> str | Precision | None:
    """A precision, unless it goes by a name of Fabric's."""
    if (ours := _BY_FABRIC.get(str(precision))) is not None:
        raise ValueError(f"precision={precision!r} is Fabric's name; here it is {ours}.")
    return precision


def _placed(
    model: nn.Module,
    optimization: Optimization,
    given: Placement | Callable[[torch.device], Placement],
    device: torch.device,
) -> Placement:
    """The model's placement, which has placed it, and exchanges gradients if there are several."""
    agree_or_raise({"parameters of the model": _shapes(model)})
    placement = given if isinstance(given, Placement) else given(device)
    if placement is not given:
        _place(model, optimization.optimizer, placement)
    if placement.several:
        placement.bind(model, one_backward=True)
        placement.own(optimization)
        optimization.placement = placement
    return placement


def _place(model: nn.Module, optimizer: Optimizer, placement: Placement) -> None:
    """Place a model, and what its optimizer knows of its parameters."""
    before = list(model.parameters())
    moves = any(one.device.type != placement.device.type for one in before)
    placement.place(model)
    if any(one is not other for one, other in zip(before, model.parameters(), strict=True)):
        raise ValueError(
            f"moving {type(model).__name__} to {str(placement.device)!r} has given it other "
            f"parameters than the optimizer has; move it before its optimizer is made."
        )
    if moves and optimizer.state:  # its tensors follow the parameters only when they are loaded
        optimizer.load_state_dict(optimizer.state_dict())


def _shapes(model: nn.Module) -> list[str]:
    """The names and shapes of a model's parameters."""
    return [f"{name} {tuple(one.shape)}" for name, one in model.named_parameters()]


def _moved(loaders: tuple[Any, ...], device: torch.device, seed: int) -> list[Any]:
    """The loaders, their batches on the device; the first over this process's share."""
    share = sharded(loaders[0], evaluates=False, seed=seed)
    trained, *further = (DeviceLoader(one, device) for one in (share, *loaders[1:]))
    return [even(trained), *further]


def _checkpoint(
    given: str | Path | Checkpoint | None,
    model: nn.Module,
    others: Mapping[str, Any] | None,
    placement: Placement,
) -> Checkpoint | None:
    if isinstance(given, (str, Path)):
        return Checkpoint(given, model, others, placement=placement)
    if others:
        raise ValueError(
            "others= are saved in checkpoints= by a path; where that is a Checkpoint(…), give them "
            "to it, and without checkpoints= leave them out."
        )
    return given
