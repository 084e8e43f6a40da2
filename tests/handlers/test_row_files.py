"""CSV and JSONL: what is written, and what becomes of files that are there already."""

from __future__ import annotations

import csv
import math
import os

import pandas
import pytest
import torch

from footplate import Engine, Events
from footplate.engine.stream.journal import Journal
from footplate.handlers.csv_file import CSV
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.jsonl import JSONL
from footplate.handlers.scalars import Scalars
from tests.handlers.repeated_evaluation import EXPECTED, WAYS, made, repeat

KINDS = [(CSV, "run.csv"), (JSONL, "run.jsonl")]
each_kind = pytest.mark.parametrize(("sink", "file"), KINDS)


def engine_with(*sinks, name="train", step=lambda engine, batch: {"loss": batch}):
    engine = Engine(step, name=name)
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=1), epoch_suffix=None))
    for sink in sinks:
        engine.attach(sink)
    return engine


def frame_of(path):
    """A file as pandas reads it."""
    if path.suffix == ".csv":
        return pandas.read_csv(path)
    return pandas.read_json(path, lines=True)


def rows_of(path):
    """Engine, step and loss of each row."""
    frame = frame_of(path)
    return list(zip(frame["engine"], frame["step"], frame["loss"], strict=True))


@each_kind
@pytest.mark.covers("F4")
def test_a_row_for_each_log_point(tmp_path, sink, file):
    path = tmp_path / "deep" / file
    engine = engine_with(sink(path), step=lambda e, b: e.log("seen", b, on="epoch") or {"loss": b})
    engine.run([4.0, 2.5], max_epochs=2)
    frame = frame_of(path)
    columns = ["run", "engine", "on", "step", "epoch", "wall_time", "loss", "seen"]
    assert list(frame.columns) == columns
    assert list(frame["on"]) == ["iteration", "iteration", "epoch"] * 2
    assert list(frame["step"]) == [1, 2, 2, 3, 4, 4]
    assert list(frame["epoch"]) == [1, 1, 1, 2, 2, 2]
    assert list(frame["loss"].dropna()) == [4.0, 2.5, 4.0, 2.5]
    assert list(frame["seen"].dropna()) == [3.25, 3.25]
    assert frame["wall_time"].is_monotonic_increasing


@each_kind
@pytest.mark.covers("F4")
def test_a_row_is_there_at_once(tmp_path, sink, file):
    engine, seen = engine_with(sink(tmp_path / file)), []

    @engine.on(Events.ITERATION_COMPLETED, priority="LOWEST")
    def look():
        seen.append(len((tmp_path / file).read_text().splitlines()))

    engine.run([1.0, 2.0, 3.0])
    assert [count - seen[0] for count in seen] == [0, 1, 2]


@each_kind
@pytest.mark.covers("F5")
def test_what_is_no_number_is_read_as_such(tmp_path, sink, file):
    engine_with(sink(tmp_path / file)).run([math.nan, math.inf, -math.inf, 1e-320, 0.1 + 0.2])
    found = frame_of(tmp_path / file)["loss"]
    assert math.isnan(found[0])
    assert list(found[1:3]) == [math.inf, -math.inf]
    if sink is CSV:
        with (tmp_path / file).open(newline="") as opened:
            exact = [float(row["loss"]) for row in csv.DictReader(opened)]
    else:
        exact = [entry["loss"] for entry in Journal.read(tmp_path / file)]
    assert exact[3:] == [1e-320, 0.1 + 0.2]


@each_kind
@pytest.mark.parametrize("name", ["run", "engine", "on", "step", "epoch", "wall_time"])
def test_a_scalar_named_as_a_column_is_refused(tmp_path, sink, file, name):
    engine = engine_with(sink(tmp_path / file), step=lambda e, b: {name: b})
    with pytest.raises(ValueError, match=f"a scalar is named '{name}'.*give it another name"):
        engine.run([1.0])


def test_names_with_commas_and_quotes_are_columns_like_others(tmp_path):
    names = ["a,b", 'say "x"', "line\nbreak"]
    engine = engine_with(CSV(tmp_path / "run.csv"), step=lambda e, b: dict.fromkeys(names, b))
    engine.run([1.0, 2.0])
    frame = frame_of(tmp_path / "run.csv")
    assert list(frame.columns)[6:] == names
    assert [list(frame[name]) for name in names] == [[1.0, 2.0]] * 3


