"""Signals of the operating system. Each scenario below runs in a process of its own."""

import contextvars
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from footplate import Engine, Events, Priority, Signalled

INT, TERM = signal.SIGINT, signal.SIGTERM
EVALUATED_ON = ["STARTED", "EPOCH_STARTED", "ITERATION_COMPLETED", "EPOCH_COMPLETED", "COMPLETED"]


def in_a_process(scenario, *arguments):
    """What a scenario returns in a fresh process, in which nobody handles signals."""
    command = [sys.executable, __file__, scenario.__name__, *map(str, arguments)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)


def kill(signum):
    os.kill(os.getpid(), signum)


def raised_by(function, *args, **kwargs):
    """The name of what a call raises, with its signal's number; None if it returns."""
    try:
        function(*args, **kwargs)
    except (KeyboardInterrupt, Signalled, ValueError) as error:
        return f"{type(error).__name__}({getattr(error, 'signum', '')})"
    return None


def listen(engine, log):
    """Log every event, with the epoch, the iteration and, at safe points, the reason."""
    for event in Events:

        def record(engine, exception=None, *, event=str(event)):
            state = engine.state
            reason = [str(state.reason)] if event == "SAFE_POINT" and state.reason else []
            log.append([engine.name, event, state.epoch, state.iteration, *reason])

        engine.add_event_handler(event, record, priority=Priority.HIGHEST)


# ---------------------------------------------------------------------- one engine


def stop_in_a_step(signum, asked):
    signum, log = int(signum), []
    engine = Engine(lambda engine, batch: engine.state.iteration == 2 and kill(signum))
    listen(engine, log)
    if asked == "asked":
        engine.stop_on(signum)
    raised = raised_by(engine.run, range(3), max_epochs=2)
    first, log[:] = list(log), []
    engine.run()
    return {
        "raised": raised,
        "status": engine.state.status,
        "log": first,
        "then": [event for _, event, _, _ in log[:3]],
        "iterations": engine.state.iteration,
    }


@pytest.mark.covers("A7", "A8")
@pytest.mark.parametrize(
    ("signum", "asked", "raised"),
    [
        (INT, "not asked", "KeyboardInterrupt()"),
        (INT, "asked", "KeyboardInterrupt()"),
        (TERM, "asked", "Signalled(15)"),
    ],
)
def test_a_signal_in_a_step_stops_the_run_at_the_next_safe_point(signum, asked, raised):
    seen = in_a_process(stop_in_a_step, int(signum), asked)

    assert seen["raised"] == raised
    assert seen["log"][-4:] == [
        [None, "ITERATION_STARTED", 1, 2],
        [None, "ITERATION_COMPLETED", 1, 2],
        [None, "SAFE_POINT", 1, 2, "signalled"],
        [None, "CLOSED", 1, 2],
    ]
    assert "EXCEPTION_RAISED" not in [event for _, event, *_ in seen["log"]]
    assert seen["then"] == ["OPENED", "GET_BATCH_STARTED", "GET_BATCH_COMPLETED"]
    assert seen["iterations"] == 6


def stop_at_the_end(where):
    engine = Engine(lambda engine, batch: None)
    engine.on(where)(lambda: kill(INT))
    return [raised_by(engine.run, [1, 2]), engine.state.reason, engine.state.iteration]


@pytest.mark.covers("A8")
@pytest.mark.parametrize("where", ["COMPLETED", "CLOSED"])
def test_a_signal_behind_the_last_safe_point_is_raised_when_the_run_is_over(where):
    assert in_a_process(stop_at_the_end, where) == ["KeyboardInterrupt()", "completed", 2]


def stop_and_terminate():
    log = []

    def step(engine, batch):
        kill(INT)
        engine.terminate()

    engine = Engine(step)
    listen(engine, log)
    raised = raised_by(engine.run, range(3))
    reason, log[:] = engine.state.reason, []
    engine.run()
    return [raised, reason, [event for _, event, _, _ in log], engine.state.reason]


