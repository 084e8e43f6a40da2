"""Weights as tensors by name: of a model, into a file that other tools read, and back.

The file has the safetensors format (https://huggingface.co/docs/safetensors): the length of the
header in 8 bytes, the header in JSON, and the tensors' memory one after the other. It is written
here, since the library's own writer neither takes a stream nor says the digest; the library reads.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

import torch
from safetensors import SafetensorError, safe_open
from torch import Tensor
from torch.nn.parameter import is_lazy

from ..errors import StateError, nearest
from ..step.compiling import own_name, uncompiled
from .durable import DurableFile
from .loans import refuse_lent
from .plain import identity
from .shards import is_sharded, laid_like

__all__ = [
    "WeightsReport",
    "check_weights",
    "load_tensors",
    "read_tensors",
    "read_weights",
    "weights_of",
    "write_tensors",
    "write_weights",
]

Shape = tuple[int, ...]

_METADATA = "__metadata__"
_ALIGNED = 8
_TYPES = {
    name: code
    for code, name in {
        "BOOL": "bool",
        "U8": "uint8",
        "I8": "int8",
        "U16": "uint16",
        "I16": "int16",
        "U32": "uint32",
        "I32": "int32",
        "U64": "uint64",
        "I64": "int64",
        "F8_E4M3": "float8_e4m3fn",
        "F8_E4M3FNUZ": "float8_e4m3fnuz",
        "F8_E5M2": "float8_e5m2",
        "F8_E5M2FNUZ": "float8_e5m2fnuz",
        "F8_E8M0": "float8_e8m0fnu",
        "F16": "float16",
        "BF16": "bfloat16",
        "F32": "float32",
        "F64": "float64",
        "C64": "complex64",
    }.items()
}


class _Writable(Protocol):
    def write(self, data: bytes | memoryview, /) -> int: ...


@dataclass(frozen=True)
class WeightsReport:
    """What did not match when weights were loaded into a model; all empty if everything did.

    Attributes:
        missing: what the model has and the weights lack, with its shape.
        unexpected: what the weights hold and the model lacks, with its shape.
        mismatched: what has another shape in the weights, the first one, than in the model.

    Example:
        >>> report = WeightsReport(missing={"head.bias": (10,)})
        >>> bool(report), str(report), bool(WeightsReport())
        (True, "missing: 'head.bias' (10,)", False)
    """

    missing: Mapping[str, Shape] = field(default_factory=dict)
    unexpected: Mapping[str, Shape] = field(default_factory=dict)
    mismatched: Mapping[str, tuple[Shape, Shape]] = field(default_factory=dict)

    def __bool__(self) -> bool:
        """Whether anything did not match."""
        return bool(self.missing or self.unexpected or self.mismatched)

    def __str__(self) -> str:
        """All of it by name and shape, a line each."""
        return "\n".join(
            [
                *(f"missing: {name!r} {shape}" for name, shape in self.missing.items()),
                *(
                    f"unexpected: {name!r} {shape}{nearest(name, self.missing)}"
                    for name, shape in self.unexpected.items()
                ),
                *(
                    f"mismatched: {name!r} is {there} in the weights and {here} in the model"
                    for name, (there, here) in self.mismatched.items()
                ),
            ]
        )


def weights_of(model: torch.nn.Module) -> dict[str, Tensor]:
    """The weights and buffers of a model by name; nothing is copied, tied ones share memory.

    They have the names of the model that is not compiled, so that other tools read them, and
    compiled and eager models read each other's.

    Raises:
        TypeError: for extra state that is no tensor.
        RuntimeError: while parameters of the model are lent to averaged weights, and for lazy
            ones that have no shape yet.
    """
    refuse_lent(model, "saved")
    return _by_name(model)


def write_weights(model: torch.nn.Module, file: str | Path) -> None:
    """Write the weights of a model as they are now, lent ones too; the disk has them then.

    Those in shards are written whole, for which all processes call this.

    Args:
        model: the model, compiled or not.
        file: the path; what is there is replaced as a whole.

    Raises:
        OSError: if the disk does not take them.
        TypeError: for extra state that is no tensor, and tensors that the format has no place for.

    Example:
        >>> from safetensors.torch import load_file
        >>> write_weights(torch.nn.Linear(2, 1), "model.safetensors")
        >>> sorted(load_file("model.safetensors"))
        ['bias', 'weight']
    """
    with DurableFile(file) as out:
        write_tensors(out, {name: _whole(one) for name, one in _by_name(model).items()})


def read_weights(model: torch.nn.Module, file: str | Path) -> None:
    """Read what :func:`write_weights` wrote into a model, compiled or not.

    Args:
        model: the model; tensors are read into its types and on its devices.
        file: the path.

    Raises:
        StateError: if names or shapes differ; the model is as it was then.
        RuntimeError: while parameters of the model are lent to averaged weights.

    Example:
        >>> model, other = torch.nn.Linear(2, 1), torch.nn.Linear(2, 1)
        >>> write_weights(model, "line.safetensors")
        >>> read_weights(other, "line.safetensors")
        >>> torch.equal(model.weight, other.weight)
        True
    """
    load_tensors(model, read_tensors(file))


# ---------------------------------------------------------------------- files


def write_tensors(file: _Writable, tensors: Mapping[str, Tensor]) -> None:
    """Write tensors in the safetensors format, one after the other, without copying them all.

    Names of the same piece of memory are written once, under the first of them by the alphabet,
    and the header says which the others are, as ``safetensors.torch.save_model`` has it. Pieces
    that only overlap are written each in full.

    Args:
        file: takes ``write``, of bytes and of memory; it has to take all that it is given.
        tensors: the tensors by name, on any device.

    Raises:
        TypeError: for a tensor that the format has no place for, naming it; before any is written.

    Example:
        >>> import io
        >>> file, weight = io.BytesIO(), torch.eye(2)
        >>> write_tensors(file, {"decoder": weight, "encoder": weight})
        >>> file.getvalue()[8:].partition(b',"decoder"')[0].decode()
        '{"__metadata__":{"format":"pt","encoder":"decoder"}'
    """
    for name, tensor in tensors.items():
        _check_writable(name, tensor)
    kept, aliases = _once_each(tensors)
    format_of = {} if "pt" in tensors else {"format": "pt"}  # else it would be read as an alias
    header: dict[str, Any] = {_METADATA: {**format_of, **aliases}}
    order = sorted(kept, key=lambda name: (-kept[name].element_size(), name))  # all stay aligned
    begin = 0
    for name in order:
        end = begin + kept[name].numel() * kept[name].element_size()
        header[name] = {
            "dtype": _TYPES[_type_of(kept[name])],
            "shape": list(kept[name].shape),
            "data_offsets": [begin, end],
        }
        begin = end
    text = json.dumps(header, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNED)
    file.write(len(text).to_bytes(8, "little") + text)
    for name in order:
        if kept[name].numel():
            file.write(_memory_of(kept[name]))


def read_tensors(path: str | Path) -> dict[str, Tensor]:
    """Read the tensors of a safetensors file by name; those written once share memory again.

    Raises:
        StateError: if the file is none, or not whole.
        OSError: if it can't be read.
    """
    try:
        with safe_open(str(path), framework="pt", device="cpu") as file:
            said = file.metadata() or {}
            tensors = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
    except (SafetensorError, ValueError, KeyError, AttributeError) as error:
        raise StateError(f"{path} is no whole file of safetensors: {error}.") from error
    for alias, name in said.items():
        if name in tensors and alias not in tensors:
            tensors[alias] = tensors[name]
    return tensors


# ---------------------------------------------------------------------- models


def load_tensors(
    model: torch.nn.Module, tensors: Mapping[str, Tensor], strict: bool = True
) -> WeightsReport:
    """Copy weights into a model, compiled or not, in the model's types and on its devices.

    Names are those of the model that is not compiled. A weight that is tied to one that is there
    is not missing.

    Args:
        model: the model.
        tensors: the weights by name.
        strict: whether all names and shapes must match; else what does is loaded.

    Returns:
        what did not match.

    Raises:
        StateError: if ``strict`` and anything does not match; the model is as it was then.
        RuntimeError: while parameters of the model are lent to averaged weights.

    Example:
        >>> model = torch.nn.Linear(2, 1)
        >>> report = load_tensors(model, {"weight": torch.ones(1, 3)}, strict=False)
        >>> print(report)
        missing: 'bias' (1,)
        mismatched: 'weight' is (1, 3) in the weights and (1, 2) in the model
    """
    refuse_lent(model, "loaded")
    state = model.state_dict()
    report = _compare({own_name(name): value for name, value in state.items()}, tensors)
    if strict and report:
        raise StateError(
            f"the weights do not fit the {type(uncompiled(model)).__name__}:\n{report}"
        )
    given = {own_name(name): name for name in state}
    fitting = {
        given[name]: _placed_as(state[given[name]], value)
        for name, value in tensors.items()
        if name in given and name not in report.mismatched
    }
    try:
        model.load_state_dict(fitting, strict=False)
    except RuntimeError as error:  # of a module that loads its own way
        raise StateError(f"the model refused the weights: {error}") from error
    return report


def _compare(own: Mapping[str, object], tensors: Mapping[str, Tensor]) -> WeightsReport:
    there = {_identity(own[name]) for name in tensors if name in own}
    mismatched = {}
    for name, value in tensors.items():
        if name in own and (shape := _shape(own[name])) not in (None, tuple(value.shape)):
            mismatched[name] = (tuple(value.shape), shape)
    return WeightsReport(
        missing={
            name: _shape(value) or ()
            for name, value in own.items()
            if name not in tensors and _identity(value) not in there
        },
        unexpected={name: tuple(value.shape) for name, value in tensors.items() if name not in own},
        mismatched=mismatched,
    )


def _placed_as(own: object, tensor: Tensor) -> Tensor:
    """A tensor in pieces where the model's is."""
    whole = is_sharded(own) and not is_sharded(tensor)
    return laid_like(tensor, own) if whole else tensor


