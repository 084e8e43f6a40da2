"""Event files, read back."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import torch
from tensorboardX.proto.event_pb2 import Event, SessionLog
from tensorboardX.record_writer import masked_crc32c

from footplate import Engine, Events
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.tensorboard import TensorBoard


def events_in(folder: Path) -> Iterator[Event]:
    """Every event in a folder, checked record by record as TensorFlow's format says."""
    for path in sorted(folder.iterdir()):
        rest = path.read_bytes()
        while rest:
            length = int.from_bytes(rest[:8], "little")
            assert int.from_bytes(rest[8:12], "little") == masked_crc32c(rest[:8])
            yield Event.FromString(rest[12 : 12 + length])
            rest = rest[12 + length + 4 :]


def read(folder: Path) -> list[tuple[str, int, float]]:
    """Every scalar in a folder."""
    return [
        (value.tag, event.step, value.simple_value)
        for event in events_in(folder)
        for value in event.summary.value
    ]


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


def test_runs_of_one_second_and_engines_of_one_folder_keep_files_of_their_own(tmp_path):
    engine, evaluator = made(tmp_path), made(tmp_path)
    evaluator.name = "val"
    engine.run([4.0], max_epochs=1)
    evaluator.run([3.0])
    engine.run([4.0], max_epochs=2)
    written = set(read(tmp_path))
    for expected in (("train/loss", 1, 4.0), ("train/loss", 2, 4.0), ("val/loss", 1, 3.0)):
        assert expected in written


def test_one_object_serves_nested_engines(tmp_path):
    board = TensorBoard(tmp_path)
    trainer, evaluator = (Engine(lambda engine, batch: None, name=n) for n in ("train", "val"))
    for engine in (trainer, evaluator):
        engine.attach(board)
        engine.on(Events.EPOCH_COMPLETED)(lambda e: e.state.metrics.update(m=1.0))
    trainer.attach(Evaluation(evaluator, [0]))
    trainer.run([0], max_epochs=2)
    written = read(tmp_path)
    assert ("train/val_m", 2, 1.0) in written
    assert ("train/m", 2, 1.0) in written


def test_a_resumed_run_purges_what_was_written_beyond_it(tmp_path):
    first = made(tmp_path)
    saved = []
    first.on(Events.SAFE_POINT(once=1))(lambda e: saved.append(e.state_dict()))
    first.run([4.0, 2.0])
    second = made(tmp_path)
    second.load_state_dict(saved[0])
    second.run([4.0, 2.0])
    started = SessionLog.SessionStatus.Value("START")
    assert 2 in [e.step for e in events_in(tmp_path) if e.session_log.status == started]
