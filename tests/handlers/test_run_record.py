"""What a run leaves in its folder: identity, phases, tables and samples."""

from __future__ import annotations

import argparse
import json
import time

import pytest
import torch

from footplate import Engine, Events
from footplate.engine.stream.journal import Journal
from footplate.engine.stream.scalars import METRICS_COMPUTED
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.run_record import RunRecord


def told(folder) -> dict:
    return json.loads((folder / "run.json").read_text())


def spans(folder) -> list[dict]:
    """Phases but for what a safe point took, which is one on a machine that is busy enough."""
    return [one for one in Journal.read(folder / "phases.jsonl") if one["what"] != "saving"]


def phases(folder) -> list[tuple[str, int]]:
    return [(one["what"], one["epoch"]) for one in spans(folder)]


def tables(folder) -> list[dict]:
    return json.loads((folder / "tables.json").read_text())["tables"]


def noted(engine: Engine, **metrics) -> None:
    engine.register_events(METRICS_COMPUTED)
    engine.on(Events.EPOCH_COMPLETED)(
        lambda e: e.fire_event(METRICS_COMPUTED, metrics=metrics, on="epoch")
    )


# ---------------------------------------------------------------------- the run


@pytest.mark.covers("F9")
def test_a_run_says_what_it_is_before_it_does_anything(tmp_path):
    engine = Engine(lambda engine, batch: None, name="train")
    engine.attach(RunRecord(tmp_path, name="mine", config={"lr": 0.1}, classes=["a", 2]))
    seen = []
    engine.on(Events.STARTED)(lambda: seen.append(told(tmp_path)))
    engine.run([0, 1], max_epochs=2)
    (first,) = seen
    assert (first["name"], first["engine"], first["config"]) == ("mine", "train", {"lr": 0.1})
    assert (first["classes"], first["max_epochs"]) == (["a", "2"], 2)
    assert first["versions"]["torch"] == torch.__version__
    assert first["plan"]["train"] == engine.describe().as_dicts()
    assert "reason" not in first["sessions"][0]
    last = told(tmp_path)
    assert (last["iteration"], last["epoch"]) == (4, 2)
    assert last["sessions"][0]["reason"] == "completed"
    assert last["sessions"][0]["ended"] >= last["sessions"][0]["began"]


def test_the_name_is_the_folders_by_default(tmp_path):
    engine = Engine(lambda engine, batch: None)
    engine.attach(RunRecord(tmp_path / "new" / "digits"))
    engine.run([0])
    assert told(tmp_path / "new" / "digits")["name"] == "digits"


@pytest.mark.covers("F9")
def test_an_error_is_kept_with_its_traceback(tmp_path):
    def step(engine, batch):
        raise ZeroDivisionError("no <way>")

    engine = Engine(step, name="train")
    engine.attach(RunRecord(tmp_path))
    with pytest.raises(ZeroDivisionError):
        engine.run([0])
    session = told(tmp_path)["sessions"][-1]
    assert session["reason"] == "error"
    assert session["error"] == "ZeroDivisionError: no <way>"
    assert "in step" in session["traceback"]


def test_an_interruption_is_one_session_and_going_on_another(tmp_path):
    engine = Engine(lambda engine, batch: None, name="train")
    engine.attach(RunRecord(tmp_path))
    engine.on(Events.ITERATION_COMPLETED(once=3))(lambda e: e.interrupt())
    engine.run([0, 1], max_epochs=3)
    engine.run([0, 1], max_epochs=3)
    sessions = told(tmp_path)["sessions"]
    assert [one["reason"] for one in sessions] == ["interrupted", "completed"]
    assert [one["iteration"] for one in sessions] == [0, 3]
    assert [one["epoch"] for one in spans(tmp_path)] == [1, 2, 2, 3]


@pytest.mark.covers("F9")
def test_a_run_that_is_resumed_leaves_nothing_twice(tmp_path):
    saved = []

    def made() -> Engine:
        engine = Engine(lambda engine, batch: None, name="train")
        noted(engine, vector=torch.arange(3))
        engine.attach(RunRecord(tmp_path))
        return engine

    engine = made()
    engine.on(Events.SAFE_POINT(once=2))(lambda e: saved.append(e.state_dict()))
    engine.run([0], max_epochs=4)
    engine = made()
    engine.load_state_dict(saved[0])
    engine.run([0])
    assert phases(tmp_path) == [("train", 1), ("train", 2), ("train", 3), ("train", 4)]
    assert [one["step"] for one in tables(tmp_path)] == [4]
    assert [one["iteration"] for one in told(tmp_path)["sessions"]] == [0, 2]


