from __future__ import annotations

import pytest
import torch

from footplate.engine.placement.devices import device_of, devices


@pytest.mark.covers("I1")
def test_auto_is_the_best_device_there_is():
    assert device_of("auto") == torch.device(devices()[0])
    assert devices()[-1] == "cpu"


@pytest.mark.parametrize("given", ["cpu", "cpu:0", "meta", torch.device("cpu")])
def test_devices_of_torch_are_taken_by_name(given):
    assert device_of(given) == torch.device(given)


@pytest.mark.covers("I1")
@pytest.mark.parametrize(
    ("given", "hint"), [("cpuu", "Did you mean 'cpu'?"), ("xla", ""), (-3, ""), ("cuda:77", "")]
)
def test_what_is_not_here_is_refused_with_what_is(given, hint):
    with pytest.raises(ValueError, match="can't be used here") as refused:
        device_of(given)
    assert "'cpu', and 'auto' takes the first" in str(refused.value)
    assert hint in str(refused.value)


@pytest.mark.covers("I1")
def test_processes_take_devices_in_the_order_that_is_said():
    assert [device_of("meta, cpu", local_rank=rank).type for rank in (0, 1)] == ["meta", "cpu"]
    assert device_of("meta,cpu").type == "meta"


@pytest.mark.covers("I1")
@pytest.mark.parametrize(("given", "rank"), [("meta,cpu", 2), ("cpu,cpu", 0)])
def test_one_device_is_for_one_process(given, rank):
    with pytest.raises(ValueError, match="name as many as there are processes, each once"):
        device_of(given, local_rank=rank)
