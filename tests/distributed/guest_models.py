"""Models of transformers, detectors and metrics of torchmetrics in each of several processes."""

from __future__ import annotations

from operator import itemgetter
from typing import Any

import torch
from ignite.metrics import Accuracy, Average

from footplate import Engine, Runner
from footplate.engine.placement.ranks import rank, world_size
from footplate.handlers.metrics import Metrics
from tests.engine.step.test_detection import Brightest, sample, together
from tests.handlers.torchmetrics_kinds import KINDS, batches, own_loop, plain
from tests.recipes.transformers_task import configured, texts

__all__ = ["classified", "detected", "tracked", "wrapped"]


def classified(folder: str) -> dict[str, Any]:
    """What a classifier of texts has learned, and what is measured of it."""
    size = 8 // world_size()
    runner = Runner(
        **configured(
            folder,
            train_dataloader={"dataset": texts(), "batch_size": size, "shuffle": True},
            val_dataloader={"dataset": texts(26), "batch_size": size},
            val_evaluator={"accuracy": Accuracy(), "loss": Average(itemgetter("loss"))},
            optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
        )
    )
    model = runner.train()
    metrics = runner.val()
    return {
        "weights": torch.cat([one.detach().reshape(-1) for one in model.parameters()]).tolist(),
        "accuracy": metrics["accuracy"],
    }


class Found:
    """How often a bright square was found: a metric over images of any size."""

    def process(self, data_batch: Any, data_samples: Any) -> None:
        for found, target in zip(*data_samples, strict=True):
            near = (found["boxes"][0, :2] - target["boxes"][0, :2]).abs().max() < 1
            self.results.append(bool(near))  # type: ignore[attr-defined]

    def compute_metrics(self, results: list[bool]) -> dict[str, float]:
        return {"found": sum(results) / len(results), "images": len(results)}


def detected(folder: str) -> dict[str, Any]:
    """What a detector has learned, and how much it finds."""
    torch.manual_seed(3)
    squares = [sample(number) for number in range(24)]
    loader = {"batch_size": 4 // world_size(), "collate_fn": together}
    runner = Runner(
        Brightest(),
        folder,
        train_dataloader={"dataset": squares, "shuffle": True, **loader},
        val_dataloader={"dataset": squares[:13], **loader},
        train_cfg={"max_epochs": 8, "contract": "detection"},
        val_cfg={"contract": "detection"},
        val_evaluator=Found(),
        optim_wrapper={"optimizer": {"type": "Adam", "lr": 0.02}},
        randomness={"seed": 5},
        visualizer=False,
        default_hooks={"logger": {"progress_bar": False}, "report": None, "checkpoint": None},
    )
    model = runner.train()
    return {"weights": model.head.weight.flatten().tolist(), **runner.val()}


def wrapped(kind: str, usage: str) -> dict[str, Any]:
    """What a metric says on an engine, and in its own loop, which has torchmetrics exchange."""
    data = batches(6)[rank() :: world_size()]
    engine, said = Engine(lambda engine, batch: batch, name="val"), []
    engine.attach(Metrics({"m": KINDS[kind]()}, usage=usage))
    when = "EPOCH_COMPLETED" if usage == "epoch" else "ITERATION_COMPLETED"
    engine.add_event_handler(
        when, lambda engine: said.append(plain(dict(engine.state.metrics))), priority="LOWEST"
    )
    engine.run(data, max_epochs=2)
    said = [one["m"] if one.keys() == {"m"} else one for one in said]
    return {"said": said, "by hand": own_loop(KINDS[kind](), data, usage)}


def tracked() -> list[Any]:
    """What a tracker says of all epochs, and what was said in each."""
    tracker = KINDS["tracker"]()
    engine, said = Engine(lambda engine, batch: batch, name="val"), []
    engine.attach(Metrics({"m": tracker}))
    engine.add_event_handler(
        "EPOCH_COMPLETED",
        lambda engine: said.append(plain(engine.state.metrics["m"])),
        priority="LOWEST",
    )
    engine.run(batches(6)[rank() :: world_size()], max_epochs=2)
    return [plain(tracker.compute_all()), said]
