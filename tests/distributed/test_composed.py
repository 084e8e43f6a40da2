"""A runner in several processes is the runner of one, with all of their samples."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.distributed import composed
from tests.distributed.launching import Ranks


@pytest.mark.covers("I1")
@pytest.mark.covers("E4")
def test_it_trains_as_one_process_does(ranks: Ranks, tmp_path: Path) -> None:
    alone = composed.trained(str(tmp_path / "alone"), {})
    first, second = ranks.call("tests.distributed.composed:trained", str(tmp_path / "two"), {})
    assert first == second
    assert first["placement"] == "Replicated"
    torch.testing.assert_close(first["weights"], alone["weights"], rtol=1e-4, atol=1e-6)
    assert first["metrics"]["val_accuracy"] == alone["metrics"]["val_accuracy"]
    assert first["metrics"]["loss_epoch"] == pytest.approx(alone["metrics"]["loss_epoch"])
    runs = [one for one in (tmp_path / "two").iterdir() if one.is_dir()]
    assert [str(one) for one in runs] == [first["folder"]]


@pytest.mark.covers("D4")
def test_learning_rates_are_scaled_by_the_batches_of_all(ranks: Ranks, tmp_path: Path) -> None:
    rule = {"auto_scale_lr": {"base_batch_size": 4, "enable": True}}
    accumulated = {
        "optim_wrapper": {"optimizer": {"type": "SGD", "lr": 0.1}, "accumulative_counts": 3}
    }
    for more, lr in ((rule, 0.2), ({**rule, **accumulated}, 0.6)):
        told = ranks.call("tests.distributed.composed:trained", str(tmp_path), more)
        assert [one["lr"] for one in told] == pytest.approx([lr, lr])


@pytest.mark.covers("I2")
def test_it_trains_in_shards_as_one_process_does(ranks: Ranks, tmp_path: Path) -> None:
    alone = composed.trained(str(tmp_path / "alone"), {})
    given = {"model_wrapper_cfg": {"type": "fsdp", "modules": ["Linear"]}}
    first, second = ranks.call("tests.distributed.composed:trained", str(tmp_path / "two"), given)
    assert first == second
    assert first["placement"] == "Sharded"
    torch.testing.assert_close(first["weights"], alone["weights"], rtol=1e-4, atol=1e-6)
    assert first["metrics"]["val_accuracy"] == alone["metrics"]["val_accuracy"]


@pytest.mark.covers("I5")
def test_options_of_the_wrapper_are_checked(ranks: Ranks, tmp_path: Path) -> None:
    given = {"model_wrapper_cfg": {"type": "ddp", "find_unused_params": True}}
    for said in ranks.call("tests.distributed.composed:refused", str(tmp_path), given):
        assert "model_wrapper_cfg.find_unused_params" in said
        assert "find_unused_parameters" in said
    unknown = {"model_wrapper_cfg": {"type": "dpp"}}
    for said in ranks.call("tests.distributed.composed:refused", str(tmp_path), unknown):
        assert "model_wrapper_cfg.type" in said
        assert "Did you mean 'ddp'?" in said


@pytest.mark.covers("I5")
def test_options_of_the_wrapper_reach_it(ranks: Ranks, tmp_path: Path) -> None:
    called = "tests.distributed.composed:trained_in_part"
    for said in ranks.call(called, str(tmp_path / "refused"), {"type": "ddp"}):
        assert "model_wrapper_cfg={'find_unused_parameters': True}" in said
    given = {"find_unused_parameters": True, "bucket_cap_mb": 1}
    first, second = ranks.call(called, str(tmp_path / "trained"), given)
    assert isinstance(first, list)
    assert first == second


@pytest.mark.covers("D5")
def test_a_search_is_for_one_process(ranks: Ranks) -> None:
    for said in ranks.call("tests.distributed.composed:search_refused"):
        assert "a search is for one process, and there are 2" in said


def test_a_step_of_ones_own_is_warned_of(ranks: Ranks, tmp_path: Path) -> None:
    for said in ranks.call("tests.distributed.composed:own_step", str(tmp_path)):
        assert any("has to exchange gradients with the other 1 processes" in one for one in said)


@pytest.mark.covers("I7")
def test_how_long_a_signal_may_wait_can_be_said(ranks: Ranks, tmp_path: Path) -> None:
    assert ranks.call("tests.distributed.composed:own_grace", str(tmp_path)) == [[60], [60]]


@pytest.mark.covers("G6")
def test_nothing_to_resume_is_told_by_all(ranks: Ranks, tmp_path: Path) -> None:
    for said in ranks.call("tests.distributed.composed:nothing_to_resume", str(tmp_path)):
        assert "nothing" in said
        assert "there is no checkpoint" in said


def test_a_nested_run_is_limited_in_time(ranks: Ranks, tmp_path: Path) -> None:
    told = ranks.call("tests.distributed.composed:limited_within", str(tmp_path))
    assert told == [[True, "terminated"]] * 2
