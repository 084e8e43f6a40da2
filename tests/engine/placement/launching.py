"""Functions called in several processes that know of each other, as torchrun starts them."""

from __future__ import annotations

import importlib
import json
import os
import socket
import subprocess
import sys
from pathlib import Path
from typing import Any

__all__ = ["called_in_processes"]

ROOT = Path(__file__).resolve().parents[3]
START = "from tests.engine.placement.launching import main; main()"
SECONDS = 180


def called_in_processes(function: str, folder: Path, world_size: int = 2) -> list[Any]:
    """What ``module:function`` returns in each process, in the order of their ranks."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    together = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join([str(ROOT), os.environ.get("PYTHONPATH", "")]),
        "MASTER_ADDR": "127.0.0.1",
        "MASTER_PORT": str(port),
        "WORLD_SIZE": str(world_size),
        "OMP_NUM_THREADS": "1",
        "GLOO_SOCKET_IFNAME": "lo",
        "FUNCTION": function,
    }
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", START],
            cwd=folder,
            env={**together, "RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world_size)
    ]
    try:
        told = [process.communicate(timeout=SECONDS) for process in processes]
    finally:
        for process in processes:
            process.kill()
    for process, (_, errors) in zip(processes, told, strict=True):
        assert process.returncode == 0, errors
    return [json.loads(output.splitlines()[-1]) for output, _ in told]


def main() -> None:
    """Join the others, call the function, print what it returns, and leave."""
    import torch.distributed

    torch.distributed.init_process_group("gloo")
    module, _, name = os.environ["FUNCTION"].partition(":")
    result = getattr(importlib.import_module(module), name)()
    torch.distributed.barrier()
    torch.distributed.destroy_process_group()
    print(json.dumps(result), flush=True)
    os._exit(0)  # threads that libraries leave behind may end an interpreter with an abort
