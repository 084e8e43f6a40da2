"""Random number generators are seeded, and their state goes along."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from footplate.engine.random import capture, current_seed, preserved, restore, seed_all

DRAW = """
def draw():
    return [random.random(), random.gauss(), np.random.randn(), torch.rand(()).item()]
"""


def draw() -> tuple[float, float, float, float]:
    return random.random(), random.gauss(), np.random.randn(), torch.rand(1).item()


def started(script: str, **environment: str | None) -> subprocess.Popen[str]:
    """A fresh interpreter that runs a script; variables that are ``None`` are left out."""
    everything = {**os.environ, "OMP_NUM_THREADS": "1", **environment}
    return subprocess.Popen(
        [sys.executable, "-W", "error", "-c", script],
        env={name: value for name, value in everything.items() if value is not None},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def told(process: subprocess.Popen[str]) -> Any:
    """What the script prints as JSON."""
    out, err = process.communicate(timeout=120)
    assert process.returncode == 0, err
    return json.loads(out)


# ------------------------------------------------------------------ seeds


@pytest.mark.covers("H5")
def test_a_seed_settles_every_generator():
    assert seed_all(3) == 3
    first = draw()
    seed_all(3)
    assert draw() == first
    seed_all(4)
    assert all(one != other for one, other in zip(draw(), first, strict=True))


def test_no_seed_is_drawn_and_told():
    first, second = seed_all(), seed_all(None)
    assert first != second
    seed_all(first)
    expected = draw()
    seed_all(first)
    assert draw() == expected


@pytest.mark.parametrize("seed", [0, 2**32 - 1, np.int64(7), 7.0])
def test_the_seed_is_told_and_known_as_an_int(seed):
    assert (seed_all(seed), type(seed_all(seed))) == (seed, int)
    assert current_seed() == seed
    torch.rand(3)
    assert current_seed() == seed
    torch.manual_seed(11)
    assert current_seed() == 11


@pytest.mark.parametrize(
    ("seed", "message"),
    [
        (-1, r"^a seed is a whole number from 0 on, given -1\.$"),
        (2**32, r"^a seed is a whole number from 0 to 2\*\*32 - 1, given 4294967296\.$"),
        (True, r"^a seed is a whole number from 0 on, given True\.$"),
        (1.5, r"given 1\.5; give 1 or 2\.$"),
        ("7", r"given '7'\.$"),
    ],
)
def test_what_is_no_seed_is_refused_and_changes_nothing(seed, message):
    seed_all(3)
    expected = draw()
    seed_all(3)
    with pytest.raises(ValueError, match=message):
        seed_all(seed)
    assert draw() == expected


# ------------------------------------------------------------------ determinism

DETERMINISM = """
import json, os, torch, warnings
from footplate.engine.random import seed_all

def settings():
    cudnn = torch.backends.cudnn
    return [
        torch.are_deterministic_algorithms_enabled(),
        torch.is_deterministic_algorithms_warn_only_enabled(),
        cudnn.deterministic,
        cudnn.benchmark,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    ]

def scattered():
    "Something that has no deterministic algorithm."
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        try:
            torch.zeros(3).put_(torch.tensor([0]), torch.ones(1), accumulate=False)
        except RuntimeError as error:
            return "raises" if "deterministic" in str(error) else repr(error)
        return "warns" if any("deterministic" in str(one.message) for one in said) else "is silent"

found = []
for deterministic in (False, "warn", True, False):
    torch.backends.cudnn.benchmark = True
    seed_all(1, deterministic=deterministic)
    found.append([*settings(), scattered()])
print(json.dumps(found))
"""


@pytest.mark.covers("H5")
@pytest.mark.parametrize("set_before", [":16:8", None])
def test_determinism_is_demanded_or_asked_for(set_before):
    off, warns, on, left = told(started(DETERMINISM, CUBLAS_WORKSPACE_CONFIG=set_before))
    workspace = set_before or ":4096:8"
    assert off == [False, False, False, True, set_before, "is silent"]
    assert warns == [True, True, True, False, workspace, "warns"]
    assert on == [True, False, True, False, workspace, "raises"]
    assert left == [True, False, True, True, workspace, "raises"]  # False leaves it as it is


@pytest.mark.parametrize("deterministic", ["yes", None, 2])
def test_another_determinism_is_refused_before_anything_is_seeded(deterministic):
    seed_all(3)
    expected = draw()
    seed_all(3)
    with pytest.raises(ValueError, match=r"^deterministic is True, False or 'warn', given "):
        seed_all(4, deterministic=deterministic)
    assert draw() == expected


# ------------------------------------------------------------------ ranks


@pytest.mark.covers("H5")
def test_each_rank_adds_its_number_where_that_is_wanted(monkeypatch):
    monkeypatch.setenv("RANK", "2")
    assert seed_all(5) == 5
    assert current_seed() == 5
    assert seed_all(5, diff_rank_seed=True) == 5
    assert current_seed() == 7
    found = draw()
    monkeypatch.delenv("RANK")
    seed_all(7, diff_rank_seed=True)
    assert draw() == found


def test_ranks_go_round_at_the_largest_seed(monkeypatch):
    monkeypatch.setenv("RANK", "3")
    assert seed_all(2**32 - 2, diff_rank_seed=True) == 2**32 - 2
    assert current_seed() == 1


RANK = f"""
import json, os, random
import numpy as np, torch
import torch.distributed as dist
from footplate.engine.random import current_seed, seed_all
{DRAW}
dist.init_process_group("gloo", init_method=os.environ["STORE"], rank=int(os.environ["NUMBER"]),
    world_size=2)
