"""What a configuration that is not trusted may name: the parts of a few libraries, no more."""

from __future__ import annotations

import inspect
import sys
from collections.abc import Iterator, Mapping, Sequence
from types import BuiltinFunctionType, ModuleType
from typing import Any

__all__ = ["SAFE", "AllowList"]

_MODULE = "torch.nn.modules.module.Module"
_DATA = (
    "torch.utils.data.dataset.Dataset",
    "torch.utils.data.sampler.Sampler",
    "torch.utils.data.dataloader.DataLoader",
)
_HANDLER = "footplate.engine.handler.Handler"
_KINDS: Mapping[str, tuple[str, ...]] = {
    "footplate.engine": (
        _MODULE,
        *_DATA,
        _HANDLER,
        "footplate.engine.checkpoints.when.When",
        "footplate.engine.data.episodes.Episodes",
        "footplate.engine.data.in_memory.InMemoryLoader",
        "footplate.engine.step.groups.NoDecay",
        "footplate.engine.step.groups.Scale",
    ),
    "footplate.handlers": (_HANDLER,),
    "footplate.recipes": (
        _MODULE,
        *_DATA,
        "footplate.engine.step.base_metric.BaseMetric",
        "footplate.recipes.reinforcement_learning.Play",
    ),
    "torch.nn": (_MODULE,),
    "torch.optim": ("torch.optim.optimizer.Optimizer", "torch.optim.lr_scheduler.LRScheduler"),
    "torch.utils.data": _DATA,
    "ignite.handlers": ("ignite.handlers.param_scheduler.BaseParamScheduler",),
    "ignite.metrics": ("ignite.metrics.metric.Metric",),
    "torchmetrics": ("torchmetrics.metric.Metric", "torchmetrics.collections.MetricCollection"),
}
"""The classes that those of a module have to be, or to come from.

By kind, as a library has classes and functions that get an attribute by its name, or call what
they are given, and one of them leads another to code. Neither ``torch`` as a whole is here, where
``torch.hub`` and ``torch.utils.cpp_extension`` run code that is not there yet, nor ``footplate``,
whose folder holds ``setup.py``, too. They are names, so that nothing is imported for them.
"""

SAFE = tuple(_KINDS)
"""Modules of whose classes those of some kinds run no code but their own."""

_FUNCTIONAL = "torch.nn.functional"
_FUNCTIONS = (
    "torch.utils.data._utils.collate.default_collate",
    "ignite.metrics.fbeta.Fbeta",  # it makes a metric as a class would
    "footplate.recipes.image_classification.network",
    "footplate.recipes.image_classification.part",
    "footplate.recipes.image_generation.as_asked",
    "footplate.recipes.image_generation.judge",
    "footplate.recipes.image_generation.wishes",
    "footplate.recipes.language_model.bits",
    "footplate.recipes.language_model.next_character_loss",
    "footplate.recipes.language_model.pieces",
    "footplate.recipes.reinforcement_learning.actor_critic_loss",
    "footplate.recipes.reinforcement_learning.score",
    "footplate.recipes.tabular_regression.network",
    "footplate.recipes.tabular_regression.part",
    "footplate.recipes.tabular_regression.squared_error",
    "footplate.recipes.text_classification.loader",
    "footplate.recipes.text_classification.network",
)
"""The functions that may be called besides those of ``torch.nn.functional``."""

_REFUSED = (
    "footplate.recipes.cli",  # these start whatever there is to start
    "footplate.recipes.commands",
    "footplate.recipes.raw",
    "footplate.recipes.raw_loop",
    "footplate.recipes.config",  # these read and build other configurations, without this list
    "footplate.recipes.composition",
    "footplate.recipes.runner",
    "torch.nn.cpp",  # these get what attribute they are told
    "torch.nn.modules.container.ParameterDict",
    "torch.utils.data.datapipes",  # a decoder there unpickles what it is given
    "torchmetrics.image.fid",  # these load models from where they are told
    "torchmetrics.multimodal",
    "torchmetrics.text.bert",
    "torchmetrics.text.infolm",
)
_RUNNER = "footplate.recipes.runner.Runner"
_ARGUMENTS: Mapping[str, tuple[str, ...]] = {
    "footplate.handlers.wandb.WandB": ("settings",),  # programs and folders of its client
    "footplate.recipes.composition.sinks.wandb": ("init_kwargs.settings",),
}
"""Arguments that may not be given."""


