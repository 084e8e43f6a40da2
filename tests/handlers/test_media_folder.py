"""What a run shows, as files."""

from __future__ import annotations

import json
import math

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from matplotlib.image import imread

from footplate import Engine, Events
from footplate.engine.stream.journal import Journal
from footplate.engine.stream.media import show
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.media_folder import MediaFolder
from tests.handlers.repeated_evaluation import EXPECTED, WAYS, repeat


def showing(folder, kind="text", name="said", **options):
    engine = Engine(lambda engine, batch: show(engine, kind, name, batch), name="train")
    engine.attach(MediaFolder(folder, **options))
    return engine


def index_of(folder):
    return Journal.read(folder / "media.jsonl")


def shown(folder, kind, value):
    """The one file that was written."""
    showing(folder, kind, "a/b c").run([value])
    (line,) = index_of(folder)
    assert line.pop("wall_time") > 1e9
    file = line.pop("file")
    assert (line.pop("run"), line.pop("engine")) == ("train", "train")
    assert line == {"kind": kind, "name": "a/b c", "step": 1, "epoch": 1}
    assert sorted(one.name for one in folder.iterdir()) == sorted([file, "media.jsonl"])
    assert file.startswith("a_b_c_00000001.")
    return folder / file


@pytest.mark.covers("F10")
def test_images_come_back(tmp_path):
    image = np.random.default_rng(0).integers(0, 256, (4, 6, 3)).astype(np.uint8)
    back = imread(shown(tmp_path, "image", image))
    assert np.array_equal(np.round(back[..., :3] * 255), image)


@pytest.mark.covers("F10")
def test_figures_texts_histograms_and_tables(tmp_path):
    figure = Figure((2, 1), 100)
    assert imread(shown(tmp_path / "f", "figure", figure)).shape[:2] == (100, 200)
    assert shown(tmp_path / "t", "text", "ü").read_text() == "ü"
    counted = json.loads(shown(tmp_path / "h", "histogram", [0.0, 1.0, math.nan]).read_text())
    assert (sum(counted["counts"]), counted["edges"][0], counted["edges"][-1]) == (2, 0.0, 1.0)
    assert counted["not_finite"] == 1
    table = json.loads(shown(tmp_path / "r", "table", [{"a": 1, "b": "x"}]).read_text())
    assert table == {"columns": ["a", "b"], "rows": [[1, "x"]]}


@pytest.mark.covers("F10")
@pytest.mark.filterwarnings("ignore:overflow")
def test_what_is_no_number_makes_no_broken_json(tmp_path):
    def refuse(word):
        raise AssertionError(f"{word} is no JSON")

    rows = [{"a": math.nan, "b": torch.tensor(-math.inf)}, {"a": 0.5}]
    text = shown(tmp_path / "r", "table", rows).read_text()
    assert json.loads(text, parse_constant=refuse)["rows"] == [["NaN", "-Infinity"], [0.5, None]]
    text = shown(tmp_path / "h", "histogram", [0.0, 1e300]).read_text()
    assert json.loads(text, parse_constant=refuse)["squares"] == "Infinity"


def test_an_engine_that_goes_on_leaves_what_anothers_run_showed(tmp_path):
    shared = MediaFolder(tmp_path)
    engines = [
        Engine(lambda engine, batch: show(engine, "text", engine.name, batch), name=name)
        for name in ("train", "test")
    ]
    for engine in engines:
        engine.attach(shared)
    trainer, tester = engines
    trainer.run(["a", "b", "c"])
    tester.on(Events.ITERATION_COMPLETED(once=1))(lambda engine: engine.interrupt())
    tester.run(["d", "e"])
    tester.run()
    found = [(line["run"], (tmp_path / line["file"]).read_text()) for line in index_of(tmp_path)]
    assert found == [("train", "a"), ("train", "b"), ("train", "c"), ("test", "d"), ("test", "e")]


@pytest.mark.parametrize("name", ["../../up", "/root", "..", "a\\b", "ü/é"])
def test_no_name_leads_out_of_the_folder(tmp_path, name):
    folder = tmp_path / "media"
    showing(folder, name=name).run(["x"])
    assert [one.name for one in tmp_path.iterdir()] == ["media"]
    assert (folder / index_of(folder)[0]["file"]).read_text() == "x"


@pytest.mark.covers("F6")
def test_names_filter(tmp_path):
    showing(tmp_path, names="other*").run(["x"])
    assert index_of(tmp_path) == []


@pytest.mark.covers("F10")
def test_a_new_run_overwrites_nothing(tmp_path):
    for text in "abc":
        showing(tmp_path).run([text])
    indices = [tmp_path / f"media{n}.jsonl" for n in (".1", ".2", "")]
    files = [Journal.read(index)[0]["file"] for index in indices]
    assert [(tmp_path / file).read_text() for file in files] == ["a", "b", "c"]


@pytest.mark.covers("F10")
def test_a_run_that_goes_on_drops_what_it_shows_again(tmp_path):
    first, saved = showing(tmp_path), []
    first.on(Events.SAFE_POINT(once=2))(lambda e: saved.append(e.state_dict()))
    first.run(["a", "b", "c", "d"])
    (tmp_path / "mine.txt").write_text("not ours")
    second = showing(tmp_path)
    second.load_state_dict(saved[0])
    second.on(Events.ITERATION_COMPLETED(once=3))(lambda e: e.interrupt())
    second.run(["a", "b", "C", "d"])
    lines = index_of(tmp_path)
    assert [(line["step"], (tmp_path / line["file"]).read_text()) for line in lines] == [
        (1, "a"), (2, "b"), (3, "C"),
    ]  # fmt: skip
    assert len(list(tmp_path.iterdir())) == 5


def test_what_an_evaluation_shows_is_of_the_trainers_iteration(tmp_path):
    folder = MediaFolder(tmp_path)
    trainer = Engine(lambda engine, batch: None, name="train")
    evaluator = Engine(lambda engine, batch: show(engine, "text", "said", batch), name="val")
    trainer.attach(folder)
    evaluator.attach(folder)
    trainer.attach(Evaluation(evaluator, ["x"]))
    trainer.run([0, 0], max_epochs=2)
    found = [(line["engine"], line["step"], line["epoch"]) for line in index_of(tmp_path)]
    assert found == [("val", 2, 1), ("val", 4, 2)]


@pytest.mark.covers("F4", "F10", "G4")
@pytest.mark.parametrize("both", [True, False])
@pytest.mark.parametrize("way", WAYS)
def test_what_an_evaluation_shows_that_comes_again_is_there_once(tmp_path, way, both):
    folder = tmp_path / "media"
    repeat(tmp_path / "saved", lambda: MediaFolder(folder), way, both=both)
    shown = [(line["step"], (folder / line["file"]).read_text()) for line in index_of(folder)]
    assert shown == [(step, str(loss)) for step, loss in EXPECTED[way]]
    assert len(list(folder.iterdir())) == len(shown) + 1
