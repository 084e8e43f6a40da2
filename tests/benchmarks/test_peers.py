"""All contenders of the field do the same: the same losses on the same data, to the bit."""

from __future__ import annotations

import contextlib
import importlib.util
import io
import json
import warnings

import pytest
import torch

from tests.benchmarks.peers import page, results, tables, tasks, turns
from tests.benchmarks.peers.field import CONTENDERS, contender
from tests.benchmarks.peers.measures import kills, lines
from tests.benchmarks.peers.measuring import MEASURES, main, measure_of

PACKAGES = {"fabric": "lightning"}
OTHERS = [name for name in CONTENDERS if name != "bare"]
FOUND = {
    "bare": {"seconds": 2.0},
    "footplate": {"seconds": 2.5},
    "lightning": {"seconds": 4.0},
    "mmengine": {"error": "RuntimeError: no such | thing"},
}


@pytest.fixture(autouse=True)
def _foreign_warnings():
    """What the peers warn about while they are imported and run is theirs."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def installed(name):
    return importlib.util.find_spec("footplate" if name == "bare" else PACKAGES.get(name, name))


def losses_of(name, task):
    """What a contender's iterations lose, to the bit."""
    losses, loss_of = [], task.loss_of

    def kept(scores, targets):
        loss = loss_of(scores, targets)
        losses.append(loss.item())
        return loss

    task.loss_of = kept
    run = contender(name).train(task)
    torch.manual_seed(tasks.SEED)
    with contextlib.redirect_stdout(io.StringIO()):
        run()
    return losses


@pytest.mark.parametrize("make", ["linear", "digits"])
@pytest.mark.parametrize("name", OTHERS)
def test_a_contender_loses_what_the_bare_loop_does(name, make):
    if not installed(name):
        pytest.skip(f"{name} is not installed")
    task = getattr(tasks, make)
    losses = losses_of("bare", task(4))
    assert len(losses) == 4
    assert losses_of(name, task(4)) == losses


@pytest.mark.parametrize("name", OTHERS)
def test_epochs_of_shuffled_batches_are_the_same(name):
    if not installed(name):
        pytest.skip(f"{name} is not installed")
    losses = losses_of("bare", tasks.brief(2))
    assert len(losses) == 80
    # Lightning counts batches, and does not ask for the one that is not there; so the sampler does
    # not draw what it draws at its end, and the second epoch has another order.
    same = 40 if name == "lightning" else 80
    assert losses_of(name, tasks.brief(2))[:same] == losses[:same]


def test_the_network_is_that_of_the_recipe():
    recipe = pytest.importorskip("footplate.recipes.image_classification")
    ours, theirs = tasks.network(0.2), recipe.network(0.2)
    assert repr(ours) == repr(theirs)


def test_a_contender_that_fails_is_told_of_and_others_go_on(monkeypatch):
    def measured(measure, name, **options):
        if name == "lightning":
            raise RuntimeError("no luck")
        return {"seconds": options["seconds"]}

    monkeypatch.setattr(turns, "measured", measured)
    found = turns.in_turns("stacks", ["bare", "lightning"], 2, seconds=3)
    assert found == {"bare": {"seconds": 3}, "lightning": {"error": "no luck"}}


def test_figures_are_told_over_the_bare_loop_and_over_ours():
    head, bare, ours, peer, failed = tables.rows_of(measure_of("stacks"), FOUND)
    assert head == ["", "s", "more", "times ours"]
    assert bare == ["a bare loop", "2", "", ""]
    assert ours == ["Footplate", "2.5", "0.5", ""]
    assert peer == ["Lightning", "4", "2", "4.0"]
    assert failed == ["MMEngine", "failed: RuntimeError: no such | thing", "", ""]


def test_results_become_a_page_that_can_be_made_anew(tmp_path):
    source, text = tmp_path / "peers.json", tmp_path / "benchmarks.md"
    text.write_text(f"before\n\n{page.BEGIN}\n\nold\n\n{page.END}\n\nafter\n")
    results.keep(source, "stacks", FOUND, device="cpu", quick=True)
    for _ in range(2):
        page.main(source, text)
        made = text.read_text()
        assert made.startswith("before")
        assert made.endswith("after\n")
        assert "| Lightning | 4 | 2 | 4.0 |" in made
        assert "no such \\| thing" in made
        assert "old" not in made
        assert made.count("### ") == 1
        assert "<svg" in (tmp_path / "benchmarks" / "stacks.svg").read_text()


def test_a_measure_or_contender_that_is_not_there_is_refused(capsys):
    for arguments, known in ((["speed"], "overhead"), (["--only", "lightnin"], "lightning")):
        with pytest.raises(SystemExit):
            main(arguments)
        assert known in capsys.readouterr().err


@pytest.mark.parametrize("name", MEASURES)
def test_a_measure_says_what_it_is(name):
    measure = measure_of(name)
    assert measure.__doc__
    assert measure.TITLE
    assert measure.PLOT in measure.FIGURES
    assert measure.OVER in (None, *CONTENDERS)
    assert measure.OVER is None or 0 < measure.NOISE < 1


def test_lines_with_code_are_counted(tmp_path):
    path = tmp_path / "some.py"
    path.write_text(
        '"""Docs."""\n\nx = (1,\n     2)  # why\n# no\n\ndef f():\n    """Docs."""\n    return x\n'
    )
    assert lines.lines_of_code(path) == {3, 4, 7, 9}


def test_torn_files_are_found(tmp_path):
    torch.save({"x": 1}, tmp_path / "whole.pt")
    whole = (tmp_path / "whole.pt").read_bytes()
    (tmp_path / "torn.ckpt").write_bytes(whole[: len(whole) // 2])
    (tmp_path / "torn.safetensors").write_bytes(b"\x10")
    (tmp_path / "lacking").mkdir()
    (tmp_path / "lacking" / "__0_0.distcp").write_bytes(b"1")
    names = {path.name for path in kills.torn(tmp_path)}
    assert names == {"torn.ckpt", "torn.safetensors", "lacking"}


@pytest.mark.slow
def test_a_killed_run_goes_on_to_the_same_bits():
    figures = kills.of("footplate", 3)
    assert figures["kills"] == figures["went_on"] + figures["anew"]
    assert figures["went_on"] == figures["weights"] == figures["batches"] > 0
    assert not figures["failures"]


def test_what_is_kept_can_be_read(tmp_path):
    results.keep(tmp_path / "a" / "peers.json", "stacks", FOUND, device="cpu", quick=False)
    kept = json.loads((tmp_path / "a" / "peers.json").read_text())["measures"]["stacks"]
    assert kept["contenders"] == FOUND
    assert kept["machine"]["cores"]
    assert kept["versions"]["torch"]
