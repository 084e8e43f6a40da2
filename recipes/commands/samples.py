"""Samples in files, to predict of, and files of predictions."""

from __future__ import annotations

import csv
import json
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch

from ...engine.checkpoints.tensor_file import read_tensors
from ...engine.data.in_memory import InMemoryLoader
from ..config.problems import ABSENT, ConfigError, Problem

__all__ = ["check_output", "read_samples", "write_predictions"]


def read_samples(path: Path, batch_size: int) -> InMemoryLoader:
    """Samples from a file, in batches.

    Args:
        path: ``.npy``, ``.npz`` or ``.safetensors`` with one array of shape (N, …); ``.csv`` with
            numbers, a row a sample and perhaps a row of names above; ``.pt`` with a tensor.
        batch_size: samples at a time.

    Raises:
        ConfigError: for a file of another kind, or with something else in it.
        OSError: if it can't be read.
    """
    readers: Mapping[str, Callable[[Path], Any]] = {
        ".npy": lambda file: np.load(file, allow_pickle=False),
        ".npz": lambda file: dict(np.load(file, allow_pickle=False)),
        ".csv": _read_csv,
        ".pt": lambda file: torch.load(file, map_location="cpu", weights_only=True),
        ".safetensors": read_tensors,
    }
    read = readers.get(path.suffix)
    if read is None:
        raise _refused(path, f"samples come in {', '.join(readers)}")
    try:
        found = read(path)
    except ValueError as error:
        raise _refused(path, f"its samples can't be read: {error}") from None
    if isinstance(found, Mapping):
        if len(found) != 1:
            raise _refused(path, f"it holds {', '.join(found) or 'nothing'}; one array is needed")
        found = next(iter(found.values()))
    samples = torch.as_tensor(found)
    if not samples.ndim:
        raise _refused(path, "it holds a single number; samples have a first dimension")
    if samples.dtype == torch.float64:
        samples = samples.float()  # as models are
    return InMemoryLoader(samples, batch_size)


def check_output(path: Path) -> None:
    """Make the folder of a file of predictions, before there are any.

    Raises:
        ConfigError: for a file of another kind, and one that can't be written there.
        OSError: if the folder can't be made.
    """
    if path.suffix not in _WRITERS:
        raise _refused(path, f"predictions go to {', '.join(_WRITERS)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    if path.is_dir() or not os.access(path if path.exists() else path.parent, os.W_OK):
        raise _refused(path, "it can't be written there", " Give the path of another file.")


def write_predictions(predictions: Any, path: Path) -> int:
    """Write predictions into a file; returns how many.

    Args:
        predictions: a tensor of shape (N, …), or a list.
        path: ``.npy``, ``.csv``, ``.jsonl`` or ``.pt``.

    Raises:
        ConfigError: for a file of another kind, or predictions that it can't hold.
    """
    check_output(path)
    write = _WRITERS[path.suffix]
    try:
        write(predictions, path)
    except (TypeError, ValueError) as error:
        hint = " Write them to a .pt file."
        raise _refused(path, f"it can't hold these predictions: {error}", hint) from None
    return len(predictions)


def _read_csv(path: Path) -> Any:
    with path.open(newline="", encoding="utf-8") as file:
        rows = [row for row in csv.reader(file) if row]
    if rows and not _are_numbers(rows[0]):
        rows = rows[1:]
    return np.array([[float(cell) for cell in row] for row in rows], dtype=np.float32)


def _are_numbers(row: list[str]) -> bool:
    try:
        return bool([float(cell) for cell in row])
    except ValueError:
        return False


def _write_csv(predictions: Any, path: Path) -> None:
    rows = np.asarray(predictions)
    rows = rows.reshape(len(rows), -1)
    with path.open("w", newline="", encoding="utf-8") as file:
        csv.writer(file).writerows(rows.tolist())


def _write_lines(predictions: Any, path: Path) -> None:
    rows = predictions.tolist() if hasattr(predictions, "tolist") else predictions
    with path.open("w", encoding="utf-8") as file:
        file.writelines(f"{json.dumps(row)}\n" for row in rows)


_WRITERS: Mapping[str, Callable[[Any, Path], None]] = {
    ".npy": lambda rows, file: np.save(file, np.asarray(rows)),
    ".csv": _write_csv,
    ".jsonl": _write_lines,
    ".pt": torch.save,
}


def _refused(path: Path, reason: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(path=str(path), given=ABSENT, reason=reason, hint=hint)])
