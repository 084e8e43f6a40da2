"""A SLURM of one machine: its real daemons, in a folder, on ports of their own."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from tests.distributed.launching import free_port

__all__ = ["cluster", "why_not"]

_CONFIG = """\
ClusterName=here
SlurmctldHost={host}(127.0.0.1)
SlurmUser=root
AuthInfo=socket={folder}/munge.socket
SlurmctldPort={controller}
SlurmdPort={machine}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
JobAcctGatherType=jobacct_gather/none
AccountingStorageType=accounting_storage/none
SelectType=select/cons_tres
MpiDefault=none
KillWait=10
ReturnToService=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cores} State=UNKNOWN
PartitionName=all Nodes=ALL Default=YES State=UP
"""
_PROGRAMS = ("munged", "slurmctld", "slurmd", "srun", "sinfo")
_SECONDS = 30


def why_not() -> str:
    """Why there can be no SLURM here; empty if there can."""
    missing = [one for one in _PROGRAMS if shutil.which(one) is None]
    if missing:
        return f"{', '.join(missing)} not installed: apt-get install slurm-wlm munge"
    return "" if os.getuid() == 0 else "SLURM's daemons are started by root"


@contextmanager
def cluster(folder: Path) -> Generator[dict[str, str], None, None]:
    """Within it there is SLURM; what its commands have to have in their environment."""
    (folder / "state").mkdir()
    (folder / "spool").mkdir()
    key, config = folder / "munge.key", folder / "slurm.conf"
    key.write_bytes(os.urandom(1024))
    key.chmod(0o600)
    told = {"folder": folder, "controller": free_port(), "machine": free_port()}
    host = socket.gethostname().partition(".")[0]
    config.write_text(_CONFIG.format(**told, host=host, cores=os.cpu_count()))
    munge = [f"--{name}={folder}/munge.{name.partition('-')[0]}" for name in _FILES]
    environment = {"SLURM_CONF": str(config)}
    daemons = (
        ["munged", "--foreground", "--force", f"--key-file={key}", *munge],
        ["slurmctld", "-D"],
        ["slurmd", "-D"],
    )
    running = []
    try:
        for command in daemons:
            running.append(_daemon(command, folder, environment))
            _until((folder / "munge.socket").exists)
        _until(lambda: "idle" in _asked("sinfo", environment))
        yield environment
    finally:
        for process in reversed(running):
            process.terminate()
            process.wait(_SECONDS)


_FILES = ("socket", "pid-file", "log-file", "seed-file")


def _daemon(
    command: list[str], folder: Path, environment: dict[str, str]
) -> subprocess.Popen[bytes]:
    with open(folder / f"{command[0]}.out", "w") as output:
        return subprocess.Popen(
            command, env={**os.environ, **environment}, stdout=output, stderr=output
        )


def _asked(command: str, environment: dict[str, str]) -> str:
    done = subprocess.run(
        [command], env={**os.environ, **environment}, capture_output=True, text=True, check=False
    )
    return done.stdout


def _until(there: object) -> None:
    """Wait until something is so."""
    assert callable(there)
    end = time.monotonic() + _SECONDS
    while not there():
        assert time.monotonic() < end, "a daemon of SLURM does not come up"
        time.sleep(0.1)
