"""What processes hand to each other in the tests of computations that they share."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch

from footplate.engine.placement.ranks import gathered, gathered_bytes, rank, world_size
from footplate.engine.placement.together import Exchange, together

WIDE = 2**60 + 1  # whose sum is exact as a whole number alone


def summands() -> list[list[Any]]:
    """What this process adds, each time."""
    n = rank() + 1
    return [
        [n],
        [WIDE],
        [WIDE if rank() == 0 else 3],
        [0.5 * n],
        [n, torch.full((2, 3), n), torch.tensor([0.1]).repeat(5000)],
        [torch.tensor([True, rank() == 0])],
        [torch.ones(n) if rank() < 2 else torch.ones(1)],
        [torch.full((3,), n, dtype=torch.bfloat16)],
        [torch.tensor(n, dtype=torch.int32)],
    ][: 6 if world_size() > 2 else 9]


def plain(values: list[Any]) -> list[Any]:
    return [one.tolist() if isinstance(one, torch.Tensor) else one for one in values]


def summed(idle: int | None) -> list[Any]:
    """Sums over all, or over all but one."""
    told = []
    for values in summands():

        def compute(exchange: Exchange, values: list[Any] = values) -> list[Any]:
            return [plain(exchange.sum(values)), exchange.world_size]

        told.append(together(compute, takes_part=rank() != idle, what="a sum"))
    return told


def dtypes() -> list[str]:
    """The types of sums of tensors."""
    values = [torch.ones(2, dtype=one) for one in (torch.bfloat16, torch.int32, torch.float64)]
    sums = together(lambda e: e.sum(values), takes_part=True, what="a sum")
    return [str(one.dtype) for one in sums]


def handed_in() -> list[Any]:
    """What all have, short or long, in tensors of all kinds."""
    n = rank()
    odd = torch.arange(12.0).reshape(4, 3)[:1, n : n + 1]  # with strides that are not its own
    values = ["x" * 700 * n, torch.zeros(0, 2), odd, torch.tensor(1.5, dtype=torch.bfloat16), {n}]
    told = together(lambda e: e.all(values), takes_part=True, what="all")
    return [[sorted(v) if isinstance(v, set) else v for v in plain(one)] for one in told]


def messages() -> bool:
    """Whether messages about as long as come at once arrive whole."""
    return all(
        gathered_bytes(b"a" * (size + rank())) == [b"a" * (size + n) for n in range(world_size())]
        and gathered("b" * size) == ["b" * size] * world_size()
        for size in (0, 1, 502, 503, 504, 505, 2000)
    )


def disagreeing() -> Any:
    """What all are told where each has computed something else."""
    return together(lambda exchange: f"of {rank()}", takes_part=rank() > 0, what="a name")


def failing(how: str) -> str:
    """What is raised where one hands in, or computes, what can't be told."""
    hopeless: Callable[[], Any] = lambda: (lambda: None) if rank() == 0 else 1  # noqa: E731

    def compute(exchange: Exchange) -> Any:
        return exchange.all(hopeless()) if how == "handed in" else hopeless()

    try:
        return str(together(compute, takes_part=True, what="hopeless"))
    except Exception as error:
        return type(error).__name__
