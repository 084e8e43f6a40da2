"""Files of tensors that lie in pieces, by ``torch.distributed.checkpoint``.

Torch plans who writes and who reads what. Its own files are pickles; here each process writes one
file of safetensors, and the first one an index in JSON, so that nothing that is read can run code.
"""

from __future__ import annotations

import json
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.distributed.checkpoint.api import CheckpointException
from torch.distributed.checkpoint.default_planner import DefaultLoadPlanner, DefaultSavePlanner
from torch.distributed.checkpoint.metadata import (
    ChunkStorageMetadata,
    Metadata,
    MetadataIndex,
    TensorProperties,
    TensorStorageMetadata,
)
from torch.distributed.checkpoint.planner import (
    LoadPlan,
    LoadPlanner,
    SavePlan,
    SavePlanner,
    TensorWriteData,
    WriteItem,
    WriteItemType,
)
from torch.distributed.checkpoint.state_dict_loader import load
from torch.distributed.checkpoint.state_dict_saver import save
from torch.distributed.checkpoint.storage import StorageReader, StorageWriter, WriteResult
from torch.futures import Future

from ..errors import StateError
from .durable import DurableFile
from .shard_index import INDEX, is_of_pieces, read_index, shape_in
from .shards import Piece, Shape
from .tensor_file import write_tensors

__all__ = ["INDEX", "check_complete", "index_of", "planned", "read_shards", "write_shards"]

Files = dict[str, tuple[int, str]]


def write_shards(directory: Path, pieces: Mapping[str, Piece], group: Any = None) -> Files:
    """Write this process's pieces; all processes of a group have to call this.

    See :func:`planned` for those that are not to wait for each other's disks.

    What lies on several of them as a copy is written by one.

    Args:
        directory: which all of them see.
        pieces: by the name of the tensor.
        group: the processes; those that there are by default.

    Returns:
        size and SHA-256 digest by name of the files that this process wrote.

    Raises:
        OSError: if the disk does not take them.
        RuntimeError: if it failed on another process; it tells of that.
    """
    return planned(directory, pieces, group)()


def planned(directory: Path, pieces: Mapping[str, Piece], group: Any = None) -> Callable[[], Files]:
    """Agree with the other processes on who writes what, and write the index.

    Args:
        directory: as :func:`write_shards` takes it, like the others.
        pieces: by the name of the tensor.
        group: the processes.

    Returns:
        what writes this process's pieces, and asks nobody; it returns size and digest by name.

    Raises:
        OSError: if the disk does not take the index.
        RuntimeError: if it failed on another process; it tells of that.
    """
    writer = _Writer(directory)
    held = {name: _Held(piece) for name, piece in pieces.items()}
    try:
        save(held, storage_writer=writer, planner=_Planner(), process_group=group)
    except CheckpointException as error:
        failures = {rank: failure for rank, (failure, _) in error.failures.items()}
        if writer.failed is not None:
            raise writer.failed from None
        rank, first = min(failures.items(), key=lambda one: one[0])
        raise RuntimeError(f"rank {rank} failed with {type(first).__name__}: {first}") from None
    return writer.write


def read_shards(
    directory: Path, into: Mapping[str, Tensor], files: Collection[str] | None = None
) -> None:
    """Read tensors by name; each process reads what it has of them, and talks to no other.

    Args:
        directory: where the files are.
        into: tensors, whole or in pieces, that take the values.
        files: the names of all that the checkpoint has; by default what is there.

    Raises:
        StateError: if a file is not as it was written, or has no such tensor.
    """
    try:
        with warnings.catch_warnings():  # that no others are asked
            warnings.simplefilter("ignore", UserWarning)
            planner = DefaultLoadPlanner(flatten_state_dict=False, flatten_sharded_tensors=False)
            reader = _Reader(directory, files)
            load(dict(into), storage_reader=reader, planner=planner, no_dist=True)
    except CheckpointException as error:
        ((first, _), *_) = error.failures.values()
        if isinstance(first, (StateError, OSError, MemoryError)):
            raise first from None
        raise StateError(f"{directory}: {type(first).__name__}: {first}.") from first


