"""Batch-size finder: how many samples fit into memory, and how fast each size is."""

from __future__ import annotations

import errno
import gc
import math
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain, islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import torch
from torch import nn

from ..beginning import check_data
from ..data.charts import chart
from ..engine import Engine
from ..errors import DataError, nearest
from ..nested import leaves
from .rehearsal import Rehearsal, cycled, rehearsal

if TYPE_CHECKING:
    from matplotlib.axes import Axes

__all__ = ["BatchSizeSearch", "TriedSize", "find_batch_size"]

_GROWTHS = ("bisect", "double")
_SIGNS = (
    "out of memory",  # CUDA, MPS, XPU
    "can't allocate memory",  # torch's allocator on the CPU
    "not enough memory",  # the same on Windows
    "_STATUS_ALLOC_FAILED",  # cuBLAS, cuDNN
    "bad_alloc",  # of C++, if nobody translates it
)


@dataclass(frozen=True)
class TriedSize:
    """A size of batch, and what became of it.

    Attributes:
        size: samples in a batch.
        outcome: ``"fits"``, ``"out of memory"``, or ``"no batch"`` if there are fewer samples.
        seconds_per_sample: how long the step takes, without loading the data; ``None`` if the
            size does not fit.
        error: the beginning of what memory was refused with; ``None`` if it was not.

    Example:
        >>> sizes = TriedSize(64, "fits", 0.001), TriedSize(128, "out of memory", error="no memory")
        >>> [one.size for one in sizes if one.fits]
        [64]
    """

    size: int
    outcome: Literal["fits", "out of memory", "no batch"]
    seconds_per_sample: float | None = None
    error: str | None = None

    @property
    def fits(self) -> bool:
        """Whether batches of this size can be trained on."""
        return self.outcome == "fits"


@dataclass(frozen=True, repr=False)
class BatchSizeSearch:
    """What a batch-size finder found. Printed, it names the size.

    Attributes:
        size: the largest size that was tried and fits.
        tried: all sizes that were tried, in growing order.

    Example:
        >>> BatchSizeSearch(64, (TriedSize(64, "fits", 0.001), TriedSize(128, "out of memory")))
        <BatchSizeSearch: largest batch size that fits: 64; fits: 64; out of memory: 128>
    """

    size: int
    tried: tuple[TriedSize, ...]

    def plot(self, path: str | Path) -> None:
        """Draw how many samples a second each size gets through, and which sizes are too large.

        Args:
            path: where the PNG goes; its folder is made if need be.
        """
        with chart(path, height=4) as (axis,):
            self._draw(axis)

    def _draw(self, axis: Axes) -> None:
        fitting = [one for one in self.tried if one.fits]
        speeds = [1 / one.seconds_per_sample for one in fitting if one.seconds_per_sample]
        axis.set_xscale("log", base=2)
        axis.plot([one.size for one in fitting], speeds, marker="o", label="fits")
        for number, one in enumerate(one for one in self.tried if not one.fits):
            label = None if number else "too large"
            axis.axvline(one.size, color="tab:red", linewidth=1, linestyle="--", label=label)
        axis.set_title(self._said, loc="left", fontsize=10)
        axis.set_xlabel("batch size")
        axis.set_ylabel("samples per second")
        axis.set_ylim(bottom=0)

    @property
    def _said(self) -> str:
        return f"largest batch size that fits: {self.size}"

    def __repr__(self) -> str:
        parts = [self._said]
        for outcome in ("fits", "out of memory", "no batch"):
            sizes = [str(one.size) for one in self.tried if one.outcome == outcome]
            parts += [f"{outcome}: {', '.join(sizes)}"] if sizes else []
        return f"<BatchSizeSearch: {'; '.join(parts)}>"


