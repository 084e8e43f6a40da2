"""How metrics of three libraries are found out, fed and saved."""

from __future__ import annotations

import io
from collections import namedtuple

import pytest
import torch
from ignite.metrics import Accuracy, Average
from ignite.metrics import metric as ignite

from footplate import Engine
from footplate.engine.errors import StateError
from footplate.engine.step import collecting
from footplate.engine.step.ignite_measure import IgniteMeasure
from footplate.engine.step.measure import Measure
from footplate.engine.step.measuring import measure_of
from footplate.engine.step.metric_usage import usage_of
from footplate.engine.step.process_measure import ProcessMeasure
from footplate.engine.step.torch_measure import TorchMeasure

torchmetrics = pytest.importorskip("torchmetrics")
Pair = namedtuple("Pair", "y_pred y")


class Counting:
    """What MMEngine asks of a metric, with nothing of it."""

    default_prefix = "count"

    def process(self, data_batch, data_samples):
        self.results.extend(data_samples)

    def compute_metrics(self, results):
        return {"sum": sum(results), "n": len(results)}


def engine_with(output, batch=None, data=None) -> Engine:
    engine = Engine(lambda engine, batch: None, name="val")
    engine.state.output, engine.state.batch, engine.state.dataloader = output, batch, data
    return engine


# ------------------------------------------------------------------ usage


@pytest.mark.covers("E1")
@pytest.mark.parametrize(
    ("given", "kind"),
    [
        ("epoch", ignite.EpochWise),
        ("batch", ignite.BatchWise),
        ("running", ignite.SingleEpochRunningBatchWise),
        ("running_epoch_wise", ignite.RunningEpochWise),
        ("running_batch_wise", ignite.RunningBatchWise),
        (ignite.BatchFiltered(every=2), ignite.BatchFiltered),
    ],
)
def test_usages_by_name_and_as_they_are(given, kind):
    assert type(usage_of(given)) is kind


def test_other_usages_are_refused():
    with pytest.raises(ValueError, match=r"'epochs' is none of .* Did you mean 'epoch'"):
        usage_of("epochs")
    with pytest.raises(TypeError, match=r"a MetricUsage of pytorch-ignite, given 3"):
        usage_of(3)


# ------------------------------------------------------------------ which is which


@pytest.mark.parametrize(
    ("metric", "kind"),
    [
        (Average(), IgniteMeasure),
        (Accuracy() + 1, IgniteMeasure),
        (torchmetrics.MeanMetric(), TorchMeasure),
        (torchmetrics.MetricCollection([torchmetrics.MeanMetric()]), TorchMeasure),
        (torchmetrics.MeanMetric() * 2, TorchMeasure),
        (Counting(), ProcessMeasure),
    ],
)
def test_a_metric_is_known_by_what_it_has(metric, kind):
    assert type(measure_of("m", metric)) is kind


class Half:
    def process(self, data_batch, data_samples): ...


class Elsewhere(Counting):
    collect_device = "npu"


@pytest.mark.parametrize(
    ("metric", "error", "message"),
    [
        (Accuracy, TypeError, r"'m' is a class; give an instance: Accuracy\("),
        (torchmetrics.MeanMetric, TypeError, "give an instance"),
        (Half(), TypeError, r"'m' is a Half; give an instance of a metric of pytorch-ignite"),
        (torch.nn.Linear(1, 1), TypeError, "is a Linear"),
        (len, TypeError, r"a function under running="),
        (Elsewhere(), ValueError, "collect_device is 'cpu' or 'gpu', given 'npu'"),
    ],
)
def test_what_is_no_metric_is_refused(metric, error, message):
    with pytest.raises(error, match=message):
        measure_of("m", metric)


def test_a_metric_of_ignite_has_its_own_transform():
    with pytest.raises(ValueError, match=r"Average\(output_transform=…\)"):
        measure_of("m", Average(), abs)


def test_a_measure_says_what_it_lacks():
    for missing in (Measure("m", None).reset, lambda: Measure("m", None).update(None)):
        with pytest.raises(NotImplementedError, match="is missing"):
            missing()
    with pytest.raises(NotImplementedError, match="compute"):
        Measure("m", None).compute(None)


