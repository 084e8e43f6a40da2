"""Orders: whether a run with several loaders has those of a run that was never stopped."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from typing import Any

import torch
from torch.utils.data import BatchSampler, Sampler, SequentialSampler

from ...engine.samplers import parts_of, samplers_in

__all__ = ["warn_of_orders"]


def warn_of_orders(loaders: Sequence[Any], workflow: Sequence[tuple[str, int]], unit: str) -> None:
    """Warn of orders of data that a checkpoint does not hold.

    Of several loaders that are trained on, the one at work is saved. What the others have drawn is
    lost, unless their orders follow the number of the pass. By epochs each pass is begun and ended
    while its loader is at work, so there it is lost of generators of their own alone.

    Args:
        loaders: one for each phase.
        workflow: the phases.
        unit: what the workflow counts.
    """
    trained = [one for (mode, _), one in zip(workflow, loaders, strict=False) if mode == "train"]
    if unit == "epoch":
        trained = list({id(one): one for one in trained}.values())
    if len(trained) > 1 and any(_draws_orders(one, own=unit == "epoch") for one in trained):
        warnings.warn(
            f"{len(trained)} loaders are trained on in turns, and some shuffle: a run that goes on "
            f"from a checkpoint may have other orders, and lose samples of the passes under way. "
            f"It goes on to the bit where each loader's sampler has set_epoch, as those of "
            f"footplate.engine.data.order.ordered_loader(dataset, …) have.",
            RuntimeWarning,
            stacklevel=4,
        )


def _draws_orders(loader: Any, *, own: bool) -> bool:
    """Whether a loader shuffles by random numbers; ``own``: by those of its own generator."""
    if any(True for _ in samplers_in(loader)):
        return False
    parts = list(parts_of(loader))
    if own:
        return any(isinstance(getattr(one, "generator", None), torch.Generator) for one in parts)
    plain = (SequentialSampler, BatchSampler)
    return any(isinstance(one, Sampler) and type(one) not in plain for one in parts)
