"""MLflow, by its own client, with a data base and artifacts in a folder."""

from __future__ import annotations

import json
import math
import sys
import warnings

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from footplate import Engine, Events
from footplate.engine.stream.media import show
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.mlflow import MLflow
from tests.handlers.logging_losses import engine_with
from tests.handlers.repeated_evaluation import EXPECTED, WAYS, repeat

with warnings.catch_warnings():
    warnings.simplefilter("ignore")  # of what it is made of, when it is imported
    mlflow = pytest.importorskip("mlflow")
    pytest.importorskip("mlflow.store.tracking.sqlalchemy_store")

# deprecations between MLflow and SQLAlchemy, pydantic and the like; connections left open
pytestmark = pytest.mark.filterwarnings("ignore")


@pytest.fixture(scope="module")
def uri(tmp_path_factory):
    """A data base; its tables are made but once."""
    return f"sqlite:///{tmp_path_factory.mktemp('mlflow')}/runs.db"


@pytest.fixture
def sinks(uri, tmp_path, request):
    """Makes sinks of an experiment of the test's own."""
    client = mlflow.MlflowClient(tracking_uri=uri)
    name = request.node.name
    client.create_experiment(name, artifact_location=(tmp_path / "artifacts").as_uri())
    return lambda **options: MLflow(name, tracking_uri=uri, **options)


def curve(sink, name):
    history = sink.client.get_metric_history(sink.run_id, name)
    return sorted((one.step, one.value) for one in history)


def status(sink):
    return sink.client.get_run(sink.run_id).info.status


@pytest.mark.covers("F4")
def test_scalars_parameters_and_the_end_are_logged(sinks):
    given = {"lr": 0.1, "model": {"width": [1, 2]}, **{f"p{n}": n for n in range(120)}}
    sink = sinks(run_name="mine", tags={"a": "b"}, hyper_parameters=given)
    trainer, evaluator = engine_with(sink), engine_with(sink, "val")
    tester, seen = engine_with(sink, "test"), []
    trainer.attach(Evaluation(evaluator, [7.0]))
    trainer.on(Events.ITERATION_COMPLETED(once=1))(lambda: seen.append(status(sink)))
    trainer.run([4.0, math.inf, 1.0])
    first = sink.run_id
    tester.run([9.0])
    run = sink.client.get_run(sink.run_id)
    assert (sink.run_id, run.info.run_name, run.data.tags["a"]) == (first, "mine", "b")
    assert (run.data.params["lr"], run.data.params["model.width"]) == ("0.1", "[1, 2]")
    assert len(run.data.params) == 122
    assert curve(sink, "train/loss")[::2] == [(1, 4.0), (3, 1.0)]
    assert curve(sink, "train/loss")[1][1] > 1e300  # as near to infinity as the data base comes
    assert [value for _, value in curve(sink, "val/loss")] == [7.0]
    assert curve(sink, "test/loss") == [(1, 9.0)]
    assert (seen, run.info.status) == (["RUNNING"], "FINISHED")


def test_a_nan_is_logged_as_one(sinks):
    sink = sinks()
    engine_with(sink).run([math.nan])
    assert math.isnan(curve(sink, "train/loss")[0][1])


@pytest.mark.covers("F4")
@pytest.mark.parametrize(
    ("how", "expected"), [("error", "FAILED"), ("interrupt", "KILLED"), ("terminate", "FINISHED")]
)
def test_the_end_is_told(sinks, how, expected):
    sink = sinks()
    engine = engine_with(sink)

    @engine.on(Events.ITERATION_COMPLETED(once=1))
    def stop(engine):
        if how == "error":
            raise ZeroDivisionError
        getattr(engine, how)()

    if how == "error":
        with pytest.raises(ZeroDivisionError):
            engine.run([4.0, 2.0])
    else:
        engine.run([4.0, 2.0])
    assert status(sink) == expected


@pytest.mark.covers("F4")
def test_a_resumed_run_goes_on_without_doubles(sinks, tmp_path):
    def made():
        sink = sinks(hyper_parameters={"lr": 0.1})
        engine = engine_with(sink)
        return engine, sink, engine.attach(Checkpoint(tmp_path / "saved", torch.nn.Linear(1, 1)))

    engine, first, _ = made()
    engine.on(Events.ITERATION_STARTED(once=4))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run([4.0, 2.0], max_epochs=3)
    assert curve(first, "train/loss") == [(1, 4.0), (2, 2.0), (3, 4.0)]
    engine, second, checkpoint = made()
    checkpoint.resume(engine)
    assert engine.state.iteration == 2
    engine.run([4.0, 2.0])
    assert second.run_id == first.run_id
    assert curve(second, "train/loss") == [(n, 4.0 if n % 2 else 2.0) for n in range(1, 7)]
    assert status(second) == "FINISHED"


@pytest.mark.covers("F4")
def test_a_trainer_that_starts_anew_again_has_a_new_run(sinks):
    sink = sinks()
    trainer, tester = engine_with(sink), engine_with(sink, "test")
    ids = []
    for engine, loss in ((trainer, 1.0), (tester, 8.0), (trainer, 2.0)):
        engine.run([loss])
        ids.append(sink.run_id)
    assert ids[0] == ids[1] != ids[2]
    assert curve(sink, "train/loss") == [(1, 2.0)]
    assert curve(sink, "test/loss") == []


