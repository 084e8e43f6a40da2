"""Class handlers: one object whose methods are named after what they handle."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from .errors import HandlerError, nearest
from .lifecycle import ROLES, Point, points_of
from .priority import Priority
from .signature import Call, compile_call, label

if TYPE_CHECKING:
    from .engine import Engine

__all__ = ["Handler", "connections", "key_of", "snake_case"]

_NO_VALUES: Mapping[str, Any] = MappingProxyType({})

_ELSEWHERE = re.compile(
    "on_(?:(train|validation|valid|val|test|predict|fit)_)?(?:(epoch|batch)_)?(start|begin|end)"
)
"""How Keras and Lightning name their points."""
_HERE = {"validation": "val", "valid": "val", "fit": "run", "batch": "iter"}


class Handler:
    """Base of class handlers: ``engine.attach(handler)`` connects the methods that it has.

    A method is named after an event in lower case (``epoch_completed``, also of custom events)
    or after a life-cycle point (``before_train_epoch``, see :mod:`footplate.engine.lifecycle`).
    It takes the engine, and by name whatever its event or point hands over. It returns ``None``:
    what an engine should do is said by calling it, as in ``engine.terminate()``. One object may
    be attached to several engines, unless it says that it is for one, and it must not keep any.

    If it has ``state_dict()`` and ``load_state_dict(state)``, they are saved and loaded with the
    engine, under :attr:`name`. If it has ``check_state(state)``, too, that may refuse a state by a
    ``StateError``, before anything is loaded.

    Attributes:
        priority: where its methods run in the order; ``attach(…, priority=)`` beats it.
        name: its key in the engine's state dict; by default the class's name in snake case.
        for_one_engine: whether it keeps values of one engine, so that a second one is refused.
        replicated: whether its state is the same in all processes of a run, so that the first one
            saves it for all; or the keys of the state of which that is so.
        begins_anew: whether its state is that of one run, so that an evaluator's, whose every
            evaluation is a new run, is not saved with the trainer.

    Example:
        >>> from footplate import Engine
        >>> class Greeter(Handler):
        ...     def started(self, engine):
        ...         print("hello", engine.name)
        ...     def after_val_iter(self, engine, batch_idx, outputs):
        ...         print(batch_idx, outputs)
        >>> evaluator = Engine(lambda engine, batch: batch * 2, name="val")
        >>> greeter = evaluator.attach(Greeter())
        >>> state = evaluator.run([10, 20])
        hello val
        0 20
        1 40
    """

    priority: int | str = Priority.NORMAL
    name: str | None = None
    for_one_engine: bool = False
    replicated: bool | tuple[str, ...] = False
    begins_anew: bool = False
    _owner: Callable[[], Any] = staticmethod(
        lambda: None
    )  # the engine, weakly, if only one will do

    def on_register(self, engine: Engine) -> None:
        """Called once for each engine that the handler is attached to, its methods connected."""

    def on_unregister(self, engine: Engine) -> None:
        """Called once it is detached, its methods gone; what else it brought it takes away."""


def key_of(handler: Handler) -> str:
    """The key of a handler's state: its name, or its class's in snake case.

    Example:
        >>> class LRSchedule(Handler): ...
        >>> key_of(LRSchedule())
        'lr_schedule'
    """
    return snake_case(type(handler).__name__) if handler.name is None else handler.name


def snake_case(name: str) -> str:
    """The name of a class as one writes that of a variable.

    Example:
        >>> snake_case("BinaryF1Score"), snake_case("ROCAUC")
        ('binary_f1_score', 'rocauc')
    """
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def connections(
    handler: Handler, role: str | None, events: Mapping[str, Any]
) -> Iterator[tuple[str, Callable[..., Any], Callable[[tuple[str, ...] | None], Call]]]:
    """What attaching a handler connects: event name, method, and how to make the method ready.

    Args:
        handler: the handler.
        role: the engine's name.
        events: the events that the engine can fire, by name.

    Raises:
        HandlerError: for a method whose name nearly is one to connect, but not quite, or begins
            with ``on_``; and for a class method or static method of such a name.
    """
    points = points_of(role)
    by_method = {name.lower(): name for name in events}
    elsewhere = {name for other in ROLES for name in points_of(other)} - points.keys()
    known = [*by_method, *points, *elsewhere]
    for name in _own_methods(handler):
        method = getattr(handler, name)
        if name in by_method or name in points:
            _check_bound(method, handler, name)
        if name in by_method:
            yield by_method[name], method, _method(method, by_method[name])
        elif name in points:
            point = points[name]
            yield str(point.event), method, _at_point(method, name, point)
        elif name in elsewhere and role is None:
            raise HandlerError(
                f"{type(handler).__name__}.{name} is a point of an engine with a role, but this "
                f"engine has no name; make it with Engine(…, name={name.split('_')[1]!r})."
            )
        elif name not in known and _looks_like_one(name, known):
            raise HandlerError(
                f"{type(handler).__name__}.{name} is named as if it handled something, but would "
                f"never be called.{_meant(name, known)} If it is meant as it is, begin its name "
                f"with _."
            )


def _looks_like_one(name: str, known: list[str]) -> bool:
    """Whether a name is a slip of the pen, or one that another library would call."""
    return name.startswith("on_") or ("_" in name and bool(get_close_matches(name, known, 1, 0.9)))


def _meant(name: str, known: list[str]) -> str:
    """The end of an error message: what another library's name is here, or the nearest name."""
    if found := _ELSEWHERE.fullmatch(name):
        of, unit, end = (_HERE.get(part, part) for part in found.groups(""))
        if of:
            name = "_".join(filter(None, ("after" if end == "end" else "before", of, unit)))
        else:
            unit = "iteration" if unit == "iter" else unit
            name = "_".join(filter(None, (unit, "completed" if end == "end" else "started")))
    return nearest(name, known)