def test_the_csv_is_replaced_as_a_whole_when_it_gets_wider(tmp_path):
    path, seen = tmp_path / "run.csv", []
    engine = engine_with(CSV(path), step=lambda e, b: {f"x{n}": b for n in range(int(b))})

    @engine.on(Events.ITERATION_COMPLETED, priority="LOWEST")
    def look():
        seen.append((path.stat().st_ino, len(os.listdir(tmp_path))))

    engine.run([1.0, 1.0, 2.0])
    assert seen[0] == seen[1] != seen[2]
    assert {count for _, count in seen} == {1}
    assert list(frame_of(path)["x1"].isna()) == [True, True, False]


# ------------------------------------------------------------------ runs anew, and later engines


@each_kind
@pytest.mark.covers("F4")
def test_a_run_that_starts_anew_sets_the_old_file_aside(tmp_path, sink, file):
    for loss in (1.0, 2.0, 3.0):
        engine_with(sink(tmp_path / file)).run([loss])
    suffix = file.removeprefix("run")
    found = {one.name: rows_of(one) for one in tmp_path.iterdir()}
    assert found == {
        f"run.1{suffix}": [("train", 1, 1.0)],
        f"run.2{suffix}": [("train", 1, 2.0)],
        f"run{suffix}": [("train", 1, 3.0)],
    }


@each_kind
@pytest.mark.covers("F4")
def test_a_tester_adds_to_the_file_and_a_trainer_that_runs_anew_begins_another(
    tmp_path, sink, file
):
    shared = sink(tmp_path / file)
    trainer, tester = engine_with(shared), engine_with(shared, name="test")
    trainer.run([1.0, 2.0])
    tester.run([8.0])
    tester.run([9.0])
    first = [("train", 1, 1.0), ("train", 2, 2.0), ("test", 1, 8.0), ("test", 1, 9.0)]
    assert rows_of(tmp_path / file) == first
    trainer.run([5.0])
    assert rows_of(tmp_path / file) == [("train", 1, 5.0)]
    assert rows_of(tmp_path / file.replace(".", ".1.")) == first


@each_kind
def test_a_nested_evaluator_writes_to_the_same_file(tmp_path, sink, file):
    shared = sink(tmp_path / file)
    trainer, evaluator = engine_with(shared), engine_with(shared, name="val")
    trainer.attach(Evaluation(evaluator, [7.0]))
    trainer.run([1.0], max_epochs=2)
    found = [row[0] for row in rows_of(tmp_path / file) if not math.isnan(row[2])]
    assert found == ["train", "val", "train", "val"]
    assert len(list(tmp_path.iterdir())) == 1


@each_kind
@pytest.mark.covers("F4")
def test_a_sink_of_a_nested_evaluator_alone_starts_anew_with_the_trainer(tmp_path, sink, file):
    for epochs in (3, 2):
        trainer = Engine(lambda e, b: None, name="train")
        trainer.attach(Evaluation(engine_with(sink(tmp_path / file), name="val"), [7.0]))
        trainer.run([0, 0], max_epochs=epochs)
    assert [step for _, step, _ in rows_of(tmp_path / file)] == [2, 4]
    assert [step for _, step, _ in rows_of(tmp_path / file.replace(".", ".1."))] == [2, 4, 6]
    assert set(frame_of(tmp_path / file)["run"]) == {"train"}


# ------------------------------------------------------------------ runs that go on


@each_kind
@pytest.mark.covers("F4")
def test_a_run_that_goes_on_leaves_what_it_does_not_repeat(tmp_path, sink, file):
    def step(engine, batch):
        engine.log("late", batch, on="epoch")
        return {"loss": batch}

    first = engine_with(sink(tmp_path / file), step=step)
    saved = []
    first.on(Events.SAFE_POINT(once=3))(lambda e: saved.append(e.state_dict()))
    first.run([1.0, 2.0], max_epochs=3)
    second = engine_with(sink(tmp_path / file), step=step)
    second.load_state_dict(saved[0])
    second.run([1.0, 2.0])
    frame = frame_of(tmp_path / file)
    assert list(zip(frame["on"], frame["step"], strict=True)) == [
        ("iteration", 1), ("iteration", 2), ("epoch", 2), ("iteration", 3), ("iteration", 4),
        ("epoch", 4), ("iteration", 5), ("iteration", 6), ("epoch", 6),
    ]  # fmt: skip


