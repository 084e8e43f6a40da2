"""What a whole default stack costs: ours, Lightning's and MMEngine's, over the bare loop.

The same network learns the same digits: training with a cosine schedule, and a validation of its
accuracy after each epoch. Over the bare loop each system does what it does by default, and writes
to TensorBoard: lines or a bar on the console, metrics, a checkpoint after each epoch, and ours a
file of JSON lines. All log each 50 iterations, and run in turns, each time in a fresh process,
with one thread. What is measured is the call that trains; of MMEngine that also builds the loop.
The bare loop runs once more with durable saves written by hand, which neither peer makes.
Ours draws its bar as on a terminal; Lightning draws none where there is no terminal.
"""

import contextlib
import io
import os
import pathlib
import statistics
import sys
import tempfile
import warnings

import torch
from torch.nn import functional as F

from .timing import Row, in_turns, python, seconds, show

EPOCHS = 6
BATCH = 16
LR = 3e-3
ROUNDS = 7


def task():
    """The network, its optimizer and schedule, and the data."""
    from footplate.recipes.image_classification import digits, network

    torch.set_num_threads(1)
    torch.manual_seed(0)
    train, val, _ = digits(0)
    model = network(0.2)
    optimizer = torch.optim.AdamW(model.parameters(), LR)
    steps = EPOCHS * -(-len(train[0]) // BATCH)
    return (
        model,
        optimizer,
        torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps),
        train,
        val,
    )


def loader(samples, *, shuffle):
    """A stock loader, the same for each system."""
    dataset = torch.utils.data.TensorDataset(*samples)
    return torch.utils.data.DataLoader(dataset, BATCH if shuffle else 256, shuffle=shuffle)


def bare(after_an_epoch=lambda model, optimizer: None):
    """The loop written out; it reads the loss once an epoch."""
    model, optimizer, cosine, train, val = task()
    train, val = loader(train, shuffle=True), loader(val, shuffle=False)

    def fit():
        for _ in range(EPOCHS):
            model.train()
            total = torch.zeros(())
            for x, y in train:
                loss = F.cross_entropy(model(x), y)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()
                cosine.step()
                total += loss.detach()
            total.item()
            model.eval()
            with torch.no_grad():
                right = sum((model(x).argmax(1) == y).sum() for x, y in val)
            right.item()
            after_an_epoch(model, optimizer)

    return fit


def bare_and_safe():
    """The loop written out that also saves by hand what a kill or a crash must not take.

    Two files for weights and all else, made durable beside their place, and one rename: the least
    that the promise of a checkpoint costs, whoever writes it.
    """
    folder = pathlib.Path(tempfile.mkdtemp())

    def durable(path):
        descriptor = os.open(path, os.O_RDONLY)
        os.fsync(descriptor)
        os.close(descriptor)

    def save(model, optimizer):
        beside = folder / "beside"
        beside.mkdir()
        for name, part in (("model", model), ("state", optimizer)):
            torch.save(part.state_dict(), beside / name)
            durable(beside / name)
        durable(beside)
        beside.rename(folder / f"{len(list(folder.iterdir()))}")
        durable(folder)

    return bare(save)


def ours(*, background=False):
    """Console, bar, TensorBoard, JSONL, metrics, schedule, checkpoint each epoch."""
    from ignite.metrics import Accuracy
    from rich.console import Console as Terminal

    from footplate import Engine
    from footplate.engine.step.evaluation import evaluation_step
    from footplate.engine.step.training import training_step
    from footplate.handlers.checkpoint import Checkpoint
    from footplate.handlers.console import Console
    from footplate.handlers.evaluation import Evaluation
    from footplate.handlers.jsonl import JSONL
    from footplate.handlers.lr_schedule import LRSchedule
    from footplate.handlers.metrics import Metrics
    from footplate.handlers.progress_bar import ProgressBar
    from footplate.handlers.scalars import Scalars
    from footplate.handlers.tensorboard import TensorBoard
    from footplate.handlers.timer import Timer

    folder = tempfile.mkdtemp()
    model, optimizer, cosine, train, val = task()
    trainer = Engine(training_step(model, optimizer, F.cross_entropy), name="train")
    evaluator = Engine(evaluation_step(model), name="val")
    evaluator.attach(Metrics({"accuracy": Accuracy()}))
    terminal = Terminal(file=io.StringIO(), force_terminal=True, width=100)
    for handler in (
        Scalars(),
        Timer(),
        Console(),
        ProgressBar(["loss"], console=terminal),
        TensorBoard(f"{folder}/tensorboard"),
        JSONL(f"{folder}/scalars.jsonl"),
        Evaluation(evaluator, loader(val, shuffle=False)),
        LRSchedule(cosine, "step"),
        Checkpoint(f"{folder}/checkpoints", model, background=background),
    ):
        trainer.attach(handler)
    data = loader(train, shuffle=True)
    return lambda: trainer.run(data, max_epochs=EPOCHS)


