"""The reinforcement-learning recipe, run as people run it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch
from torch import Tensor

from footplate.engine.nested import leaves
from footplate.recipes.reinforcement_learning import actor_critic_loss, advantages
from tests.recipes.commands.calling import called_outside, run_in
from tests.recipes.scripts import Script, run_of

pytest.importorskip("gymnasium")

RECIPE = Script("reinforcement_learning")
SHORT = ["--epochs", "3", "--at-once", "4"]


def last_of(folder: Path) -> tuple[str, dict]:
    """The digest of the weights, and the engine's state, after three epochs."""
    saved = run_of(folder) / "checkpoints" / "00000030"
    manifest = json.loads((saved / "manifest.json").read_text())
    state = torch.load(saved / "state.pt", weights_only=True)["engine"]["footplate"]
    return manifest["files"]["model.safetensors"][1], state["handlers"]


def reached(output: str) -> str:
    """The mean return of the test."""
    return re.search(r"mean return of 100 new episodes +│ +([\d.]+)", output).group(1)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Path, str]:
    """The folder of a run, and what it printed."""
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, RECIPE.printed(folder, *SHORT)


def test_it_leaves_its_files(unbroken):
    run = run_of(unbroken[0])
    files = (
        "checkpoints curves.png environment.json options.json phases.jsonl report.html run.json "
        "scalars.jsonl"
    )
    assert {path.name for path in run.iterdir()} == set(files.split())
    page = (run / "report.html").read_text()
    assert all(shown in page for shown in ("CartPole", "val_return", "test return"))


@pytest.mark.covers("K4", "C12")
def test_a_killed_run_resumes_to_the_same_weights_and_episodes(tmp_path, unbroken):
    RECIPE.stopped(tmp_path, *SHORT)
    resumed = RECIPE.printed(tmp_path, "--resume")
    assert "resuming from " in resumed
    assert "the start" not in resumed

    (digest, handlers), (expected, expected_handlers) = last_of(tmp_path), last_of(unbroken[0])
    assert digest == expected
    for name in ("optimization", "curves", "evaluation_val"):
        pairs = zip(leaves(handlers[name]), leaves(expected_handlers[name]), strict=True)
        for (path, one), (_, other) in pairs:
            assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, path
    assert reached(resumed) == reached(unbroken[1])


def test_a_run_that_was_good_enough_is_over(tmp_path):
    RECIPE.printed(tmp_path, *SHORT, "--goal", "5")
    (saved,) = (run_of(tmp_path) / "checkpoints").iterdir()
    assert saved.name == "00000010"


def test_a_run_is_resumed_with_its_own_options_and_no_others(unbroken):
    refused = RECIPE.ran(unbroken[0], "--resume", "--at-once", "8")
    assert refused.returncode == 2
    assert "--at-once" in refused.stderr


def test_its_configuration_trains_the_same(tmp_path, unbroken):
    short = ("train_cfg.max_epochs=3", "train_dataloader.at_once=4")
    done = called_outside(
        "train", "reinforcement_learning", *short, folder=tmp_path, OMP_NUM_THREADS="1"
    )
    assert done.returncode == 0, done.stderr
    run = run_in(tmp_path)
    manifest = json.loads((run / "checkpoints" / "00000030" / "manifest.json").read_text())
    assert manifest["files"]["model.safetensors"][1] == last_of(unbroken[0])[0]
    logs = run_of(unbroken[0]) / "scalars.jsonl", run / "scalars.jsonl"
    assert validations(logs[0]) == validations(logs[1])


def validations(log: Path) -> list[float]:
    """What was reached in each epoch."""
    lines = map(json.loads, log.read_text().splitlines())
    return [one["val_return"] for one in lines if "val_return" in one]


def test_means_over_an_epoch_are_over_episodes(unbroken):
    lines = (run_of(unbroken[0]) / "scalars.jsonl").read_text().splitlines()
    told = [one for line in lines if (one := json.loads(line))["epoch"] == 1]
    each = [one["return"] for one in told if one["on"] == "iteration"]
    (mean,) = (one["return_epoch"] for one in told if one["on"] == "epoch")
    assert mean == pytest.approx(sum(each) / 10)


def played() -> tuple[Tensor, dict[str, Tensor]]:
    """Values, (3, 6), and steps of episodes that fail, that the clock ends, and that go on."""
    torch.manual_seed(0)
    on = torch.arange(5) < torch.tensor([[2], [4], [5]])
    terminated = torch.zeros(3, 5, dtype=torch.bool)
    terminated[0, 1] = terminated[:2, 4] = True  # the last two behind the end: they mean nothing
    steps = {
        "action": torch.randint(0, 2, (3, 5)),
        "reward": on * torch.rand(3, 5),
        "on": on,
        "terminated": terminated,
    }
    return torch.rand(3, 6), steps


def test_advantages_are_those_of_the_definition():
    values, steps = played()
    found = advantages(values, steps)
    for number, (length, fails) in enumerate([(2, True), (4, False), (5, False)]):
        reward, value = 0.01 * steps["reward"][number], values[number].clone()
        if fails:
            value[length] = 0.0  # nothing is to be hoped for; where the clock ends it, there is
        surprises = [float(reward[t] + 0.99 * value[t + 1] - value[t]) for t in range(length)]
        for t in range(5):
            ahead = sum((0.99 * 0.95) ** (k - t) * surprises[k] for k in range(t, length))
            assert float(found[number, t]) == pytest.approx(ahead, abs=1e-6)


def test_the_loss_sees_nothing_behind_the_end_of_an_episode():
    values, steps = played()
    scores = torch.rand(3, 6, 2)
    expected = actor_critic_loss((scores, values), steps)
    behind = ~steps["on"]
    scores[:, :-1][behind] = 9.0
    steps["action"][behind] = 1 - steps["action"][behind]
    values[0, 3:], values[1, 5:] = 9.0, 9.0  # the values of where the clock ended it do count
    found = actor_critic_loss((scores, values), steps)
    assert all(torch.equal(found[name], expected[name]) for name in expected)


def test_the_loss_leads_to_what_went_better_and_to_its_value():
    values, steps = played()
    scores = torch.zeros(3, 6, 2, requires_grad=True)
    actor_critic_loss((scores, values.requires_grad_()), steps)["loss"].backward()
    on, better = steps["on"], advantages(values.detach(), steps)
    done = scores.grad[:, :-1].gather(-1, steps["action"].unsqueeze(-1)).squeeze(-1)
    assert torch.equal(done[on] < 0, better[on] > better[on].mean())
    assert torch.equal(values.grad[:, :-1][on] < 0, better[on] > 0)
    assert not values.grad[:, -1].any()  # the last values are a goal, and no one's


@pytest.mark.slow
@pytest.mark.covers("K4")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_balances_the_pole(tmp_path, seed):
    output = RECIPE.printed(tmp_path, "--seed", str(seed))
    assert float(reached(output)) >= 195.0
