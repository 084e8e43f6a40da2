"""Specs, ``{type: …, **arguments}``: checked without building anything, and built."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import is_dataclass
from difflib import get_close_matches
from inspect import Parameter
from typing import Any

from .finding import Names, TypeNotFound
from .fitting import Fitting, Made, Misfit
from .mmengine_names import handed_on, leaves_nested
from .paths import joined
from .problems import ABSENT, ConfigError, OptionError, Problem
from .signatures import Signature, signature_of

__all__ = ["INSTANCE", "Specs", "is_spec"]

INSTANCE = "_instance_"
"""The key that marks what was an object when a configuration was written."""

_KINDS = (bool, int, float, str)
"""The defaults that say of what kind a value is, where no annotation does."""


def is_spec(value: object) -> bool:
    """Whether it describes an object: a mapping with the key ``type``.

    Example:
        >>> is_spec({"type": "SGD", "lr": 0.1}), is_spec({"lr": 0.1})
        (True, False)
    """
    return isinstance(value, Mapping) and "type" in value


class Specs:
    """Checks specs and builds what they describe.

    Args:
        find: the class or function that a ``type`` means, looked up in a registry, or in all if
            that is ``None``; raises :class:`~footplate.recipes.config.finding.TypeNotFound`.

    Example:
        >>> import torch
        >>> specs = Specs(lambda name, registry: getattr(torch.nn, str(name)))
        >>> specs.build({"type": "Linear", "in_features": 2, "out_features": 1}, "model")
        Linear(in_features=2, out_features=1, bias=True)
        >>> print(specs.check({"type": "Linear", "in_feature": 2, "out_features": 1}, "model")[0])
        model.in_feature: Linear takes no 'in_feature', given 2. Did you mean 'in_features'?
    """

    def __init__(self, find: Callable[[object, Names | None], Callable[..., Any]]) -> None:
        self._find = find
        self._fit = Fitting(lambda name: find(name, None))

    def refused(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Iterator[str]:
        """The paths of arguments that may not be given: none, unless somebody says so."""
        yield from ()

    def check(
        self,
        spec: Any,
        path: str,
        registry: Names | None = None,
        *,
        injected: Collection[str] = (),
    ) -> list[Problem]:
        """What is wrong with a spec, and with those within it; nothing is built.

        Args:
            spec: a spec, or lists and mappings of such; anything else is right.
            path: where it stands.
            registry: where its name is looked up; in all if ``None``, as those of nested specs are.
            injected: the names of arguments that are given besides when it is built.

        Returns:
            the problems, none if it is right; whatever is given, no error is raised.
        """
        if not is_spec(spec):
            return [
                problem
                for at, inner in _parts(spec, path)
                for problem in self.check(inner, at, registry, injected=injected)
            ]
        if spec.get(INSTANCE):
            reason = "it was an instance in the run that wrote this; give one"
            return [Problem(path=path, given=spec["type"], reason=reason)]
        arguments = _arguments(spec)
        try:
            function = self._find(spec["type"], registry)
        except TypeNotFound as error:
            at = joined(path, "type")
            first = Problem(path=at, given=error.given, reason=error.reason, hint=error.hint)
            return [first, *self.check(arguments, path)]
        return self._problems(function, arguments, path, injected)

    def check_call(
        self,
        function: Callable[..., Any],
        arguments: Any,
        path: str,
        *,
        injected: Collection[str] = (),
        registry: Names | None = None,
        nested: bool = True,
    ) -> list[Problem]:
        """What is wrong with the arguments of a call; a data class is made on trial.

        Args:
            function: what would be called.
            arguments: a mapping of arguments by name.
            path: where it stands.
            injected: the names of arguments that are given besides.
            registry: where the names of specs among the arguments are looked up.
            nested: whether specs among the arguments are checked, too; otherwise somebody
                else does, who knows what is injected into them.

        Returns:
            the problems, none if all is right. What a data class says of an option, by an
            :class:`~footplate.recipes.config.problems.OptionError`, is told at that option.
        """
        if not isinstance(arguments, Mapping):
            reason = f"{_name(function)} takes its arguments as a mapping"
            return [Problem(path=path, given=arguments, reason=reason)]
        found = self._problems(function, arguments, path, injected, registry, nested=nested)
        signature = signature_of(function)
        if found or not signature or not is_dataclass(function):
            return found
        if any(name in injected for name in signature.required):
            return []
        fitted = {
            name: _with_specs(self._fitted(signature, name, self._with_made(value, nested)))
            for name, value in arguments.items()
        }
        return _on_trial(function, fitted, arguments, path)

    def build(
        self, spec: Any, registry: Names | None = None, /, *, path: str = "", **injected: Any
    ) -> Any:
        """What a spec describes: checked as a whole first, then built from the inside out.

        Args:
            spec: a spec, or lists and mappings of such; anything else is returned as it is.
            registry: where its name is looked up; in all if ``None``, as those of nested specs are.
            path: where it stands, for errors.
            injected: arguments to offer: those that the signature names are handed over, all
                of them to one with ``**kwargs``, and none to the specs within.

        Returns:
            the object.

        Raises:
            ConfigError: if anything is wrong with it, with all that is.
            Exception: what a constructor raises, with a note of where that was.
        """
        if problems := self.check(spec, path, registry, injected=injected):
            raise ConfigError(problems)
        return self._built(spec, path, registry, injected)

    def call(
        self,
        function: Callable[..., Any],
        arguments: Any,
        /,
        *,
        path: str = "",
        registry: Names | None = None,
        nested: bool = True,
        **injected: Any,
    ) -> Any:
        """Call a function with arguments that are checked as by :meth:`check_call`.

        Specs among them are built first, unless ``nested`` says that they are handed over as
        they are.

        Raises:
            ConfigError: if anything is wrong with them, with all that is.
            Exception: what the function raises, with a note of where that was.
        """
        if problems := self.check_call(
            function, arguments, path, injected=injected, registry=registry, nested=nested
        ):
            raise ConfigError(problems)
        if nested:
            arguments = {
                name: self._built(value, joined(path, name), registry, {})
                for name, value in arguments.items()
            }
        return self._called(function, arguments, injected, path)

    def _problems(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        path: str,
        injected: Collection[str],
        registry: Names | None = None,
        *,
        nested: bool = True,
    ) -> list[Problem]:
        reason = f"{_name(function)} may not be given this here"
        found = [
            Problem(path=f"{path}.{inner}", given=ABSENT, reason=reason, hint=" Leave it out.")
            for inner in self.refused(function, arguments)
        ]
        signature = signature_of(function)
        nested = nested and not leaves_nested(function)
        for name, value in arguments.items():
            at, inside = joined(path, name), len(found)
            if signature and (wrong := _misnamed(function, signature, name, value, at, injected)):
                found.append(wrong)
            if nested:
                found += self.check(value, at, registry)
            if signature and len(found) == inside:
                made = self._with_made(value, nested)
                found += self._misfits(function, signature, name, made, at)
        if signature:
            for name in signature.required:
                if name not in arguments and name not in injected:
                    reason = f"{_name(function)} needs {name!r}, which is missing"
                    found.append(Problem(path=joined(path, name), given=ABSENT, reason=reason))
        return found

    def _misfits(
        self, function: Callable[..., Any], signature: Signature, name: str, value: Any, path: str
    ) -> Iterator[Problem]:
        try:
            self._fitted(signature, name, value)
        except Misfit as misfit:
            for step in misfit.steps:
                path = joined(path, step)
            where = "there" if misfit.steps else f"as {name!r}"
            reason = f"{_name(function)} takes {misfit.expected} {where}{misfit.why}"
            given = _with_specs(misfit.given)
            yield Problem(path=path, given=given, reason=reason, hint=misfit.hint)

    def _fitted(self, signature: Signature, name: str, value: Any) -> Any:
        """An argument as its annotation says it is, or of the kind of its default."""
        default = getattr(signature.parameters.get(name), "default", Parameter.empty)
        if value is default or (type(value) is type(default) in _KINDS and value == default):
            return value
        if name in signature.hints or name not in signature.parameters:
            return self._fit(value, signature.hint(name))
        if type(default) not in _KINDS:
            return value
        try:
            return self._fit(value, float if type(default) is int else type(default))
        except Misfit as misfit:
            misfit.hint = misfit.hint or (
                f" Its default, {default!r}, says so; if it takes others, annotate it."
            )
            raise

    def _with_made(self, value: Any, known: bool) -> Any:
        """The value with a stand-in for each object that it describes, of its class if known."""
        if not is_spec(value):
            return _mapped(lambda one: self._with_made(one, known), value)
        try:
            function = self._find(value["type"], None) if known else None
        except TypeNotFound:
            return Made(value)
        return Made(value, function if isinstance(function, type) else None)

    def _built(
        self, spec: Any, path: str, registry: Names | None, injected: Mapping[str, Any]
    ) -> Any:
        if not _holds_spec(spec):
            return spec
        if not is_spec(spec):
            items = spec.items() if isinstance(spec, Mapping) else enumerate(spec)
            built = {
                key: self._built(one, joined(path, key), registry, injected) for key, one in items
            }
            return built if isinstance(spec, Mapping) else type(spec)(built.values())
        function = self._find(spec["type"], registry)
        keeps = leaves_nested(function)
        arguments = {
            name: handed_on(value) if keeps else self._built(value, joined(path, name), None, {})
            for name, value in _arguments(spec).items()
        }
        return self._called(function, arguments, injected, path)

    def _called(
        self,
        function: Callable[..., Any],
        arguments: Mapping[str, Any],
        injected: Mapping[str, Any],
        path: str,
    ) -> Any:
        signature = signature_of(function)
        try:
            if signature is None:
                return function(**arguments)
            fitted = {name: self._fitted(signature, name, one) for name, one in arguments.items()}
            for name, one in injected.items():
                if signature.open or name in signature.parameters:
                    fitted[name] = one
            return signature.call(function, fitted)
        except Exception as error:
            module = getattr(function, "__module__", None)
            error.add_note(f"while building {path or 'it'}, of type {module}.{_name(function)}")
            raise


def _name(function: Callable[..., Any]) -> str:
    return getattr(function, "__qualname__", None) or repr(function)


def _arguments(spec: Mapping[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in spec.items() if name not in ("type", INSTANCE)}


def _misnamed(
    function: Callable[..., Any],
    signature: Signature,
    name: str,
    value: object,
    path: str,
    injected: Collection[str],
) -> Problem | None:
    """What is wrong with the name of an argument."""
    if not isinstance(name, str):
        reason = f"{_name(function)} takes arguments by names, which are texts, not {name!r}"
        return Problem(path=path, given=value, reason=reason)
    takes = signature.open or name in signature.parameters
    if takes and name in injected:
        reason = f"{_name(function)} is given {name!r} by the run"
        return Problem(path=path, given=value, reason=reason, hint=" Leave it out.")
    if takes:
        return None
    known = [one for one in signature.parameters if one not in injected]
    takes_these = f" It takes {', '.join(map(repr, known))}." if known else ""
    alike = [one for one in signature.parameters if one.lower() == name.lower()]
    small = {one.lower(): one for one in known}  # variables of the environment have no capitals
    near = alike or [small[one] for one in get_close_matches(name.lower(), small, 1)]
    hint = f" Did you mean {near[0]!r}?" if near else takes_these
    return Problem(path=path, given=value, reason=f"{_name(function)} takes no {name!r}", hint=hint)


def _on_trial(
    function: Callable[..., Any], fitted: Mapping[str, Any], arguments: Mapping[str, Any], path: str
) -> list[Problem]:
    try:
        function(**fitted)
    except OptionError as error:
        at = f"{path}.{error.name}" if path else error.name
        given = arguments.get(error.name, ABSENT)
        whole = error.reason.endswith(".") or "given" in error.reason  # which says all, and once
        given = ABSENT if whole else given
        return [Problem(path=at, given=given, reason=error.reason)]
    except Exception as error:  # whatever the class raises of values that it does not take
        known = isinstance(error, (ValueError, TypeError)) and str(error)
        reason = str(error) if known else f"{type(error).__name__}: {error}"
        return [Problem(path=path, given=ABSENT, reason=reason)]
    return []


def _parts(value: Any, path: str) -> Iterator[tuple[str, Any]]:
    """What is directly within a list or a mapping, with its path."""
    if isinstance(value, Mapping):
        yield from ((joined(path, str(key)), one) for key, one in value.items())
    elif type(value) in (list, tuple):
        yield from ((joined(path, at), one) for at, one in enumerate(value))


def _holds_spec(value: Any) -> bool:
    return is_spec(value) or any(_holds_spec(one) for _, one in _parts(value, ""))


def _mapped(change: Callable[[Any], Any], value: Any) -> Any:
    """Lists and mappings with each of their values changed; anything else as it is."""
    if type(value) in (list, tuple):
        return type(value)(map(change, value))
    if type(value) is dict:
        return {key: change(one) for key, one in value.items()}
    return value


def _with_specs(value: Any) -> Any:
    return value.spec if isinstance(value, Made) else _mapped(_with_specs, value)
