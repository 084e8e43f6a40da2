"""A model's summary: its layers, their shapes, parameters, and what they compute."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from ..nested import leaves
from ..placement.zero_state import size_of
from ..random import preserved
from .batch_norm import modes_kept
from .compiling import uncompiled

__all__ = ["Layer", "ModelSummary", "summarize"]

_UNITS = ((10**12, "T"), (10**9, "G"), (10**6, "M"), (10**3, "k"))


@dataclass(frozen=True)
class Layer:
    """One module of a model.

    Attributes:
        name: its path in the model; empty for the model itself.
        kind: its class.
        depth: how deep it lies in the model, which itself has 0.
        parameters: how many numbers its parameters have, those within it included, each once.
        trainable: how many of these require a gradient.
        inputs, outputs: shapes of the tensors that it took and gave at its first call; ``None``
            if it was not called.
        flops: floating point operations of all its calls, a multiplication and an addition being
            two; ``None`` if nothing was run.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU())
        >>> whole, linear, relu = summarize(model, torch.zeros(2, 4))
        >>> linear.name, linear.kind, linear.parameters, linear.outputs
        ('0', 'Linear', 40, ((2, 8),))
    """

    name: str
    kind: str
    depth: int
    parameters: int
    trainable: int
    inputs: tuple[tuple[int, ...], ...] | None = None
    outputs: tuple[tuple[int, ...], ...] | None = None
    flops: int | None = None


class ModelSummary(tuple[Layer, ...]):
    """The layers of a model, itself first; prints as a table.

    Example:
        >>> summary = summarize(nn.Sequential(nn.Linear(4, 8), nn.Linear(8, 2)))
        >>> [layer.parameters for layer in summary]
        [58, 40, 18]
        >>> print(summary)
        layer    kind        parameters
        -------------------------------
        (model)  Sequential          58
          0      Linear              40
          1      Linear              18
        58 parameters, 58 trainable, 0 frozen
    """

    __slots__ = ()

    def __str__(self) -> str:
        ran = self[0].flops is not None
        head = ["layer", "kind", *(("inputs", "outputs") if ran else ()), "parameters"]
        rows = [[*head, *(("FLOPs",) if ran else ())]]
        for one in self:
            name = "  " * one.depth + (one.name.rpartition(".")[2] or "(model)")
            shapes = (_shown(one.inputs), _shown(one.outputs)) if ran else ()
            flops = (_short(one.flops or 0),) if ran else ()
            rows.append([name, one.kind, *shapes, f"{one.parameters:,}", *flops])
        left = len(rows[0]) - (2 if ran else 1)
        widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
        lines = [
            "  ".join(
                cell.ljust(width) if number < left else cell.rjust(width)
                for number, (cell, width) in enumerate(zip(row, widths, strict=True))
            ).rstrip()
            for row in rows
        ]
        whole = self[0]
        frozen = whole.parameters - whole.trainable
        total = f"{whole.parameters:,} parameters, {whole.trainable:,} trainable, {frozen:,} frozen"
        if ran:
            total += f", {_short(whole.flops or 0)} FLOPs"
        return "\n".join([lines[0], "-" * max(map(len, lines)), *lines[1:], total])


def summarize(
    model: nn.Module,
    *args: Any,
    depth: int | None = None,
    forward: Callable[[nn.Module], object] | None = None,
    **kwargs: Any,
) -> ModelSummary:
    """The layers of a model with their parameters, and, given an input, shapes and operations.

    The model is called once in evaluation mode and without gradients; its modes, and the state of
    random number generators, are as before then.

    Args:
        model: the model.
        args: what to call it with; without any nothing is run.
        depth: how deep to look; ``None`` for all the way.
        forward: calls the model in another way: ``lambda model: model.generate(x)``.
        kwargs: keywords to call it with.

    Raises:
        ValueError: if ``depth`` is negative.

    Source:
        the operations are counted by ``torch.utils.flop_counter``.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.ReLU(), nn.Linear(8, 2))
        >>> print(summarize(model, torch.zeros(16, 4)))
        layer    kind        inputs   outputs  parameters  FLOPs
        --------------------------------------------------------
        (model)  Sequential  (16, 4)  (16, 2)          58  1.5 k
          0      Linear      (16, 4)  (16, 8)          40  1.0 k
          1      ReLU        (16, 8)  (16, 8)           0      0
          2      Linear      (16, 8)  (16, 2)          18    512
        58 parameters, 58 trainable, 0 frozen, 1.5 k FLOPs
    """
    if depth is not None and depth < 0:
        raise ValueError(f"depth= counts levels from 0, the model itself; given {depth}.")
    model = uncompiled(model)
    ran = _Run()
    if args or kwargs or forward is not None:
        call = forward or (lambda model: model(*args, **kwargs))
        with torch.no_grad(), modes_kept(model), preserved(), _watched(model, ran):
            model.eval()
            call(model)
    return ModelSummary(_layers(model, depth, ran))


@dataclass
class _Run:
    """What was seen of a call."""

    inputs: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    outputs: dict[str, tuple[tuple[int, ...], ...]] = field(default_factory=dict)
    flops: dict[str, int] | None = None


@contextmanager
def _watched(model: nn.Module, ran: _Run) -> Iterator[None]:
    """Note shapes and operations of what runs within."""

    def note(name: str) -> Callable[..., None]:
        def hook(module: nn.Module, args: Any, kwargs: Any, output: Any) -> None:
            ran.inputs.setdefault(name, _shapes((args, kwargs)))
            ran.outputs.setdefault(name, _shapes(output))

        return hook

    with ExitStack() as hooks, FlopCounterMode(display=False) as counter:
        for name, module in model.named_modules():
            handle = module.register_forward_hook(note(name), with_kwargs=True)
            hooks.callback(handle.remove)
        yield
    root = type(model).__name__
    ran.flops = {
        name.removeprefix(root).removeprefix("."): sum(counts.values())
        for name, counts in counter.get_flop_counts().items()
        if name != "Global"
    }
    ran.flops[""] = counter.get_total_flops()


def _layers(model: nn.Module, depth: int | None, ran: _Run) -> Iterator[Layer]:
    for name, module in model.named_modules():
        level = name.count(".") + 1 if name else 0
        if depth is not None and level > depth:
            continue
        parameters = list(module.parameters())
        yield Layer(
            name=name,
            kind=type(module).__name__,
            depth=level,
            parameters=sum(map(size_of, parameters)),
            trainable=sum(size_of(one) for one in parameters if one.requires_grad),
            inputs=ran.inputs.get(name),
            outputs=ran.outputs.get(name),
            flops=None if ran.flops is None else ran.flops.get(name, 0),
        )


def _shapes(values: Any) -> tuple[tuple[int, ...], ...]:
    return tuple(tuple(one.shape) for _, one in leaves(values, kind=Tensor))


def _shown(shapes: tuple[tuple[int, ...], ...] | None) -> str:
    return "not called" if shapes is None else ", ".join(map(str, shapes)) or "-"


def _short(number: int) -> str:
    for unit, sign in _UNITS:
        if number >= unit:
            return f"{number / unit:.1f} {sign}"
    return str(number)
