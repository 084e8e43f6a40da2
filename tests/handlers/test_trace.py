"""A trace tells where the time of a run goes, and changes nothing else."""

from __future__ import annotations

import contextlib
import json
import logging
import os
import signal
import threading
import time
import traceback
import weakref

import pytest
import torch
from torch import nn

from footplate import Bus, Engine, Events, Handler, Signalled
from footplate.engine.channel import Channel
from footplate.engine.data.device import DeviceLoader
from footplate.engine.errors import HandlerError
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.events import StepEvents
from footplate.engine.step.training import training_step
from footplate.engine.trace import tracing
from footplate.engine.trace.timeline import Kind
from footplate.engine.trace.tracing import TracedChannel
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.trace import Trace


def nothing(engine, batch):
    return None


class Slow(Handler):
    def __init__(self, seconds=0.0):
        self.seconds = seconds

    def iteration_completed(self, engine):
        time.sleep(self.seconds)


class SlowData:
    def __init__(self, length, seconds):
        self.length, self.seconds = length, seconds

    def __len__(self):
        return self.length

    def __iter__(self):
        for number in range(self.length):
            time.sleep(self.seconds)
            yield number


def sleeper(seconds):
    return lambda engine, batch: time.sleep(seconds)


def line_of(trace, what, engine=None):
    (found,) = [
        line for line in trace.lines() if line.what == what and engine in (None, line.engines[-1])
    ]
    return found


def calls(trace):
    return {(*line.engines, line.what, line.event): line.calls for line in trace.lines()}


def spans_in(path):
    """The complete events of a file, checked: each lies within those that it begins in."""
    with open(path) as file:
        written = json.load(file)
    events = written["traceEvents"]
    named = {event["name"]: event["args"]["name"] for event in events if event["ph"] == "M"}
    assert named.keys() == {"process_name", "thread_name"}
    spans = [event for event in events if event["ph"] == "X"]
    assert len(spans) + 2 == len(events)
    assert len({(event["pid"], event["tid"]) for event in events}) == 1
    under_way: list[dict] = []
    for span in spans:  # in order of their beginnings
        end = span["ts"] + span["dur"]
        while under_way and span["ts"] >= under_way[-1]["end"] - 1e-3:
            under_way.pop()
        if under_way:
            assert span["ts"] >= under_way[-1]["ts"]
            assert end <= under_way[-1]["end"] + 1e-3, (span, under_way[-1])
        span["within"] = [one["name"] for one in under_way]
        span["end"] = end
        under_way.append(span)
    assert all(span["within"][:1] == [spans[0]["name"]] for span in spans[1:])
    return spans


# ---------------------------------------------------------------------- what it tells


@pytest.mark.covers("F8")
def test_times_add_up_to_the_run_s_own(tmp_path):
    trainer = Engine(sleeper(0.008), name="train")
    evaluator = Engine(sleeper(0.005), name="val")
    trainer.attach(Slow(0.004))
    trainer.attach(Evaluation(evaluator, SlowData(5, 0.002)))
    trace = trainer.attach(Trace(tmp_path / "trace.json"))
    begun = time.perf_counter()
    trainer.run(SlowData(15, 0.006), max_epochs=3)
    took = time.perf_counter() - begun
    assert sum(line.seconds for line in trace.lines()) == pytest.approx(took, rel=0.05)
    assert sum(line.share for line in trace.lines()) == pytest.approx(1)

    slept = {
        ("step", "train"): 45 * 0.008,
        ("data wait", "train"): 45 * 0.006,
        ("Slow.iteration_completed", "train"): 45 * 0.004,
        ("step", "val"): 15 * 0.005,
        ("data wait", "val"): 15 * 0.002,
    }
    others = took - sum(slept.values())  # what the machine needed besides, counted to nobody twice
    for (what, engine), seconds in slept.items():
        assert seconds <= line_of(trace, what, engine).seconds <= seconds + others, what
    assert line_of(trace, "dispatch", "train").seconds <= others
    assert line_of(trace, "Evaluation._evaluate").seconds <= others

    shown = str(trace).splitlines()
    assert shown[1].startswith("train: ")
    assert shown[2].startswith(f"  {trace.lines()[0].name} ")
    assert any(line.startswith("  val: ") and line.endswith(" in 3 runs") for line in shown)
    assert trace.table() == str(trace)


