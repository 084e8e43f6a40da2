"""A store of checkpoints: directories that appear whole or not at all.

Each holds ``model.safetensors`` (weights, which other tools read, too), ``state.pt`` (all else, in
tensors and primitives) and ``manifest.json``. It is written beside its place, made durable, and
put in place by one rename; nothing is taken away before that.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import re
import shutil
import warnings
from collections import Counter, OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_model, save_model

from ..errors import StateError
from ..step.compiling import own_name

__all__ = ["CheckpointStore", "Manifest", "lend", "read_weights", "take_back", "write_weights"]

_FORMAT = 1
_PRIMITIVES = (bool, int, float, complex, str, bytes, torch.dtype, torch.device)
_PART = re.compile(r"\.\d{8,}(?:-\d+)?\.(\d+)\.part")  # what is being written, and by whom
_MODEL, _STATE, _MANIFEST = "model.safetensors", "state.pt", "manifest.json"
_LOAN = "_footplate_loan"


def _versions() -> dict[str, str]:
    return {"python": platform.python_version(), "torch": str(torch.__version__)}


@dataclass(frozen=True, kw_only=True)
class Manifest:
    """What a checkpoint says of itself.

    Attributes:
        run: the identity of the run that wrote it; a run takes away no other's.
        iteration, epoch: where the run stood.
        number: how many were saved in the directory before it; clocks may be set back.
        metrics: its scalar metrics then.
        score: the value that checkpoints are compared by, more being better; ``None`` for none.
        files: size in bytes and SHA-256 digest, by file name.
        versions: of Python and torch.
        format: of the directory.
    """

    run: str
    iteration: int
    epoch: int
    number: int = 0
    metrics: dict[str, float] = field(default_factory=dict)
    score: float | None = None
    files: dict[str, tuple[int, str]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=_versions)
    format: int = _FORMAT


class _Weights:
    """The state of a model under its own names, even where ``torch.compile`` wrapped some of it."""

    def __init__(self, model: torch.nn.Module) -> None:
        self._model = model
        self._given = {own_name(name): name for name in model.state_dict()}

    def state_dict(self) -> dict[str, Any]:
        return {own_name(name): value for name, value in self._model.state_dict().items()}

    def load_state_dict(
        self, state: Mapping[str, Any], strict: bool = True
    ) -> tuple[list[str], list[str]]:
        given = {self._given.get(name, name): value for name, value in state.items()}
        missing, unexpected = self._model.load_state_dict(given, strict=strict)
        return list(map(own_name, missing)), list(map(own_name, unexpected))


def write_weights(model: torch.nn.Module, file: str | Path) -> None:
    """Write the weights and buffers of a model as safetensors, shared tensors once.

    They have the names of the model that is not compiled, so that other tools read them, and
    compiled and eager models read each other's.
    """
    save_model(_Weights(model), str(file))  # type: ignore[arg-type]


def read_weights(model: torch.nn.Module, file: str | Path) -> None:
    """Read what :func:`write_weights` wrote into a model, compiled or not.

    Raises:
        RuntimeError: if names or shapes differ; some of the model may have been changed then.
    """
    load_model(_Weights(model), str(file))  # type: ignore[arg-type]


class _Loan:
    """The mark of a tensor that is lent; what is copied or unpickled of it is ``None``."""

    def __init__(self, borrower: object) -> None:
        self.borrower = borrower

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return type(None), ()


def lend(tensors: Iterable[torch.Tensor], borrower: object) -> None:
    """Mark parameters that hold other values for a while, such as an average.

    The mark lies on the tensors, so that it is seen whichever way a model holds them. As long as
    it is there, a :class:`CheckpointStore` neither saves nor loads a model that has one of them.
    The first borrower's mark stays until :func:`take_back` is called with the same one.
    """
    for one in tensors:
        if getattr(one, _LOAN, None) is None:
            setattr(one, _LOAN, _Loan(borrower))


def take_back(tensors: Iterable[torch.Tensor], borrower: object) -> None:
    """Take the mark of :func:`lend` away, where it is this borrower's."""
    for one in tensors:
        loan = getattr(one, _LOAN, None)
        if loan is not None and loan.borrower is borrower:
            delattr(one, _LOAN)


