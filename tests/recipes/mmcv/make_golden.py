"""Writes tests/golden/mmcv/ by running MMCV 1.7: ``python -m tests.recipes.mmcv.make_golden``.

MMCV 1.7.2 is from before torch 2; its pure Python parts run with it, unchanged. The wheel can't be
built where setuptools has no ``pkg_resources``: install ``setuptools<70`` first, and then, with
``MMCV_WITH_OPS=0``, ``pip install --no-build-isolation mmcv==1.7.2``.
"""

from __future__ import annotations

import contextlib
import io
import json
import shutil
import tempfile

import torch

from tests.recipes.mmcv.scenarios import CHECKPOINT, FOLDER, everything, saved


def write():
    """Write a file for each kind of scenario."""
    with contextlib.redirect_stdout(io.StringIO()):  # its bars go to what that is now
        import mmcv.runner

    torch.set_num_threads(1)
    FOLDER.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as folder:
        shutil.copy(saved(mmcv.runner, folder), CHECKPOINT)
    made_by = {
        "mmcv": mmcv.__version__,
        "torch": torch.__version__,
        "cpu": torch.backends.cpu.get_cpu_capability(),
    }
    for name, found in everything(mmcv.runner).items():
        text = json.dumps({"made by": made_by, name: found}, indent=None, separators=(",", ":"))
        (FOLDER / f"{name}.json").write_text(text.replace('],"', '],\n"') + "\n")


if __name__ == "__main__":
    write()