@pytest.mark.covers("F8")
def test_the_file_shows_engines_nested(tmp_path):
    trainer = Engine(nothing, name="train")
    evaluator = Engine(nothing, name="val")
    inner = Engine(nothing, name="inner")
    evaluator.attach(Evaluation(inner, [0], Events.ITERATION_COMPLETED, prefix="inner"))
    trainer.attach(Evaluation(evaluator, [0, 1]))
    trainer.attach(Trace(tmp_path / "deep" / "trace.json"))
    trainer.run([0, 1, 2], max_epochs=2)
    spans = spans_in(tmp_path / "deep" / "trace.json")
    by_name = {}
    for span in spans:
        by_name.setdefault((span["name"], span["args"]["engine"]), []).append(span)
    assert len(by_name["step", "train"]) == 6
    assert len(by_name["step", "train > val"]) == 4
    assert len(by_name["inner", "train > val > inner"]) == 4
    for span in by_name["step", "train > val > inner"]:
        assert span["within"] == [
            "train", "epoch", "EPOCH_COMPLETED", "Evaluation._evaluate",
            "val", "epoch", "ITERATION_COMPLETED", "Evaluation._evaluate", "inner", "epoch",
        ]  # fmt: skip
    steps, epochs = by_name["step", "train"], by_name["epoch", "train"]
    assert [span["args"]["iteration"] for span in steps] == [1, 2, 3, 4, 5, 6]
    assert [span["args"]["iteration"] for span in by_name["data wait", "train"]] == [
        1, 2, 3, 4, 5, 6,
    ]  # fmt: skip
    assert [span["args"]["epoch"] for span in epochs] == [1, 2]
    assert {span["cat"] for span in spans} <= {kind.value for kind in Kind}


def test_every_receiver_of_every_kind_is_there():
    class Named(Handler):
        def before_train_iter(self, engine, batch_idx, data_batch):
            pass

        def shouted(self, engine, word):
            pass

    def receiver(sender):
        pass

    def with_arguments(engine, word, *, more):
        pass

    bus = Bus()
    trainer = Engine(nothing, name="train", bus=bus)
    trainer.register_events("SHOUTED", payload=("word",))
    trainer.attach(Named())
    bus.signal("STARTED").connect(receiver)
    trainer.add_event_handler(Events.EPOCH_STARTED, with_arguments, "a", more="b")
    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: None)
    trainer.add_event_handler(
        Events.EPOCH_COMPLETED, lambda engine: engine.fire_event("SHOUTED", word="hi")
    )
    trace = trainer.attach(Trace())
    trainer.run(range(5))
    seen = {
        (line.what.split()[0].split(".")[-1], line.event): line.calls
        for line in trace.lines()
        if line.kind is Kind.HANDLER
    }
    assert seen == {
        ("before_train_iter", "ITERATION_STARTED"): 5,
        ("shouted", "SHOUTED"): 1,
        ("receiver", "STARTED"): 1,
        ("with_arguments", "EPOCH_STARTED"): 1,
        ("<lambda>", "ITERATION_COMPLETED"): 2,
        ("<lambda>", "EPOCH_COMPLETED"): 1,
    }
    assert sum(" test_trace.py:" in line.what for line in trace.lines()) == 2