def _own_methods(handler: Handler) -> Iterator[str]:
    inherited = set(dir(Handler))
    for name in dir(type(handler)):
        own = name not in inherited and not name.startswith("_")
        if own and callable(getattr(type(handler), name, None)):
            yield name


def _check_bound(method: Callable[..., Any], handler: Handler, name: str) -> None:
    if getattr(method, "__self__", None) is not handler:
        raise HandlerError(
            f"{type(handler).__name__}.{name} is named after what it handles, but is no method of "
            f"the instance; write def {name}(self, engine): …"
        )


def _method(method: Callable[..., Any], event: str) -> Callable[[tuple[str, ...] | None], Call]:
    def prepare(payload: tuple[str, ...] | None) -> Call:
        return _returning_none(compile_call(method, event, payload, needs_sender=True), method)

    return prepare


def _at_point(
    method: Callable[..., Any], name: str, point: Point
) -> Callable[[tuple[str, ...] | None], Call]:
    """Hand the values of a life-cycle point to the method, besides those of its event."""

    def prepare(payload: tuple[str, ...] | None) -> Call:
        its_own = payload or ()
        if not point.values:
            call = compile_call(method, point.event, its_own, needs_sender=True)
            return _returning_none(call, method)
        call = compile_call(method, point.event, (*its_own, *point.values), needs_sender=True)
        read = tuple(point.values.items())

        def with_values(sender: Any, values: Mapping[str, Any] = _NO_VALUES) -> Any:
            return call(sender, {**values, **{key: get(sender) for key, get in read}})

        return _returning_none(with_values, method)

    return prepare


def _returning_none(call: Call, method: Callable[..., Any]) -> Call:
    def checked(*given: Any) -> None:
        result = call(*given)
        if result is not None:
            raise TypeError(
                f"{label(method)} returned {result!r}; a handler's methods return None. "
                f"Say what should happen by calling the engine, as in engine.terminate()."
            )

    return checked
