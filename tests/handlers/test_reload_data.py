"""Data are made anew every few epochs, in a resumed run too."""

from __future__ import annotations

import os
import signal

import pytest
import torch
from torch.utils.data import DataLoader

from footplate import Engine, Events
from footplate.engine.errors import DataError
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.reload_data import ReloadData
from tests.golden.scenarios import Unsized

pytestmark = [
    pytest.mark.covers("B5"),
    pytest.mark.filterwarnings("ignore:the run goes on behind batch:RuntimeWarning"),
]


def engine_that_reloads(make, every=1, name=None) -> tuple[Engine, list]:
    engine, seen = Engine(lambda engine, batch: None, name=name), []
    engine.on(Events.ITERATION_COMPLETED)(lambda e: seen.append((e.state.epoch, e.state.batch)))
    engine.attach(ReloadData(make, every))
    return engine, seen


def lettered(epoch: int) -> list[str]:
    return [f"{epoch}a", f"{epoch}b", f"{epoch}c"]


def growing(epoch: int) -> range:
    return range(10 * epoch, 11 * epoch)


def loader_of(epoch: int) -> DataLoader:
    order = torch.Generator().manual_seed(epoch)
    return DataLoader(range(12), batch_size=3, shuffle=True, generator=order)


@pytest.mark.parametrize(
    ("every", "made"), [(1, [1, 2, 3, 4, 5]), (2, [1, 1, 3, 3, 5]), (9, [1] * 5)]
)
def test_data_are_used_for_so_many_epochs(every, made):
    engine, seen = engine_that_reloads(lettered, every)
    engine.run(lettered(1), max_epochs=5)
    assert seen == [
        (epoch, batch) for epoch, which in enumerate(made, 1) for batch in lettered(which)
    ]


def test_a_function_without_parameters_will_do():
    engine, seen = engine_that_reloads(lambda: ["new"])
    engine.run(["old"], max_epochs=2)
    assert seen == [(1, "old"), (2, "new")]


def test_an_epoch_is_as_long_as_the_new_data():
    engine, seen = engine_that_reloads(growing)
    engine.run(growing(1), max_epochs=4)
    assert [epoch for epoch, _ in seen] == [1, 2, 2, 3, 3, 3, 4, 4, 4, 4]


@pytest.mark.parametrize("first", [[0, 1, 2, 3], Unsized(0, 1, 2, 3)], ids=["sized", "unsized"])
def test_an_epoch_of_its_own_length_keeps_it(first):
    engine, seen = engine_that_reloads(lambda epoch: range(10 * epoch, 10 * epoch + 3), every=2)
    engine.run(first, max_epochs=4, epoch_length=2)
    assert [batch for _, batch in seen] == [0, 1, 2, 3, 30, 31, 32, 30]


def unsized(epoch: int) -> Unsized:
    return Unsized(*(f"{epoch}{letter}" for letter in "abcdef"[: [0, 3, 2, 4, 1, 5][epoch]]))


def mixed(epoch: int) -> Unsized | list[str]:
    return unsized(epoch) if epoch % 2 else list(unsized(epoch))


@pytest.mark.parametrize("make", [unsized, mixed, lambda epoch: mixed(epoch + 1)])
def test_an_epoch_is_one_pass_over_data_without_a_length(make):
    engine, seen = engine_that_reloads(make)
    engine.run(make(1), max_epochs=4)
    assert seen == [(epoch, batch) for epoch in range(1, 5) for batch in make(epoch)]


@pytest.mark.parametrize("make", [unsized, mixed, lambda epoch: mixed(epoch + 1)])
@pytest.mark.parametrize("cut", range(1, 10))
def test_a_resumed_run_over_data_without_a_length_has_its_epochs(make, cut):
    expected, seen = resumed(make, 1, cut, epochs=4)
    assert seen == expected


def test_the_data_of_an_evaluation_are_replaced_before_it():
    seen: list[str] = []
    trainer = Engine(lambda engine, batch: None, name="train")
    evaluator = Engine(lambda engine, batch: seen.append(batch), name="val")
    evaluation = trainer.attach(Evaluation(evaluator, ["given"]))

    @trainer.on(Events.EPOCH_COMPLETED, priority="HIGH")
    def renew(engine):
        evaluation.data = [f"made in {engine.state.epoch}"]

    trainer.run([0], max_epochs=3)
    assert seen == ["made in 1", "made in 2", "made in 3"]


def test_an_evaluator_that_would_never_reload_is_refused():
    evaluator, seen = engine_that_reloads(lettered, every=2, name="val")
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(Evaluation(evaluator, ["given"]))
    with pytest.raises(ValueError, match=r"'val'.*never be reloaded; replace the data of that"):
        trainer.run([0])
    assert seen == []
    inner, seen = engine_that_reloads(lettered, every=2)
    outer = Engine(lambda engine, batch: inner.run(lettered(1), max_epochs=3))
    outer.run([0])
    assert [batch for _, batch in seen] == [*lettered(1) * 2, *lettered(3)]


