"""An engine as pytorch-ignite's: for classes of it that take no other."""

from __future__ import annotations

from typing import Any

from ignite.engine import Engine as IgniteEngine
from ignite.engine import State as IgniteState

from ...engine.engine import Engine
from ...engine.priority import Priority
from .received import Received
from .tables import Tables, theirs

__all__ = ["IgniteView", "as_ignite"]


def _of_the_engine(name: str) -> Any:
    """An attribute or a method that is the engine's."""
    return property(
        lambda view: getattr(view._engine, name),
        lambda view, value: setattr(view._engine, name, value),
        doc=f"The engine's ``{name}``.",
    )


class IgniteView(IgniteEngine):
    """An engine of Footplate's in the form of pytorch-ignite's; :func:`as_ignite` makes it.

    It is an instance of pytorch-ignite's class, keeps nothing of its own, and has no second loop:
    what is read, called and attached here is the engine's. Handlers that are added through it are
    given the view where they ask for the engine. Of an engine's private parts it has the tables
    of events and handlers, which the profilers and the progress bar look into; they are computed
    from the engine's.
    """

    state = _of_the_engine("state")
    logger = _of_the_engine("logger")
    last_event_name = _of_the_engine("last_event_name")
    should_terminate = _of_the_engine("should_terminate")
    should_terminate_single_epoch = _of_the_engine("should_terminate_single_epoch")
    should_interrupt = _of_the_engine("should_interrupt")
    interrupt_resume_enabled = _of_the_engine("interrupt_resume_enabled")
    state_dict_user_keys = _of_the_engine("state_dict_user_keys")
    run = _of_the_engine("run")
    terminate = _of_the_engine("terminate")
    terminate_epoch = _of_the_engine("terminate_epoch")
    interrupt = _of_the_engine("interrupt")
    set_data = _of_the_engine("set_data")
    fire_event = _of_the_engine("fire_event")
    has_registered_events = _of_the_engine("has_registered_events")
    has_event_handler = _of_the_engine("has_event_handler")
    remove_event_handler = _of_the_engine("remove_event_handler")
    state_dict = _of_the_engine("state_dict")
    load_state_dict = _of_the_engine("load_state_dict")

    def __init__(self, engine: Engine) -> None:  # its parent's would make an engine of its own
        self._engine = engine

    def __getattr__(self, name: str) -> Any:
        if not name.startswith("_"):
            return getattr(self._engine, name)
        raise AttributeError(
            f"{name!r} belongs to the loop of pytorch-ignite's engine, and {self!r} has another "
            f"one; of private attributes it offers _allowed_events and _event_handlers."
        )

    def __repr__(self) -> str:
        return f"<IgniteView of {self._engine!r}>"

    def register_events(self, *events: Any, event_to_attr: dict[Any, str] | None = None) -> None:
        """Make custom events known to the engine, and to pytorch-ignite's loggers.

        Those accept events that pytorch-ignite's ``State`` lists with the attribute that counts
        them: its engine adds to that list here, and so does the view.
        """
        self._engine.register_events(*events, event_to_attr=event_to_attr)
        IgniteState.event_to_attr.update(event_to_attr or {})

    def add_event_handler(
        self,
        event_name: Any,
        handler: Any,
        *args: Any,
        priority: int | str = Priority.NORMAL,
        **kwargs: Any,
    ) -> Any:
        """Add a handler to the engine; it is given the view in the engine's place."""
        received = Received(handler, self._engine, self)
        return self._engine.add_event_handler(
            event_name, received, *args, priority=priority, **kwargs
        )

    @property
    def _allowed_events(self) -> list[Any]:  # type: ignore[override]
        return [theirs(event) for event in self._engine.fires.values()]

    @property
    def _event_handlers(self) -> Tables:  # type: ignore[override]
        return Tables(self._engine)


def as_ignite(engine: Engine) -> IgniteView:
    """An engine as pytorch-ignite's, for what asks ``isinstance(engine, ignite.engine.Engine)``.

    Args:
        engine: the engine; a view is returned as it is.

    Returns:
        a view onto it.

    Raises:
        TypeError: for anything else.

    Example:
        >>> from ignite.engine import Engine as IgniteEngine, Events
        >>> from ignite.handlers import EarlyStopping
        >>> from footplate import Engine
        >>> trainer = Engine(lambda engine, batch: batch)
        >>> isinstance(as_ignite(trainer), IgniteEngine)
        True
        >>> score = lambda engine: -engine.state.output
        >>> stopping = EarlyStopping(2, score, trainer=as_ignite(trainer))
        >>> _ = trainer.add_event_handler(Events.ITERATION_COMPLETED, stopping)
        >>> state = trainer.run([3, 2, 4, 5, 1])
        >>> state.iteration, state.reason == "terminated"
        (4, True)
    """
    if isinstance(engine, IgniteView):
        return engine
    if not isinstance(engine, Engine):
        raise TypeError(f"as_ignite() takes an engine of Footplate's, given {engine!r:.80}.")
    return IgniteView(engine)
