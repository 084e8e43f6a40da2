"""The image-generation recipe, run as people run it."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest
import torch

from footplate.engine.nested import leaves
from footplate.engine.stream.journal import Journal
from footplate.recipes.image_classification import digits
from footplate.recipes.image_generation import GAN, Judged, wishes
from tests.recipes.commands.calling import called
from tests.recipes.scripts import Script, run_of

RECIPE = Script("image_generation")
SHORT = ["--iterations", "6", "--judge-epochs", "1"]


def last(folder: Path) -> dict:
    """What is saved behind the last iteration."""
    path = run_of(folder) / "checkpoints" / "00000006" / "state.pt"
    return torch.load(path, weights_only=True)


def worth(printed: str) -> dict[str, float]:
    """The figures that a run prints in the end, by name."""
    return {name: float(value) for name, value in re.findall(r"^(\w+): ([\d.]+)$", printed, re.M)}


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Path, str]:
    """The folder of a run, and what it printed."""
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, RECIPE.printed(folder, *SHORT)


@pytest.mark.covers("K3")
def test_two_optimizers_step_and_the_report_shows_what_is_drawn(unbroken):
    folder, printed = unbroken
    handlers = last(folder)["engine"]["footplate"]["handlers"]
    for name in ("generator", "critic"):
        steps = [one["step"].item() for one in handlers[name]["optimizer"]["state"].values()]
        assert set(steps) == {6.0}, name
    run = run_of(folder)
    drawn = [
        line for line in Journal.read(run / "media" / "media.jsonl") if line["kind"] == "image"
    ]
    assert [(line["name"], line["step"]) for line in drawn][-1] == ("drawn", 6)
    page = (run / "report.html").read_text()
    assert re.search(r'<img [^>]*src="data:image/png;base64,[^>]*alt="drawn"', page)
    assert all(shown in page for shown in ("critic_loss", "generator_loss", "val_variety"))
    measured = json.loads((run / "run.json").read_text())["results"]["test"]
    assert worth(printed) == pytest.approx(
        {name: measured[name] for name in worth(printed)}, abs=1e-4
    )
    assert worth(printed).keys() >= {"sure", "rarest_class", "commonest_class", "judge_accuracy"}


@pytest.mark.covers("K3", "C12")
def test_a_killed_run_resumes_to_the_same_bits(tmp_path, unbroken):
    RECIPE.stopped(tmp_path, *SHORT)
    printed = RECIPE.printed(tmp_path, "--resume")
    assert re.search(r"resuming from \S*0000", printed)
    assert worth(printed) == worth(unbroken[1])
    resumed, whole = last(tmp_path), last(unbroken[0])
    handlers, expected = (one["engine"]["footplate"]["handlers"] for one in (resumed, whole))
    pairs = [(handlers[name], expected[name]) for name in ("generator", "critic", "ema")]
    for one, other in [*pairs, (resumed["random"], whole["random"])]:
        for (path, value), (_, wanted) in zip(leaves(one), leaves(other), strict=True):
            equal = (
                torch.equal(value, wanted) if isinstance(value, torch.Tensor) else value == wanted
            )
            assert equal, path


def test_a_run_is_resumed_with_its_own_options_and_no_others(tmp_path, unbroken):
    refused = RECIPE.ran(unbroken[0], "--resume", "--seed", "1")
    assert refused.returncode == 2
    assert "leave out --seed" in " ".join(refused.stderr.replace("│", " ").split())


@pytest.mark.covers("K3")
def test_its_configuration_trains_and_shows_the_same(tmp_path):
    options = (
        "train_cfg.epoch_length=3",
        "train_cfg.max_epochs=2",
        "val_evaluator.judge.epochs=1",
    )
    done = called("train", "image_generation", *options, folder=tmp_path)
    assert done.exit_code == 0, done.stderr
    run = next((tmp_path / "runs" / "image_generation").iterdir())
    assert 'alt="drawn"' in (run / "report.html").read_text()
    state = torch.load(run / "checkpoints" / "00000006" / "state.pt", weights_only=True)
    handlers = state["engine"]["footplate"]["handlers"]
    assert handlers.keys() >= {"generator", "critic", "ema"}
    assert handlers["ema"]["steps"] == 6  # of the generator alone


def test_each_loss_reaches_its_own_network():
    class Noted:
        def update(self, loss):
            self.loss = loss

    model, wrapper = GAN(width=4), {"critic": Noted(), "generator": Noted()}
    model.train_step((torch.rand(6, 1, 8, 8), torch.arange(6)), wrapper)
    by_critic = torch.autograd.grad(
        wrapper["critic"].loss, [*model.generator.parameters()], allow_unused=True
    )
    assert all(one is None for one in by_critic)
    by_generator = torch.autograd.grad(wrapper["generator"].loss, [*model.generator.parameters()])
    assert sum(one.abs().sum() for one in by_generator) > 0


def test_real_digits_are_sure_and_various_and_one_digit_again_and_again_is_not():
    images, labels = digits(0)[2]

    class Sees(torch.nn.Module):
        def forward(self, some):
            return 9.0 * torch.nn.functional.one_hot(told, 10).float()

    told = labels
    judged = Judged(Sees(), (images, labels))
    judged.process(None, (images, labels))
    found = judged.evaluate(size=len(labels))
    assert found["variety"] == pytest.approx(1.0)
    assert (found["sure"], found["as_asked"], found["judge_accuracy"]) == (1.0, 1.0, 1.0)
    shares = labels.bincount() / len(labels)
    assert found["rarest_class"] == pytest.approx(shares.min().item())
    assert found["commonest_class"] == pytest.approx(shares.max().item())
    one_each = torch.stack([images[labels == one][0] for one in labels])
    judged.process(None, (one_each, labels))
    assert judged.evaluate(size=len(labels))["variety"] == pytest.approx(0.0, abs=1e-6)


def test_wishes_are_the_same_for_a_seed_and_of_all_classes():
    (noise, labels), (again, _), (other, _) = wishes(20, 1), wishes(20, 1), wishes(20, 2)
    assert torch.equal(noise, again)
    assert not torch.equal(noise, other)
    assert labels.bincount().tolist() == [2] * 10


@pytest.mark.slow
@pytest.mark.covers("K3")
@pytest.mark.parametrize("seed", [0, 1, 2])
def test_it_draws_sure_digits_of_all_classes(tmp_path, seed):
    found = worth(RECIPE.printed(tmp_path, "--seed", str(seed)))
    assert found["judge_accuracy"] >= 0.98
    assert found["sure"] >= 0.8
    assert 0.03 <= found["rarest_class"] <= found["commonest_class"] <= 0.25
    assert found["variety"] >= 0.6  # ten digits drawn again and again would do for the rest
