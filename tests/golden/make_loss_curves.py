"""Writes the golden loss curves of the recipes, by running them.

    python -m tests.golden.make_loss_curves

Run it when a recipe is changed on purpose, and look at what has changed in the files.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import torch

__all__ = ["FOLDER", "RECIPES", "curve"]

ROOT = Path(__file__).resolve().parents[2]
FOLDER = Path(__file__).with_name("curves")

RECIPES = {
    "image_classification": ["--epochs", "4", "--lr", "2e-4"],  # rounding adds up faster with more
    # the licence, since the standard library differs from version to version
    "image_generation": ["--iterations", "20", "--judge-epochs", "1", "--lr", "2e-4"],
    "language_model": (
        f"--text {ROOT / 'LICENSE'} --iterations 40 --length 16 --batch-size 4 --width 32".split()
    ),
    "reinforcement_learning": ["--epochs", "2", "--at-once", "8"],  # before lots differ
    "text_classification": (
        f"--data {Path(__file__).with_name('passages.csv')} "
        f"--epochs 2 --batch-size 16 --width 32 --lr 1e-3".split()
    ),
    "tabular_regression": ["--folds", "2", "--epochs", "2", "--members", "4"],
}
"""Recipes with options that make them short."""


def curve(recipe: str, **environment: str) -> dict[str, list[list[float]]]:
    """Pairs of iteration and loss by name, of a run with one thread."""
    with tempfile.TemporaryDirectory() as folder:
        command = [sys.executable, "-m", f"footplate.recipes.{recipe}", "--folder", folder]
        subprocess.run(
            [*command, *RECIPES[recipe]],
            check=True,
            capture_output=True,
            text=True,
            env={**os.environ, "OMP_NUM_THREADS": "1", "CUDA_VISIBLE_DEVICES": "", **environment},
        )
        last = max(Path(folder).rglob("state.pt"))
        state = torch.load(last, weights_only=True)
    values = state["engine"]["footplate"]["handlers"]["curves"]["values"]
    losses = {name: points for name, points in values.items() if "loss" in name or "bits" in name}
    return json.loads(json.dumps(losses))


if __name__ == "__main__":
    for recipe in RECIPES:
        text = json.dumps(curve(recipe), indent=1)
        (FOLDER / f"{recipe}.json").write_text(text + "\n")