@pytest.mark.covers("A7", "A8")
def test_a_run_that_terminates_is_stopped_too_and_then_goes_on_to_terminate():
    expected = ["OPENED", "TERMINATE", "COMPLETED", "CLOSED"]
    seen = in_a_process(stop_and_terminate)
    assert seen == ["KeyboardInterrupt()", "signalled", expected, "terminated"]


def signal_twice(second):
    log = []

    def step(engine, batch):
        kill(INT)
        log.append("first")
        kill(int(second))
        log.append("second")

    engine = Engine(step)
    engine.stop_on(TERM)
    listen(engine, log)
    raised = raised_by(engine.run, range(3))
    return [raised, engine.state.reason, [one if isinstance(one, str) else one[1] for one in log]]


@pytest.mark.covers("A8")
@pytest.mark.parametrize(
    ("second", "name"), [(INT, "KeyboardInterrupt()"), (TERM, "Signalled(15)")]
)
def test_a_second_signal_is_raised_at_once(second, name):
    raised, reason, log = in_a_process(signal_twice, int(second))
    assert (raised, reason) == (name, "signalled")
    assert log[-4:] == ["ITERATION_STARTED", "first", "EXCEPTION_RAISED", "CLOSED"]


def hold(second):
    """As where several processes agree first: the signal waits until somebody serves it."""
    log = []

    def step(engine, batch):
        engine.watch.held = True
        if batch == 1:
            kill(TERM)
            if second in ("late", "another"):
                time.sleep(2.2 if second == "late" else 0)
                kill(TERM if second == "late" else INT)
            elif second == "soon":
                kill(TERM)

    def serve(engine):
        if engine.state.iteration == 3:
            engine.watch.serve(TERM)
            if second == "served":
                time.sleep(2.2)
                kill(TERM)

    engine = Engine(step)
    engine.stop_on(TERM)
    engine.on("SAFE_POINT")(serve)
    engine.on("EXCEPTION_RAISED")(lambda: log.append("in the midst"))
    return [raised_by(engine.run, range(1, 9)), engine.progress.iteration, *log]


@pytest.mark.covers("I7")
@pytest.mark.parametrize(
    ("second", "seen"),
    [
        ("none", ["Signalled(15)", 3]),
        ("soon", ["Signalled(15)", 3]),
        ("served", ["Signalled(15)", 3]),
        ("late", ["Signalled(15)", 0, "in the midst"]),
        ("another", ["KeyboardInterrupt()", 0, "in the midst"]),
    ],
)
def test_a_signal_that_is_held_waits_and_its_like_from_a_launcher_is_no_second_one(second, seen):
    assert in_a_process(hold, second) == seen


# ---------------------------------------------------------------------- what is installed


def keep_own_handler(kind):
    heard = []
    own = signal.SIG_IGN if kind == "ignored" else lambda signum, frame: heard.append(signum)
    signal.signal(INT, own)

    def step(engine, batch):
        kill(INT)
        return signal.getsignal(INT) is own

    engine = Engine(step)
    engine.stop_on(INT)
    raised = raised_by(engine.run, [1, 2])
    return [raised, engine.state.output, engine.state.reason, heard]


@pytest.mark.covers("A8")
@pytest.mark.parametrize(("kind", "heard"), [("own", [INT, INT]), ("ignored", [])])
def test_a_sigint_handler_of_the_users_own_is_left_alone(kind, heard):
    assert in_a_process(keep_own_handler, kind) == [None, True, "completed", heard]


def restore(ending):
    earlier = []
    signal.signal(TERM, lambda signum, frame: earlier.append(signum))
    before = [signal.getsignal(INT), signal.getsignal(TERM)]

    def step(engine, batch):
        if ending == "error":
            raise ValueError
        if ending != "completed":
            kill(getattr(signal, ending))
        return [signal.getsignal(INT), signal.getsignal(TERM)] != before

    engine = Engine(step)
    engine.stop_on(TERM)
    raised = raised_by(engine.run, [1, 2])
    restored = [signal.getsignal(INT), signal.getsignal(TERM)] == before
    return [raised, engine.state.output, restored, earlier]