# ------------------------------------------------------------------ torchmetrics: arguments


SCORES = torch.tensor([[0.9, 0.1], [0.8, 0.2], [0.3, 0.7]])
LABELS = torch.tensor([0, 1, 1])


def accuracy():
    return torchmetrics.Accuracy(task="multiclass", num_classes=2)


@pytest.mark.covers("E2")
@pytest.mark.parametrize(
    "output",
    [
        (SCORES, LABELS),
        [SCORES, LABELS],
        Pair(SCORES, LABELS),
        {"y_pred": SCORES, "y": LABELS, "loss": 0.5},
        {"preds": SCORES, "target": LABELS, "loss": 0.5},
    ],
)
@pytest.mark.parametrize(
    "make", [accuracy, lambda: torchmetrics.MetricCollection([accuracy()]), lambda: accuracy() + 0]
)
def test_the_outputs_entries_are_the_arguments(make, output):
    measure = measure_of("m", make())
    measure.update(engine_with(output))
    value = measure.compute(engine_with(None))
    (value,) = value.values() if isinstance(value, dict) else [value]
    assert value == pytest.approx(2 / 3)


@pytest.mark.covers("E2")
def test_anything_else_is_the_one_argument():
    measure = measure_of("m", torchmetrics.MeanMetric())
    for output in (1.0, torch.tensor([2.0, 6.0])):
        measure.update(engine_with(output))
    assert measure.compute(engine_with(None)) == 3.0
    measure.reset()
    measure.update(engine_with((torch.tensor([1.0, 4.0]), torch.tensor([2.0, 1.0]))))  # weights
    assert measure.compute(engine_with(None)) == 2.0


@pytest.mark.covers("E2")
def test_a_transform_makes_the_arguments():
    measure = measure_of("m", accuracy(), lambda output: output["answers"])
    measure.update(engine_with({"answers": (SCORES, LABELS)}))
    assert measure.compute(engine_with(None)) == pytest.approx(2 / 3)


@pytest.mark.parametrize(
    ("output", "given"),
    [
        (SCORES, "given a Tensor:"),
        ((SCORES,), "given a tuple of Tensor:"),
        ({"score": SCORES, "label": LABELS}, "given a dict with 'score', 'label':"),
        ({}, "given a dict with nothing:"),
    ],
)
def test_what_does_not_fit_says_what_was_given_and_what_to_do(output, given):
    measure = measure_of("m", accuracy())
    with pytest.raises(TypeError, match="target") as raised:
        measure.update(engine_with(output))
    (note,) = raised.value.__notes__
    assert "metric 'm', a MulticlassAccuracy" in note
    assert given in note
    assert "output_transform={'m': function}" in note


@pytest.mark.covers("E2")
def test_the_metric_goes_where_its_arguments_are():
    for make in (lambda one: one, lambda one: torchmetrics.MetricCollection([one])):
        metric = torchmetrics.SumMetric(nan_strategy="disable")
        measure = measure_of("m", make(metric))
        measure.reset()
        measure.update(engine_with({"value": torch.ones(2, device="meta")}))
        assert metric.device.type == metric.sum_value.device.type == "meta"


# ------------------------------------------------------------------ torchmetrics: state


def collection():
    options = {"task": "multiclass", "num_classes": 4}
    return torchmetrics.MetricCollection(
        {
            "accuracy": torchmetrics.Accuracy(**options),
            "f1": torchmetrics.F1Score(average="macro", **options),
            "auroc": torchmetrics.AUROC(**options),
        }
    )


def made(kind: str):
    four = {"task": "multiclass", "num_classes": 4}
    return {
        "accuracy": lambda: torchmetrics.Accuracy(**four),
        "list state": lambda: torchmetrics.AUROC(**four),
        "collection": collection,
        "composition": lambda: torchmetrics.Accuracy(**four) + torchmetrics.AUROC(**four),
        "extremes": lambda: torchmetrics.MinMaxMetric(torchmetrics.Accuracy(**four)),
        "by class": lambda: torchmetrics.ClasswiseWrapper(
            torchmetrics.Accuracy(average=None, **four)
        ),
    }[kind]()


