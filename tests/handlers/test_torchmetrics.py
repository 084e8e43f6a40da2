"""Metrics, collections and wrappers of torchmetrics give what they give in a loop by hand."""

from __future__ import annotations

import io

import pytest
import torch
from torch import nn

from footplate import Engine
from footplate.engine.errors import StateError
from footplate.engine.events import Events
from footplate.engine.random import capture, restore
from footplate.engine.step.measuring import measure_of
from footplate.handlers.metrics import Metrics
from footplate.recipes.runner import Runner

torchmetrics = pytest.importorskip("torchmetrics")

from tests.handlers.torchmetrics_kinds import (  # noqa: E402 - where torchmetrics is there
    CLASSES,
    KINDS,
    batches,
    own_loop,
    plain,
)

pytestmark = [
    pytest.mark.covers("E2"),
    pytest.mark.filterwarnings("ignore:The `compute` method of metric .*:UserWarning"),
]
USAGES = ["epoch", "batch", "running"]


def engine_with(metric, usage):
    """An engine that hands its batches through, and what the metric says on it."""
    engine = Engine(lambda engine, batch: batch, name="val")
    engine.attach(Metrics({"m": metric}, usage=usage))
    said = []

    def note():
        values = plain(dict(engine.state.metrics))
        said.append(values["m"] if values.keys() == {"m"} else values)

    when = Events.EPOCH_COMPLETED if usage == "epoch" else Events.ITERATION_COMPLETED
    engine.add_event_handler(when, note, priority="LOWEST")
    return engine, said


@pytest.mark.parametrize("usage", USAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_the_values_are_those_of_a_loop_by_hand(kind, usage):
    torch.manual_seed(1)
    expected = own_loop(KINDS[kind](), batches(), usage)
    engine, said = engine_with(KINDS[kind](), usage)
    torch.manual_seed(1)
    engine.run(batches(), max_epochs=2)
    assert said == expected
    assert len(said) == (2 if usage == "epoch" else 12)


@pytest.mark.parametrize("usage", USAGES)
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_goes_on_amid_an_epoch_to_the_same_values(kind, usage):
    torch.manual_seed(1)
    whole, expected = engine_with(KINDS[kind](), usage)
    whole.run(batches(), max_epochs=2)

    torch.manual_seed(1)
    cut, first = engine_with(KINDS[kind](), usage)
    saved = io.BytesIO()

    @cut.on(Events.SAFE_POINT)
    def save(engine):
        if engine.state.iteration == 9:
            torch.save({"engine": engine.state_dict(), "random": capture()}, saved)
            engine.interrupt()

    cut.run(batches(), max_epochs=2)
    saved.seek(0)
    state = torch.load(saved, weights_only=True)
    rest, second = engine_with(KINDS[kind](), usage)
    rest.load_state_dict(state["engine"])
    restore(state["random"])
    rest.run(batches(), max_epochs=2)
    assert first + second == expected


def test_metrics_that_share_their_states_go_on_sharing_them():
    engine, _ = engine_with(KINDS["collection"](), "epoch")
    engine.run(batches())
    groups = engine.handlers["metrics"].metrics["m"].compute_groups
    assert sorted(map(sorted, groups.values())) == [["auroc"], ["precision", "recall"]]
    again, said = engine_with(KINDS["collection"](), "epoch")
    again.load_state_dict(engine.state_dict())
    again.run(batches(), max_epochs=2)
    assert again.handlers["metrics"].metrics["m"].compute_groups == groups
    assert said == [plain(dict(engine.state.metrics))]


def test_a_tracker_tells_of_all_epochs_and_of_the_best():
    tracker = KINDS["tracker"]()
    engine, said = engine_with(tracker, "epoch")
    engine.run(batches(), max_epochs=3)
    assert tracker.n_steps == 3
    assert plain(tracker.compute_all()) == said
    assert tracker.best_metric() == pytest.approx(max(said))


def test_a_tracker_is_set_back_to_the_steps_of_a_state():
    measure = measure_of("m", KINDS["tracker"]())
    measure.reset()
    saved = measure.state_dict()
    measure.reset()
    measure.load_state_dict(saved)
    assert measure.metric.n_steps == 1
    with pytest.raises(StateError):
        measure_of("m", KINDS["tracked collection"]()).load_state_dict(saved)


class Pairs(nn.Linear):
    """Classes of four numbers."""

    def __init__(self):
        super().__init__(CLASSES, CLASSES)


def test_a_runner_takes_collections_and_wrappers(tmp_path):
    data = batches()
    metrics = {"scores": KINDS["collection"](), "each": KINDS["by class"]()}
    runner = Runner(
        Pairs(),
        tmp_path,
        val_dataloader=data,
        val_evaluator=metrics,
        default_hooks={"logger": None, "report": None},
    )
    told = runner.val()
    by_hand = {name: make() for name, make in KINDS.items() if name in ("collection", "by class")}
    for x, y in data:
        with torch.no_grad():
            answer = runner.model.eval()(x)
        for one in by_hand.values():
            one.update(answer, y)
    expected = {**by_hand["collection"].compute(), **by_hand["by class"].compute()}
    assert plain(told) == plain(expected)
    assert {"p_precision_q", "multiclassaccuracy_a"} <= told.keys()