@pytest.mark.covers("F8")
def test_the_parts_of_a_training_step_are_told_apart(tmp_path):
    model = nn.Linear(3, 1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    step = training_step(model, optimizer, nn.functional.mse_loss, clip=ClipNorm(1.0))
    trainer = Engine(step, name="train")
    trainer.add_event_handler(StepEvents.BACKWARD_COMPLETED, lambda: time.sleep(0.002))
    trace = trainer.attach(Trace(tmp_path / "trace.json"))
    trainer.run([(torch.ones(4, 3), torch.ones(4, 1))] * 3)
    parts = ("forward", "loss", "backward", "clipping", "optimizer step", "zero_grad")
    for part in parts:
        assert line_of(trace, part).calls == 3
        assert line_of(trace, part).kind is Kind.PART
    waits = [line for line in trace.lines() if line.event == "BACKWARD_COMPLETED"]
    assert [line.calls for line in waits] == [3]
    assert waits[0].seconds >= 0.006
    assert line_of(trace, "step").seconds < 0.006  # it is no part of the step's own time
    assert trainer.state.counts["OPTIMIZER_STEPPED"] == 3
    within = {span["name"]: span["within"] for span in spans_in(tmp_path / "trace.json")}
    assert all(within[part] == ["train", "epoch", "step"] for part in parts)


def test_phases_lie_between_events_that_there_are():
    known = {*map(str, Events), *map(str, StepEvents)}
    assert tracing._PHASES.keys() | tracing._HEARD | tracing._ENDS.keys() <= known
    assert {end for *_, ends in tracing._PHASES.values() for end in ends} <= known
    assert tracing._ENDS.keys() == {*map(str, Events)} - {"OPENED", "DATALOADER_STOP_ITERATION"}


def test_a_part_that_fails_and_is_tried_again_is_told_apart(tmp_path):
    def step(engine, batch):
        engine.fire_event(StepEvents.FORWARD_STARTED, batch=batch)  # and runs out of memory
        engine.fire_event(StepEvents.FORWARD_STARTED, batch=batch)
        engine.fire_event(StepEvents.FORWARD_COMPLETED, outputs=batch)

    trainer = Engine(step, name="train")
    trainer.register_events(*StepEvents)
    trainer.attach(Trace(tmp_path / "trace.json"))
    trainer.run([0])
    forward = [s["within"] for s in spans_in(tmp_path / "trace.json") if s["name"] == "forward"]
    assert forward == [["train", "epoch", "step"]] * 2


def test_data_that_end_early_begin_anew_or_are_missing():
    restarted = Engine(nothing, name="train")
    heard = []
    restarted.add_event_handler(Events.DATALOADER_STOP_ITERATION, lambda: heard.append(1))
    trace = restarted.attach(Trace())
    restarted.run([1, 2], max_epochs=1, epoch_length=5)
    assert len(heard) == 2
    assert line_of(trace, "data wait").calls == 5

    unsized = Engine(nothing, name="train")
    trace = unsized.attach(Trace())
    unsized.run(number for number in range(3))
    assert line_of(trace, "data wait").calls == 4  # the last found the end
    assert line_of(trace, "step").calls == 3

    without = Engine(nothing, name="train")
    trace = without.attach(Trace())
    without.run(epoch_length=4)
    assert "data wait" not in {line.what for line in trace.lines()}
    assert line_of(trace, "step").calls == 4


# ---------------------------------------------------------------------- hints


@pytest.mark.covers("F8")
def test_a_line_names_the_worst_handler(caplog):
    trainer = Engine(sleeper(0.004), name="train")
    trainer.attach(Slow(0.003))
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: time.sleep(0.001))
    trace = trainer.attach(Trace())
    trainer.run(range(20))
    (record,) = caplog.records
    assert (record.name, record.levelno) == ("footplate.trace", logging.WARNING)
    said = record.getMessage()
    assert said.startswith("Handlers take ")
    assert "most of it Slow.iteration_completed on ITERATION_COMPLETED of 'train': " in said
    share = line_of(trace, "Slow.iteration_completed").share
    assert said.endswith(f" {100 * share:.1f} %.")
    assert str(trace).splitlines()[-1] == said


def test_a_line_tells_of_waiting_for_data(caplog, tmp_path):
    trainer = Engine(sleeper(0.002), name="train")
    trainer.attach(Trace(tmp_path / "trace.json"))
    trainer.run(SlowData(20, 0.002))
    (record,) = caplog.records
    assert record.getMessage().startswith("The step waits for data ")
    with open(tmp_path / "trace.json") as file:
        assert json.load(file)["otherData"]["remarks"] == [record.getMessage()]


def test_where_all_is_well_nothing_is_said(caplog):
    trainer = Engine(sleeper(0.005), name="train")
    trainer.attach(Slow(0.0))
    trainer.attach(Trace())
    trainer.run(range(20))
    assert caplog.records == []


# ---------------------------------------------------------------------- errors


class FailingData:
    def __len__(self):
        return 3

    def __iter__(self):
        yield 1
        raise ValueError("no more")


def fails_in_the_step(engine):
    return Engine(lambda engine, batch: 1 / 0 if batch else None, name="train"), [0, 1]


def fails_in_a_handler(engine):
    trainer = Engine(nothing, name="train")

    def fail(engine):
        raise ValueError("bad")

    trainer.add_event_handler(Events.ITERATION_COMPLETED(every=2), fail)
    return trainer, [0, 1]


def fails_in_the_data(engine):
    return Engine(nothing, name="train"), FailingData()


def fails_in_an_evaluation(engine):
    trainer = Engine(nothing, name="train")
    evaluator = Engine(lambda engine, batch: 1 / 0, name="val")
    trainer.attach(Evaluation(evaluator, [0]))
    return trainer, [0, 1]


