"""Facts about the processes of a run, one alone included."""

from __future__ import annotations

import hashlib
import os
import pickle
import sys
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

__all__ = [
    "alike",
    "barrier",
    "collected",
    "from_first",
    "gathered",
    "gathered_bytes",
    "is_first",
    "largest",
    "local_rank",
    "rank",
    "summed",
    "summed_tensor",
    "world_size",
]

T = TypeVar("T")

_BACKENDS = {"cpu": ("cpu", "gloo"), "gpu": ("cuda", "nccl")}
_LENGTH, _AT_ONCE = 8, 504  # bytes that tell a message's length, and those that come with it
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
    """How many processes there are.

    Example:
        >>> world_size()
        1
    """
    group = _distributed()
    return 1 if group is None else int(group.get_world_size())


def is_first() -> bool:
    """Whether this is the process that writes what there is to be once.

    Example:
        >>> if is_first():
        ...     print("written once")
        written once
    """
    return rank() == 0


def local_rank() -> int:
    """The number that this process has on its machine, as its launcher tells it; 0 for one alone.

    Example:
        >>> local_rank()
        0
    """
    return 0 if _distributed() is None else int(os.environ.get("LOCAL_RANK", rank()))


def barrier() -> None:
    """Wait until all processes are here; all of them have to call this.

    Example:
        >>> barrier()
    """
    largest((0.0,))


def gathered(value: Any) -> list[Any]:
    """What each process hands in, in the order of their ranks; all of them have to call this.

    Args:
        value: anything that can be pickled.

    Example:
        >>> gathered({"seen": 128})   # in four processes a list of four
        [{'seen': 128}]
    """
    if _distributed() is None:
        return [value]
    return [pickle.loads(one) for one in gathered_bytes(pickle.dumps(value))]


def gathered_bytes(mine: bytes) -> list[bytes]:
    """What each process hands in, in the order of their ranks; all of them have to call this.

    It travels through the memory of the processors. A short message is one gathering, where
    ``all_gather_object`` takes two, as it tells the lengths first; what does not fit is another.

    Example:
        >>> gathered_bytes(b"mine")
        [b'mine']
    """
    distributed = _distributed()
    if distributed is None:
        return [mine]
    begun = len(mine).to_bytes(_LENGTH, "little") + mine[:_AT_ONCE]
    told = _swapped(distributed, begun, _LENGTH + _AT_ONCE)
    lengths = [int.from_bytes(one[:_LENGTH], "little") for one in told]
    whole = [one[_LENGTH:] for one in told]
    if (more := max(lengths) - _AT_ONCE) > 0:
        rest = _swapped(distributed, mine[_AT_ONCE:], more)
        whole = [one + behind for one, behind in zip(whole, rest, strict=True)]
    return [one[:length] for one, length in zip(whole, lengths, strict=True)]


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


def largest(numbers: Sequence[float]) -> list[float]:
    """The largest of each number over all processes; all of them have to call this.

    It is one reduction of a few bytes through the memory of the processors.

    Example:
        >>> largest([0.5, -2])
        [0.5, -2.0]
    """
    return _reduced(numbers, "MAX")


def summed(numbers: Sequence[float]) -> list[float]:
    """The sum of each number over all processes; all of them have to call this, with as many.

    Example:
        >>> summed([0.5, -2])
        [0.5, -2.0]
    """
    return _reduced(numbers, "SUM")


def summed_tensor(tensor: Any) -> Any:
    """A tensor's sum over all processes, on the host; all have to call this, with the same shape.

    Example:
        >>> import torch
        >>> summed_tensor(torch.tensor([1, 2]))
        tensor([1, 2])
    """
    distributed = _distributed()
    total = tensor.detach().to("cpu", copy=True).contiguous()
    if distributed is not None:
        distributed.all_reduce(total, group=_group(distributed, "cpu"))
    return total


def _swapped(distributed: Any, mine: bytes, size: int) -> list[bytes]:
    """So many bytes of each process."""
    torch = sys.modules["torch"]
    held = torch.frombuffer(bytearray(mine.ljust(size, b"\0")), dtype=torch.uint8)
    rows = torch.empty(distributed.get_world_size(), size, dtype=torch.uint8, device="cpu")
    distributed.all_gather(list(rows), held, group=_group(distributed, "cpu"))
    return [row.tobytes() for row in rows.numpy()]


def alike(told: str) -> bool:
    """Whether all processes hand in the same text; all of them have to call this.

    It is one reduction of sixteen bytes, whatever the text.

    Example:
        >>> alike("the same")
        True
    """
    if world_size() == 1:
        return True
    digest = hashlib.blake2b(told.encode(), digest_size=6).digest()  # a float64 holds it exactly
    number = int.from_bytes(digest, "big")
    last, first = largest([number, -number])
    return last == -first


def _reduced(numbers: Sequence[float], operation: str) -> list[float]:
    distributed = _distributed()
    if distributed is None:
        return [float(one) for one in numbers]
    torch = sys.modules["torch"]
    held = torch.tensor(numbers, dtype=torch.float64, device="cpu")
    group = _group(distributed, "cpu")
    distributed.all_reduce(held, op=getattr(distributed.ReduceOp, operation), group=group)
    return held.tolist()  # type: ignore[no-any-return]


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
