"""Scalars are gathered in each iteration, read at log points, and guarded there."""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.engine.errors import HandlerError
from footplate.engine.step.training import training_step
from footplate.engine.stopping import current_engine
from footplate.engine.stream.history import Statistic
from footplate.engine.stream.scalars import METRICS_COMPUTED
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.console import Console
from footplate.handlers.csv_file import CSV
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.gradient_norms import GradientNorms
from footplate.handlers.non_finite import NonFiniteError, StopOnNonFinite
from footplate.handlers.scalars import Scalars
from footplate.handlers.timer import Timer


def logged(engine):
    """What was read: iteration, and means."""
    seen = []

    @engine.on("SCALARS_LOGGED")
    def note(engine, step, epoch, scalars, values):
        assert (step, epoch) == (engine.state.iteration, engine.state.epoch)
        seen.append((step, scalars))

    return seen


def reporting(outputs, **options):
    engine = Engine(lambda engine, batch: batch, name="train")
    engine.attach(Scalars(**{"epoch_suffix": None, **options}))
    return engine, logged(engine), outputs


@pytest.mark.covers("F5")
def test_means_of_a_window_are_one_event():
    engine, seen, data = reporting(
        [{"loss": torch.tensor(float(n)), "n": n, "name": "x", "many": torch.zeros(3)}
         for n in range(5)],
        when=Events.ITERATION_COMPLETED(every=2),
    )  # fmt: skip
    engine.run(data)
    assert seen == [
        (2, {"loss": 0.5, "n": 0.5}),
        (4, {"loss": 2.5, "n": 2.5}),
        (5, {"loss": 4.0, "n": 4.0}),
    ]
    assert engine.state.metrics == {"loss": 4.0, "n": 4.0}


@pytest.mark.parametrize(("output", "name"), [(torch.tensor(0.5), "output"), ({"a": 0.5}, "a")])
def test_one_number_is_named_output(output, name):
    engine, seen, _ = reporting(None, prefix="train_")
    engine.run([output])
    assert seen == [(1, {f"train_{name}": 0.5})]


def test_what_is_not_there_in_each_iteration_is_averaged_over_those_where_it_is():
    engine, seen, data = reporting([{"a": 1.0}, None, {"a": 3.0, "b": 5.0}, "nothing"])
    engine.run(data)
    assert seen == [(4, {"a": 2.0, "b": 5.0})]


def test_a_log_point_without_numbers_is_silent():
    engine, seen, data = reporting([None, None])
    engine.run(data)
    assert seen == []


@pytest.mark.covers("G4")
@pytest.mark.parametrize("stop", range(1, 7))
def test_what_was_gathered_survives_a_stop(stop):
    data = [{"loss": torch.tensor(float(n))} for n in range(6)]
    whole, expected, _ = reporting(None, when=Events.ITERATION_COMPLETED(every=4))
    whole.run(data)
    first, seen, _ = reporting(None, when=Events.ITERATION_COMPLETED(every=4))
    first.on("SAFE_POINT")(lambda e: e.interrupt() if e.state.iteration == stop else None)
    first.run(data)
    second, later, _ = reporting(None, when=Events.ITERATION_COMPLETED(every=4))
    second.load_state_dict(first.state_dict())
    second.run(data)
    assert seen + later == expected


def test_a_new_run_forgets_the_one_before():
    engine, seen, _ = reporting(None)

    @engine.on(Events.ITERATION_COMPLETED(once=2))
    def fail():
        raise ArithmeticError

    with pytest.raises(ArithmeticError):
        engine.run([{"a": 1.0}, {"a": 2.0}])
    engine.state.max_epochs = None
    engine.run([{"a": 5.0}])
    # what came before the error was logged, and that of the iteration at fault was not
    assert seen == [(2, {"a": 1.0}), (1, {"a": 5.0})]
    assert engine.history["a"].values == [(1, 5.0)]


def poisoned(at, model):
    count = 0

    def loss(y_pred, y):
        nonlocal count
        count += 1
        return F.mse_loss(y_pred, y) * (math.nan if count == at else 1.0)

    return loss


