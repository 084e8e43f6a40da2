"""Writes the golden orders of hooks, by running Lightning's own Trainer.

    python -m tests.golden.lightning.make_orders

Nothing of Footplate is imported here.
"""

from __future__ import annotations

import json
import tempfile
import warnings
from contextlib import suppress
from pathlib import Path
from typing import Any

import lightning
from lightning.pytorch import Trainer

from tests.golden.lightning.scenarios import SCENARIOS, Failure, Play, Scenario

__all__ = ["FOLDER", "golden", "order_of"]

FOLDER = Path(__file__).parent

_QUIET = {
    "accelerator": "cpu",
    "barebones": False,
    "enable_checkpointing": True,
    "enable_model_summary": False,
    "enable_progress_bar": False,
    "logger": False,
}


def golden(scenario: Scenario) -> str:
    """The text of a golden file."""
    written = {"lightning": lightning.__version__, "order": order_of(scenario)}
    return json.dumps(written, indent=1) + "\n"


def order_of(scenario: Scenario) -> list[str]:
    """What Lightning calls."""
    with tempfile.TemporaryDirectory() as folder, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        play = Play(scenario)
        given: dict[str, Any] = {"datamodule": play.data}
        if scenario.resumes:
            given["ckpt_path"] = _after_an_epoch(play, folder)
            given["weights_only"] = False
        trainer = _trainer(play, folder)
        with suppress(Failure):
            getattr(trainer, scenario.call)(play.module, **given)
        return play.lines


def _after_an_epoch(play: Play, folder: str) -> str:
    """A checkpoint of the first epoch; what was called until then is not told."""
    trainer = _trainer(play, folder, max_epochs=1)
    trainer.fit(play.module, datamodule=play.data)
    path = f"{folder}/one.ckpt"
    trainer.save_checkpoint(path)
    play.lines.clear()
    return path


def _trainer(play: Play, folder: str, **options: Any) -> Trainer:
    options = {**_QUIET, **play.scenario.trainer, **options}
    return Trainer(default_root_dir=folder, callbacks=list(play.callbacks), **options)


if __name__ == "__main__":
    for one in SCENARIOS:
        (FOLDER / f"{one.name}.json").write_text(golden(one), encoding="utf-8")
