"""Between two log points nothing waits for the device."""

from __future__ import annotations

import io

import pytest
import torch
from ignite.metrics import Accuracy, Loss
from rich.console import Console as Terminal
from torch import Tensor, nn
from torch.nn import functional as F
from torch.overrides import TorchFunctionMode

from footplate import Engine, Events
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.training import training_step
from footplate.engine.stream.journal import Journal
from footplate.handlers.averaging import EMA
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.console import Console
from footplate.handlers.csv_file import CSV
from footplate.handlers.gradient_norms import GradientNorms
from footplate.handlers.jsonl import JSONL
from footplate.handlers.lr_schedule import LRSchedule
from footplate.handlers.media_folder import MediaFolder
from footplate.handlers.metrics import Metrics
from footplate.handlers.non_finite import StopOnNonFinite
from footplate.handlers.progress_bar import ProgressBar
from footplate.handlers.run_record import RunRecord
from footplate.handlers.scalars import Scalars
from footplate.handlers.tensorboard import TensorBoard
from footplate.handlers.timer import Timer
from footplate.handlers.visualizer import Visualizer
from footplate.handlers.weights import WeightHistograms

READS = {
    getattr(Tensor, name)
    for name in (
        "item", "tolist", "cpu", "numpy", "__float__", "__bool__", "__int__", "__index__",
        "__complex__", "__array__", "__contains__", "nonzero", "is_nonzero", "equal",
    )
}  # fmt: skip


class Reads(TorchFunctionMode):
    """Counts what would wait for a device, if the tensors were on one."""

    def __init__(self):
        super().__init__()
        self.count = 0

    def __torch_function__(self, function, types, args=(), kwargs=None):
        kwargs = kwargs or {}
        # a torch.device is that of another tensor, as a rule, and so the accelerator's
        moved = function is Tensor.to and "cpu" in (*args[1:2], kwargs.get("device"))
        self.count += function in READS or moved
        return function(*args, **kwargs)


def network():
    torch.manual_seed(0)
    return nn.Sequential(nn.Conv2d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(144, 10))


def samples():
    generator = torch.Generator().manual_seed(0)
    images = torch.randn(80, 1, 8, 8, generator=generator)
    return images, torch.randint(10, (80,), generator=generator)


def reads_of_a_bare_loop(precision):
    """Those of the optimizer and the scaler themselves, by iteration."""
    model, (x, y) = network(), samples()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    scaler = torch.amp.GradScaler("cpu", enabled=precision == "fp16")
    dtype = {"fp32": None, "bf16": torch.bfloat16, "fp16": torch.float16}[precision]
    counts = []
    for start in range(0, 80, 4):
        with Reads() as reads:
            with torch.autocast("cpu", dtype, enabled=dtype is not None):
                loss = F.cross_entropy(model(x[start : start + 4]), y[start : start + 4])
            scaler.scale(loss).backward()
            scaler.step(sgd)
            scaler.update()
            sgd.zero_grad()
        counts.append(reads.count)
    return counts


def counts_of(engine, reads):
    """How many there were in each iteration, as they come."""
    counts = []

    @engine.on(Events.GET_BATCH_COMPLETED, priority="HIGHEST")
    def begin():
        reads.count = 0

    @engine.on(Events.SAFE_POINT, priority="HIGHEST")
    def end():
        counts.append(reads.count)

    return counts


@pytest.mark.covers("F5")
@pytest.mark.parametrize("precision", ["fp32", "bf16", "fp16"])
def test_nothing_is_read_between_log_points(precision, tmp_path):
    model = network()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    constant = torch.optim.lr_scheduler.LambdaLR(sgd, lambda step: 1.0)
    step = training_step(
        model,
        sgd,
        F.cross_entropy,
        precision=precision,
        clip=None if precision == "fp16" else ClipNorm(1.0),
        output=lambda batch, y_pred, report: {**report, "y_pred": y_pred, "y": batch[1]},
    )
    trainer = Engine(step, name="train")
    bar = ProgressBar(["loss", "accuracy"], interval=0, console=_terminal())
    every_tenth = Events.ITERATION_COMPLETED(every=10)
    accuracy = Accuracy(lambda output: (output["y_pred"], output["y"]))
    loss = Loss(F.cross_entropy, lambda output: (output["y_pred"], output["y"]))
    for handler in (
        Scalars(every_tenth),
        Timer(),
        Console(stream=io.StringIO()),
        bar,
        TensorBoard(tmp_path / "tensorboard"),
        JSONL(tmp_path / "scalars.jsonl"),
        CSV(tmp_path / "scalars.csv"),
        Metrics({"accuracy": accuracy, "mean_loss": loss}),
        LRSchedule(constant, "step"),
        EMA(model, decay=0.9),
        StopOnNonFinite(),
        Checkpoint(tmp_path / "checkpoints", model),
    ):
        trainer.attach(handler)
    if precision != "fp16":
        trainer.attach(GradientNorms(model))
    reads = Reads()
    counts = counts_of(trainer, reads)

    @trainer.on(Events.ITERATION_COMPLETED)
    def log(engine):
        engine.log("mean_score", engine.state.output["y_pred"].mean(), bar=True)

    with reads:
        trainer.run(InMemoryLoader(samples(), 4))
    expected = reads_of_a_bare_loop(precision)
    between = [number for number in range(20) if number not in (9, 19)]
    assert [counts[one] for one in between] == [expected[one] for one in between]
    assert counts[9] > expected[9]  # the log point does read
    assert (sum(expected) == 0) == (precision != "fp16")


@pytest.mark.covers("F5", "F10")
def test_what_looks_at_a_training_reads_nothing_in_between(tmp_path):
    model = network()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Engine(training_step(model, sgd, F.cross_entropy), name="train")
    for handler in (
        Scalars(Events.ITERATION_COMPLETED(every=10)),
        RunRecord(tmp_path / "run"),
        WeightHistograms(model, Events.ITERATION_STARTED(every=10)),
        MediaFolder(tmp_path / "media"),
        TensorBoard(tmp_path / "tensorboard"),
    ):
        trainer.attach(handler)
    reads = Reads()
    counts = counts_of(trainer, reads)
    with reads:
        trainer.run(InMemoryLoader(samples(), 4))
    assert [number for number, count in enumerate(counts, 1) if count] == [10, 20]
    assert len(Journal.read(tmp_path / "media" / "media.jsonl")) == 2 * 2 * 4


@pytest.mark.covers("F5", "F10")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_what_looks_at_an_evaluation_reads_nothing_before_its_end(tmp_path, precision):
    evaluator = Engine(evaluation_step(network(), precision=precision), name="val")
    for handler in (
        Scalars(Events.ITERATION_COMPLETED(every=100)),
        RunRecord(tmp_path / "run"),
        Visualizer(),
        MediaFolder(tmp_path / "media"),
    ):
        evaluator.attach(handler)
    images, y = samples()
    reads = Reads()
    counts = counts_of(evaluator, reads)
    with reads:
        evaluator.run(InMemoryLoader((images.sigmoid(), y), 4))
    assert counts[:-1] == [0] * 19
    assert counts[-1] > 0
    assert (tmp_path / "run" / "predictions.json").exists()
    assert len(Journal.read(tmp_path / "media" / "media.jsonl")) == 1


def _terminal():
    return Terminal(file=io.StringIO(), force_terminal=True, width=100)