def find_batch_size(
    trainer: Engine,
    make_batches: Callable[[int], Iterable[Any]],
    *,
    start: int = 2,
    most: int | None = None,
    growth: Literal["bisect", "double"] = "bisect",
    steps: int = 3,
    model: nn.Module | None = None,
    samples: Callable[[Any], int] | None = None,
) -> BatchSizeSearch:
    """Train for a few batches of growing size until memory is refused, and put everything back.

    Each size begins where training stands; see :func:`.rehearsal` for what is put back, and what
    can't be. What lies in the host's memory meanwhile counts where training is on the CPU.

    A GPU refuses memory with an error, which ends the growth. Most operating systems don't:
    rather than refuse memory they end the process that uses too much. So on the CPU give ``most``.

    Args:
        trainer: an engine with a :class:`.TrainingStep`; or with an :class:`.Optimization`
            attached and a step that uses it.
        make_batches: takes a size and gives batches of so many samples, as
            ``lambda size: DataLoader(data, size)``. If it gives smaller ones, there are no more
            samples, and the search ends with them. A smaller one at the end is left out.
        start: the first size; 2 by default, since batch norm can't do with 1.
        most: the largest size to try; by default there is no bound but memory and data.
        growth: ``"bisect"`` doubles the size until it does not fit, and then halves the way to
            the last one that did until there is nothing between them; ``"double"`` leaves that
            out.
        steps: how many batches are trained on at each size. Where batches are accumulated it is
            one more than a window, if that is more.
        model: what is trained, if the step is not a :class:`.TrainingStep`.
        samples: how many samples a batch has; by default the length of the first tensor or array
            in it that has one.

    Returns:
        the largest size that fits, and all that were tried. The times are those of the step
        alone, without the first batch.

    Raises:
        MemoryError: if not even the first size fits.
        ValueError: for numbers that make no sense, batches larger than asked for, and a trainer
            without an Optimization.
        TypeError: for what is no engine or function, and if ``model`` or ``samples`` is missing.
        DataError: if there is no batch of the first size, or too few of one-shot data.
        RuntimeError: if the trainer is running.

    Example:
        >>> from torch.utils.data import DataLoader
        >>> from footplate.engine.step.training import training_step
        >>> network = nn.Linear(8, 1)
        >>> sgd = torch.optim.SGD(network.parameters(), lr=0.1)
        >>> trainer = Engine(training_step(network, sgd, nn.functional.mse_loss), name="train")
        >>> data = torch.utils.data.TensorDataset(torch.zeros(100, 8), torch.zeros(100, 1))
        >>> search = find_batch_size(trainer, lambda size: DataLoader(data, size), start=16)
        >>> search
        <BatchSizeSearch: largest batch size that fits: 100; fits: 16, 32, 64, 100>
        >>> search.plot("sizes.png")
    """
    _check(make_batches, start, most, growth, steps)
    trial = _Trial(trainer, make_batches, steps, model, samples or _length_of)
    tried: dict[int, TriedSize] = {}
    for size in _sizes(tried, start, most or math.inf, bisect=growth == "bisect"):
        one = trial(size)
        tried.setdefault(one.size, one)
    fitting = [one.size for one in tried.values() if one.fits]
    if not fitting:
        raise _nothing_fits(tried[min(tried)])
    return BatchSizeSearch(max(fitting), tuple(tried[size] for size in sorted(tried)))


def _check(make_batches: object, start: int, most: int | None, growth: str, steps: int) -> None:
    for name, number in {"start": start, "steps": steps, "most": most}.items():
        if number is not None and (isinstance(number, bool) or not isinstance(number, int)):
            raise ValueError(f"{name} is a whole number, given {number!r}.")
    if start < 1 or steps < 1 or (most is not None and most < start):
        raise ValueError(
            f"start and steps are at least 1, and most at least start; given start={start}, "
            f"steps={steps}, most={most}."
        )
    if growth not in _GROWTHS:
        raise ValueError(
            f"growth is 'bisect' or 'double', given {growth!r}.{nearest(str(growth), _GROWTHS)}"
        )
    if not callable(make_batches):
        raise TypeError(
            f"make_batches takes a size and gives batches, as lambda size: DataLoader(data, size); "
            f"given {make_batches!r:.80}."
        )


