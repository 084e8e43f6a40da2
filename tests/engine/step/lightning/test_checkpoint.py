"""Files of Lightning's format, which its own classes read."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import LightningModule

from footplate.engine.step.lightning.steps import trainer_of

pytestmark = pytest.mark.covers("C4")


class Line(LightningModule):
    def __init__(self, width: int = 1) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = torch.nn.Linear(width, 1)

    def on_save_checkpoint(self, checkpoint):
        checkpoint["mine"] = 7

    def on_load_checkpoint(self, checkpoint):
        self.mine = checkpoint["mine"]


def test_a_file_is_read_by_the_modules_own_class(tmp_path):
    line = Line(width=3)
    trainer_of(line).save_checkpoint(tmp_path / "deep" / "line.ckpt")
    read = Line.load_from_checkpoint(tmp_path / "deep" / "line.ckpt")
    assert read.hparams.width == 3
    assert read.mine == 7
    assert torch.equal(read.layer.weight, line.layer.weight)
    assert [one.name for one in (tmp_path / "deep").iterdir()] == ["line.ckpt"]


def test_a_file_that_could_not_be_written_leaves_the_old_one(tmp_path):
    line, path = Line(), tmp_path / "line.ckpt"
    trainer = trainer_of(line)
    trainer.save_checkpoint(path)
    before = path.read_bytes()
    trainer.callbacks.append(_NotToBeSaved())
    with pytest.raises(Exception, match="pickle"):
        trainer.save_checkpoint(path)
    assert path.read_bytes() == before
    assert list(tmp_path.iterdir()) == [path]


class _NotToBeSaved:
    state_key = "not"

    def state_dict(self):
        return {"function": lambda: None}


def test_what_is_elsewhere_or_asks_for_another_storage_is_refused(tmp_path):
    line = Line()
    trainer = trainer_of(line)
    with pytest.raises(ValueError, match="this machine's disk, given 's3://"):
        trainer.save_checkpoint("s3://bucket/line.ckpt")
    with pytest.raises(TypeError, match="takes no storage_options"):
        trainer.save_checkpoint(tmp_path / "line.ckpt", storage_options={"a": 1})


def test_a_file_is_removed_and_one_that_is_gone_is_not_missed(tmp_path):
    line, path = Line(), tmp_path / "line.ckpt"
    trainer = trainer_of(line)
    trainer.save_checkpoint(path)
    for _ in range(2):
        trainer.strategy.remove_checkpoint(str(path))
    assert not path.exists()
