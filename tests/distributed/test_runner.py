"""A runner in several processes: what it knows of them, and what they decide together."""

from __future__ import annotations

import json
import subprocess
import sys

import pytest

from tests.distributed.launching import free_port, surroundings

MODULE = "tests.distributed.runners"
SECONDS = 120


class Said:
    """What two processes have said, each line ``[what, value]``, and their errors."""

    def __init__(self, folder, options):
        together = surroundings(
            MASTER_ADDR="127.0.0.1", MASTER_PORT=str(free_port()), WORLD_SIZE="2"
        )
        processes = [
            subprocess.Popen(
                [sys.executable, "-m", MODULE, str(folder), json.dumps(options)],
                env={**together, "RANK": str(rank), "LOCAL_RANK": str(rank)},
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank in range(2)
        ]
        try:
            told = [process.communicate(timeout=SECONDS) for process in processes]
        finally:
            for process in processes:
                process.kill()
                process.communicate()
        self.errors = [errors for _, errors in told]
        assert [process.returncode for process in processes] == [0, 0], self.errors
        self.printed = [output for output, _ in told]
        lines = ([one for one in out.splitlines() if one[:2] == '["'] for out in self.printed)
        self.lines = [dict(map(json.loads, one)) for one in lines]

    def said(self, what):
        """What each has said of something; ``None`` for nothing."""
        return [one.get(what) for one in self.lines]


def said_by(folder, **options):
    return Said(folder, options)


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    folder = tmp_path_factory.mktemp("trained")
    return folder, said_by(folder, randomness={"diff_rank_seed": True})


@pytest.mark.covers("I1", "H2")
def test_a_runner_knows_its_processes(trained):
    _, world = trained
    first, second = world.said("facts")
    assert (first["who"], second["who"]) == ([0, 2, True, "auto"], [1, 2, True, "auto"])
    assert first["device"] == second["device"] == "cpu"
    assert first["backend"] == second["backend"] == "gloo"
    assert world.said("trained") == [[2, 8], [2, 8]]
    assert world.said("left") == [True, True]


@pytest.mark.covers("I1")
def test_what_the_clock_the_disk_and_chance_decide_is_the_same_in_all(trained):
    folder, world = trained
    first, second = world.said("facts")
    for one in ("timestamp", "folder", "seed", "resumes"):
        assert first[one] == second[one]
    assert second["own seed"] == (first["own seed"] + 1) % 2**32
    assert first["own seed"] == first["seed"]
    assert [str(one) for one in folder.iterdir()] == [first["folder"]]


def test_one_process_alone_may_ask_for_places(trained):
    _, world = trained
    assert world.said("alone") == [None, [world.said("facts")[0]["folder"], "None"]]


@pytest.mark.covers("I1")
def test_one_process_writes_and_prints(trained):
    folder, world = trained
    (run,) = folder.iterdir()
    names = sorted(one.name for one in run.iterdir())
    assert not [one for one in names if ".1." in one or "_2" in one]
    assert len(list((run / "tensorboard").iterdir())) == 1
    lines = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    epochs = [line["epoch"] for line in lines if line.get("on") == "epoch"]
    assert len(epochs) == len(set(epochs))
    assert (run / "run.log").read_text().count("train [2/2]  lr") == 1
    assert "train [2/2]" in world.printed[0]
    assert all(line.startswith('["') for line in world.printed[1].splitlines())


@pytest.mark.covers("I1")
def test_all_resume_the_same(trained):
    folder, before = trained
    world = said_by(folder, resume=True)
    first, second = world.said("facts")
    assert first["resumes"] == second["resumes"] != "None"
    assert first["folder"] == second["folder"] == before.said("facts")[0]["folder"]
    assert first["seed"] == second["seed"] == before.said("facts")[0]["seed"]


def test_processes_that_are_not_joined_are_warned(monkeypatch):
    from footplate.recipes.composition.options import EnvCfg
    from footplate.recipes.composition.surroundings import set_up

    torchrun = {"RANK": "1", "WORLD_SIZE": "2", "LOCAL_RANK": "1"}
    torchrun |= {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}
    for name, value in torchrun.items():
        monkeypatch.setenv(name, value)
    with pytest.warns(UserWarning, match="2 processes were launched by torchrun.*launcher='auto'"):
        set_up(EnvCfg(), launcher="none", deterministic=False)


@pytest.mark.covers("I6")
def test_processes_with_other_configurations_do_not_train(tmp_path):
    world = said_by(tmp_path, differ=True)
    first, second = world.said("refused")
    assert first == second
    assert first.splitlines()[1:] == ["  train_cfg.max_epochs: 2 on rank 0; 3 on rank 1"]
    assert world.said("trained") == [None, None]
    assert list(tmp_path.glob("*/checkpoints")) == []
