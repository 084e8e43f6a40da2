"""Showing more than numbers: images, histograms, texts, figures and tables."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ..errors import nearest
from ..events import Events
from ..outermost import outermost
from .scalars import MEDIA_LOGGED

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["KINDS", "show"]

KINDS = ("image", "histogram", "text", "figure", "table")


def show(engine: Engine, kind: str, name: str, value: Any) -> None:
    """Hand something to look at to the sinks of an engine that have a place for its kind.

    It fires MEDIA_LOGGED, at once; nothing happens where no such sink is attached. Within an
    evaluation that another engine runs, step and epoch are that engine's.

    Args:
        engine: whose sinks.
        kind: what it is. ``"image"``: uint8 numbers, in an array or a tensor of shape (H, W),
            (H, W, 3), or (N, H, W, 3) for several. ``"histogram"``: numbers of any shape.
            ``"text"``: a string. ``"figure"``: one of matplotlib; it stays open. ``"table"``: a
            list of rows, each a mapping from column to value.
        name: what sinks call it.
        value: the thing itself; a sink is done with it when this returns.

    Raises:
        ValueError: for another kind.

    Example:
        >>> from footplate import Engine
        >>> from footplate.engine.stream.sink import Sink
        >>> class Shout(Sink):
        ...     def write_text(self, engine, name, value, step):
        ...         print(step, name, value)
        >>> trainer = Engine(lambda engine, batch: show(engine, "text", "batch", batch.upper()))
        >>> shout = trainer.attach(Shout())
        >>> state = trainer.run(["a", "b"])
        1 batch A
        2 batch B
    """
    if kind not in KINDS:
        raise ValueError(
            f"{name!r} is of kind {', '.join(map(repr, KINDS[:-1]))} or {KINDS[-1]!r}, given "
            f"{kind!r}.{nearest(str(kind), KINDS)}"
        )
    engine.register_events(MEDIA_LOGGED, behind=Events.ITERATION_COMPLETED)
    state = outermost(engine).state
    engine.fire_event(
        MEDIA_LOGGED, step=state.iteration, epoch=state.epoch, kind=kind, name=name, value=value
    )
