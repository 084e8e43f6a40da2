"""Sinks: when they open and close, what they take, and what they are told of the end."""

from __future__ import annotations

import pytest
import torch

from footplate import Engine, Events
from footplate.engine.stream.media import show
from footplate.engine.stream.sink import Sink
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.scalars import Scalars


class Notes(Sink):
    """Notes what it is asked to do."""

    def __init__(self, **options):
        super().__init__(**options)
        self.told = []

    def begin(self, engine):
        self.told.append(("begin", engine.name))

    def write(self, engine, point):
        self.told.append((point.engine, point.on, point.step, dict(point.scalars)))

    def write_text(self, engine, name, value, step):
        self.told.append((name, value, step))

    def end(self, engine, status):
        self.told.append(("end", status))

    @property
    def rows(self):
        return [one for one in self.told if len(one) == 4]


def engine_with(*sinks, name="train", every=1, step=None):
    engine = Engine(step or (lambda engine, batch: {"loss": batch}), name=name)
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=every), epoch_suffix=None))
    for number, sink in enumerate(sinks):
        engine.attach(sink, name=sink.name or f"notes_{number}")
    return engine


@pytest.mark.covers("F5")
def test_each_log_point_reaches_each_sink():
    first, second = Notes(), Notes()
    engine_with(first, second).run([4.0, 2.0])
    assert first.told == second.told
    assert first.told == [
        ("begin", "train"),
        ("train", "iteration", 1, {"loss": 4.0}),
        ("train", "iteration", 2, {"loss": 2.0}),
        ("end", "completed"),
    ]


@pytest.mark.covers("F6")
@pytest.mark.parametrize(
    ("names", "taken"),
    [("*", {"a", "b/x", "b/y"}), ("b/*", {"b/x", "b/y"}), (["a", "*y"], {"a", "b/y"})],
)
def test_names_filter(names, taken):
    notes = Notes(names=names)
    engine_with(notes, step=lambda e, b: {"a": 1.0, "b/x": 2.0, "b/y": 3.0}).run([0])
    assert notes.rows[0][3].keys() == taken


@pytest.mark.covers("F6")
def test_a_point_with_nothing_for_a_sink_is_not_written():
    notes = Notes(names="other")
    engine_with(notes).run([1.0])
    assert notes.rows == []


@pytest.mark.covers("F6")
def test_an_interval_is_a_sinks_own_and_ends_of_epochs_are_for_all():
    all_of_them, some = Notes(), Notes(every=3)

    def step(engine, batch):
        engine.log("seen", batch, on="epoch")
        return {"loss": batch}

    engine_with(all_of_them, some, step=step).run([1.0] * 4, max_epochs=2)
    points = [(row[1], row[2]) for row in all_of_them.rows]
    iterations = [("iteration", n) for n in range(1, 9)]
    assert sorted(points) == sorted([*iterations, ("epoch", 4), ("epoch", 8)])
    assert [(row[1], row[2]) for row in some.rows] == [
        ("iteration", 3), ("epoch", 4), ("iteration", 6), ("epoch", 8),
    ]  # fmt: skip


@pytest.mark.covers("F6")
def test_a_value_goes_to_the_sinks_that_it_is_for():
    mine, other = Notes(), Notes()
    mine.name, other.name = "mine", "other"

    def step(engine, batch):
        engine.log("secret", batch, to="mine")
        engine.log("open", batch)

    engine_with(mine, other, step=step).run([1.0])
    assert mine.rows[0][3] == {"secret": 1.0, "open": 1.0}
    assert other.rows[0][3] == {"open": 1.0}


@pytest.mark.parametrize("every", [0, -1])
def test_an_interval_below_one_is_refused(every):
    with pytest.raises(ValueError, match=f"from 1, given {every}"):
        Notes(every=every)


# ------------------------------------------------------------------ the end