@pytest.mark.covers("A8")
@pytest.mark.parametrize(
    ("ending", "seen"),
    [
        ("completed", [None, True, True, []]),
        ("error", ["ValueError()", None, True, []]),
        ("SIGINT", ["KeyboardInterrupt()", True, True, []]),
        ("SIGTERM", ["Signalled(15)", True, True, [TERM]]),
    ],
)
def test_earlier_handlers_are_called_too_and_restored_after_the_run(ending, seen):
    assert in_a_process(restore, ending) == seen


def ask_in_the_midst(nested):
    """A handler, of a nested engine maybe, asks while the run is on."""
    inner = Engine(lambda engine, batch: None)
    outer = Engine(lambda engine, batch: None)
    (inner if nested == "nested" else outer).on("STARTED")(lambda engine: engine.stop_on(TERM))
    outer.on("EPOCH_STARTED")(lambda: inner.run([1]))
    outer.on("ITERATION_COMPLETED")(lambda: kill(TERM))
    return [raised_by(outer.run, [1, 2]), outer.state.iteration, signal.getsignal(TERM)]


@pytest.mark.covers("A8")
@pytest.mark.parametrize("nested", ["nested", "outermost"])
def test_a_handler_may_ask_for_a_signal_while_the_run_is_on(nested):
    assert in_a_process(ask_in_the_midst, nested) == ["Signalled(15)", 1, signal.SIG_DFL]


def leave_foreign_handlers():
    signal.getsignal, found = lambda signum: None, signal.getsignal
    engine = Engine(lambda engine, batch: found(TERM))
    engine.stop_on(TERM)
    return engine.run([1]).output


@pytest.mark.covers("A8")
def test_handlers_that_python_did_not_install_are_left_alone():
    assert in_a_process(leave_foreign_handlers) == signal.SIG_DFL


def run_in_a_thread(context):
    """An engine in another thread, which sees the context of the running one if asked to."""
    seen = {}

    def step(engine, batch):
        return [signal.getsignal(INT) is signal.default_int_handler, signal.getsignal(TERM)]

    def run():
        inside = Engine(step)
        inside.stop_on(TERM)
        state = inside.run([1, 2])
        seen.update(iteration=state.iteration, call=state.call, output=state.output)

    def start_and_wait():
        target = contextvars.copy_context().run if context == "copied" else lambda run: run()
        thread = threading.Thread(target=target, args=(run,))
        thread.start()
        thread.join()

    if context == "none":
        start_and_wait()
        return seen
    outer = Engine(lambda engine, batch: kill(INT), name="outer")
    outer.on("ITERATION_COMPLETED")(start_and_wait)
    return {**seen, "raised": raised_by(outer.run, [1, 2]), **seen}


@pytest.mark.covers("A8")
def test_an_engine_in_another_thread_installs_nothing():
    seen = in_a_process(run_in_a_thread, "none")
    assert seen == {"iteration": 2, "call": None, "output": [True, signal.SIG_DFL]}


@pytest.mark.covers("A8")
@pytest.mark.parametrize("context", ["fresh", "copied"])
def test_an_engine_in_another_thread_is_not_stopped_with_the_main_one(context):
    seen = in_a_process(run_in_a_thread, context)
    assert seen == {
        "iteration": 2,
        "call": None,
        "output": [False, signal.SIG_DFL],
        "raised": "KeyboardInterrupt()",
    }


# ---------------------------------------------------------------------- nested engines


def nest(event, cut_in, log):
    """A trainer that evaluates on an event, between two receivers that log that they ran.

    Args:
        event: the event.
        cut_in: the evaluation in whose second iteration Ctrl-C is pressed; none if 0.
        log: gets the events of both engines, and what the receivers saw.
    """
    evaluations = []

    def evaluate(engine, batch):
        if (len(evaluations), engine.state.iteration) == (cut_in, 2):
            kill(INT)

    def receive(engine, name):
        state = engine.state
        at_hand = [state.batch] if event == "ITERATION_COMPLETED" else []
        log.append(["train", name, state.epoch, state.iteration, *at_hand, state.output])

    evaluator = Engine(evaluate, name="val")
    evaluator.on("STARTED")(evaluations.append)
    trainer = Engine(lambda engine, batch: [batch, engine.state.iteration], name="train")
    listen(evaluator, log)
    listen(trainer, log)
    trainer.add_event_handler(event, receive, name="first")
    trainer.add_event_handler(event, lambda: evaluator.run("abc"))
    trainer.add_event_handler(event, receive, name="last")
    return trainer


