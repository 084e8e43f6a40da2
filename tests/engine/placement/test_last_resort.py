"""The last resort: a process that was told to stop and can't is ended, and no other one is."""

import asyncio
import os
import signal
import subprocess
import sys
import time

import pytest

from footplate.engine.placement.last_resort import LastResort
from tests.distributed.launching import surroundings

TOLD = """
import os, signal, sys, threading, time
from footplate.engine.placement.last_resort import LastResort

signal.signal(signal.SIGTERM, lambda *_: None)
last = LastResort(0.3)
last.arm({signal.SIGTERM})
"""


def ended(script, seconds=30):
    """The exit code and the standard error of a process, and how long it took."""
    begun = time.monotonic()
    process = subprocess.run(
        [sys.executable, "-c", TOLD + script],
        env=surroundings(),
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )
    return process.returncode, process.stderr, time.monotonic() - begun


@pytest.mark.covers("I6")
def test_a_process_that_comes_to_no_safe_point_is_ended_and_says_where_it_stood():
    code, errors, _ = ended("os.kill(os.getpid(), signal.SIGTERM)\ntime.sleep(60)")
    assert code == 143
    assert "told to stop by SIGTERM, and came to no safe point in 0.3 s" in errors
    assert 'File "<string>", line' in errors


@pytest.mark.covers("I6")
@pytest.mark.parametrize(
    "then",
    [
        "last.stand_down(); time.sleep(0.6)",  # it is served
        "last.disarm(); time.sleep(0.6)",
        "last.disarm(); last.arm({signal.SIGTERM}); time.sleep(0.6)",
    ],
)
def test_one_that_comes_there_lives(then):
    assert ended(f"os.kill(os.getpid(), signal.SIGTERM)\n{then}")[0] == 0


@pytest.mark.covers("I6")
def test_signals_that_it_was_not_asked_for_may_wait():
    script = "signal.signal(signal.SIGUSR1, lambda *_: None)\nos.kill(os.getpid(), signal.SIGUSR1)"
    assert ended(f"{script}\ntime.sleep(0.6)")[0] == 0


@pytest.mark.covers("I6")
def test_what_a_child_hears_does_not_end_its_parent():
    script = """
child = os.fork()
if not child:
    os.kill(os.getpid(), signal.SIGTERM)
    time.sleep(0.1)
    os._exit(0)
os.waitpid(child, 0)
time.sleep(0.6)
last.disarm()
"""
    assert ended(script)[0] == 0


@pytest.mark.covers("I6")
def test_a_child_that_lives_on_does_not_keep_it_from_ending():
    script = """
child = os.fork()
if not child:
    time.sleep(60)
last.disarm()
os.kill(child, signal.SIGKILL)
os.waitpid(child, 0)
"""
    assert ended(script, seconds=20)[0] == 0


@pytest.mark.covers("I6")
def test_an_event_loop_goes_on_hearing_signals():
    heard = []

    async def main():
        loop = asyncio.get_running_loop()
        loop.add_signal_handler(signal.SIGUSR2, heard.append, "loop")
        last = LastResort(0.1)
        last.arm({signal.SIGUSR2})
        assert not last.is_armed
        os.kill(os.getpid(), signal.SIGUSR2)
        await asyncio.sleep(0.2)
        last.disarm()

    asyncio.run(main())
    assert heard == ["loop"]


@pytest.mark.covers("I6")
def test_it_leaves_what_it_found():
    last = LastResort(1.0)
    for _ in range(2):
        last.arm({signal.SIGTERM})
        assert last.is_armed
        last.disarm()
    found = signal.set_wakeup_fd(-1)
    assert found == -1