@pytest.mark.covers("F5")
@pytest.mark.parametrize(("at", "every", "good"), [(5, 4, 2), (5, 1, 2), (1, 4, None), (4, 4, 2)])
def test_the_guard_names_iteration_loss_and_last_good_checkpoint(tmp_path, at, every, good):
    torch.manual_seed(0)
    model = torch.nn.Linear(2, 1)
    step = training_step(model, torch.optim.SGD(model.parameters(), lr=0.1), poisoned(at, model))
    trainer = Engine(step, name="train")
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=every)))
    trainer.attach(StopOnNonFinite(tmp_path))
    trainer.attach(Checkpoint(tmp_path, model, when=Events.ITERATION_COMPLETED(every=2), last=10))
    data = [(torch.randn(4, 2), torch.randn(4, 1))] * 8
    with pytest.raises(NonFiniteError, match=f"'loss' was nan in iteration {at}; ") as caught:
        trainer.run(data)
    error = caught.value
    assert (error.name, error.iteration) == ("loss", at)
    expected = None if good is None else tmp_path / f"{good:08d}"
    assert error.checkpoint == expected
    assert ("no good checkpoint" if good is None else str(expected)) in str(error)


@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_every_value_that_is_no_number_stops(bad):
    engine, _, _ = reporting(None)
    engine.attach(StopOnNonFinite())
    with pytest.raises(NonFiniteError, match=f"'a' was {bad} in iteration 2"):
        engine.run([{"a": 1.0}, {"a": bad}, {"a": -bad}])


def test_a_guard_that_would_see_nothing_is_refused_when_the_run_begins():
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    engine.attach(StopOnNonFinite())
    with pytest.raises(HandlerError, match=r"StopOnNonFinite looks at what Scalars reads"):
        engine.run([float("nan")])
    assert engine.state.iteration == 0
    engine.attach(Scalars())
    with pytest.raises(NonFiniteError):
        engine.run([float("nan")])


def test_only_the_names_asked_for_are_guarded():
    engine, seen, _ = reporting(None)
    engine.attach(StopOnNonFinite(names=("loss",)))
    engine.run([{"a": math.inf, "loss": 1.0}])
    assert seen == [(1, {"a": math.inf, "loss": 1.0})]


@pytest.mark.covers("F5")
@pytest.mark.parametrize("how", ["max_iters", "terminate"])
def test_what_is_left_is_read_where_a_run_ends_within_an_epoch(how):
    engine, _, data = reporting([{"loss": 1.0}, {"loss": math.nan}, {"loss": 1.0}])
    engine.attach(StopOnNonFinite())
    if how == "terminate":
        engine.on(Events.ITERATION_COMPLETED(once=2))(lambda e: e.terminate())
    with pytest.raises(NonFiniteError, match="iteration 2"):
        engine.run(data, **({"max_iters": 2} if how == "max_iters" else {}))


@pytest.mark.covers("F5")
def test_one_number_may_have_any_shape_but_one_a_sample_is_no_scalar_where_there_is_one_sample():
    engine, seen, _ = reporting(None)
    ones = [torch.ones(1), torch.ones(1, 1), np.ones((1, 1)), torch.tensor(1.0)]
    samples = zip((4, 2, 3, 1), ones, strict=True)
    engine.run([{"y": torch.zeros(n), "z": np.zeros(n), "loss": one} for n, one in samples])
    assert seen == [(4, {"loss": 1.0})]


@pytest.mark.covers("F5", "G4")
def test_that_it_is_one_a_sample_is_known_when_a_run_goes_on():
    engine, _, data = reporting([{"y": torch.zeros(3), "a": 1.0}, {"y": torch.zeros(1), "a": 1.0}])
    engine.on(Events.SAFE_POINT(once=1))(lambda e: e.interrupt())
    engine.run(data)
    again, seen, _ = reporting(None)
    again.load_state_dict(engine.state_dict())
    again.run(data)
    assert seen == [(2, {"a": 1.0})]


@pytest.mark.covers("F5")
def test_numbers_in_mappings_go_by_the_names_of_both():
    engine, seen, _ = reporting(None, prefix="train_")
    inner = {"box": torch.tensor(1.0), "deep": {"cls": 3, "name": "x"}, "many": torch.ones(2)}
    engine.run([{"losses": inner, "loss": 4.0}])
    expected = {"train_losses/box": 1.0, "train_losses/deep/cls": 3.0, "train_loss": 4.0}
    assert seen == [(1, expected)]


