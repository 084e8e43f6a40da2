"""Parameter groups: what goes where by which rule, and what is refused."""

from __future__ import annotations

import pytest
import torch
from torch import nn
from torch.optim import SGD, AdamW

from footplate.engine.step.groups import (
    NoDecay,
    Scale,
    check_groups,
    default_optimizer,
    describe_groups,
    parameter_groups,
)


class Network(nn.Module):
    """A little of everything."""

    def __init__(self) -> None:
        super().__init__()
        self.embedding = nn.Embedding(10, 4)
        self.backbone = nn.Sequential(
            nn.Conv1d(4, 4, 3), nn.BatchNorm1d(4), nn.GroupNorm(2, 4), nn.LayerNorm([4, 6])
        )
        self.norms = nn.ModuleList(
            [nn.RMSNorm([2, 4]), nn.InstanceNorm1d(4, affine=True), nn.SyncBatchNorm(4)]
        )
        self.attention = nn.MultiheadAttention(4, 2)
        self.scale = nn.Parameter(torch.tensor(1.0))
        self.head = nn.Linear(4, 10)


def by_group(groups: list[dict], model: nn.Module) -> dict[str, list[str]]:
    names = {id(value): name for name, value in model.named_parameters()}
    return {group["name"]: [names[id(one)] for one in group["params"]] for group in groups}


@pytest.mark.covers("D6")
def test_biases_and_norms_do_not_decay():
    model = Network()
    groups = parameter_groups(model, NoDecay(), lr=0.1, weight_decay=0.5)
    placed = by_group(groups, model)
    assert placed["default"] == [
        "embedding.weight",
        "backbone.0.weight",
        "attention.in_proj_weight",
        "attention.out_proj.weight",
        "head.weight",
    ]
    everything = {name for name, _ in model.named_parameters()}
    assert set(placed["no_decay"]) == everything - set(placed["default"])
    assert [(group["lr"], group["weight_decay"]) for group in groups] == [(0.1, 0.0), (0.1, 0.5)]
    placed = by_group(
        parameter_groups(model, NoDecay(embeddings=True), lr=0.1, weight_decay=0.5), model
    )
    assert "embedding.weight" in placed["no_decay"]


@pytest.mark.covers("D6")
def test_the_default_is_adamw_that_trains_by_these_groups():
    torch.manual_seed(0)
    model = nn.Linear(3, 2)
    optimizer = default_optimizer(model, lr=0.1, weight_decay=0.5)
    assert type(optimizer) is AdamW
    before = model.weight.detach().clone(), model.bias.detach().clone()
    for one in model.parameters():
        one.grad = torch.zeros_like(one)
    optimizer.step()
    torch.testing.assert_close(model.weight, before[0] * (1 - 0.1 * 0.5))
    assert torch.equal(model.bias, before[1])
    state = optimizer.state_dict()
    assert [group["name"] for group in state["param_groups"]] == ["default", "no_decay"]


@pytest.mark.covers("D6")
def test_rules_about_different_things_meet_in_groups_of_their_own():
    model = nn.ModuleDict({"backbone": nn.Linear(2, 2), "head": nn.Linear(2, 2)})
    rules = [Scale("backbone.*", lr=0.1), NoDecay(), Scale("head.*", weight_decay=2)]
    expected = {
        "lr*0.1": (["backbone.weight"], 0.05, 0.01),
        "lr*0.1,no_decay": (["backbone.bias"], 0.05, 0.0),
        "weight_decay*2.0": (["head.weight"], 0.5, 0.02),
        "no_decay": (["head.bias"], 0.5, 0.0),  # what does not decay can't be scaled
    }
    for order in (rules, rules[::-1]):
        groups = parameter_groups(model, *order, lr=0.5, weight_decay=0.01)
        assert list(by_group(groups, model)) == list(expected)
        for group in groups:
            names, lr, decay = expected[group["name"]]
            assert by_group([group], model)[group["name"]] == names
            assert (group["lr"], group["weight_decay"]) == (pytest.approx(lr), decay)


def test_equal_options_share_a_group():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.Linear(2, 2))
    groups = parameter_groups(
        model, Scale("0.*", lr=0.1), Scale("2.*", lr=0.1), lr=1, weight_decay=0
    )
    assert [group["name"] for group in groups] == ["lr*0.1", "default"]
    groups = parameter_groups(model, NoDecay(), lr=1.0, weight_decay=0.0)
    assert [group["name"] for group in groups] == ["default"]  # nothing decays anyway


def test_names_can_be_left_out():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2)})
    groups = parameter_groups(model, Scale("*", lr=0.1, but="b.*"), lr=1.0, weight_decay=0.0)
    assert by_group(groups, model) == {
        "lr*0.1": ["a.weight", "a.bias"],
        "default": ["b.weight", "b.bias"],
    }