@each_kind
@pytest.mark.covers("F4")
@pytest.mark.parametrize("resumed", [True, False])
def test_what_a_runs_end_wrote_goes_if_it_comes_again(tmp_path, sink, file, resumed):
    def made():
        return engine_with(sink(tmp_path / file), step=lambda e, b: e.log("mean", b, on="epoch"))

    engine, saved = made(), []
    engine.on(Events.SAFE_POINT(once=2))(lambda e: saved.append(e.state_dict()))
    engine.run([1.0, 2.0, 6.0], max_iters=2)
    frame = frame_of(tmp_path / file)
    ended = ("run", 2, 1.5)
    assert list(zip(frame["on"], frame["step"], frame["mean"], strict=True)) == [ended]
    if resumed:
        engine = made()
        engine.load_state_dict(saved[0])
    engine.run([1.0, 2.0, 6.0], max_iters=3)
    frame = frame_of(tmp_path / file)
    found = list(zip(frame["on"], frame["step"], frame["mean"], strict=True))
    # the epoch goes on where it was saved, and begins anew where the run had ended
    assert found == ([("epoch", 3, 3.0)] if resumed else [ended, ("run", 3, 1.0)])


@each_kind
@pytest.mark.covers("F4")
@pytest.mark.parametrize("event", [Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED])
def test_what_an_error_has_repeated_is_there_once(tmp_path, sink, file, event):
    def step(engine, batch):
        engine.log("late", batch, on="epoch")
        return {"loss": batch}

    engine, fail = engine_with(sink(tmp_path / file), step=step), iter([False, True])
    engine.on(event, priority="LOWEST")(lambda: 1 / 0 if next(fail, False) else None)
    with pytest.raises(ZeroDivisionError):
        engine.run([1.0, 2.0], max_epochs=2)
    engine.run()
    frame = frame_of(tmp_path / file)
    assert list(zip(frame["on"], frame["step"], strict=True)) == [
        ("iteration", 1), ("iteration", 2), ("epoch", 2),
        ("iteration", 3), ("iteration", 4), ("epoch", 4),
    ]  # fmt: skip


@each_kind
@pytest.mark.covers("F4")
def test_an_engine_that_goes_on_leaves_the_rows_of_anothers_run(tmp_path, sink, file):
    shared = sink(tmp_path / file)
    trainer, evaluator = engine_with(shared), engine_with(shared, name="val")
    trainer.attach(Evaluation(evaluator, [7.0]))
    trainer.run([1.0] * 4)
    tester = engine_with(shared, name="test")
    tester.on(Events.ITERATION_COMPLETED(once=2))(lambda engine: engine.interrupt())
    tester.run([8.0] * 3)
    tester.run()
    frame = frame_of(tmp_path / file)
    found = list(zip(frame["run"], frame["engine"], frame["step"], strict=True))
    assert found == [
        *(("train", "train", step) for step in (1, 2, 3, 4)), ("train", "val", 4),
        ("train", "train", 4), *(("test", "test", step) for step in (1, 2, 3)),
    ]  # fmt: skip


@each_kind
@pytest.mark.covers("F4")
def test_a_sink_of_a_nested_evaluator_alone_goes_on_with_the_trainer(tmp_path, sink, file):
    saved = []
    for resumed in (False, True):
        trainer = Engine(lambda e, b: None, name="train")
        trainer.attach(Evaluation(engine_with(sink(tmp_path / file), name="val"), [7.0]))
        trainer.on(Events.SAFE_POINT(once=2))(lambda e: saved.append(e.state_dict()))
        if resumed:
            trainer.load_state_dict(saved[0])
        trainer.run([0, 0], max_epochs=None if resumed else 3)
        assert [step for _, step, _ in rows_of(tmp_path / file)] == [2, 4, 6]
    assert len(list(tmp_path.iterdir())) == 1


@pytest.mark.covers("F4")
@pytest.mark.parametrize("torn", ["train,train,i", "train,train,iteration,3,1,1.0,4", '"tra', "\0"])
def test_the_half_of_a_row_is_dropped(tmp_path, torn):
    path = tmp_path / "run.csv"
    first, saved = engine_with(CSV(path)), []
    first.on(Events.SAFE_POINT(once=2))(lambda e: saved.append(e.state_dict()))
    first.run([1.0, 2.0, 3.0], max_epochs=1)
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3]) + torn)
    second = engine_with(CSV(path))
    second.load_state_dict(saved[0])
    second.run([1.0, 2.0, 3.0])
    assert rows_of(path) == [("train", 1, 1.0), ("train", 2, 2.0), ("train", 3, 3.0)]


