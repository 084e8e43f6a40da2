"""What is committed works on any machine: no file names a place on the one it was written on."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest

from tests.architecture.library import ROOT

PLACES = re.compile(r"(?<![\w.~$}])/(home|Users|root|work|workspace|mnt|media|tmp)/\w")


def _foreign(text: str) -> list[str]:
    return [line for line in text.splitlines() if PLACES.search(line)]


def test_no_file_names_a_place_on_this_machine() -> None:
    if not (ROOT / ".git").exists():
        pytest.skip("not a git checkout: what is tracked is unknown")
    listed = subprocess.run(
        ["git", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    found = []
    for name in filter(None, listed.stdout.decode().split("\0")):
        file = ROOT / name
        if file.is_file() and file != Path(__file__).resolve():
            text = file.read_bytes().decode(errors="replace")
            found += [f"{name}: {line.strip()}" for line in _foreign(text)]
    assert found == []


@pytest.mark.parametrize(
    ("line", "seen"),
    [
        ("open('/home/someone/x')", True),
        ("/tmp/run1/checkpoint", True),
        ("#!/usr/bin/env bash", False),
        ("runs/home/x", False),
        ("https://example.org/home/x", False),
    ],
)
def test_what_counts_as_a_place(line: str, seen: bool) -> None:
    assert bool(_foreign(line)) is seen
