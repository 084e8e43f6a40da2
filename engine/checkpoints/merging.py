"""One file of whole weights, of a checkpoint whose run had them in pieces."""

from __future__ import annotations

import os
from pathlib import Path

from .durable import DurableFile, make_directory, make_durable
from .loading import found_at
from .reading import MODEL, weights_in
from .tensor_file import write_tensors

__all__ = ["merge"]


def merge(checkpoint: str | Path, folder: str | Path) -> Path:
    """Write the weights of a checkpoint whole into one ``model.safetensors``, for other tools.

    It takes one process, no accelerator, and memory for the weights. The file appears whole or
    not at all.

    Args:
        checkpoint: its directory; or a folder of a run, of whose checkpoints the last is taken.
        folder: where the file goes; made if it is not there.

    Returns:
        the file.

    Raises:
        StateError: if there is no checkpoint, or a file of it is not as it was written.
        FileExistsError: if the file is there already.
        OSError: if the disk does not take it.

    Example:
        >>> import tempfile, torch
        >>> from footplate.engine.checkpoints.manifest import Manifest
        >>> from footplate.engine.checkpoints.store import CheckpointStore
        >>> store = CheckpointStore(tempfile.mkdtemp())
        >>> manifest = Manifest(run="r", iteration=3, epoch=1)
        >>> path = store.save({"weight": torch.ones(2)}, {}, manifest)
        >>> merge(path, tempfile.mkdtemp()).name
        'model.safetensors'
    """
    path, manifest = found_at(checkpoint, digests=True)
    file = Path(folder) / MODEL
    if os.path.lexists(file):
        raise FileExistsError(f"{file} is there already; give another folder, or move it away.")
    tensors = weights_in(path, manifest.files)
    make_directory(file.parent)
    beside = file.with_name(f".{file.name}.{os.getpid()}.part")
    try:
        with DurableFile(beside) as out:
            write_tensors(out, tensors)
        beside.rename(file)
    finally:
        beside.unlink(missing_ok=True)
    make_durable(file.parent)
    return file
