"""The command, as people call it."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

COMMAND = [sys.executable, "-m", "footplate.recipes.cli"]


def called(*options: object) -> subprocess.CompletedProcess[str]:
    command = [*COMMAND, *map(str, options)]
    return subprocess.run(command, capture_output=True, text=True, check=False)


def made(folder, *, at: float = 1e9):
    folder.mkdir(parents=True)
    file = folder / "options.json"
    file.write_text('{"lr": 0.125}')
    os.utime(file, (at, at))
    return folder


@pytest.mark.covers("F9", "H6")
def test_it_makes_a_page_of_a_run(tmp_path):
    run = made(tmp_path / "run")
    done = called("report", run)
    assert (done.returncode, done.stdout, done.stderr) == (0, f"{run / 'report.html'}\n", "")
    assert "0.125" in (run / "report.html").read_text()


@pytest.mark.covers("F9", "H6")
def test_of_several_runs_it_takes_the_last_and_says_so(tmp_path):
    made(tmp_path / "first")
    last = made(tmp_path / "second", at=2e9)
    done = called("report", tmp_path, "--output", tmp_path / "page.html")
    assert done.returncode == 0
    assert f"{tmp_path} holds 2 runs; this is the last, {last.name}." in done.stderr
    assert done.stdout == f"{tmp_path / 'page.html'}\n"
    assert "<h1>second</h1>" in (tmp_path / "page.html").read_text()


@pytest.mark.covers("F9", "H6")
def test_where_there_is_no_run_it_fails_with_one_and_says_where_runs_are(tmp_path):
    run = made(tmp_path / "runs" / "digits")
    empty = tmp_path / "empty"
    empty.mkdir()
    done = called("report", empty)
    assert done.returncode == 1
    assert f"footplate report: there is no run in {empty}" in done.stderr
    assert str(run) in done.stderr
    assert "Traceback" not in done.stderr
    assert done.stdout == ""
    assert not list(empty.iterdir())


def test_a_page_that_can_not_be_written_fails_with_one(tmp_path):
    run = made(tmp_path / "run")
    done = called("report", run, "--output", run / "options.json" / "page.html")
    assert done.returncode == 1
    assert "Traceback" not in done.stderr


@pytest.mark.parametrize("options", [("report",), ("report", "a", "--nonsense"), ("nonsense",)])
def test_what_it_does_not_know_it_refuses_with_two(options):
    assert called(*options).returncode == 2


def test_it_explains_itself():
    done = called("report", "--help")
    assert done.returncode == 0
    assert "--output" in done.stdout
    assert "killed" in done.stdout
