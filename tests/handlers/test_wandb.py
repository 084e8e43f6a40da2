"""W&B, by its own client in offline mode; what that wrote is read back by its own messages."""

from __future__ import annotations

import json
import math
import struct
import sys
import time

import pytest
import torch
from matplotlib.figure import Figure

from footplate import Engine, Events
from footplate.engine.stream.media import show
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.wandb import WandB
from tests.handlers.logging_losses import engine_with
from tests.handlers.repeated_evaluation import EXPECTED, WAYS, repeat

wandb = pytest.importorskip("wandb")
records = pytest.importorskip("wandb.proto.wandb_internal_pb2")

# the client's own: temporary folders and sockets that it leaves to the interpreter
pytestmark = [
    pytest.mark.filterwarnings("ignore::ResourceWarning"),
    pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning"),
]

BLOCK, HEADER, OWN_HEADER = 32768, 7, 7  # bytes of LevelDB's log format, and of the client's


def messages_in(path):
    """The client's messages in a ``.wandb`` file, which has the format of LevelDB's logs."""
    content, at, parts = path.read_bytes(), OWN_HEADER, []
    while at + HEADER <= len(content):
        left = BLOCK - at % BLOCK
        if left < HEADER:
            at += left
            continue
        _, length, kind = struct.unpack("<IHB", content[at : at + HEADER])
        parts.append(content[at + HEADER : at + HEADER + length])
        if len(parts[-1]) < length:  # it is being written
            return
        at += HEADER + length
        if kind in (1, 4):  # whole, or its last part
            yield records.Record.FromString(b"".join(parts))
            parts = []


def _row(history):
    row = {}
    for item in history.item:
        *outer, key = item.nested_key or [item.key]
        place = row.setdefault(outer[0], {}) if outer else row
        place[key] = json.loads(item.value_json)
    return row


class Written:
    """What a run of the client left."""

    def __init__(self, path):
        found = list(messages_in(path))
        kinds = [one.WhichOneof("record_type") for one in found]
        by_kind = {kind: [m for m, k in zip(found, kinds, strict=True) if k == kind]
                   for kind in kinds}  # fmt: skip
        self.run = by_kind["run"][0].run
        self.rows = [_row(one.history) for one in by_kind.get("history", [])]
        self.axes = {m.metric.glob_name: m.metric.step_metric for m in by_kind.get("metric", [])}
        (end,) = by_kind["exit"]
        self.exit_code = end.exit.exit_code

    @property
    def config(self):
        return {u.key: json.loads(u.value_json) for u in self.run.config.update if u.key[0] != "_"}

    def curve(self, name, axis="train/step"):
        return [(row[axis], row[name]) for row in self.rows if name in row]


def written(folder):
    """The runs in a folder, in the order in which they were begun."""
    paths = sorted(folder.glob("wandb/offline-run-*/*.wandb"), key=lambda one: one.stat().st_ctime)
    deadline = time.monotonic() + 30  # a process of the client's writes them
    while time.monotonic() < deadline:
        if all(any(m.HasField("exit") for m in messages_in(path)) for path in paths):
            break
        time.sleep(0.01)
    return [Written(path) for path in paths]


def sink_in(folder, *, silent=True, **options):
    quiet = wandb.Settings(silent=silent, x_disable_stats=True, x_disable_meta=True, console="off")
    return WandB("digits", mode="offline", dir=folder, settings=quiet, **options)


