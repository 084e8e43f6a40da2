"""A checkpoint in a script: what it says and holds, and what its run was made with."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import torch
from torch import Tensor

from ..errors import StateError, nearest
from ..hyper_parameters import rebuilt
from .finding import find
from .manifest import Manifest
from .reading import state_in, weights_in
from .store import CheckpointStore
from .tensor_file import WeightsReport, load_tensors

__all__ = ["LoadedCheckpoint", "found_at", "load_checkpoint"]

Made = TypeVar("Made")


@dataclass(frozen=True, eq=False)
class LoadedCheckpoint:
    """What a checkpoint holds, on the CPU.

    Attributes:
        path: its directory.
        manifest: what it says of itself: where the run stood, its metrics, versions, ….
        weights: the weights and buffers by name.
        state: all else: the engine with its handlers, optimizers, random number generators.

    Example:
        >>> import tempfile
        >>> from footplate import Engine
        >>> from footplate.handlers.checkpoint import Checkpoint
        >>> model = torch.nn.Linear(2, 1)
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> folder = tempfile.mkdtemp()
        >>> _ = trainer.attach(Checkpoint(folder, model, config={"model": {"in_features": 2}}))
        >>> state = trainer.run([1, 2])
        >>> checkpoint = load_checkpoint(folder)
        >>> checkpoint.manifest.iteration, sorted(checkpoint.weights)
        (2, ['bias', 'weight'])
        >>> checkpoint.build(torch.nn.Linear, "model", out_features=3)
        Linear(in_features=2, out_features=3, bias=True)
    """

    path: Path
    manifest: Manifest = field(repr=False)
    weights: dict[str, Tensor] = field(repr=False)
    state: dict[str, Any] = field(repr=False)

    @property
    def config(self) -> dict[str, Any]:
        """The hyper-parameters of the run."""
        return self.manifest.config

    def into(self, model: torch.nn.Module, strict: bool = True) -> WeightsReport:
        """Copy the weights into a model, compiled or not, in its types and on its devices.

        Args:
            model: the model.
            strict: whether all names and shapes must match; else what does is loaded.

        Returns:
            what did not match.

        Raises:
            StateError: if ``strict`` and names or shapes differ; the model is as it was then.
            RuntimeError: while the parameters of the model are lent to averaged weights.
        """
        try:
            return load_tensors(model, self.weights, strict)
        except StateError as error:
            raise StateError(f"{self.path}: {error}") from error

    def build(
        self, function: Callable[..., Made], part: str | None = None, /, **given: Any
    ) -> Made:
        """Call a class or a function with the hyper-parameters of the run, or a part of them.

        Args:
            function: what to call; see :func:`~footplate.engine.hyper_parameters.rebuilt`.
            part: the name of the part, within parts with dots: ``"model.encoder"``; by default
                all of them.
            given: what was not saved, or is to be another now; copies of it are passed.

        Returns:
            what the call returns.

        Raises:
            StateError: if there is no such part, or the call takes something else than was saved.
        """
        config = self.config if part is None else self._part(part)
        return rebuilt(function, {**config, **given})

    def _part(self, names: str) -> dict[str, Any]:
        config: Any = self.config
        for name in names.split("."):
            if name not in config or not isinstance(config[name], dict):
                raise StateError(
                    f"{self.path} has no hyper-parameters of {names!r}, since {name!r} is no part "
                    f"of {', '.join(map(repr, config)) or 'nothing'}.{nearest(name, config)}"
                )
            config = config[name]
        return dict(config)


def load_checkpoint(path: str | Path, *, digests: bool = True) -> LoadedCheckpoint:
    """Read a checkpoint from a disk. Nothing in its files can run code.

    Args:
        path: a checkpoint's directory; or a folder, such as one of a run, of whose checkpoints, up
            to four levels deep, the one that was saved last is taken.
        digests: whether to compare the digests of all files; their sizes are anyway.

    Returns:
        the checkpoint.

    Raises:
        StateError: if there is none, or a file is not as it was written.

    Example:
        >>> import tempfile
        >>> from footplate import hyper_parameters
        >>> from footplate.engine.checkpoints.tensor_file import weights_of
        >>> made_with = {"in_features": 2, "out_features": 1}
        >>> model = torch.nn.Linear(**made_with)
        >>> manifest = Manifest(run="r", iteration=3, epoch=1, config=hyper_parameters(made_with))
        >>> store = CheckpointStore(tempfile.mkdtemp())
        >>> path = store.save(weights_of(model), {}, manifest)
        >>> checkpoint = load_checkpoint(path)
        >>> again = checkpoint.build(torch.nn.Linear)
        >>> bool(checkpoint.into(again)), torch.equal(again.weight, model.weight)
        (False, True)
    """
    found, manifest = found_at(path, digests=digests)
    return LoadedCheckpoint(
        path=found,
        manifest=manifest,
        weights=weights_in(found, manifest.files),
        state=state_in(found, manifest.files),
    )


def found_at(path: str | Path, *, digests: bool) -> tuple[Path, Manifest]:
    """The checkpoint at a path on a disk, or the last below it, as :func:`load_checkpoint` says.

    Raises:
        StateError: if there is none, or a file is not as it was written.
    """
    if "://" in str(path):
        raise StateError(
            f"{str(path)!r} is not on a disk; copy the directory to one before, for instance by "
            f"fsspec.filesystem(…).get(…, recursive=True)."
        )
    place = Path(path).expanduser().absolute()
    found = find(place.parent, place, digests=digests)
    if found is None:  # which a path is never
        raise StateError(f"there is no checkpoint {place}.")
    return found, CheckpointStore(found.parent).manifest(found)
