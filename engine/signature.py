"""How a handler is called: decided once, when it connects, from its signature."""

from __future__ import annotations

import functools
import inspect
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

from .errors import HandlerError

__all__ = ["Call", "check_plain", "check_process_function", "compile_call", "label", "source"]

Call = Callable[..., Any]
"""A handler made ready: ``call(sender)``, or ``call(sender, payload)`` where there is a payload."""


@dataclass(frozen=True)
class _Form:
    """One way to call a handler: ``([sender, *by_position], *args, **by_keyword, **kwargs)``."""

    with_sender: bool
    by_position: tuple[str, ...] = ()
    by_keyword: tuple[str, ...] | None = ()  # None: whatever a firing brings

    def leading(self, sender: Any, values: Mapping[str, Any]) -> tuple[Any, ...]:
        return (sender, *(values[name] for name in self.by_position)) if self.with_sender else ()


def compile_call(
    handler: Callable[..., Any],
    event: str,
    payload: Sequence[str] | None,
    args: tuple[Any, ...] = (),
    kwargs: Mapping[str, Any] | None = None,
    *,
    needs_sender: bool = False,
) -> Call:
    """Make a handler ready for an event.

    The handler gets ``(sender, *args, **kwargs)`` if it can take that, else ``(*args, **kwargs)``;
    the other way round if its first parameter has a default and is not called ``engine``.
    Of the payload it gets, by keyword, what its signature names; EXCEPTION_RAISED alone hands its
    exception over by position, right behind the sender.

    Args:
        handler: what to call.
        event: the event's name.
        payload: names of the values that the event brings; ``None`` if nobody declared them.
        args: the handler's own positional arguments.
        kwargs: the handler's own keyword arguments.
        needs_sender: whether the form without the sender is out of the question.

    Raises:
        HandlerError: if the handler is asynchronous or a generator, has no readable signature,
            or fits no form.
    """
    kwargs = dict(kwargs or {})
    signature = _signature(handler, event)
    if collision := kwargs.keys() & set(payload or ()):
        raise HandlerError(
            f"{label(handler)} was attached to {event} with {', '.join(sorted(collision))}=, which "
            f"is the name of a value that {event} itself hands over; choose another name."
        )
    forms = list(_forms(signature, event, payload, needs_sender))
    for form in forms:
        fitted = _fit(signature, form, args, kwargs, declared=payload is not None)
        if fitted is not None:
            return _close(handler, fitted, args, kwargs, simple=payload == ())
    own = [*map(repr, args), *(f"{key}={value!r}" for key, value in kwargs.items())]
    tried = [", ".join([*("engine",) * f.with_sender, *f.by_position, *own]) for f in forms]
    by_keyword = [f"{name}=" for name in payload or () if name not in forms[0].by_position]
    raise HandlerError(
        f"{label(handler)} can't handle {event}: it takes {signature} but would be called as "
        + " or ".join(f"({form})" for form in tried)
        + (f", with {', '.join(by_keyword)} where its signature names it" if by_keyword else "")
        + "."
    )


def check_process_function(function: Any) -> None:
    """Refuse what can't be called as ``function(engine, batch)``.

    Raises:
        TypeError: if it is not callable.
        HandlerError: if it is asynchronous or a generator, or its signature does not fit.
    """
    signature = _signature(function, "each batch")
    try:
        signature.bind(None, None)
    except TypeError as error:
        raise HandlerError(
            f"{label(function)} can't be the process function: it takes {signature} but would be "
            f"called as (engine, batch): {error}."
        ) from None


def label(handler: object) -> str:
    """A handler as people know it: its qualified name, or that of its type."""
    function = _innermost(handler)
    owner = getattr(function, "__self__", None)
    name = getattr(function, "__qualname__", None)
    if name is None:
        return type(function).__qualname__
    if owner is not None and not isinstance(owner, type) and not inspect.ismodule(owner):
        return f"{type(owner).__qualname__}.{function.__name__}"  # the class that it runs as
    return str(name)


