"""What is to be seen in a picture that was written."""

from __future__ import annotations

from pathlib import Path

from matplotlib.image import imread

__all__ = ["BLUE", "has_color"]

BLUE = (0x1F, 0x77, 0xB4)
"""The first color of what matplotlib draws."""


def has_color(path: Path, color: tuple[int, int, int]) -> bool:
    """Whether a pixel of a PNG has a color."""
    pixels = (imread(path)[..., :3] * 255).round()
    return bool((pixels == color).all(axis=-1).any())
