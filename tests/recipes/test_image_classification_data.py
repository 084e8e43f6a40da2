"""The recipe of image classification on what is no set of scikit-learn's."""

from __future__ import annotations

import gzip
import re
import subprocess
import sys

import numpy as np
import pytest
import torch
from PIL import Image

from footplate.engine.data.images import parts
from footplate.engine.data.images.mnist import mnist
from footplate.recipes.image_classification import part
from tests.engine.data.images.test_mnist import collection, digests, idx
from tests.engine.data.serving import serving

pytestmark = pytest.mark.covers("K1")


@pytest.fixture(scope="module")
def shapes(tmp_path_factory):
    """Folders of dark and bright pictures of two sizes."""
    folder = tmp_path_factory.mktemp("shapes")
    random = np.random.default_rng(0)
    for name, low in (("bright", 160), ("dark", 0)):
        (folder / name).mkdir()
        for number in range(60):
            size = (20, 30, 3) if number % 2 else (24, 24, 3)
            pixels = random.integers(low, low + 90, size, np.uint8)
            Image.fromarray(pixels).save(folder / name / f"{number:02}.png")
    return folder


def test_the_script_learns_a_folder_of_images(shapes, tmp_path):
    command = [sys.executable, "-m", "footplate.recipes.image_classification"]
    options = ["--data", shapes, "--epochs", "4", "--batch-size", "16", "--folder", tmp_path]
    done = subprocess.run([*command, *options], capture_output=True, text=True, check=True)
    assert float(re.search(r"test accuracy +│ +([\d.]+)%", done.stdout).group(1)) > 90
    (page,) = tmp_path.glob("*/report.html")
    assert shapes.name in page.read_text()


def test_the_configuration_learns_a_folder_of_images(shapes, tmp_path):
    command = [sys.executable, "-m", "footplate.recipes.cli", "train", "image_classification"]
    options = f"train_dataloader.data.data={shapes} train_dataloader.batch_size=16 model.channels=3"
    more = "model.classes=2 train_cfg.max_epochs=4 default_hooks.report=null"
    done = subprocess.run(
        [*command, *options.split(), *more.split()],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        check=True,
    )
    assert float(re.findall(r"val_accuracy ([\d.]+)", done.stdout)[-1]) > 0.9


def test_a_collection_is_fetched_once_and_has_a_part_to_test_with(tmp_path, monkeypatch):
    arrays = collection(train=20, test=5)
    files = {name: gzip.compress(idx(one)) for name, one in arrays.items()}
    with serving(files) as served:
        options = {"mirror": served.address, "digests": digests(served)}

        def small(folder, which="train"):
            return mnist(folder, which, **options)

        monkeypatch.setitem(parts.COLLECTIONS, "mnist", small)
        monkeypatch.chdir(tmp_path)
        sizes = [len(part(name, 0, "mnist")[1]) for name in ("train", "val", "test")]
    assert sizes == [18, 2, 5]
    assert len(served.asked) == 4
    expected = torch.from_numpy(arrays["t10k-labels-idx1-ubyte.gz"]).long()
    assert torch.equal(part("test", 0, "mnist")[1], expected)  # without the server


def test_what_is_neither_is_refused(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    with pytest.raises(ValueError, match="Did you mean 'cifar10'"):
        part("train", 0, "cifar-10")
