"""What a save of half a gigabyte costs, against ``torch.save`` and fsync of the same.

All are measured in turns in one process, each behind a sync of the disk; the figures are medians.
The first save of each kind is printed apart: it takes memory that later ones use again.
"""

import os
import shutil
import statistics
import sys
import tempfile
import threading
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace

import psutil
import torch
from torch import nn

from .timing import Row, python, seconds, show

LAYERS, WIDTH = 40, 1024
ROUNDS = 9


def trained():
    """Weights and the moments of AdamW: 0.5 GB."""
    torch.manual_seed(0)
    model = nn.Sequential(*(nn.Linear(WIDTH, WIDTH) for _ in range(LAYERS)))
    optimizer = torch.optim.AdamW(model.parameters())
    for one in model.parameters():
        one.grad = torch.randn_like(one)
    optimizer.step()
    optimizer.zero_grad()
    return model, optimizer


class Saves:
    """The kinds of saves, each of the same state."""

    def __init__(self, folder):
        from footplate.engine.checkpoints.background import BackgroundSave, HostCopy
        from footplate.engine.checkpoints.store import CheckpointStore

        self.folder = folder
        self.model, self.optimizer = trained()
        self.store = CheckpointStore(folder / "store")
        self.copy, self.background = HostCopy(), BackgroundSave()

    def tree(self):
        from footplate.engine.checkpoints.tensor_file import weights_of

        return weights_of(self.model), {"optimizer": self.optimizer.state_dict()}

    def size(self):
        """In bytes."""
        from footplate.engine.checkpoints.plain import tensors_of

        return sum(one.nbytes for one in tensors_of(self.tree()))

    def put(self, weights, state):
        from footplate.engine.checkpoints.manifest import Manifest

        self.store.save(weights, state, Manifest(run="bench", iteration=1, epoch=1))

    def torch_save(self):
        """What everybody would write."""
        with (self.folder / "plain.pt").open("wb") as file:
            torch.save(self.tree(), file)
            file.flush()
            os.fsync(file.fileno())

    def synchronous(self):
        self.put(*self.tree())

    def blocked(self):
        """What training waits for; the writing goes on behind it."""
        weights, state = self.copy.of(self.tree())
        self.background.start(lambda: self.put(weights, state))

    def without_digest(self):
        with no_digest():
            self.synchronous()

    def format_alone(self):
        """Into nothing, so that neither disk nor digest count."""
        from footplate.engine.checkpoints.tensor_file import write_tensors

        weights, state = self.tree()
        write_tensors(Nothing(), weights)
        torch.save(state, Nothing())

    def clean(self):
        """Wait for what goes on, and take away what was saved."""
        self.background.wait()
        self.background.check()
        (self.folder / "plain.pt").unlink(missing_ok=True)
        shutil.rmtree(self.folder / "store", ignore_errors=True)
        os.sync()


class Nothing:
    """A file that takes everything and keeps nothing."""

    def write(self, data):
        return memoryview(data).nbytes

    def flush(self):
        pass


@contextmanager
def no_digest():
    """Has files written without their digest: not what the library offers."""
    from footplate.engine.checkpoints import durable

    kept, durable.hashlib = durable.hashlib, SimpleNamespace(sha256=NoDigest)
    yield
    durable.hashlib = kept


class NoDigest:
    def update(self, data):
        pass

    def hexdigest(self):
        return "0" * 64


KINDS = ["torch_save", "synchronous", "blocked", "without_digest", "format_alone"]


def in_rounds(saves):
    """Seconds by kind, in each round; those of the first one apart."""
    rounds = []
    for number in range(ROUNDS + 1):
        took = {}
        for kind in KINDS if number % 2 else KINDS[::-1]:
            took[kind] = seconds(getattr(saves, kind))
            saves.clean()
        rounds.append(took)
    return rounds[0], rounds[1:]


def peak(kind):
    """The most memory that a save takes beyond what was there, over the size of the state."""
    folder = Path(tempfile.mkdtemp())
    try:
        saves, process, seen, over = Saves(folder), psutil.Process(), [], threading.Event()

        def watch():
            while not over.is_set():
                seen.append(process.memory_info().rss)
                over.wait(0.002)

        before = process.memory_info().rss
        watching = threading.Thread(target=watch)
        watching.start()
        getattr(saves, kind)()
        saves.clean()
        over.set()
        watching.join()
        return (max(seen) - before) / saves.size()
    finally:
        shutil.rmtree(folder)


def main():
    folder = Path(tempfile.mkdtemp())
    try:
        saves = Saves(folder)
        size = saves.size() / 1e9
        first, rounds = in_rounds(saves)
    finally:
        shutil.rmtree(folder)
    of = {kind: statistics.median(one[kind] for one in rounds) for kind in KINDS}

    def ratio(kind, other="torch_save"):
        return statistics.median(one[kind] / one[other] for one in rounds) * 100

    digest = 100 - ratio("without_digest", "synchronous")
    show(
        f"saving {size:.2f} GB",
        [
            Row("torch.save and fsync", of["torch_save"], "s"),
            Row("synchronous save", of["synchronous"], "s"),
            Row("  over torch.save", ratio("synchronous") / 100, "", 1.6),
            Row("  share of the digest", digest, "%"),
            Row("  share of the format", ratio("format_alone", "synchronous"), "%"),
            Row("asynchronous save: training waits", of["blocked"], "s"),
            Row("  over torch.save", ratio("blocked"), "%", 15),
            Row("the first: torch.save and fsync", first["torch_save"], "s"),
            Row("  synchronous save", first["synchronous"], "s"),
            Row("  asynchronous save: training waits", first["blocked"], "s"),
            Row("most memory: synchronous, over the state", measured("synchronous"), "", 1.1),
            Row("  asynchronous", measured("blocked"), "", 1.1),
            Row("  torch.save", measured("torch_save"), ""),
        ],
    )


def measured(kind):
    return float(python("-m", __name__, kind))


if __name__ == "__main__":
    print(peak(sys.argv[1]))
