"""Which of a run's checkpoints are no longer kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .manifest import Manifest

__all__ = ["superfluous"]


def superfluous(
    found: Iterable[tuple[Path, Manifest]], run: str, *, last: int, best: int
) -> list[Path]:
    """The checkpoints of a run but for the last and the best.

    Of those that are not exact, which count for neither, the latest is kept.

    Args:
        found: checkpoints of any runs, from the first to the last that was saved.
        run: the run; those of others are not among what is returned.
        last: how many of the latest to keep.
        best: how many of the best scores to keep, the earlier one of equals.

    Returns:
        what can be taken away, from the first on.

    Example:
        >>> scores = {"a": 0.9, "b": 0.5, "c": 0.9, "d": None}
        >>> found = [
        ...     (Path(name), Manifest(run="r", iteration=0, epoch=0, score=score))
        ...     for name, score in scores.items()
        ... ]
        >>> [str(path) for path in superfluous(found, "r", last=1, best=1)]
        ['b', 'c']
    """
    own = [(path, manifest) for path, manifest in found if manifest.run == run]
    exact = [pair for pair in own if pair[1].exact]
    scored = [(manifest.score, path) for path, manifest in exact if manifest.score is not None]
    scored.sort(key=lambda pair: -pair[0])
    kept = {path for path, _ in exact[max(len(exact) - last, 0) :]}
    kept |= {path for _, path in scored[:best]}
    kept.update([path for path, manifest in own if not manifest.exact][-1:])
    return [path for path, _ in own if path not in kept]
