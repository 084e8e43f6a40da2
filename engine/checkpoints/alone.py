"""Checkpoints of a run that is one process, and what those of several do otherwise."""

from __future__ import annotations

from collections.abc import Callable, Collection
from contextlib import AbstractContextManager, nullcontext
from pathlib import Path
from typing import Any, TypeVar

from torch.nn import Module

from ..engine import Engine
from .contents import Contents
from .manifest import Manifest
from .share import BUFFERS, Share
from .store import Store
from .tensor_file import load_tensors

__all__ = ["Alone"]

T = TypeVar("T")


class Alone:
    """One process that saves and loads by itself; the base of several that do so together.

    Attributes:
        rank: the number of this process.
        world_size: how many there are.

    Example:
        >>> Alone().agreed(lambda: "mine")
        'mine'
    """

    rank, world_size = 0, 1

    def agreed(self, make: Callable[[], T]) -> T:
        """What a function returns on the first process, on all of them."""
        return make()

    def as_one(self) -> AbstractContextManager[None]:
        """A context that is left by an error on all processes if it is on any."""
        return nullcontext()

    def share(self, contents: Contents, engine: Engine, without: Collection[str] = ()) -> Share:
        """What this process writes; see :meth:`.Contents.gather`."""
        return Share(*contents.gather(engine, without))

    def save(self, store: Store, share: Share, manifest: Manifest, name: str | None = None) -> Path:
        """Write a checkpoint; see :meth:`.CheckpointStore.save`."""
        return store.save(share.weights, share.state, manifest, name=name)

    def load(
        self,
        contents: Contents,
        engine: Engine,
        store: Store,
        path: Path,
        *,
        without: Collection[str] = (),
    ) -> None:
        """Set weights, engine, handlers and all else to what a checkpoint holds.

        Raises:
            StateError: if it does not fit.
        """
        manifest = store.manifest(path)
        state = self._state(store, path, manifest, contents.model)
        contents.check_names(engine, without, state)
        without = {*without, *manifest.left_out}
        state.setdefault("metrics", manifest.metrics)
        contents.check_others(state, without)
        contents.check_handlers(engine, state, without)
        with contents.loading():
            store.load_weights(path, contents.model)
            load_tensors(contents.model, state.get(BUFFERS, {}), strict=False)
        contents.give_back(engine, state, without)
        engine.source.moved = manifest.world_size != self.world_size

    def _state(self, store: Store, path: Path, manifest: Manifest, model: Module) -> dict[str, Any]:
        """The state that this process goes on from."""
        return store.load_state(path, digests=False, model=model)

    # ------------------------------------------------------------------ after an error

    def is_to_tell(self, store: Store, run: str) -> bool:
        """Whether this process is the one that leaves a checkpoint of an error."""
        return True

    def forget_errors(self, store: Store, run: str) -> None:
        """Have the next error told of, whoever told of one before."""

    def share_of_error(self, contents: Contents, engine: Engine) -> Share:
        """What it writes then, without a word to others."""
        return self.share(contents, engine)

    def name_of_error(self, manifest: Manifest) -> str | None:
        """What that is called; ``None`` for what it is called by default."""
        return None
