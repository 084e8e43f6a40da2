"""Which checkpoints are the best of their run: what they are compared by, and the best scores."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path
from typing import Literal

from ..better import mode_of
from ..engine import Engine
from ..errors import nearest
from ..stream.scalars import scalars_of
from ..whole import whole
from .manifest import Manifest
from .standing import has_ended_an_epoch, is_to_be_evaluated

__all__ = ["Ranking"]


class Ranking:
    """The scores of a run's checkpoints that are among its best; a higher one is better.

    Args:
        best: how many count as the best.
        metric: the entry of ``engine.state.metrics`` that makes the score; ``None`` for none.
        mode: whether ``"max"`` or ``"min"`` of it is better; by default its name tells.

    Raises:
        ValueError: for ``best`` without ``metric`` or the other way round, and for numbers out of
            range.

    Example:
        >>> ranking = Ranking(1, "val_loss", "min")
        >>> ranking.compared_by
        'min val_loss'
        >>> ranking.note(-0.5)
        >>> ranking.admits(-0.4), ranking.admits(-0.6)
        (True, False)
    """

    def __init__(
        self,
        best: int = 0,
        metric: str | None = None,
        mode: Literal["max", "min"] | None = None,
    ) -> None:
        self.best = whole("best", best, least=0)
        if (best > 0) != (metric is not None):
            raise ValueError(f"best={best} with metric={metric!r}: give both, or neither.")
        self.metric, self.sign = metric, 1.0 if mode_of(metric, mode) == "max" else -1.0
        self._scores: list[float] = []  # the best first

    @property
    def compared_by(self) -> str | None:
        """How a manifest names what its score is of."""
        return None if self.metric is None else f"{'max' if self.sign > 0 else 'min'} {self.metric}"

    # ------------------------------------------------------------------ scores of a run

    def is_measured(self, engine: Engine) -> bool:
        """Whether an evaluation has measured the weights as they are now."""
        if self.metric is None:
            return False
        return engine.state.measured.get(self.metric) == engine.state.iteration

    def measured(self, engine: Engine) -> float | None:
        """The score that an evaluation has found for the weights as they are now."""
        if self.metric is None or not self.is_measured(engine):
            return None
        metrics = engine.state.metrics
        value = scalars_of({self.metric: metrics.get(self.metric)}).get(self.metric)
        return None if value is None else self._score_of(value)

    def by_hand(self, engine: Engine) -> float | None:
        """The score that somebody has set where a save is due; none if it will be measured.

        Raises:
            TypeError: if the metric is no single number.
            KeyError: if there is no such metric, and nobody is left who could measure it.
        """
        if self.metric is None:
            return None
        metrics = scalars_of(engine.state.metrics)
        if self.metric in engine.state.metrics and self.metric not in metrics:
            kind = type(engine.state.metrics[self.metric]).__name__
            raise TypeError(
                f"the best checkpoint goes by metric {self.metric!r}, but that is no single "
                f"number; it is a {kind}."
            )
        if self.metric in engine.state.measured:
            return None
        if self.metric in metrics:
            return self._score_of(metrics[self.metric])
        if metrics and has_ended_an_epoch(engine) and not is_to_be_evaluated(engine):
            raise KeyError(
                f"the best checkpoint goes by metric {self.metric!r}, but there are only "
                f"{', '.join(map(repr, metrics))}.{nearest(self.metric, metrics)}"
            )
        return None

    def _score_of(self, value: float) -> float | None:
        return None if math.isnan(value) else self.sign * value

    # ------------------------------------------------------------------ the best of them

    def admits(self, score: float) -> bool:
        """Whether a score is among the best; of equals the earlier is."""
        return len(self._scores) < self.best or score > self._scores[self.best - 1]

    def note(self, score: float) -> None:
        """Take a score as that of a checkpoint."""
        self._scores = sorted([*self._scores, score], reverse=True)[: self.best]

    def take(self, scores: Iterable[float]) -> None:
        """Take scores as all that there are."""
        self._scores = sorted(scores, reverse=True)

    def scores(self, found: Iterable[tuple[Path, Manifest]], run: str) -> list[float]:
        """The scores of a run's checkpoints that are compared by this metric."""
        own = (one for _, one in found if one.run == run and one.exact)
        scores = [one.score for one in own if one.compared_by == self.compared_by]
        return [score for score in scores if score is not None]
