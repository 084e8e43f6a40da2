"""Workers outlive the signals that schedulers send to every process of a job."""

from __future__ import annotations

import multiprocessing
import os
import signal
import subprocess
import time

import pytest
import torch
from torch.utils.data import DataLoader

from footplate import Engine
from footplate.engine.data.worker_signals import Sheltered, sheltered_from_birth

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]


class Slow:
    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        time.sleep(0.01)
        return index


class Stuck(Slow):
    def __init__(self, told) -> None:
        self.told = told

    def __getitem__(self, index: int) -> int:
        self.told.send(os.getpid())
        time.sleep(60)
        return index


class Told(Slow):
    def __getitem__(self, index: int) -> int:
        return int(os.environ["OWN_INIT"])


def set_up(worker_id: int) -> None:
    os.environ["OWN_INIT"] = str(worker_id)


def workers() -> set[int]:
    """Processes that load data."""
    return {one.pid for one in multiprocessing.active_children()}


@pytest.fixture
def threads(request):
    """How many torch has here. A number that was once set it has again in what is forked."""
    before = torch.get_num_threads()
    torch.set_num_threads(request.param)
    yield
    torch.set_num_threads(before)


@pytest.mark.covers("I7")
@pytest.mark.parametrize(
    ("method", "threads"),
    [("fork", 1), ("fork", 4), ("spawn", 1), ("forkserver", 1)],
    indirect=["threads"],
)
def test_a_signal_to_every_process_leaves_the_data_whole(method, threads):
    loader = DataLoader(Slow(), num_workers=2, multiprocessing_context=method)
    others = workers()
    seen, hit = [], []

    def step(engine, batch):
        seen.append(batch.item())
        if engine.state.iteration == 3:
            hit.extend(workers() - others)
            for one in SIGNALS[method == "forkserver" :]:
                # from elsewhere, as the main process may end its workers
                subprocess.run(["kill", f"-{one.name[3:]}", *map(str, hit)], check=True)

    Engine(step).run(loader)
    assert seen == list(range(12))
    assert len(hit) == 2


def test_what_starts_them_gets_its_own_signals_again():
    before = signal.pthread_sigmask(signal.SIG_BLOCK, ())
    for method in ("fork", "spawn", "forkserver"):
        loader = DataLoader(Slow(), num_workers=1, multiprocessing_context=method)
        with sheltered_from_birth(loader):
            within = signal.pthread_sigmask(signal.SIG_BLOCK, ())
            assert within == before | ({signal.SIGTERM} if method != "forkserver" else set())
        assert signal.pthread_sigmask(signal.SIG_BLOCK, ()) == before


def test_workers_end_with_the_pass():
    before = workers()
    Engine(lambda engine, batch: None).run(DataLoader(Slow(), num_workers=2))
    until = time.monotonic() + 5
    while workers() - before:
        assert time.monotonic() < until
        time.sleep(0.05)


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_stuck_worker_ends_when_its_main_process_says_so(method):
    here, there = multiprocessing.get_context(method).Pipe()
    batches = begin(there, method)
    os.kill(worker := here.recv(), signal.SIGTERM)
    [process] = [one for one in multiprocessing.active_children() if one.pid == worker]
    process.join(5)
    assert process.exitcode == 0
    del batches


def test_a_stuck_worker_without_a_main_process_ends_when_anybody_says_so():
    fork = multiprocessing.get_context("fork")
    here, there = fork.Pipe()
    main = fork.Process(target=lambda: next(begin(there, "fork")))
    main.start()
    there.close()  # so that the worker's end of it is the last
    worker = here.recv()
    try:
        main.kill()
        main.join()
        assert not here.poll(0.2)
        os.kill(worker, signal.SIGTERM)
        assert here.poll(5)
        with pytest.raises(EOFError):
            here.recv()
    except AssertionError:
        os.kill(worker, signal.SIGKILL)
        raise


def begin(told, method):
    settings = {"worker_init_fn": Sheltered(None), "multiprocessing_context": method}
    loader = DataLoader(Stuck(told), num_workers=1, **settings)
    with sheltered_from_birth(loader):
        return iter(loader)


def test_the_users_own_init_is_called():
    loader = DataLoader(Told(), num_workers=1, worker_init_fn=set_up)
    seen = []
    Engine(lambda engine, batch: seen.append(batch.item())).run(loader)
    assert seen == [0] * 12