def index_of(directory: Path, files: Collection[str] | None = None) -> dict[str, Shape]:
    """What the tensors are like that a checkpoint has in pieces, by name.

    Args:
        directory: where the files are.
        files: the names of all that the checkpoint has; by default what is there.

    Raises:
        StateError: if the index is not as it was written.
        OSError: if it can't be read.
    """
    return {name: shape_in(entry) for name, entry in read_index(directory, files).items()}


def check_complete(directory: Path, files: Collection[str], index: Collection[str]) -> None:
    """Refuse an index that leaves out tensors of which there are pieces.

    Args:
        directory: where the files are.
        files: the names of all that the checkpoint has.
        index: the names of the tensors that it speaks of.

    Raises:
        StateError: naming one of them.
    """
    for name in sorted(files):
        if not is_of_pieces(name):
            continue
        with _opened(directory / name) as file:
            others = {key for key in file.metadata() or {} if key != "format"}
            if gone := {*file.keys(), *others} - {*index}:
                raise StateError(
                    f"{directory / INDEX} does not speak of {min(gone)!r}, of which {name} has a "
                    f"piece."
                )


# ---------------------------------------------------------------------- writing


class _Held:
    """A piece, as torch asks for what is to be written of it."""

    def __init__(self, piece: Piece) -> None:
        self.piece = piece

    def __create_write_items__(self, name: str, _: object) -> list[WriteItem]:
        piece = self.piece
        if not piece.local.numel() and 0 not in piece.whole.size:
            return []  # others have all of it
        offsets = torch.Size(piece.offsets)
        data = TensorWriteData(
            chunk=ChunkStorageMetadata(offsets=offsets, sizes=piece.local.shape),
            properties=TensorProperties(dtype=piece.whole.dtype),
            size=torch.Size(piece.whole.size),
        )
        index = MetadataIndex(name, offsets)
        return [WriteItem(index=index, type=WriteItemType.SHARD, tensor_data=data)]


class _Planner(DefaultSavePlanner):
    """Torch's, for pieces."""

    def __init__(self) -> None:
        super().__init__(flatten_state_dict=False, flatten_sharded_tensors=False)

    def lookup_object(self, index: MetadataIndex) -> Any:
        return self.state_dict[index.fqn]

    def transform_object(self, write_item: WriteItem, object: Any) -> Any:
        return object.piece