@pytest.mark.covers("F4")
def test_scalars_config_and_the_end_are_logged(tmp_path):
    sink = sink_in(tmp_path, hyper_parameters={"lr": 0.1, "model": {"width": [1, 2]}}, tags=["a"])
    trainer, tester = engine_with(sink), engine_with(sink, "test")
    evaluator = engine_with(sink, "val")
    trainer.attach(Evaluation(evaluator, [7.0]))
    trainer.run([4.0, math.nan, 1.0])
    tester.run([9.0])
    first, second = written(tmp_path)
    assert (first.run.project, list(first.run.tags)) == ("digits", ["a"])
    assert first.run.run_id == second.run.run_id == sink.run_id
    assert first.config == {"lr": 0.1, "model": {"width": [1, 2]}}
    assert first.axes == {"train/*": "train/step", "val/*": "val/step"}
    steps, values = zip(*first.curve("train/loss"), strict=True)
    assert steps == (1, 2, 3)
    assert (values[0], values[2]) == (4.0, 1.0)
    assert math.isnan(float(values[1]))
    assert [value for _, value in first.curve("val/loss", "val/step")] == [7.0]
    assert second.curve("test/loss", "test/step") == [(1, 9.0)]
    assert (first.exit_code, second.exit_code) == (0, 0)


@pytest.mark.covers("F4")
@pytest.mark.parametrize(("error", "code"), [(ZeroDivisionError, 1), (KeyboardInterrupt, 255)])
def test_an_error_is_its_end(tmp_path, error, code):
    sink = sink_in(tmp_path)
    engine = engine_with(sink)

    @engine.on(Events.ITERATION_STARTED(once=2))
    def fail():
        raise error

    with pytest.raises(error):
        engine.run([4.0, 2.0])
    (run,) = written(tmp_path)
    assert run.curve("train/loss") == [(1, 4.0)]
    assert run.exit_code == code
    assert sink.client is None


@pytest.mark.covers("F4")
def test_a_pause_is_no_success(tmp_path):
    engine = engine_with(sink_in(tmp_path))
    engine.on(Events.ITERATION_COMPLETED(once=1))(lambda e: e.interrupt())
    engine.run([4.0, 2.0])
    assert written(tmp_path)[0].exit_code == 255


@pytest.mark.covers("F4")
def test_a_resumed_run_is_the_same_run(tmp_path):
    def made():
        sink = sink_in(tmp_path)
        engine = engine_with(sink)
        return engine, sink, engine.attach(Checkpoint(tmp_path / "saved", torch.nn.Linear(1, 1)))

    engine, first, _ = made()
    engine.on(Events.ITERATION_STARTED(once=4))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run([4.0, 2.0], max_epochs=3)
    engine, second, checkpoint = made()
    assert second.run_id != first.run_id
    checkpoint.resume(engine)
    engine.run([4.0, 2.0])
    runs = written(tmp_path)
    assert {run.run.run_id for run in runs} == {first.run_id}
    # each process's rows are in its own folder; their numbers go on from the checkpoint's, so that
    # a server, which takes each number once, leaves out what is repeated
    assert runs[0].curve("train/loss", "_step") == [(0, 4.0), (1, 2.0), (2, 4.0)]
    assert runs[1].curve("train/loss", "_step") == [(2, 4.0), (3, 2.0), (4, 4.0), (5, 2.0)]
    assert runs[1].curve("train/loss")[0] == (3, 4.0)


@pytest.mark.covers("F4")
def test_a_trainer_that_starts_anew_again_has_a_new_run(tmp_path):
    sink = sink_in(tmp_path)
    trainer, tester = engine_with(sink), engine_with(sink, "test")
    ids = []
    for engine, loss in ((trainer, 1.0), (tester, 8.0), (trainer, 2.0)):
        engine.run([loss])
        ids.append(sink.run_id)
    assert ids[0] == ids[1] != ids[2]
    runs = written(tmp_path)
    assert [run.run.run_id for run in runs] == ids
    assert runs[2].curve("train/loss", "_step") == [(0, 2.0)]


@pytest.mark.covers("F4")
def test_within_an_evaluator_alone_it_is_opened_once_in_a_run(tmp_path):
    trainer = Engine(lambda e, b: None, name="train")
    trainer.attach(Evaluation(engine_with(sink_in(tmp_path), "val"), [7.0]))
    trainer.run([0], max_epochs=3)
    (run,) = written(tmp_path)
    assert run.curve("val/loss", "val/step") == [(1, 7.0), (2, 7.0), (3, 7.0)]


