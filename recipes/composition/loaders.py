"""Loaders: what ``train_dataloader`` and the others say, as something to run over."""

from __future__ import annotations

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, get_args

from torch.utils.data import DataLoader, IterableDataset

from ...engine.combined import Mode, combined
from ...engine.data.module import is_data_module_class
from ...engine.data.order import OrderSampler, order_of
from ...engine.data.sharding import sharded
from ...engine.placement.ranks import rank, world_size
from ...engine.samplers import loaders_in
from ...engine.step.guests import descends_from
from ..config.objects import Objects, TypeNotFound
from ..config.paths import joined
from ..config.problems import ABSENT, ConfigError, Problem
from ..config.registry import DATA_LOADERS, DATA_SAMPLERS, DATASETS, FUNCTIONS
from ..config.signatures import signature_of

__all__ = [
    "by_name",
    "check_loader",
    "dataloader",
    "default_sampler",
    "is_several",
    "makes_data_module",
]

_FUNCTIONS = ("collate_fn", "worker_init_fn")
_PARTS = ("dataset", "sampler", "batch_sampler", *_FUNCTIONS)
_OF_BATCHES = ("batch_size", "drop_last")
_DEFAULT_SAMPLERS = ("DefaultSampler", "InfiniteSampler")


@DATA_SAMPLERS.register_module(name=_DEFAULT_SAMPLERS)
def default_sampler(
    dataset: Any, *, shuffle: bool = True, seed: int = 0, round_up: bool = True
) -> OrderSampler:
    """A sampler whose order follows from seed and pass alone, dealt out over the processes.

    Args:
        dataset: what is sampled.
        shuffle: whether each pass has another order.
        seed: of the order.
        round_up: whether all processes have equally many samples, for which some come twice.

    Example:
        >>> list(default_sampler(range(4), shuffle=False))
        [0, 1, 2, 3]
    """
    order = order_of(
        dataset,
        shuffle=shuffle,
        seed=seed,
        rank=rank(),
        world_size=world_size(),
        even=round_up,
    )
    return OrderSampler(order)


def is_several(given: Any) -> bool:
    """Whether several loaders are given: by name, or in a list.

    A list is one of loaders only if each is a loader of torch or the like, or says how to make
    one; anything else in a list is a batch.

    Example:
        >>> is_several({"a": [1, 2], "b": [3]}), is_several([[1, 2], [3]])
        (True, False)
        >>> is_several([{"dataset": [1, 2]}, {"dataset": [3]}])
        True
    """
    if isinstance(given, (list, tuple)):
        return bool(given) and all(_is_spec(one) or _is_torchs(one) for one in given)
    if not isinstance(given, Mapping) or _is_spec(given):
        return False
    return bool(given) and all(map(_is_loader, given.values()))


def by_name(given: Any) -> dict[str, Any] | None:
    """Several loaders by name, those in a list by their numbers; ``None`` if it is one."""
    return {str(name): one for name, one in _each(given)} if is_several(given) else None


def makes_data_module(given: Any, objects: Objects) -> bool:
    """Whether a mapping says how to make a data module, which brings all loaders.

    Example:
        >>> makes_data_module({"type": "footplate.engine.data.module.DataModule"}, Objects())
        True
    """
    if not isinstance(given, Mapping) or "type" not in given:
        return False
    try:
        return is_data_module_class(objects.find(given["type"], DATA_LOADERS))
    except LookupError:
        return False


def dataloader(given: Any, objects: Objects, *, path: str, seed: int, evaluates: bool) -> Any:
    """A loader, or several, by name or in a list as they were given.

    Among several processes it is one over this process's share: see
    :func:`~footplate.engine.data.sharding.sharded`.

    Args:
        given: a loader; a mapping of ``dataset``, ``sampler`` and what else a ``DataLoader``
            takes; one with ``type`` for another kind of loader; or several of these in a list or
            by name.
        objects: what builds what is given as ``{type: …}``.
        path: what it is called in messages.
        seed: of the order of samples.
        evaluates: whether it is for evaluation, where each sample counts once.

    Raises:
        ConfigError: for what does not fit.
    """
    if is_several(given):
        made = {
            key: dataloader(one, objects, path=joined(path, key), seed=seed, evaluates=evaluates)
            for key, one in _each(given)
        }
        return made if isinstance(given, Mapping) else list(made.values())
    if isinstance(given, Mapping):
        given = _made(given, objects, path, seed, evaluates)
    if descends_from(given, "CombinedLoader", "lightning", "pytorch_lightning"):
        parts = _parts_of_lightnings(given, path, evaluates)
        return dataloader(parts, objects, path=path, seed=seed, evaluates=evaluates)
    return sharded(given, evaluates=evaluates, seed=seed)


