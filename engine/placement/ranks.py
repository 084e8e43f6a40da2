"""Facts about the processes of a run, one alone included."""

from __future__ import annotations

import pickle
import sys
from collections.abc import Callable
from typing import Any, TypeVar

__all__ = ["collected", "from_first", "gathered", "is_first", "rank", "world_size"]

T = TypeVar("T")

_BACKENDS = {"cpu": ("cpu", "gloo"), "gpu": ("cuda", "nccl")}
_groups: dict[str, tuple[Any, Any]] = {}  # by way: the world that it was made for, and the group


def _distributed() -> Any:
    """``torch.distributed`` where a group of processes was made; its import alone takes long."""
    module = sys.modules.get("torch.distributed")
    return module if module and module.is_available() and module.is_initialized() else None


def rank() -> int:
    """The number of this process; 0 where there is one alone.

    Example:
        >>> rank(), world_size(), is_first(), gathered("mine")
        (0, 1, True, ['mine'])
    """
    group = _distributed()
    return 0 if group is None else int(group.get_rank())


def world_size() -> int:
    """How many processes there are."""
    group = _distributed()
    return 1 if group is None else int(group.get_world_size())


def is_first() -> bool:
    """Whether this is the process that writes what there is to be once."""
    return rank() == 0


def gathered(value: Any) -> list[Any]:
    """What each process hands in, in the order of their ranks; all of them have to call this.

    Args:
        value: anything that can be pickled.
    """
    group = _distributed()
    if group is None:
        return [value]
    values: list[Any] = [None] * group.get_world_size()
    group.all_gather_object(values, value)
    return values


def collected(value: Any, *, by: str = "cpu") -> list[Any] | None:
    """What each process hands in, for the first of them alone; all of them have to call this.

    Args:
        value: anything that can be pickled.
        by: which memory it travels through, ``"cpu"`` or ``"gpu"``; the latter needs CUDA.

    Returns:
        the values in the order of their ranks on the first process, ``None`` on the others.

    Raises:
        ValueError: for another way, and for ``"gpu"`` among several processes without CUDA.

    Example:
        >>> collected("mine")
        ['mine']
    """
    _check_way(by)
    distributed = _distributed()
    if distributed is None:
        return [value]
    values = [None] * distributed.get_world_size() if is_first() else None
    distributed.gather_object(value, values, dst=0, group=_group(distributed, by))
    return values


def from_first(make: Callable[[], T], *, by: str = "cpu") -> T:
    """What a function returns on the first process, on all of them; all have to call this.

    It is called on the first process alone. What it raises there is raised there, and the others
    raise an error that tells of it, so that none is left waiting.

    Args:
        make: returns anything that can be pickled.
        by: which memory it travels through, as :func:`collected` takes it.

    Raises:
        RuntimeError: on the other processes, if it failed on the first.

    Example:
        >>> from_first(lambda: {"accuracy": 0.5})
        {'accuracy': 0.5}
    """
    _check_way(by)
    distributed = _distributed()
    if distributed is None:
        return make()
    value: Any = None
    failure: Exception | None = None
    told: list[Any] = [None, None]
    if is_first():
        try:
            value = make()
            told = [pickle.dumps(value), None]
        except Exception as error:
            failure, told = error, [None, f"{type(error).__name__}: {error}"]
    distributed.broadcast_object_list(told, src=0, group=_group(distributed, by))
    if failure is not None:
        raise failure
    if told[1] is not None:
        raise RuntimeError(f"the first process failed with {told[1]}")
    return value if is_first() else pickle.loads(told[0])  # type: ignore[no-any-return]


def _check_way(by: str) -> None:
    if by not in _BACKENDS:
        raise ValueError(f"values travel by 'cpu' or 'gpu', given {by!r}.")


def _group(distributed: Any, by: str) -> Any:
    """All processes, as a group that sends objects that way; ``None`` if they are one already."""
    device, backend = _BACKENDS[by]
    world = distributed.group.WORLD
    devices = {one.partition(":")[0] for one in distributed.get_backend_config(world).split(",")}
    if device in devices and (by == "cpu" or len(devices) == 1):
        return None
    if by == "gpu" and not sys.modules["torch"].cuda.is_available():
        raise ValueError("values travel by 'gpu' where there is CUDA; let them travel by 'cpu'.")
    if by not in _groups or _groups[by][0] is not world:
        _groups[by] = world, distributed.new_group(backend=backend)
    return _groups[by][1]
