"""Hooks: class handlers that speak to the runner, at the points of a whole run's life."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from typing import TYPE_CHECKING, Any

from ...engine.emitter import Emitter, Handle
from ...engine.engine import Engine
from ...engine.errors import HandlerError
from ...engine.handler import Handler, key_of
from ...engine.outermost import outermost
from ...engine.priority import Priority
from ...engine.signature import check_plain
from .points import CALLS, KEEPING, POINTS, VALUES, HookPoint, hint, offered_at

if TYPE_CHECKING:
    from ..runner import Runner

__all__ = ["Hook", "HookOnEngine", "KeptHook", "connect_calls", "on_engine"]

_OF_A_CALL = ("runner", "trainer", "model", "pl_module")
_STATE = ("state_dict", "load_state_dict")
_KNOWN = [*POINTS, *CALLS, *KEEPING]


class Hook:
    """Base of hooks: one class whose methods are named after points of a run's life.

    The points have the names of MMEngine and MMCV (``before_train_epoch``), wall_e
    (``before_running_batch``) and Lightning (``on_train_batch_end``); each is an event of one of
    the runner's engines. A method takes what it asks for by name: ``runner`` (or ``trainer``),
    ``engine``, ``model`` (or ``pl_module``), and what its point hands over: ``batch_idx``,
    ``data_batch``, ``outputs``, ``metrics``, …; docs/runner.md lists them all. Any other method is
    called by ``runner.call_hook(its name, …)``, with what it asks for of that. They return
    ``None``.

    What a hook puts into the ``checkpoint`` of ``before_save_checkpoint`` is saved with each
    checkpoint, and comes back in ``after_load_checkpoint``; ``state_dict()`` and
    ``load_state_dict()`` do as well.

    Attributes:
        priority: where it runs in the order; ``register_hook(…, priority=)`` beats it.
        name: its key in checkpoints; by default the class's name in snake case.

    Example:
        >>> class Best(Hook):
        ...     highest = 0.0
        ...     def after_val_epoch(self, runner, metrics):
        ...         self.highest = max(self.highest, metrics["accuracy"])
        ...     def before_save_checkpoint(self, checkpoint):
        ...         checkpoint["highest"] = self.highest
        ...     def after_load_checkpoint(self, checkpoint):
        ...         self.highest = checkpoint["highest"]
    """

    priority: int | str = Priority.NORMAL
    name: str | None = None

    def on_register(self, runner: Runner) -> None:
        """Called once, when the runner takes the hook."""


class HookOnEngine(Handler):
    """A hook, as a handler of one engine.

    Args:
        hook: the hook.
        runner: what its methods speak to.
    """

    for_one_engine = True

    def __init__(self, hook: Hook, runner: Runner) -> None:
        self.hook = hook
        self.runner = runner
        self.priority = hook.priority
        self.name = hook.name or key_of(hook)  # type: ignore[arg-type]
        self._handles: list[Handle] = []

    def on_register(self, engine: Engine) -> None:
        """Connect the methods that are points of this engine."""
        for name, method in _methods(self.hook):
            point = POINTS.get(name)
            if point is None or engine.name not in point.roles:
                continue
            if not engine.has_registered_events(point.event):
                raise HandlerError(
                    f"{type(self.hook).__name__}.{name} is {point.event}, which {engine!r} does "
                    f"not fire: its step is a function of your own."
                )
            call = _at(method, point, self.runner)
            added = engine.add_event_handler(point.event, call, priority=self.priority)
            self._handles.append(added)

    def on_unregister(self, engine: Engine) -> None:
        """Take them away."""
        while self._handles:
            self._handles.pop().remove()


class KeptHook(HookOnEngine):
    """A hook with something to be saved with the engine."""

    def state_dict(self) -> dict[str, Any]:
        """What the hook keeps in a checkpoint, and its own state."""
        hook: Any = self.hook
        checkpoint: dict[str, Any] = {}
        for name in ("before_save_checkpoint", "on_save_checkpoint"):
            if method := getattr(hook, name, None):
                _called(method, {"checkpoint": checkpoint}, self.runner)
        own = hook.state_dict() if callable(getattr(hook, "state_dict", None)) else None
        return {"checkpoint": checkpoint, "own": own}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Give it back."""
        hook: Any = self.hook
        if state["own"] is not None:
            hook.load_state_dict(state["own"])
        for name in ("after_load_checkpoint", "on_load_checkpoint"):
            if method := getattr(hook, name, None):
                _called(method, {"checkpoint": dict(state["checkpoint"])}, self.runner)


