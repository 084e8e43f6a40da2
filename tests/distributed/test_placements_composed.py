"""What a runner does is the same, whichever way several processes train its model."""

from __future__ import annotations

import importlib.util
import tempfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import torch

from tests.distributed import placed
from tests.distributed.launching import Ranks

CALLED = "tests.distributed.placed:"

REPLICAS = {"model_wrapper_cfg": {"type": "ddp"}}
SHARDS = {"model_wrapper_cfg": {"type": "fsdp", "modules": ["Linear"]}}
KEPT = {"model_wrapper_cfg": {**SHARDS["model_wrapper_cfg"], "reshard_after_forward": False}}
HALF = {"model_wrapper_cfg": {**SHARDS["model_wrapper_cfg"], "param_dtype": "bf16"}}

EMA = {"type": "footplate.handlers.averaging.EMA", "decay": 0.5}
NORMS = {"type": "footplate.handlers.gradient_norms.GradientNorms"}
SUMMARY = {"type": "footplate.handlers.model_summary.Summary"}

OPTIONS: dict[str, dict[str, Any]] = {
    "none": {},
    "loaders uneven and empty": {"val sizes": [9, 1, 4]},
    "averaged weights": {"val_cfg": {"averaged": "ema"}, "custom_hooks": [EMA]},
    "norms": {"custom_hooks": [NORMS]},
    "summary": {"custom_hooks": [SUMMARY]},
    "histograms": {"histograms": True},
    "recomputed": {"train_cfg": {"recompute": ["0", "2"]}},
    "compiled": {"compile": {"backend": "eager"}},
}

needs_deepspeed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None, reason="DeepSpeed is not installed"
)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    with Ranks(2, Path(tmp_path_factory.mktemp("ranks")), seconds=60) as ranks:
        yield ranks


@cache
def by_one_process(option: str) -> dict[str, Any]:
    """What a run comes to that has all samples."""
    with tempfile.TemporaryDirectory() as folder:
        return placed.trained(folder, dict(OPTIONS[option]))


def check(ranks: Ranks, wrapper: dict[str, Any], option: str, folder: Path) -> None:
    """Compare to one process: weights, metrics, and what is shown, which sinks of one get."""
    alone = by_one_process(option)
    told = ranks.call(f"{CALLED}trained", str(folder), {**OPTIONS[option], **wrapper})
    for key in ("weights", "metrics"):
        assert told[0][key] == told[1][key]
    for key in ("weights", "metrics", "shown"):
        ours = {name: one for name, one in alone[key].items() if name not in ("loss", "time")}
        for name, one in ours.items():
            if isinstance(one, str):  # a summary, with its totals in the last line
                assert told[0][key][name].splitlines()[-1] == one.splitlines()[-1]
            else:
                torch.testing.assert_close(told[0][key][name], one, rtol=1e-4, atol=1e-6, msg=name)


@pytest.mark.covers("I1")
@pytest.mark.covers("I2")
@pytest.mark.parametrize("wrapper", [REPLICAS, SHARDS], ids=["replicas", "shards"])
@pytest.mark.parametrize("option", [one for one in OPTIONS if one != "none"])
def test_options_go_with_replicas_and_shards(
    ranks: Ranks, wrapper: dict[str, Any], option: str, tmp_path: Path
) -> None:
    check(ranks, wrapper, option, tmp_path)


@pytest.mark.covers("I2")
def test_shards_may_be_kept_between_forward_and_backward(ranks: Ranks, tmp_path: Path) -> None:
    check(ranks, KEPT, "none", tmp_path)


@needs_deepspeed
@pytest.mark.covers("I3")
@pytest.mark.parametrize(
    ("stage", "option"),
    [
        (1, "averaged weights"),
        (3, "loaders uneven and empty"),
        (3, "summary"),
        (3, "recomputed"),
        (3, "compiled"),
    ],
)
def test_options_go_with_deepspeed(ranks: Ranks, stage: int, option: str, tmp_path: Path) -> None:
    check(ranks, {"stage": stage}, option, tmp_path)


@pytest.mark.covers("I2")
def test_shards_may_compute_in_half_precision(ranks: Ranks, tmp_path: Path) -> None:
    longer = {"train_cfg": {"max_epochs": 4}}
    alone = placed.trained(str(tmp_path / "alone"), dict(longer))
    told = ranks.call(f"{CALLED}trained", str(tmp_path / "two"), {**longer, **HALF})
    mean = [sum(pair) / 2 for pair in zip(*(one["losses"] for one in told), strict=True)]
    assert len(mean) == 24
    assert mean == pytest.approx(alone["losses"], rel=0.01)
    assert mean != pytest.approx(alone["losses"], rel=1e-5), "it was computed in full precision"


# ---------------------------------------------------------------------- DeepSpeed, saved


