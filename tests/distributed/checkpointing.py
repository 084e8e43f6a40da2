"""A training run of several processes that is saved and goes on; one process of it.

    python -m tests.distributed.checkpointing FOLDER [--kind sharded] [--kill ITERATION] …

It prints a line for each iteration, and at its end a line with what came out. The functions are
called in processes that stay.
"""

from __future__ import annotations

import argparse
import contextlib
import hashlib
import json
import os
import signal
import time
import warnings
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.engine.checkpoints.shards import is_sharded
from footplate.engine.checkpoints.when import When
from footplate.engine.data.order import ordered_loader
from footplate.engine.handler import Handler
from footplate.engine.placement.launching import join
from footplate.engine.placement.placement import Placement
from footplate.engine.placement.ranks import gathered, rank, world_size
from footplate.engine.placement.replicated import Replicated
from footplate.engine.placement.sharded import Sharded
from footplate.engine.step.accumulation import Accumulation
from footplate.engine.step.training import training_step
from footplate.handlers.averaging import EMA
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.lr_schedule import LRSchedule
from footplate.handlers.scalars import Scalars

SIZE, BATCH = 50, 4


class Seen(Handler):
    """Which samples this process has taken, and what it has logged."""

    def __init__(self) -> None:
        self.samples: list[list[int]] = []
        self.rows: list[Any] = []

    def iteration_completed(self, engine: Engine) -> None:
        self.samples.append([engine.state.epoch, *engine.state.batch[0]["index"].tolist()])

    def scalars_logged(self, engine: Engine, on: str, scalars: dict[str, float]) -> None:
        kept = {name: one for name, one in scalars.items() if "loss" in name}
        self.rows.append([engine.state.iteration, on, kept])

    def state_dict(self) -> dict[str, Any]:
        return {"samples": self.samples, "rows": self.rows}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.samples, self.rows = list(state["samples"]), list(state["rows"])


class Counted(Handler):
    """A whole tensor of each process, which has the shape of a parameter by chance."""

    def __init__(self) -> None:
        self.total = torch.zeros(16)

    def iteration_completed(self, engine: Engine) -> None:
        self.total += torch.ones(16)

    def state_dict(self) -> dict[str, Any]:
        return {"total": self.total}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        self.total = state["total"]


class Run:
    """What is trained, and where it is saved."""

    def __init__(
        self,
        folder: str | Path,
        kind: str = "replicated",
        *,
        every: int = 1,
        accumulate: int = 3,
        size: int = SIZE,
        counts: bool = False,
        **options: Any,
    ) -> None:
        torch.manual_seed(3 + rank())  # dropout differs by process
        placement = placement_of(kind)
        layers = [nn.Linear(6, 16), Centred(16), nn.Tanh(), nn.Dropout(), nn.Linear(16, 1)]
        with torch.random.fork_rng():
            torch.manual_seed(3)
            for one in layers:
                if isinstance(one, nn.Linear):
                    one.reset_parameters()
        self.model = placement.place(Network(*layers))
        self.optimizer = torch.optim.AdamW(self.model.parameters(), lr=0.02)
        if accumulate > 1 and kind == "sharded":
            accumulate = 2
        step = training_step(
            self.model, self.optimizer, loss_of, placement=placement, accumulate=accumulate
        )
        self.trainer = Engine(step, name="train")
        self.trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=5)))
        self.seen = self.trainer.attach(Seen())
        if counts:
            self.trainer.attach(Counted())
        self.trainer.attach(EMA(self.model, decay=0.8))
        self.trainer.attach(
            LRSchedule(torch.optim.lr_scheduler.StepLR(self.optimizer, 3, 0.9), "step")
        )
        self.loader = ordered_loader(
            Samples(size),
            BATCH,
            shuffle=True,
            seed=5,
            rank=rank(),
            world_size=world_size(),
        )
        when = When(Events.ITERATION_COMPLETED(every=every), **options.pop("when", {}))
        self.checkpoint = self.trainer.attach(
            Checkpoint(Path(folder) / "checkpoints", self.model, when=when, **options)
        )

    def digest(self) -> str:
        """The SHA-256 of all that this process has come to."""
        state = {
            "model": self.model.state_dict(),
            "optimizer": self.optimizer.state_dict()["state"],
            "average": self.trainer.handlers["ema"].averaged,  # type: ignore[attr-defined]
            "random": torch.get_rng_state(),
        }
        told = hashlib.sha256(json.dumps([self.seen.samples, self.seen.rows]).encode())
        for value in _numbers(state):
            told.update(value)
        return told.hexdigest()


