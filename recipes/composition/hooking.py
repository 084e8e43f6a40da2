"""Hooking: which hooks a runner has, and what of them goes to which engine."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Mapping
from contextlib import suppress
from dataclasses import dataclass, is_dataclass
from typing import TYPE_CHECKING, Any

from ...engine.emitter import Emitter
from ...engine.engine import Engine
from ...engine.errors import HandlerError, nearest
from ...engine.handler import Handler, snake_case
from ...engine.priority import Priority
from ..config.objects import Objects, TypeNotFound
from ..config.paths import joined
from ..config.problems import ABSENT, Problem
from ..config.registry import HOOKS
from .bundles import DEFAULT_HOOKS, Bundle
from .foreign_hooks import is_foreign_hook, make_way, welcomed
from .hook import Hook, connect_calls, on_engine
from .mmengine.arguments import hook_in_our_words, hook_kind, refused_options
from .points import ROLES
from .slips import slips, taken_by

if TYPE_CHECKING:
    from ..runner import Runner

__all__ = ["Hooks", "check_custom_hooks", "check_default_hooks", "merged"]

_OURS = ("priority", "on")
_OFFERED = ("runner", "model", "folder", "evaluator", "minimum")


@dataclass
class _Hooked:
    """One hook: a handler, a :class:`.Hook`, a :class:`.Bundle`, or how to build one of these.

    Attributes:
        hook: the hook; of a plain handler a mapping until an engine needs it.
        kind: the class or function that the mapping names, or the hook's class.
        name: what the user calls it; empty if its class is name enough.
        on: the names of the engines that a plain handler goes to.
        priority: its place in the order, in place of its own.
    """

    hook: Any
    kind: Any
    name: str
    on: tuple[str, ...] = ("train",)
    priority: int | str | None = None

    @property
    def called(self) -> str:
        """What it is called in messages and folders."""
        own = getattr(self.hook, "name", None) if isinstance(self.hook, (Handler, Hook)) else None
        return self.name or own or snake_case(getattr(self.kind, "__name__", "hook"))

    @property
    def place(self) -> int:
        """Its place in the order."""
        own = getattr(self.kind, "priority", Priority.NORMAL)
        return Priority.of(own if self.priority is None else self.priority)


class Hooks:
    """The hooks of a runner.

    Args:
        runner: whose hooks they are.
        emitter: what fires the runner's own points.
        objects: what builds hooks that are given as ``{type: …}``.
    """

    def __init__(self, runner: Runner, emitter: Emitter, objects: Objects) -> None:
        self._runner = runner
        self._emitter = emitter
        self._objects = objects
        self._hooked: list[_Hooked] = []

    def in_order(self) -> list[Any]:
        """The hooks by priority, and those of the same in the order of their registration."""
        return [one.hook for one in sorted(self._hooked, key=lambda one: one.place)]

    def register(self, given: Any, priority: int | str | None = None, name: str = "") -> None:
        """Take a hook, and connect it to the engines that are there already.

        Args:
            given: an instance of a hook, or a mapping with ``type``.
            priority: beats the mapping's ``priority``, which beats the class's own.
            name: what it is called.

        Raises:
            TypeError: for what is no hook.
            HandlerError: for a hook whose methods could not be called as they are, or whose name
                another one has.
        """
        hooked = self._hooked_of(given, priority, name)
        if isinstance(hooked.hook, Hook):
            self._take(hooked.hook, hooked)
        elif callable(taken := getattr(hooked.hook, "taken", None)):
            taken(self._runner, self._emitter, hooked.priority)
        self._hooked.append(hooked)
        for engine in self._runner.engines:
            self._attach_one(hooked, engine)

    def attach_to(self, engine: Engine) -> None:
        """Attach to an engine what of the hooks is meant for it."""
        for hooked in self._hooked:
            self._attach_one(hooked, engine)

    def handler(self, name: str) -> Handler | None:
        """The handler of this name, built if it was not yet; ``None`` if there is none."""
        for hooked in self._hooked:
            if hooked.called == name and not isinstance(hooked.hook, (Hook, Bundle)):
                return self._handler_of(hooked)
        return None

    def _take(self, hook: Hook, hooked: _Hooked) -> None:
        others = [one.called for one in self._hooked if isinstance(one.hook, Hook)]
        if hooked.called in others:
            raise HandlerError(
                f"there is a hook named {hooked.called!r} already, and what they keep in a "
                f"checkpoint goes by that; set name= on one of them."
            )
        if hooked.name:
            hook.name = hooked.name
        if hooked.priority is not None:
            hook.priority = Priority.of(hooked.priority)
        connect_calls(hook, self._emitter, self._runner)
        hook.on_register(self._runner)

    def _attach_one(self, hooked: _Hooked, engine: Engine) -> None:
        if isinstance(hooked.hook, Hook):
            engine.attach(on_engine(hooked.hook, self._runner, engine))
        elif isinstance(hooked.hook, Bundle):
            for handler in hooked.hook.handlers(self._runner, engine):
                engine.attach(handler, priority=hooked.priority)
        elif engine.name in hooked.on:
            handler = self._handler_of(hooked)
            engine.attach(handler, name=hooked.name or None, priority=hooked.priority)

    def _handler_of(self, hooked: _Hooked) -> Handler:
        if isinstance(hooked.hook, Mapping):
            hooked.hook = self._built(hooked.hook, hooked.kind, hooked.called)
        if not isinstance(hooked.hook, Handler):
            raise TypeError(f"hook {hooked.called!r} is a Handler, given {hooked.hook!r:.80}.")
        return hooked.hook

    def _hooked_of(self, given: Any, priority: int | str | None, name: str) -> _Hooked:
        if not isinstance(given, Mapping):
            given = welcomed(given)
            if not _is_hook(given):
                raise TypeError(
                    f"a hook is an instance of Handler or Hook, or a mapping with type, given "
                    f"{given!r:.80}."
                )
            return _Hooked(given, type(given), name, priority=priority)
        options = {key: one for key, one in hook_in_our_words(given).items() if key not in _OURS}
        options["type"] = kind = hook_kind(options, self._objects)
        priority = given.get("priority") if priority is None else priority
        hooked = _Hooked(options, kind, name, _engines(given.get("on", "train")), priority)
        if _goes_everywhere(kind):
            hooked.hook = self._built(options, kind, hooked.called)
        return hooked

    def _built(self, options: Mapping[str, Any], kind: Any, name: str) -> Any:
        make_way(kind, self._runner)
        names = inspect.signature(kind).parameters
        wanted = [one for one in _OFFERED if one in names and one not in options]
        offered = {one: _offer(self._runner, one, name) for one in wanted}
        return welcomed(self._objects.build(options, HOOKS, path=f"hook {name!r}", **offered))


def merged(given: Mapping[str, Any] | None) -> dict[str, Any]:
    """The default hooks with what a user says of them; ``None`` takes one away.

    Example:
        >>> hooks = merged({"checkpoint": {"interval": 5}, "report": None})
        >>> hooks["checkpoint"], "report" in hooks
        ({'type': 'CheckpointHook', 'interval': 5}, False)
    """
    hooks: dict[str, Any] = dict(DEFAULT_HOOKS)
    for name, one in (given or {}).items():
        changes = isinstance(one, Mapping) and "type" not in one
        hooks[name] = {**DEFAULT_HOOKS.get(name, {}), **one} if changes else one
    return {name: one for name, one in hooks.items() if one is not None}


def check_default_hooks(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    """What is wrong with ``default_hooks``."""
    if given is None:
        return
    if not isinstance(given, Mapping):
        yield Problem(path=path, given=given, reason="is a mapping of hooks by name")
        return
    for name, one in given.items():
        changes = isinstance(one, Mapping) and "type" not in one
        if name in DEFAULT_HOOKS or (one is not None and not changes):
            continue
        yield Problem(
            path=joined(path, str(name)),
            given=one,
            reason=f"there is no default hook of this name; there are {', '.join(DEFAULT_HOOKS)}. "
            f"A hook of another name needs a type",
            hint=nearest(str(name), DEFAULT_HOOKS),
        )
    for name, one in merged(given).items():
        if name in given and not (isinstance(one, Mapping) and "type" not in one):
            yield from _check_hook(one, joined(path, str(name)), objects)


def check_custom_hooks(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    """What is wrong with ``custom_hooks``."""
    if given is None:
        return
    if not isinstance(given, (list, tuple)):
        yield Problem(path=path, given=given, reason="is a list of hooks")
        return
    for number, one in enumerate(given):
        yield from _check_hook(one, joined(path, number), objects)


def _check_hook(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if not isinstance(given, Mapping) or "type" not in given:
        if not _is_hook(given):
            reason = "is no instance of Handler or Hook, nor a mapping with type"
            yield Problem(path=path, given=given, reason=reason)
        return
    options = {key: value for key, value in hook_in_our_words(given).items() if key not in _OURS}
    yield from refused_options(options, path)
    with suppress(TypeNotFound):  # which is told below
        options["type"] = hook_kind(options, objects)
    for slip in slips(options, _OURS, taken_by(options["type"], objects, HOOKS), path):
        options.pop(slip.path.rpartition(".")[2])
        yield slip
    injected = [name for name in _OFFERED if name not in options]
    problems = objects.check(options, path, HOOKS, injected=injected)
    kind = None if problems else objects.find(options["type"], HOOKS)
    if is_dataclass(kind):  # which knows more of its options than their types
        rest = {key: value for key, value in options.items() if key != "type"}
        problems = objects.check_call(kind, rest, path, injected=injected)
    yield from problems
    if "on" in given and _goes_everywhere(kind):
        reason = "it goes to all engines, and knows itself what it has to do on which"
        yield Problem(path=f"{path}.on", given=given["on"], reason=reason, hint=" Leave it out.")
    if given.get("priority") is not None:
        try:
            Priority.of(given["priority"])
        except (ValueError, TypeError) as error:
            yield Problem(path=f"{path}.priority", given=ABSENT, reason=str(error))
    for name in _engines(given.get("on", "train")):
        if name not in ROLES:
            reason = f"the engines are {', '.join(ROLES)}"
            hint = nearest(str(name), ROLES)
            yield Problem(path=f"{path}.on", given=name, reason=reason, hint=hint)


def _is_hook(given: object) -> bool:
    ours = isinstance(given, (Handler, Hook, Bundle))
    return (ours or is_foreign_hook(given)) and not isinstance(given, type)


def _goes_everywhere(kind: Any) -> bool:
    """Whether it is a hook or a bundle, and no plain handler of one engine."""
    ours = inspect.isclass(kind) and (issubclass(kind, Hook) or hasattr(kind, "handlers"))
    return ours or is_foreign_hook(kind)


def _engines(given: Any) -> tuple[Any, ...]:
    return tuple(given) if isinstance(given, (list, tuple)) else (given,)


def _offer(runner: Runner, name: str, hook: str) -> Any:
    """What a hook that names it in its signature is given by the runner."""
    if name == "folder":
        return runner.folder / hook
    if name == "runner":
        return runner
    return getattr(runner, "validator" if name == "evaluator" else name)
