"""How raw loops hear signals: behind a batch, behind an epoch, and who hears them otherwise."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from torch import nn

from footplate import Engine
from footplate.engine.checkpoints.when import When
from footplate.engine.errors import Signalled
from footplate.handlers.checkpoint import Checkpoint
from footplate.recipes.raw.stopping import Stopped
from footplate.recipes.raw_loop import setup

pytestmark = pytest.mark.covers("C13")


def made(folder, batches=4):
    net = nn.Linear(1, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    data = [torch.ones(1, 1)] * batches
    return setup(net, sgd, data, device="cpu", checkpoints=folder, resume=folder is not None)


def told(*signums):
    """A call that tells this process of signals."""
    return lambda: [os.kill(os.getpid(), one) for one in signums]


def walk(loop, epochs, then, *, amid=None, behind=None):
    """Train, and do something amid a batch, or behind the batches of an epoch."""
    for epoch in loop.epochs(epochs):
        for x in loop.batches():
            if loop.iteration == amid:
                then()
            loop.update(loop.model(x).sum())
        if epoch == behind:
            then()


@pytest.fixture(autouse=True)
def listeners():
    """Signals are heard by nobody of ours before and behind a test."""
    signums = signal.SIGINT, signal.SIGTERM, signal.SIGUSR1
    before = [signal.getsignal(one) for one in signums]
    yield
    assert [signal.getsignal(one) for one in signums] == before


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1])
def test_a_signal_is_served_behind_its_batch(tmp_path, signum):
    loop = made(tmp_path)
    with pytest.raises(SystemExit) as raised:
        walk(loop, 3, told(signum), amid=6)
    assert isinstance(raised.value, Signalled)
    assert (raised.value.code, raised.value.signum) == (128 + signum, signum)
    again = made(tmp_path)
    assert again.iteration == 6
    assert next(again.epochs(3)) == 2


def test_ctrl_c_is_a_keyboard_interrupt(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        walk(made(tmp_path), 3, told(signal.SIGINT), amid=2)
    assert made(tmp_path).iteration == 2


def test_a_signal_behind_the_last_batches_goes_on_behind_the_epoch(tmp_path):
    with pytest.raises(Stopped):
        walk(made(tmp_path), 2, told(signal.SIGTERM), behind=2)
    again = made(tmp_path)
    assert (again.iteration, list(again.epochs(3))) == (8, [3])


def test_a_second_signal_is_raised_at_once(tmp_path):
    with pytest.raises(KeyboardInterrupt):
        walk(made(tmp_path), 1, told(signal.SIGTERM, signal.SIGINT), amid=1)
    assert not list(tmp_path.iterdir())


def test_what_is_not_served_is_left_to_those_who_listened_before(tmp_path):
    heard = []
    before = signal.signal(signal.SIGTERM, lambda *_: heard.append("before"))
    try:
        loop = made(tmp_path)
        for _ in loop.epochs(1):
            os.kill(os.getpid(), signal.SIGTERM)
            heard.clear()  # they were told at once, too
            break
        assert heard == ["before"]
    finally:
        signal.signal(signal.SIGTERM, before)
    assert not list(tmp_path.iterdir())


def test_without_checkpoints_signals_do_what_they_did():
    loop = made(None)
    with pytest.raises(KeyboardInterrupt):
        walk(loop, 1, told(signal.SIGINT), amid=1)
    assert loop.iteration == 1


def test_which_signals_is_said_by_a_checkpoint(tmp_path):
    net = nn.Linear(1, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    keep = Checkpoint(tmp_path, net, when=When(signals=(signal.SIGUSR2,)))
    loop = setup(net, sgd, [torch.ones(1, 1)] * 4, device="cpu", checkpoints=keep)
    with pytest.raises(Stopped):
        walk(loop, 1, told(signal.SIGUSR2), amid=3)
    assert [one.name for one in tmp_path.iterdir()] == ["00000003"]


def test_of_two_loops_side_by_side_the_first_hears(tmp_path):
    first, second = made(tmp_path / "first"), made(tmp_path / "second")
    for _ in zip(first.epochs(2), second.epochs(2), strict=False):
        for x, y in zip(first.batches(), second.batches(), strict=True):
            first.update(first.model(x).sum())
            second.update(second.model(y).sum())
    assert (first.iteration, second.iteration) == (8, 8)


def test_an_engine_may_run_within(tmp_path):
    heard = []
    evaluator = Engine(lambda engine, batch: told(signal.SIGTERM)(), name="val")
    evaluator.add_event_handler("CLOSED", lambda engine: heard.append(engine.state.reason))
    with pytest.raises(Stopped):
        walk(made(tmp_path), 2, lambda: evaluator.run([0]), amid=2)
    assert heard == ["completed"]
    assert made(tmp_path).iteration == 2
