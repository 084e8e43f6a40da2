"""Predictions: what an engine puts out over its data, gathered or streamed to a writer."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import numpy as np
import torch
from torch.utils.data import BatchSampler, IterableDataset, SequentialSampler

from ..engine.data.device import move
from ..engine.data.sharding import Share, share_of
from ..engine.engine import Engine
from ..engine.errors import StateError
from ..engine.handler import Handler
from ..engine.nested import leaves, map_nested
from ..engine.placement.dealing import dealt_rows
from ..engine.placement.ranks import collected, gathered, world_size
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

    Over several processes whose loaders deal the samples out, as those of
    :func:`~footplate.engine.data.sharding.sharded` do, the outputs of all come back into the order
    of the data set when the run is completed, and those of samples that were dealt out twice are
    left out. For this there must be one entry a sample. Other loaders, as of an iterable data set,
    leave each process its own outputs, and so does a writer: it may ask for the ``indices`` of
    the samples in the data set, under which each process writes its own.

    A run that starts anew forgets; one that goes on keeps what it had, from a checkpoint too
    where all of it is plain values and tensors.

    Args:
        writer: called as ``writer(outputs, batch_idx)``, batches counted from 0; or, if it has a
            parameter ``indices``, as ``writer(outputs, batch_idx, indices=[…])``.
        device: where tensors go, off their graph; ``None`` leaves them where they are.
        ordered: whether to refuse loaders that don't keep the order of their data set.
        to: which of several processes get the outputs of all, ``"all"`` or the ``"first"``.

    Raises:
        ValueError: when the run starts, if its loader shuffles or it is to make several passes, or
            if a writer asks for indices that are not to be known; when a batch does not fit the
            first one, or the outputs of one process those of another.

    Example:
        >>> from footplate import Engine
        >>> predictor = Engine(lambda engine, batch: {"square": batch**2}, name="predict")
        >>> predictions = predictor.attach(Predictions())
        >>> state = predictor.run([torch.tensor([1, 2]), torch.tensor([3])])
        >>> predictions.outputs
        {'square': tensor([1, 4, 9])}
    """

    for_one_engine = True
    begins_anew = True

    def __init__(
        self,
        writer: Callable[[Any, int], object] | None = None,
        *,
        device: str | torch.device | None = "cpu",
        ordered: bool = True,
        to: str = "all",
    ) -> None:
        if writer is not None and not callable(writer):
            raise TypeError(f"writer is a function (outputs, batch_idx), given {writer!r}.")
        if to not in ("all", "first"):
            raise ValueError(f"predictions go to 'all' processes or the 'first', given {to!r}.")
        self.writer = writer
        self.to = to
        self.device = None if device is None else torch.device(device)
        self.ordered = ordered
        self._batches: dict[int, Any] = {}  # by iteration; one that is run again takes its place
        self._asks = writer is not None and _asks_for_indices(writer)
        self._places: _Places | None = None  # where in the data set the samples of a batch are
        self._of_all: Any = None  # what all processes have gathered

    @property
    def outputs(self) -> Any:
        """What was gathered, as one: of all processes once the run is completed, here so far.

        ``None`` before the first batch, with a writer, and on those that the outputs don't go to.
        """
        if self._of_all is not None:
            return self._of_all[0]
        return _joined(self._batches.values()) if self._batches else None

    def started(self, engine: Engine) -> None:
        """Forget the last run, and see that this one is a single pass in order."""
        self._of_all = None
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

    def opened(self, engine: Engine) -> None:
        """Find out where the samples are, if the writer wants to know."""
        self._places = _Places.of(engine.state.dataloader) if self._asks else None

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
            self._write(outputs, engine.state.iteration - 1)
            return
        batch = map_nested(_as_samples, outputs, kind=_KIND)
        if self._batches:
            _check_fits(next(iter(self._batches.values())), batch)
        self._batches[engine.state.iteration] = batch

    def completed(self, engine: Engine) -> None:
        """Join the batches, so that they are held but once; those of all processes, too."""
        if self._batches:
            self._batches = {engine.state.iteration: self.outputs}
        share = share_of(engine.state.dataloader)
        dealt_out = share is not None and share.world_size == world_size() > 1
        if share is None or not dealt_out or self.writer or engine.state.stage == "sanity_check":
            return
        own = next(iter(self._batches.values()), None)
        shares = gathered(own) if self.to == "all" else collected(own)
        self._of_all = (None if shares is None else _put_together(shares, share.size),)

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
        self._batches, self._of_all = dict(state["batches"]), None

    def _write(self, outputs: Any, batch_idx: int) -> None:
        writer: Any = self.writer
        if self._places is None:
            writer(outputs, batch_idx)
        else:
            writer(outputs, batch_idx, indices=self._places.of_batch(batch_idx))

    def _detached(self, outputs: Any) -> Any:
        outputs = map_nested(torch.Tensor.detach, outputs, kind=torch.Tensor)
        # waits for the copies: they are read at once
        return outputs if self.device is None else move(outputs, self.device, non_blocking=False)


