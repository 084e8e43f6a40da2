"""Values as the bytes of a file, and back, by the extension of its name."""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

__all__ = ["decoded", "encoded"]


def _npy(value: Any) -> bytes:
    file = io.BytesIO()
    np.save(file, np.asarray(value), allow_pickle=False)
    return file.getvalue()


def _pt(value: Any) -> bytes:
    file = io.BytesIO()
    torch.save(value, file)
    return file.getvalue()


_DECODERS: dict[str, Callable[[bytes], Any]] = {
    "txt": lambda data: data.decode(),
    "json": json.loads,
    "cls": int,
    "npy": lambda data: np.load(io.BytesIO(data), allow_pickle=False),
    "pt": lambda data: torch.load(io.BytesIO(data), map_location="cpu", weights_only=True),
}
_ENCODERS: dict[str, Callable[[Any], bytes]] = {
    "txt": lambda value: str(value).encode(),
    "json": lambda value: json.dumps(value).encode(),
    "cls": lambda value: str(int(value)).encode(),
    "npy": _npy,
    "pt": _pt,
}


def decoded(
    extension: str, data: bytes, decoders: Mapping[str, Callable[[bytes], Any]] | None = None
) -> Any:
    """The value that is in the bytes of a file.

    Without a decoder of yours, ``.txt`` is text, ``.json`` plain values, ``.cls`` a whole number,
    ``.npy`` an array and ``.pt`` tensors and plain values. None of them runs code that the file
    brings: neither pickled objects in arrays are read, nor others than of plain types in ``.pt``.
    All else stays bytes.

    Args:
        extension: all behind the first dot of the name; of ``seg.npy``, what is behind the last
            dot counts where nothing is known of the whole.
        data: the bytes.
        decoders: functions from bytes to a value, by extension; they come before those above.

    Example:
        >>> decoded("cls", b"7"), decoded("meta.json", b"[1]"), decoded("jpg", b"...")
        (7, [1], b'...')
        >>> decoded("jpg", b"...", {"jpg": len})
        3
    """
    decode = _found(extension, {**_DECODERS, **(decoders or {})})
    return data if decode is None else decode(data)


def encoded(
    extension: str, value: Any, encoders: Mapping[str, Callable[[Any], bytes]] | None = None
) -> bytes:
    """The bytes of a file that holds a value; the other way round of :func:`decoded`.

    Bytes are taken as they are, whatever the extension.

    Args:
        extension: as there.
        value: what the file is to hold.
        encoders: functions from a value to bytes, by extension; they come before the known ones.

    Raises:
        TypeError: for a value that is not bytes, with an extension that nothing is known of.

    Example:
        >>> encoded("cls", 7), encoded("json", [1]), encoded("jpg", b"...")
        (b'7', b'[1]', b'...')
    """
    if isinstance(value, bytes):
        return value
    known = {**_ENCODERS, **(encoders or {})}
    if (encode := _found(extension, known)) is None:
        raise TypeError(
            f"a {type(value).__name__} is to be written as .{extension}, which is known for none "
            f"but bytes; give bytes, encoders={{{extension!r}: …}}, or one of "
            f"{', '.join('.' + one for one in known)}."
        )
    data: bytes = encode(value)
    return data


def _found(extension: str, known: Mapping[str, Callable[..., Any]]) -> Callable[..., Any] | None:
    return known.get(extension) or known.get(extension.rpartition(".")[2])