def _parts_of_lightnings(given: Any, path: str, evaluates: bool) -> Any:
    """The loaders that one of Lightning has, as several here; or as one, if they are combined.

    Raises:
        ValueError: for a mode that there is not here.
    """
    mode, loaders = given._mode, given.iterables
    if mode == "sequential" and evaluates:
        return loaders
    if mode not in get_args(Mode):
        raise ValueError(
            f"{path}: a CombinedLoader with mode={mode!r} is not for "
            f"{'evaluation' if evaluates else 'training'} here; there are "
            f"{' and '.join(map(repr, get_args(Mode)))}{', and sequential' if evaluates else ''}."
        )
    return combined(loaders, mode) if isinstance(loaders, (Mapping, list, tuple)) else loaders


def _made(given: Mapping[str, Any], objects: Objects, path: str, seed: int, evaluates: bool) -> Any:
    """A loader as a mapping says."""
    if problems := list(check_loader(given, path, objects)):
        raise ConfigError(problems)
    if "type" in given:
        offered = {} if "seed" in given else {"seed": seed}
        return objects.build(given, DATA_LOADERS, path=path, **offered)
    return _Made(objects, path, seed, evaluates).of(dict(given))


@dataclass(frozen=True)
class _Made:
    """How a ``DataLoader`` is made of a mapping that was checked."""

    objects: Objects
    path: str
    seed: int
    evaluates: bool

    def of(self, options: dict[str, Any]) -> DataLoader[Any]:
        dataset = options.pop("dataset")
        if isinstance(dataset, Mapping):
            dataset = self.objects.build(dataset, DATASETS, path=f"{self.path}.dataset")
        for name in _FUNCTIONS:
            if name in options:
                options[name] = self._function(options[name])
        sampler, shuffle = options.pop("sampler", None), options.pop("shuffle", None)
        iterable = isinstance(dataset, IterableDataset)
        by_index = hasattr(dataset, "__getitem__") and hasattr(dataset, "__len__") and not iterable
        if shuffle and sampler is None and not by_index:
            reason = (
                f"a {type(dataset).__name__} gives its samples in an order of its own, which can't "
                f"be shuffled; leave it out, and shuffle in the data set"
            )
            raise ConfigError([Problem(path=f"{self.path}.shuffle", given=shuffle, reason=reason)])
        if sampler is not None or by_index:
            default = {"type": "DefaultSampler", "shuffle": bool(shuffle)}
            sampler = self._sampler("sampler", sampler or default, dataset, seed=self.seed)
        if options.get("batch_sampler") is None:
            options["sampler"] = sampler
        else:
            options["batch_sampler"] = self._batch_sampler(options, dataset, sampler)
        return DataLoader(dataset, **options)

    def _batch_sampler(self, options: dict[str, Any], dataset: Any, sampler: Any) -> Any:
        """One that is built has what the loader says of batches, which is taken out of there."""
        given, own = options["batch_sampler"], {}
        if isinstance(given, Mapping):
            own = {name: options.pop(name) for name in _OF_BATCHES if name in options}
        return self._sampler("batch_sampler", given, dataset, sampler=sampler, **own)

    def _sampler(self, name: str, given: Any, dataset: Any, **more: Any) -> Any:
        if not isinstance(given, Mapping):
            return given
        offered = {"dataset": dataset, "data_source": dataset, **more}
        if given.get("type") in _DEFAULT_SAMPLERS:
            offered["round_up"] = not self.evaluates
        offered = {key: value for key, value in offered.items() if key not in given}
        return self.objects.build(given, DATA_SAMPLERS, path=f"{self.path}.{name}", **offered)

    def _function(self, given: Any) -> Any:
        if isinstance(given, Mapping):
            options = dict(given)
            return functools.partial(self.objects.find(options.pop("type"), FUNCTIONS), **options)
        return self.objects.find(given, FUNCTIONS) if isinstance(given, str) else given


