"""Training in shards comes to what one process comes to with all samples and all parameters."""

from __future__ import annotations

import math

import pytest
import torch
from torch import nn

from footplate.engine.placement.sharded import Sharded
from footplate.engine.placement.sharding import submodules_to_shard
from tests.distributed import sharding
from tests.distributed.launching import Ranks

CALLED = "tests.distributed.sharding:"


FOUR = ("accumulated", "clipped by the largest", "AdamW")  # one process has no row of some


@pytest.fixture(scope="module", params=[2, 4])
def world_size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.mark.covers("I2")
@pytest.mark.covers("I5")
@pytest.mark.parametrize("case", sharding.CASES)
def test_shards_are_one_process_with_all_samples(ranks: Ranks, case: str) -> None:
    if len(ranks.processes) == 4 and case not in FOUR:
        return
    alone = sharding.trained(case)
    told = ranks.call(f"{CALLED}trained", case)
    assert set(told[0]["kinds"]) == {"DTensor"}
    assert all(one["weights"] == told[0]["weights"] for one in told), "the processes differ"
    torch.testing.assert_close(told[0]["weights"], alone["weights"], rtol=1e-3, atol=1e-5)
    assert len(told[0]["norms"]) == len(alone["norms"]) > 0
    for theirs, ours in zip(told[0]["norms"], alone["norms"], strict=True):
        assert theirs == pytest.approx(ours, rel=1e-3, abs=1e-5)
    mean = [sum(many) / len(many) for many in zip(*(one["losses"] for one in told), strict=True)]
    assert mean == pytest.approx(alone["losses"], rel=1e-3, abs=1e-6)


@pytest.mark.covers("I2")
def test_all_skip_the_step_that_overflows_in_one(ranks: Ranks) -> None:
    told = ranks.call(f"{CALLED}overflowed")
    assert all(one == told[0] for one in told)
    assert told[0]["skipped"] == ["overflow"]
    assert told[0]["scale"] == 2.0
    assert told[0]["moved"]


@pytest.mark.covers("I2")
def test_averaged_weights_in_shards(ranks: Ranks) -> None:
    alone, told = sharding.averaged(), ranks.call(f"{CALLED}averaged")
    assert all(one == told[0] for one in told)
    for key, ours in alone.items():
        torch.testing.assert_close(told[0][key], ours, rtol=1e-4, atol=1e-5, msg=key)


@pytest.mark.covers("E4")
def test_a_model_made_whole_is_evaluated_on_uneven_shards(ranks: Ranks) -> None:
    told = ranks.call(f"{CALLED}evaluated_unevenly")
    assert [len(one) for one in told] == [rank + 1 for rank in range(len(told))]
    assert len({tuple(map(tuple, one)) for one in told for one in [one[:1]]}) == 1


def test_a_batch_that_failed_is_trained_on_when_it_comes_again(ranks: Ranks) -> None:
    alone, told = sharding.recovered(), ranks.call(f"{CALLED}recovered")
    for one in told:
        torch.testing.assert_close(one["weights"], alone["weights"], rtol=1e-4, atol=1e-6)


def test_a_model_without_memory_gets_it_in_shards(ranks: Ranks) -> None:
    told = ranks.call(f"{CALLED}from_meta")
    assert all(one == told[0] and one["finite"] for one in told)
    assert len({*told[0]["weights"]}) > 100


@pytest.mark.covers("I2")
@pytest.mark.parametrize(
    ("options", "types"),
    [
        ({}, ["float32"] * 3),
        ({"param_dtype": "bf16"}, ["bfloat16", "float32", "float32"]),
        ({"param_dtype": "bf16", "output_dtype": "fp32"}, ["float32"] * 3),
    ],
)
def test_what_shards_compute_with(ranks: Ranks, options: dict[str, str], types: list[str]) -> None:
    told = ranks.call(f"{CALLED}computed_with", options)
    assert all(one == [f"torch.{kind}" for kind in types] for one in told)


def test_norms_of_shards(ranks: Ranks) -> None:
    model = sharding.made()
    model(torch.ones(4, 6)).sum().backward()
    flat = torch.cat([one.grad.reshape(-1) for one in model.parameters()])
    wanted = [0.0, *(torch.linalg.vector_norm(flat, p).item() for p in (1.0, 2.0, math.inf))]
    for told in ranks.call(f"{CALLED}norms_of_shards"):
        assert told == pytest.approx(wanted, rel=1e-5)


def test_the_class_of_units_must_be_there() -> None:
    with pytest.raises(ValueError, match=r"no submodule is a Blok; .* Did you mean 'Block'"):
        submodules_to_shard(sharding.Network(), ("Blok",), 0)


def test_units_by_class_and_by_size() -> None:
    network = sharding.Network()
    assert [*submodules_to_shard(network, (sharding.Block,), 0)] == ["blocks.0", "blocks.1"]
    assert [*submodules_to_shard(network, (), 40)] == [
        *(f"blocks.{block}.{layer}" for block in (0, 1) for layer in ("first", "second")),
        "stem",
    ]
    assert not submodules_to_shard(network, (), 10**6)


def test_a_parameter_of_two_units_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 4), nn.Sequential(nn.Linear(4, 4)))
    model[1][0].weight = model[0].weight
    with pytest.raises(ValueError, match=r"'1\.0\.weight' and '0\.weight' are one parameter"):
        submodules_to_shard(model, ("Sequential",), 0)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"param_dtype": "bf61"}, "Did you mean 'bf16'"),
        ({"modules": ("Block",), "min_parameters": 5}, "give one"),
        ({"offload": True}, "for accelerators"),
    ],
)
def test_options_that_make_no_sense_are_refused(options: dict[str, object], said: str) -> None:
    with pytest.raises(ValueError, match=said):
        Sharded("cpu", **options)