def _refuse_lent(model: torch.nn.Module, doing: str) -> None:
    for name, one in model.named_parameters():
        if getattr(one, _LOAN, None) is not None:
            raise RuntimeError(
                f"{name!r} of the model holds an averaged weight in place of the trained one, so "
                f"the model can't be {doing}; leave applied(), or let the evaluator's run end, "
                f"before. If neither goes on, call restore() of what averages."
            )


class CheckpointStore:
    """The checkpoints in one directory of the local disk.

    Args:
        directory: where they are; made with the first of them.

    Example:
        >>> import tempfile
        >>> store = CheckpointStore(tempfile.mkdtemp())
        >>> model = torch.nn.Linear(2, 1)
        >>> path = store.save(model, {"step": 3}, Manifest(run="r", iteration=3, epoch=1))
        >>> path.name, sorted(file.name for file in path.iterdir())
        ('00000003', ['manifest.json', 'model.safetensors', 'state.pt'])
        >>> store.load_state(path)
        {'step': 3}
        >>> store.load_weights(path, model)
    """

    def __init__(self, directory: str | Path) -> None:
        self.directory = Path(directory)

    def save(self, model: torch.nn.Module, state: Mapping[str, Any], manifest: Manifest) -> Path:
        """Write a checkpoint. It is durable when this returns, and leaves no trace if it fails.

        Args:
            model: whose weights and buffers are saved; shared tensors once.
            state: all else, in tensors and primitives.
            manifest: what to say of it; the files are filled in.

        Returns:
            the checkpoint's directory.

        Raises:
            OSError: if the disk does not take it.
            TypeError: if the state holds anything but tensors and primitives.
            RuntimeError: while the parameters of the model are lent to averaged weights.
        """
        _refuse_lent(model, "saved")
        _check_plain(state, "state")
        self.directory.mkdir(parents=True, exist_ok=True)
        self._sweep()
        number = 1 + max((known.number for _, known in self), default=-1)
        beside = self._beside(f"{manifest.iteration:08d}")
        try:
            beside.mkdir()
            write_weights(model, beside / _MODEL)
            torch.save(dict(state), beside / _STATE)
            files = {name: _measure(beside / name) for name in (_MODEL, _STATE)}
            said = json.dumps(asdict(replace(manifest, number=number, files=files)), indent=2)
            (beside / _MANIFEST).write_text(said)
            for path in (*beside.iterdir(), beside):
                _make_durable(path)
            place = self._put(beside, manifest.iteration)
        except BaseException:
            shutil.rmtree(beside, ignore_errors=True)
            raise
        _make_durable(self.directory)
        return place

    def load_state(self, path: Path) -> dict[str, Any]:
        """Read the state of a checkpoint. Nothing in its files can run code.

        Raises:
            StateError: if a file is not as it was written.
        """
        for name, (_, digest) in self.manifest(path).files.items():
            if _measure(path / name)[1] != digest:
                raise StateError(f"{path / name} is not as it was written: its digest differs.")
        state: dict[str, Any] = torch.load(path / _STATE, weights_only=True, map_location="cpu")
        return state

    def load_weights(self, path: Path, model: torch.nn.Module) -> None:
        """Read the weights of a checkpoint into a model.

        Raises:
            StateError: if names or shapes differ; the model is as it was then.
            RuntimeError: while the parameters of the model are lent to averaged weights.
        """
        _refuse_lent(model, "loaded")
        before = {name: value.clone() for name, value in model.state_dict().items()}
        try:
            read_weights(model, path / _MODEL)
        except RuntimeError as error:
            model.load_state_dict(before)
            raise StateError(f"{path} does not fit the model. {error}") from error

    def manifest(self, path: Path) -> Manifest:
        """Read the manifest of a checkpoint, and check the sizes of its files.

        Raises:
            StateError: if the checkpoint is not whole, or of another format.
        """
        try:
            manifest = Manifest(**json.loads((path / _MANIFEST).read_text()))
            sizes = {name: (path / name).stat().st_size for name in manifest.files}
        except (OSError, ValueError, TypeError) as error:
            raise StateError(f"{path} is no whole checkpoint: {error}.") from error
        if manifest.format != _FORMAT:
            raise StateError(f"{path} has format {manifest.format}, and this reads {_FORMAT}.")
        for name, (size, _) in manifest.files.items():
            if sizes[name] != size:
                raise StateError(f"{path / name} has {sizes[name]} bytes in place of {size}.")
        return manifest

    def __iter__(self) -> Iterator[tuple[Path, Manifest]]:
        """The whole checkpoints of the directory, from the first to the last that was saved.

        Others are passed over with a warning.
        """
        found = []
        for path in self.directory.glob("[0-9]*"):
            try:
                found.append((path, self.manifest(path)))
            except StateError as error:
                warnings.warn(f"passed over: {error}", RuntimeWarning, stacklevel=2)
        yield from sorted(found, key=lambda pair: pair[1].number)

    def prune(self, run: str, *, last: int, best: int) -> None:
        """Take away this run's checkpoints, but for the last and the best.

        Args:
            run: the run; checkpoints of others are not touched.
            last: how many of the latest to keep.
            best: how many of the best scores to keep, the earlier one of equals.
        """
        own = [(path, manifest) for path, manifest in self if manifest.run == run]
        scored = [pair for pair in own if pair[1].score is not None]
        scored.sort(key=lambda pair: -(pair[1].score or 0.0))
        kept = {path for path, _ in (*own[max(len(own) - last, 0) :], *scored[:best])}
        for path, _ in own:
            if path not in kept:
                beside = self._beside(path.name)
                path.rename(beside)  # a kill in the midst of it leaves nothing that looks whole
                shutil.rmtree(beside)

    def _put(self, beside: Path, iteration: int) -> Path:
        """Rename to a name of its own: a run that was resumed may be here for the second time."""
        place, number = self.directory / f"{iteration:08d}", 1
        while True:
            try:
                return beside.rename(place)
            except OSError:
                if not place.exists():
                    raise
            number += 1
            place = self.directory / f"{iteration:08d}-{number}"

    def _beside(self, name: str) -> Path:
        return self.directory / f".{name}.{os.getpid()}.part"

    def _sweep(self) -> None:
        """Take away what killed processes left, and this one where a save failed."""
        for path in self.directory.glob(".*.part"):
            ours = _PART.fullmatch(path.name)
            if ours and (int(ours[1]) == os.getpid() or not _is_alive(int(ours[1]))):
                shutil.rmtree(path, ignore_errors=True)


def _check_plain(value: object, where: str) -> None:
    """Refuse what could be saved, but not be loaded without running code."""
    if isinstance(value, Mapping) and type(value) in (dict, OrderedDict, Counter):
        for key, one in value.items():
            _check_plain(key, f"a key of {where}")
            _check_plain(one, f"{where}[{key!r}]")
    elif type(value) in (list, tuple, set, torch.Size):
        for number, one in enumerate(value):  # type: ignore[arg-type]
            _check_plain(one, f"{where}[{number}]")
    elif not (value is None or isinstance(value, torch.Tensor) or type(value) in _PRIMITIVES):
        raise TypeError(
            f"{where} is a {type(value).__module__}.{type(value).__qualname__}; a checkpoint "
            f"holds tensors and primitives only, so convert it in state_dict()."
        )


def _is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def _measure(path: Path) -> tuple[int, str]:
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return path.stat().st_size, digest


def _make_durable(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