def check_loader(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    """What is wrong with a loader."""
    if is_several(given):
        for key, one in _each(given):
            yield from check_loader(one, joined(path, key), objects)
        return
    if not isinstance(given, Mapping):
        if not _is_loader(given):
            yield Problem(
                path=path, given=given, reason="can't be iterated over, and is no mapping either"
            )
        return
    if "type" in given:
        injected = () if "seed" in given else ("seed",)
        yield from objects.check(given, path, DATA_LOADERS, injected=injected)
        return
    yield from _check_parts(given, path, objects)
    options = {name: one for name, one in given.items() if name not in _PARTS}
    yield from objects.check_call(DataLoader, options, path, injected=_PARTS)


def _check_parts(given: Mapping[str, Any], path: str, objects: Objects) -> Iterator[Problem]:
    dataset = given.get("dataset")
    if dataset is None:
        yield Problem(path=f"{path}.dataset", given=ABSENT, reason="a data set is missing")
    elif isinstance(dataset, Mapping) and "type" in dataset:
        yield from objects.check(dataset, f"{path}.dataset", DATASETS)
    elif isinstance(dataset, (str, int, float, bool)) or (
        isinstance(dataset, Mapping) and "type" not in dataset
    ):
        yield Problem(
            path=f"{path}.dataset", given=dataset, reason="is no data set, nor a mapping with type"
        )
    if given.get("sampler") is not None and given.get("shuffle") is not None:
        yield Problem(
            path=f"{path}.shuffle",
            given=given["shuffle"],
            reason="the sampler says the order; leave one of them out",
        )
    of_batches = [name for name in _OF_BATCHES if name in given]
    for name, injected in (
        ("sampler", ("dataset", "data_source", "seed")),
        ("batch_sampler", ("sampler", "dataset", *of_batches)),
    ):
        one = given.get(name)
        if isinstance(one, Mapping):
            missing = tuple(each for each in injected if each not in one)
            yield from objects.check(one, f"{path}.{name}", DATA_SAMPLERS, injected=missing)
        elif isinstance(one, (str, int, float, bool)):
            yield Problem(path=f"{path}.{name}", given=one, reason="is no sampler")
    for name in _FUNCTIONS:
        if given.get(name) is not None:
            yield from _check_function(given[name], f"{path}.{name}", objects)


def _check_function(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    """A function, its name, or with some of its arguments, as MMEngine gives ``collate_fn``."""
    if callable(given):
        return
    options = {"type": given} if isinstance(given, str) else given
    if not isinstance(options, Mapping) or "type" not in options:
        yield Problem(path=path, given=given, reason="is no function, nor a mapping with type")
        return
    options = dict(options)
    try:
        function = objects.find(options.pop("type"), FUNCTIONS)
    except TypeNotFound as error:
        yield Problem(path=path, given=error.given, reason=error.reason, hint=error.hint)
        return
    if (signature := signature_of(function)) is None:
        return
    first = list(signature.parameters)[:1]  # the batch, or the worker's number
    yield from objects.check_call(function, options, path, injected=first)


def _each(given: Any) -> Iterable[tuple[Any, Any]]:
    return given.items() if isinstance(given, Mapping) else enumerate(given)


def _is_loader(given: Any) -> bool:
    """Whether it can be walked over, or says how to make what can."""
    if isinstance(given, (str, bytes, int, float)) or given is None:
        return False
    if isinstance(given, Mapping):
        return _is_spec(given)
    return any(hasattr(given, name) for name in ("__iter__", "__getitem__", "make_passes"))


def _is_spec(given: Any) -> bool:
    return isinstance(given, Mapping) and bool({"type", "dataset"} & given.keys())


def _is_torchs(given: Any) -> bool:
    """Whether it is a ``DataLoader``, wraps one, or is a loader of ours."""
    return hasattr(given, "make_passes") or next(loaders_in(given), None) is not None
