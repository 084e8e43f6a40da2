"""Launchers: what torchrun, SLURM and MPI tell a process of its place among others."""

from __future__ import annotations

import subprocess
import zlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from ..errors import LaunchError, nearest

__all__ = ["LAUNCHERS", "Place", "place_in"]

LAUNCHERS = ("none", "auto", "pytorch", "slurm", "mpi")
"""How processes may have been launched; ``"auto"`` finds out."""

_FIRST_PORT, _PORTS = 20_000, 12_000  # below those that Linux hands out by itself
_LOCAL = "127.0.0.1"

Environment = Mapping[str, str]


@dataclass(frozen=True, kw_only=True)
class Place:
    """The place of a process among those that were launched with it.

    Attributes:
        launcher: which one launched them.
        rank: the number of this process, from 0.
        size: how many there are.
        local_rank: its number among those of its machine.
        address, port: where the first of them waits for the others.

    Example:
        >>> srun = {"SLURM_PROCID": "5", "SLURM_STEP_NUM_TASKS": "8", "SLURM_LOCALID": "1",
        ...     "SLURM_JOB_ID": "42", "SLURM_STEP_ID": "0", "MASTER_ADDR": "node-7"}
        >>> place = place_in(srun)
        >>> place.rank, place.size, place.local_rank, place.launched_by
        (5, 8, 1, 'srun')
    """

    launcher: str
    rank: int
    size: int
    local_rank: int
    address: str
    port: int

    @property
    def launched_by(self) -> str:
        """The program that is called to launch."""
        return _STARTED[self.launcher]


def place_in(environment: Environment, launcher: str = "auto") -> Place | None:
    """The place that an environment tells.

    ``"auto"`` goes by the first of these that is told of: torchrun, Open MPI, another MPI, SLURM.
    A program within a SLURM job counts as launched by SLURM if ``srun`` started it as a step.

    Args:
        environment: variables by name, as ``os.environ`` has them.
        launcher: one of :data:`LAUNCHERS`.

    Returns:
        the place; ``None`` where there is one process alone.

    Raises:
        LaunchError: for another launcher; if the one that is named has left no trace; or if what
            is told can't be right.

    Example:
        >>> place_in({"SHELL": "/bin/sh"}) is None
        True
        >>> torchrun = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1",
        ...     "MASTER_ADDR": "node-1", "MASTER_PORT": "29500"}
        >>> place = place_in(torchrun)
        >>> place.launcher, place.rank, place.local_rank, place.address
        ('pytorch', 3, 1, 'node-1')
    """
    if launcher not in LAUNCHERS:
        raise LaunchError(
            f"there is no launcher {launcher!r}; it is one of {', '.join(LAUNCHERS)}."
            f"{nearest(launcher, LAUNCHERS)}"
        )
    if launcher == "none":
        return None
    for name, read in _READERS:
        if launcher in ("auto", name) and (place := read(environment)) is not None:
            return _checked(place)
    if launcher == "auto":
        return None
    raise LaunchError(
        f"launcher={launcher!r}, but {_STARTED[launcher]} has left no trace in the environment; "
        f"start the program by it, or give launcher='auto', which runs in one process, too."
    )


_STARTED = {"pytorch": "torchrun", "slurm": "srun", "mpi": "mpirun"}


def _checked(place: Place) -> Place | None:
    """A place that can be right; ``None`` if it is that of one process alone."""
    if place.size < 1 or not 0 <= place.rank < place.size or place.local_rank < 0:
        raise LaunchError(
            f"{place.launched_by} tells this process that it is rank {place.rank} of "
            f"{place.size}, number {place.local_rank} of its machine, which can't be; ranks are "
            f"counted from 0. Look where its variables were changed."
        )
    return place if place.size > 1 else None


# ---------------------------------------------------------------------- one launcher each


def _torchrun(environment: Environment) -> Place | None:
    told = [name for name in ("RANK", "WORLD_SIZE") if name in environment]
    if not told:
        return None
    if told == ["WORLD_SIZE"] and environment["WORLD_SIZE"] == "1":
        return None
    rank, size = _number(environment, "RANK"), _number(environment, "WORLD_SIZE")
    alone = size == 1
    return Place(
        launcher="pytorch",
        rank=rank,
        size=size,
        local_rank=0 if alone else _number(environment, "LOCAL_RANK"),
        address="" if alone else _text(environment, "MASTER_ADDR"),
        port=0 if alone else _number(environment, "MASTER_PORT"),
    )