@pytest.mark.parametrize("on", ["epoch", "iteration"])
def test_metrics_in_mappings_are_logged_unless_they_stand_beside_these(on):
    engine = Engine(lambda engine, batch: None, name="train")
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=1)))
    seen = points(engine)

    @engine.on(Events.ITERATION_COMPLETED, priority="ABOVE_NORMAL")
    def measure(engine):
        of = {"f1": {"cat": 0.5, "dog": torch.tensor(0.25)}, "all": {"ece": 0.1, "x": 0.2}}
        metrics = {**of, "val_ece": 0.1, "confusion": [[1, 0], [0, 1]]}
        engine.fire_event(METRICS_COMPUTED, metrics=metrics, on=on)

    engine.run([0])
    assert seen[0] == (
        "iteration", 1, {"f1/cat": 0.5, "f1/dog": 0.25, "all/x": 0.2, "val_ece": 0.1}
    )  # fmt: skip


def test_a_complex_number_is_no_scalar():
    engine, seen, _ = reporting(None)

    @engine.on(Events.ITERATION_COMPLETED, priority="ABOVE_NORMAL")
    def measure(engine):
        metrics = {"z": torch.tensor(1j), "y": 1j}
        for on in ("iteration", "epoch"):
            engine.fire_event(METRICS_COMPUTED, metrics=metrics, on=on)

    engine.run([{"phase": torch.tensor(1j), "other": 2j, "loss": 1.0}] * 2)
    assert seen == [(2, {"loss": 1.0})]


def test_a_step_without_a_single_number_is_told_of_once(caplog):
    for _ in range(2):
        engine, seen, _ = reporting(None)
        for _ in range(2):
            engine.run([(1.0, 2.0)] * 3)
        assert seen == []
    told = [record.getMessage() for record in caplog.records]
    assert len(told) == 2  # by each engine
    assert "nothing to log: the output of its step is a tuple without a single number" in told[0]


@pytest.mark.parametrize("how", ["log", "metrics", "none", "number"])
def test_a_step_without_a_number_is_not_told_of_if_others_have_some(caplog, how):
    engine, _, _ = reporting(None)

    @engine.on(Events.ITERATION_COMPLETED)
    def measure(engine):
        if how == "log":
            engine.log("a", 1.0)
        elif how == "metrics":
            engine.fire_event(METRICS_COMPUTED, metrics={"a": 1.0}, on="epoch")

    engine.run([{"none": None, "number": 0.5}.get(how, "text")] * 2)
    assert caplog.records == []


def points(engine):
    """What was logged: kind of point, iteration, scalars."""
    seen = []

    @engine.on("SCALARS_LOGGED")
    def note(engine, step, on, scalars):
        seen.append((on, step, scalars))

    return seen


@pytest.mark.covers("F5")
def test_means_are_weighted_by_samples_over_window_and_epoch():
    engine = Engine(lambda engine, batch: {"loss": batch.mean()}, name="train")
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=2)))
    seen = points(engine)
    data = [torch.full((n,), float(n)) for n in (1, 3, 4, 8)]
    engine.run(data)
    assert seen == [
        ("iteration", 2, {"loss": (1 + 9) / 4}),
        ("iteration", 4, {"loss": (16 + 64) / 12}),
        ("epoch", 4, {"loss_epoch": (1 + 9 + 16 + 64) / 16}),
    ]
    assert engine.state.metrics == {"loss": 80 / 12, "loss_epoch": 90 / 16}
    engine.run(data, max_epochs=3)
    assert engine.history["loss_epoch"].values == [(4, 90 / 16), (8, 90 / 16), (12, 90 / 16)]


@pytest.mark.covers("F6")
def test_what_is_logged_by_hand_goes_the_same_way():
    def step(engine, batch):
        current_engine().log("each", torch.tensor(float(batch)))
        engine.log("whole", batch, on="epoch", weight=batch, bar=True)

    engine = Engine(step, name="train")
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=2)))
    engine.on(Events.EPOCH_COMPLETED)(lambda e: e.log("late", 7, on="epoch"))
    seen = points(engine)
    engine.run([1, 2, 3], max_epochs=2)
    first = {"each": 3.0, "whole": (1 + 4 + 9) / 6, "late": 7.0}
    assert seen == [
        ("iteration", 2, {"each": 1.5}),
        ("epoch", 3, first),
        ("iteration", 4, {"each": 1.0}),
        ("iteration", 6, {"each": 2.5}),
        ("epoch", 6, {"whole": (1 + 4 + 9) / 6, "late": 7.0}),
    ]
    assert [name for name, one in engine.history.items() if one.bar] == ["whole"]
    assert engine.history["each"].values == [(i, float((i - 1) % 3 + 1)) for i in range(1, 7)]


