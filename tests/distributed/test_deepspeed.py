"""Training by DeepSpeed's ZeRO comes to what one process comes to with all samples."""

from __future__ import annotations

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest
import torch

from footplate.engine.placement.zero_config import checked_config
from tests.distributed import zero
from tests.distributed.launching import Ranks

CALLED = "tests.distributed.zero:"

installed = pytest.mark.skipif(
    importlib.util.find_spec("deepspeed") is None,
    reason="DeepSpeed is not installed: pip install --no-deps deepspeed einops hjson msgpack ninja",
)


@pytest.fixture(scope="module")
def ranks(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    with Ranks(2, Path(tmp_path_factory.mktemp("ranks")), seconds=120) as ranks:
        yield ranks


@installed
@pytest.mark.covers("I3")
@pytest.mark.parametrize("stage", [1, 2, 3])
@pytest.mark.parametrize("case", zero.CASES)
def test_zero_is_one_process_with_all_samples(ranks: Ranks, case: str, stage: int) -> None:
    alone = zero.trained(stage, case)
    told = ranks.call(f"{CALLED}trained", stage, case)
    assert all(one["weights"] == told[0]["weights"] for one in told), "the processes differ"
    assert told[0]["steps"] == alone["steps"] > 0
    torch.testing.assert_close(told[0]["weights"], alone["weights"], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(told[0]["answers"], alone["answers"], rtol=1e-4, atol=1e-5)
    if "clipped" in case:
        assert told[0]["norms"] == pytest.approx(alone["norms"], rel=1e-3)
    mean = [sum(many) / len(many) for many in zip(*(one["losses"] for one in told), strict=True)]
    assert mean == pytest.approx(alone["losses"], rel=1e-3, abs=1e-6)


@installed
@pytest.mark.covers("I3")
@pytest.mark.parametrize("stage", [1, 2, 3])
def test_a_run_goes_on_from_what_was_saved(ranks: Ranks, stage: int, tmp_path: Path) -> None:
    for told in ranks.call(f"{CALLED}resumed", stage, str(tmp_path)):
        assert told["twice"] == told["once"]


@installed
@pytest.mark.parametrize("stage", [1, 3])
def test_weights_that_are_loaded_later_count(ranks: Ranks, stage: int) -> None:
    assert all(one == [0.25] for one in ranks.call(f"{CALLED}loaded", stage))


@installed
def test_what_deepspeed_can_not_is_refused(ranks: Ranks) -> None:
    wanted = {
        "two optimizers": "leave one of them out",
        "two clippings": "both say how to clip",
        "clipping by a function": "by the norm alone",
        "fp16": "DeepSpeed does itself",
        "saved within a window": "can't be saved",
        "vetoed": "can't let go of them",
    }
    for told in ranks.call(f"{CALLED}refused"):
        assert told.keys() == wanted.keys()
        for case, said in wanted.items():
            assert said in told[case], case


def test_its_configuration_is_checked_without_it() -> None:
    config = {"zero_optimization": {"stage": 2}}
    assert checked_config(config)["train_micro_batch_size_per_gpu"] == 1
    for wrong, said in [
        ({}, "has a stage of ZeRO"),
        ({"zero_optimization": {"stage": 0}}, "train replicas"),
        ({**config, "gradient_accumulation_steps": 4}, "give accumulate="),
        ({**config, "scheduler": {"type": "OneCycle"}}, "schedules are handlers"),
    ]:
        with pytest.raises(ValueError, match=said):
            checked_config(wrong)


@pytest.mark.skipif(importlib.util.find_spec("deepspeed") is not None, reason="it is installed")
def test_it_is_said_how_to_install_it(tmp_path: Path) -> None:
    from footplate.engine.placement.deepspeed import DeepSpeed

    file = tmp_path / "zero.json"
    file.write_text(json.dumps({"zero_optimization": {"stage": 2}}))
    with pytest.raises(ImportError, match=r"pip install 'footplate\[deepspeed\]'"):
        DeepSpeed("cpu", config=file)
