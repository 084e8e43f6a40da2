"""Data modules: all that there is to do about some data, in one object that can be passed on."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import ExitStack
from typing import Any

from ..beginning import check_data
from ..errors import nearest
from ..overriding import overrides
from ..placement.ranks import from_first

__all__ = ["DataModule", "DataModuleLoaders", "is_data_module", "is_data_module_class"]

_ALONE = {"train": "fit", "val": "validate", "test": "test", "predict": "predict"}
"""The stage that each loader is of; beside training, that of validation is of ``fit``, too."""

_LIGHTNINGS = ("lightning.pytorch.core", "pytorch_lightning.core")
"""The modules of Lightning's base classes, whose loaders are none."""


class DataModule:
    """How some data are fetched, split and loaded; base of classes that override what they need.

    The names are those of Lightning, and any object that has them will do
    (:func:`is_data_module`). With ``state_dict()`` and ``load_state_dict(state)`` it has a state
    that is saved with a run.

    Example:
        >>> class Numbers(DataModule):
        ...     def setup(self, stage):
        ...         self.numbers = list(range(10))
        ...     def train_dataloader(self):
        ...         return self.numbers[:8]
        ...     def val_dataloader(self):
        ...         return self.numbers[8:]
        >>> loaders = DataModuleLoaders(Numbers())
        >>> loaders.loader("train"), loaders.loader("val")
        ([0, 1, 2, 3, 4, 5, 6, 7], [8, 9])
    """

    def prepare_data(self) -> None:
        """Download, unpack, tokenize: what is to be done once, whatever the number of processes.

        One process alone runs it, and the others wait; so what it sets on ``self`` they don't
        have. That is for :meth:`setup`.
        """

    def setup(self, stage: str) -> None:
        """Make the data sets; every process does.

        Args:
            stage: ``"fit"``, for training and the validation within, ``"validate"``, ``"test"``
                or ``"predict"``.
        """

    def train_dataloader(self) -> Any:
        """What is trained on: a loader, or anything else that an engine runs over."""

    def val_dataloader(self) -> Any:
        """What is validated on: a loader, or several in a list or by name."""

    def test_dataloader(self) -> Any:
        """What is tested on."""

    def predict_dataloader(self) -> Any:
        """What is predicted of."""

    def teardown(self, stage: str) -> None:
        """Let go of what :meth:`setup` has made for a stage; every process does."""


def is_data_module(given: object) -> bool:
    """Whether an object is a data module, by its methods: a ``setup``, and a loader of any kind.

    Example:
        >>> is_data_module(DataModule()), is_data_module(DataModule), is_data_module([1, 2])
        (True, False, False)
    """
    return not isinstance(given, type) and _has_parts(given)


def is_data_module_class(given: object) -> bool:
    """Whether it is a class whose instances are data modules.

    Example:
        >>> is_data_module_class(DataModule), is_data_module_class(DataModule())
        (True, False)
    """
    return isinstance(given, type) and _has_parts(given)