def test_frozen_parameters_are_left_out_and_listed():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 3))
    model[0].requires_grad_(False)
    optimizer = default_optimizer(model)
    assert describe_groups(optimizer, model) == (
        "group     tensors  elements     lr  weight decay\n"
        "default         1         6  0.001          0.01\n"
        "    1.weight\n"
        "no_decay        1         3  0.001             0\n"
        "    1.bias\n"
        "frozen          2         6\n"
        "    0.weight, 0.bias"
    )
    check_groups(optimizer, model)
    model[0].weight.requires_grad_(True)
    assert "in no group        1         4\n    0.weight" in describe_groups(optimizer, model)


def test_tied_weights_are_placed_once_by_any_of_their_names():
    model = nn.ModuleDict({"embedding": nn.Embedding(5, 2), "head": nn.Linear(2, 5)})
    model["head"].weight = model["embedding"].weight
    groups = parameter_groups(model, Scale("head.*", lr=0.1), lr=1.0, weight_decay=0.0)
    assert by_group(groups, model) == {"lr*0.1": ["embedding.weight", "head.bias"]}
    rules = Scale("head.*", lr=0.1), Scale("embedding.*", lr=0.2)
    with pytest.raises(ValueError, match=r"embedding\.weight would be in two groups"):
        parameter_groups(model, *rules, lr=1.0, weight_decay=0.0)


def test_a_compiled_model_has_the_names_of_the_model():
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2))
    model[0] = torch.compile(model[0], backend="eager")
    groups = parameter_groups(
        torch.compile(model, backend="eager"), Scale("0.weight", lr=0.1), lr=1.0, weight_decay=0.0
    )
    assert [len(group["params"]) for group in groups] == [1, 3]


def test_long_lists_of_names_are_wrapped():
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(50)))
    lines = describe_groups(SGD(model.parameters(), lr=0.1), model).splitlines()
    assert max(map(len, lines)) <= 100
    assert sum(line.count("weight") for line in lines[1:]) == 50


def test_several_optimizers_may_share_a_model():
    model = nn.Linear(2, 2)
    parts = [SGD([model.weight], lr=0.1), AdamW([model.bias])]
    check_groups(parts, model)
    assert describe_groups(parts, model).count("\n") == 4


# ------------------------------------------------------------------ refused


@pytest.mark.covers("D6")
def test_a_parameter_in_no_group_or_in_two_is_named():
    model = nn.Linear(2, 2)
    with pytest.raises(ValueError, match=r"in no group, so not trained: bias\."):
        check_groups(SGD([model.weight], lr=0.1), model)
    both = SGD(model.parameters(), lr=0.1), SGD([model.bias], lr=0.1)
    with pytest.raises(ValueError, match=r"in several groups, so stepped repeatedly: bias\."):
        check_groups(both, model)


def test_many_names_are_cut_short():
    model = nn.Sequential(*(nn.Linear(1, 1) for _ in range(10)))
    with pytest.raises(ValueError, match=r"5\.weight and 9 more\."):
        check_groups(SGD([model[0].weight], lr=0.1), model)


@pytest.mark.covers("D6")
def test_two_rules_about_one_thing_of_a_parameter_are_named():
    model = nn.Sequential(nn.Linear(2, 2))
    rules = Scale("0.*", lr=0.1), Scale("*.bias", lr=2.0)
    with pytest.raises(
        ValueError,
        match=r"0\.bias would be in two groups: its lr is scaled by Scale\('0\.\*', lr=0\.1\) and "
        r"by Scale\('\*\.bias', lr=2\.0\)",
    ):
        parameter_groups(model, *rules, lr=1.0, weight_decay=0.0)


@pytest.mark.parametrize(
    "rule", [Scale("backbon.weight", lr=0.1), Scale("*", lr=0.1, but="backbon.weight")]
)
def test_a_rule_that_matches_nothing_is_an_error(rule):
    model = nn.ModuleDict({"backbone": nn.Linear(2, 2)})
    with pytest.raises(ValueError, match=r"'backbon.weight'.* mean 'backbone\.weight'"):
        parameter_groups(model, rule, lr=1.0, weight_decay=0.0)


@pytest.mark.parametrize(
    ("call", "message"),
    [
        (lambda: Scale("*"), "changes nothing"),
        (lambda: Scale("*", lr=-1.0), "lr of Scale.* not negative, given -1.0"),
        (lambda: Scale("*", weight_decay=float("nan")), "weight_decay of Scale.* given nan"),
        (lambda: default_optimizer(nn.Linear(1, 1), lr=-0.1), "lr is a number .* given -0.1"),
        (lambda: default_optimizer(nn.Linear(1, 1), weight_decay=True), "given True"),
        (lambda: default_optimizer(nn.ReLU()), "ReLU has no parameter that needs a gradient"),
        (lambda: default_optimizer(nn.LazyLinear(2)), "weight has no shape yet"),
    ],
)
def test_nonsense_is_refused(call, message):
    with pytest.raises(ValueError, match=message):
        call()
