"""What training in several processes costs over DistributedDataParallel written out by hand.

A network learns random numbers, 64 samples in all at a time, 300 times in a run, in one process and
in two, with one thread each and gloo between them: by the loop written out, and by an engine with
the training step, its placement, the scalar stream, and the agreement on signals. Both are measured
in turns in the same processes.
"""

import statistics
import time
from pathlib import Path
from tempfile import mkdtemp

import torch
from torch import nn
from torch.nn import functional as F
from torch.nn.parallel import DistributedDataParallel

from footplate import Engine
from footplate.engine.placement.ranks import world_size
from footplate.engine.placement.replicated import Replicated
from footplate.engine.step.training import training_step
from footplate.handlers.scalars import Scalars
from footplate.handlers.stop_together import StopTogether

from .timing import Row, show

BATCH, WIDTH = 64, 512
ITERATIONS, ROUNDS = 300, 7


def main():
    from tests.distributed.launching import Ranks

    rows = []
    alone = None
    for processes in (1, 2):
        with Ranks(processes, Path(mkdtemp()), seconds=600) as ranks:
            told = ranks.call("tests.benchmarks.scaling:measured")
        raw, ours = (statistics.median(one[name] for one in told) for name in ("raw", "ours"))
        over = statistics.median(one["over"] for one in told)
        alone = alone or raw
        rows.append(Row(f"{processes} process(es), by hand", raw * 1e3, "ms"))
        rows.append(Row("  Footplate", ours * 1e3, "ms"))
        rows.append(Row("  more than by hand", over * 100, "%", 2))
        if processes > 1:
            rows.append(Row("  by hand, over one process", alone / raw, "x"))
    show("an iteration of 64 samples", rows)


def measured():
    """Seconds of an iteration by hand and by Footplate, and how much more that is."""
    torch.set_num_threads(1)
    batches = _batches()
    ways = {"raw": _by_hand(batches), "ours": _by_footplate(batches)}
    seen = {name: [] for name in ways}
    for number in range(ROUNDS + 1):
        for name in ways if number % 2 else [*ways][::-1]:
            begun = time.perf_counter()
            ways[name]()
            seen[name].append((time.perf_counter() - begun) / ITERATIONS)
    raw, ours = (one[1:] for one in seen.values())  # the first round warms up
    over = statistics.median(o / r - 1 for r, o in zip(raw, ours, strict=True))
    return {"raw": statistics.median(raw), "ours": statistics.median(ours), "over": over}


def _batches():
    generator = torch.Generator().manual_seed(0)
    size = BATCH // world_size()
    x = torch.randn(ITERATIONS, size, WIDTH, generator=generator)
    return [*zip(x, x.roll(1, 2), strict=True)]


def _network():
    torch.manual_seed(0)
    return nn.Sequential(
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH),
        nn.ReLU(),
        nn.Linear(WIDTH, WIDTH),
    )


def _by_hand(batches):
    model = _network()
    wrapped = DistributedDataParallel(model)
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)

    def run():
        for x, y in batches:
            loss = F.mse_loss(wrapped(x), y)
            loss.backward()
            sgd.step()
            sgd.zero_grad()

    return run


def _by_footplate(batches):
    placement = Replicated("cpu")
    model = placement.place(_network())
    sgd = torch.optim.SGD(model.parameters(), lr=0.01)
    trainer = Engine(training_step(model, sgd, F.mse_loss, placement=placement), name="train")
    for handler in (Scalars(), StopTogether()):
        trainer.attach(handler)
    return lambda: trainer.run(batches)