class DataModuleLoaders:
    """The loaders of a data module, each made when it is first asked for.

    Before the first of them, ``prepare_data()`` is called on one process, while the others wait;
    and before the first of a stage, ``setup(stage)`` on all. Processes know of each other through
    a process group, so make that before; all have to ask for the same loaders in the same order.

    Args:
        module: the data module.

    Attributes:
        module: as given.

    Raises:
        TypeError: for what is none.

    Example:
        >>> class Words(DataModule):
        ...     def setup(self, stage):
        ...         print("setup", stage)
        ...     def test_dataloader(self):
        ...         return ["a", "b"]
        ...     def teardown(self, stage):
        ...         print("teardown", stage)
        >>> loaders = DataModuleLoaders(Words())
        >>> loaders.loader("test") is loaders.loader("test")
        setup test
        True
        >>> loaders.teardown()
        teardown test
    """

    def __init__(self, module: Any) -> None:
        if isinstance(module, type):
            raise TypeError(f"a data module is an instance; give {module.__name__}(…).")
        if not is_data_module(module):
            raise TypeError(
                f"a data module has setup(stage) and loaders such as train_dataloader(), given a "
                f"{type(module).__name__}; derive from DataModule, or give loaders themselves."
            )
        self.module = module
        self._prepared = False
        self._made: dict[tuple[str, str], Any] = {}  # loaders by stage and name
        self._to_tear_down: dict[str, None] = {}

    def has(self, name: str) -> bool:
        """Whether the module has a loader of this name, and not that of its base class.

        Example:
            >>> class Letters(DataModule):
            ...     def train_dataloader(self):
            ...         return ["a", "b"]
            >>> DataModuleLoaders(Letters()).has("train"), DataModuleLoaders(Letters()).has("val")
            (True, False)
        """
        method = f"{name}_dataloader"
        ours = getattr(DataModule, method, self)
        own = getattr(type(self.module), method, None) is not ours
        return _can(self.module, method) and own and overrides(self.module, method, *_LIGHTNINGS)

    def loader(self, name: str, *, anew: bool = False) -> Any:
        """The loader of this name; the same one each time.

        Args:
            name: ``"train"``, ``"val"``, ``"test"`` or ``"predict"``. That for ``"val"`` is of the
                stage ``"fit"`` if training was asked for before, and else of ``"validate"``.
            anew: whether the module makes another one, from the data sets that it has.

        Raises:
            ValueError: for another name.
            TypeError: if the module has no such method, or returns nothing that can be run over.
        """
        if name not in _ALONE:
            raise ValueError(
                f"a data module has loaders for {', '.join(map(repr, _ALONE))}, given {name!r}."
                f"{nearest(str(name), _ALONE)}"
            )
        make = self._method(name)
        stage = "fit" if name == "val" and "fit" in self._to_tear_down else _ALONE[name]
        if anew or (stage, name) not in self._made:
            self.set_up(stage)
            self._made[stage, name] = _checked(make(), self.module, name)
        return self._made[stage, name]

    def set_up(self, stage: str) -> None:
        """Prepare the data, and set them up for a stage, unless that was done; loaders ask for it.

        Args:
            stage: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
        """
        if not self._prepared:
            from_first(self._prepare)  # the others wait
            self._prepared = True
        if stage not in self._to_tear_down:
            self.module.setup(stage)
            self._to_tear_down[stage] = None

    def teardown(self) -> None:
        """Call ``teardown(stage)`` for every stage that was set up, the last first.

        If one fails, the others are called all the same, and then it is raised. A loader that is
        asked for later is set up anew; the data stay prepared.
        """
        self._made.clear()
        stages, self._to_tear_down = self._to_tear_down, {}
        with ExitStack() as stack:  # runs all of them, whatever they raise
            for stage in stages if _can(self.module, "teardown") else ():
                stack.callback(self.module.teardown, stage)

    def state_dict(self) -> dict[str, Any]:
        """The module's own; empty if it has none."""
        return dict(self.module.state_dict()) if _can(self.module, "state_dict") else {}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Hand the module its state."""
        if _can(self.module, "load_state_dict"):
            self.module.load_state_dict(state)

    def _method(self, name: str) -> Callable[[], Any]:
        make: Callable[[], Any] | None = getattr(self.module, f"{name}_dataloader", None)
        if make is None:
            there = [one for one in _ALONE if _can(self.module, f"{one}_dataloader")]
            raise TypeError(
                f"{type(self.module).__name__} has no {name}_dataloader(), only loaders for "
                f"{', '.join(map(repr, there))}; add the method to it."
            )
        return make

    def _prepare(self) -> None:
        if _can(self.module, "prepare_data"):
            self.module.prepare_data()


def _checked(loader: Any, module: Any, name: str) -> Any:
    """A loader that can be run over."""
    where = f"{type(module).__name__}.{name}_dataloader()"
    if loader is None:
        raise TypeError(
            f"{where} returned None; override it in the class, and return a loader, such as "
            f"DataLoader(dataset, batch_size=32)."
        )
    try:
        check_data(loader)
    except TypeError as error:
        error.add_note(f"returned by {where}")
        raise
    return loader


def _has_parts(given: object) -> bool:
    if not _can(given, "setup"):
        return False
    return any(_can(given, f"{name}_dataloader") for name in _ALONE)


def _can(given: object, method: str) -> bool:
    return callable(getattr(given, method, None))
