"""LightningModules learn and log in two processes what they do in one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.distributed.launching import Ranks

pytest.importorskip("lightning")

from tests.distributed import lightning_tasks

MODULE = "tests.distributed.lightning_tasks"
pytestmark = pytest.mark.covers("C4")


@pytest.mark.parametrize("accumulate", [1, 2])
def test_two_processes_learn_and_log_what_one_does(
    ranks: Ranks, accumulate: int, tmp_path: Path
) -> None:
    alone = lightning_tasks.regressed(str(tmp_path / "alone"), accumulate)
    both = ranks.call(f"{MODULE}:regressed", str(tmp_path / "both"), accumulate)
    assert alone["logged"].pop("highest_rank") == 0.0
    for number, said in enumerate(both):
        torch.testing.assert_close(torch.tensor(said["weights"]), torch.tensor(alone["weights"]))
        assert said["logged"].pop("highest_rank") == 1.0
        assert said["logged"] == pytest.approx(alone["logged"], rel=1e-4)
        assert said["facts"] == [2, number, number == 0, 2]
        assert said["gathered"] == [0.0, 1.0]
        assert said["steps"] == alone["steps"]
    assert both[0]["weights"] == both[1]["weights"]
    assert both[0]["logged"] == both[1]["logged"]


def test_two_optimizers_by_hand_exchange_their_gradients(ranks: Ranks, tmp_path: Path) -> None:
    alone = lightning_tasks.adversarial(str(tmp_path / "alone"))
    for weights in ranks.call(f"{MODULE}:adversarial", str(tmp_path / "both")):
        torch.testing.assert_close(torch.tensor(weights), torch.tensor(alone), rtol=1e-4, atol=1e-5)
