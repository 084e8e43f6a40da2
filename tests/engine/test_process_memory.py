"""The memory that a process has held is its own."""

from __future__ import annotations

import subprocess
import sys

import pytest

from footplate.engine.process_memory import peak_memory

PROGRAM = "from footplate.engine.process_memory import peak_memory; print(peak_memory())"
HALF = 2**29  # bytes


@pytest.mark.covers("F1")
def test_what_was_held_counts_though_it_is_let_go():
    program = f"{PROGRAM}; held = b'x' * {HALF}; del held; print(peak_memory())"
    before, after = map(float, _printed(program).split())
    assert 500 < after - before < 530


def test_what_the_launching_process_has_held_does_not_count():
    held = b"x" * HALF
    assert peak_memory() > len(held) / 2**20
    assert float(_printed(PROGRAM)) < 200


def _printed(program: str) -> str:
    command = [sys.executable, "-c", program]
    return subprocess.run(command, capture_output=True, text=True, check=True).stdout
