"""Writes the checkpoints beside it with the libraries that they are named after.

In an environment that has lightning and mmengine, as constraints.txt names them::

    python tests/contracts/foreign/make.py

Each is what the library itself saves of a run of two steps. ``about.json`` holds the weights that
the model had then, and the versions. Nothing of Footplate is imported here.
"""

from __future__ import annotations

import argparse
import json
import platform
import shutil
import tempfile
from pathlib import Path
from typing import Any

import lightning
import mmengine
import numpy as np
import torch
from lightning.pytorch.callbacks import EarlyStopping, ModelCheckpoint
from mmengine.model import BaseModel
from mmengine.runner import Runner
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

HERE = Path(__file__).parent


def loader() -> DataLoader[Any]:
    inputs = torch.linspace(-1, 1, 8).reshape(4, 2)
    return DataLoader(TensorDataset(inputs, inputs.sum(1, keepdim=True)), batch_size=2)


class Lit(lightning.LightningModule):
    def __init__(self, lr: float, sizes: tuple[int, int], root: Path, decay: Any, old: Any) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.layer = nn.Linear(*sizes)

    def training_step(self, batch: Any, index: int) -> torch.Tensor:
        inputs, targets = batch
        loss = nn.functional.mse_loss(self.layer(inputs), targets)
        self.log("loss", loss, on_epoch=True)
        return loss

    def configure_optimizers(self) -> Any:
        optimizer = torch.optim.Adam(self.parameters(), lr=self.hparams["lr"])
        return [optimizer], [torch.optim.lr_scheduler.StepLR(optimizer, 1)]


def make_lightning(folder: Path) -> tuple[Path, nn.Module]:
    model = Lit(
        lr=0.1,
        sizes=(2, 1),
        root=Path("data"),
        decay=np.float64(0.5),
        old=argparse.Namespace(seed=1),
    )
    saver = ModelCheckpoint(folder, filename="lightning", monitor="loss", save_last=False)
    trainer = lightning.Trainer(
        max_epochs=1,
        accelerator="cpu",
        default_root_dir=folder,
        callbacks=[saver, EarlyStopping("loss")],
        logger=False,
        enable_progress_bar=False,
        enable_model_summary=False,
    )
    trainer.fit(model, loader())
    return folder / "lightning.ckpt", model


class Mm(BaseModel):
    def __init__(self) -> None:
        super().__init__()
        self.layer = nn.Linear(2, 1)

    def forward(self, inputs: Any, targets: Any, mode: str = "tensor") -> Any:
        outputs = self.layer(inputs)
        return {"loss": nn.functional.mse_loss(outputs, targets)} if mode == "loss" else outputs


def make_mmengine(folder: Path) -> tuple[Path, nn.Module]:
    model, data = Mm(), loader()
    data.dataset.metainfo = {"palette": np.array([[220, 20, 60], [0, 0, 142]], dtype=np.uint8)}
    runner = Runner(
        model,
        work_dir=str(folder),
        train_dataloader=data,
        train_cfg={"by_epoch": True, "max_epochs": 1},
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}},
        param_scheduler=[{"type": "StepLR", "step_size": 1, "by_epoch": True}],
        default_hooks={"logger": {"type": "LoggerHook", "interval": 1}},
        log_level="ERROR",
        experiment_name="contract",
    )
    runner.train()
    return folder / "epoch_1.pth", model


def main() -> None:
    weights = {}
    for name, make in (("lightning.ckpt", make_lightning), ("mmengine.pth", make_mmengine)):
        torch.manual_seed(0)
        # the files name this folder, so that it is one that every machine has
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            path, model = make(Path(folder))
            shutil.copyfile(path, HERE / name)
        weights[name] = {key: value.tolist() for key, value in model.state_dict().items()}
    libraries = (lightning, mmengine, np, torch)
    versions = {library.__name__: library.__version__ for library in libraries}
    about = {"weights": weights, "versions": {"python": platform.python_version(), **versions}}
    (HERE / "about.json").write_text(json.dumps(about, indent=2) + "\n")


if __name__ == "__main__":
    main()