class _Writer(StorageWriter):
    """One file of safetensors for each process, and an index."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.files: Files = {}
        self.failed: Exception | None = None
        self._rank = 0
        self._pieces: Mapping[str, Any] = {}

    def reset(self, checkpoint_id: object = None) -> None:
        pass

    def set_up_storage_writer(self, is_coordinator: bool, *args: Any, **kwargs: Any) -> None:
        self._rank = kwargs.get("rank", 0)

    def prepare_local_plan(self, plan: SavePlan) -> SavePlan:
        return plan

    def prepare_global_plan(self, plans: list[SavePlan]) -> list[SavePlan]:
        return plans

    def write_data(self, plan: SavePlan, planner: SavePlanner) -> Future[list[WriteResult]]:
        pieces: dict[str, Any] = {one.index.fqn: planner.resolve_data(one) for one in plan.items}
        name, self._pieces = f"shards-{self._rank:05d}.safetensors", pieces
        written: Future[list[WriteResult]] = Future()
        written.set_result(
            [
                WriteResult(
                    index=one.index,
                    size_in_bytes=pieces[one.index.fqn].local.nbytes,
                    storage_data=(name, pieces[one.index.fqn].whole.placements),
                )
                for one in plan.items
            ]
        )
        return written

    def write(self) -> Files:
        """Write what is planned; it may take long, so that torch is not to wait for it."""
        tensors = {key: piece.local for key, piece in self._pieces.items()}
        if tensors:
            name = f"shards-{self._rank:05d}.safetensors"
            self._write(name, lambda file: write_tensors(file, tensors))
        return self.files

    def finish(self, metadata: Metadata, results: list[list[WriteResult]]) -> None:
        there = {one.index: one.storage_data for each in results for one in each}
        entries = {}
        for name, whole in metadata.state_dict_metadata.items():
            assert isinstance(whole, TensorStorageMetadata)
            chunks = [
                {
                    "offsets": list(chunk.offsets),
                    "sizes": list(chunk.sizes),
                    "file": there[MetadataIndex(name, chunk.offsets)][0],
                }
                for chunk in whole.chunks
            ]
            placements = there[MetadataIndex(name, whole.chunks[0].offsets)][1]
            entries[name] = {
                "shape": list(whole.size),
                "dtype": str(whole.properties.dtype).removeprefix("torch."),
                "placements": list(placements),
                "chunks": chunks,
            }
        text = json.dumps(entries, separators=(",", ":")).encode()
        self._write(INDEX, lambda file: file.write(text))

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: object) -> bool:
        return True

    def _write(self, name: str, fill: Any) -> None:
        try:
            with DurableFile(self.directory / name) as file:
                fill(file)
        except Exception as error:
            self.failed = error  # as torch tells of it in a text
            raise
        self.files[name] = file.size, file.digest


# ---------------------------------------------------------------------- reading


class _Reader(StorageReader):
    """What the writer wrote."""

    def __init__(self, directory: Path, files: Collection[str] | None) -> None:
        self.directory = directory
        self._names = files
        self._files: dict[MetadataIndex, str] = {}
        self._pieces: dict[MetadataIndex, tuple[torch.dtype, list[int]]] = {}

    def reset(self, checkpoint_id: object = None) -> None:
        pass

    def read_metadata(self, *args: Any, **kwargs: Any) -> Metadata:
        found: dict[str, Any] = {}
        for name, entry in read_index(self.directory, self._names).items():
            whole = shape_in(entry)
            chunks = []
            for chunk in entry["chunks"]:
                offsets, sizes = torch.Size(chunk["offsets"]), torch.Size(chunk["sizes"])
                chunks.append(ChunkStorageMetadata(offsets=offsets, sizes=sizes))
                self._files[MetadataIndex(name, offsets)] = chunk["file"]
                self._pieces[MetadataIndex(name, offsets)] = whole.dtype, chunk["sizes"]
            properties = TensorProperties(dtype=whole.dtype)
            found[name] = TensorStorageMetadata(properties, torch.Size(whole.size), chunks)
        return Metadata(state_dict_metadata=found)

    def set_up_storage_reader(
        self, metadata: Metadata, is_coordinator: bool, *args: Any, **kwargs: Any
    ) -> None:
        pass

    def prepare_local_plan(self, plan: LoadPlan) -> LoadPlan:
        return plan

    def prepare_global_plan(self, plans: list[LoadPlan]) -> list[LoadPlan]:
        return plans

    def read_data(self, plan: LoadPlan, planner: LoadPlanner) -> Future[None]:
        by_file: dict[str, list[Any]] = {}
        for one in plan.items:
            by_file.setdefault(self._files[one.storage_index], []).append(one)
        for name, items in by_file.items():
            with _opened(self.directory / name) as file:
                names, others = set(file.keys()), file.metadata() or {}
                for one in items:
                    key = one.storage_index.fqn
                    key = key if key in names else others.get(key, key)
                    target = planner.resolve_tensor(one).detach()
                    part = _cut(file, key, one.storage_offsets, one.lengths)
                    there = part.dtype, file.get_slice(key).get_shape()
                    if there != (told := self._pieces[one.storage_index]):
                        raise StateError(
                            f"{self.directory / name} is not as it was written: of {key!r} it has "
                            f"{_told(*there)}, and {INDEX} says {_told(*told)}."
                        )
                    target.copy_(part)
                    planner.commit_tensor(one, target)
        done: Future[None] = Future()
        done.set_result(None)
        return done

    @classmethod
    def validate_checkpoint_id(cls, checkpoint_id: object) -> bool:
        return True


def _told(dtype: torch.dtype, shape: list[int]) -> str:
    return f"{str(dtype).removeprefix('torch.')} {shape}"


def _cut(file: Any, name: str, offsets: Any, lengths: Any) -> Tensor:
    """A part of a tensor in a file."""
    if not len(lengths):
        whole: Tensor = file.get_tensor(name)
        return whole
    spans = tuple(slice(at, at + length) for at, length in zip(offsets, lengths, strict=True))
    part: Tensor = file.get_slice(name)[spans]
    return part


@contextmanager
def _opened(file: Path) -> Iterator[Any]:
    try:
        with safe_open(str(file), framework="pt", device="cpu") as opened:
            yield opened
    except StateError:
        raise
    except (SafetensorError, ValueError, KeyError) as error:
        raise StateError(f"{file} is not as it was written: {error}.") from error
