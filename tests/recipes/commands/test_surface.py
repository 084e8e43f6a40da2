from __future__ import annotations

import pytest

from tests.golden.make_command import FILE, surface
from tests.recipes.commands.calling import called, called_outside


@pytest.mark.covers("H6")
def test_the_commands_surface_is_the_one_that_people_know():
    assert surface() == FILE.read_text(encoding="utf-8")


@pytest.mark.covers("H6")
@pytest.mark.parametrize(
    "command",
    ["train", "val", "test", "predict", "plan", "report", "merge", "recipes", "copy", "doctor"],
)
def test_each_command_explains_itself_by_example(command):
    done = called(command, "--help")
    assert done.exit_code == 0
    assert f"footplate {command}" in done.stdout.partition("For example:")[2]


def test_help_costs_no_torch():
    done = called_outside("--help", PYTHONPROFILEIMPORTTIME="1")
    assert "footplate.recipes.commands.running" in done.stderr
    assert "| torch" not in done.stderr


def test_the_exit_codes_are_told():
    assert "130 behind Ctrl-C, 143 behind SIGTERM" in " ".join(called("--help").stdout.split())


@pytest.mark.parametrize(
    "options",
    [("nonsense",), ("train",), ("train", "x.yaml", "--nonsense"), ("train", "x", "--nproc", "0")],
)
def test_what_it_does_not_understand_ends_with_two(options):
    assert called(*options).exit_code == 2


def test_completion_is_offered():
    shell = {"_TYPER_COMPLETE_TEST_DISABLE_SHELL_DETECTION": "1"}
    done = called_outside("--show-completion", "bash", **shell)
    assert "complete" in done.stdout
