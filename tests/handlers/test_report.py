"""The report is written when a run is over, whatever ended it."""

from __future__ import annotations

import logging
import re

import pytest

from footplate import Engine, Events
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.jsonl import JSONL
from footplate.handlers.report import Report
from footplate.handlers.run_record import RunRecord
from footplate.handlers.scalars import Scalars


def made(folder, report: Report) -> Engine:
    engine = Engine(lambda engine, batch: {"loss": 1.0 / batch}, name="train")
    for handler in (
        Scalars(Events.ITERATION_COMPLETED(every=1)),
        JSONL(folder / "scalars.jsonl"),
        RunRecord(folder),
        report,
    ):
        engine.attach(handler)
    return engine


def badge(page: str) -> str:
    return re.search(r'class="badge [a-z]+">([^<]+)<', page).group(1)


@pytest.mark.covers("F9")
def test_a_run_ends_with_its_report(tmp_path):
    made(tmp_path, Report(tmp_path)).run([1, 2, 3, 4])
    page = (tmp_path / "report.html").read_text()
    assert badge(page) == "completed"
    assert "<h3>loss</h3>" in page


@pytest.mark.covers("F9")
def test_a_run_that_raised_has_a_report_that_says_why(tmp_path):
    engine = made(tmp_path, Report(tmp_path))
    engine.on(Events.ITERATION_COMPLETED(once=3))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run([1, 2, 3, 4])
    page = (tmp_path / "report.html").read_text()
    assert badge(page) == "failed"
    assert "ZeroDivisionError: division by zero" in page


def test_it_goes_where_it_is_asked_to(tmp_path):
    output = tmp_path / "pages" / "mine.html"
    made(tmp_path, Report(tmp_path, output=output)).run([1, 2])
    assert output.exists()
    assert not (tmp_path / "report.html").exists()


def test_it_is_written_once_and_by_the_outer_engine(tmp_path):
    report = Report(tmp_path / "run")
    trainer = Engine(lambda engine, batch: None, name="train")
    val = Engine(lambda engine, batch: None, name="val")
    written = []
    val.attach(report)
    trainer.attach(Evaluation(val, [0]))
    trainer.on(Events.COMPLETED)(lambda: written.append((report.folder / "report.html").exists()))
    trainer.attach(report)
    trainer.run([0], max_epochs=2)
    assert written == [False]
    assert "nothing to show yet" in (report.folder / "report.html").read_text()


def test_a_folder_that_can_not_be_made_is_told_before_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    steps = []
    engine = Engine(lambda engine, batch: steps.append(batch))
    engine.attach(Report(tmp_path / "file" / "run"))
    with pytest.raises(OSError, match="file"):
        engine.run([0])
    assert steps == []


@pytest.mark.covers("F9")
def test_a_page_that_can_not_be_put_anywhere_is_told_before_the_run(tmp_path):
    (tmp_path / "file").write_text("")
    steps = []
    engine = Engine(lambda engine, batch: steps.append(batch))
    engine.attach(Report(tmp_path, output=tmp_path / "file" / "page.html"))
    with pytest.raises(OSError, match="file"):
        engine.run([0])
    engine = Engine(lambda engine, batch: steps.append(batch))
    engine.attach(Report(tmp_path, output=tmp_path))
    with pytest.raises(IsADirectoryError, match="output="):
        engine.run([0])
    assert steps == []


@pytest.mark.covers("F9")
def test_a_page_that_can_not_be_written_leaves_the_run_its_result(tmp_path, caplog):
    output = tmp_path / "pages" / "page.html"
    engine = made(tmp_path, Report(tmp_path, output=output))
    engine.on(Events.COMPLETED)(output.mkdir)
    with caplog.at_level(logging.WARNING, "footplate.report"):
        state = engine.run([1, 2])
    assert state.iteration == 2
    assert "page.html" in caplog.text