@pytest.mark.covers("F6")
def test_a_value_for_the_epoch_is_logged_at_the_end_of_a_run_cut_short():
    engine = Engine(lambda engine, batch: engine.log("whole", batch, on="epoch"), name="train")
    engine.attach(Scalars())
    seen = points(engine)
    engine.run([1.0, 2.0, 6.0, 8.0], max_iters=3)
    assert seen == [("run", 3, {"whole": 3.0})]


def test_nobody_hears_and_it_is_said_once(caplog):
    engine = Engine(lambda engine, batch: engine.log("loss", batch), name="train")
    engine.run([1.0, 2.0])
    assert [record.getMessage() for record in caplog.records] == [
        "<Engine 'train': epoch 1, iteration 1> logs 'loss', but nobody hears it; attach a "
        "Scalars() first."
    ]


@pytest.mark.covers("F5", "F6")
@pytest.mark.parametrize(
    ("log", "error", "message"),
    [
        (lambda e: e.log("loss", 1.0), ValueError, "it is the name of the step's output already"),
        (lambda e: e.log("a", 1.0) or e.log("a", 1.0, on="epoch"), ValueError, "on='iteration'"),
        (lambda e: e.log("loss_epoch", 1.0), ValueError, "engine.log"),
        (lambda e: e.log("a", 1.0, on="epoc"), ValueError, "Did you mean 'epoch'"),
        (lambda e: e.log("a", torch.zeros(3)), TypeError, r"a Tensor of shape \(3,\); reduce it"),
        (lambda e: e.log("a", "high"), TypeError, "given a str"),
        (lambda e: e.log(3, 1.0), TypeError, "a string, given 3"),
        (lambda e: e.log("a", 1.0, to=["consol"]), ValueError, "Did you mean 'console'"),
        (lambda e: e.log("a", 1.0, to="scalars"), ValueError, "the sinks of .* are console"),
        (lambda e: e.log("a", 1.0) or e.log("a", 1.0, to="csv"), ValueError, "to 'csv'"),
        (
            lambda e: e.fire_event(METRICS_COMPUTED, metrics={"loss": 1.0}, on="epoch"),
            ValueError,
            "'loss' is given by a metric, but it is the name of the step's output",
        ),
        (lambda e: e.log("a", 1.0, weight="b"), TypeError, "given a str"),
        (lambda e: e.log("a", 1j), TypeError, "given a complex"),
    ],
)
def test_what_can_not_be_logged_is_refused(log, error, message):
    engine, _, _ = reporting(None, epoch_suffix="_epoch")
    engine.attach(Console())
    engine.on(Events.ITERATION_COMPLETED)(log)
    with pytest.raises(error, match=message):
        engine.run([{"loss": 1.0}])


@pytest.mark.covers("F5")
def test_gauges_and_statistics_are_logged_with_the_rest():
    torch.manual_seed(0)
    model = torch.nn.Linear(1, 1)
    groups = [{"params": [model.weight], "lr": 0.5}, {"params": [model.bias], "lr": 0.25}]
    step = training_step(model, torch.optim.SGD(groups), F.mse_loss)
    engine = Engine(step, name="train")
    engine.attach(
        Scalars(
            Events.ITERATION_COMPLETED(every=2),
            also={
                "worst": Statistic("loss", "max"),
                "smooth": Statistic("loss", "mean", window=3),
                "current": Statistic("loss", "last"),
            },
            gauges={"temperature": lambda: 21},
        )
    )
    seen = points(engine)
    engine.run([(torch.ones(2, 1), torch.zeros(2, 1))] * 4)
    losses = [value for _, value in engine.history["loss"].values]
    first, second = seen[0][-1], seen[1][-1]
    assert (first["lr"], first["lr/1"]) == (0.5, 0.25)
    assert second["temperature"] == 21.0
    assert second["worst"] == max(losses)
    assert second["smooth"] == pytest.approx(sum(losses[1:]) / 3)
    assert second["current"] == losses[-1]
    assert engine.history["lr"].values == [(2, 0.5), (4, 0.5)]


def test_metrics_are_logged_with_the_event_that_they_were_computed_on():
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=4)))
    seen = points(engine)

    @engine.on(Events.ITERATION_COMPLETED(once=3), priority="ABOVE_NORMAL")
    def measure(engine):
        metrics = {"val_accuracy": torch.tensor(0.5), "val_confusion": torch.eye(2)}
        engine.fire_event(METRICS_COMPUTED, metrics=metrics, on="epoch")

    engine.run([1.0, 1.0, 1.0, 1.0])
    assert seen == [
        ("iteration", 3, {"val_accuracy": 0.5}),
        ("iteration", 4, {"loss": 1.0}),
        ("epoch", 4, {"loss_epoch": 1.0}),
    ]