def test_a_new_run_sets_the_files_of_another_aside(tmp_path):
    for _ in range(2):
        engine = Engine(lambda engine, batch: None, name="train")
        engine.attach(RunRecord(tmp_path))
        engine.run([0])
    assert len(told(tmp_path)["sessions"]) == 1
    assert (tmp_path / "run.1.json").exists()
    assert len(Journal.read(tmp_path / "phases.1.jsonl")) == 1


def test_a_tester_that_runs_later_adds_its_results(tmp_path):
    record = RunRecord(tmp_path)
    trainer, tester = (Engine(lambda engine, batch: None, name=name) for name in ("train", "test"))
    trainer.attach(record)
    tester.attach(record)
    trainer.run([0, 1, 2])
    tester.state.metrics["accuracy"] = torch.tensor(0.5)
    tester.run([0])
    found = told(tmp_path)
    assert (found["engine"], found["iteration"]) == ("train", 3)
    assert found["results"]["test"] == {"accuracy": 0.5}
    assert [one["engine"] for one in found["sessions"]] == ["train", "test"]
    assert phases(tmp_path) == [("train", 1), ("test", 1)]


@pytest.mark.covers("F9")
def test_a_tester_of_another_process_adds_its_results(tmp_path):
    for name in ("train", "test"):
        engine = Engine(lambda engine, batch: None, name=name)
        engine.attach(RunRecord(tmp_path, config={"lr": 0.1} if name == "train" else None))
        engine.run([0, 1, 2] if name == "train" else [0])
    found = told(tmp_path)
    assert (found["engine"], found["iteration"], found["config"]) == ("train", 3, {"lr": 0.1})
    assert [one["engine"] for one in found["sessions"]] == ["train", "test"]
    assert phases(tmp_path) == [("train", 1), ("test", 1)]
    assert not list(tmp_path.glob("*.1.*"))


@pytest.mark.covers("F9")
@pytest.mark.parametrize("nested", [True, False])
def test_a_record_is_about_the_training_also_where_an_evaluation_came_first(tmp_path, nested):
    record = RunRecord(tmp_path)
    trainer, val = (Engine(lambda engine, batch: None, name=name) for name in ("train", "val"))
    trainer.attach(record)
    val.attach(record)
    if nested:
        trainer.attach(Evaluation(val, [0, 1, 2]))
    val.run([0, 1, 2])
    assert told(tmp_path)["engine"] == "val"
    trainer.run([0], max_epochs=2)
    val.run([0, 1, 2])
    found = told(tmp_path)
    assert (found["engine"], found["epoch"], found["max_epochs"]) == ("train", 2, 2)
    assert [one["engine"] for one in found["sessions"]] == ["val", "train", "val"]


# ---------------------------------------------------------------------- phases


@pytest.mark.covers("F9")
def test_epochs_evaluations_and_saves_are_noted_with_their_times(tmp_path):
    record = RunRecord(tmp_path)
    val = Engine(lambda engine, batch: time.sleep(0.02), name="val")
    trainer = Engine(lambda engine, batch: time.sleep(0.01), name="train")
    trainer.attach(Evaluation(val, [0]))
    model = torch.nn.Linear(2, 2)
    trainer.attach(Checkpoint(tmp_path / "checkpoints", model))
    slow = trainer.on(Events.SAFE_POINT(every=2))
    slow(lambda: time.sleep(0.01))  # whatever the disk does
    trainer.attach(record)
    val.attach(record)
    trainer.run([0, 1], max_epochs=2)
    lines = Journal.read(tmp_path / "phases.jsonl")
    whats = [one["what"] for one in lines]
    assert [what for what in whats if what != "saving"] == ["train", "val", "train", "val"]
    slept = [one for one in lines if one["what"] == "saving" and one["seconds"] >= 0.01]
    assert [one["epoch"] for one in slept] == [1, 2]
    took = {one["what"]: one["seconds"] for one in lines}
    assert 0.02 <= took["train"] < 1
    assert 0.02 <= took["val"] < 1
    assert all(one["seconds"] < 1 for one in slept)


def test_an_evaluation_by_an_engine_that_is_not_attached_is_noted_too(tmp_path):
    val = Engine(lambda engine, batch: time.sleep(0.02), name="val")
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(Evaluation(val, [0]))
    trainer.attach(RunRecord(tmp_path))
    trainer.run([0])
    assert phases(tmp_path) == [("train", 1), ("evaluation", 1)]


