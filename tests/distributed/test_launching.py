"""Launching: processes that torchrun, mpirun and srun start find each other.

SLURM is a real one where its daemons are installed: a controller and a node of this machine. What
several nodes of it tell is tested by their variables alone.
"""

from __future__ import annotations

import json
import shutil
import subprocess
import sys

import pytest
import torch

from footplate.engine.errors import LaunchError
from footplate.engine.placement import devices, launchers, launching
from footplate.engine.placement.devices import device_of
from footplate.engine.placement.launchers import place_in
from tests.distributed import slurm
from tests.distributed.launching import Ranks, surroundings

JOINING = (sys.executable, "-m", "tests.distributed.joining")
SECONDS = 90
TORCHRUN = (sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2")
MPIRUN = ("mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2")
SRUN = ("srun", "-n", "2", "--overcommit", "--label")


def printed(command, folder, **environment):
    """What a command prints; it has to end well."""
    done = subprocess.run(
        command,
        cwd=folder,
        env=surroundings(**environment),
        capture_output=True,
        text=True,
        timeout=SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def seen_by(command, folder, **environment):
    """What each process sees, in the order of their ranks."""
    lines = printed(command, folder, **environment).splitlines()
    told = [line.partition("seen ")[2] for line in lines if "seen {" in line]
    return sorted(map(json.loads, told), key=lambda one: one["rank"])


def check(seen):
    assert [one["rank"] for one in seen] == [0, 1]
    assert [one["ignite"] for one in seen] == [[0, 2, 0], [1, 2, 1]]
    assert [one["torch"] for one in seen] == [["0", "0"], ["1", "1"]]
    for number, one in enumerate(seen):
        assert (one["made"], one["again"], one["world"], one["local"]) == (True, False, 2, number)
        assert (one["backend"], one["gathered"]) == ("gloo", [0, 1])
        assert (one["left"], one["alone"]) == (True, 1)


@pytest.mark.covers("I1")
@pytest.mark.parametrize("launcher", ["auto", "pytorch"])
def test_torchrun(launcher, tmp_path):
    check(seen_by([*TORCHRUN, "-m", "tests.distributed.joining", launcher], tmp_path))


@pytest.mark.covers("I1")
@pytest.mark.skipif(shutil.which("mpirun") is None, reason="apt-get install openmpi-bin")
@pytest.mark.parametrize("launcher", ["auto", "mpi"])
def test_mpirun(launcher, tmp_path):
    check(seen_by([*MPIRUN, *JOINING, launcher], tmp_path))


@pytest.fixture(scope="module")
def real_slurm(tmp_path_factory):
    if why_not := slurm.why_not():
        pytest.skip(why_not)
    with slurm.cluster(tmp_path_factory.mktemp("slurm")) as environment:
        yield environment


@pytest.mark.covers("I1")
@pytest.mark.parametrize("launcher", ["auto", "slurm"])
def test_srun(launcher, tmp_path, real_slurm):
    check(seen_by([*SRUN, *JOINING, launcher], tmp_path, **real_slurm))


def test_a_step_of_one_task_joins_nobody(tmp_path, real_slurm):
    alone = "from footplate.engine.placement.launching import join; print('joined', join('slurm'))"
    command = ["srun", "-n", "1", sys.executable, "-c", alone]
    assert printed(command, tmp_path, **real_slurm) == "joined False\n"


# ---------------------------------------------------------------------- what launchers tell

RUN = {"RANK": "3", "WORLD_SIZE": "4", "LOCAL_RANK": "1", "MASTER_ADDR": "a", "MASTER_PORT": "9"}
OPEN_MPI = {
    "OMPI_COMM_WORLD_RANK": "3",
    "OMPI_COMM_WORLD_SIZE": "4",
    "OMPI_COMM_WORLD_LOCAL_RANK": "3",
    "OMPI_COMM_WORLD_LOCAL_SIZE": "4",
    "PMIX_NAMESPACE": "1264320513",
}
STEP = {
    "SLURM_JOB_ID": "77",
    "SLURM_STEP_ID": "2",
    "SLURM_STEP_NUM_TASKS": "4",
    "SLURM_PROCID": "3",
    "SLURM_LOCALID": "1",
    "SLURM_STEP_NODELIST": "gpu[03-04,7]",
    "SLURM_JOB_NODELIST": "gpu[01-04,7]",
}
BATCH = {"SLURM_JOB_ID": "77", "SLURM_NTASKS": "4", "SLURM_PROCID": "0", "SLURM_LOCALID": "0"}
MPICH = {"PMI_RANK": "3", "PMI_SIZE": "4", "MASTER_ADDR": "a", "MASTER_PORT": "9"}


def without(environment, name):
    return {key: value for key, value in environment.items() if key != name}


@pytest.mark.covers("I1")
@pytest.mark.parametrize(
    ("environment", "place"),
    [
        (RUN, ("pytorch", 3, 4, 1, "a")),
        ({**RUN, **STEP}, ("pytorch", 3, 4, 1, "a")),  # torchrun within a step
        ({**RUN, **OPEN_MPI}, ("pytorch", 3, 4, 1, "a")),
        (OPEN_MPI, ("mpi", 3, 4, 3, "127.0.0.1")),
        ({**OPEN_MPI, **STEP}, ("mpi", 3, 4, 3, "127.0.0.1")),  # whose daemons srun starts
        ({**OPEN_MPI, "MASTER_ADDR": "b"}, ("mpi", 3, 4, 3, "b")),
        (MPICH, ("mpi", 3, 4, 3, "a")),
        ({**MPICH, "MPI_LOCALRANKID": "1"}, ("mpi", 3, 4, 1, "a")),
        ({**MPICH, **STEP, "SLURM_STEP_NUM_TASKS": "2"}, ("mpi", 3, 4, 3, "a")),
        ({**STEP, "PMI_RANK": "3", "PMI_SIZE": "4"}, ("slurm", 3, 4, 1, "gpu03")),
        (STEP, ("slurm", 3, 4, 1, "gpu03")),
        ({**STEP, "SLURM_STEP_NODELIST": "one,two"}, ("slurm", 3, 4, 1, "one")),
        ({**STEP, "MASTER_ADDR": "b"}, ("slurm", 3, 4, 1, "b")),
    ],
)
def test_places(environment, place, monkeypatch):
    monkeypatch.setattr(launchers.subprocess, "check_output", no_scontrol)
    found = place_in(environment)
    assert found is not None
    told = (found.launcher, found.rank, found.size, found.local_rank, found.address)
    assert told == place
    assert 0 < found.port < 2**16


def no_scontrol(*command, **options):
    raise FileNotFoundError


def test_the_nodes_of_slurm_are_told_apart_by_its_own_command(real_slurm, monkeypatch):
    for name, value in real_slurm.items():
        monkeypatch.setenv(name, value)
    assert place_in(STEP).address == "gpu03"


def test_ports_follow_from_the_job_or_are_given():
    first, second = (place_in({**STEP, "SLURM_STEP_ID": one}).port for one in "12")
    assert first != second
    assert place_in({**STEP, "SLURM_PROCID": "0"}).port == place_in(STEP).port
    assert place_in({**STEP, "MASTER_PORT": "1234"}).port == 1234
    assert place_in({**OPEN_MPI, "MASTER_PORT": "1234"}).port == 1234


@pytest.mark.parametrize(
    "environment",
    [
        {},
        BATCH,  # the script of a job, which is one process whatever the job has asked for
        {"WORLD_SIZE": "1"},
        {"RANK": "0", "WORLD_SIZE": "1"},
        {**STEP, "SLURM_STEP_NUM_TASKS": "1", "SLURM_PROCID": "0"},
        {"PMI_RANK": "0", "PMI_SIZE": "1"},
    ],
)
def test_one_process_joins_nobody(environment, monkeypatch):
    assert place_in(environment) is None
    assert place_in(RUN, "none") is None


@pytest.mark.covers("I1")
@pytest.mark.parametrize(
    ("environment", "launcher", "said"),
    [
        (without(RUN, "WORLD_SIZE"), "auto", "WORLD_SIZE is missing"),
        (without(RUN, "RANK"), "auto", "RANK is missing"),
        (without(RUN, "LOCAL_RANK"), "auto", "LOCAL_RANK is missing"),
        (without(RUN, "MASTER_PORT"), "pytorch", "MASTER_PORT is missing"),
        ({**RUN, "RANK": "4"}, "auto", "it is rank 4 of 4"),
        ({**RUN, "RANK": "-1"}, "auto", "it is rank -1 of 4"),
        ({**RUN, "WORLD_SIZE": "many"}, "auto", "WORLD_SIZE .* whole number, given 'many'"),
        (without(STEP, "SLURM_LOCALID"), "slurm", "SLURM_LOCALID is missing"),
        ({**OPEN_MPI, "OMPI_COMM_WORLD_LOCAL_SIZE": "2"}, "auto", "mpirun -x MASTER_ADDR=node-1"),
        ({"PMI_RANK": "0", "PMI_SIZE": "2"}, "auto", "-genv MASTER_ADDR node-1"),
        ({}, "pytorch", "torchrun has left no trace"),
        (BATCH, "slurm", "srun has left no trace"),
        (RUN, "mpi", "mpirun has left no trace"),
        ({}, "slrum", "no launcher 'slrum'.*Did you mean 'slurm'"),
    ],
)
def test_what_cannot_be_is_refused(environment, launcher, said):
    with pytest.raises(LaunchError, match=said):
        place_in(environment, launcher)


# ---------------------------------------------------------------------- joining


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"backend": "glo"}, "no backend 'glo'.*Did you mean 'gloo'"),
        ({"backend": "nccl", "device": "cpu"}, "between CUDA devices alone"),
        ({"timeout": 0}, "seconds above 0, given 0"),
        ({"device": "mps"}, "'mps' can't be used by several processes"),
        ({"device": "xla"}, "'xla' can't be used here .*lazy"),
    ],
)
def test_what_cannot_be_joined_by_is_refused(options, said, monkeypatch):
    for name, value in RUN.items():
        monkeypatch.setenv(name, value)
    with pytest.raises(ValueError, match=said):
        launching.join(**options)
    assert not torch.distributed.is_initialized()