@pytest.mark.covers("F5")
def test_early_stopping_sees_the_means_of_the_epoch_that_ends():
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    engine.attach(Scalars())
    seen = []
    engine.on(Events.EPOCH_COMPLETED)(lambda e: seen.append(e.state.metrics["loss_epoch"]))
    data = iter([1.0, 3.0, 5.0, 7.0])
    engine.run(data, max_epochs=2, epoch_length=2)
    assert seen == [2.0, 6.0]


@pytest.mark.covers("F5", "G4")
@given(
    values=st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=12),
    every=st.integers(1, 5),
    epochs=st.integers(1, 3),
    stop=st.integers(1, 36),
)
def test_a_run_that_goes_on_logs_what_an_unbroken_one_does(values, every, epochs, stop):
    def made():
        def step(engine, batch):
            engine.log("by_hand", torch.tensor(batch), on="epoch")
            return {"loss": torch.tensor(batch, dtype=torch.float64)}

        engine = Engine(step, name="train")
        also = {"low": Statistic("loss", "min"), "smooth": Statistic("loss", window=3)}
        engine.attach(Scalars(Events.ITERATION_COMPLETED(every=every), also=also))
        return engine, points(engine)

    whole, expected = made()
    whole.run(values, max_epochs=epochs)
    first, seen = made()
    first.on("SAFE_POINT")(lambda e: e.interrupt() if e.state.iteration == stop else None)
    first.run(values, max_epochs=epochs)
    second, later = made()
    if first.state.status == "interrupted":
        second.load_state_dict(first.state_dict())
        second.run(values)
        assert second.history.state_dict() == whole.history.state_dict()
    assert seen + later == expected


RANKS = """
    import json
    import torch
    from footplate import Engine, Events
    from footplate.engine.stream.sink import Sink
    from footplate.handlers.scalars import Scalars

    class Printer(Sink):
        def write(self, engine, point):
            print(json.dumps([rank, point.on, point.step, dict(point.scalars)]), flush=True)

    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()

    def step(engine, batch):
        if rank == 1:
            engine.log("only_here", 5.0)
        return {"loss": batch.mean()}

    trainer = Engine(step, name="train")
    from footplate.engine.stream.history import Statistic
    also = {"least": Statistic("loss", "min"), "recent": Statistic("loss", "mean", window=2)}
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=2), also=also))
    trainer.attach(Printer())
    sizes = [(1, 2, 3), (4, 5, 9)][rank]
    trainer.run([torch.full((n,), float(n)) for n in sizes])
    assert trainer.state.metrics["loss_epoch"] == (1 + 4 + 9 + 16 + 25 + 81) / 24
    torch.distributed.destroy_process_group()
"""


@pytest.mark.covers("F6")
def test_means_are_over_all_processes_and_one_of_them_writes(tmp_path):
    script = tmp_path / "ranks.py"
    script.write_text(textwrap.dedent(RANKS))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    done = subprocess.run(  # noqa: PLW1510 - looked at below
        [*command, str(script)], capture_output=True, text=True, timeout=120, env=environment
    )
    assert done.returncode == 0, done.stderr
    lines = [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]
    assert lines == [
        [0, "iteration", 2, {"loss": 46 / 12, "only_here": 5.0, "least": 1.0, "recent": 46 / 12}],
        [
            0,
            "epoch",
            3,
            {
                "loss": 90 / 12,
                "only_here": 5.0,
                "loss_epoch": 136 / 24,
                "least": 1.0,
                "recent": (4 + 9 + 25 + 81) / 19,
            },
        ],
    ]


