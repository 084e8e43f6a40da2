"""The base of metrics with process and compute_metrics, alone, on an engine, and over processes."""

from __future__ import annotations

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from footplate import Engine
from footplate.engine.placement import ranks
from footplate.engine.step.base_metric import BaseMetric
from footplate.handlers.metrics import Metrics
from tests.engine.placement.launching import called_in_processes

pytestmark = pytest.mark.covers("E3")
HERE = "tests.engine.step.test_base_metric"


class Seen(BaseMetric):
    """Which numbers there were, one result a sample."""

    default_prefix = "seen"

    def process(self, data_batch, data_samples):
        self.results.extend({"number": one} for one in data_samples)

    def compute_metrics(self, results):
        return {"numbers": [int(one["number"]) for one in results]}


def evaluator(metric):
    engine = Engine(lambda engine, batch: batch, name="val")
    engine.attach(Metrics({"m": metric}))
    return engine


def test_alone_it_computes_and_forgets():
    metric = Seen()
    assert metric.prefix == "seen"
    metric.process(None, torch.tensor([1, 2]))
    metric.process(None, torch.tensor([3]))
    assert metric.evaluate(3) == {"seen/numbers": [1, 2, 3]}
    assert metric.results == []


def test_an_engine_drives_it():
    class Digits(list):
        @property
        def metainfo(self):
            return {"classes": ("even", "odd")}

    metric = Seen(prefix="own")
    engine = evaluator(metric)
    for _ in range(2):  # a second run begins anew
        state = engine.run(DataLoader(Digits(range(5)), batch_size=2))
        assert state.metrics == {"own/numbers": [0, 1, 2, 3, 4]}
    assert metric.dataset_meta == {"classes": ("even", "odd")}


def test_computed_in_each_iteration_it_keeps_its_results():
    metric = Seen()
    engine = Engine(lambda engine, batch: batch, name="val")
    engine.attach(Metrics({"m": metric}, usage="running"))
    assert engine.run([torch.tensor([1]), torch.tensor([2])]).metrics == {"seen/numbers": [1, 2]}


def test_both_methods_have_to_be_there():
    class Half(BaseMetric):
        def process(self, data_batch, data_samples): ...

    with pytest.raises(TypeError, match="compute_metrics"):
        Half()


def test_another_way_to_collect_is_refused():
    with pytest.raises(ValueError, match=r"Seen: collect_device is 'cpu' or 'gpu', given 'gpus'"):
        Seen("gpus")


def test_a_bare_value_is_refused():
    class Bare(Seen):
        def compute_metrics(self, results):
            return 0.5

    with pytest.raises(TypeError, match=r"a Bare: compute_metrics\(\) returned 0.5"):
        Bare().evaluate(1)


def one_share():
    data = list(range(5))  # of two processes each has three, so that one number comes twice
    sampler = DistributedSampler(data, shuffle=False)
    engine = evaluator(Seen())
    driven = engine.run(DataLoader(data, batch_size=2, sampler=sampler)).metrics
    alone = Seen()
    alone.process(None, torch.tensor([ranks.rank(), ranks.rank() + 10]))
    return [driven, alone.evaluate(3), len(alone.results)]


def test_processes_agree_and_count_each_sample_once(tmp_path):
    shares = called_in_processes(f"{HERE}:one_share", tmp_path)
    expected = [{"seen/numbers": [0, 1, 2, 3, 4]}, {"seen/numbers": [0, 1, 10]}, 0]
    assert shares == [expected, expected]