def resumed(make, every, cut, epochs) -> tuple[list, list]:
    """What a run sees that never stopped, and one that was saved and went on elsewhere."""
    whole, expected = engine_that_reloads(make, every)
    saved = []
    whole.on(Events.SAFE_POINT(once=cut))(lambda e: saved.append((e.state_dict(), list(expected))))
    whole.run(make(1), max_epochs=epochs)
    other, rest = engine_that_reloads(make, every)
    other.load_state_dict(saved[0][0])
    other.run(make(1))
    return expected, saved[0][1] + rest


@pytest.mark.parametrize("every", [1, 2, 3])
@pytest.mark.parametrize("cut", range(1, 15))
def test_a_resumed_run_goes_on_in_the_data_of_its_epoch(every, cut):
    expected, seen = resumed(lettered, every, cut, epochs=5)
    assert seen == expected


@pytest.mark.parametrize("cut", range(1, 10))
def test_a_resumed_run_has_the_length_of_its_epoch(cut):
    expected, seen = resumed(growing, 1, cut, epochs=4)
    assert seen == expected


@pytest.mark.parametrize("cut", range(1, 12))
def test_a_resumed_run_over_loaders_has_their_order(cut):
    expected, seen = resumed(loader_of, 1, cut, epochs=3)
    assert [epoch for epoch, _ in seen] == [epoch for epoch, _ in expected]
    assert all(torch.equal(a, b) for (_, a), (_, b) in zip(seen, expected, strict=True))


def test_a_resumed_run_makes_no_data_that_it_does_not_need():
    made = []

    def make(epoch):
        made.append(epoch)
        return lettered(epoch)

    engine, _ = engine_that_reloads(make)
    saved = []
    engine.on(Events.SAFE_POINT(once=6))(lambda e: saved.append(e.state_dict()))
    engine.run(lettered(1), max_epochs=3)
    assert made == [2, 3]
    other, _ = engine_that_reloads(make)
    other.load_state_dict(saved[0])
    other.run(lettered(1))
    assert made == [2, 3, 3]


def test_a_run_that_a_signal_cut_behind_reloading_has_the_new_data():
    def step(engine, batch):
        if engine.state.call == "train" and stops:
            os.kill(os.getpid(), stops.pop())

    first, begun = engine_that_reloads(lettered, name="train")
    second, rest = engine_that_reloads(lettered, name="train")
    stops, inner = [signal.SIGINT], Engine(step)
    for engine in (first, second):
        engine.on(Events.EPOCH_STARTED(once=2))(lambda: inner.run([0, 1]))
    with pytest.raises(KeyboardInterrupt):
        first.run(lettered(1), max_epochs=3)
    assert begun == [(1, batch) for batch in lettered(1)]
    second.load_state_dict(first.state_dict())
    second.run(lettered(1))
    assert rest == [(epoch, batch) for epoch in (2, 3) for batch in lettered(epoch)]


def test_a_run_that_is_interrupted_keeps_the_data_at_work():
    made = []

    def make(epoch):
        made.append(epoch)
        return lettered(epoch)

    engine, seen = engine_that_reloads(make, every=2)
    for number in (8, 10):
        engine.on(Events.ITERATION_COMPLETED(once=number))(lambda e: e.interrupt())
    engine.run(lettered(1), max_epochs=4)
    engine.run()
    assert made == [3]
    engine.run(lettered(1))  # given the first ones again
    assert made == [3, 3]
    assert [batch for _, batch in seen] == [*lettered(1) * 2, *lettered(3) * 2]


def test_a_run_that_starts_anew_has_the_data_it_is_given():
    engine, seen = engine_that_reloads(lettered)
    engine.run(lettered(1), max_epochs=2)
    seen.clear()
    engine.state.max_epochs = None
    engine.run(lettered(1), max_epochs=1)
    assert seen == [(1, "1a"), (1, "1b"), (1, "1c")]


@pytest.mark.parametrize(
    ("made", "message"), [(None, "made nothing for epoch 2"), ([], "made empty data for epoch 2")]
)
def test_a_function_that_makes_no_data_is_an_error(made, message):
    engine, _ = engine_that_reloads(lambda: made)
    with pytest.raises(DataError, match=message):
        engine.run([0], max_epochs=2)


@pytest.mark.parametrize("every", [0, -1, 1.5, True])
def test_every_is_positive_and_whole(every):
    with pytest.raises(ValueError, match="every is a whole number from 1 on"):
        ReloadData(list, every)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        ([1, 2], "a function that returns data"),
        (lambda one, two: [], "takes neither"),
        (range, "does not say what it takes"),
    ],
)
def test_what_can_not_make_data_is_refused(make, message):
    with pytest.raises(TypeError, match=message):
        ReloadData(make)
