"""Weights out of files that other programs wrote. Nothing in such a file can run code.

Every file is read by ``torch.load(weights_only=True)``, which makes tensors, plain values and what
is allowed by name. The names below are what those programs write beside the weights. None is
looked up: a stand-in takes its place, which takes any arguments and does nothing with them. So
neither the library that wrote the file nor numpy is imported or called, whatever the file says.
"""

from __future__ import annotations

import json
import re
import zipfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from ..errors import StateError
from .reading import INDEX, weights_in
from .state_file import nothing_else_allowed
from .tensor_file import read_tensors

__all__ = ["ALLOWED", "read_weights_file"]

_MODEL = "model.safetensors"
_INDEX = ".index.json"  # of a model in several files, as Hugging Face writes them
_WRAPPERS = ("state_dict", "model_state_dict", "model")


class _LeftOut:
    """Stands for what is no weight. Whatever a file makes of it or does to it, it keeps nothing."""

    def __init__(self, *arguments: Any) -> None:
        pass

    def __setstate__(self, state: Any) -> None:
        pass


class _Mapping:
    """Stands for a kind of mapping: a file fills it, which torch lets it do to a dict alone."""

    def __new__(cls, *arguments: Any) -> dict[Any, Any]:  # type: ignore[misc]
        return {}


class _Sequence:
    """Stands for a kind of list, as :class:`_Mapping` for one of mapping."""

    def __new__(cls, *arguments: Any) -> list[Any]:  # type: ignore[misc]
        return []


_NUMPY: dict[str, type] = {
    # What numpy arrays and numbers are made of, under the names of numpy 1 and 2. Metrics,
    # histories and random states are such; the real ones would hand a file's bytes to C code.
    "numpy.core.multiarray._reconstruct": _LeftOut,
    "numpy._core.multiarray._reconstruct": _LeftOut,
    "numpy.core.multiarray.scalar": _LeftOut,
    "numpy._core.multiarray.scalar": _LeftOut,
    "numpy.ndarray": _LeftOut,
    "numpy.dtype": _LeftOut,
}

ALLOWED: Mapping[str, Mapping[str, type]] = {
    "plain": {
        # Options of a command line, which many scripts save beside the weights.
        "argparse.Namespace": _LeftOut,
        # Folders, among those options. The module is named pathlib._local by Python 3.13.
        "pathlib.PosixPath": _LeftOut,
        "pathlib.WindowsPath": _LeftOut,
        "pathlib._local.PosixPath": _LeftOut,
        "pathlib._local.WindowsPath": _LeftOut,
        # Counts and settings. The real one would call the function that the file names for it.
        "collections.defaultdict": _Mapping,
        **_NUMPY,
    },
    "Lightning": {
        # Nested hyper-parameters; each of its packages has a class of its own.
        "lightning.fabric.utilities.data.AttributeDict": _Mapping,
        "lightning_fabric.utilities.data.AttributeDict": _Mapping,
        "lightning.pytorch.utilities.parsing.AttributeDict": _Mapping,
        "pytorch_lightning.utilities.parsing.AttributeDict": _Mapping,
        # Early releases keep the states of callbacks under the classes themselves.
        "pytorch_lightning.callbacks.model_checkpoint.ModelCheckpoint": _LeftOut,
        "pytorch_lightning.callbacks.early_stopping.EarlyStopping": _LeftOut,
        # Hyper-parameters that are configurations of omegaconf, with the types that they note.
        "omegaconf.dictconfig.DictConfig": _LeftOut,
        "omegaconf.listconfig.ListConfig": _LeftOut,
        "omegaconf.base.ContainerMetadata": _LeftOut,
        "omegaconf.base.Metadata": _LeftOut,
        "omegaconf.nodes.AnyNode": _LeftOut,
        "omegaconf.nodes.StringNode": _LeftOut,
        "omegaconf.nodes.IntegerNode": _LeftOut,
        "omegaconf.nodes.FloatNode": _LeftOut,
        "omegaconf.nodes.BooleanNode": _LeftOut,
        "typing.Any": _LeftOut,
        "builtins.dict": _Mapping,
        "builtins.list": _Sequence,
        "builtins.int": _LeftOut,
        "builtins.float": _LeftOut,
        "builtins.str": _LeftOut,
        "builtins.bool": _LeftOut,
        # Hyper-parameters that are functions with arguments. The real one would hold any function.
        "functools.partial": _LeftOut,
    },
    "MMEngine": {
        # The history of what was logged, in the message hub.
        "mmengine.logging.history_buffer.HistoryBuffer": _LeftOut,
        # How a history names its own methods. The real one would give a file any attribute of
        # what it has; the stand-in gives nothing.
        "builtins.getattr": _LeftOut,
    },
}
"""What files may name, by the system that writes it, and what stands for it."""