options = [dict(seed=7), dict(seed=7, diff_rank_seed=True), dict(), dict(diff_rank_seed=True)]
print(json.dumps([[seed_all(**one), current_seed(), draw()] for one in options]))
dist.destroy_process_group()
"""


@pytest.mark.covers("H5")
def test_ranks_agree_upon_a_seed_that_is_drawn(tmp_path: Path):
    environment = {"STORE": f"file://{tmp_path / 'store'}", "GLOO_SOCKET_IFNAME": "lo"}
    ranks = [started(RANK, NUMBER=str(number), **environment) for number in (0, 1)]
    first, second = map(told, ranks)
    assert first[0] == second[0]
    assert first[0][:2] == [7, 7]
    assert [rank[1][:2] for rank in (first, second)] == [[7, 7], [7, 8]]
    assert first[1][2] == first[0][2] != second[1][2]
    assert first[2] == second[2]
    assert first[2][0] == first[2][1]
    drawn = first[3][0]
    assert [rank[3][:2] for rank in (first, second)] == [
        [drawn, drawn],
        [drawn, (drawn + 1) % 2**32],
    ]
    assert first[3][2] != second[3][2]


def test_ranks_that_can_not_talk_yet_are_not_seeded_apart(monkeypatch):
    monkeypatch.setenv("WORLD_SIZE", "2")
    with pytest.raises(RuntimeError, match=r"no seed is given.* launcher=.auto. .*or give a seed"):
        seed_all()
    assert seed_all(5) == 5
    monkeypatch.setenv("WORLD_SIZE", "1")
    assert seed_all() >= 0


# ------------------------------------------------------------------ states


def test_a_state_survives_a_file_that_can_run_no_code(tmp_path):
    seed_all(3)
    draw()  # leaves half of a pair of Gaussians behind
    torch.save(capture(), tmp_path / "random.pt")
    expected = [draw() for _ in range(3)]
    restore(torch.load(tmp_path / "random.pt", weights_only=True))
    assert [draw() for _ in range(3)] == expected


def test_what_is_drawn_inside_is_not_missed_outside():
    seed_all(3)
    expected = draw()
    seed_all(3)
    with suppress(KeyError), preserved():
        assert draw() == expected
        seed_all(8)
        raise KeyError
    assert draw() == expected


def test_a_state_without_torch_leaves_torch_alone():
    seed_all(3)
    state = capture()
    alone = {name: state[name] for name in ("python", "numpy")}
    torch_next = torch.rand(()).item()
    python, legacy = random.random(), np.random.rand()
    torch.manual_seed(3)
    restore(alone)
    assert (random.random(), np.random.rand()) == (python, legacy)
    assert torch.rand(()).item() == torch_next
    numpys = np.random.rand()
    restore({"python": state["python"]})
    assert random.random() == python
    assert np.random.rand() != numpys  # went on


WITHOUT = """
import json, random, sys
from footplate.engine.random import capture, preserved, restore

random.seed(4)
state = capture()
with preserved():
    random.random()
assert list(state) == ["python"], state.keys()
restore(state)
drawn = [random.random()]
assert not {"numpy", "torch"} & sys.modules.keys()

import numpy
numpy.random.seed(4)
numpy.random.standard_normal()
state = capture()
assert list(state) == ["python", "numpy"], state.keys()
drawn += [random.random(), numpy.random.standard_normal(), numpy.random.rand()]
restore(json.loads(json.dumps(state)))
assert drawn[1:] == [random.random(), numpy.random.standard_normal(), numpy.random.rand()]
assert "torch" not in sys.modules
print(json.dumps([drawn, state]))
"""


def test_libraries_that_nobody_has_imported_are_not_imported():
    drawn, state = told(started(WITHOUT))
    assert drawn[0] == random.Random(4).random()
    restore(state)  # of an interpreter without torch, in one with it
    assert [random.random(), np.random.standard_normal(), np.random.rand()] == drawn[1:]
