"""Checkpoints of a run of several processes: written by all, as one.

The first process makes the directory, writes what is the same on all of them, and puts the
checkpoint in its place when every other has told what it wrote there. Whatever fails on one of
them, fails on all, and nothing is left behind.
"""

from __future__ import annotations

import hashlib
import sys
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from .. import random
from ..engine import Engine
from ..placement.ranks import from_first, gathered, rank, world_size
from ..serialization import stateful
from ..step.compiling import own_name
from .alone import Alone
from .contents import Contents
from .joint_save import JointSave, raise_of_another, told_of
from .manifest import Manifest
from .plain import mapped
from .shards import is_sharded, pieces_of, take_out
from .share import BUFFERS, Share, merged, of_its_own
from .store import Store

__all__ = ["Together", "processes"]

T = TypeVar("T")


def processes(before: Alone | None = None) -> Alone:
    """The processes that save a run: one, or those that have joined.

    All of them have to call this where any does.

    Args:
        before: what it returned before, kept if the processes are still the same.
    """
    distributed = sys.modules.get("torch.distributed")
    if distributed is None or not distributed.is_available() or not distributed.is_initialized():
        return before if type(before) is Alone else Alone()
    world = distributed.group.WORLD
    known = isinstance(before, Together) and before.world is world
    return before if known and before is not None else Together(world)


class Together(Alone):
    """The processes of a run, which save and load as one; all have to do so at the same place.

    Args:
        world: the group of all of them, which has to be that of the run.

    Attributes:
        world: the same.
    """

    def __init__(self, world: Any) -> None:
        import torch.distributed as dist

        self.world = world
        self.rank, self.world_size = rank(), world_size()
        # Of its own, as a thread may save while the others of the run are talking.
        self._group = dist.new_group(backend="gloo", timeout=_timeout(world))

    # ------------------------------------------------------------------ as one

    def agreed(self, make: Callable[[], T]) -> T:
        """What a function returns on the first process, on all of them."""
        return from_first(make)

    @contextmanager
    def as_one(self) -> Iterator[None]:
        """A context that is left by an error on all processes if it is on any."""
        try:
            yield
        except Exception as error:
            gathered(told_of(error))
            raise
        raise_of_another(gathered(None))

    # ------------------------------------------------------------------ saving

    def share(self, contents: Contents, engine: Engine, without: Collection[str] = ()) -> Share:
        """What this process writes: the first one what is equal on all, each what is its own."""
        try:
            share = _everything(*contents.gather(engine, without))
            buffers = _buffers(contents.model, share.weights)
            digests = {name: _digest(one) for name, one in buffers.items()}
        except Exception as error:
            gathered((told_of(error), {}))
            raise
        told = gathered((None, digests))
        raise_of_another([error for error, _ in told])
        if not self.rank:
            return share
        own = of_its_own(share.state, {**contents.others, **stateful(engine)})
        there = told[0][1]
        other = {name: one for name, one in buffers.items() if digests[name] != there.get(name)}
        return Share({}, {**own, BUFFERS: other}, share.pieces)

    def save(self, store: Store, share: Share, manifest: Manifest, name: str | None = None) -> Path:
        """Write a checkpoint, each its share."""
        with JointSave(self._group, self.rank, share) as joint:
            if self.rank:
                return joint.follow()
            manifest = replace(manifest, world_size=self.world_size)
            try:
                path = store.save(share.weights, share.state, manifest, name=name, others=joint)
            except Exception as error:
                joint.tell(error)
                raise
            joint.tell(path)
            return path

    # ------------------------------------------------------------------ loading

    def _state(
        self, store: Store, path: Path, manifest: Manifest, model: torch.nn.Module
    ) -> dict[str, Any]:
        """The state that this process goes on from: what is equal, and its own."""
        shared = store.load_state(path, digests=False, model=model)
        if 0 < self.rank < manifest.world_size:
            own = store.load_state(path, digests=False, rank=self.rank, model=model)
            return merged(shared, own, place=self.world_size == manifest.world_size)
        if self.rank and "random" in shared:
            seed = manifest.seed or 0
            shared["random"] = random.derived(seed, self.rank, manifest.iteration)
        return shared

    # ------------------------------------------------------------------ after an error

    def is_to_tell(self, store: Store, run: str) -> bool:
        """Whether this is the first process that leaves a checkpoint of an error."""
        claim = getattr(store, "claim", None)
        return claim is None or bool(claim(run))

    def forget_errors(self, store: Store, run: str) -> None:
        """Have the next error told of, whoever told of one before."""
        if not self.rank and callable(disclaim := getattr(store, "disclaim", None)):
            disclaim(run)

    def share_of_error(self, contents: Contents, engine: Engine) -> Share:
        """All that it has, of tensors in pieces its own piece; the others may be gone."""
        weights, state = contents.gather(engine, alone=True)
        return Share(mapped(weights, _local), mapped(state, _local))

    def name_of_error(self, manifest: Manifest) -> str | None:
        """The iteration and the number of the process."""
        return f"{manifest.iteration:08d}-inexact-rank{self.rank}"


def _everything(weights: Mapping[str, Tensor], state: Mapping[str, Any]) -> Share:
    """All that is to be saved, of tensors in pieces this process's own."""
    state, sharded = take_out(state, "state")
    sharded |= {f"model.{name}": one for name, one in weights.items() if is_sharded(one)}
    whole = {name: one for name, one in weights.items() if not is_sharded(one)}
    return Share(whole, state, pieces_of(sharded) if sharded else {})


def _buffers(model: torch.nn.Module, weights: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """The buffers among a model's weights."""
    names = {own_name(name) for name, _ in model.named_buffers()}
    return {name: weights[name] for name in sorted(names & weights.keys())}


def _local(tensor: Tensor) -> Tensor:
    return tensor.to_local() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def _digest(tensor: Tensor) -> bytes:
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous().view(-1)
    values = plain.view(torch.uint8).numpy().data if plain.numel() else b""
    return hashlib.blake2b(values, digest_size=16).digest()


def _timeout(world: Any) -> Any:
    """How long the processes wait for each other, as they were joined; ``None`` if not known."""
    try:
        options = world._get_backend(torch.device("cpu")).options
        return options._timeout
    except (AttributeError, RuntimeError):  # of a group that has no part for the CPU, say
        return None