def fails_when_closed(engine):
    trainer = Engine(nothing, name="train")
    trainer.add_event_handler(Events.CLOSED, lambda: 1 / 0)
    return trainer, [0, 1]


def raised_by(case, trace=None):
    trainer, data = case(None)
    if trace is not None:
        trainer.attach(trace)
    with pytest.raises((ValueError, ZeroDivisionError)) as caught:
        trainer.run(data)
    return caught.value


@pytest.mark.covers("F8")
@pytest.mark.parametrize(
    "case",
    [
        fails_in_the_step,
        fails_in_a_handler,
        fails_in_the_data,
        fails_in_an_evaluation,
        fails_when_closed,
    ],
)
def test_an_error_passes_as_it_is_and_the_file_is_written(case, tmp_path):
    expected = raised_by(case)
    trace = Trace(tmp_path / "trace.json")
    error = raised_by(case, trace)
    assert type(error) is type(expected)
    assert error.args == expected.args
    assert error.__notes__ == expected.__notes__
    frames, before = (traceback.extract_tb(one.__traceback__) for one in (error, expected))
    assert (frames[-1].name, frames[-1].line) == (before[-1].name, before[-1].line)
    assert len(frames) - len(before) <= 4  # two for each receiver on the way
    spans = spans_in(tmp_path / "trace.json")
    seconds = sum(line.seconds for line in trace.lines())
    assert seconds == pytest.approx(spans[0]["dur"] / 1e6)


def test_a_file_that_can_t_be_written_is_told_when_the_run_begins(tmp_path):
    (tmp_path / "taken").write_text("a file")
    trainer = Engine(nothing, name="train")
    trainer.attach(Trace(tmp_path / "taken" / "trace.json"))
    with pytest.raises(FileExistsError):
        trainer.run([0])
    assert trainer.state.iteration == 0


@pytest.mark.parametrize("given", [0, -1, 2.5])
def test_a_limit_that_makes_no_sense_is_refused(given):
    with pytest.raises((TypeError, ValueError), match="max_spans"):
        Trace(max_spans=given)


def test_a_folder_is_refused_as_a_file(tmp_path):
    with pytest.raises(ValueError, match="is a file to write"):
        Trace(tmp_path)


def test_one_trace_is_for_one_engine():
    trace, first = Trace(), Engine(nothing)
    first.attach(trace)
    with pytest.raises(HandlerError, match="make another one"):
        Engine(nothing).attach(trace)


# ---------------------------------------------------------------------- signals


def stopped_in_an_evaluation(trace):
    """What is left of a run whose evaluation a signal cut, and what comes when it goes on."""
    log = []

    def evaluate(engine, batch):
        log.append(("val", batch))
        if len(log) == 5:
            os.kill(os.getpid(), signal.SIGTERM)

    trainer = Engine(lambda engine, batch: log.append(("train", batch)), name="train")
    evaluator = Engine(evaluate, name="val")
    trainer.stop_on(signal.SIGTERM)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: log.append("first"), priority=1)
    trainer.attach(Evaluation(evaluator, [0, 1, 2]))
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: log.append("last"))
    if trace is not None:
        trainer.attach(trace)
    with pytest.raises(Signalled):
        trainer.run([0, 1], max_epochs=2)
    delivered = trainer.progress.delivered
    left = {event: type(channel) for event, channel in evaluator.channels.items()}
    trainer.run()
    return log, delivered, left


@pytest.mark.covers("F8")
def test_a_signal_cuts_a_nested_run_as_it_did():
    trace = Trace()
    expected, traced = stopped_in_an_evaluation(None), stopped_in_an_evaluation(trace)
    assert traced == expected
    log, delivered, _ = traced
    assert delivered == 1  # "first" is not run again
    assert log.count("first") == 2
    assert log.count(("val", 2)) == 2
    assert line_of(trace, "step", "val").calls == 6  # of the run that went on


# ---------------------------------------------------------------------- coming and going


def settled(engine):
    return {event: (type(one), one.calls, one.plan) for event, one in engine.channels.items()}


@pytest.mark.covers("F8")
def test_a_trace_that_was_taken_away_leaves_nothing():
    trainer = Engine(nothing, name="train")
    evaluator = Engine(nothing, name="val")
    trainer.attach(Slow())
    trainer.attach(Evaluation(evaluator, [0]))
    before, before_evaluator = settled(trainer), settled(evaluator)
    trace = trainer.attach(Trace())
    assert all(type(channel) is TracedChannel for channel in trainer.channels.values())
    trainer.run([0])
    assert settled(evaluator) == before_evaluator
    assert evaluator.tracer is None
    trainer.detach(trace)
    assert settled(trainer) == before
    assert trainer.tracer is None
    assert line_of(trace, "step", "train").calls == 1
    trainer.run([0, 1, 2])
    assert line_of(trace, "step", "train").calls == 1