def test_what_lies_within_an_epoch_is_not_its_own_time(tmp_path):
    record = RunRecord(tmp_path)
    val = Engine(lambda engine, batch: time.sleep(0.05), name="val")
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(Evaluation(val, [0], Events.ITERATION_COMPLETED(every=1)))
    trainer.attach(record)
    val.attach(record)
    trainer.run([0, 1])
    (epoch,) = [o for o in Journal.read(tmp_path / "phases.jsonl") if o["what"] == "train"]
    assert epoch["seconds"] >= 0.1
    assert epoch["own"] < epoch["seconds"] - 0.09


def test_an_epoch_that_is_cut_is_noted_all_the_same(tmp_path):
    def step(engine, batch):
        if engine.state.iteration == 3:
            raise RuntimeError("end")

    engine = Engine(step, name="train")
    engine.attach(RunRecord(tmp_path))
    with pytest.raises(RuntimeError):
        engine.run([0, 1], max_epochs=2)
    assert [what for what, _ in phases(tmp_path)] == ["train", "train"]


# ---------------------------------------------------------------------- what was measured


@pytest.mark.covers("F9")
def test_matrices_and_vectors_are_noted_and_single_numbers_are_not(tmp_path):
    engine = Engine(lambda engine, batch: None, name="val")
    noted(
        engine,
        confusion=torch.tensor([[3, 1], [0, 4]]),
        recall=torch.tensor([0.75, 1.0]),
        listed=[1, 2.5],
        accuracy=0.5,
        one=torch.tensor([1.0]),
        text="no",
        cube=torch.zeros(2, 2, 2),
        huge=torch.zeros(2, 1001),
    )
    engine.attach(RunRecord(tmp_path))
    engine.run([0])
    assert {one["name"]: one.get("value") for one in tables(tmp_path)} == {
        "confusion": [[3, 1], [0, 4]],
        "recall": [0.75, 1.0],
        "listed": [1, 2.5],
        "huge": None,
    }
    assert [one["shape"] for one in tables(tmp_path) if one["name"] == "huge"] == [[2, 1001]]


@pytest.mark.covers("F9")
def test_the_last_tables_alone_are_kept_and_none_twice(tmp_path):
    record = RunRecord(tmp_path)
    val, trainer = (Engine(lambda engine, batch: None, name=name) for name in ("val", "train"))
    noted(val, confusion=torch.eye(3))
    own = trainer.on(Events.ITERATION_COMPLETED(every=1))
    own(lambda: other.run([0]))  # nobody hands its tables on
    other = Engine(lambda engine, batch: None, name="other")
    noted(other, confusion=torch.ones(2, 2))
    evaluation = Evaluation(val, {"a": [0], "b": [1]})
    val.on(Events.EPOCH_COMPLETED)(
        lambda e: e.state.metrics.update(confusion=torch.eye(3) * (1 + e.state.batch))
    )
    trainer.attach(evaluation)
    for engine in (trainer, val, other):
        engine.attach(record)
    trainer.run([0, 1], max_epochs=5)
    found = [(one["engine"], one["name"], one["epoch"]) for one in tables(tmp_path)]
    assert sorted(found) == [
        ("other", "confusion", 5),
        ("train", "val_a_confusion", 5),
        ("train", "val_b_confusion", 5),
    ]


def sampled(tmp_path, batches, step=lambda engine, batch: batch[1:], **options) -> dict | None:
    engine = Engine(step, name="val")
    engine.attach(RunRecord(tmp_path, **options))
    engine.run(batches)
    path = tmp_path / "predictions.json"
    return json.loads(path.read_text())["val"] if path.exists() else None


@pytest.mark.covers("F9")
@pytest.mark.parametrize("shape", [(1, 8, 8), (3, 8, 8), (8, 8), (1, 400, 300)])
def test_samples_of_predictions_come_with_their_pictures_and_the_mistakes_first(tmp_path, shape):
    scores = torch.eye(3)[[0, 1, 2, 0]] * 5
    labels = torch.tensor([0, 1, 1, 0])
    found = sampled(tmp_path, [(torch.rand(4, *shape), scores, labels)])
    assert (found["kind"], found["looked_at"], found["mistakes"]) == ("classes", 4, 1)
    pairs = [(one["predicted"], one["actual"]) for one in found["samples"]]
    assert pairs == [(2, 1), (0, 0), (1, 1), (0, 0)]
    assert all(one["image"].startswith("data:image/png;base64,") for one in found["samples"])
    assert all(0.9 < one["confidence"] < 1 for one in found["samples"])
    assert (tmp_path / "predictions.json").stat().st_size < 100_000