def _whole(tensor: Tensor) -> Tensor:
    return tensor.full_tensor().cpu() if is_sharded(tensor) else tensor  # type: ignore[attr-defined]


def _shape(value: object) -> Shape | None:
    """The shape of a tensor; ``None`` for what takes any: lazy ones, and no tensors."""
    return tuple(value.shape) if isinstance(value, Tensor) and not is_lazy(value) else None


def _identity(value: object) -> object:
    known = isinstance(value, Tensor) and not is_lazy(value)
    return identity(value) if known else id(value)  # type: ignore[arg-type]


def _by_name(model: torch.nn.Module) -> dict[str, Tensor]:
    weights: dict[str, Tensor] = {}
    for given, value in model.state_dict().items():
        name = own_name(given)
        if not isinstance(value, Tensor):
            raise TypeError(
                f"{name!r} of the model is a {type(value).__qualname__}, and a file of weights "
                f"holds tensors only: let get_extra_state() of its module return a tensor, or "
                f"save it by a handler."
            )
        if is_lazy(value):
            raise RuntimeError(f"{name!r} has no shape yet; call the model on a batch before.")
        weights[name] = value.detach()
    return weights


# ---------------------------------------------------------------------- tensors


def check_weights(tensors: Mapping[str, Tensor]) -> None:
    """Refuse what a file of weights has no place for.

    Raises:
        TypeError: naming the first of it.
    """
    for name, tensor in tensors.items():
        _check_writable(name, tensor)


