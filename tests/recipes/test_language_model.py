"""The language-model recipe, run as people run it."""

from __future__ import annotations

import re
import signal
from pathlib import Path

import pytest
import torch

from footplate.engine.nested import leaves
from tests.recipes.scripts import Script, run_of

ROOT = Path(__file__).resolve().parents[2]
RECIPE = Script("language_model")
SHORT = f"--iterations 60 --length 16 --batch-size 4 --width 32 --text {ROOT / 'LICENSE'}".split()


def last(folder: Path) -> dict:
    """The states of the handlers behind the last iteration."""
    (path,) = folder.glob("*/checkpoints/00000060/state.pt")
    return torch.load(path, weights_only=True)["engine"]["footplate"]["handlers"]


def needed(printed: str) -> list[float]:
    """The bits a character of the model, of a bigram and of a 5-gram."""
    line = re.search(r"validation: .*", printed).group()
    return [float(one) for one in re.findall(r"\d\.\d+", line)]


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory) -> tuple[Path, str]:
    """The folder of a run, and what it printed."""
    folder = tmp_path_factory.mktemp("unbroken")
    return folder, RECIPE.printed(folder, *SHORT)


@pytest.mark.covers("B2", "K2")
def test_it_learns_by_iterations_and_writes_a_sample(unbroken):
    folder, printed = unbroken
    assert "\ndef " in printed
    bits, bigram, five = needed(printed)
    assert bits < 6.5  # 7 bits without having learnt anything
    assert five < bigram < 4
    run = run_of(folder)
    files = {"checkpoints", "curves.png", "options.json", "run.json", "report.html"}
    assert {path.name for path in run.iterdir()} >= files
    assert '"iterations": 60' in (run / "run.json").read_text()  # the report shows the options


@pytest.mark.slow
@pytest.mark.covers("K2")
def test_a_whole_run_needs_fewer_bits_than_n_grams(tmp_path):
    bits, bigram, five = needed(RECIPE.printed(tmp_path))
    assert bits < five - 0.02
    assert five < bigram


@pytest.mark.covers("C12", "K2")
@pytest.mark.parametrize(
    "signum", [signal.SIGKILL, pytest.param(signal.SIGTERM, marks=pytest.mark.slow)]
)
def test_a_stopped_run_resumes_to_the_same_weights_and_average(tmp_path, unbroken, signum):
    RECIPE.stopped(tmp_path, *SHORT, by=signum)
    assert "resuming from " in RECIPE.printed(tmp_path, "--resume")  # the run has its options
    resumed, whole = last(tmp_path), last(unbroken[0])
    for name in ("ema", "optimization"):
        pairs = zip(leaves(resumed[name]), leaves(whole[name]), strict=True)
        for (path, one), (_, other) in pairs:
            assert torch.equal(one, other) if isinstance(one, torch.Tensor) else one == other, path


def test_a_width_that_heads_can_not_share_is_refused(tmp_path):
    ran = RECIPE.ran(tmp_path, "--width", "30")
    assert ran.returncode == 2
    assert "4 divides it" in ran.stderr.replace("\n", " ")


def test_a_text_that_is_too_short_or_not_there_is_refused_and_leaves_no_run(tmp_path):
    short = tmp_path / "short.txt"
    short.write_text("def f(): pass\n" * 9)
    runs = tmp_path / "runs"
    for text, code, said in ((short, 1, "it needs over 128"), ("none", 2, "does not exist")):
        ran = RECIPE.ran(runs, "--text", str(text))
        assert ran.returncode == code
        assert said in " ".join(ran.stderr.split())
        assert "Traceback" not in ran.stderr
    assert not list(runs.glob("*"))
