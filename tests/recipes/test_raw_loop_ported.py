"""A script with a loop of its own, and the same with a few lines changed: equal, and it goes on."""

from __future__ import annotations

import difflib
import signal
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.covers("C13")
HERE = Path(__file__).parent


def command(script, folder):
    return [sys.executable, "-m", f"tests.recipes.{script}", str(folder)]


def lines_of(script, folder, status=0):
    folder.mkdir(exist_ok=True)
    ended = subprocess.run(
        command(script, folder), check=False, cwd=HERE.parents[1], capture_output=True, text=True
    )
    assert ended.returncode == status, ended.stderr
    return ended.stdout.splitlines()


def stopped(folder, signum, behind):
    """The lines of the script that was ported, up to a signal behind one of them; and its end."""
    with subprocess.Popen(
        command("raw_loop_ported", folder), cwd=HERE.parents[1], stdout=subprocess.PIPE, text=True
    ) as process:
        lines = [process.stdout.readline() for _ in range(behind)]
        process.send_signal(signum)
        rest = process.stdout.read()
    return [one.strip() for one in [*lines, *rest.splitlines()]], process.returncode


@pytest.fixture(scope="module")
def plain(tmp_path_factory):
    lines = lines_of("raw_loop_plain", tmp_path_factory.mktemp("plain"))
    assert len(lines) == 30 + 1
    return lines


def test_an_import_and_five_lines_are_changed():
    plain, ported = (
        (HERE / f"raw_loop_{name}.py").read_text().splitlines() for name in ("plain", "ported")
    )
    changed = [one for one in difflib.ndiff(plain[2:], ported[2:]) if one[:2] == "+ "]
    imported, *others = [one[2:].strip() for one in changed if one[2:].strip()]
    assert imported == "from footplate.recipes.raw_loop import setup"
    assert len(others) == 5, others
    assert not [one for one in others if ";" in one]


def test_its_losses_are_those_of_the_plain_loop(plain, tmp_path):
    assert lines_of("raw_loop_ported", tmp_path) == plain


def test_a_kill_leaves_it_to_go_on_to_the_same_bits(plain, tmp_path):
    seen, code = stopped(tmp_path, signal.SIGKILL, 14)
    assert (seen[:14], code) == (plain[:14], -signal.SIGKILL)
    assert lines_of("raw_loop_ported", tmp_path) == plain[10:]  # behind the epoch that was saved


@pytest.mark.parametrize(
    ("signum", "code"),
    [(signal.SIGTERM, 143), pytest.param(signal.SIGINT, -2, marks=pytest.mark.slow)],
)
def test_a_signal_saves_behind_a_batch(plain, tmp_path, signum, code):
    seen, ended = stopped(tmp_path, signum, 14)
    assert (ended, len(seen)) == (code, len(seen))
    assert 14 <= len(seen) < 30
    assert seen + lines_of("raw_loop_ported", tmp_path) == plain
