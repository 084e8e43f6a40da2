"""Workers outlive the signals that schedulers send to every process of a job."""

from __future__ import annotations

import os
import signal
import subprocess
import time

import psutil
import pytest
from torch.utils.data import DataLoader

from footplate import Engine

SIGNALS = [signal.SIGTERM, signal.SIGINT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGHUP]


class Slow:
    def __init__(self) -> None:
        self.told: list[int] = []

    def __len__(self) -> int:
        return 12

    def __getitem__(self, index: int) -> int:
        time.sleep(0.01)
        return index


def set_up(worker_id: int) -> None:
    os.environ["OWN_INIT"] = str(worker_id)


class Told(Slow):
    def __getitem__(self, index: int) -> int:
        return int(os.environ["OWN_INIT"])


@pytest.mark.covers("I7")
@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_a_signal_to_every_process_leaves_the_data_whole(method):
    loader = DataLoader(Slow(), num_workers=2, multiprocessing_context=method)
    seen, hit = [], []

    def step(engine, batch):
        seen.append(batch.item())
        if engine.state.iteration == 3:
            hit.extend(worker.pid for worker in workers())
            for one in SIGNALS[method == "spawn" :]:
                # from elsewhere, as the main process may end its workers
                subprocess.run(["kill", f"-{one.name[3:]}", *map(str, hit)], check=True)

    Engine(step).run(loader)
    assert seen == list(range(12))
    assert len(hit) == 2


def workers():
    """Processes that load data."""
    found = psutil.Process().children()
    return [one for one in found if "resource_tracker" not in " ".join(one.cmdline())]


def test_workers_end_with_the_pass():
    Engine(lambda engine, batch: None).run(DataLoader(Slow(), num_workers=2))
    until = time.monotonic() + 5
    while workers():
        assert time.monotonic() < until
        time.sleep(0.05)


def test_the_users_own_init_is_called():
    loader = DataLoader(Told(), num_workers=1, worker_init_fn=set_up)
    seen = []
    Engine(lambda engine, batch: seen.append(batch.item())).run(loader)
    assert seen == [0] * 12