def _check_writable(name: str, tensor: Tensor) -> None:
    if not isinstance(tensor, Tensor):
        raise TypeError(f"{name!r} is a {type(tensor).__qualname__}, no tensor.")
    kind = None
    if type(tensor) not in (Tensor, torch.nn.Parameter):
        kind = f"a {type(tensor).__module__}.{type(tensor).__qualname__}"
    elif tensor.layout is not torch.strided or tensor.is_nested:
        kind = "nested" if tensor.is_nested else f"of layout {tensor.layout}"
    elif tensor.is_meta:
        kind = "on the meta device, without values"
    elif tensor.is_quantized or _type_of(tensor) not in _TYPES:
        kind = f"of type {tensor.dtype}"
    if kind is not None:
        raise TypeError(
            f"{name!r} is {kind}, which a file of weights has no place for; make it a dense "
            f"tensor of a common type, or a buffer with persistent=False."
        )
    if name == _METADATA:
        raise TypeError(f"{name!r} can't be a tensor's name; the file format uses it.")


def _type_of(tensor: Tensor) -> str:
    return str(tensor.dtype).removeprefix("torch.")


def _once_each(tensors: Mapping[str, Tensor]) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors without those that are another one by a further name, and the name of that."""
    first: dict[object, str] = {}
    kept: dict[str, Tensor] = {}
    aliases: dict[str, str] = {}
    for name in sorted(tensors):
        known = first.setdefault(identity(tensors[name]), name)
        if known == name:
            kept[name] = tensors[name]
        else:
            aliases[name] = known
    return kept, aliases


def _memory_of(tensor: Tensor) -> memoryview:
    """The values of a tensor in their order; a copy only where they do not lie so."""
    plain = tensor.detach().cpu().resolve_conj().resolve_neg().contiguous()
    return plain.view(-1).view(torch.uint8).numpy().data