def ours_in_background():
    """The same with checkpoints that are written while training goes on."""
    return ours(background=True)


def lightning():
    """A Trainer as it comes, with its TensorBoard logger."""
    import lightning as L
    from lightning.pytorch.loggers import TensorBoardLogger

    folder = tempfile.mkdtemp()
    model, optimizer, cosine, train, val = task()

    class Module(L.LightningModule):
        def __init__(self):
            super().__init__()
            self.model = model

        def training_step(self, batch, batch_idx):
            loss = F.cross_entropy(self.model(batch[0]), batch[1])
            self.log("loss", loss, prog_bar=True)
            return loss

        def validation_step(self, batch, batch_idx):
            x, y = batch
            right = (self.model(x).argmax(1) == y).float().mean()
            self.log("val_accuracy", right, on_epoch=True, prog_bar=True)

        def configure_optimizers(self):
            return {
                "optimizer": optimizer,
                "lr_scheduler": {"scheduler": cosine, "interval": "step"},
            }

    trainer = L.Trainer(
        max_epochs=EPOCHS,
        accelerator="cpu",
        logger=TensorBoardLogger(folder),
        default_root_dir=folder,
        num_sanity_val_steps=0,
    )
    loaders = loader(train, shuffle=True), loader(val, shuffle=False)
    return lambda: trainer.fit(Module(), *loaders)


def mmengine():
    """A Runner with its default hooks, and its TensorBoard backend."""
    from mmengine.evaluator import BaseMetric
    from mmengine.model import BaseModel
    from mmengine.runner import Runner

    model, optimizer, _, train, val = task()

    class Model(BaseModel):
        def __init__(self):
            super().__init__()
            self.net = model

        def forward(self, x, y, mode):
            scores = self.net(x)
            return {"loss": F.cross_entropy(scores, y)} if mode == "loss" else (scores, y)

    class Right(BaseMetric):
        def process(self, data_batch, data_samples):
            scores, y = data_samples
            self.results.append(((scores.argmax(1) == y).sum().item(), len(y)))

        def compute_metrics(self, results):
            return {"accuracy": sum(one for one, _ in results) / sum(n for _, n in results)}

    runner = Runner(
        Model(),
        tempfile.mkdtemp(),
        train_dataloader=loader(train, shuffle=True),
        val_dataloader=loader(val, shuffle=False),
        val_evaluator=[Right()],
        optim_wrapper={"optimizer": optimizer},
        param_scheduler={
            "type": "CosineAnnealingLR",
            "T_max": EPOCHS,
            "convert_to_iter_based": True,
        },
        train_cfg={"by_epoch": True, "max_epochs": EPOCHS},
        val_cfg={},
        default_hooks={"logger": {"type": "LoggerHook", "interval": 50}},
        visualizer={"type": "Visualizer", "vis_backends": [{"type": "TensorboardVisBackend"}]},
    )
    return runner.train


STACKS = [bare, bare_and_safe, ours, ours_in_background, lightning, mmengine]


def fit_in_a_process(name):
    return float(python("-m", __name__, name).split()[-1])


def main():
    names = [stack.__name__ for stack in STACKS]
    rounds = [
        in_turns(fit_in_a_process, names if number % 2 else names[::-1], 1)
        for number in range(ROUNDS)
    ]
    bare_took = statistics.median(one["bare"] for one in rounds)
    spread = max(one["bare"] for one in rounds) / min(one["bare"] for one in rounds) - 1
    over = {
        name: statistics.median(one[name] - one["bare"] for one in rounds) for name in names[1:]
    }
    steps = EPOCHS * -(-1258 // BATCH)
    rows = [
        Row("the bare loop", bare_took, "s"),
        Row("  its slowest run over its fastest: more than that", spread * 100, "%"),
    ]
    for name in names[1:]:
        target = 3.0 if name.startswith("ours") else None
        rows.append(Row(f"{name}: more than that", over[name] / bare_took * 100, "%", target))
        rows.append(Row("  an iteration", over[name] / steps * 1e3, "ms"))
    for name in ("lightning", "mmengine"):
        if over["ours"] > 0:  # else the machine was too busy to tell
            ratio = over[name] / over["ours"]
            rows.append(Row(f"{name}'s overhead over ours", ratio, "x", 5, True))
    show("the default stack on the digits CNN", rows)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    fit = {one.__name__: one for one in STACKS}[sys.argv[1]]()
    with contextlib.redirect_stdout(io.StringIO()):
        took = seconds(fit)
    print(took)