@needs_deepspeed
@pytest.mark.covers("I3")
@pytest.mark.parametrize(
    "how",
    [
        {"stage": 1},
        {"stage": 2, "zero": {"bf16": {"enabled": True}}},
        {"stage": 3},
        {
            "stage": 3,
            "optim_wrapper": None,
            "zero": {
                "optimizer": {"type": "AdamW", "params": {"lr": 0.02, "torch_adam": True}},
            },
        },
        {"stage": 3, "default_hooks": {"report": None, "checkpoint": {"background": True}}},
    ],
    ids=["1", "2 in bf16", "3", "3 with its own optimizer", "3 in the background"],
)
def test_deepspeed_goes_on_to_the_bit(ranks: Ranks, how: dict[str, Any], tmp_path: Path) -> None:
    told = ranks.call(f"{CALLED}resumed", str(tmp_path), how)
    assert told[0]["once"] == told[1]["once"]
    for one in told:
        assert one["twice"] == one["once"] != one["half"]
        assert one["loaded"] == one["half"]
        once, twice = one["metrics"]
        assert once["val_loss"] == twice["val_loss"]
        assert one["optimizer"] == ("_Told" if "optim_wrapper" in how else "AdamW")


@needs_deepspeed
@pytest.mark.covers("I6")
def test_an_error_in_stage_3_is_left_by_one_process_alone(ranks: Ranks, tmp_path: Path) -> None:
    found = ranks.call(f"{CALLED}failed", str(tmp_path), {"stage": 3})[0]
    assert found[0] == "00000006"
    assert len(found) == 2
    assert found[1].startswith("00000008-inexact-rank")


# ---------------------------------------------------------------------- by other calls


@pytest.mark.covers("E4")
@pytest.mark.parametrize("wrapper", [REPLICAS, SHARDS], ids=["replicas", "shards"])
def test_fresh_runners_measure_and_predict(
    ranks: Ranks, wrapper: dict[str, Any], tmp_path: Path
) -> None:
    run = placed.trained(str(tmp_path / "alone"), {})
    alone = placed.evaluated(str(tmp_path / "alone"), run["folder"], {})
    told = ranks.call(f"{CALLED}evaluated", str(tmp_path / "two"), run["folder"], dict(wrapper))
    assert len(alone["predicted"]) == 9
    for one in told:
        assert one["metrics"] == pytest.approx(alone["metrics"])
        torch.testing.assert_close(one["predicted"], alone["predicted"], rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("wrapper", [REPLICAS, SHARDS], ids=["replicas", "shards"])
def test_what_is_no_number_ends_all_processes(
    ranks: Ranks, wrapper: dict[str, Any], tmp_path: Path
) -> None:
    guard = {"type": "footplate.handlers.non_finite.StopOnNonFinite"}
    told = ranks.call(f"{CALLED}not_finite", str(tmp_path), {"custom_hooks": [guard], **wrapper})
    assert told[0] == told[1]
    assert told[0][0] == "loss"


@pytest.mark.covers("C12")
@pytest.mark.parametrize("wrapper", [REPLICAS, SHARDS], ids=["replicas", "shards"])
def test_an_average_is_written_whole(ranks: Ranks, wrapper: dict[str, Any], tmp_path: Path) -> None:
    assert ranks.call(f"{CALLED}averaged", str(tmp_path), dict(wrapper)) == [True, True]


@pytest.mark.covers("C12")
def test_statistics_of_batch_norm_are_those_of_all(ranks: Ranks, tmp_path: Path) -> None:
    alone = placed.estimated(str(tmp_path / "alone"), {})
    for told in ranks.call(f"{CALLED}estimated", str(tmp_path / "two"), dict(REPLICAS)):
        torch.testing.assert_close(told, alone, rtol=1e-5, atol=1e-6)


# ---------------------------------------------------------------------- refused


def test_options_of_shards_are_checked_before_a_run(ranks: Ranks, tmp_path: Path) -> None:
    given = {"model_wrapper_cfg": {"type": "fsdp", "modles": []}}
    for said in ranks.call(f"{CALLED}refused", str(tmp_path), given):
        assert "model_wrapper_cfg.modles" in said
        assert "Did you mean 'modules'" in said


@needs_deepspeed
@pytest.mark.covers("I3")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"stage": 0}, "model_wrapper_cfg.config: config= has a stage of ZeRO"),
        ({"stage": 1, "zero": {"scheduler": {"type": "OneCycle"}}}, "give param_scheduler="),
        ({"stage": 1, "zero": {"optimizer": {"type": "Adam"}}}, "leave one of them out"),
        ({"stage": 1, "custom_hooks": [NORMS]}, "GradientNorms looks at gradients"),
        ({"stage": 1, "histograms": True}, "looks at gradients"),
        ({"stage": 3, "custom_hooks": [EMA]}, "EMA reads the weights"),
    ],
)
def test_what_deepspeed_can_not_is_refused_before_the_first_batch(
    ranks: Ranks, given: dict[str, Any], said: str, tmp_path: Path
) -> None:
    for told in ranks.call(f"{CALLED}refused", str(tmp_path), given):
        assert said in told
