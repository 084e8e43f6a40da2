"""A run that is killed and resumed leaves the files of one that was not."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from footplate.engine.stream.journal import Journal

ROOT = Path(__file__).parents[2]


def run(folder, *arguments, status=0):
    command = [sys.executable, "-m", "tests.handlers.killed_run", str(folder), *arguments]
    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == status, ended.stderr
    return ended.stdout


@pytest.fixture(scope="module")
def folders(tmp_path_factory):
    """One run that nothing befell, one that was killed twice, and what was there in between."""
    whole, killed = tmp_path_factory.mktemp("whole"), tmp_path_factory.mktemp("killed")
    run(whole)
    run(killed, "--kill-at", "18", status=-signal.SIGKILL)
    between = {one.name: one.read_text() for one in killed.glob("scalars.*")}
    for name, torn in (("scalars.csv", "train,train,iter"), ("scalars.jsonl", '{"engine": "tr')):
        with (killed / name).open("a") as file:
            file.write(torn)  # as a crash of the machine may leave it
    # the last iteration of all: what is written behind it comes again
    assert "resumed at 15" in run(killed, "--resume", "--kill-at", "30", status=-signal.SIGKILL)
    assert "resumed at 25" in run(killed, "--resume")
    return whole, killed, between


def rows_of(path):
    if path.suffix == ".jsonl":
        rows = Journal.read(path)
    else:
        with path.open(newline="") as file:
            rows = list(csv.DictReader(file))
    return [{key: row[key] for key in row if key != "wall_time"} for row in rows]


@pytest.mark.covers("F4")
@pytest.mark.parametrize("name", ["scalars.csv", "scalars.jsonl"])
def test_rows_are_those_of_a_run_that_nothing_befell(folders, name):
    whole, killed, between = folders
    written = rows_of(whole / name)
    assert written == rows_of(killed / name)
    assert [int(row["step"]) for row in written if row["on"] == "iteration"] == [*range(2, 31, 2)]
    assert [int(row["step"]) for row in written if row["on"] == "epoch"] == [10, 20, 30]
    assert between[name].count("iteration") == 9  # up to 18, where the kill came
    assert between[name].endswith("\n")


@pytest.mark.covers("F4")
def test_the_csv_got_wider_when_an_epochs_metrics_came(folders):
    header = (folders[1] / "scalars.csv").read_text().splitlines()[0]
    assert header == "run,engine,on,step,epoch,wall_time,lr,loss,loss_epoch,val_mse"


@pytest.mark.covers("F3")
def test_tensorboard_shows_each_point_once(folders):
    curves = []
    for folder in folders[:2]:
        events = EventAccumulator(str(folder / "tensorboard")).Reload()
        tags = events.Tags()["scalars"]
        curves.append({tag: [(e.step, e.value) for e in events.Scalars(tag)] for tag in tags})
    assert set(curves[0]) == {"train/loss", "train/lr", "train/loss_epoch", "train/val_mse"}
    for tag, curve in curves[0].items():
        found = dict(curves[1][tag])
        assert len(found) == len(dict(curves[1][tag]))
        # what the last second before a kill brought may be lost
        assert found.items() <= dict(curve).items()
        assert {step: value for step, value in curve if step > 25}.items() <= found.items()


@pytest.mark.covers("F10")
def test_media_are_those_of_a_run_that_nothing_befell(folders):
    indices = [rows_of(folder / "media" / "media.jsonl") for folder in folders[:2]]
    assert indices[0] == indices[1]
    assert [line["step"] for line in indices[0] if line["kind"] == "text"] == [*range(3, 31, 3)]
    for folder in folders[:2]:
        files = {one.name for one in (folder / "media").iterdir()}
        assert files == {line["file"] for line in indices[0]} | {"media.jsonl"}
    text = next(line for line in indices[0] if line["kind"] == "text" and line["step"] == 18)
    assert (folders[1] / "media" / text["file"]).read_text() == "18"


def test_lines_are_json_that_stands_alone(folders):
    for line in (folders[1] / "scalars.jsonl").read_text().splitlines():
        head = ["run", "engine", "on", "step", "epoch", "wall_time"]
        assert list(json.loads(line))[:6] == head