class Samples(torch.utils.data.Dataset[Any]):
    """Samples that know their number."""

    def __init__(self, size: int) -> None:
        self.x = torch.randn(size, 6, generator=torch.Generator().manual_seed(1))

    def __len__(self) -> int:
        return len(self.x)

    def __getitem__(self, index: int) -> Any:
        return {"index": index, "x": self.x[index]}, self.x[index].sum().sin()[None]


class Centred(nn.Module):
    """What a batch norm is, as far as saving is concerned: a mean of what came by in training."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.register_buffer("mean", torch.zeros(width))

    def forward(self, x: Tensor) -> Tensor:
        if self.training:
            self.mean = 0.9 * self.mean + 0.1 * x.detach().mean(0)
        return x - self.mean


class Network(nn.Sequential):
    """Layers, called on the numbers of a batch."""

    def forward(self, batch: dict[str, Tensor]) -> Tensor:
        return super().forward(batch["x"])


def placement_of(kind: str) -> Placement:
    if kind in ("sharded", "held"):
        return Sharded("cpu", modules=("Linear",), no_sync=kind == "held")
    if kind == "alone":
        return Placement("cpu")
    placement = Replicated("cpu")
    return placement


def loss_of(y_pred: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(y_pred, y)


def _numbers(tree: Any, *, whole: bool = False) -> Any:
    if is_sharded(tree):
        tree = tree.full_tensor() if whole else tree.to_local()
    if isinstance(tree, Tensor):
        yield tree.detach().contiguous().numpy().tobytes()
    elif isinstance(tree, dict):
        for key in sorted(tree, key=str):
            yield from _numbers(tree[key], whole=whole)
    elif isinstance(tree, list):
        for one in tree:
            yield from _numbers(one, whole=whole)


# ---------------------------------------------------------------------- called in processes


def trained(folder: str, kind: str = "replicated", epochs: int = 2, **options: Any) -> str:
    """A whole run."""
    run = Run(folder, kind, **options)
    run.trainer.run(run.loader, max_epochs=epochs)
    return run.digest()


def interrupted(
    folder: str, at: int, kind: str = "replicated", options: dict[str, Any] | None = None
) -> list[str]:
    """A run that is cut behind an iteration, and the names of its checkpoints."""
    run = Run(folder, kind, **(options or {}))
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=at), run.trainer.interrupt)
    run.trainer.run(run.loader, max_epochs=2)
    return [path.name for path, _ in run.checkpoint.store]


def resumed(
    folder: str, kind: str = "replicated", options: dict[str, Any] | None = None
) -> dict[str, Any]:
    """A run that goes on to its end."""
    run = Run(folder, kind, **(options or {}))
    torch.rand(rank() + 1)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        path = run.checkpoint.resume(run.trainer)
    state = run.trainer.run(run.loader, max_epochs=2)
    return {
        "path": None if path is None else path.name,
        "digest": run.digest(),
        "warnings": [str(one.message) for one in caught],
        "samples": run.seen.samples,
        "iteration": state.iteration,
        "random": torch.rand(4).tolist(),
    }


def carried_on(folder: str, to: str, kind: str = "sharded") -> dict[str, Any]:
    """What a checkpoint holds, whole, as it is loaded here; it is saved again somewhere else."""
    run = Run(folder, kind)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        path = run.checkpoint.resume(run.trainer)
    told = {
        "path": str(path),
        "whole": whole_of(run),
        "moments": _kinds(run.optimizer.state_dict()["state"]),
        "iteration": run.trainer.state.iteration,
    }
    again = Run(to, kind)
    again.model, again.trainer, again.optimizer = run.model, run.trainer, run.optimizer
    run.checkpoint.store = again.checkpoint.store
    run.checkpoint.save(run.trainer)
    return told


def counted(folder: str, kind: str, epochs: int) -> list[Any]:
    """What a handler has that counts iterations, behind a run that may go on from another."""
    run = Run(folder, kind, counts=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run.checkpoint.resume(run.trainer)
    run.trainer.run(run.loader, max_epochs=epochs)
    total = run.trainer.handlers["counted"].total  # type: ignore[attr-defined]
    moments = _kinds(run.optimizer.state_dict()["state"])
    return [type(total).__name__, len(set(total.tolist())), moments]


def window(folder: str, kind: str, at: int = 0) -> list[float]:
    """The weights behind one window of four batches, which a stop may have been amid of."""
    run = Run(folder, kind, accumulate=4)
    run.trainer.handlers["optimization"].accumulation = Accumulation(4)  # type: ignore[attr-defined]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        run.checkpoint.resume(run.trainer)
    if at:
        run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=at), run.trainer.interrupt)
    run.trainer.run(run.loader, max_iters=4)
    state = [*run.model.parameters()]
    whole = [one.full_tensor() if is_sharded(one) else one for one in state]  # type: ignore[attr-defined]
    return [value for one in whole for value in one.detach().flatten().tolist()]


def whole_of(run: Run) -> str:
    """The SHA-256 of all weights, moments and averages, each put together."""
    told = hashlib.sha256()
    average = run.trainer.handlers["ema"].averaged  # type: ignore[attr-defined]
    moments = run.optimizer.state_dict()["state"]
    for value in _numbers([run.model.state_dict(), moments, average], whole=True):
        told.update(value)
    return told.hexdigest()


def _kinds(tree: Any) -> list[str]:
    found = {type(value).__name__ for each in tree.values() for value in each.values()}
    return sorted(found)


def failing(folder: str, kind: str, rank_that_fails: int, where: str) -> dict[str, Any]:
    """A save that fails on one process, by a disk that takes nothing there."""
    from footplate.engine.checkpoints import durable

    run = Run(folder, kind)
    run.trainer.run(run.loader, max_epochs=1)
    before = sorted(os.listdir(run.checkpoint.store.directory))
    real = durable.os.fsync

    def broken(descriptor: int) -> None:
        if rank() == rank_that_fails and where in os.readlink(f"/proc/self/fd/{descriptor}"):
            raise OSError(28, "No space left on device")
        real(descriptor)

    durable.os.fsync = broken
    try:
        run.checkpoint.save(run.trainer, name="broken")
        error = None
    except Exception as raised:
        error = f"{type(raised).__name__}: {raised}"
    finally:
        durable.os.fsync = real
    gathered(None)
    after = sorted(os.listdir(run.checkpoint.store.directory))
    path = run.checkpoint.save(run.trainer, name="well")  # and they still know of each other
    return {"error": error, "left": sorted(set(after) - set(before)), "then": path.name}


def raised(folder: str, kind: str, rank_that_fails: int) -> dict[str, Any]:
    """A run that fails on one process, and on the others for that."""
    run = Run(folder, kind, every=2)

    @run.trainer.on(Events.ITERATION_STARTED(once=4))
    def fail(engine: Engine) -> None:
        if rank() == rank_that_fails:
            raise ValueError("a label of mine is wrong")
        time.sleep(1)
        raise ValueError("connection closed by peer")

    begun = time.monotonic()
    with contextlib.suppress(ValueError):
        run.trainer.run(run.loader, max_epochs=1)
    seconds = time.monotonic() - begun
    gathered(None)
    found = [(path.name, one.exact, one.error) for path, one in run.checkpoint.store]
    return {"found": found, "seconds": seconds}


def by_the_clock(folder: str) -> list[str]:
    """Names of the checkpoints of a run whose first process alone has a clock that runs fast."""
    minutes = 0.2 / 60 if rank() == 0 else 1000
    run = Run(folder, every=1000, last=10, when={"minutes": minutes})
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: time.sleep(0.1))
    run.trainer.run(run.loader, max_iters=8)
    gathered(None)
    return [path.name for path, _ in run.checkpoint.store]


def not_a_number(folder: str, rank_that_has_it: int) -> list[Any]:
    """Scores of the checkpoints of a run whose metric is NaN on one process alone."""
    run = Run(folder, every=2, last=3, best=1, metric="set", mode="min")

    @run.trainer.on(Events.ITERATION_COMPLETED, priority="HIGH")
    def note(engine: Engine) -> None:
        here = rank() == rank_that_has_it and engine.state.iteration > 2
        engine.state.metrics["set"] = float("nan") if here else 0.5

    run.trainer.run(run.loader, max_iters=4)
    gathered(None)
    return [[path.name, one.score] for path, one in run.checkpoint.store]


def remote(folder: str) -> dict[str, Any]:
    """A checkpoint that is sent to a file system of fsspec."""
    from footplate.engine.checkpoints.remote import RemoteStore

    place = Path(folder) / "far"
    run = Run(folder)
    run.checkpoint.store = RemoteStore(f"local://{place}", cache=Path(folder) / "cache")
    run.trainer.run(run.loader, max_iters=2)
    gathered(None)
    again = Run(folder)
    again.checkpoint.store = run.checkpoint.store
    path = again.checkpoint.resume(again.trainer)
    assert path is not None
    assert again.seen.samples == run.seen.samples
    return {"saved": path.name, "names": sorted(os.listdir(place / path.name))}


def buffers(folder: str) -> list[list[float]]:
    """Those of this process when it is saved, and when it goes on."""
    run = Run(folder)
    run.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), run.trainer.interrupt)
    run.trainer.run(run.loader, max_epochs=1)
    again = Run(folder)
    again.checkpoint.resume(again.trainer)
    return [one.model[1].mean.tolist() for one in (run, again)]


def random_numbers(folder: str) -> dict[str, Any]:
    """What this process draws when it goes on."""
    run = Run(folder)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        run.checkpoint.resume(run.trainer)
    return {"drawn": torch.rand(3).tolist(), "warnings": [str(one.message) for one in caught]}


def die_amid(number: str, file: str, times: str, *, how: str) -> None:
    """Have a process be killed, or stopped, when it saves a file for the so-many-th time."""
    from footplate.engine.checkpoints import durable

    real, left = durable.os.fsync, [int(times)]

    def deadly(descriptor: int) -> None:
        if rank() == int(number) and file in os.readlink(f"/proc/self/fd/{descriptor}"):
            left[0] -= 1
            if not left[0]:
                os.kill(os.getpid(), signal.Signals[how])
        real(descriptor)

    durable.os.fsync = deadly


def say(what: str, value: Any) -> None:
    """A line for the test to read."""
    print(json.dumps([what, value]), flush=True)


def main() -> None:
    """Train, and say what became of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--kind", default="replicated")
    parser.add_argument("--every", type=int, default=1)
    parser.add_argument("--background", action="store_true")
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--timeout", type=float, default=30.0)
    parser.add_argument("--how", default="SIGKILL")
    parser.add_argument("--kill", default="", help="RANK:FILE:NUMBER, amid so many a save")
    options = parser.parse_args()
    join("pytorch", timeout=options.timeout)
    run = Run(options.folder, options.kind, every=options.every, background=options.background)
    if options.kill:
        die_amid(*options.kill.split(":"), how=options.how)
    path = run.checkpoint.resume(run.trainer)
    say("from", None if path is None else path.name)

    @run.trainer.on(Events.ITERATION_COMPLETED)
    def tell(engine: Engine) -> None:
        say("iteration", engine.state.iteration)
        time.sleep(options.pause)

    run.trainer.run(run.loader, max_epochs=2)
    say("digest", run.digest())
    torch.distributed.barrier()
    os._exit(0)


if __name__ == "__main__":
    main()
