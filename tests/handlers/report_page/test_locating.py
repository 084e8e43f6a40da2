"""Which folder is a run's, and what is said where there is none."""

from __future__ import annotations

import os

import pytest

from footplate.handlers.report_page.locating import locate


def made(folder, *, at: float = 1e9, file: str = "scalars.jsonl"):
    path = folder / file
    path.parent.mkdir(parents=True)
    path.write_text("")
    os.utime(path, (at, at))
    return folder


@pytest.mark.parametrize(
    "file",
    [
        "run.json",
        "options.json",
        "tables.json",
        "tables.jsonl",
        "media/media.jsonl",
        "checkpoints/00000001/manifest.json",
    ],
)
def test_a_folder_with_any_of_its_files_is_a_run(tmp_path, file):
    run = made(tmp_path / "run", file=file)
    assert locate(run).folder == run
    assert locate(tmp_path).folder == run


def test_a_file_of_a_run_leads_to_it(tmp_path):
    run = made(tmp_path / "run")
    assert locate(run / "scalars.jsonl").folder == run


@pytest.mark.covers("F9")
def test_of_several_runs_the_last_written_is_taken(tmp_path):
    first = made(tmp_path / "a" / "20260101", at=2e9)
    other = made(tmp_path / "b" / "deep" / "20270101", at=1e9)
    found = locate(tmp_path)
    assert (found.folder, found.others) == (first, [other])


@pytest.mark.covers("F9")
def test_an_empty_folder_is_an_error_that_names_what_is_missing_and_runs_near_by(tmp_path):
    run = made(tmp_path / "runs" / "digits")
    empty = tmp_path / "empty"
    empty.mkdir()
    with pytest.raises(FileNotFoundError) as raised:
        locate(empty)
    said = str(raised.value)
    assert f"no run in {empty}" in said
    assert "scalars.jsonl" in said
    assert "RunRecord" in said
    assert str(run) in said


def test_a_folder_that_is_not_there_has_the_nearest_name(tmp_path):
    made(tmp_path / "digits")
    with pytest.raises(FileNotFoundError, match=r"does not exist.* Did you mean 'digits'"):
        locate(tmp_path / "digit")


def test_a_run_within_a_run_is_not_looked_for(tmp_path):
    run = made(tmp_path / "run")
    made(run / "inner", at=3e9)
    assert locate(tmp_path).folder == run
    assert locate(tmp_path).others == []
