"""Event files, read back."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event
from tensorboardX.record_writer import masked_crc32c

from footplate import Engine, Events
from footplate.handlers.tensorboard import TensorBoard


def read(folder: Path) -> list[tuple[str, int, float]]:
    """Every scalar in a folder, checked record by record as TensorFlow's format says."""
    scalars = []
    for path in sorted(folder.iterdir()):
        rest = path.read_bytes()
        while rest:
            length = int.from_bytes(rest[:8], "little")
            assert int.from_bytes(rest[8:12], "little") == masked_crc32c(rest[:8])
            event = Event.FromString(rest[12 : 12 + length])
            scalars += [(v.tag, event.step, v.simple_value) for v in event.summary.value]
            rest = rest[12 + length + 4 :]
    return scalars


def made(folder: Path) -> Engine:
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.5)
    engine = Engine(lambda engine, batch: torch.tensor(batch), name="train")
    engine.on(Events.EPOCH_COMPLETED)(lambda e: e.state.metrics.update(score=2.0, names=["a"]))
    engine.attach(TensorBoard(folder, output=lambda out: {"loss": out}, optimizer=sgd))
    return engine


def test_outputs_rates_and_metrics_are_written(tmp_path):
    made(tmp_path).run([4.0, 2.0])
    assert read(tmp_path) == [
        ("train/loss", 1, 4.0),
        ("train/lr", 1, 0.5),
        ("train/loss", 2, 2.0),
        ("train/lr", 2, 0.5),
        ("train/score", 2, 2.0),
    ]


def test_files_are_whole_after_an_error(tmp_path):
    engine = made(tmp_path)
    engine.on(Events.ITERATION_STARTED(once=2))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run([4.0, 2.0])
    assert read(tmp_path) == [("train/loss", 1, 4.0), ("train/lr", 1, 0.5)]
