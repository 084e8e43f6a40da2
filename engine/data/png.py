"""Small pictures as PNG, without a library for it."""

from __future__ import annotations

import base64
import struct
import zlib

__all__ = ["data_uri", "png"]

_KINDS = {1: 0, 3: 2}  # PNG's colour types: grey, and red, green, blue


def png(pixels: bytes, width: int, height: int, channels: int = 1) -> bytes:
    """A picture as the contents of a PNG file.

    Source: Portable Network Graphics Specification, third edition, W3C.

    Args:
        pixels: a byte each for each channel, row by row.
        width: in pixels.
        height: in pixels.
        channels: 1 for grey, 3 for red, green and blue.

    Raises:
        ValueError: for another number of channels, and for too few or too many pixels.

    Example:
        >>> png(bytes([0, 255]), width=2, height=1)[1:4]
        b'PNG'
    """
    if channels not in _KINDS:
        raise ValueError(f"a picture has 1 or 3 channels, given {channels}.")
    stride = width * channels
    if not pixels or len(pixels) != stride * height:
        raise ValueError(
            f"{width} by {height} pixels of {channels} bytes are {stride * height} bytes, given "
            f"{len(pixels)}; a picture has at least one pixel."
        )
    rows = b"".join(b"\0" + pixels[row * stride : (row + 1) * stride] for row in range(height))
    head = struct.pack(">IIBBBBB", width, height, 8, _KINDS[channels], 0, 0, 0)
    chunks = ((b"IHDR", head), (b"IDAT", zlib.compress(rows, 9)), (b"IEND", b""))
    return b"\x89PNG\r\n\x1a\n" + b"".join(_chunk(kind, body) for kind, body in chunks)


def data_uri(content: bytes) -> str:
    """A PNG file as an address that needs no network."""
    return f"data:image/png;base64,{base64.b64encode(content).decode('ascii')}"


def _chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))