@pytest.mark.covers("F4")
def test_a_number_that_is_torn_is_no_number(tmp_path):
    path = tmp_path / "run.csv"
    first, saved = engine_with(CSV(path)), []
    first.on(Events.SAFE_POINT(once=2))(lambda e: saved.append(e.state_dict()))
    first.run([1.0, 2.25, 3.0])
    lines = path.read_text().splitlines(keepends=True)
    path.write_text("".join(lines[:3])[:-2])  # it ends with 2.2
    second = engine_with(CSV(path))
    second.load_state_dict(saved[0])
    second.run([1.0, 2.25, 3.0])
    assert rows_of(path) == [("train", 1, 1.0), ("train", 3, 3.0)]


def test_a_file_of_another_kind_is_not_gone_on_with(tmp_path):
    path = tmp_path / "run.csv"
    path.write_text("epoch,loss\n1,2\n")
    engine = engine_with(CSV(path))
    engine.load_state_dict({"epoch_length": 4, "iteration": 2, "max_epochs": 1}, strict=False)
    with pytest.raises(ValueError, match=r"begins with 'epoch,loss' in place of 'run,engine,on"):
        engine.run([1.0] * 4)
    assert path.read_text() == "epoch,loss\n1,2\n"


@each_kind
@pytest.mark.covers("F4")
def test_the_file_is_closed_on_an_error_and_the_client_is_at_hand(tmp_path, sink, file):
    writer, clients = sink(tmp_path / file), []
    engine = engine_with(writer)
    engine.on(Events.ITERATION_STARTED(once=2))(lambda: clients.append(writer.client) or 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run([torch.tensor(1.0), 2.0])
    assert writer.client is None
    with pytest.raises(ValueError, match="closed"):
        clients[0].write("x") if sink is CSV else clients[0].append({})
    assert rows_of(tmp_path / file) == [("train", 1, 1.0)]


# ------------------------------------------------------------------ evaluations that come again


@each_kind
@pytest.mark.covers("F4", "G4")
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_an_evaluation_that_comes_again_is_there_once(tmp_path, sink, file, way, both):
    repeat(tmp_path / "saved", lambda: sink(tmp_path / file), way, both=both)
    rows = [row for row in rows_of(tmp_path / file) if row[0] == "val" and not math.isnan(row[2])]
    assert [row[1:] for row in rows] == EXPECTED[way]
    if both:
        frame = frame_of(tmp_path / file)
        own = frame[(frame["engine"] == "train") & (frame["on"] == "iteration")]
        assert list(own["step"]) == [1, 2, 3, 4]


@each_kind
@pytest.mark.covers("F4")
@pytest.mark.parametrize("both", [True, False])
def test_an_evaluation_that_was_cut_is_there_once_when_its_process_goes_on(
    tmp_path, sink, file, both
):
    repeat(tmp_path / "saved", lambda: sink(tmp_path / file), "cut", both=both, in_process=True)
    rows = [row for row in rows_of(tmp_path / file) if row[0] == "val" and not math.isnan(row[2])]
    assert [row[1:] for row in rows] == EXPECTED["cut"]


@each_kind
@pytest.mark.covers("F4")
def test_a_run_goes_on_with_a_sink_that_it_did_not_have_and_without_one_that_it_had(
    tmp_path, sink, file
):
    had, new = sink(tmp_path / "had" / file), sink(tmp_path / "new" / file)
    trainer, _ = made(tmp_path / "saved", had, both=True)
    trainer.run([5.0, 6.0], max_epochs=1)
    new.name = "another"
    trainer, checkpoint = made(tmp_path / "saved", new, both=True)
    checkpoint.resume(trainer)
    trainer.run([5.0, 6.0], max_epochs=2)
    trainer, checkpoint = made(tmp_path / "saved", sink(tmp_path / "had" / file), both=True)
    checkpoint.resume(trainer)  # what was kept of the first is still known
    trainer.run([5.0, 6.0], max_epochs=3)
    for folder, steps in (("had", [1, 2, 5, 6]), ("new", [3, 4])):
        frame = frame_of(tmp_path / folder / file)
        own = frame[(frame["engine"] == "train") & (frame["on"] == "iteration")]
        assert list(own["step"]) == steps
