"""Scripts as commands: folders, options that are kept, and how they end."""

from __future__ import annotations

import json
import signal
from pathlib import Path
from typing import Annotated

import pytest
import typer
from typer.testing import CliRunner

from footplate import Signalled
from footplate.engine.errors import DataError
from footplate.recipes.commands.script import figures, say, script_run

ENDS = {
    "signal": lambda: Signalled(signal.SIGTERM),
    "keys": KeyboardInterrupt,
    "data": lambda: DataError("there is nothing to learn from."),
    "slip": lambda: ZeroDivisionError("no words for it"),
}


def script(context: typer.Context, folder: Path, end: str, left: str, given: list) -> None:
    with script_run(context) as (run, options):
        given.append((run, options))
        if left:
            (run / left).touch()
        if end:
            raise ENDS[end]()
        say(figures("Reached", {"accuracy": "[all]"}))


def run(folder: Path, *options: object, end: str = "", left: str = ""):
    """A script's result, and its run's folder and options, if it came so far."""
    given: list[tuple[Path, dict]] = []

    def main(
        context: typer.Context,
        folder: Path = Path("runs"),
        text: Path | None = None,
        batch_size: Annotated[int, typer.Option(min=1)] = 3,
        resume: Annotated[bool, typer.Option("--resume")] = False,
    ) -> None:
        script(context, folder, end, left, given)

    app = typer.Typer()
    app.command()(main)
    done = CliRunner().invoke(app, ["--folder", str(folder), *map(str, options)])
    return done, *(given[0] if given else (None, None))


def test_a_run_keeps_its_options_and_is_resumed_with_them(tmp_path):
    done, folder, options = run(tmp_path, "--text", "a/b.txt", "--batch-size", 7)
    assert done.exit_code == 0
    assert options == {"text": "a/b.txt", "batch_size": 7}
    assert json.loads((folder / "options.json").read_text()) == options
    assert [file.name for file in folder.iterdir()] == ["options.json"]
    assert "accuracy │ [all]" in done.stdout
    assert done.stdout.endswith(f" s. The run's files are in {folder}\n")
    assert run(tmp_path, "--resume")[1:] == (folder, options)


def test_each_run_has_a_folder_and_the_last_is_resumed(tmp_path):
    folders = [run(tmp_path)[1] for _ in range(3)]
    assert len({*folders}) == 3
    assert run(tmp_path, "--resume")[1] == max(folders)


def test_resume_begins_where_there_is_nothing_to_resume(tmp_path):
    done, folder, options = run(tmp_path / "new", "--resume", "--batch-size", 5)
    assert (done.exit_code, options["batch_size"]) == (0, 5)
    assert folder.parent == tmp_path / "new"


def test_other_options_than_the_run_has_are_refused(tmp_path):
    run(tmp_path)
    done, folder, _ = run(tmp_path, "--resume", "--batch-size", 7)
    assert (done.exit_code, folder) == (2, None)
    assert "leave out --batch-size" in " ".join(done.stderr.replace("│", "").split())


@pytest.mark.parametrize(("end", "code"), [("signal", 143), ("keys", 130)])
def test_a_stopped_run_has_the_exit_code_of_its_signal_and_says_how_to_go_on(tmp_path, end, code):
    done, folder, _ = run(tmp_path, end=end)
    assert done.exit_code == code
    assert done.stdout == f"--resume goes on with its last checkpoint, in {folder}\n"
    assert "stopped by" in done.stderr
    assert "Traceback" not in done.stderr
    assert run(tmp_path, "--resume")[1] == folder


def test_an_error_that_says_all_has_no_traceback_and_any_other_has(tmp_path):
    done, *_ = run(tmp_path, end="data")
    assert done.exit_code == 1
    assert done.stderr == "main: there is nothing to learn from.\n"
    done, *_ = run(tmp_path, end="slip")
    assert isinstance(done.exception, ZeroDivisionError)


@pytest.mark.parametrize("end", ["data", "slip"])
def test_a_run_that_never_began_leaves_nothing_and_one_that_did_stays(tmp_path, end):
    _, before, _ = run(tmp_path)
    _, failed, _ = run(tmp_path, end=end)
    assert not failed.exists()
    assert run(tmp_path, "--resume")[1] == before
    _, failed, _ = run(tmp_path, end=end, left="scalars.jsonl")
    assert {file.name for file in failed.iterdir()} == {"options.json", "scalars.jsonl"}