def _open_mpi(environment: Environment) -> Place | None:
    if "OMPI_COMM_WORLD_SIZE" not in environment:
        return None
    size = _number(environment, "OMPI_COMM_WORLD_SIZE")
    here = _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE")
    job = environment.get("PMIX_NAMESPACE") or environment.get("OMPI_MCA_orte_hnp_uri", "")
    return Place(
        launcher="mpi",
        rank=_number(environment, "OMPI_COMM_WORLD_RANK"),
        size=size,
        local_rank=_number(environment, "OMPI_COMM_WORLD_LOCAL_RANK"),
        address=_address_by_mpi(environment, one_machine=here == size),
        port=_port(environment, job),
    )


def _other_mpi(environment: Environment) -> Place | None:
    """MPICH and its kin; srun may set their variables, too, and then tells more itself."""
    size = environment.get("PMI_SIZE")
    if size is None or size == environment.get("SLURM_STEP_NUM_TASKS"):
        return None
    if size != "1" and not {"MASTER_ADDR", "MASTER_PORT"} <= environment.keys():
        raise LaunchError(
            "this MPI tells no address and port that all processes know; give those of the first "
            "machine: mpirun -genv MASTER_ADDR node-1 -genv MASTER_PORT 29500 …"
        )
    rank = _number(environment, "PMI_RANK")
    told = "MPI_LOCALRANKID" in environment
    return Place(
        launcher="mpi",
        rank=rank,
        size=_number(environment, "PMI_SIZE"),
        local_rank=_number(environment, "MPI_LOCALRANKID") if told else rank,
        address=environment.get("MASTER_ADDR", ""),
        port=_port(environment, ""),
    )


def _slurm(environment: Environment) -> Place | None:
    """A task of a step; the script of a batch job is none, whatever the job has asked for."""
    if "SLURM_STEP_NUM_TASKS" not in environment:
        return None
    size = _number(environment, "SLURM_STEP_NUM_TASKS")
    given = environment.get("MASTER_ADDR", "")
    return Place(
        launcher="slurm",
        rank=_number(environment, "SLURM_PROCID"),
        size=size,
        local_rank=_number(environment, "SLURM_LOCALID"),
        address=given or _first_node(environment) if size > 1 else given,
        port=_port(
            environment,
            f"{_text(environment, 'SLURM_JOB_ID')}.{_text(environment, 'SLURM_STEP_ID')}",
        ),
    )


_READERS: tuple[tuple[str, Callable[[Environment], Place | None]], ...] = (
    ("pytorch", _torchrun),
    ("mpi", _open_mpi),
    ("mpi", _other_mpi),
    ("slurm", _slurm),
)


# ---------------------------------------------------------------------- what they tell


def _text(environment: Environment, name: str) -> str:
    if name not in environment:
        raise LaunchError(
            f"{name} is missing in the environment, though others of its launcher's variables are "
            f"there; start all processes by torchrun, srun or mpirun, or set all variables."
        )
    return environment[name]


def _number(environment: Environment, name: str) -> int:
    given = _text(environment, name)
    try:
        return int(given)
    except ValueError:
        raise LaunchError(
            f"{name} in the environment is a whole number, given {given!r}."
        ) from None


def _port(environment: Environment, job: str) -> int:
    """The port that is given, or one that follows from what all processes of a job know."""
    if "MASTER_PORT" in environment:
        return _number(environment, "MASTER_PORT")
    return _FIRST_PORT + zlib.crc32(job.encode()) % _PORTS


def _address_by_mpi(environment: Environment, *, one_machine: bool) -> str:
    if given := environment.get("MASTER_ADDR"):
        return given
    if one_machine:
        return _LOCAL
    if "SLURM_JOB_NODELIST" in environment:
        return _first_node(environment)
    raise LaunchError(
        "mpirun does not tell on which machine its first process runs; give its name or address "
        "to all of them: mpirun -x MASTER_ADDR=node-1 …"
    )


def _first_node(environment: Environment) -> str:
    """The machine of a SLURM job's first task; those of ``node[1-4,7]`` are told apart by SLURM."""
    nodes = environment.get("SLURM_STEP_NODELIST") or _text(environment, "SLURM_JOB_NODELIST")
    if "[" not in nodes:
        return nodes.partition(",")[0]
    try:
        command = ["scontrol", "show", "hostnames", nodes]
        told = subprocess.check_output(command, text=True, stderr=subprocess.DEVNULL, timeout=30)
        return told.split()[0]
    except (OSError, subprocess.SubprocessError):  # as in a container, which SLURM is outside of
        from ignite.distributed.comp_models.native import _expand_hostlist

        return str(_expand_hostlist(nodes)[0])