def test_pictures_are_those_of_the_samples(tmp_path):
    import base64
    import io

    from PIL import Image

    images = torch.zeros(2, 3, 2, 2, dtype=torch.uint8)
    images[1, 0] = 200  # the second is red, and a mistake
    found = sampled(tmp_path, [(images, torch.eye(2), torch.tensor([0, 0]))])
    content = base64.b64decode(found["samples"][0]["image"].partition(",")[2])
    with Image.open(io.BytesIO(content)) as image:
        assert image.convert("RGB").getpixel((0, 0)) == (200, 0, 0)


def test_numbers_are_sampled_as_pairs(tmp_path):
    y = torch.tensor([[1.0], [2.0]])
    found = sampled(tmp_path, [(None, y + 0.5, y), (None, y, y)], predictions=3)
    assert found["kind"] == "numbers"
    assert found["pairs"] == [[1.5, 1.0], [2.5, 2.0], [1.0, 1.0]]


@pytest.mark.parametrize(
    "output",
    [
        {"loss": torch.tensor(1.0)},
        None,
        torch.tensor([1.0]),
        (torch.rand(2, 3), torch.rand(2, 3)),
        (torch.rand(2, 3, 4), torch.zeros(2, 4, dtype=torch.long)),
        ("a", "b"),
        (torch.tensor(1.0), torch.tensor(1.0)),
    ],
)
def test_outputs_that_are_no_such_pair_are_let_pass(tmp_path, output):
    assert sampled(tmp_path, [0], lambda engine, batch: output) is None


@pytest.mark.covers("F9")
def test_samples_of_a_training_are_those_of_its_last_epoch(tmp_path):
    def step(engine, batch):
        right = engine.state.epoch == 3
        return torch.eye(2), torch.tensor([0, 1] if right else [1, 0])

    engine = Engine(step, name="train")
    engine.attach(RunRecord(tmp_path))
    engine.run([0, 1], max_epochs=3)
    found = json.loads((tmp_path / "predictions.json").read_text())["train"]
    assert (found["epoch"], found["looked_at"], found["mistakes"]) == (3, 4, 0)


def test_samples_of_each_of_several_data_are_kept(tmp_path):
    record = RunRecord(tmp_path)
    val = Engine(lambda engine, batch: (torch.eye(batch), torch.arange(batch)), name="val")
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(Evaluation(val, {"a": [2], "b": [3]}))
    trainer.attach(record)
    val.attach(record)
    trainer.run([0], max_epochs=2)
    found = json.loads((tmp_path / "predictions.json").read_text())
    kept = {name: (one["looked_at"], one["epoch"]) for name, one in found.items()}
    assert kept == {"val": (2, 2), "val 2": (3, 2)}


def test_outputs_of_changing_shape_do_not_fail_a_run(tmp_path):
    found = sampled(tmp_path, [3, 4], lambda e, n: (torch.randn(4, n), torch.zeros(4).long()))
    assert found["looked_at"] == 4


def test_no_samples_are_taken_where_none_are_wanted(tmp_path):
    batch = (torch.rand(2, 1, 4, 4), torch.eye(2), torch.tensor([0, 1]))
    assert sampled(tmp_path, [batch], predictions=0) is None


def test_the_names_of_the_classes_come_with_the_data(tmp_path):
    def step(engine, batch):
        engine.state.dataset_meta = {"classes": ("cat", "dog")}
        return torch.eye(2), torch.tensor([0, 1])

    sampled(tmp_path, [0], step)
    assert told(tmp_path)["classes"] == ["cat", "dog"]


# ---------------------------------------------------------------------- what is refused


def test_a_configuration_may_be_a_namespace(tmp_path):
    engine = Engine(lambda engine, batch: None)
    engine.attach(RunRecord(tmp_path, config=argparse.Namespace(lr=0.1, path=tmp_path)))
    engine.run([0])
    assert told(tmp_path)["config"] == {"lr": 0.1, "path": str(tmp_path)}


@pytest.mark.parametrize(
    ("options", "error", "said"),
    [
        ({"config": {"loss": print}}, TypeError, "'loss' is .*which JSON does not take"),
        ({"config": 3}, TypeError, "come as a mapping"),
        ({"classes": "cat"}, TypeError, "a list of names, given the string 'cat'"),
        ({"predictions": -1}, ValueError, "from 0, given -1"),
    ],
)
def test_what_makes_no_sense_is_refused_at_once(tmp_path, options, error, said):
    with pytest.raises(error, match=said):
        RunRecord(tmp_path, **options)
