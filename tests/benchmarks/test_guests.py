"""What the benchmark of guests measures: iterations alone, of those whose system is installed."""

from __future__ import annotations

import importlib.util
import time

import pytest
import torch
from torch.optim.optimizer import _global_optimizer_post_hooks

from tests.benchmarks.guests import side_by_side

LONG, SHORT = 0.1, 0.001  # seconds


def test_what_a_call_begins_and_ends_with_is_not_in_an_iteration():
    weight = torch.nn.Parameter(torch.ones(()))
    begins = iter([5 * LONG, LONG, LONG])  # less and less, so that a difference would be negative

    def work(iterations):
        sgd = torch.optim.SGD([weight], 0.1)
        time.sleep(next(begins))
        for _ in range(iterations):
            time.sleep(SHORT)
            sgd.step()
        time.sleep(LONG)

    measured = side_by_side.iteration(work, few=2, many=12)
    assert SHORT * 1e6 <= measured < LONG * 1e6 / 10


def test_work_that_fails_leaves_no_hook_behind():
    def work(iterations):
        if iterations > 1:
            raise ZeroDivisionError

    before = len(_global_optimizer_post_hooks)
    with pytest.raises(ZeroDivisionError):
        side_by_side.iteration(work, few=1, many=2)
    assert len(_global_optimizer_post_hooks) == before


@pytest.mark.parametrize("package", ["mmcv", "mmengine", "lightning", "transformers"])
def test_a_guest_is_measured_where_it_is_installed(package):
    installed = importlib.util.find_spec(package) is not None
    assert (package in side_by_side.guests()) == installed


def test_each_guest_is_set_beside_its_own_system_and_what_is_lean_beside_what_is_lean():
    names = side_by_side.guests()
    assert all({"peer", "ours"} <= {*side_by_side.roles(name)} for name in names)
    if "lightning" in names:
        assert side_by_side.roles("lightning")[-2:] == ["lean_peer", "lean"]
