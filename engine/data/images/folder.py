"""Images in folders, one for each class."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from ...errors import DataError
from ...whole import whole

__all__ = ["ImageFolder"]

_ENDINGS = {".png", ".jpg", ".jpeg", ".bmp", ".gif", ".tif", ".tiff", ".webp", ".pgm", ".ppm"}


class ImageFolder(Dataset[tuple[Tensor, int]]):
    """The images in a folder's folders, whose names are the classes.

    An image is read when it is asked for. It is turned as its camera was held, scaled and cut in
    the middle to a square. For a set that changes its images at random see ``sample_rng`` of
    :func:`~footplate.engine.data.order.ordered_loader`.

    Args:
        folder: the folder; in those within it images may be however deep. What is hidden, and
            files that don't end as images do, are left out.
        size: the height and width of what comes out, in pixels.
        mode: ``"RGB"``, or ``"L"`` for shades of grey.

    Attributes:
        files: the images, in the order of their paths.
        labels: the number of the class of each.
        classes: their names, in alphabetical order.

    Raises:
        DataError: if there is not one image in the folder's folders, or one can't be read.
        ValueError: for a size or mode that there is not.

    Example:
        >>> from PIL import Image
        >>> for colour in ("blue", "red"):
        ...     Path("colours", colour).mkdir(parents=True)
        ...     Image.new("RGB", (6, 4), colour).save(Path("colours", colour, "one.png"))
        >>> images = ImageFolder("colours", size=4)
        >>> image, label = images[1]
        >>> image[:, 0, 0].tolist(), tuple(image.shape), images.classes[label]
        ([1.0, 0.0, 0.0], (3, 4, 4), 'red')
    """

    def __init__(
        self, folder: str | Path, *, size: int = 64, mode: Literal["RGB", "L"] = "RGB"
    ) -> None:
        if mode not in ("RGB", "L"):
            raise ValueError(f"an image's mode is 'RGB' or 'L' here, given {mode!r}.")
        self.size, self.mode = whole("size", size), mode
        folder = Path(folder)
        found = sorted(file for file in folder.glob("*/**/*") if _is_image(file, folder))
        self.classes = sorted({file.relative_to(folder).parts[0] for file in found})
        if not found:
            raise DataError(
                f"there is no image in the folders of {folder}; it needs one folder for each class "
                f"with files that end in {', '.join(sorted(_ENDINGS))}."
            )
        self.files = found
        self.labels = [self.classes.index(file.relative_to(folder).parts[0]) for file in found]

    def __len__(self) -> int:
        return len(self.files)

    def __getitem__(self, index: int) -> tuple[Tensor, int]:
        """An image, float32 of shape (3 or 1, size, size) from 0 to 1, and its label."""
        from PIL import Image, ImageOps

        try:
            with Image.open(self.files[index]) as opened:
                upright = ImageOps.exif_transpose(opened).convert(self.mode)
        except (OSError, ValueError, Image.DecompressionBombError) as error:
            raise DataError(f"{self.files[index]} can't be read as an image: {error}.") from error
        fitted = np.array(ImageOps.fit(upright, (self.size, self.size)))
        pixels = torch.from_numpy(fitted.reshape(self.size, self.size, -1))
        return pixels.permute(2, 0, 1).float() / 255, self.labels[index]

    def in_memory(self) -> tuple[Tensor, Tensor]:
        """All images, float32 of shape (N, 3 or 1, size, size), and labels, int64 (N,)."""
        images = torch.stack([self[index][0] for index in range(len(self))])
        return images, torch.tensor(self.labels)


def _is_image(file: Path, folder: Path) -> bool:
    parts = file.relative_to(folder).parts
    hidden = any(part.startswith(".") for part in parts)
    return file.suffix.lower() in _ENDINGS and not hidden and file.is_file()
