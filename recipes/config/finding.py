"""Which class or function a ``type`` means: by a registered name, or by its dotted path."""

from __future__ import annotations

import importlib
import inspect
import pkgutil
from collections.abc import Callable, Iterable, Mapping
from types import ModuleType
from typing import Any, Protocol

from ...engine.errors import nearest
from .mmengine_names import found_in, stand_in
from .problems import Problem
from .safety import AllowList

__all__ = ["Finder", "Names", "TypeNotFound"]

_FEW = 24


class TypeNotFound(LookupError):
    """There is no such type, or it may not be used here.

    Args:
        given: what was asked for.
        reason: why it is refused.
        hint: what to do, a sentence behind a space; empty if there is no more to say.
        candidates: what would have been found.

    Attributes:
        given, reason, hint, candidates: the same.

    Example:
        >>> hint = " Did you mean 'SGD'?"
        >>> print(TypeNotFound("SDG", "there is no optimizer of this name", hint, ["SGD"]))
        there is no optimizer of this name, given 'SDG'. Did you mean 'SGD'?
    """

    def __init__(
        self, given: object, reason: str, hint: str = "", candidates: Iterable[str] = ()
    ) -> None:
        self.given, self.reason, self.hint = given, reason, hint
        self.candidates = tuple(candidates)
        super().__init__(str(Problem(path="", given=given, reason=reason, hint=hint)))


class Names(Protocol):
    """What a registry offers a search."""

    kind: str

    def registered(self, name: str) -> Callable[..., Any] | None:
        """What was registered under the name."""

    def find(self, name: str, allowed: AllowList | None = None) -> Callable[..., Any] | None:
        """What has the name, in libraries and entry points, too."""

    def names(self) -> list[str]:
        """All names there are."""


class Finder:
    """Finds what a ``type`` means.

    Args:
        registries: those that are searched where none is named.
        allowed: the modules that a type may come from; ``None`` for any. What running code
            has registered under a name may always be used.

    Example:
        >>> Finder({}).find("collections.OrderedDict")
        <class 'collections.OrderedDict'>
        >>> Finder({}, AllowList(["torch.nn"])).find("os.system")  # doctest: +ELLIPSIS
        Traceback (most recent call last):
        footplate.recipes.config.finding.TypeNotFound: it may not be used here, given 'os.system'...
    """

    def __init__(self, registries: Mapping[str, Names], allowed: AllowList | None = None) -> None:
        self.registries = registries
        self.allowed = allowed

    def find(self, type: object, registry: Names | None = None) -> Callable[..., Any]:
        """The class or function.

        Args:
            type: a class or function itself, the name of one, or its dotted path.
            registry: where the name is looked up; in all if it is ``None``.

        Raises:
            TypeNotFound: if there is none, or it may not be used.
        """
        if callable(type):
            return stand_in(type, registry)
        if not isinstance(type, str):
            raise TypeNotFound(type, "a type is a class, a dotted path or a registered name")
        found = self._named(type, [registry] if registry else list(self.registries.values()))
        if found is not None:
            found = stand_in(found, registry)
            if self.allowed and registry is None and not self.allowed.permits_within(found):
                raise self._forbidden(type)
            return found
        if all(part.isidentifier() for part in type.split(".")) and "." in type:
            return stand_in(self._at(type), registry)
        raise self._unknown(type, registry)

    def _named(self, name: str, registries: list[Names]) -> Callable[..., Any] | None:
        meant = {one.kind: found for one in registries if (found := one.registered(name))}
        if len(set(map(id, meant.values()))) > 1:
            kinds = " and ".join(f"a {kind.replace('_', ' ')}" for kind in meant)
            raise TypeNotFound(name, f"{kinds} have this name", " Give the dotted path.")
        if meant:
            return next(iter(meant.values()))
        if "." in name:  # no library offers a path as a name, but MMEngine a scope before it
            scoped = (found_in(one.kind, name, self.allowed) for one in registries)
            return next((found for found in scoped if found), None)
        for registry in registries:
            try:
                found = registry.find(name, self.allowed)
            except Exception as error:  # whatever a library that offers it runs into
                raise _broken(name, f"a {registry.kind}", error) from error
            if found:
                return found
        return None

    def _unknown(self, name: str, registry: Names | None) -> TypeNotFound:
        if registry is not None:
            names, what = registry.names(), registry.kind.replace("_", " ")
        else:
            names = sorted({n for one in self.registries.values() for n in one.names()})
            what = "type"
        if self.allowed and name in names:
            return self._forbidden(name)
        hint = _known(name, names)
        if name.isidentifier() and not self.allowed and not nearest(name, names):
            hint += " A name is known once the module that registers it is imported; its path, as "
            hint += f"my_module.{name}, imports it."
        return TypeNotFound(name, f"there is no {what} of this name", hint, names)

    def _at(self, path: str) -> Callable[..., Any]:
        if self.allowed and not self.allowed.permits_spelled(path):
            raise self._forbidden(path)
        parts = path.split(".")
        found: Any = _imported(parts[0], path)
        for at, part in enumerate(parts[1:], 1):
            passed = ".".join(parts[:at])
            if self.allowed and not self.allowed.permits_step(found, passed):
                raise self._forbidden(path)
            found = _step(found, part, passed, path)
        if not callable(found):
            raise TypeNotFound(
                path,
                f"it is {_article(found)}, which can't be called",
                _inside(path, found),
                _public(found),
            )
        if self.allowed and not self.allowed.permits_found(found):
            raise self._forbidden(path)
        return found  # type: ignore[no-any-return]

    def _forbidden(self, path: str) -> TypeNotFound:
        hint, prefixes = (self.allowed.hint, self.allowed.prefixes) if self.allowed else ("", ())
        return TypeNotFound(path, "it may not be used here", hint, prefixes)


