"""Engines run on another's event, and leave it as it was."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from contextlib import nullcontext, suppress
from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.metrics import Accuracy, Average, Metric
from torch import nn
from torch.utils.data import DataLoader

from footplate import Engine, Events
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.errors import Signalled
from footplate.engine.evaluating import taken
from footplate.engine.events import Event
from footplate.engine.handler import Handler
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.stream.scalars import METRICS_COMPUTED
from footplate.handlers.averaging import EMA
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.metrics import Metrics
from footplate.handlers.predictions import Predictions


def evaluator() -> Engine:
    engine = Engine(lambda engine, batch: batch, name="val")
    engine.on(Events.EPOCH_COMPLETED)(lambda e: e.state.metrics.update(last=e.state.output))
    return engine


def test_metrics_are_there_before_those_who_look_at_them():
    trainer = Engine(lambda engine, batch: None, name="train")
    seen = []
    trainer.on(Events.EPOCH_COMPLETED)(lambda e: seen.append(dict(e.state.metrics)))
    trainer.attach(Evaluation(evaluator(), [7, 8]))
    trainer.run([0], max_epochs=2)
    assert seen == [{"val_last": 8}] * 2


def test_each_evaluation_is_a_new_run():
    trainer, val = Engine(lambda engine, batch: None), evaluator()
    ends = []
    val.on(Events.COMPLETED)(lambda e: ends.append((e.state.epoch, e.state.iteration)))
    trainer.attach(Evaluation(val, [1, 2, 3], Events.ITERATION_COMPLETED(every=2)))
    trainer.run(range(5))
    assert ends == [(1, 3), (1, 3)]


def test_a_failed_evaluation_does_not_go_on_in_the_next():
    trainer, val = Engine(lambda engine, batch: None), evaluator()
    seen = []
    val.on(Events.ITERATION_COMPLETED)(lambda e: seen.append(e.state.output))
    trainer.attach(Evaluation(val, [1, 2, 3]))
    fails = val.add_event_handler(Events.ITERATION_STARTED(once=2), lambda: 1 / 0)
    with fails, pytest.raises(ZeroDivisionError):
        trainer.run([0])
    trainer.run([0])
    assert seen == [1, 1, 2, 3]


def test_several_evaluations_are_told_apart_by_their_prefixes():
    trainer = Engine(lambda engine, batch: None)
    trainer.attach(Evaluation(evaluator(), [1]))
    trainer.attach(Evaluation(evaluator(), [2], prefix="test"))
    trainer.attach(Evaluation(evaluator(), [3], prefix=""))
    assert trainer.run([0]).metrics == {"val_last": 1, "test_last": 2, "last": 3}
    assert list(trainer.handlers) == ["evaluation_val", "evaluation_test", "evaluation"]


def test_an_engine_does_not_evaluate_itself():
    trainer = Engine(lambda engine, batch: None)
    with pytest.raises(ValueError, match="can't evaluate itself"):
        trainer.attach(Evaluation(trainer, [0]))


# ------------------------------------------------------------------ several


def loader(*values: float) -> DataLoader:
    return DataLoader([torch.tensor(value) for value in values], batch_size=1)


def averaging(name: str = "val", scale: float = 1.0) -> Engine:
    engine = Engine(lambda engine, batch: batch * scale, name=name)
    engine.attach(Metrics({"mean": Average()}))
    return engine


def trained_with(*evaluations: Evaluation, **limits: Any) -> dict[str, Any]:
    trainer = Engine(lambda engine, batch: None, name="train")
    for number, evaluation in enumerate(evaluations):
        trainer.attach(evaluation, name=f"evaluation {number}")
    return trainer.run([0], **limits).metrics


@pytest.mark.covers("E5")
def test_one_evaluator_goes_over_several_loaders_in_turn():
    several = {"clean": loader(1.0, 3.0), "noisy": loader(8.0)}
    metrics = trained_with(Evaluation(averaging(), several), max_epochs=2)
    assert metrics == {"val_clean_mean": 2.0, "val_noisy_mean": 8.0}
    metrics = trained_with(Evaluation(averaging(), several, prefix=""))
    assert metrics == {"clean_mean": 2.0, "noisy_mean": 8.0}


@pytest.mark.covers("E5")
@pytest.mark.parametrize("kind", [list, tuple])
def test_loaders_in_a_list_are_numbered_and_batches_are_no_loaders(kind):
    both = kind([loader(1.0, 3.0), InMemoryLoader(torch.tensor([8.0]), 1)])
    metrics = trained_with(Evaluation(averaging(), both))
    assert metrics == {"val_0_mean": 2.0, "val_1_mean": 8.0}
    batches = kind([torch.tensor([2.0]), torch.tensor([4.0])])
    assert trained_with(Evaluation(averaging(), batches)) == {"val_mean": 3.0}


@pytest.mark.covers("E5")
def test_each_loader_may_have_its_own_evaluator():
    evaluators = {"clean": averaging(), "noisy": averaging(scale=10.0)}
    several = {"noisy": loader(2.0), "clean": loader(1.0)}
    metrics = trained_with(Evaluation(evaluators, several))
    assert metrics == {"val_clean_mean": 1.0, "val_noisy_mean": 20.0}
    metrics = trained_with(Evaluation([*evaluators.values()], [*several.values()]))
    assert metrics == {"val_0_mean": 2.0, "val_1_mean": 10.0}


@pytest.mark.covers("E5")
def test_several_evaluators_may_share_the_data():
    evaluators = {"half": averaging(scale=0.5), "whole": averaging()}
    metrics = trained_with(Evaluation(evaluators, loader(4.0)))
    assert metrics == {"val_half_mean": 2.0, "val_whole_mean": 4.0}


@pytest.mark.parametrize(
    ("evaluators", "data", "error", "message"),
    [
        ({"cleen": evaluator()}, {"clean": [1]}, ValueError, r"'clean'.*Did you mean '"),
        ([evaluator()], [loader(1), loader(2)], ValueError, r"data named '1', but .* only|'0'"),
        ([evaluator()] * 2, {"a": [1]}, ValueError, "one for each"),
        ({"a": len}, [1], TypeError, "evaluator 'a' is an Engine, given <built-in function len>"),
        (None, [1], TypeError, "is an Engine, given None"),
    ],
)
def test_what_does_not_go_together_is_refused(evaluators, data, error, message):
    with pytest.raises(error, match=message):
        Evaluation(evaluators, data)


def test_none_of_several_evaluates_itself():
    trainer = Engine(lambda engine, batch: None)
    with pytest.raises(ValueError, match="can't evaluate itself"):
        trainer.attach(Evaluation({"a": evaluator(), "b": trainer}, [0]))


@pytest.mark.covers("E5")
def test_one_name_for_two_results_is_an_error_that_names_both():
    named = averaging("mine")
    named.attach(Metrics({"b_mean": Average()}), name="more")
    with pytest.raises(
        ValueError, match=r"'val_a_b_mean' is measured by <Engine 'mine'.*, as 'a_b'"
    ):
        trained_with(Evaluation(named, {"a": loader(1.0), "a_b": loader(2.0)}))
    with pytest.raises(ValueError, match=r"'val_mean' is measured by <Engine 'b'.*<Engine 'a'"):
        trained_with(Evaluation(averaging("a"), [1.0]), Evaluation(averaging("b"), [1.0]))


def test_one_evaluator_may_measure_the_same_on_several_occasions():
    same = averaging()
    often = Events.ITERATION_COMPLETED
    assert trained_with(Evaluation(same, [1.0]), Evaluation(same, [3.0], often)) == {
        "val_mean": 1.0
    }


@pytest.mark.covers("E5")
def test_all_metrics_are_announced_at_once():
    trainer, heard = Engine(lambda engine, batch: None), []
    trainer.attach(Evaluation(averaging(), {"a": loader(1.0), "b": loader(2.0)}))
    trainer.add_event_handler(
        METRICS_COMPUTED, lambda engine, metrics, on: heard.append((on, metrics))
    )
    trainer.run([0], max_epochs=2)
    assert heard == [("epoch", {"val_a_mean": 1.0, "val_b_mean": 2.0})] * 2
    assert trainer.state.measured == {"val_a_mean": 2, "val_b_mean": 2}


@pytest.mark.covers("E5")
@pytest.mark.parametrize("again", ["in the same process", "in another"])
def test_what_a_terminated_evaluation_did_not_measure_does_not_stand_from_before(again):
    def made() -> Engine:
        trainer, cut = Engine(lambda engine, batch: None, name="train"), averaging("cut")

        def stop(engine: Engine) -> None:
            if trainer.state.epoch == 2:
                engine.terminate()

        cut.on(Events.ITERATION_COMPLETED)(stop)
        both = {"a": cut, "b": averaging()}
        trainer.attach(Evaluation(both, {"a": [1.0, 2.0], "b": [3.0]}))
        trainer.on(Events.STARTED)(lambda e: e.state.metrics.update(other=1.0))
        trainer.on(Events.EPOCH_COMPLETED)(lambda e: seen.append(dict(e.state.metrics)))
        trainer.on(Events.EPOCH_COMPLETED(once=1), priority="LOWEST")(lambda e: e.interrupt())
        return trainer

    seen: list[dict] = []
    first = made()
    first.run([0], max_epochs=3)
    second = first
    if again == "in another":
        second = made()
        second.load_state_dict(first.state_dict())
        second.state.metrics.update(seen[0])
    second.run([0])
    whole = {"other": 1.0, "val_a_mean": 1.5, "val_b_mean": 3.0}
    assert seen == [whole, {"other": 1.0, "val_b_mean": 3.0}, whole]
    assert second.state.measured == {"val_a_mean": 3, "val_b_mean": 3}


@pytest.mark.covers("E5")
def test_before_training_too():
    trainer, seen = Engine(lambda engine, batch: None), []
    trainer.attach(Evaluation(evaluator(), [7], Events.STARTED | Events.EPOCH_COMPLETED))
    for event in (Events.STARTED, Events.EPOCH_COMPLETED):
        trainer.on(event)(lambda e: seen.append((e.state.iteration, dict(e.state.metrics))))
    trainer.run([0])
    assert seen == [(0, {"val_last": 7}), (1, {"val_last": 7})]


# ------------------------------------------------------------------ going on


class Joined(Metric):
    """All that it was given."""

    _state_dict_all_req_keys = ("given",)

    def reset(self) -> None:
        self.given: list = []

    def update(self, output: Any) -> None:
        self.given.append(output.clone())

    def compute(self) -> torch.Tensor:
        return torch.cat(self.given)


class Drawing:
    """A run and evaluations that depend on random numbers and on the order of their data."""

    def __init__(self, folder: Path, when: Event) -> None:
        self.trainer = Engine(lambda engine, batch: torch.rand(()).item(), name="train")
        self.evaluator = Engine(lambda engine, batch: batch * torch.rand(()), name="val")
        self.evaluator.attach(Metrics({"all": Joined()}))
        several = {name: self.shuffled(seed) for seed, name in enumerate("abc")}
        self.trainer.attach(Evaluation(self.evaluator, several, when))
        self.checkpoint = self.trainer.attach(Checkpoint(folder, nn.Linear(1, 1)))
        self.log: list = []
        self.evaluator.on(Events.COMPLETED)(lambda e: self.tell("evaluated", e.state.metrics))
        self.trainer.on(METRICS_COMPUTED)(lambda metrics: self.tell("measured", metrics))
        self.trainer.on(Events.ITERATION_COMPLETED)(lambda e: self.log.append(e.state.output))

    def tell(self, what: str, metrics: dict) -> None:
        self.log.append((what, {name: value.tolist() for name, value in metrics.items()}))

    @staticmethod
    def shuffled(seed: int) -> DataLoader:
        generator = torch.Generator().manual_seed(seed)
        return DataLoader(torch.arange(6.0), 2, shuffle=True, generator=generator)

    @property
    def evaluated(self) -> int:
        return sum(isinstance(one, tuple) and one[0] == "evaluated" for one in self.log)

    def stop(self, turn: int, batch: int) -> None:
        """Have a signal cut that run of the evaluator in that batch."""

        def cut() -> None:
            if self.evaluated == turn:
                handle.remove()
                os.kill(os.getpid(), signal.SIGTERM)

        handle = self.evaluator.add_event_handler(Events.ITERATION_STARTED(once=batch), cut)


@pytest.mark.covers("E5")
@pytest.mark.covers("G4")
@pytest.mark.parametrize("again", ["in the same process", "in another"])
@pytest.mark.parametrize("where", [("a", 1), ("b", 1), ("b", 2), ("c", 2)])
@pytest.mark.parametrize("when", [Events.ITERATION_COMPLETED(every=2), Events.EPOCH_COMPLETED])
def test_one_that_a_signal_cuts_goes_on_to_the_same_results(tmp_path, where, when, again):
    torch.manual_seed(0)
    whole = Drawing(tmp_path / "whole", when)
    whole.trainer.run([0] * 4, max_epochs=2)

    torch.manual_seed(0)
    first = Drawing(tmp_path / "cut", when)
    name, batch = where
    turn = 3 + "abc".index(name)  # in the second evaluation
    first.stop(turn, batch)
    with pytest.raises(Signalled):
        first.trainer.run([0] * 4, max_epochs=2)
    assert first.evaluated == turn
    if again == "in the same process":
        second, before = first, []
    else:
        torch.manual_seed(9)
        second, before = Drawing(tmp_path / "cut", when), first.log
        second.checkpoint.resume(second.trainer)
    second.trainer.run([0] * 4)
    assert before + second.log == whole.log


def test_one_that_fails_is_done_whole_the_next_time():
    trainer, val, runs = Engine(lambda engine, batch: None), averaging(), []
    val.on(Events.COMPLETED)(lambda e: runs.append(e.state.metrics["mean"]))
    trainer.attach(Evaluation(val, {"a": loader(1.0), "b": loader(2.0)}))
    fails = val.add_event_handler(Events.ITERATION_STARTED, lambda: runs and 1 / 0)
    with fails, pytest.raises(ZeroDivisionError):
        trainer.run([0])
    assert trainer.state.metrics == {}
    assert trainer.run([0]).metrics == {"val_a_mean": 1.0, "val_b_mean": 2.0}
    assert runs == [1.0, 1.0, 2.0]


def test_a_new_run_does_not_go_on_with_an_evaluation_that_was_cut():
    trainer, val, runs = Engine(lambda engine, batch: None), averaging(), []
    trainer.stop_on(signal.SIGTERM)
    val.on(Events.COMPLETED)(lambda e: runs.append(e.state.metrics["mean"]))
    trainer.attach(Evaluation(val, {"a": loader(1.0), "b": loader(2.0, 2.0)}))
    cuts = val.add_event_handler(
        Events.ITERATION_STARTED, lambda: runs and os.kill(os.getpid(), signal.SIGTERM)
    )
    with cuts, pytest.raises(Signalled):
        trainer.run([0])
    trainer.state.max_epochs = None
    trainer.run([0])
    assert runs == [1.0, 1.0, 2.0]


class Counting(Handler):
    """Counts batches, and says so in a set that it goes on to fill."""

    def __init__(self) -> None:
        self.seen: list[int] = []
        self.kinds: set[int] = set()

    def iteration_completed(self, engine: Engine) -> None:
        self.seen.append(engine.state.output)
        self.kinds.add(engine.state.output)

    def state_dict(self) -> dict[str, Any]:
        return {"seen": self.seen, "kinds": self.kinds, "n": torch.tensor(len(self.seen))}

    def load_state_dict(self, state: dict[str, Any]) -> None:
        assert len(state["seen"]) == state["n"]
        self.seen, self.kinds = state["seen"], state["kinds"]


class Counted:
    """A run with evaluations, of one evaluator or two, that have handlers with a state."""

    def __init__(
        self, folder: Path, *handlers: str, shared: bool = False, saved: bool = False
    ) -> None:
        self.trainer = Engine(lambda engine, batch: batch, name="train")
        self.vals = [evaluator() for _ in range(2 - shared)]
        self.counts = [one.attach(Counting()) for one in self.vals]
        for name in handlers:
            self.vals[0].attach(Counting(), name=name)
        self.vals[0].attach(Metrics({"mean": Average()}))
        self.trainer.attach(Evaluation(self.vals[0], [1, 2, 3]))
        self.trainer.attach(Evaluation(self.vals[-1], {"a": [4], "b": [5]}, prefix="test"))
        others = {"val": self.vals[0]} if saved else {}
        self.checkpoint = self.trainer.attach(Checkpoint(folder, nn.Linear(1, 1), others))

    @property
    def seen(self) -> list[list[int]]:
        return [one.seen for one in self.counts]


@pytest.mark.covers("A9")
@pytest.mark.covers("G4")
@pytest.mark.parametrize("shared", [False, True])
@pytest.mark.parametrize("saved", [False, True])
def test_states_of_an_evaluators_handlers_go_on_with_the_run(tmp_path, shared, saved):
    whole = Counted(tmp_path / "whole", shared=shared)
    whole.trainer.run([0], max_epochs=4)
    first = Counted(tmp_path / "cut", shared=shared, saved=saved)
    first.trainer.run([0], max_epochs=2)
    second = Counted(tmp_path / "cut", shared=shared, saved=saved)
    second.checkpoint.resume(second.trainer)
    assert second.seen == first.seen
    second.trainer.run([0], max_epochs=4)
    assert second.seen == whole.seen


@pytest.mark.covers("E5")
@pytest.mark.covers("G4")
@pytest.mark.parametrize("again", ["in the same process", "in another"])
@pytest.mark.parametrize("shared", [False, True])
def test_an_evaluation_that_a_signal_cuts_is_not_counted_twice(tmp_path, again, shared):
    whole = Counted(tmp_path / "whole", shared=shared)
    whole.trainer.run([0], max_epochs=3)
    run = Counted(tmp_path / "cut", shared=shared)
    at_second = lambda engine: engine.state.iteration == 2 and len(run.seen[0]) > 3  # noqa: E731
    handle = run.vals[0].on(Events.ITERATION_COMPLETED)(
        lambda engine: at_second(engine) and os.kill(os.getpid(), signal.SIGTERM)
    )
    with pytest.raises(Signalled):
        run.trainer.run([0], max_epochs=3)
    before = [[1, 2, 3, 4, 5]] if shared else [[1, 2, 3], [4, 5]]
    assert run.seen == before
    if again == "in another":
        run = Counted(tmp_path / "cut", shared=shared)
        run.checkpoint.resume(run.trainer)
        assert run.seen == before
    else:
        run.vals[0].remove_event_handler(handle, Events.ITERATION_COMPLETED)
    run.trainer.run([0], max_epochs=3)
    assert run.seen == whole.seen


def test_states_that_are_taken_stay_as_they_are():
    count = Counting()
    count.seen, count.kinds = [1], {1}
    before = taken({"count": count})["count"]
    count.seen.append(2)
    count.kinds.add(2)
    assert (before["seen"], before["kinds"]) == ([1], {1})


def test_what_begins_anew_or_is_saved_with_the_trainer_is_not_saved_with_the_evaluation():
    trainer, val = Engine(lambda engine, batch: batch, name="train"), evaluator()
    evaluation = trainer.attach(Evaluation(val, [1]))
    val.attach(Metrics({"mean": Average()}))
    val.attach(Predictions())
    both = trainer.attach(Counting())
    val.attach(both)
    trainer.run([0])
    assert evaluation.state_dict().keys() == {"data", "reported", "finished"}
    val.attach(Counting(), name="own")
    assert list(evaluation.state_dict()["handlers"][""]) == ["own"]


@pytest.mark.covers("A9")
def test_handlers_that_come_or_go_are_told_and_the_others_go_on(tmp_path):
    run = Counted(tmp_path, "gone")
    run.trainer.run([0])
    other = Counted(tmp_path, "new")
    with pytest.warns(RuntimeWarning, match="handler") as caught:
        other.checkpoint.resume(other.trainer)
    said = [str(one.message) for one in caught]
    assert len(said) == 2
    assert "there is a state of handler 'gone' of <Engine 'val'" in said[0]
    assert "no state of handler 'new' of <Engine 'val'" in said[1]
    assert "which begins anew" in said[1]
    assert other.seen == run.seen


def test_a_state_from_before_handlers_were_saved_still_loads():
    trainer, val = Engine(lambda engine, batch: batch, name="train"), evaluator()
    evaluation = trainer.attach(Evaluation(val, [1]))
    trainer.run([0])
    state = evaluation.state_dict()
    count = val.attach(Counting())
    count.seen = [7]
    with pytest.warns(RuntimeWarning, match="no state of handler 'counting'"):
        evaluation.load_state_dict(state)
    assert count.seen == [7]


def test_a_state_that_does_not_fit_names_the_evaluators_handler(tmp_path):
    run = Counted(tmp_path)
    run.trainer.run([0])
    other = Counted(tmp_path)
    other.counts[0].load_state_dict = lambda state: {}["n"]
    with pytest.raises(KeyError, match="n") as caught:
        other.checkpoint.resume(other.trainer)
    inner, outer = caught.value.__notes__[:2]
    assert inner.startswith("raised by handler 'counting' of <Engine 'val'")
    assert outer.startswith("raised by handler 'evaluation_val' of <Engine 'train'")


def test_an_evaluators_state_that_can_not_be_saved_is_refused_at_once(tmp_path):
    run = Counted(tmp_path)
    run.counts[0].state_dict = lambda: {"what": object()}
    said = (
        r"'evaluation_val': state\['handlers'\]\[''\]\['counting'\]\['what'\] is a builtins.object"
    )
    with pytest.raises(TypeError, match=said):
        run.trainer.run([0])


# ------------------------------------------------------------------ left as it was


class Network(nn.Module):
    """With statistics that are frozen, as people do."""

    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Dropout(0.5))
        self.head = nn.Linear(4, 2)
        self.body[1].eval()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.head(self.body(x))


class Failing(Accuracy):
    """Fails in the second batch, or at the end."""

    error: Any = None
    at_end = False

    def update(self, output: Any) -> None:
        super().update(output)
        if self.error and not self.at_end and self._num_examples > 4:
            raise self.error

    def compute(self) -> Any:
        if self.error and self.at_end:
            raise self.error
        return super().compute()


def ends_of(evaluator: Engine, metric: Failing) -> dict[str, Callable[[], Any]]:
    """Ways in which an evaluation is left."""

    def in_the_second(act: Callable[[], Any]) -> Callable[[], Any]:
        return lambda: evaluator.on(Events.ITERATION_STARTED(once=2))(act)

    def raised() -> None:
        raise KeyboardInterrupt

    return {
        "its end": lambda: None,
        "an error in a metric's update": lambda: setattr(metric, "error", ValueError()),
        "an error in a metric's end": lambda: vars(metric).update(error=ValueError(), at_end=True),
        "an error in a step": in_the_second(lambda: setattr(evaluator.state, "batch", ([0], 0))),
        "an error in a handler": in_the_second(lambda: 1 / 0),
        "KeyboardInterrupt": in_the_second(raised),
        "Ctrl-C": in_the_second(lambda: os.kill(os.getpid(), signal.SIGINT)),
        "Ctrl-C twice": in_the_second(lambda: [os.kill(os.getpid(), signal.SIGINT)] * 2),
        "SIGTERM": in_the_second(lambda: os.kill(os.getpid(), signal.SIGTERM)),
        "terminate": in_the_second(evaluator.terminate),
        "terminate_epoch": in_the_second(evaluator.terminate_epoch),
        "interrupt": in_the_second(evaluator.interrupt),
    }


@pytest.mark.covers("E5")
@pytest.mark.covers("C12")
@pytest.mark.parametrize("averaged", [False, True], ids=["", "averaged weights"])
@pytest.mark.parametrize("end", ends_of(evaluator(), Failing()))
@pytest.mark.parametrize("mode", [nullcontext, torch.no_grad, torch.inference_mode])
def test_modes_and_weights_are_as_they_were(end, averaged, mode):
    torch.manual_seed(0)
    model, metric = Network(), Failing()
    data = [(torch.randn(4, 3), torch.tensor([0, 1, 1, 0])) for _ in range(3)]
    trainer = Engine(lambda engine, batch: change(model), name="train")
    trainer.stop_on(signal.SIGTERM)
    val = Engine(evaluation_step(model), name="val")
    val.attach(Metrics({"accuracy": metric}))
    trainer.attach(ema := EMA(model, 0.5))
    if averaged:
        ema.evaluate_with(val)
    trainer.attach(Evaluation(val, {"a": data, "b": data}))
    seen: list[list] = []
    val.on(Events.ITERATION_COMPLETED)(
        lambda: seen.append([torch.is_grad_enabled(), torch.is_inference_mode_enabled()])
    )
    ends_of(val, metric)[end]()
    modes = [one.training for one in model.modules()]
    with mode(), suppress(ValueError, TypeError, ArithmeticError, KeyboardInterrupt, Signalled):
        found = [torch.is_grad_enabled(), torch.is_inference_mode_enabled()]
        trainer.run([0, 0])
    assert seen
    assert all(one == found for one in seen)
    assert [one.training for one in model.modules()] == modes
    assert [torch.is_grad_enabled(), torch.is_inference_mode_enabled()] == [True, False]
    assert torch.equal(model.head.weight, torch.full((2, 4), 2.0))
    assert torch.equal(ema.averaged["head.weight"], torch.full((2, 4), 1.5))


def change(model: Network) -> None:
    with torch.no_grad():
        weight = model.head.weight
        weight.fill_(1.0 if weight[0, 0] != 1.0 else 2.0)