KINDS = ["accuracy", "list state", "collection", "composition", "extremes", "by class"]


def batches(count: int):
    generator = torch.Generator().manual_seed(0)
    scores = torch.randn(count * 20, 4, generator=generator)
    labels = torch.randint(4, (count * 20,), generator=generator)
    return list(zip(scores.split(20), labels.split(20), strict=True))


def through_a_file(state):
    file = io.BytesIO()
    torch.save(state, file)
    file.seek(0)
    return torch.load(file, weights_only=True)


@pytest.mark.covers("E2")
@pytest.mark.parametrize("kind", KINDS)
def test_a_restored_metric_goes_on_to_the_same_bits(kind):
    data = batches(6)
    whole, second = measure_of("m", made(kind)), measure_of("m", made(kind))
    for number, batch in enumerate(data):
        whole.update(engine_with(batch))
        if number == 2:
            whole.compute(None)  # what is kept of it must not stand in the way
            state = through_a_file(whole.state_dict())
    second.load_state_dict(state)
    for batch in data[3:]:
        second.update(engine_with(batch))
    assert_equal(second.compute(None), whole.compute(None))


def assert_equal(one, other):
    if isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert torch.equal(one[key], other[key]), key
    else:
        assert torch.equal(one, other)


@pytest.mark.covers("E2")
def test_what_a_metric_keeps_besides_its_states_is_restored():
    def running():
        return measure_of("m", torchmetrics.wrappers.Running(torchmetrics.SumMetric(), window=3))

    whole, second = running(), running()
    for number in range(5):
        whole.update(engine_with(float(number)))
    second.load_state_dict(through_a_file(whole.state_dict()))
    for one in (whole, second):
        one.update(engine_with(5.0))
    assert whole.compute(None) == second.compute(None) == 3 + 4 + 5


def test_a_state_is_loaded_over_what_was_there():
    measure = measure_of("m", made("collection"))
    fresh = through_a_file(measure.state_dict())
    first, second = batches(2)
    measure.update(engine_with(first))
    measure.compute(None)
    measure.load_state_dict(fresh)
    measure.update(engine_with(second))
    other = measure_of("m", made("collection"))
    other.update(engine_with(second))
    assert_equal(measure.compute(None), other.compute(None))


@pytest.mark.parametrize("kind", KINDS)
def test_what_was_computed_before_a_state_is_loaded_is_forgotten(kind):
    measure = measure_of("m", made(kind))
    first, second = batches(2)
    measure.update(engine_with(first))
    state, value = through_a_file(measure.state_dict()), str(measure.compute(None))
    measure.update(engine_with(second))
    assert str(measure.compute(None)) != value
    measure.load_state_dict(state)
    assert str(measure.compute(None)) == value


def test_a_loaded_state_is_not_written_into():
    measure = measure_of("m", made("list state"))
    measure.update(engine_with(batches(1)[0]))
    state = measure.state_dict()
    other = measure_of("m", made("list state"))
    other.load_state_dict(state)
    other.update(engine_with(batches(2)[1]))
    assert [len(one) for one in state[""]["states"].values()] == [1, 1]


def test_the_settings_of_a_metric_are_not_those_of_the_state():
    state = measure_of("m", torchmetrics.Accuracy(task="binary", threshold=0.5)).state_dict()
    strict = measure_of("m", torchmetrics.Accuracy(task="binary", threshold=0.9))
    strict.load_state_dict(state)
    strict.update(engine_with((torch.tensor([0.8]), torch.tensor([1]))))
    assert strict.compute(None) == 0.0


def test_the_state_of_another_metric_is_refused():
    measure = measure_of("m", made("accuracy"))
    measure.update(engine_with(batches(1)[0]))
    value = measure.compute(None)
    with pytest.raises(StateError, match=r"metric 'm', a MulticlassAccuracy is not the one"):
        measure.load_state_dict(measure_of("m", made("collection")).state_dict())
    assert measure.compute(None) is value


# ------------------------------------------------------------------ process and compute_metrics


class Sample:
    def __init__(self, value):
        self.value = value

    def to_dict(self):
        return self.value