def _step(found: Any, part: str, passed: str, path: str) -> Any:
    """The attribute of that name, or the module below."""
    try:
        return getattr(found, part)
    except AttributeError:
        if isinstance(found, ModuleType) and hasattr(found, "__path__") and part.isidentifier():
            module = _imported(f"{passed}.{part}", path, optional=True)
            if module is not None:
                return module
    what = "module" if isinstance(found, ModuleType) else "class"
    names = _public(found)
    hint = _known(part, names).replace(" Did you mean '", f" Did you mean '{passed}.")
    reason = f"the {what} {passed!r} has no {part!r}"
    raise TypeNotFound(path, reason, hint, [f"{passed}.{name}" for name in names])


def _imported(name: str, path: str, *, optional: bool = False) -> Any:
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name:
            raise _broken(path, f"{name!r}", error) from error
        if optional:
            return None
        known = [one.name for one in pkgutil.iter_modules() if not one.name.startswith("_")]
        hint = nearest(name, known) or " Is it installed, and in a folder that Python looks in?"
        raise TypeNotFound(path, f"there is no module {name!r}", hint, known) from error
    except Exception as error:  # whatever the module's own code raises
        raise _broken(path, f"{name!r}", error) from error


def _broken(path: str, what: str, error: Exception) -> TypeNotFound:
    said = "; ".join([f"{type(error).__name__}: {error}", *getattr(error, "__notes__", [])])
    return TypeNotFound(path, f"importing {what} failed with {said.rstrip('.')}")


def _public(found: Any) -> list[str]:
    """The names that a path could go on with."""
    names = set(getattr(found, "__all__", dir(found)))
    if isinstance(found, ModuleType) and hasattr(found, "__path__"):
        names |= {one.name for one in pkgutil.iter_modules(found.__path__)}
    return sorted(name for name in names if not name.startswith("_"))


def _inside(path: str, found: Any) -> str:
    callables = [
        name for name in _public(found) if callable(inspect.getattr_static(found, name, 0))
    ]
    return f" Name what it holds, as {path}.{callables[0]}." if callables else ""


def _article(found: Any) -> str:
    return "a module" if isinstance(found, ModuleType) else f"of type {type(found).__name__}"


def _known(name: str, names: list[str]) -> str:
    """The nearest name, and all there are if they are few; else those that begin alike."""
    close = nearest(name, names)
    if len(names) <= _FEW:
        return f"{close} There are {', '.join(names)}." if names else " There is none."
    alike = [one for one in names if one[:1].lower() == name[:1].lower()] or names
    rest = f" There are {', '.join(alike[:_FEW])}, and {len(names) - len(alike[:_FEW])} more."
    return close or rest