def on_engine(hook: Hook, runner: Runner, engine: Engine) -> HookOnEngine:
    """A hook as a handler of an engine; of the train engine with what it keeps."""
    keeps = any(hasattr(hook, name) for name in (*KEEPING, "state_dict"))
    return (KeptHook if keeps and engine.name == "train" else HookOnEngine)(hook, runner)


def connect_calls(hook: Hook, emitter: Emitter, runner: Runner) -> None:
    """Have a hook's methods called when events of their names fire outside of engines.

    Args:
        hook: the hook.
        emitter: what fires them: the runner, for ``call_hook``.
        runner: what the methods speak to.

    Raises:
        HandlerError: for a method that would never be called, as its name nearly is that of a
            point, or begins as one; or that asks for what its point does not hand over.
    """
    for name, method in _methods(hook):
        _check(name, method, hook)
    for name, method in _methods(hook):
        if name in KEEPING or name in _STATE:
            continue
        if not emitter.has_registered_events(name):
            emitter.register_events(name)
        emitter.add_event_handler(name, _by_call(method, runner), priority=hook.priority)


def _check(name: str, method: Callable[..., Any], hook: Hook) -> None:
    """Refuse what is known to go wrong before anything runs."""
    if name in _KNOWN:
        check_plain(method, f"the point {name!r}")
    if name in POINTS:
        point = POINTS[name]
        _wanted(method, offered_at(point), f"{point.event} of {' and '.join(point.roles)}")
    elif name in CALLS or name in KEEPING:
        values = CALLS[name].values if name in CALLS else ("checkpoint",)
        _wanted(method, (*_OF_A_CALL, *values), f"point {name!r}")
    elif name.startswith("on_") or get_close_matches(name, _KNOWN, 1, 0.9):
        raise HandlerError(
            f"{type(hook).__name__}.{name} is named as a point of a run's life, but there is no "
            f"such point, and it would never be called.{hint(name)} If it is meant as it is, "
            f"give it another name."
        )


def _methods(hook: Hook) -> Iterator[tuple[str, Callable[..., Any]]]:
    """The public methods that the hook's class adds to :class:`Hook`."""
    for name in dir(type(hook)):
        added = not name.startswith("_") and not hasattr(Hook, name)
        if added and inspect.isfunction(inspect.getattr_static(type(hook), name)):
            yield name, getattr(hook, name)


def _at(method: Callable[..., Any], point: HookPoint, runner: Runner) -> Callable[..., None]:
    """The method as a handler of its point's event."""
    wanted = _wanted(method, offered_at(point), point.name)
    read = tuple((name, VALUES[name]) for name in wanted)

    def call(engine: Engine, **payload: Any) -> None:
        if not point.outer or outermost(engine) is engine:
            _do(method, {name: value(runner, engine, payload) for name, value in read})

    return call


def _by_call(method: Callable[..., Any], runner: Runner) -> Callable[..., None]:
    def call(_: Any, **payload: Any) -> None:
        _called(method, payload, runner)

    return call


def _called(method: Callable[..., Any], payload: Mapping[str, Any], runner: Runner) -> None:
    """Call a method with what it asks for by name; what nobody gave has its default."""
    always = zip(_OF_A_CALL, (runner, runner, runner.model, runner.model), strict=True)
    offered = {**dict(always), **payload}
    wanted = _wanted(method, tuple(offered), "this call")
    _do(method, {name: offered[name] for name in wanted})


def _do(method: Callable[..., Any], given: Mapping[str, Any]) -> None:
    result = method(**given)
    if result is not None:
        raise TypeError(
            f"{method.__qualname__} returned {result!r:.80}; a hook's methods return None. Say "
            f"what should happen by calling the runner or its engines."
        )


def _wanted(method: Callable[..., Any], offered: tuple[str, ...], where: str) -> list[str]:
    """The names of the parameters that a method is to be given."""
    parameters = inspect.signature(method).parameters.values()
    if any(one.kind is one.VAR_KEYWORD for one in parameters):
        return list(offered)
    names = [one.name for one in parameters if one.kind is not one.VAR_POSITIONAL]
    for one in parameters:
        optional = one.default is not one.empty or one.kind is one.VAR_POSITIONAL
        if one.name not in offered and not optional:
            raise HandlerError(
                f"{method.__qualname__} asks for {one.name!r}, but {where} hands over "
                f"{', '.join(offered)}."
            )
    return [name for name in names if name in offered]