def train(trainer, data=(10, 20)):
    """Two epochs of three iterations, over passes of two batches."""
    trainer.run(data, max_epochs=2, epoch_length=3)


def cut(event, cut_in, file, data="the same"):
    """Press Ctrl-C in an evaluation, save at the safe point, and go on in the same process."""
    log = []
    trainer = nest(event, int(cut_in), log)

    @trainer.on("SAFE_POINT")
    def save(engine):
        if engine.state.reason:
            Path(file).write_text(json.dumps(engine.state_dict()))

    raised = raised_by(train, trainer)
    until_cut, log[:] = list(log), []
    train(trainer, (10, 20) if data == "the same" else [10, 20])
    return [raised, until_cut, log]


def go_on(event, file):
    """Load what was saved, into a process that knows nothing of the run."""
    log = []
    trainer = nest(event, 0, log)
    trainer.load_state_dict(json.loads(Path(file).read_text()))
    train(trainer)
    return log


def runs_of(name, log):
    """What one engine logged, a list for each run of it."""
    own = [entry for entry in log if entry[0] == name]
    starts = [at for at, entry in enumerate(own) if entry[1] == "OPENED"]
    return [own[a:b] for a, b in zip(starts, [*starts[1:], None], strict=True)]


@pytest.mark.covers("A7", "A8")
@pytest.mark.parametrize(
    ("event", "cut_in"),
    [
        ("STARTED", 1),
        ("EPOCH_STARTED", 1),
        ("EPOCH_STARTED", 2),
        ("ITERATION_COMPLETED", 2),
        ("ITERATION_COMPLETED", 3),
        ("ITERATION_COMPLETED", 6),
        ("EPOCH_COMPLETED", 1),
        ("EPOCH_COMPLETED", 2),
        ("COMPLETED", 1),
    ],
)
def test_a_cut_evaluation_runs_whole_when_the_run_goes_on_with_it(event, cut_in, tmp_path):
    unbroken = []
    train(nest(event, 0, unbroken))
    raised, until_cut, in_process = in_a_process(cut, event, cut_in, tmp_path / "state.json")
    anew = in_a_process(go_on, event, tmp_path / "state.json")

    (until,) = runs_of("train", until_cut)
    *whole, partial = runs_of("val", until_cut)
    assert raised == "KeyboardInterrupt()"
    assert until[-2][1] == "SAFE_POINT"
    assert until[-2][4] == "signalled"
    assert [e[1] for e in partial[-3:]] == ["ITERATION_COMPLETED", "SAFE_POINT", "CLOSED"]
    assert partial[-1][3] == 2
    for rest in (in_process, anew):
        (after,) = runs_of("train", rest)
        assert [until[:-2] + after[1:]] == runs_of("train", unbroken)
        assert whole + runs_of("val", rest) == runs_of("val", unbroken)


@pytest.mark.covers("A8")
def test_data_that_are_given_anew_stand_at_the_batch_of_the_cut_iteration(tmp_path):
    _, until_cut, rest = in_a_process(
        cut, "ITERATION_COMPLETED", 2, tmp_path / "state.json", "given anew"
    )
    assert ["train", "first", 1, 2, 20, [20, 2]] in until_cut
    assert ["train", "last", 1, 2, 20, [20, 2]] in rest


