"""Training by replicas comes to what one process comes to with all of their samples."""

from __future__ import annotations

import pytest
import torch

from footplate.engine.placement.replicated import Replicated
from tests.distributed import training
from tests.distributed.launching import Ranks


@pytest.fixture(scope="module", params=[2, 4])
def world_size(request: pytest.FixtureRequest) -> int:
    return int(request.param)


@pytest.mark.covers("I1")
@pytest.mark.covers("C7")
@pytest.mark.covers("I5")
@pytest.mark.parametrize("case", training.CASES)
def test_replicas_are_one_process_with_all_samples(ranks: Ranks, case: str) -> None:
    alone = training.trained(case)
    told = ranks.call("tests.distributed.training:trained", case)
    assert all(one == told[0] for one in told), "the replicas differ from each other"
    assert told[0]["steps"] == alone["steps"] > 0
    torch.testing.assert_close(told[0]["weights"], alone["weights"], rtol=1e-4, atol=1e-6)
    torch.testing.assert_close(told[0]["norms"], alone["norms"], rtol=1e-4, atol=1e-6)


@pytest.mark.covers("C7", "I5")
def test_the_last_backward_pass_of_a_window_exchanges_gradients_and_no_other(ranks: Ranks) -> None:
    told = ranks.call("tests.distributed.training:gradients_of", 3)
    alike = [all(one == of_batch[0] for one in of_batch) for of_batch in zip(*told, strict=True)]
    assert alike == [False, False, True] * 2


@pytest.mark.parametrize("case", ["turns", "one loss"])
def test_all_begin_a_window_with_the_first_ones_buffers(ranks: Ranks, case: str) -> None:
    first, *others = ranks.call("tests.distributed.training:buffers_of", case)
    assert all(other == first for other in others)


def test_a_batch_without_a_loss_is_refused(ranks: Ranks) -> None:
    for said in ranks.call("tests.distributed.training:skips"):
        assert "return a loss of zero" in said


def test_all_know_the_first_ones_buffers(ranks: Ranks) -> None:
    assert all(one == [1.0, 1.0, 5] for one in ranks.call("tests.distributed.training:aligned"))


@pytest.mark.covers("I5")
def test_batch_norm_over_processes_needs_an_accelerator() -> None:
    with pytest.raises(ValueError, match="sync_bn=True needs an accelerator"):
        Replicated("cpu", sync_bn=True)