@pytest.mark.covers("E3")
def test_results_are_gathered_and_computed_under_the_prefix():
    measure = measure_of("m", Counting())
    measure.reset()
    measure.update(engine_with([1, Sample(2)]))
    measure.update(engine_with((3,)))
    assert measure.compute(engine_with(None)) == {"count/sum": 6, "count/n": 3}
    assert measure.metric.results == []


@pytest.mark.covers("E3")
def test_results_are_computed_on_the_host():
    class Where(Counting):
        prefix = ""

        def compute_metrics(self, results):
            return {"device": results[0]["y"].device.type}

    class Moving:
        device = torch.device("meta")

        def to(self, device):
            self.device = torch.device(device)
            return self

    measure = measure_of("m", Where())
    measure.update(engine_with([{"y": Moving()}]))
    assert measure.compute(engine_with(None)) == {"count/device": "cpu"}


@pytest.mark.covers("E3")
def test_one_that_evaluates_itself_is_told_the_true_size():
    class Own(Counting):
        def evaluate(self, size):
            return {"size": size}

    measure = measure_of("m", Own())
    loader = torch.utils.data.DataLoader(range(7), batch_size=2)
    assert measure.compute(engine_with(None, data=loader)) == {"size": 7}


@pytest.mark.parametrize("order", ["data_samples, data_batch=None", "data_batch, data_samples"])
def test_batch_and_samples_come_where_they_are_wanted(order):
    names: dict = {}
    exec(f"def process(self, {order}): self.results.append((data_batch, data_samples))", names)
    metric = type("Odd", (Counting,), {"process": names["process"]})()
    measure_of("m", metric).update(engine_with(["sample"], batch="batch"))
    assert metric.results == [("batch", ["sample"])]


def test_results_that_are_no_values_by_name_are_refused():
    class Bare(Counting):
        def compute_metrics(self, results):
            return 0.5

    with pytest.raises(TypeError, match=r"compute_metrics\(\) returned 0.5; it returns values by"):
        measure_of("m", Bare()).compute(engine_with(None))


@pytest.mark.covers("E3")
def test_results_are_saved():
    first, second = measure_of("m", Counting()), measure_of("m", Counting())
    first.update(engine_with([torch.tensor(1), torch.tensor(2)]))
    second.load_state_dict(through_a_file(first.state_dict()))
    second.update(engine_with([torch.tensor(3)]))
    assert second.compute(engine_with(None)) == {"count/sum": 6, "count/n": 3}


def test_results_that_cannot_be_saved_are_told():
    measure = measure_of("m", Counting())
    measure.update(engine_with([object()]))
    state = through_a_file(measure.state_dict())
    with pytest.raises(StateError, match=r"no plain values or tensors; evaluate from the start"):
        measure.load_state_dict(state)
    with pytest.raises(StateError, match="other results"):
        measure.load_state_dict({"results": [[], []]})


@pytest.mark.covers("E3")
def test_a_metric_learns_what_the_data_set_says():
    class Knowing(Counting):
        dataset_meta = None

    bare, knowing, of_torch = Counting(), Knowing(), torchmetrics.MeanMetric()
    for metric in (bare, knowing, of_torch, Average()):
        measure_of("m", metric).tell({"classes": ["a"]})
        measure_of("m", metric).tell(None)
    assert bare.dataset_meta is knowing.dataset_meta is None
    assert "dataset_meta" not in vars(of_torch)


@pytest.mark.covers("E3")
@pytest.mark.parametrize("way", ["cpu", "gpu"])
def test_results_travel_as_the_metric_says(monkeypatch, way):
    ways = []

    def spied(function):
        def spy(value, *, by):
            ways.append(by)
            return function(value, by=by)

        return spy

    for name in ("collected", "from_first"):
        monkeypatch.setattr(collecting, name, spied(getattr(collecting, name)))
    metric = Counting()
    metric.collect_device = way
    measure, engine = measure_of("m", metric), engine_with([1, 2])
    measure.reset()
    measure.update(engine)
    assert measure.compute(engine) == {"count/sum": 3, "count/n": 2}
    assert ways == [way, way]
