"""Models and metrics of other systems train and measure in two processes as in one."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from tests.distributed.launching import Ranks

pytest.importorskip("transformers")
pytest.importorskip("torchmetrics")

from tests.distributed import guest_models
from tests.handlers.torchmetrics_kinds import KINDS

MODULE = "tests.distributed.guest_models"


@pytest.mark.covers("C3", "I1")
@pytest.mark.parametrize("what", ["classified", "detected"])
def test_two_processes_train_as_one_does(ranks: Ranks, tmp_path: Path, what: str) -> None:
    alone = getattr(guest_models, what)(str(tmp_path / "alone"))
    first, second = ranks.call(f"{MODULE}:{what}", str(tmp_path / "two"))
    assert first == second
    weights = alone.pop("weights"), first.pop("weights")
    torch.testing.assert_close(*weights, rtol=1e-3, atol=1e-5)
    assert first == alone


@pytest.mark.covers("E2")
@pytest.mark.parametrize("usage", ["epoch", "running"])
@pytest.mark.parametrize("kind", [one for one in KINDS if one != "bootstrap"])
def test_what_is_measured_is_what_torchmetrics_exchanges(
    ranks: Ranks, kind: str, usage: str
) -> None:
    first, second = ranks.call(f"{MODULE}:wrapped", kind, usage)
    assert first == second
    assert _close(first["said"], first["by hand"])


@pytest.mark.covers("E2")
def test_a_tracker_tells_all_processes_the_same(ranks: Ranks) -> None:
    first, second = ranks.call(f"{MODULE}:tracked")
    assert first == second
    every, said = first
    assert every == pytest.approx(said)


def _close(one: object, other: object) -> bool:
    if isinstance(one, dict) and isinstance(other, dict):
        return one.keys() == other.keys() and all(_close(one[key], other[key]) for key in one)
    if isinstance(one, list) and isinstance(other, list):
        return len(one) == len(other) and all(map(_close, one, other))
    return one == pytest.approx(other)
