"""Names for types, so that a configuration can say ``SGD`` where it means ``torch.optim.SGD``.

There is a registry for each kind of part, under the names that MMEngine gives them. Each knows
what was registered with its decorator, what the libraries listed below have of that kind, and
what other distributions offer as entry points: those of handlers are in the group
``footplate.handlers``.
"""

from __future__ import annotations

import importlib
import inspect
import sys
from collections.abc import Callable, Iterable, Sequence
from functools import lru_cache
from importlib.metadata import EntryPoint, entry_points
from types import ModuleType
from typing import Any, TypeVar, overload

from ...engine.errors import nearest
from .finding import Finder
from .mmengine_names import found_in, names_in, of_default_scope
from .safety import AllowList
from .specs import Specs

__all__ = [
    "DATASETS",
    "DATA_LOADERS",
    "DATA_SAMPLERS",
    "EVALUATOR",
    "FUNCTIONS",
    "HOOKS",
    "LOG_PROCESSORS",
    "LOOPS",
    "METRICS",
    "MODELS",
    "MODEL_WRAPPERS",
    "OPTIMIZERS",
    "OPTIM_WRAPPERS",
    "OPTIM_WRAPPER_CONSTRUCTORS",
    "PARAM_SCHEDULERS",
    "REGISTRIES",
    "RUNNERS",
    "TRANSFORMS",
    "VISBACKENDS",
    "VISUALIZERS",
    "Registry",
    "register",
]

Registered = TypeVar("Registered", bound=Callable[..., Any])


class Registry:
    """Names for the types of one kind.

    A name is looked up among those that were registered, and those that a project of MMEngine's
    has registered in its own scope, if that is the default one; then among the classes and
    functions of some libraries' modules, each imported when it is first asked, then among the
    entry points of the group ``footplate.<kind>s``; then, if MMEngine is imported, in its registry
    of that kind.

    Args:
        kind: what they are, in the singular: ``"optimizer"``.
        modules: the modules whose public classes and functions have their names here, too. One
            of a library that is not installed has none.

    Attributes:
        kind, modules: the same.

    Example:
        >>> shapes = Registry("shape", modules=["fractions"])
        >>> @shapes.register_module()
        ... class Circle:
        ...     def __init__(self, radius): self.radius = radius
        >>> shapes.build({"type": "Circle", "radius": 2}).radius
        2
        >>> "Circle" in shapes, "Fraction" in shapes, "Square" in shapes
        (True, True, False)
    """

    def __init__(self, kind: str, *, modules: Sequence[str] = ()) -> None:
        self.kind = kind
        self.modules = tuple(modules)
        self._registered: dict[str, Callable[..., Any]] = {}

    @overload
    def register_module(self, module: Registered) -> Registered: ...
    @overload
    def register_module(
        self,
        module: None = None,
        *,
        name: str | Sequence[str] | None = None,
        force: bool = False,
    ) -> Callable[[Registered], Registered]: ...
    @overload
    def register_module(
        self, module: Registered, *, name: str | Sequence[str] | None, force: bool = False
    ) -> Registered: ...
    def register_module(
        self,
        module: Any = None,
        *,
        name: str | Sequence[str] | None = None,
        force: bool = False,
    ) -> Any:
        """Give a class or function a name: as a decorator, with or without brackets, or by a call.

        Args:
            module: the class or function.
            name: its name, or several; by default that of the class or function itself.
            force: whether to take a name from what has it. What has the same qualified name, as
                after a cell of a notebook was run again, is replaced anyway.

        Returns:
            the class or function as it is.

        Raises:
            TypeError: for what can't be called.
            ValueError: for a name that another one has.
        """
        if module is None:
            return lambda found: self.register_module(found, name=name, force=force)
        if not callable(module):
            raise TypeError(
                f"a {self.kind} is registered as a class or function, given {module!r}; a name "
                f"is given as name=…, @REGISTRY.register_module(name='Net')."
            )
        own = getattr(module, "__name__", type(module).__name__)
        given: Any = own if name is None else name
        names = list(given) if isinstance(given, (list, tuple)) else [given]
        for one in names:  # all before any, so that a refused call has changed nothing
            self._check_free(one, module, force)
        self._registered.update(dict.fromkeys(names, module))
        return module

    def _check_free(self, name: str, module: Callable[..., Any], force: bool) -> None:
        if not isinstance(name, str) or not name:
            raise TypeError(f"the name of a {self.kind} is a text, given {name!r}.")
        taken = self._registered.get(name)
        if taken is None or force or _qualified(taken) == _qualified(module):
            return
        raise ValueError(
            f"{name!r} is a {self.kind} already, {_qualified(taken)}; give "
            f"{_qualified(module)} another name=, or force=True to replace it."
        )

    def registered(self, name: str) -> Callable[..., Any] | None:
        """What was registered under the name; ``None`` if nothing was."""
        return self._registered.get(name)

    def find(self, name: str, allowed: AllowList | None = None) -> Callable[..., Any] | None:
        """What has the name; ``None`` if nothing has.

        Args:
            name: the name.
            allowed: where it may come from, unless it was registered; nothing else is imported.
        """
        if name in self._registered:
            return self._registered[name]
        if (found := of_default_scope(self.kind, name, allowed)) is not None:
            return found
        for module in self.modules if "." not in name else ():
            if allowed is None or allowed.permits(module):
                found = _offered(module).get(name)
                if found and (allowed is None or allowed.permits_found(found)):
                    return found
        for entry in self._entries():
            path = entry.value.replace(":", ".")
            if entry.name == name and (allowed is None or allowed.permits_spelled(path)):
                found = _loaded(entry)
                if allowed is None or allowed.permits_found(found):
                    return found
        return found_in(self.kind, name, allowed)

    def names(self) -> list[str]:
        """All names there are, in the order of the alphabet."""
        offered = {name for module in self.modules for name in _offered(module)}
        entries = {entry.name for entry in self._entries()}
        return sorted({*self._registered, *offered, *entries, *names_in(self.kind)})

    def build(self, cfg: Any, /, **injected: Any) -> Any:
        """What a spec describes, whose ``type`` may be a name of this registry.

        Args:
            cfg: the spec, ``{type: …, **arguments}``; an object is returned as it is.
            injected: arguments to offer, as
                :meth:`~footplate.recipes.config.specs.Specs.build` does.

        Raises:
            ConfigError: if anything is wrong with it.
        """
        return Specs(Finder(REGISTRIES).find).build(cfg, self, **injected)

    def _entries(self) -> Iterable[EntryPoint]:
        found: Iterable[EntryPoint] = _entry_points(tuple(sys.path)).select(
            group=f"footplate.{self.kind}s"
        )
        return found

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and (
            name in self._registered
            or any(name in _offered(module) for module in self.modules)
            or any(entry.name == name for entry in self._entries())
            or found_in(self.kind, name) is not None
        )

    def __repr__(self) -> str:
        return f"Registry({self.kind!r}, modules={list(self.modules)})"