def read_weights_file(
    path: str | Path, map_location: str | torch.device = "cpu"
) -> dict[str, Tensor]:
    """Read a model's weights out of a file, whichever program wrote it, without running code.

    Args:
        path: a file as safetensors, or as ``torch.save`` writes it: a state dict, or a mapping
            that has one under ``"state_dict"``, ``"model_state_dict"`` or ``"model"``, the first
            of these; so checkpoints of Lightning and MMEngine. Or a folder with
            ``model.safetensors``, as checkpoints of this library are and models of Hugging Face;
            or the ``….index.json`` of one in several files.
        map_location: the device that the weights are put on.

    Returns:
        the weights by the names that they have in the file.

    Raises:
        StateError: if there are no weights in it, it is damaged or no checkpoint at all, or it
            names anything that is not in :data:`ALLOWED`.
        OSError: if it can't be opened.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "checkpoint.pth"
        >>> torch.save({"epoch": 3, "state_dict": torch.nn.Linear(2, 1).state_dict()}, path)
        >>> {name: tuple(value.shape) for name, value in read_weights_file(path).items()}
        {'weight': (1, 2), 'bias': (1,)}
    """
    device, path = torch.device(map_location), Path(path)
    if path.is_dir() and (path / INDEX).is_file():
        tensors = weights_in(path, [one.name for one in path.iterdir()])
        return {name: tensor.to(device) for name, tensor in tensors.items()}
    if path.is_dir():
        path = _in_folder(path)
    if path.name.endswith(_INDEX):
        tensors = _in_several(path)
    elif _is_safetensors(path):
        tensors = read_tensors(path)
    else:
        tensors = _weights_in(_load(path), path)
    return {name: tensor.to(device) for name, tensor in tensors.items()}


def _in_folder(folder: Path) -> Path:
    for name in (_MODEL, _MODEL + _INDEX):
        if (folder / name).is_file():
            return folder / name
    raise StateError(f"the folder {folder} has no {_MODEL}; give the file or checkpoint itself.")


def _in_several(index: Path) -> dict[str, Tensor]:
    try:
        names = sorted(set(json.loads(index.read_text())["weight_map"].values()))
        outside = [name for name in names if Path(name).name != name or name == ".."]
    except (ValueError, LookupError, TypeError, AttributeError) as error:
        raise StateError(f"{index} is no index of weights: {error!r}.") from error
    if outside:
        raise StateError(f"{index} names {outside[0]!r}, which is not beside it.")
    tensors: dict[str, Tensor] = {}
    for name in names:
        tensors |= read_weights_file(index.parent / name)
    return tensors


def _is_safetensors(path: Path) -> bool:
    with path.open("rb") as file:  # its header is JSON, behind eight bytes of length
        return file.read(9)[8:] == b"{" or path.suffix == ".safetensors"


def _load(path: Path) -> Any:
    if _is_torchscript(path):
        raise StateError(
            f"{path} is a program of TorchScript, not weights. Where you trust it, "
            f"torch.jit.load(…).state_dict() gives them; save these."
        )
    with path.open("rb") as file, _stand_ins():
        try:
            return torch.load(file, map_location="cpu", weights_only=True)
        except Exception as error:  # what may be anything can fail in any way
            # not "from error": torch's text advises to switch weights_only off
            raise StateError(_why_not(path, error)) from None


@contextmanager
def _stand_ins() -> Iterator[None]:
    """Allow the names above, and them alone, for as long as a file is read."""
    allowed: list[Any] = [
        (stand_in, name) for names in ALLOWED.values() for name, stand_in in names.items()
    ]
    with nothing_else_allowed(), torch.serialization.safe_globals(allowed):
        yield


def _is_torchscript(path: Path) -> bool:
    try:
        with zipfile.ZipFile(path) as archive:
            return any(name.endswith("/constants.pkl") for name in archive.namelist())
    except (zipfile.BadZipFile, ValueError):
        return False


def _why_not(path: Path, error: Exception) -> str:
    text = str(error)
    refused = re.search(r"GLOBAL (\S+) (?:was not an allowed|whose module)", text)
    if refused is None:
        reason = text.rpartition("WeightsUnpickler error: ")[2].partition("\n\n")[0].strip()
        return f"{path} can't be read as a checkpoint: {reason or type(error).__name__}."
    return (
        f"{path} is refused, as it names {refused[1]!r}, and only what {' or '.join(ALLOWED)} "
        f"checkpoints need is allowed, so that no file can run code. If you trust it, load it "
        f"where it was written and save the weights alone: "
        f"torch.save(model.state_dict(), 'weights.pth')."
    )


def _weights_in(loaded: Any, path: Path) -> dict[str, Tensor]:
    found = loaded
    if isinstance(loaded, Mapping):
        wrapped = (loaded.get(name) for name in _WRAPPERS)
        found = next((one for one in wrapped if isinstance(one, Mapping)), loaded)
    if not isinstance(found, Mapping):
        raise StateError(f"{path} holds no weights by name, but a {type(found).__qualname__}.")
    for name, value in found.items():
        if not (isinstance(name, str) and isinstance(value, Tensor)):
            raise StateError(
                f"{path} is no state dict, since {name!r} in it is a {type(value).__qualname__}, "
                f"and has none under {', '.join(map(repr, _WRAPPERS))}. If its weights are "
                f"elsewhere, save them alone: torch.save(…, 'weights.pth')."
            )
    return {name: value.detach() for name, value in found.items()}
