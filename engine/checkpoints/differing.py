"""What makes the promise of equal bits void, said when a run goes on."""

from __future__ import annotations

import warnings
from pathlib import Path

from .manifest import Manifest, differences

__all__ = ["warn_of_differences"]


def warn_of_differences(path: Path, manifest: Manifest, world_size: int, *, level: int) -> None:
    """Warn of what is another here than where a checkpoint was written.

    Args:
        path: the checkpoint's directory.
        manifest: what it says of itself.
        world_size: how many processes the run has now.
        level: the frame that the warnings are of, 1 being the caller's.
    """
    told = []
    if not manifest.exact:
        why = manifest.error or f"it was saved without {', '.join(manifest.left_out)}"
        told.append(f"{path} is not exact: {why}.")
    if manifest.world_size != world_size:
        told.append(_of_sizes(path, manifest.world_size, world_size))
    if different := differences(manifest):
        told.append(
            f"the run goes on from {path}, but may not come to the same bits: "
            f"{'; '.join(different)}."
        )
    for one in told:
        warnings.warn(one, RuntimeWarning, stacklevel=level + 1)


def _of_sizes(path: Path, before: int, now: int) -> str:
    told = (
        f"{path} was saved by a run of {before} process{'es' * (before > 1)} and goes on with "
        f"{now}: the rest of the pass under way is shared out anew where the data can do so, else "
        f"a warning says when they are given; batches, and so bits, are others"
    )
    if now > before:
        return (
            f"{told}; {_ranks(before, now)} took what each process keeps for itself from rank 0, "
            f"and random numbers of their own."
        )
    return f"{told}; what {_ranks(now, before)} kept for themselves, as running sums, is gone."


def _ranks(first: int, end: int) -> str:
    return f"rank {first}" if end - first == 1 else f"ranks {first} to {end - 1}"