@pytest.mark.covers("I1")
@pytest.mark.parametrize(
    ("count", "visible", "given", "rank", "device"),
    [
        (4, None, "auto", 2, "cuda:2"),
        (4, None, "cuda", 3, "cuda:3"),
        (4, None, "cuda:1", 3, "cuda:1"),
        (1, "5", "auto", 3, "cuda:0"),
        (0, None, "auto", 3, "cpu"),
        (4, None, "cpu", 3, "cpu"),
    ],
)
def test_each_process_has_the_device_of_its_number(
    count, visible, given, rank, device, monkeypatch
):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: count > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: count)
    monkeypatch.setattr(devices.torch, "empty", lambda *size, **options: None)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    if visible is not None:
        monkeypatch.setenv("CUDA_VISIBLE_DEVICES", visible)
    assert str(device_of(given, local_rank=rank)) == device


def test_more_processes_than_devices_are_refused(monkeypatch):
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    with pytest.raises(ValueError, match=r"process 2 of this machine.* finds 2 CUDA devices"):
        device_of("auto", local_rank=2)


@pytest.fixture(scope="module")
def three(tmp_path_factory):
    with Ranks(3, tmp_path_factory.mktemp("three")) as ranks:
        yield ranks


@pytest.mark.covers("I6")
def test_processes_that_disagree_all_say_on_what(three):
    told = three.call("tests.distributed.joining:agreement", True)
    assert len(set(told)) == 1
    assert told[0].splitlines()[1:] == [
        "  train_cfg.max_epochs: 3 on rank 0; 4 on rank 1; 5 on rank 2"
    ]
    assert "nothing is trained" in told[0]
    assert three.call("tests.distributed.joining:agreement", False) == ["", "", ""]


def test_a_group_of_somebody_else_is_left_alone(three):
    assert three.call("tests.distributed.joining:left_by_others") == [True, True, True]