@pytest.mark.covers("F4")
def test_within_an_evaluator_alone_a_resumed_run_goes_on_without_doubles(sinks):
    saved, run_id = [], None
    for resumed in (False, True):
        trainer, sink = Engine(lambda e, b: None, name="train"), sinks()
        trainer.attach(Evaluation(engine_with(sink, "val"), [7.0]))
        trainer.on(Events.SAFE_POINT(once=2))(lambda e: saved.append(e.state_dict()))
        if resumed:
            sink.run_id = run_id
            trainer.load_state_dict(saved[0])
        trainer.run([0, 0], max_epochs=None if resumed else 3)
        run_id = sink.run_id
        assert curve(sink, "val/loss") == [(2, 7.0), (4, 7.0), (6, 7.0)]


@pytest.mark.covers("F10")
def test_media_are_artifacts(sinks, tmp_path):
    def step(engine, batch):
        show(engine, "image", "an image", torch.full((4, 6, 3), 7, dtype=torch.uint8))
        show(engine, "image", "several", torch.zeros(4, 4, 6, 3, dtype=torch.uint8))
        show(engine, "figure", "../curve", Figure((2, 1), 100))
        show(engine, "histogram", "weights", torch.tensor([0.0, 1.0, math.nan]))
        show(engine, "text", "said", "a word")
        show(engine, "table", "scores", [{"a": math.nan, "b": "x"}])

    sink = sinks()
    engine_with(sink, step=step).run([0])
    folder = next((tmp_path / "artifacts").glob("*/artifacts/train"))
    image = imread(folder / "an_image" / "00000001.png")
    assert (np.round(image * 255) == 7).all()
    assert imread(folder / "several" / "00000001.png").shape[:2] == (9, 13)
    assert imread(folder / "curve" / "00000001.png").shape[:2] == (100, 200)
    assert sum(json.loads((folder / "weights" / "00000001.json").read_text())["counts"]) == 2
    assert (folder / "said" / "00000001.txt").read_text() == "a word"
    table = json.loads((folder / "scores" / "00000001.json").read_text())
    assert table == {"columns": ["a", "b"], "data": [["NaN", "x"]]}


@pytest.mark.covers("F6")
def test_names_and_an_interval(sinks):
    sink = sinks(names="loss", every=2)
    engine_with(sink, step=lambda e, b: {"loss": b, "other": b}).run([4.0, 2.0, 1.0])
    assert curve(sink, "train/loss") == [(2, 2.0)]
    assert curve(sink, "train/other") == []


@pytest.mark.covers("F4")
def test_a_missing_package_is_told_with_its_install_command(monkeypatch):
    monkeypatch.setitem(sys.modules, "mlflow", None)
    with pytest.raises(
        ImportError, match=r"MLflow needs mlflow, .* pip install 'footplate\[mlflow\]"
    ):
        MLflow()


@pytest.mark.covers("F4", "G4")
@pytest.mark.parametrize("way", WAYS)
def test_an_evaluation_that_comes_again_is_logged_once(sinks, tmp_path, way):
    sink = repeat(tmp_path / "saved", sinks, way, both=True)
    assert curve(sink, "val/loss") == EXPECTED[way]
    assert [step for step, _ in curve(sink, "train/loss")] == [1, 2, 3, 4]


@pytest.mark.covers("F4")
@pytest.mark.parametrize("both", [True, False])
def test_an_evaluation_that_was_cut_is_logged_once_when_its_process_goes_on(sinks, tmp_path, both):
    sink = repeat(tmp_path / "saved", sinks, "cut", both=both, in_process=True)
    assert curve(sink, "val/loss") == EXPECTED["cut"]


@pytest.mark.covers("F4")
def test_names_that_mlflow_does_not_take_are_changed(sinks):
    names = {"acc@1": 1.0, "mAP@0.5": 2.0, "a//b": 3.0, "../x": 4.0, "é": 5.0}
    given = {"augment(p=0.5)": 1, "..x": 2, "a": {"b[0]": 3}}
    sink = sinks(hyper_parameters=given)
    engine_with(sink, step=lambda e, b: names).run([0])
    run = sink.client.get_run(sink.run_id)
    expected = ["train/" + name for name in ("acc_1", "mAP_0.5", "a/_/b", "_/x", "é")]
    assert run.data.metrics == dict(zip(expected, names.values(), strict=True))
    assert run.data.params == {"augment_p_0.5_": "1", "_x": "2", "a.b_0_": "3"}


@pytest.mark.covers("F4")
@pytest.mark.parametrize("of", ["metrics", "parameters"])
def test_names_that_become_the_same_are_refused(sinks, of):
    clash = {"acc@1": 1.0, "acc#1": 2.0}
    sink = sinks(hyper_parameters=clash if of == "parameters" else {})
    engine = engine_with(sink, step=lambda e, b: clash if of == "metrics" else {"loss": b})
    with pytest.raises(ValueError, match=r"'(train/)?acc#1' becomes '(train/)?acc_1', as another"):
        engine.run([0])