def test_an_engine_that_nobody_traces_has_plain_channels():
    trainer = Engine(nothing, name="train")
    trainer.attach(Slow())
    assert {type(channel) for channel in trainer.channels.values()} == {Channel}
    assert trainer.channels["GET_BATCH_STARTED"].calls == ()
    (step,) = trainer.channels["ITERATION_COMPLETED"].calls
    assert step[1] is step[2].call


@pytest.mark.covers("F8")
def test_detached_in_the_midst_it_ends_and_writes(tmp_path):
    trainer = Engine(nothing, name="train")
    before = settled(trainer)
    trace = trainer.attach(Trace(tmp_path / "trace.json"))

    def detach(engine):
        handle.remove()
        engine.detach(trace)
        assert settled(engine)["GET_BATCH_STARTED"] == before["GET_BATCH_STARTED"]

    handle = trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), detach)
    trainer.run(range(10))
    assert trainer.state.iteration == 10
    assert line_of(trace, "step").calls == 3
    assert len([span for span in spans_in(tmp_path / "trace.json") if span["name"] == "step"]) == 3
    assert {type(channel) for channel in trainer.channels.values()} == {Channel}
    trainer.attach(trace)
    trainer.run(range(10))
    assert line_of(trace, "step").calls == 10


def test_detached_within_a_nested_run_it_ends_and_the_run_goes_on():
    trainer = Engine(nothing, name="train")
    evaluator = Engine(nothing, name="val")
    trace = trainer.attach(Trace())
    evaluator.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda: trainer.detach(trace))
    trainer.attach(Evaluation(evaluator, range(5)))
    trainer.run([0], max_epochs=3)
    assert evaluator.state.iteration == 5
    assert line_of(trace, "step", "val").calls == 2
    for engine in (trainer, evaluator):
        assert {type(channel) for channel in engine.channels.values()} == {Channel}


@pytest.mark.covers("F8")
def test_attached_in_the_midst_it_traces_from_there():
    trainer = Engine(nothing, name="train")
    evaluator = Engine(nothing, name="val")
    trainer.attach(Evaluation(evaluator, [0]))
    trace = Trace()
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=3), lambda e: e.attach(trace))
    trainer.run(range(10))
    assert calls(trace)["train", "step", ""] == 7
    assert calls(trace)["train", "val", "step", ""] == 1
    assert sum(line.share for line in trace.lines()) == pytest.approx(1)


@pytest.mark.covers("F8")
def test_handlers_that_come_and_go_are_traced():
    trainer = Engine(nothing, name="train")
    trace = trainer.attach(Trace())

    def newcomer(engine):
        pass

    def leaver(engine):
        pass

    def announced(engine):
        pass

    trainer.add_event_handler(Events.ITERATION_COMPLETED, leaver)

    @trainer.on(Events.ITERATION_STARTED(once=4))
    def change(engine):
        engine.remove_event_handler(leaver, Events.ITERATION_COMPLETED)
        engine.add_event_handler(Events.ITERATION_COMPLETED, newcomer)
        engine.register_events("ANNOUNCED")
        engine.add_event_handler("ANNOUNCED", announced)
        engine.fire_event("ANNOUNCED")

    trainer.run(range(10))
    assert {line.what.split(".")[-1]: line.calls for line in trace.lines() if line.event} == {
        "newcomer": 7,
        "leaver": 3,
        "change": 1,
        "announced": 1,
    }


def test_each_run_is_a_trace_of_its_own(tmp_path):
    trainer = Engine(nothing, name="train")
    trace = trainer.attach(Trace(tmp_path / "trace.json"))
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=4), lambda e: e.interrupt())
    trainer.run(range(10))
    assert line_of(trace, "step").calls == 4
    trainer.run()
    assert line_of(trace, "step").calls == 6
    steps = [span for span in spans_in(tmp_path / "trace.json") if span["name"] == "step"]
    assert [span["args"]["iteration"] for span in steps] == [5, 6, 7, 8, 9, 10]


def test_nothing_of_it_is_saved():
    trainer = Engine(nothing, name="train")
    trainer.attach(Trace())
    trainer.run([0])
    assert "trace" not in trainer.state_dict()["footplate"]["handlers"]


