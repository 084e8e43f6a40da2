"""A training script as a user would write it, that is killed in the tests: handwritten digits.

    python -m tests.crash.child FOLDER --workers 2 --resume

It leaves ``result.json`` when it ends: digests of weights, averages and optimizer, the metrics,
and all that was logged.
"""

from __future__ import annotations

import argparse
import functools
import hashlib
import json
import random
import signal
import sys
from pathlib import Path

import numpy as np
import torch
from ignite.metrics import Accuracy, Average, Loss
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, TensorDataset

from footplate import Engine, Events, Signalled
from footplate.engine.handler import Handler
from footplate.engine.random import seed_all
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.contracts import Supervised
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.training import training_step
from footplate.handlers.averaging import EMA
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.lr_schedule import LRSchedule
from footplate.handlers.metrics import Metrics
from footplate.handlers.scalars import Scalars
from tests.crash.phases import Board, Kill, MarkedStore, Phases, Validation

SAMPLES, BATCH_SIZE, EPOCHS, WINDOW = 400, 16, 2, 3


@functools.cache
def digits():
    """Images of shape (1797, 1, 8, 8) from 0 to 1, and labels."""
    from sklearn.datasets import load_digits

    bunch = load_digits()
    return torch.from_numpy(bunch.images).float().unsqueeze(1) / 16, torch.from_numpy(bunch.target)


def warm_up():
    """Load what takes long, before runs are forked."""
    digits()


class Augmented(Dataset):
    """Number, image and label; the image otherwise each time, by three random generators."""

    def __init__(self, images, labels):
        self.images, self.labels = images, labels

    def __len__(self):
        return len(self.labels)

    def __getitem__(self, index):
        image = self.images[index].roll(random.randint(-1, 1), dims=2)
        image = image + torch.from_numpy(np.random.normal(0, 0.1, image.shape)).float()
        return index, image * (0.8 + 0.4 * torch.rand(1)), self.labels[index]


def network():
    """From images of shape (B, 1, 8, 8) to scores of ten classes, (B, 10)."""
    return nn.Sequential(
        nn.Conv2d(1, 8, kernel_size=3, padding=1, bias=False),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Flatten(),
        nn.Dropout(0.3),
        nn.Linear(128, 10),
    )


def evaluator_of(model, name):
    evaluator = Engine(evaluation_step(model), name=name)
    evaluator.attach(Metrics({"accuracy": Accuracy(), "loss": Loss(F.cross_entropy)}))
    return evaluator


class Journal(Handler):
    """Writes what happens to a file, a line each; a resumed run cuts off what came too late.

    The samples of each iteration and a digest of their images, scalars, and metrics. All that is
    told in seconds is marked by that word.
    """

    priority = "LOWEST"
    for_one_engine = True

    def __init__(self, path, optimizer):
        self.path, self.optimizer = path, optimizer
        self.length = 0  # bytes

    def opened(self, engine):
        self.file = self.path.open("a", buffering=1)
        self.file.truncate(self.length)

    def closed(self, engine):
        self.file.close()

    def iteration_completed(self, engine):
        numbers, images, _ = engine.state.batch
        self._write(
            iteration=engine.state.iteration,
            samples=numbers.tolist(),
            images=digest(images),
            lr=self.optimizer.param_groups[0]["lr"],
            metrics=engine.state.metrics,
        )

    def scalars_logged(self, engine, step, scalars, values):
        self._write(step=step, scalars=scalars, values=values)

    def epoch_completed(self, engine):
        seconds = engine.state.times["EPOCH_COMPLETED"]
        self._write(epoch=engine.state.epoch, metrics=engine.state.metrics, seconds=seconds)

    def _write(self, **told):
        self.file.write(json.dumps(told) + "\n")
        self.length = self.file.tell()

    def state_dict(self):
        return {"length": self.length}

    def load_state_dict(self, state):
        self.length = state["length"]


def digest(tree):
    """The SHA-256 digest of nested tensors and primitives."""
    whole = hashlib.sha256()

    def take(one):
        if isinstance(one, torch.Tensor):
            whole.update(f"{one.dtype}{tuple(one.shape)}".encode())
            whole.update(one.detach().reshape(-1).view(torch.uint8).numpy().tobytes())
        elif isinstance(one, dict):
            for key in sorted(one, key=repr):
                take((key, one[key]))
        elif isinstance(one, (list, tuple)):
            for each in one:
                take(each)
        else:
            whole.update(repr(one).encode())

    take(tree)
    return whole.hexdigest()