class AllowList:
    """The modules that a type may come from, each with all that is below it.

    A path is looked at before anything is imported, and what is found there once more, as a
    module also holds what it imported itself. Of what stands here and of what is refused within
    it, the longer name decides; so whoever allows ``footplate.recipes.config`` by name has it.

    Of the modules of :data:`SAFE` classes of some kinds alone are permitted: models, optimizers,
    schedulers, data sets, samplers, loaders, metrics and handlers; and of functions those of
    ``torch.nn.functional``, ``default_collate``, and those that the recipes name. Of any other
    module, which somebody has chosen, all is.

    Args:
        prefixes: names of modules; they count by whole components.

    Raises:
        ValueError: for a name that is none.

    Example:
        >>> allowed = AllowList(["torch.nn", "torch.utils.data"])
        >>> allowed.permits("torch.nn.Linear"), allowed.permits("torch.nnx.Linear")
        (True, False)
        >>> allowed.permits("torch.utils.data.datapipes.utils.decoder.basichandlers")
        False
    """

    def __init__(self, prefixes: Sequence[str]) -> None:
        if isinstance(prefixes, str):
            raise ValueError(f"allowed modules come as a list, given {prefixes!r}; write [it].")
        for prefix in prefixes:
            if not all(part.isidentifier() for part in prefix.split(".")):
                raise ValueError(f"{prefix!r} is no name of a module, as torch.nn is one.")
        self.prefixes = tuple(prefixes)

    def permits(self, path: str) -> bool:
        """Whether a dotted path may be looked up."""
        allowed = max((_length(one, path) for one in self.prefixes), default=0)
        refused = max(_length(one, path) for one in _REFUSED)
        return allowed > refused or allowed == refused > 0  # the same name, and so meant

    def permits_spelled(self, path: str) -> bool:
        """Whether a path that somebody wrote may be: private names are for the module alone."""
        return self.permits(path) and not any(part.startswith("_") for part in path.split("."))

    def permits_step(self, passed: object, path: str) -> bool:
        """Whether a path may lead through this, found at its beginning.

        That is a module or a class, never an instance; of what is not allowed itself, the
        packages alone that what is allowed lies in.
        """
        if isinstance(passed, ModuleType):
            above = passed.__name__ == path and any(_length(path, one) for one in self.prefixes)
            return above or self.permits(passed.__name__)
        return isinstance(passed, type) and self.permits(passed.__module__)

    def permits_found(self, found: Any) -> bool:
        """Whether this may be called: a class, or a function that is no method of some object."""
        if _is_functional(found):
            return self.permits(_FUNCTIONAL)
        module = getattr(found, "__module__", None)
        if not isinstance(module, str) or not self.permits(_qualified(found)):
            return False
        kinds = _KINDS.get(max(self.prefixes, key=lambda one: _length(one, module)))
        if kinds is None:
            return isinstance(found, type) or not _is_method(found)
        if isinstance(found, type):
            return any(name in kinds for name in _ancestors(found))
        return _qualified(found) in _FUNCTIONS

    def permits_within(self, found: Any) -> bool:
        """Whether this may be built within something else: no runner, as it finds types itself."""
        return not isinstance(found, type) or _RUNNER not in _ancestors(found)

    def refused_arguments(self, found: Any, arguments: Mapping[str, Any]) -> Iterator[str]:
        """The paths of arguments that this may not be given."""
        for one in [found, *inspect.getmro(found)] if isinstance(found, type) else [found]:
            for path in _ARGUMENTS.get(_qualified(one), ()):
                outer, _, inner = path.partition(".")
                given = arguments.get(outer)
                if outer in arguments and (
                    not inner or not isinstance(given, Mapping) or inner in given
                ):
                    yield path

    @property
    def hint(self) -> str:
        """What is permitted, as the end of an error message."""
        ends = "s" if len(self.prefixes) == 1 else ""
        by_kind = any(one in _KINDS for one in self.prefixes)
        kinds = "models, optimizers, schedulers, data sets, loaders, metrics and handlers that"
        also = f", the functions of {_FUNCTIONAL}" if self.permits(_FUNCTIONAL) else ""
        return (
            f" Allowed is what is registered by name{also}, and {kinds if by_kind else 'what'} "
            f"{', '.join(self.prefixes)} define{ends}."
        )

    def __repr__(self) -> str:
        return f"AllowList({list(self.prefixes)})"


def _length(prefix: str, path: str) -> int:
    """How long a prefix is that fits a path; 0 if it does not."""
    return len(prefix) if f"{path}.".startswith(f"{prefix}.") else 0


def _qualified(found: Any) -> str:
    return f"{getattr(found, '__module__', None)}.{getattr(found, '__qualname__', None)}"


def _ancestors(kind: type) -> set[str]:
    """The names of a class and of those that it comes from."""
    return set(map(_qualified, inspect.getmro(kind)))


def _is_functional(found: Any) -> bool:
    """Whether it is a public function of torch.nn.functional, some of which are torch's own."""
    names = vars(sys.modules.get(_FUNCTIONAL, object))
    known = any(one is found for name, one in names.items() if not name.startswith("_"))
    if not known or not inspect.isroutine(found):
        return False
    own = getattr(found, "__module__", None) == _FUNCTIONAL
    calculates = isinstance(found, BuiltinFunctionType) and "torch_function" not in found.__name__
    return own or calculates


def _is_method(found: Any) -> bool:
    if inspect.ismethod(found):
        return not isinstance(found.__self__, type)
    outer = getattr(found, "__qualname__", "").rpartition(".")[0]
    return not inspect.isroutine(found) or bool(outer and not outer.endswith("<locals>"))