def _qualified(module: Any) -> str:
    name = getattr(module, "__qualname__", type(module).__qualname__)
    return f"{getattr(module, '__module__', None)}.{name}"


def _offered(name: str) -> dict[str, Callable[..., Any]]:
    """The public classes and functions of a module; of one without ``__all__``, its own alone."""
    try:
        module = importlib.import_module(name)
    except ModuleNotFoundError as error:
        if error.name != name.partition(".")[0]:
            raise
        return {}
    listed = getattr(module, "__all__", None)
    names = [one for one in vars(module) if not one.startswith("_")] if listed is None else listed
    found = {one: getattr(module, one) for one in names}
    return {
        one: value
        for one, value in found.items()
        if (inspect.isclass(value) or inspect.isroutine(value))
        and (listed is not None or _is_own(value, module))
    }


@lru_cache(maxsize=1)
def _entry_points(path: tuple[str, ...]) -> Any:
    """All there are in the folders that Python looks in; reading them takes a while."""
    return entry_points()


def _is_own(value: Any, module: ModuleType) -> bool:
    return f"{value.__module__}.".startswith(f"{module.__name__}.")


def _loaded(entry: EntryPoint) -> Callable[..., Any]:
    try:
        found = entry.load()
    except Exception as error:
        giver = entry.dist.name if entry.dist else "a distribution"
        error.add_note(f"while loading {entry.value}, which {giver} offers as {entry.name!r}")
        raise
    return found  # type: ignore[no-any-return]


_HANDLERS = (
    "anomaly",
    "averaging",
    "checkpoint",
    "console",
    "csv_file",
    "curves",
    "early_stopping",
    "environment",
    "gradient_norms",
    "jsonl",
    "limits",
    "media_folder",
    "metrics",
    "mlflow",
    "model_summary",
    "non_finite",
    "profiler",
    "progress_bar",
    "report",
    "requeue",
    "run_record",
    "sampler_seed",
    "scalars",
    "stop_together",
    "tensorboard",
    "timer",
    "trace",
    "visualizer",
    "wandb",
    "weights",
)
"""The modules of handlers that a configuration may name; the others are options of the runner."""

MODELS = Registry("model")
DATASETS = Registry("dataset")
DATA_SAMPLERS = Registry("data_sampler", modules=["torch.utils.data"])
DATA_LOADERS = Registry("data_loader", modules=["footplate.engine.data.in_memory"])
OPTIMIZERS = Registry("optimizer", modules=["torch.optim"])
OPTIM_WRAPPERS = Registry("optim_wrapper")
OPTIM_WRAPPER_CONSTRUCTORS = Registry("optim_wrapper_constructor")
PARAM_SCHEDULERS = Registry(
    "param_scheduler", modules=["torch.optim.lr_scheduler", "ignite.handlers.param_scheduler"]
)
METRICS = Registry("metric", modules=["ignite.metrics", "torchmetrics"])
EVALUATOR = Registry("evaluator")
HOOKS = Registry("handler", modules=[f"footplate.handlers.{name}" for name in _HANDLERS])
LOOPS = Registry("loop")
RUNNERS = Registry("runner")
VISUALIZERS = Registry("visualizer")
VISBACKENDS = Registry("vis_backend")
LOG_PROCESSORS = Registry("log_processor")
MODEL_WRAPPERS = Registry("model_wrapper")
TRANSFORMS = Registry("transform")
FUNCTIONS = Registry("function")

REGISTRIES: dict[str, Registry] = {
    one.kind: one for one in list(globals().values()) if isinstance(one, Registry)
}
"""All of them, by kind."""


def register(
    registry: Registry | str, name: str | Sequence[str] | None = None
) -> Callable[[Registered], Registered]:
    """A decorator that gives a class or function a name.

    Args:
        registry: the registry, or its kind.
        name: the name, or several; by default that of the class or function itself.

    Raises:
        ValueError: for a kind that there is no registry of, or a name that another one has.

    Example:
        >>> @register("model", name="TinyNet")
        ... class Tiny: ...
        >>> MODELS.find("TinyNet")
        <class 'footplate.recipes.config.registry.Tiny'>
    """
    if isinstance(registry, str):
        if registry not in REGISTRIES:
            raise ValueError(
                f"there is no registry of kind {registry!r}; there are "
                f"{', '.join(map(repr, REGISTRIES))}.{nearest(registry, REGISTRIES)}"
            )
        registry = REGISTRIES[registry]
    return registry.register_module(name=name)