def schedule(optimizer):
    """Four optimizer steps of warm-up, and a cosine for the rest."""
    steps = EPOCHS * -(-SAMPLES // BATCH_SIZE // WINDOW)
    warm_up = torch.optim.lr_scheduler.LinearLR(optimizer, 0.1, total_iters=4)
    cosine = torch.optim.lr_scheduler.CosineAnnealingLR(optimizer, steps - 4)
    return torch.optim.lr_scheduler.SequentialLR(optimizer, [warm_up, cosine], [4])


def train(options, board):
    seed_all(3)
    images, labels = digits()
    train_data = Augmented(images[:SAMPLES], labels[:SAMPLES])
    val_loader = DataLoader(TensorDataset(images[-300:], labels[-300:]), 50)
    train_loader = DataLoader(
        train_data,
        BATCH_SIZE,
        shuffle=True,
        num_workers=options.workers,
        persistent_workers=options.persistent,
    )
    model = network()
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3)
    contract = Supervised(model, F.cross_entropy, unpack=lambda batch: batch[1:])
    step = training_step(
        model,
        optimizer,
        contract=contract,
        precision=options.precision,
        accumulate=WINDOW,
        clip=ClipNorm(1.0),
    )
    trainer = Engine(step, name="train")
    ema = EMA(model, decay=0.8)
    whole, quick = evaluator_of(model, "val"), evaluator_of(model, "quick")
    ema.evaluate_with(whole)
    for evaluator in (whole, quick):
        evaluator.attach(Validation(board))

    def loss(output):
        return output["loss"]

    trainer.attach(Phases(board))
    trainer.attach(ema)
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=5), prefix="logged_"))
    trainer.attach(Metrics({"loss": Average(loss)}, running={"running_loss": loss}))
    trainer.attach(Evaluation(whole, val_loader))
    every_seventh = Events.ITERATION_COMPLETED(every=7)
    trainer.attach(Evaluation(quick, val_loader, every_seventh, prefix="quick"))
    trainer.attach(LRSchedule(schedule(optimizer), "step"))
    trainer.attach(Journal(options.folder / "journal", optimizer))
    checkpoint = trainer.attach(
        Checkpoint(
            MarkedStore(options.folder / "checkpoints", board),
            model,
            when=Events.ITERATION_COMPLETED(every=4) | Events.EPOCH_COMPLETED,
            last=2,
            best=1,
            metric="val_accuracy",
            mode="min",  # so that the best is not the last
            background=options.background,
        )
    )
    if options.resume:
        found = checkpoint.resume(trainer)
        print(f"resumed at iteration {trainer.state.iteration}: {found and found.name}")
    state = trainer.run(train_loader, max_epochs=EPOCHS)
    kept = [manifest for _, manifest in checkpoint.store if manifest.exact]
    return {
        "iteration": state.iteration,
        "weights": digest(model.state_dict()),
        "averages": digest(ema.model_state_dict()),
        "optimizer": digest(optimizer.state_dict()),
        "metrics": state.metrics,
        "last": kept[-1].iteration,
        "scored": [(one.iteration, one.score) for one in kept if one.score is not None],
        "journal": lines_of(options.folder / "journal"),
    }


def lines_of(journal):
    """What was logged, but for what is told in seconds."""
    lines = map(json.loads, journal.read_text().splitlines())
    return [{key: line[key] for key in line if key != "seconds"} for line in lines]


def options_of(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--workers", type=int, default=0)
    parser.add_argument("--persistent", action="store_true")
    parser.add_argument("--precision", default="bf16")
    parser.add_argument("--background", action="store_true")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--listen", action="store_true", help="have a signal handler of its own")
    parser.add_argument("--kill", type=Kill.parse)
    return parser.parse_args(arguments)


def heard(signum, frame):
    print(f"heard {signal.Signals(signum).name}")


def main(arguments=None, bell=None):
    options = options_of(arguments)
    torch.set_num_threads(1)  # so that no sum depends on how busy the machine is
    options.folder.mkdir(parents=True, exist_ok=True)
    board = Board(options.folder / "board", options.kill, bell)
    board.watch_calls()
    board.enter("begin")
    if options.listen:
        signal.signal(signal.SIGTERM, heard)
    try:
        result = train(options, board)
    except (KeyboardInterrupt, Signalled) as stop:
        if options.listen:
            print(f"left as it was: {signal.getsignal(signal.SIGTERM) is heard}")
        number = stop.signum if isinstance(stop, Signalled) else signal.SIGINT
        return 128 + number
    (options.folder / "result.json").write_text(json.dumps(result, indent=1))
    return 0


if __name__ == "__main__":
    sys.exit(main())
