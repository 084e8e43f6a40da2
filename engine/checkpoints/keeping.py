"""Which of a run's checkpoints are no longer kept."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from .manifest import Manifest

__all__ = ["comparable", "superfluous"]


def comparable(found: Iterable[tuple[Path, Manifest]]) -> list[tuple[Path, Manifest]]:
    """Those that have a score of the metric that the last of them is compared by, best first.

    Args:
        found: checkpoints of one run, from the first to the last that was saved.
    """
    scored = [pair for pair in found if pair[1].score is not None]
    own = [pair for pair in scored if pair[1].compared_by == scored[-1][1].compared_by]
    return sorted(own, key=lambda pair: -(pair[1].score or 0.0))


def superfluous(
    found: Iterable[tuple[Path, Manifest]], run: str, *, last: int, best: int
) -> list[Path]:
    """The checkpoints of a run but for the last and the best.

    Of those that are not exact, which count for neither, the latest is kept. Those that somebody
    saved under a name count for nothing, and are kept, too.

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
    own = [(path, one) for path, one in found if one.run == run and not one.kept]
    exact = [pair for pair in own if pair[1].exact]
    scored = comparable(exact)
    kept = {path for path, _ in exact[max(len(exact) - last, 0) :]}
    kept |= {path for path, _ in scored[:best]}
    kept.update([path for path, manifest in own if not manifest.exact][-1:])
    return [path for path, _ in own if path not in kept]