def _sizes(
    tried: Mapping[int, TriedSize], start: int, most: float, *, bisect: bool
) -> Iterator[int]:
    """The sizes to try, each found from what became of those before."""
    size = start
    yield size
    while size in tried and tried[size].fits and size < most:
        size = int(min(2 * size, most))
        yield size
    fitting = max((one.size for one in tried.values() if one.fits), default=0)
    too_large = min((one.size for one in tried.values() if not one.fits), default=0)
    while bisect and fitting and too_large - fitting > 1:
        middle = (fitting + too_large) // 2
        yield middle
        if middle not in tried:  # other data than before
            return
        fitting, too_large = (middle, too_large) if tried[middle].fits else (fitting, middle)


def _nothing_fits(one: TriedSize) -> Exception:
    if one.outcome == "no batch":
        return DataError(f"the data gave no batch of {one.size}; give more data or a lower start=.")
    return MemoryError(
        f"not even a batch of {one.size} fits into memory: {one.error} Give a lower start=, or a "
        f"smaller model."
    )


@dataclass(frozen=True)
class _Trial:
    """Trains on a few batches of a size; its values are those of :func:`find_batch_size`."""

    trainer: Engine
    make_batches: Callable[[int], Iterable[Any]]
    steps: int
    model: nn.Module | None
    samples: Callable[[Any], int]

    def __call__(self, size: int) -> TriedSize:
        """Try a size; the outcome is that of a smaller one if there are no more samples."""
        with rehearsal(self.trainer, self.model) as rehearsing:
            outcome = self._outcome(rehearsing, size)
            _give_back_memory()  # before what it was taken for is put back
        return outcome

    def _outcome(self, rehearsing: Rehearsal, size: int) -> TriedSize:
        try:
            batches = self.make_batches(size)
            check_data(batches)
            rehearsing.keep_data(batches)
            supply = cycled(batches)
            try:
                first = next(supply)
            except DataError:
                return TriedSize(size, "no batch")
            size = self._size_of(first, size)
            windows = (one.accumulation.size_in(1) for one in rehearsing.optimizations.values())
            whole = (one for one in supply if self._size_of(one, size) == size)
            several = islice(whole, max(self.steps, max(windows) + 1) - 1)
            seconds = [_seconds_of(rehearsing, batch) for batch in chain([first], several)]
        except Exception as error:
            if not _is_out_of_memory(error):
                raise
            said = str(error).strip().partition("\n")[0][:200] or type(error).__name__
            return TriedSize(size, "out of memory", error=said)
        counted = seconds[1:] or seconds
        return TriedSize(size, "fits", sum(counted) / len(counted) / size)

    def _size_of(self, batch: Any, wanted: int) -> int:
        size = self.samples(batch)
        if isinstance(size, bool) or not isinstance(size, int) or not 1 <= size <= wanted:
            raise ValueError(
                f"make_batches() was asked for batches of {wanted} samples, and gave one of "
                f"{size!r}. If that is wrong, say with samples= how many a batch has."
            )
        return size


def _length_of(batch: Any) -> int:
    for _, leaf in leaves(batch):
        if getattr(leaf, "ndim", 0):
            return int(leaf.shape[0])
    raise TypeError(
        f"a batch of type {type(batch).__name__} has no tensor or array to tell its size by; say "
        f"with samples= how many samples it has."
    )


def _seconds_of(rehearsing: Rehearsal, batch: Any) -> float:
    _wait()
    began = time.perf_counter()
    rehearsing.process(batch)
    _wait()
    return time.perf_counter() - began


def _wait() -> None:
    if torch.accelerator.is_available():
        torch.accelerator.synchronize()


def _give_back_memory() -> None:
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()


def _is_out_of_memory(error: Exception) -> bool:
    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    if isinstance(error, OSError):  # a worker process that can't be made
        return error.errno == errno.ENOMEM
    return isinstance(error, RuntimeError) and any(sign in str(error) for sign in _SIGNS)
