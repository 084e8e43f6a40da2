"""The command in several processes: launched by itself, by torchrun, mpirun and srun."""

from __future__ import annotations

import json
import shutil

import pytest

from footplate.engine.checkpoints.finding import find
from tests.distributed import slurm
from tests.distributed.commanding import (
    BOUND,
    FAULT,
    OURS,
    TORCHRUN,
    run_of,
    since_saved,
    train,
    waited,
)
from tests.distributed.launching import free_port
from tests.recipes.commands.calling import called

MPIRUN = ("mpirun", "--allow-run-as-root", "--oversubscribe", "-n", "2")
SRUN = ("srun", "-n", "2", "--overcommit", "--kill-on-bad-exit=1")


def check_one_writer(folder, done):
    """One process has printed, and written, and there were two."""
    assert done.code == 0, done.err
    assert done.out.count("The run's files are in") == 1
    assert done.out.count("environment:") == 1
    assert done.out.count("train [2/2]  lr") == 1
    run = run_of(folder)
    environment = json.loads((run / "environment.json").read_text())
    assert environment["processes"] == 2
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    assert [line["step"] for line in lines] == [4, 8]  # of each epoch once
    assert (run / "run.log").read_text().count("train [2/2]  lr") == 1
    assert find(run).name.startswith("00000008")  # 16 samples, of two processes two at a time


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, waited(train(folder, *OURS))


@pytest.mark.covers("I1", "H6")
def test_nproc_trains_in_several_processes_with_one_console(trained):
    folder, done = trained
    check_one_writer(folder, done)
    assert done.err == ""


@pytest.mark.covers("I1")
def test_a_run_of_several_processes_is_one_of_one(trained):
    folder, _ = trained
    run = run_of(folder)
    before = len(list((folder / "work_dirs").iterdir()))
    more = f"train_cfg.max_epochs=3 resume={run}".split()
    done = waited(train(folder, *more))
    assert done.code == 0, done.err
    assert "train [3/3]" in done.out
    assert len(list((folder / "work_dirs").iterdir())) == before


@pytest.mark.covers("I1")
@pytest.mark.parametrize(
    "launcher",
    [
        TORCHRUN,
        pytest.param(
            MPIRUN,
            marks=[
                pytest.mark.slow,
                pytest.mark.skipif(
                    shutil.which("mpirun") is None, reason="apt-get install openmpi-bin"
                ),
            ],
        ),
    ],
    ids=["torchrun", "mpirun"],
)
def test_others_launch_it(launcher, tmp_path):
    check_one_writer(tmp_path, waited(train(tmp_path, launcher=launcher)))


@pytest.mark.slow
@pytest.mark.covers("I1")
@pytest.mark.skipif(bool(slurm.why_not()), reason=slurm.why_not())
def test_srun_launches_it_and_ends_it_behind_an_error(tmp_path):
    daemons, good, bad = (tmp_path / name for name in ("daemons", "good", "bad"))
    for one in (daemons, good, bad):
        one.mkdir()
    with slurm.cluster(daemons) as environment:
        check_one_writer(good, waited(train(good, launcher=SRUN, **environment)))
        done = waited(train(bad, "model.fault=raise", launcher=SRUN, **environment))
    assert done.code != 0
    assert since_saved(bad, done) < BOUND
    assert done.err.count(FAULT) == 1
    assert "rank 1: Traceback" in done.err
    first, _, _ = done.err.partition("rank 1: Traceback")
    assert "Traceback" not in first


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (("--nodes", "2"), "--master node-1"),
        (("--nodes", "2", "--master", "localhost:abc"), "given 'localhost:abc'"),
        (("--nodes", "2", "--master", "localhost:70000"), "from 1 to 65535"),
        (("--nproc", "2", "--master", "localhost"), "give --nodes"),
    ],
)
def test_several_machines_have_to_know_where_they_meet(options, words):
    done = called("train", "task.yaml", *options)
    assert done.exit_code == 2
    assert words in " ".join(done.stderr.replace("│", " ").split())


def test_a_configuration_that_says_none_is_launched_nevertheless(tmp_path):
    check_one_writer(tmp_path, waited(train(tmp_path, *OURS, "launcher=none")))


def test_a_dry_run_says_that_it_starts_no_others(tmp_path):
    done = waited(train(tmp_path, *OURS, "--dry-run"))
    assert done.code == 0, done.err
    assert "--dry-run starts no other processes" in done.err


@pytest.mark.covers("I1")
def test_the_command_is_given_on_each_of_several_machines(tmp_path):
    """Two machines, of which both are this one."""
    both = ("--nodes", "2", "--master", f"127.0.0.1:{free_port()}")
    (tmp_path / "second").mkdir()
    first = train(tmp_path, *both, f"work_dir={tmp_path / 'work_dirs'}")
    second = train(tmp_path / "second", *both, f"work_dir={tmp_path / 'work_dirs'}")
    done = [waited(first), waited(second)]
    assert [one.code for one in done] == [0, 0], done
    assert sum(one.out.count("The run's files are in") for one in done) == 1
    assert json.loads((run_of(tmp_path) / "environment.json").read_text())["processes"] == 2