@pytest.mark.covers("G4")
@pytest.mark.parametrize("stop", [1, 2, 3, 4])
def test_a_checkpoint_ahead_of_the_first_log_point_is_taken_up(tmp_path, stop):
    def made():
        torch.manual_seed(0)
        model = torch.nn.Linear(2, 1)
        step = training_step(model, torch.optim.SGD(model.parameters(), lr=0.1), F.mse_loss)
        engine = Engine(step, name="train")
        engine.attach(Scalars(Events.ITERATION_COMPLETED(every=3)))
        engine.attach(GradientNorms(model))
        engine.on(Events.ITERATION_COMPLETED)(lambda e: e.log("one", 1.0, on="epoch"))
        saved = Checkpoint(tmp_path / "saved", model, when=Events.ITERATION_COMPLETED)
        return engine, engine.attach(saved), points(engine)

    data = [(torch.ones(2, 2), torch.zeros(2, 1))] * 5
    whole, checkpoint, expected = made()
    engine, _, seen = made()
    whole.detach(checkpoint)
    whole.run(data)
    engine.on("SAFE_POINT", priority="LOWEST")(
        lambda e: e.interrupt() if e.state.iteration == stop else None
    )
    engine.run(data)
    again, checkpoint, later = made()
    assert checkpoint.resume(again) is not None
    again.run(data)
    assert seen + later == expected


@pytest.mark.covers("F5")
@pytest.mark.parametrize("skip", [False, True])
def test_an_epoch_that_is_left_early_leaves_nothing_to_the_next(skip):
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    engine.attach(Scalars())
    seen = points(engine)
    engine.on(Events.ITERATION_COMPLETED(once=2))(lambda e: e.terminate_epoch(skip))
    engine.run([1.0, 3.0, 5.0], max_epochs=2)
    means = [scalars["loss_epoch"] for _, _, scalars in seen if "loss_epoch" in scalars]
    assert means == ([3.0] if skip else [2.0, 3.0])
    assert [(on, step, scalars["loss"]) for on, step, scalars in seen] == [
        ("epoch", 2, 2.0), ("epoch", 5, 3.0),
    ]  # fmt: skip


@pytest.mark.covers("F6")
def test_what_is_logged_behind_the_log_point_belongs_to_its_epoch():
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    engine.attach(Scalars(epoch_suffix=None))
    seen = points(engine)
    late = Events.EPOCH_COMPLETED
    engine.on(late, priority="LOW")(lambda e: e.log("late", float(e.state.epoch), on="epoch"))
    engine.run([1.0, 3.0], max_epochs=2)
    assert [(on, s) for on, _, s in seen if "late" in s] == [
        ("epoch", {"late": 1.0}),
        ("epoch", {"late": 2.0}),
    ]


@pytest.mark.covers("F5")
def test_an_iteration_that_is_run_again_counts_once():
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=3)))
    seen = points(engine)
    fails = engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: 1 / 0)
    with fails, pytest.raises(ZeroDivisionError):
        engine.run([1.0, 10.0, 4.0])
    engine.run()
    assert engine.history["loss"].values == [(1, 1.0), (2, 10.0), (3, 4.0)]
    assert seen[-1] == ("epoch", 3, {"loss_epoch": 5.0})


@pytest.mark.covers("E3")
def test_metrics_ahead_of_training_are_logged_at_its_start():
    engine = Engine(lambda engine, batch: None, name="train")
    evaluator = Engine(lambda engine, batch: None, name="val")
    evaluator.on(Events.EPOCH_COMPLETED)(lambda e: e.state.metrics.update(accuracy=0.5))
    engine.attach(Scalars())
    engine.attach(Evaluation(evaluator, [0], Events.STARTED | Events.EPOCH_COMPLETED))
    seen = points(engine)
    engine.run([0])
    assert seen == [
        ("iteration", 0, {"val_accuracy": 0.5}),
        ("epoch", 1, {"val_accuracy": 0.5}),
    ]
    assert engine.history["val_accuracy"].values == [(0, 0.5), (1, 0.5)]


def test_numbers_of_numpy_are_numbers():
    engine = Engine(lambda engine, batch: batch, name="train")
    engine.attach(Scalars(epoch_suffix=None))
    seen = points(engine)
    engine.run([{"a": np.float64(1), "b": np.float32(2), "c": np.array(3), "d": 4.0},
                {"a": 3.0, "b": torch.tensor(4.0), "c": np.int64(5), "d": "four"}])  # fmt: skip
    assert seen == [("epoch", 2, {"a": 2.0, "b": 3.0, "c": 4.0, "d": 4.0})]


def test_running_metrics_that_are_no_numbers_stay_where_they_are(tmp_path):
    engine = Engine(lambda engine, batch: None, name="train")
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=2)))
    seen = points(engine)

    @engine.on(Events.ITERATION_COMPLETED, priority="ABOVE_NORMAL")
    def measure(engine):
        metrics = {"a": np.float64(1), "b": torch.eye(2), "c": object(), "d": torch.tensor(2.0)}
        engine.fire_event(METRICS_COMPUTED, metrics=metrics, on="iteration")

    engine.attach(Checkpoint(tmp_path, torch.nn.Linear(1, 1), when=Events.ITERATION_COMPLETED))
    engine.run([0, 0])
    assert seen[0] == ("iteration", 2, {"a": 1.0, "d": 2.0})


