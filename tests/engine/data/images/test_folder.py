"""Images in folders, written by PIL."""

from __future__ import annotations

import pytest
import torch
from PIL import Image

from footplate.engine.data.images.folder import ImageFolder
from footplate.engine.errors import DataError

pytestmark = pytest.mark.covers("K1")


def write(folder, **files: tuple[str, tuple[int, int]]) -> None:
    """Images of one colour, by class and name."""
    for path, (colour, size) in files.items():
        kind, _, name = path.partition("__")
        file = folder / kind / name.replace("_", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        Image.new("RGB", size, colour).save(file)


@pytest.fixture
def folder(tmp_path):
    write(
        tmp_path,
        dogs__b_png=("red", (10, 6)),
        dogs__a_jpg=("blue", (5, 5)),
        cats__c_BMP=("white", (3, 9)),
    )
    (tmp_path / "dogs" / "notes.txt").write_text("no image")
    (tmp_path / ".hidden").mkdir()
    (tmp_path / ".hidden" / "d.png").write_bytes(b"")
    deep = tmp_path / "cats" / "deep"
    deep.mkdir()
    Image.new("L", (8, 8), 255).save(deep / "e.png")
    return tmp_path


def test_folders_are_classes(folder):
    images = ImageFolder(folder, size=4)
    assert images.classes == ["cats", "dogs"]
    assert images.labels == [0, 0, 1, 1]
    assert [file.name for file in images.files] == ["c.BMP", "e.png", "a.jpg", "b.png"]
    assert len(images) == 4
    image, label = images[3]
    assert (tuple(image.shape), image.dtype, label) == ((3, 4, 4), torch.float32, 1)
    assert torch.equal(image, torch.tensor([1.0, 0, 0]).view(3, 1, 1).expand(3, 4, 4))
    pixels, labels = images.in_memory()
    assert tuple(pixels.shape) == (4, 3, 4, 4)
    assert labels.tolist() == [0, 0, 1, 1]
    assert torch.equal(pixels[3], image)


def test_images_may_be_grey(folder):
    image, _ = ImageFolder(folder, size=4, mode="L")[0]
    assert image.tolist() == torch.ones(1, 4, 4).tolist()


def test_an_image_is_cut_in_the_middle_and_turned_as_the_camera_was(tmp_path):
    (tmp_path / "a").mkdir()
    wide = Image.new("RGB", (8, 4), "white")
    wide.paste("black", (0, 0, 2, 4))
    wide.save(tmp_path / "a" / "1.png")
    assert ImageFolder(tmp_path, size=4)[0][0].min() == 1  # what is black was cut off
    tall = Image.new("RGB", (4, 4), "white")
    tall.paste("black", (0, 0, 4, 2))  # above, until it is turned by half
    exif = Image.Exif()
    exif[0x0112] = 3
    tall.save(tmp_path / "a" / "2.png", exif=exif)
    assert ImageFolder(tmp_path, size=4)[1][0][0, :, 0].tolist() == [1, 1, 0, 0]


def test_what_is_no_image_is_told_by_name(tmp_path):
    write(tmp_path, dogs__a_png=("red", (4, 4)))
    (tmp_path / "dogs" / "torn.png").write_bytes((tmp_path / "dogs" / "a.png").read_bytes()[:40])
    with pytest.raises(DataError, match=r"torn.png can't be read as an image"):
        ImageFolder(tmp_path)[1]


def test_folders_without_images_are_refused(tmp_path):
    Image.new("RGB", (4, 4)).save(tmp_path / "a.png")  # in no folder of a class
    with pytest.raises(DataError, match="one folder for each class"):
        ImageFolder(tmp_path)
    with pytest.raises(ValueError, match="'RGB' or 'L' here, given 'CMYK'"):
        ImageFolder(tmp_path, mode="CMYK")
    with pytest.raises(ValueError, match="size is a whole number"):
        ImageFolder(tmp_path, size=0)
