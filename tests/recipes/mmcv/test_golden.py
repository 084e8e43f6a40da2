"""Our runners do to the letter what MMCV 1.7 did when the golden files were written."""

from __future__ import annotations

import itertools
import json

import pytest
import torch

import footplate.recipes.mmcv as ours
from tests.recipes.mmcv import scenarios

pytestmark = [
    pytest.mark.usefixtures("one_thread"),
    pytest.mark.filterwarnings("ignore:On January 1, 2023, MMCV:UserWarning"),
    pytest.mark.filterwarnings("ignore:This overload of add_ is deprecated:UserWarning"),
    pytest.mark.filterwarnings("ignore:batch_processor is deprecated:DeprecationWarning"),
]

NEAR = 1e-9  # of losses in double precision, where kernels differ
KINDS = {
    "orders": scenarios.order,
    "asked": scenarios.asked,
    "rates": scenarios.rates,
    "momenta": scenarios.momenta,
    "losses": scenarios.losses,
}
ALONE = {
    "adversaries": scenarios.adversaries,
    "averaged": scenarios.averaged,
    "groups": scenarios.groups,
    "resumed": scenarios.resumed,
}


def golden(kind):
    return json.loads((scenarios.FOLDER / f"{kind}.json").read_text())[kind]


def _like_here(kind):
    """Whether the golden file was made with the kernels that are used here."""
    made_by = json.loads((scenarios.FOLDER / f"{kind}.json").read_text())["made by"]
    return (made_by["torch"].split("+")[0], made_by["cpu"]) == (
        torch.__version__.split("+")[0],
        torch.backends.cpu.get_cpu_capability(),
    )


def _flat(found):
    """All numbers, texts and so on of nested lists and dicts, in their order."""
    if isinstance(found, dict):
        return [one for key, value in found.items() for one in (key, *_flat(value))]
    return [one for value in found for one in _flat(value)] if isinstance(found, list) else [found]


def same(found, kind, expected):
    """Equal to the bit where the kernels are the same, and else nearly."""
    found = json.loads(json.dumps(found))
    if _like_here(kind):
        assert found == expected
    else:
        for one, other in zip(_flat(found), _flat(expected), strict=True):
            near = isinstance(other, float)
            assert one == (pytest.approx(other, rel=NEAR, abs=NEAR) if near else other)


@pytest.mark.covers("B1")
@pytest.mark.covers("B2")
@pytest.mark.covers("B3")
@pytest.mark.parametrize("name", golden("orders"))
def test_hooks_are_called_in_the_golden_order(name):
    same(scenarios.order(ours, name), "orders", golden("orders")[name])


@pytest.mark.parametrize("name", golden("asked"))
def test_hooks_know_where_the_run_stands(name):
    same(scenarios.asked(ours, name), "asked", golden("asked")[name])


@pytest.mark.parametrize("policy", scenarios.POLICIES)
def test_learning_rates_follow_the_golden_curves(policy):
    names = [name for name in golden("rates") if name.startswith(f"{policy} |")]
    assert len(names) >= 7
    for name in names:
        found = json.loads(json.dumps(scenarios.rates(ours, name)))
        assert len(found) == 36
        assert found == golden("rates")[name], name


@pytest.mark.parametrize("name", golden("momenta"))
def test_momenta_follow_the_golden_curves(name):
    found = json.loads(json.dumps(scenarios.momenta(ours, name)))
    assert found == golden("momenta")[name]


@pytest.mark.covers("C2")
@pytest.mark.parametrize("name", golden("losses"))
def test_training_gives_the_golden_losses(name):
    expected = golden("losses")[name]
    assert sum(mode == "train" for mode, _ in expected["losses"]) == 30
    same(scenarios.losses(ours, name), "losses", expected)


def test_a_run_goes_on_from_a_file_that_mmcv_has_written():
    note, losses = golden("resumed")
    assert (note, len(losses), losses[0][:2]) == ("by MMCV", 10, [1, 5])
    same(scenarios.resumed(ours), "resumed", golden("resumed"))


@pytest.mark.covers("C2")
def test_several_optimizers_are_stepped_by_the_model():
    same(scenarios.adversaries(ours), "adversaries", golden("adversaries"))


@pytest.mark.covers("C12")
def test_averages_of_weights_are_the_golden_ones():
    same(scenarios.averaged(ours), "averaged", golden("averaged"))


@pytest.mark.parametrize("by_epoch", [True, False])
def test_a_logger_finds_what_it_finds_in_mmcv(by_epoch):
    same(scenarios.logged(ours, by_epoch), "logged", golden("logged")[str(by_epoch)])


@pytest.mark.parametrize("unit", ["epoch", "iter"])
@pytest.mark.parametrize("start", [None, 0, 2])
def test_evaluation_takes_place_when_it_does_in_mmcv(unit, start):
    same(scenarios.judged(ours, unit, start), "judged", golden("judged")[f"{unit} {start}"])


def test_parameters_have_the_golden_groups():
    same(scenarios.groups(ours), "groups", golden("groups"))


def test_the_golden_files_cover_all_scenarios():
    assert list(golden("orders")) == list(golden("asked")) == list(scenarios.PHASES)
    assert list(golden("rates")) == list(scenarios.rate_names())
    assert list(golden("momenta")) == list(scenarios.momentum_names())
    assert list(golden("losses")) == list(scenarios.LOSSES)
    assert len(golden("judged")) == 6


def test_the_golden_files_are_those_of_mmcv():
    mmcv = pytest.importorskip("mmcv.runner", reason="MMCV 1.7 is not installed")
    if not hasattr(mmcv, "EpochBasedRunner"):
        pytest.skip("this MMCV has no runners")
    for kind, scenario in ALONE.items():
        same(scenario(mmcv), kind, golden(kind))
    for kind, scenario in KINDS.items():
        for name in itertools.islice(golden(kind), 4):
            same(scenario(mmcv, name), kind, golden(kind)[name])