class _Places(NamedTuple):
    """Where in its data set the samples of a loader's batches are."""

    share: Share
    batch_size: int

    @classmethod
    def of(cls, data: Any) -> _Places:
        share, batch_size = share_of(data), _batch_size(data)
        loader = next(loaders_in(data), None)
        if share is None and loader is not None and not isinstance(loader.dataset, IterableDataset):
            size = len(loader.dataset)
            share = Share(size, size, 0, 1, shuffle=False, exact=True)
        if share is None or share.shuffle or batch_size is None:
            raise ValueError(
                "the writer asks for the indices of samples, which this loader does not tell; give "
                "a DataLoader with batch_size= that keeps the order of a data set with a length, "
                "or a writer without a parameter 'indices'."
            )
        return cls(share, batch_size)

    def of_batch(self, number: int) -> list[int]:
        first = number * self.batch_size
        return self.share.indices(first, first + self.batch_size)


def _batch_size(data: Any) -> int | None:
    """Samples in each batch but the last; ``None`` if that is not to be known."""
    loaders = list(loaders_in(data))
    if not loaders:  # one of ours
        sizes = [one.batch_size for one in parts_of(data) if hasattr(one, "batch_size")]
        return sizes[0] if len(sizes) == 1 else None
    batches = loaders[0].batch_sampler
    if len(loaders) > 1 or type(batches) not in (BatchSampler, type(None)):
        return None
    return 1 if batches is None else int(batches.batch_size)


def _asks_for_indices(writer: Callable[..., object]) -> bool:
    try:
        return "indices" in inspect.signature(writer).parameters
    except (TypeError, ValueError):  # one of C's
        return False


def _put_together(shares: list[Any], size: int) -> Any:
    """The outputs of all processes in the order of the data set, those of each sample once."""
    present = [one for one in shares if one is not None]
    for one in present[1:]:
        _check_fits(present[0], one, "the first process", "another")
    if not present:
        return None
    return map_nested(lambda *parts: _in_turn(parts, size), *present, kind=_KIND)


def _in_turn(parts: tuple[Any, ...], size: int) -> Any:
    rows = dealt_rows(list(map(len, parts)))[:size]
    joined = _joined_leaves(*parts)
    return joined[rows] if hasattr(joined, "shape") else [joined[row] for row in rows]


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


def _check_fits(
    first: Any, batch: Any, there: str = "the first batch", place: str = "this one"
) -> None:
    """Refuse what could not be joined, now and not at the end of a long run."""
    map_nested(lambda *_: None, first, batch, kind=_KIND)
    here = dict(leaves(batch, kind=_KIND))
    for path, one in leaves(first, kind=_KIND):
        if _row(one) != _row(here[path]):
            raise ValueError(
                f"outputs differ{' at ' + path if path else ''}: {_row(one)} in {there}, "
                f"{_row(here[path])} in {place}; return a list with one entry a sample where "
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