@pytest.mark.parametrize(
    ("options", "outputs", "error"),
    [
        ({"also": {"s": Statistic("loss", window=2000)}}, [], "Scalars.keep=2000."),
        ({"also": {"s": Statistic("los")}}, [{"loss": 1.0}], "Did you mean 'loss'"),
        ({"also": {"loss": Statistic("loss")}}, [{"loss": 1.0}], "the name of a statistic already"),
        ({}, [{"loss": 1.0, "loss_epoch": 1.0}], "the name of a mean over the epoch already"),
    ],
)
def test_what_can_not_be_shown_is_refused_early(options, outputs, error):
    with pytest.raises(ValueError, match=error):
        reporting(None, epoch_suffix="_epoch", **options)[0].run(outputs)


def test_a_handler_may_be_called_otherwise_when_a_run_goes_on():
    def made(name):
        engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
        engine.attach(Scalars(Events.ITERATION_COMPLETED(every=1)))
        engine.attach(Timer(), name=name)
        return engine

    first, second = made("timer"), made("clock")
    first.on(Events.SAFE_POINT(once=1))(lambda e: e.interrupt())
    first.run([1.0, 2.0])
    second.load_state_dict(first.state_dict())
    assert second.run([1.0, 2.0]).metrics["loss_epoch"] == 1.5


@pytest.mark.covers("F5")
@pytest.mark.parametrize("on", ["epoch", "iteration"])
@pytest.mark.parametrize("other", ["output", "log", "gauge"])
@pytest.mark.parametrize("value", [2.0, torch.tensor(2.0)])
def test_names_of_metrics_clash_in_the_iteration_that_shows_it(on, other, value):
    engine = Engine(lambda engine, batch: {"a": 1.0} if other == "output" else None, name="train")
    gauges = {"a": lambda: 1.0} if other == "gauge" else {}
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=1 if gauges else 50), gauges=gauges))

    @engine.on(Events.ITERATION_COMPLETED, priority="ABOVE_NORMAL")
    def measure(engine):
        if other == "log":
            engine.log("a", 1.0)
        engine.fire_event(METRICS_COMPUTED, metrics={"a": value}, on=on)

    with pytest.raises(ValueError, match=r"'a' is given by a (running )?(metric|gauge)"):
        engine.run([0] * 9)
    assert engine.state.iteration == 0  # the first was not completed


@pytest.mark.covers("F5")
def test_names_of_metrics_clash_where_they_are_computed_though_they_are_logged_later():
    steps = []
    engine = Engine(lambda engine, batch: steps.append(batch) or {"a": 1.0}, name="train")
    engine.attach(Scalars())
    engine.on(Events.EPOCH_STARTED(once=2))(
        lambda e: e.fire_event(METRICS_COMPUTED, metrics={"a": 2.0}, on="epoch")
    )
    with pytest.raises(ValueError, match="'a' is given by a metric"):
        engine.run([0] * 3, max_epochs=2)
    assert len(steps) == 3


# ------------------------------------------------------------------ what comes late


@pytest.mark.covers("F6")
def test_what_is_logged_ahead_of_training_is_logged_at_its_start():
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    engine.attach(Scalars(epoch_suffix=None))
    engine.on(Events.OPENED)(lambda e: e.log("seen", 1.0))
    engine.on(Events.STARTED)(lambda e: e.log("parameters", 5))
    seen = points(engine)
    engine.run([1.0, 3.0])
    assert seen == [
        ("epoch", 0, {"seen": 1.0, "parameters": 5.0}),
        ("epoch", 2, {"loss": 2.0}),
    ]


@pytest.mark.covers("F6")
@pytest.mark.parametrize("on", ["iteration", "epoch"])
def test_what_is_logged_behind_an_epoch_is_logged_as_of_that_epoch(on):
    engine = Engine(lambda engine, batch: None, name="train")
    engine.attach(Scalars())
    seen = []
    engine.on("SCALARS_LOGGED")(
        lambda engine, step, epoch, on, scalars: seen.append((step, epoch, on, scalars))
    )

    @engine.on(Events.SAFE_POINT)
    def behind(engine):
        if engine.state.iteration % 2 == 0:
            engine.log("free", engine.state.iteration, on=on)

    engine.run([0, 0], max_epochs=3)
    assert [one[:3] for one in seen] == [(2, 1, "epoch"), (4, 2, "epoch"), (6, 3, "run")]
    assert [one[-1] for one in seen] == [{"free": 2.0}, {"free": 4.0}, {"free": 6.0}]
    assert engine.history["free"].values == [(2, 2.0), (4, 4.0), (6, 6.0)]


