"""A journal loses no line, and keeps none that is torn or not wanted."""

from __future__ import annotations

import json
import math
import os
import signal
import subprocess
import sys

import pytest

from footplate.engine.stream.journal import Journal, set_aside


def filled(path, *steps):
    journal = Journal(path)
    for step in steps:
        journal.append({"step": step})
    return journal


def steps(path):
    return [entry["step"] for entry in Journal.read(path)]


def test_entries_come_back_as_they_were(tmp_path):
    entries = [{"a": 1, "b": "ü\n"}, {"a": math.inf, "b": [1, None]}]
    journal = Journal(tmp_path / "deep" / "run.jsonl")
    for entry in entries:
        journal.append(entry)
    assert Journal.read(journal.path) == entries  # each is there at once
    journal.close()
    journal.close()
    assert Journal.read(journal.path) == entries


def test_a_nan_stays_one(tmp_path):
    journal = Journal(tmp_path / "run.jsonl")
    journal.append({"loss": math.nan})
    journal.close()
    assert math.isnan(Journal.read(tmp_path / "run.jsonl")[0]["loss"])


def test_opening_adds_to_what_is_there(tmp_path):
    filled(tmp_path / "run.jsonl", 1, 2).close()
    filled(tmp_path / "run.jsonl", 3).close()
    assert steps(tmp_path / "run.jsonl") == [1, 2, 3]


@pytest.mark.covers("F4")
@pytest.mark.parametrize("torn", ['{"step": 3', '{"step": ', "{", '"', '{"step": 3}\0\0\0'])
def test_the_half_of_a_line_is_dropped(tmp_path, torn):
    path = tmp_path / "run.jsonl"
    filled(path, 1, 2).close()
    with path.open("a") as file:
        file.write(torn)
    assert steps(path) == [1, 2]
    filled(path, 4).close()
    assert [json.loads(line)["step"] for line in path.read_text().splitlines()] == [1, 2, 4]


@pytest.mark.covers("F4")
def test_what_is_not_kept_is_gone_and_nothing_is_left_beside_it(tmp_path):
    path = tmp_path / "run.jsonl"
    filled(path, 1, 2, 3).close()
    Journal(path, keep=lambda entry: entry["step"] != 2).close()
    assert steps(path) == [1, 3]
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_that_stays_as_it_is_is_not_written_anew(tmp_path):
    path = tmp_path / "run.jsonl"
    filled(path, 1, 2).close()
    before = path.stat().st_ino
    Journal(path, keep=lambda entry: True).close()
    assert path.stat().st_ino == before


def test_a_closed_journal_takes_nothing(tmp_path):
    journal = filled(tmp_path / "run.jsonl", 1)
    journal.close()
    with pytest.raises(ValueError, match=r"run.jsonl is closed"):
        journal.append({"step": 2})


@pytest.mark.covers("F4")
def test_a_killed_process_loses_no_line(tmp_path):
    path = tmp_path / "run.jsonl"
    code = (
        "import os, signal, sys; from footplate.engine.stream.journal import Journal\n"
        "journal = Journal(sys.argv[1])\n"
        "for step in range(1000): journal.append({'step': step})\n"
        "os.kill(os.getpid(), signal.SIGKILL)"
    )
    ended = subprocess.run([sys.executable, "-c", code, str(path)], check=False, env=os.environ)
    assert ended.returncode == -signal.SIGKILL
    assert steps(path) == list(range(1000))


def test_what_is_set_aside_is_numbered(tmp_path):
    path = tmp_path / "run.jsonl"
    set_aside(path)
    assert list(tmp_path.iterdir()) == []
    for content in "ab":
        path.write_text(content)
        set_aside(path)
    found = {one.name: one.read_text() for one in tmp_path.iterdir()}
    assert found == {"run.1.jsonl": "a", "run.2.jsonl": "b"}
