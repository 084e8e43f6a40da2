"""Predictions: what an engine puts out over its data, gathered or streamed to a writer."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

import numpy as np
import torch
from torch.utils.data import IterableDataset, SequentialSampler

from ..engine.data.device import move
from ..engine.engine import Engine
from ..engine.errors import StateError
from ..engine.handler import Handler
from ..engine.nested import leaves, map_nested
from ..engine.samplers import loaders_in, parts_of
from ..engine.serialization import is_plain

__all__ = ["Predictions"]

_KIND = (list, object)  # a list is a leaf: one entry a sample

_OUT_OF_ORDER = (
    "predictions are gathered in the order of the data set, but the loader does not keep it: "
    "{}. Give a loader with shuffle=False, or Predictions(ordered=False) if the order does not "
    "matter."
)


class Predictions(Handler):
    """Gathers the engine's outputs, in the order of the data set.

    An output is a tensor or an array, batch first, or a dict, tuple or dataclass of these. The
    batches are concatenated along dimension 0. A list has one entry a sample, and the lists of
    the batches are put one behind the other; so they are the place for predictions whose shapes
    differ. Anything else, a scalar tensor too, becomes one entry a batch.

    With a writer nothing is kept: it is handed each batch's output as it comes.

    A run that starts anew forgets; one that goes on keeps what it had, from a checkpoint too
    where all of it is plain values and tensors.

    Args:
        writer: called as ``writer(outputs, batch_idx)``, batches counted from 0.
        device: where tensors go, off their graph; ``None`` leaves them where they are.
        ordered: whether to refuse loaders that don't keep the order of their data set. Over
            several processes the order is that of each one's share.

    Raises:
        ValueError: when the run starts, if its loader shuffles or it is to make several passes;
            when a batch does not fit the first one.

    Example:
        >>> from footplate import Engine
        >>> predictor = Engine(lambda engine, batch: {"square": batch**2}, name="predict")
        >>> predictions = predictor.attach(Predictions())
        >>> state = predictor.run([torch.tensor([1, 2]), torch.tensor([3])])
        >>> predictions.outputs
        {'square': tensor([1, 4, 9])}
    """

    for_one_engine = True

    def __init__(
        self,
        writer: Callable[[Any, int], object] | None = None,
        *,
        device: str | torch.device | None = "cpu",
        ordered: bool = True,
    ) -> None:
        if writer is not None and not callable(writer):
            raise TypeError(f"writer is a function (outputs, batch_idx), given {writer!r}.")
        self.writer = writer
        self.device = None if device is None else torch.device(device)
        self.ordered = ordered
        self._batches: dict[int, Any] = {}  # by iteration; one that is run again takes its place

    @property
    def outputs(self) -> Any:
        """What was gathered so far, as one; ``None`` before the first batch and with a writer."""
        return _joined(self._batches.values()) if self._batches else None

    def started(self, engine: Engine) -> None:
        """Forget the last run, and see that this one is a single pass in order."""
        if engine.state.iteration == 0:
            self._batches.clear()
        if (engine.state.max_epochs or 1) > 1:
            raise ValueError(
                f"predictions are one pass over the data, but max_epochs is "
                f"{engine.state.max_epochs}; run with max_epochs=1."
            )
        if self.ordered:
            for loader in loaders_in(engine.state.dataloader):
                _check_order(loader)
            for part in parts_of(engine.state.dataloader):
                if getattr(getattr(part, "order", None), "shuffle", False):
                    raise ValueError(_OUT_OF_ORDER.format(f"a {type(part).__name__} shuffles"))

    def iteration_completed(self, engine: Engine) -> None:
        """Gather the output of a batch, or hand it to the writer."""
        if engine.source.passes > 1:
            raise ValueError(
                f"predictions are one pass over the data, and iteration {engine.state.iteration} "
                f"begins another; run with max_epochs=1, or fewer max_iters."
            )
        if engine.state.output is None:
            raise ValueError(
                f"the step of {engine!r} returned None; predictions are what it returns."
            )
        if engine.state.stage == "sanity_check":  # these are no predictions that anybody wants
            return
        outputs = self._detached(engine.state.output)
        if self.writer is not None:
            self.writer(outputs, engine.state.iteration - 1)
            return
        batch = map_nested(_as_samples, outputs, kind=_KIND)
        if self._batches:
            _check_fits(next(iter(self._batches.values())), batch)
        self._batches[engine.state.iteration] = batch

    def completed(self, engine: Engine) -> None:
        """Join the batches, so that they are held but once."""
        if self._batches:
            self._batches = {engine.state.iteration: self.outputs}

    def state_dict(self) -> dict[str, Any]:
        """What was gathered, by iteration; ``None`` in its place if it can't be saved."""
        return {"batches": dict(self._batches) if is_plain(self._batches) else None}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        """Go on with what was gathered.

        Raises:
            StateError: if that could not be saved.
        """
        if state["batches"] is None:
            raise StateError(
                "the outputs gathered before this state was saved are not in it, since they are "
                "no plain values or tensors; predict from the start, return tensors in dicts or "
                "tuples from the step, or give Predictions a writer."
            )
        self._batches = dict(state["batches"])

    def _detached(self, outputs: Any) -> Any:
        outputs = map_nested(torch.Tensor.detach, outputs, kind=torch.Tensor)
        # waits for the copies: they are read at once
        return outputs if self.device is None else move(outputs, self.device, non_blocking=False)


def _as_samples(one: Any) -> Any:
    """A leaf as something that grows along its first dimension."""
    if isinstance(one, (torch.Tensor, np.ndarray)):
        return one[None] if one.ndim == 0 else one
    return list(one) if isinstance(one, list) else [one]


def _joined(batches: Iterable[Any]) -> Any:
    return map_nested(_joined_leaves, *batches, kind=_KIND)


def _joined_leaves(*parts: Any) -> Any:
    if len(parts) == 1:
        return parts[0]
    if isinstance(parts[0], torch.Tensor):
        return torch.cat(parts)
    if isinstance(parts[0], np.ndarray):
        return np.concatenate(parts)
    return [one for part in parts for one in part]


def _check_fits(first: Any, batch: Any) -> None:
    """Refuse what could not be joined, now and not at the end of a long run."""
    map_nested(lambda *_: None, first, batch, kind=_KIND)
    here = dict(leaves(batch, kind=_KIND))
    for path, one in leaves(first, kind=_KIND):
        if _row(one) != _row(here[path]):
            raise ValueError(
                f"outputs differ{' at ' + path if path else ''}: {_row(one)} in the first batch, "
                f"{_row(here[path])} in this one; return a list with one entry a sample where "
                f"shapes differ."
            )


def _row(one: Any) -> str:
    """What the batches of a leaf have in common."""
    name = type(one).__name__
    return f"{name} rows of shape {tuple(one.shape[1:])}" if hasattr(one, "shape") else name


def _check_order(loader: Any) -> None:
    """Refuse a loader that does not keep the order of its data set."""
    if isinstance(loader.dataset, IterableDataset):
        return  # it has the order that it has
    batch_sampler = getattr(loader, "batch_sampler", None)
    sampler = loader.sampler if batch_sampler is None else getattr(batch_sampler, "sampler", None)
    in_order = isinstance(sampler, SequentialSampler) or getattr(sampler, "shuffle", True) is False
    if in_order and getattr(loader, "in_order", True):
        return
    blamed = batch_sampler if sampler is None else sampler
    reason = f"its sampler is a {type(blamed).__name__}" if not in_order else "in_order is False"
    raise ValueError(_OUT_OF_ORDER.format(reason))