@pytest.mark.covers("F5")
def test_what_an_epoch_without_an_end_leaves_is_logged():
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    engine.attach(Scalars())
    seen = points(engine)
    engine.on(Events.ITERATION_COMPLETED(once=2))(lambda e: e.terminate_epoch(True))
    engine.run([1.0, 3.0, 5.0], max_epochs=2)
    assert seen == [
        ("epoch", 2, {"loss": 2.0}),  # and no mean over an epoch that had no end
        ("epoch", 5, {"loss": 3.0, "loss_epoch": 3.0}),
    ]


LATE = """
    import json
    import torch
    from footplate import Engine, Events
    from footplate.handlers.console import Console
    from footplate.handlers.csv_file import CSV
    from footplate.handlers.scalars import Scalars

    torch.distributed.init_process_group("gloo")
    rank = torch.distributed.get_rank()

    def late(engine, where):
        if rank == 0:
            engine.log(where, 7.0, on="epoch", to="csv")

    def step(engine, batch):
        engine.log("by_all", batch, to="csv")
        return {"loss": batch}

    trainer = Engine(step, name="train")
    trainer.attach(Scalars())
    trainer.attach(Console(stream=None))
    if rank == 0:
        trainer.attach(CSV("run.csv"))
    for event in (Events.STARTED, Events.EPOCH_COMPLETED, Events.SAFE_POINT, Events.COMPLETED):
        trainer.add_event_handler(event, late, event.name.lower(), priority="VERY_LOW")
    trainer.run([1.0, 2.0], max_epochs=2)
    own = {"loss", "loss_epoch", "by_all"}
    found = {name: one.count for name, one in trainer.history.items() if name not in own}
    print(json.dumps([rank, found]), flush=True)
    torch.distributed.destroy_process_group()
"""


@pytest.mark.covers("F6")
def test_what_one_process_alone_logs_late_leaves_the_others_in_step(tmp_path):
    (tmp_path / "late.py").write_text(textwrap.dedent(LATE))
    command = [sys.executable, "-m", "torch.distributed.run", "--standalone", "--nproc-per-node=2"]
    done = subprocess.run(  # noqa: PLW1510 - looked at below
        [*command, "late.py"], capture_output=True, text=True, timeout=120, cwd=tmp_path,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    lines = sorted(json.loads(one) for one in done.stdout.splitlines() if one.startswith("["))
    counts = {"started": 1, "safe_point": 4, "epoch_completed": 2, "completed": 1}
    assert lines == [[0, counts], [1, {}]]
    header, *rows = (tmp_path / "run.csv").read_text().splitlines()
    for name in counts:
        column = header.split(",").index(name)
        assert any(row.split(",")[column] for row in rows), name


# ------------------------------------------------------------------ whom a value is for


@pytest.mark.covers("F6")
def test_a_model_logs_for_a_sink_of_the_trainer_in_validation_too(tmp_path):
    def model(engine, batch):
        engine.log("seen", batch, to="csv")

    trainer, evaluator = Engine(model, name="train"), Engine(model, name="val")
    trainer.attach(Scalars())
    trainer.attach(CSV(tmp_path / "run.csv"))
    evaluator.attach(Scalars())
    trainer.attach(Evaluation(evaluator, [1.0]))
    trainer.run([2.0])
    evaluator.run([1.0])  # alone, with no sink at all
    evaluator.attach(Console())
    trainer.run([2.0])
    with pytest.raises(ValueError, match=r"logged to 'csv', but the sinks of .* are console"):
        evaluator.run([1.0])


@pytest.mark.covers("F6")
def test_by_default_a_value_logged_by_hand_weighs_as_much_as_its_batch_has_samples():
    def step(engine, batch):
        engine.log("mean", batch.mean(), on="epoch")
        engine.log("each", batch.mean())

    engine = Engine(step, name="train")
    engine.attach(Scalars())
    engine.run([torch.full((n,), float(n)) for n in (1, 3)])
    assert (engine.state.metrics["mean"], engine.state.metrics["each"]) == (10 / 4, 10 / 4)