def cut_deep():
    """Ctrl-C in an engine that an evaluation runs on its own event."""
    log = []
    inmost = Engine(lambda engine, batch: kill(INT) if not log else None)
    evaluator = Engine(lambda engine, batch: None)
    trainer = Engine(lambda engine, batch: None)
    inmost.on("CLOSED")(lambda engine: log.append(["inmost", engine.state.iteration]))
    evaluator.on("CLOSED")(lambda engine: log.append(["val", engine.state.iteration]))
    evaluator.on("ITERATION_COMPLETED")(lambda: inmost.run([1, 2]))
    trainer.on("EPOCH_COMPLETED")(lambda: evaluator.run([1]))
    return [raised_by(trainer.run, [1]), log[:], trainer.run().reason, log[2:]]


@pytest.mark.covers("A8")
def test_evaluations_within_evaluations_are_cut_and_run_whole_again():
    whole = [["inmost", 2], ["val", 1]]
    cut_short = [["inmost", 1], ["val", 1]]
    assert in_a_process(cut_deep) == ["KeyboardInterrupt()", cut_short, "completed", whole]


def never_cut(where):
    """A nested run where the outer one could not go on: it must run whole."""
    log = []
    inner = Engine(lambda engine, batch: engine.state.iteration == 1 and kill(INT), name="inner")

    def step(engine, batch):
        if where == "step":
            inner.run([1, 2, 3])
        return object()  # can't be saved for the receivers behind a cut

    outer = Engine(step, name="outer")
    listen(inner, log)
    listen(outer, log)
    if where == "terminated":
        outer.on("EPOCH_COMPLETED")(lambda engine: engine.terminate())
    if where != "step":
        event = "EPOCH_COMPLETED" if where == "terminated" else where
        outer.on(event)(lambda: inner.run([1, 2, 3]))
    raised = raised_by(outer.run, [1])
    return [raised, [inner.state.iteration, inner.state.reason], log[-2]]


@pytest.mark.covers("A8")
@pytest.mark.parametrize(
    "where",
    ["step", "GET_BATCH_STARTED", "ITERATION_STARTED", "ITERATION_COMPLETED", "terminated"],
)
def test_a_nested_run_is_not_cut_where_the_outer_one_could_not_go_on(where):
    assert in_a_process(never_cut, where) == [
        "KeyboardInterrupt()",
        [3, "completed"],
        ["outer", "SAFE_POINT", 1, 1, "signalled"],
    ]


def finish_anyway():
    """Ctrl-C in the last iteration of an evaluation: nothing is left to cut."""
    evaluations = []
    evaluator = Engine(lambda engine, batch: engine.state.iteration == 2 and kill(INT))
    evaluator.on("COMPLETED")(lambda: evaluations.append("whole"))
    trainer = Engine(lambda engine, batch: None)
    trainer.on("EPOCH_COMPLETED")(lambda: evaluator.run([1, 2]))
    return [raised_by(trainer.run, [1]), evaluations, trainer.run().reason, evaluations]


@pytest.mark.covers("A8")
def test_an_evaluation_in_its_last_iteration_is_finished():
    seen = in_a_process(finish_anyway)
    assert seen == ["KeyboardInterrupt()", ["whole"], "completed", ["whole"]]


@pytest.mark.covers("A8")
def test_an_error_in_a_receiver_after_the_cut_presents_the_same_iteration_again(tmp_path):
    in_a_process(cut, "ITERATION_COMPLETED", 2, tmp_path / "state.json")
    trainer = nest("ITERATION_COMPLETED", 0, [])
    trainer.load_state_dict(json.loads((tmp_path / "state.json").read_text()))
    failing = trainer.add_event_handler("ITERATION_COMPLETED", lambda: 1 / 0)
    with failing, pytest.raises(ZeroDivisionError):
        train(trainer)

    assert trainer.state.iteration == 1
    train(trainer)
    assert (trainer.state.iteration, trainer.state.reason) == (6, "completed")


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))


@pytest.mark.parametrize("signum", [signal.SIGKILL, signal.SIGSTOP, 0])
def test_what_no_process_can_handle_is_refused_at_once(signum):
    with pytest.raises(ValueError, match=r"can't be handled|not a valid"):
        Engine(lambda engine, batch: None).stop_on(signum)
