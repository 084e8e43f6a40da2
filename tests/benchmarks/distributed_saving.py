"""What a checkpoint costs by the number of processes: 1, 2 and 4 of them on one disk.

Replicas write the same 100 MB whatever their number, and each besides what is its own. In shards
each writes its part. A tiny model shows what agreeing costs. The figures are medians over saves of
the slowest process, and what training waits for where a thread writes. As all processes share the
cores and the disk of one machine, shards don't become faster here as they do on several.
"""

import os
import shutil
import statistics
import tempfile
import time
from pathlib import Path

from .timing import Row, show

ROUNDS = 9
WORLDS = (1, 2, 4)
SIZES = {"100 MB": 8, "tiny": 0}
WIDTH = 1024


def saved(folder, kind, layers, background, rounds):
    """Called in each process: the seconds of each save, or of what training waits for."""
    import torch
    from torch import nn

    from footplate import Engine
    from footplate.engine.checkpoints.when import When
    from footplate.engine.placement.ranks import gathered
    from footplate.engine.placement.replicated import Replicated
    from footplate.engine.placement.sharded import Sharded
    from footplate.handlers.checkpoint import Checkpoint

    torch.manual_seed(0)
    placement = Sharded("cpu", modules=("Linear",)) if kind == "sharded" else Replicated("cpu")
    many = [nn.Linear(WIDTH, WIDTH) for _ in range(layers)]
    model = placement.place(nn.Sequential(nn.Linear(4, 4), *many))
    optimizer = torch.optim.AdamW(model.parameters())
    for one in model.parameters():
        one.grad = torch.ones_like(one)
    optimizer.step()
    took = []
    trainer = Engine(lambda engine, batch: gathered(None), name="train")
    trainer.add_event_handler("SAFE_POINT", lambda: took.append(-time.perf_counter()), priority=0)
    trainer.attach(
        Checkpoint(
            folder,
            model,
            {"optimizer": optimizer},
            When("ITERATION_COMPLETED", at_end=False),
            background=background,
        )
    )

    @trainer.on("SAFE_POINT", priority=100)
    def note(engine):
        took[-1] += time.perf_counter()
        if background:
            time.sleep(1.0)  # in which it is written

    trainer.run(range(rounds + 1), max_epochs=1)
    gathered(None)
    return took[1:-1]  # the first one takes memory that the others use again


def measured(ranks, folder, kind, layers, background):
    """The median of the slowest process's seconds."""
    where = str(folder / f"{kind}{layers}{background}")
    told = ranks.call(
        "tests.benchmarks.distributed_saving:saved", where, kind, layers, background, ROUNDS
    )
    shutil.rmtree(where, ignore_errors=True)
    os.sync()
    return statistics.median(max(one) for one in zip(*told, strict=True))


def main():
    from tests.distributed.launching import Ranks

    rows = []
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        for world in WORLDS:
            with Ranks(world, folder, seconds=300) as ranks:
                for kind in ("replicated", "sharded"):
                    for size, layers in SIZES.items():
                        for background in (False, True):
                            took = measured(ranks, folder / str(world), kind, layers, background)
                            how = "training waits" if background else "save"
                            what = f"{world} processes, {kind}, {size}: {how}"
                            rows.append(Row(what, 1000 * took, "ms"))
    show("a checkpoint by the number of processes", rows)