@pytest.mark.covers("F4")
@pytest.mark.parametrize("where", [Events.ITERATION_STARTED, Events.COMPLETED, Events.STARTED])
def test_it_is_closed_on_an_error(where):
    notes = Notes()
    engine = engine_with(notes)
    engine.on(where)(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run([1.0])
    assert notes.told[-1] == ("end", "error")


@pytest.mark.covers("F4")
def test_it_is_closed_on_a_ctrl_c():
    notes = Notes()

    def step(engine, batch):
        import signal

        signal.raise_signal(signal.SIGINT)
        return batch

    with pytest.raises(KeyboardInterrupt):
        engine_with(notes, step=step).run([1.0, 2.0])
    assert notes.told[-1] == ("end", "signalled")
    assert len(notes.rows) == 1


@pytest.mark.parametrize(("call", "status"), [("terminate", "terminated"),
                                              ("interrupt", "interrupted")])  # fmt: skip
def test_it_is_told_how_a_run_ended(call, status):
    notes = Notes()
    engine = engine_with(notes)
    engine.on(Events.ITERATION_COMPLETED(once=1))(lambda e: getattr(e, call)())
    engine.run([1.0, 2.0])
    assert notes.told[-1] == ("end", status)


# ------------------------------------------------------------------ several engines


@pytest.mark.covers("F4")
def test_one_object_serves_nested_engines_and_one_that_runs_later():
    notes = Notes()
    trainer, evaluator, tester = (engine_with(notes, name=n) for n in ("train", "val", "test"))
    trainer.attach(Evaluation(evaluator, [8.0]))
    trainer.run([1.0], max_epochs=2)
    tester.run([9.0])
    begun_and_ended = [one for one in notes.told if len(one) == 2]
    assert begun_and_ended == [("begin", "train"), ("end", "completed"),
                               ("begin", "test"), ("end", "completed")]  # fmt: skip
    assert [row[0] for row in notes.rows if row[1] == "iteration"] == [
        "train", "val", "train", "val", "test",
    ]  # fmt: skip


@pytest.mark.covers("F4")
def test_within_an_evaluator_alone_it_is_open_until_the_trainer_is_closed():
    notes = Notes()
    trainer = Engine(lambda e, b: None, name="train")
    trainer.attach(Evaluation(engine_with(notes, name="val"), [8.0]))
    trainer.on(Events.EPOCH_COMPLETED(once=2))(lambda e: e.terminate())
    trainer.run([0], max_epochs=3)
    row = {"loss": 8.0}
    assert notes.told == [
        ("begin", "train"), ("val", "iteration", 1, row), ("val", "iteration", 2, row),
        ("end", "terminated"),
    ]  # fmt: skip
    trainer.run([0])  # it goes on
    assert notes.told[4:] == [
        ("begin", "train"), ("val", "iteration", 3, row), ("end", "completed"),
    ]  # fmt: skip


@pytest.mark.covers("F4")
def test_what_runs_behind_the_end_opens_nothing():
    notes, alone = Notes(), Notes()
    trainer, evaluator = engine_with(notes), engine_with(notes, alone, name="val")
    trainer.on(Events.CLOSED, priority="LOWEST")(lambda: evaluator.run([8.0]))
    for _ in range(2):
        trainer.run([1.0])
    row = ("train", "iteration", 1, {"loss": 1.0})
    assert notes.told == [("begin", "train"), row, ("end", "completed")] * 2
    assert alone.told == []
    evaluator.run([8.0])
    assert len(alone.rows) == 1


@pytest.mark.covers("F4")
def test_it_is_told_which_runs_start_anew():
    told = []

    class Anew(Notes):
        def start_anew(self, *, again):
            told.append(("anew", again))

        def begin(self, engine):
            told.append(engine.name)

    notes = Anew()
    trainer, tester = engine_with(notes), engine_with(notes, name="test")
    trainer.on(Events.ITERATION_COMPLETED(once=1))(lambda e: e.interrupt())
    trainer.run([1.0, 2.0])
    trainer.run()
    tester.run([1.0])
    trainer.run([1.0])
    assert told == [("anew", False), "train", "train", "test", ("anew", True), "train"]


@pytest.mark.covers("F6")
def test_metrics_between_log_points_are_for_all_whatever_the_interval():
    notes = Notes(every=2)
    trainer = engine_with(notes, every=2)
    evaluator = Engine(lambda e, b: b, name="val")
    evaluator.on(Events.COMPLETED)(lambda e: e.state.metrics.update(top=e.state.output))
    trainer.attach(Evaluation(evaluator, [5.0], Events.ITERATION_COMPLETED(every=3)))
    trainer.run([1.0] * 5)
    found = [(row[2], sorted(row[3])) for row in notes.rows if row[1] == "iteration"]
    assert found == [(3, ["val_top"]), (4, ["loss"])]


# ------------------------------------------------------------------ media


@pytest.mark.covers("F10")
def test_media_reach_the_sinks_that_take_their_kind():
    notes, plain = Notes(names="s*"), Sink()

    def step(engine, batch):
        show(engine, "text", "said", batch)
        show(engine, "text", "not this", batch)
        show(engine, "image", "seen", torch.zeros(2, 2, dtype=torch.uint8))

    engine_with(notes, plain, step=step).run(["a", "b"])
    assert notes.told[1:-1] == [("said", "a", 1), ("said", "b", 2)]


def test_media_outside_of_a_run_go_nowhere():
    notes = Notes()
    show(engine_with(notes), "text", "said", "a")
    assert notes.told == []


def test_within_an_evaluation_steps_are_the_trainers():
    notes = Notes()
    trainer = engine_with(notes)
    evaluator = engine_with(notes, name="val", step=lambda e, b: show(e, "text", "said", b))
    trainer.attach(Evaluation(evaluator, ["a"]))
    trainer.run([1.0, 2.0], max_epochs=2)
    assert [one for one in notes.told if one[0] == "said"] == [("said", "a", 2), ("said", "a", 4)]


@pytest.mark.parametrize("kind", ["images", "video", None])
def test_an_unknown_kind_is_refused(kind):
    with pytest.raises(ValueError, match=f"is of kind 'image', .* or 'table', given {kind!r}"):
        show(engine_with(), kind, "x", 0)


# ------------------------------------------------------------------ where it stands


class Placed(Notes):
    """Says how many rows it has written, and is told from where it goes on."""

    def begin(self, engine):
        super().begin(engine)
        self.told.append(("from", self.goes_on_from))

    def place(self):
        return len(self.rows)


@pytest.mark.covers("F4", "G4")
def test_it_is_told_how_much_stood_when_the_run_was_saved():
    placed, saved = Placed(), []
    engine = engine_with(placed)
    engine.on(Events.SAFE_POINT(once=2))(lambda e: saved.append(e.state_dict()))
    engine.run([4.0, 2.0, 1.0])
    again = Placed()
    engine = engine_with(again)
    engine.load_state_dict(saved[0])
    engine.run([4.0, 2.0, 1.0])
    assert (placed.told[1], again.told[1]) == (("from", None), ("from", 2))


@pytest.mark.covers("F4")
@pytest.mark.parametrize("error", [ZeroDivisionError, KeyboardInterrupt])
def test_of_an_evaluation_that_failed_all_stands(error):
    placed = Placed()
    trainer, evaluator = engine_with(placed), engine_with(placed, name="val")
    trainer.attach(Evaluation(evaluator, [8.0, 9.0]))

    def fail():
        raise error

    with (
        evaluator.add_event_handler(Events.ITERATION_COMPLETED(once=2), fail),
        pytest.raises(error),
    ):
        trainer.run([1.0])
    trainer.run()
    assert [one for one in placed.told if one[0] == "from"] == [("from", None)] * 2


@pytest.mark.covers("F5")
def test_what_came_behind_an_epoch_is_of_that_epoch():
    class Epochs(Notes):
        def write(self, engine, point):
            self.told.append((point.on, point.step, point.epoch, dict(point.scalars)))

    notes = Epochs()
    engine = engine_with(notes, every=50, step=lambda e, b: None)
    engine.on(Events.SAFE_POINT)(lambda e: e.log("free", 1.0))
    engine.run([0, 0], max_epochs=2)
    assert notes.rows == [
        ("epoch", 2, 1, {"free": 1.0}),  # of the first iteration
        ("epoch", 2, 1, {"free": 1.0}),  # of the second
        ("epoch", 4, 2, {"free": 1.0}),
        ("run", 4, 2, {"free": 1.0}),
    ]