def source(handler: object) -> str:
    """Where a handler is written, as ``file:line``; empty for what has no Python source."""
    function = inspect.unwrap(_innermost(handler))
    if not hasattr(function, "__code__"):
        function = getattr(type(function).__call__, "__func__", type(function).__call__)
    code = getattr(function, "__code__", None)
    return f"{code.co_filename}:{code.co_firstlineno}" if code is not None else ""


def _innermost(handler: object) -> Any:
    return handler.func if isinstance(handler, functools.partial) else handler


def _signature(handler: object, event: str) -> inspect.Signature:
    if not callable(handler):
        raise TypeError(f"the handler for {event} is not callable: {handler!r}.")
    check_plain(handler, event)
    try:
        return inspect.signature(handler)
    except (TypeError, ValueError):
        raise HandlerError(
            f"{label(handler)} has no signature to check against {event}; "
            f"wrap it: lambda engine: {label(handler)}(…)."
        ) from None


def check_plain(handler: object, event: str) -> None:
    """Refuse what would run nothing when it is called.

    Raises:
        HandlerError: if it is asynchronous or a generator.
    """
    called = _innermost(handler)
    if not inspect.isroutine(called):
        called = getattr(called, "__call__", called)  # noqa: B004 - the method itself is wanted
    for is_kind, kind in (
        (inspect.iscoroutinefunction, "an async function"),
        (inspect.isasyncgenfunction, "an async generator"),
        (inspect.isgeneratorfunction, "a generator function"),
    ):
        if is_kind(called):
            raise HandlerError(
                f"{label(handler)} is {kind}; calling it would run nothing. "
                f"Handle {event} with a plain function."
            )


def _forms(
    signature: inspect.Signature,
    event: str,
    payload: Sequence[str] | None,
    needs_sender: bool,
) -> Iterator[_Form]:
    """The ways to call a handler of this signature, the preferred one first."""
    parameters = signature.parameters.values()
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        wanted = None if payload is None else tuple(payload)
    else:
        names = [p.name for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)]
        wanted = tuple(n for n in (names if payload is None else payload) if n in names)
    without = [] if needs_sender else [_Form(False, by_keyword=wanted)]
    if _keeps_its_default(signature):
        yield from without
    if event == "EXCEPTION_RAISED":
        yield _Form(True, by_position=("exception",))
    if event != "EXCEPTION_RAISED" or wanted:
        yield _Form(True, by_keyword=wanted)
    if not _keeps_its_default(signature):
        yield from without


def _keeps_its_default(signature: inspect.Signature) -> bool:
    """Whether the engine would land in a parameter meant for something else.

    ``lambda i=i: …`` binds a loop's variable, and ``scheduler.step(epoch=None)`` counts epochs.
    """
    first = next(iter(signature.parameters.values()), None)
    if first is None or first.kind not in (first.POSITIONAL_ONLY, first.POSITIONAL_OR_KEYWORD):
        return False
    return first.default is not first.empty and first.name != "engine"


def _fit(
    signature: inspect.Signature,
    form: _Form,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    declared: bool,
) -> _Form | None:
    """The form if the signature takes it; of an undeclared payload, less what is taken already."""
    leading = form.leading(None, dict.fromkeys(form.by_position))
    try:
        if declared:
            signature.bind(*leading, *args, **dict.fromkeys(form.by_keyword or ()), **kwargs)
            return form
        taken = signature.bind_partial(*leading, *args, **kwargs).arguments
    except TypeError:
        return None
    if form.by_keyword is None:
        return form
    return replace(form, by_keyword=tuple(n for n in form.by_keyword if n not in taken))


def _close(
    handler: Callable[..., Any],
    form: _Form,
    args: tuple[Any, ...],
    kwargs: Mapping[str, Any],
    *,
    simple: bool,
) -> Call:
    """The closure with the least work per call that hands over what was decided."""
    if simple and form.with_sender and not args and not kwargs:
        return handler
    if simple and form.with_sender:
        return lambda sender: handler(sender, *args, **kwargs)
    if simple:
        return lambda sender: handler(*args, **kwargs)

    def call(sender: Any, values: Mapping[str, Any]) -> Any:
        names = values if form.by_keyword is None else form.by_keyword
        given = {name: values[name] for name in names if name in values}
        return handler(*form.leading(sender, values), *args, **given, **kwargs)

    return call