def test_an_evaluator_with_a_trace_of_its_own_keeps_it():
    trainer = Engine(nothing, name="train")
    evaluator = Engine(nothing, name="val")
    trainer.attach(Evaluation(evaluator, [0, 1]))
    outer, inner = trainer.attach(Trace()), evaluator.attach(Trace())
    trainer.run([0], max_epochs=2)
    assert ("train", "val", "step", "") not in calls(outer)
    assert calls(outer)["train", "Evaluation._evaluate", "EPOCH_COMPLETED"] == 2
    assert calls(inner)["val", "step", ""] == 2
    trainer.run([0])
    assert calls(outer)["train", "Evaluation._evaluate", "EPOCH_COMPLETED"] == 1


def test_what_runs_in_another_thread_is_left_alone():
    trainer = Engine(nothing, name="train")
    evaluator = Engine(nothing, name="val")
    trainer.register_events("CALLED")
    trainer.add_event_handler("CALLED", lambda: None)

    @trainer.on(Events.EPOCH_COMPLETED)
    def elsewhere(engine):
        thread = threading.Thread(target=lambda: (evaluator.run([0]), engine.fire_event("CALLED")))
        thread.start()
        thread.join()

    trace = trainer.attach(Trace())
    trainer.run([0, 1])
    assert evaluator.state.iteration == 1
    assert {line.engines for line in trace.lines()} == {("train",)}
    assert "CALLED" not in {line.event for line in trace.lines()}


def test_events_outside_of_a_run_are_no_part_of_one():
    trainer = Engine(nothing, name="train")
    trainer.register_events("CALLED")
    trainer.add_event_handler("CALLED", lambda: None)
    trace = trainer.attach(Trace())
    trainer.fire_event("CALLED")
    assert str(trace) == "nothing was traced yet"
    trainer.run([0])
    trainer.fire_event("CALLED")
    assert sum(line.share for line in trace.lines()) == pytest.approx(1)
    assert "CALLED" not in {line.event for line in trace.lines()}


# ---------------------------------------------------------------------- what must not change


def test_a_device_loader_still_sends_batches_ahead():
    trainer = Engine(nothing, name="train")
    trainer.register_events(*StepEvents)
    loader = DeviceLoader([torch.ones(2)] * 3, "cpu", engine=trainer)
    trace = trainer.attach(Trace())
    assert not any(
        trainer.channels[event].calls for event in ("TRANSFER_STARTED", "TRANSFER_COMPLETED")
    )
    trainer.run(loader)
    assert "transfer" not in {line.what for line in trace.lines()}
    trainer.add_event_handler(StepEvents.TRANSFER_STARTED, lambda: None)
    trainer.add_event_handler(StepEvents.TRANSFER_COMPLETED, lambda: None)
    trainer.run(loader)
    assert line_of(trace, "transfer").calls == 3


def test_who_is_muted_or_silenced_stays_so():
    trainer = Engine(nothing, name="train")
    heard = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: heard.append(1))
    trainer.attach(Trace())
    channel = trainer.channels["ITERATION_COMPLETED"]
    with trainer.silenced():
        assert channel.calls == trainer.channels["GET_BATCH_STARTED"].calls == ()
    assert channel.calls
    trainer.bus.signal("ITERATION_COMPLETED").is_muted = True
    assert channel.calls == ()
    trainer.run([0])
    assert heard == []


def test_a_signal_sent_the_blinker_way_returns_what_its_receivers_do():
    trainer = Engine(nothing, name="train")
    trainer.attach(Trace())

    def answer(sender):
        return 42

    signal_of = trainer.bus.signal("GET_BATCH_STARTED")
    assert signal_of.send(trainer) == []
    signal_of.connect(answer, trainer)
    assert signal_of.send(trainer) == [(answer, 42)]


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.usefixtures("no_collector")
def test_an_engine_dies_with_its_last_name(fails):
    class Model:
        pass

    model = Model()
    trainer = Engine(lambda engine, batch, model=model: 1 / 0 if fails else None, name="train")
    trainer.attach(Evaluation(Engine(nothing, name="val"), [0]))
    trainer.attach(Trace())
    with contextlib.suppress(ZeroDivisionError):
        trainer.run([0])
    dead = weakref.ref(trainer), weakref.ref(model)
    del trainer, model
    assert [one() for one in dead] == [None, None]
    assert len(tracing._tracers) == 0