@pytest.mark.covers("F4")
def test_rows_that_are_there_are_left_out(tmp_path, capsys):
    sink = sink_in(tmp_path, silent=False)
    engine = engine_with(sink)
    # as a server would say of a run that was killed two rows behind the checkpoint
    engine.on(Events.STARTED)(lambda: [sink.client.log({"old": n}) for n in range(2)])
    engine.run([4.0, 2.0, 1.0])
    (run,) = written(tmp_path)
    assert run.curve("train/loss", "_step") == [(2, 1.0)]
    assert "less than the current step" not in capsys.readouterr().err  # once for each of them


@pytest.mark.covers("F10")
def test_media_are_shown(tmp_path):
    figure = Figure((2, 1), 100)

    def step(engine, batch):
        show(engine, "image", "one", torch.zeros(4, 6, 3, dtype=torch.uint8))
        show(engine, "image", "two", torch.zeros(2, 4, 6, 3, dtype=torch.uint8))
        show(engine, "figure", "curve", figure)
        show(engine, "histogram", "weights", torch.tensor([0.0, 1.0, math.nan]))
        show(engine, "text", "said", "<b>")
        show(engine, "table", "scores", [{"a": 1, "b": "x"}])

    engine_with(sink_in(tmp_path), step=step).run([0])
    (run,) = written(tmp_path)
    shown = {key.removeprefix("train/"): value for row in run.rows for key, value in row.items()
             if isinstance(value, dict)}  # fmt: skip
    assert {name: value["_type"] for name, value in shown.items()} == {
        "one": "images/separated", "two": "images/separated", "curve": "images/separated",
        "weights": "histogram", "said": "html-file", "scores": "table-file",
    }  # fmt: skip
    assert [shown[name]["count"] for name in ("one", "two")] == [1, 2]
    assert (shown["curve"]["height"], shown["curve"]["width"]) == (100, 200)
    assert sum(shown["weights"]["values"]) == 2
    files = next(tmp_path.glob("wandb/offline-run-*/files"))
    table = json.loads((files / shown["scores"]["path"]).read_text())
    assert (table["columns"], table["data"]) == (["a", "b"], [[1, "x"]])
    assert "&lt;b&gt;" in (files / shown["said"]["path"]).read_text()


def test_a_run_of_somebody_else_is_left_alone(tmp_path):
    theirs = wandb.init(project="theirs", mode="offline", dir=tmp_path / "theirs")
    try:
        engine_with(sink_in(tmp_path / "ours")).run([4.0])
        theirs.log({"x": 1})
    finally:
        theirs.finish()
    assert written(tmp_path / "ours")[0].run.project == "digits"
    assert written(tmp_path / "theirs")[0].rows[0]["x"] == 1


@pytest.mark.covers("F4")
def test_a_missing_package_is_told_with_its_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "wandb", None)
    with pytest.raises(
        ImportError, match=r"WandB needs wandb, .* pip install 'footplate\[wandb\]'"
    ):
        WandB("digits")


@pytest.mark.parametrize("name", ["step", "epoch"])
@pytest.mark.parametrize("of", ["scalar", "text"])
def test_what_is_named_as_the_axis_or_the_epoch_is_refused(tmp_path, name, of):
    def step(engine, batch):
        return {name: batch} if of == "scalar" else show(engine, "text", name, "x")

    engine = engine_with(sink_in(tmp_path), step=step)
    with pytest.raises(ValueError, match=f"named '{name}', but train/{name} goes with each row"):
        engine.run([1.0])


@pytest.mark.covers("F4", "G4")
@pytest.mark.parametrize("way", WAYS)
def test_rows_of_an_evaluation_that_comes_again_have_their_numbers_again(tmp_path, way):
    sink = repeat(tmp_path / "saved", lambda: sink_in(tmp_path), way, both=True)
    # a server takes each number once
    rows = {row["_step"]: row for run in written(tmp_path) for row in run.rows}
    found = [(row["val/step"], row["val/loss"]) for _, row in sorted(rows.items())
             if "val/loss" in row]  # fmt: skip
    assert found == EXPECTED[way]
    assert sorted(rows) == list(range(sink.place()))
