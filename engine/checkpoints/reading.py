"""What the files of a checkpoint hold, in whichever folder they are."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import StateError
from ..step.compiling import own_name
from .shards import Layouts, is_sharded, put_back
from .state_file import read_state
from .tensor_file import read_tensors

__all__ = [
    "INDEX",
    "MODEL",
    "STATE",
    "files_of_state",
    "files_of_weights",
    "state_in",
    "state_name",
    "weights_in",
]

MODEL, STATE, INDEX = "model.safetensors", "state.pt", "shards.json"


def state_name(rank: int) -> str:
    """The file that a process keeps its state in.

    Example:
        >>> state_name(0), state_name(3)
        ('state.pt', 'state-00003.pt')
    """
    return STATE if rank == 0 else f"state-{rank:05d}.pt"


def files_of_state(files: Collection[str], rank: int) -> list[str]:
    """Those of a checkpoint's files that are read for its state."""
    return [state_name(rank), *_shards(files)]


def files_of_weights(files: Collection[str]) -> list[str]:
    """Those of a checkpoint's files that are read for its weights."""
    return [MODEL, *_shards(files)]


def state_in(
    folder: Path, files: Collection[str], rank: int = 0, model: torch.nn.Module | None = None
) -> dict[str, Any]:
    """Read a state. Nothing in its files can run code.

    Args:
        folder: where the files are.
        files: the names of all that the checkpoint has.
        rank: whose state it is.
        model: the model whose tensors say how those that were saved in pieces lie now; without
            one they are whole.

    Raises:
        StateError: if there is none of that rank, or a file is not as it was written.
    """
    if state_name(rank) not in files:
        raise StateError(f"{folder} has no state of rank {rank}.")
    state = read_state(folder / state_name(rank))
    if INDEX not in files:
        return state
    from .shard_files import index_of, read_shards

    index, layouts, wanted = index_of(folder, files), Layouts(model), dict[str, Tensor]()

    def made(name: str) -> Tensor:
        if name not in index:
            raise StateError(f"{folder / INDEX} does not speak of {name!r}.")
        if name not in wanted:
            wanted[name] = layouts.empty(index[name])
        return wanted[name]

    filled: dict[str, Any] = put_back(state, made)
    read_shards(folder, wanted, files)
    return filled


def weights_in(
    folder: Path, files: Collection[str], model: torch.nn.Module | None = None
) -> dict[str, Tensor]:
    """Read weights by name.

    Args:
        folder: where the files are.
        files: the names of all that the checkpoint has.
        model: the model whose tensors say how those that it has in pieces lie; without one all
            are whole.

    Raises:
        StateError: if a file is not as it was written.
    """
    tensors = read_tensors(folder / MODEL)
    if INDEX not in files:
        return tensors
    state = {} if model is None else model.state_dict()
    own = {own_name(name): one for name, one in state.items() if is_sharded(one)}
    return {**tensors, **_from_shards(folder, files, own)}


def _from_shards(folder: Path, files: Collection[str], own: dict[str, Any]) -> dict[str, Tensor]:
    from .shard_files import check_complete, index_of, read_shards

    wanted: dict[str, Tensor] = {}
    index = index_of(folder, files)
    check_complete(folder, files, index)
    for name, whole in index.items():
        head, _, weight = name.partition(".")
        if head == "model":
            like = own.get(weight)
            if like is not None and tuple(like.shape) == whole.size:
                wanted[name] = torch.empty_like(like, dtype=whole.dtype)
            else:
                wanted[name] = Layouts().empty(whole)
    read_shards(folder, wanted, files)
    return {name.partition(".")[2]: one for name, one in wanted.items()}


def _shards(files: Collection[str]) -> list[str]:
    return [name for name in files if name.startswith("shards")] if INDEX in files else []
