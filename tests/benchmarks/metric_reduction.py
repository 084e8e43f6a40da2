"""What it costs to put the metrics and scalars of several processes together."""

import statistics
import tempfile
from pathlib import Path

from tests.distributed.launching import Ranks

from .timing import Row, seconds, show

HERE = "tests.benchmarks.metric_reduction"
WORLDS = (1, 2, 4)
ROUNDS = 200


def accuracy():
    """An evaluated accuracy of pytorch-ignite."""
    import torch
    from ignite.metrics import Accuracy

    metric = Accuracy()
    metric.update((torch.eye(10), torch.arange(10)))
    return metric


def ignite_alone():
    """pytorch-ignite's own reduction, which needs samples in every process."""
    return accuracy().compute


def ignite_accuracy():
    from footplate.engine.step.measuring import measure_of

    measure = measure_of("accuracy", accuracy())
    measure.has_seen = True
    return lambda: measure.shared(measure.metric.compute, what="accuracy")


def torch_metric():
    import torch
    import torchmetrics

    metric = torchmetrics.Accuracy(task="multiclass", num_classes=10)
    metric.update(torch.eye(10), torch.arange(10))
    return metric


def torchmetrics_alone():
    """torchmetrics' own reduction."""
    metric = torch_metric()

    def compute():
        metric._computed = None
        return metric.compute()

    return compute


def torchmetrics_accuracy():
    from footplate.engine.step.measuring import measure_of

    measure = measure_of("accuracy", torch_metric())
    measure.has_seen = True
    return lambda: measure.shared(measure.metric.compute, what="accuracy")


def scalars():
    """Ten logged means."""
    from footplate.engine.placement.reducing import means_over_ranks

    totals = {f"loss_{number}": (6.0, 4.0) for number in range(10)}
    return lambda: means_over_ranks(totals, point="iteration 50")


def microseconds(name):
    """Of one reduction, the median."""
    reduce = globals()[name]()
    for _ in range(10):
        reduce()
    return statistics.median(seconds(reduce) for _ in range(ROUNDS)) * 1e6


KINDS = {
    "ignite_alone": "an accuracy, pytorch-ignite's own way",
    "ignite_accuracy": "an accuracy of pytorch-ignite",
    "torchmetrics_alone": "an accuracy, torchmetrics' own way",
    "torchmetrics_accuracy": "an accuracy of torchmetrics",
    "scalars": "ten scalars",
}


def main():
    rows = []
    for size in WORLDS:
        with tempfile.TemporaryDirectory() as folder, Ranks(size, Path(folder)) as ranks:
            for name, what in KINDS.items():
                told = ranks.call(f"{HERE}:microseconds", name)
                rows.append(Row(f"{what}, {size} processes", max(told), "µs"))
    show("metric reduction", rows)
