"""When a run is saved, what is kept, and how it goes on."""

from __future__ import annotations

import errno
import hashlib
import json
import os
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import numpy as np
import pytest
import torch
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from footplate import Engine, Events, Signalled
from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.checkpoints.when import When
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.data.order import ordered_loader
from footplate.engine.errors import StateError
from footplate.engine.handler import Handler
from footplate.engine.minimum import Minimum
from footplate.engine.random import seed_all
from footplate.engine.serialization import stateful
from footplate.engine.step.events import StepEvents
from footplate.engine.step.optimization import Optimization
from footplate.engine.step.training import training_step
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.early_stopping import EarlyStopping
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.limits import MaxSteps, MaxTime
from footplate.handlers.sampler_seed import SamplerSeed
from footplate.handlers.scalars import Scalars


def momentum(model: torch.nn.Module) -> torch.optim.Optimizer:
    return torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)


class Run:
    """A small run: a linear model with dropout on fixed data, by momentum SGD."""

    def __init__(self, folder: Path, **options) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
        self.optimizer = momentum(self.model)
        self.trainer = Engine(self.step, name="train")
        self.scores = {1: 0.5, 2: 0.9, 3: 0.9, 4: 0.1}
        self.trainer.add_event_handler(
            Events.EPOCH_COMPLETED, self.measure, priority="ABOVE_NORMAL"
        )
        self.checkpoint = self.trainer.attach(
            Checkpoint(folder, self.model, {"optimizer": self.optimizer}, **options)
        )
        self.data = list(torch.randn(5, 8, 4, generator=torch.Generator().manual_seed(1)))

    def step(self, engine: Engine, batch: torch.Tensor) -> float:
        loss = self.model(batch).square().mean()
        self.optimizer.zero_grad()
        loss.backward()
        self.optimizer.step()
        return loss.item()

    def measure(self, engine: Engine) -> None:
        engine.state.metrics["score"] = self.scores[engine.state.epoch]

    def weights(self) -> list[torch.Tensor]:
        return [value.clone() for value in self.model.state_dict().values()]


def same(one: list[torch.Tensor], other: list[torch.Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def names(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.mark.covers("G1")
def test_the_last_and_the_best_are_kept(tmp_path):
    run = Run(tmp_path, last=2, best=1, metric="score")
    run.trainer.run(run.data, max_epochs=4)
    assert names(tmp_path) == ["00000010", "00000015", "00000020"]  # of equals the earlier


@pytest.mark.covers("G1")
def test_less_can_be_better(tmp_path):
    run = Run(tmp_path, best=2, metric="score", mode="min")
    run.trainer.run(run.data, max_epochs=4)
    assert names(tmp_path) == ["00000005", "00000020"]


@pytest.mark.covers("G6")
@pytest.mark.parametrize(
    ("mode", "kept"), [("max", ["00000010", "00000020"]), ("min", ["00000020"])]
)
def test_what_the_best_go_by_may_be_known_amid_the_run_alone(tmp_path, mode, kept):
    run = Run(tmp_path)
    at = Events.SAFE_POINT(once=1)
    run.trainer.on(at)(lambda: run.checkpoint.compare_by("score", mode))
    run.trainer.run(run.data, max_epochs=4)
    assert names(tmp_path) == kept


@pytest.mark.covers("G6")
def test_what_the_best_go_by_may_be_known_behind_a_resume_alone(tmp_path):
    first = Run(tmp_path, best=1, metric="score")
    first.trainer.run(first.data, max_epochs=3)
    second = Run(tmp_path)
    second.checkpoint.resume(second.trainer)
    second.checkpoint.compare_by("score", "max")
    second.trainer.run(second.data, max_epochs=4)
    assert names(tmp_path) == ["00000010", "00000020"]  # the best is the one from before


@pytest.mark.covers("G4")
@pytest.mark.parametrize("cut", [1, 5, 7, 10, 11])
def test_a_run_resumed_at_any_iteration_ends_with_the_same_bits(tmp_path, cut):
    whole = Run(tmp_path / "whole")
    whole.trainer.run(whole.data, max_epochs=3)

    first = Run(tmp_path / "cut", when=Events.ITERATION_COMPLETED(once=cut))
    first.trainer.on(Events.ITERATION_STARTED(once=cut + 2))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        first.trainer.run(first.data, max_epochs=3)

    second = Run(tmp_path / "cut")
    assert second.checkpoint.resume(second.trainer).name == f"{cut:08d}"
    state = second.trainer.run(second.data)
    assert state.iteration == 15
    assert same(second.weights(), whole.weights())
    assert second.checkpoint.run == first.checkpoint.run


def test_what_is_due_is_saved_when_the_run_is_terminated_at_the_same_point(tmp_path):
    run = Run(tmp_path, best=1, metric="score")
    run.trainer.attach(EarlyStopping("score", patience=1))
    state = run.trainer.run(run.data, max_epochs=4)
    assert (state.epoch, state.reason) == (3, "terminated")
    assert names(tmp_path) == ["00000010", "00000015"]


def test_the_best_weights_alone_can_be_loaded(tmp_path):
    run = Run(tmp_path, best=1, metric="score")
    seen = {}
    run.trainer.on(Events.SAFE_POINT)(lambda e: seen.update({e.state.iteration: run.weights()}))
    run.trainer.run(run.data, max_epochs=4)
    manifest = run.checkpoint.load_weights("best")
    assert (manifest.epoch, manifest.metrics) == (2, {"score": 0.9})
    assert same(run.weights(), seen[10])


@pytest.mark.covers("G6")
def test_broken_checkpoints_are_passed_over_and_nothing_is_no_error(tmp_path):
    run = Run(tmp_path, last=3)
    assert run.checkpoint.resume(run.trainer) is None
    run.trainer.run(run.data, max_epochs=3)
    (tmp_path / "00000015" / "state.pt").write_bytes(b"short")
    (tmp_path / "00000099").mkdir()
    other = Run(tmp_path)
    with pytest.warns(RuntimeWarning, match=r"passed over: .*(state.pt has 5 bytes|00000099)"):
        assert other.checkpoint.resume(other.trainer).name == "00000010"


@pytest.mark.covers("G2")
def test_a_flipped_bit_is_found(tmp_path):
    run = Run(tmp_path)
    run.trainer.run(run.data)
    path = tmp_path / "00000005" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    other = Run(tmp_path)
    before = other.weights()
    with (
        pytest.warns(RuntimeWarning, match="digest differs"),
        pytest.raises(StateError, match=r"none to go on from: .*digest differs"),
    ):
        other.checkpoint.resume(other.trainer)
    with pytest.raises(StateError, match="digest differs"):
        other.checkpoint.resume(other.trainer, "00000005")
    assert same(other.weights(), before)


@pytest.mark.covers("G2")
def test_checkpoints_of_others_and_foreign_files_are_never_taken_away(tmp_path):
    other = Run(tmp_path)
    other.trainer.run(other.data, max_epochs=1)
    (tmp_path / "notes.txt").write_text("mine")
    run = Run(tmp_path)
    run.trainer.run(run.data, max_epochs=3)
    assert names(tmp_path) == ["00000005", "00000015", "notes.txt"]


@pytest.mark.covers("G7")
def test_a_pickle_in_place_of_the_state_runs_nothing(tmp_path):
    run = Run(tmp_path / "run")
    run.trainer.run(run.data)
    canary = tmp_path / "canary"

    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(canary),)

    folder = tmp_path / "run" / "00000005"
    torch.save(Malicious(), folder / "state.pt")
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / "state.pt").read_bytes()
    manifest["files"]["state.pt"] = [len(content), hashlib.sha256(content).hexdigest()]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(StateError, match=r"holds posix.mkdir, which is neither a tensor"):
        run.checkpoint.resume(run.trainer)
    assert not canary.exists()


def test_a_checkpoint_for_other_things_is_refused_before_anything_is_loaded(tmp_path):
    run = Run(tmp_path)
    run.trainer.run(run.data)
    other = Run(tmp_path)
    other.checkpoint.contents.others["scaler"] = other.optimizer
    before = other.weights()
    with pytest.raises(StateError, match=r"holds 'optimizer' besides .* has 'optimizer', 'scaler'"):
        other.checkpoint.resume(other.trainer)
    assert same(other.weights(), before)


def test_the_metric_must_be_there_when_a_save_is_due(tmp_path):
    run = Run(tmp_path, best=1, metric="scores")
    with pytest.raises(KeyError, match="Did you mean 'score'"):
        run.trainer.run(run.data)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"last": 0}, ValueError, "last is a whole number from 1 on, given 0"),
        ({"last": 1.5}, ValueError, "last is a whole number from 1 on, given 1.5"),
        ({"best": -1}, ValueError, "best is a whole number from 0 on, given -1"),
        ({"best": 1}, ValueError, "give both, or neither"),
        ({"metric": "score"}, ValueError, "give both, or neither"),
        ({"best": 1, "metric": "score", "mode": "top"}, ValueError, "mode is"),
        ({"others": {"step": 3}}, TypeError, "no state_dict"),
    ],
)
def test_nonsense_is_refused(tmp_path, options, error, message):
    with pytest.raises(error, match=message):
        Checkpoint(tmp_path, torch.nn.Linear(1, 1), **options)


def test_an_error_soon_after_a_resume_leaves_what_was_resumed(tmp_path):
    first = Run(tmp_path, last=3)
    first.trainer.run(first.data, max_epochs=3)
    second = Run(tmp_path)
    second.checkpoint.resume(second.trainer, "00000005")
    second.trainer.on(Events.ITERATION_STARTED(once=7))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        second.trainer.run(second.data)
    assert names(tmp_path) == ["00000005", "00000007-inexact", "00000010", "00000015"]


@pytest.mark.covers("B5", "G1", "G4")
@pytest.mark.parametrize("background", [False, True])
@pytest.mark.parametrize("ended_by", ["steps", "time", "early stopping", "a handler"])
def test_a_run_that_ends_at_a_safe_point_amid_an_epoch_is_saved_there(
    tmp_path, ended_by, background
):
    whole = Run(tmp_path / "whole")
    whole.trainer.run(whole.data, max_epochs=3)

    def made() -> Run:
        run = Run(tmp_path / "cut", background=background)
        run.trainer.register_events(*StepEvents)
        run.trainer.on(Events.ITERATION_COMPLETED)(
            lambda e: e.fire_event(StepEvents.OPTIMIZER_STEPPED, optimization=None)
        )
        return run

    cut = made()
    if ended_by == "steps":
        cut.trainer.attach(MaxSteps(7))
    elif ended_by == "time":
        limit = cut.trainer.attach(MaxTime(600))
        at_seven = Events.ITERATION_COMPLETED(once=7)
        cut.trainer.on(at_seven)(lambda: setattr(limit, "limit", 1e-9))
    elif ended_by == "early stopping":
        cut.trainer.attach(EarlyStopping("score", 9, threshold=0.1, minimum=Minimum(iters=7)))
    else:
        cut.trainer.on(Events.SAFE_POINT)(lambda e: e.state.iteration == 7 and e.terminate())
    state = cut.trainer.run(cut.data, max_epochs=3)
    assert (state.iteration, state.reason) == (7, "terminated")
    assert names(tmp_path / "cut") == ["00000007"]

    resumed = made()
    ended = stateful(cut.trainer).keys() - stateful(resumed.trainer).keys()
    resumed.checkpoint.resume(resumed.trainer, without=ended)
    resumed.trainer.run(resumed.data)
    assert resumed.trainer.state.iteration == 15
    assert same(resumed.weights(), whole.weights())


def test_after_the_best_was_resumed_the_new_branch_is_what_is_last(tmp_path):
    first = Run(tmp_path, best=1, metric="score")
    first.trainer.run(first.data, max_epochs=4)
    second = Run(tmp_path, best=1, metric="score")
    assert second.checkpoint.resume(second.trainer, "best").name == "00000010"
    second.trainer.on(Events.ITERATION_STARTED(once=17))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        second.trainer.run(second.data)
    assert names(tmp_path) == ["00000010", "00000015", "00000017-inexact", "00000020"]
    third = Run(tmp_path)
    assert third.checkpoint.resume(third.trainer).name == "00000015"


def test_the_checkpoint_that_was_saved_last_is_the_last_whatever_its_iteration(tmp_path):
    first, second = Run(tmp_path), Run(tmp_path)
    first.trainer.run(first.data, max_epochs=2)
    second.trainer.run(second.data, max_epochs=1)
    third = Run(tmp_path)
    assert third.checkpoint.resume(third.trainer).name == "00000005"
    assert first.checkpoint.load_weights("last").iteration == 10  # of the same run alone


def test_a_checkpoint_can_be_named(tmp_path):
    run, other = Run(tmp_path, last=2), Run(tmp_path)
    run.trainer.run(run.data, max_epochs=2)
    assert other.checkpoint.resume(other.trainer, "00000005").name == "00000005"


def test_another_model_is_refused_and_nothing_is_changed(tmp_path):
    run, other = Run(tmp_path), Run(tmp_path)
    run.trainer.run(run.data)
    other.checkpoint.contents.model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(3, 1))
    before = [value.clone() for value in other.checkpoint.contents.model.state_dict().values()]
    with pytest.raises(StateError, match="do not fit"):
        other.checkpoint.resume(other.trainer)
    assert same(list(other.checkpoint.contents.model.state_dict().values()), before)
    assert other.trainer.state.iteration == 0


@pytest.mark.covers("G4")
@pytest.mark.parametrize("cut", range(1, 12))
def test_random_numbers_go_on_in_the_midst_of_a_loader(tmp_path, cut):
    def made(folder: Path) -> Run:
        run = Run(folder, when=Events.ITERATION_COMPLETED(once=cut))
        sampler = DistributedSampler(run.data, num_replicas=1, rank=0)
        run.data = DataLoader(run.data, sampler=sampler, batch_size=None)
        run.trainer.attach(SamplerSeed())
        return run

    whole = made(tmp_path / "whole")
    whole.trainer.run(whole.data, max_epochs=3)
    first = made(tmp_path / "cut")
    first.trainer.on(Events.ITERATION_STARTED(once=cut + 1))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        first.trainer.run(first.data, max_epochs=3)
    second = made(tmp_path / "cut")
    second.checkpoint.resume(second.trainer)
    second.trainer.run(second.data)
    assert same(second.weights(), whole.weights())


@pytest.mark.covers("G1")
def test_it_saves_so_often_by_the_clock(tmp_path):
    run = Run(tmp_path, when=When(None, minutes=0.3 / 60, at_end=False), last=99)
    run.trainer.on(Events.ITERATION_COMPLETED(once=7))(lambda: time.sleep(0.31))
    run.trainer.on(Events.ITERATION_COMPLETED(once=9))(lambda: time.sleep(0.31))
    run.trainer.run(run.data, max_epochs=3)
    assert names(tmp_path) == ["00000007", "00000009"]


@pytest.mark.covers("G1")
@pytest.mark.parametrize(
    ("limits", "end"),
    [({"max_epochs": 3}, "00000015"), ({"max_iters": 7}, "00000007"), ({}, "00000005")],
)
def test_it_saves_at_the_end(tmp_path, limits, end):
    run = Run(tmp_path, when=Events.EPOCH_COMPLETED(every=2), last=9)
    run.trainer.run(run.data, **limits)
    assert names(tmp_path)[-1] == end


def test_it_saves_where_a_handler_ends_the_run(tmp_path):
    run = Run(tmp_path, when=When(None))
    run.trainer.on(Events.ITERATION_COMPLETED(once=7))(run.trainer.terminate)
    run.trainer.run(run.data, max_epochs=3)
    assert names(tmp_path) == ["00000007"]


@pytest.mark.covers("G1")
def test_a_handler_can_request_a_save(tmp_path):
    run = Run(tmp_path, when=When(None, at_end=False))
    run.trainer.on(Events.ITERATION_COMPLETED(once=7))(run.checkpoint.request)
    run.trainer.run(run.data, max_epochs=3)
    assert names(tmp_path) == ["00000007"]


@pytest.mark.covers("G1")
def test_an_error_leaves_a_checkpoint_that_nobody_goes_on_from_by_itself(tmp_path):
    run = Run(tmp_path, last=1)
    run.trainer.on(Events.ITERATION_STARTED(once=8))(lambda: 1 / 0)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            run.trainer.run(run.data, max_epochs=3)
        run.trainer.state.max_epochs = None
    assert names(tmp_path) == ["00000005-2", "00000008-inexact-2"]  # of several the latest
    manifest = run.checkpoint.store.manifest(tmp_path / "00000008-inexact-2")
    assert (manifest.exact, manifest.error) == (False, "ZeroDivisionError: division by zero")
    other = Run(tmp_path)
    assert other.checkpoint.resume(other.trainer, True).name == "00000005-2"
    with pytest.warns(RuntimeWarning, match="is not exact: ZeroDivisionError: division by zero"):
        other.checkpoint.resume(other.trainer, "00000008-inexact-2")


def test_an_error_leaves_none_where_that_is_not_wanted(tmp_path):
    run = Run(tmp_path, when=When(on_error=False))
    run.trainer.on(Events.ITERATION_STARTED(once=8))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.trainer.run(run.data, max_epochs=3)
    assert names(tmp_path) == ["00000005"]


class Evaluated(Run):
    """Its scores are measured by an evaluator, now and then."""

    def __init__(self, folder: Path, scores: dict[int, float], every: int, **options) -> None:
        super().__init__(folder, metric="val_score", **options)
        self.scores = scores
        evaluator = Engine(self.score, name="val")
        self.trainer.attach(
            Evaluation(evaluator, [0], when=Events.ITERATION_COMPLETED(every=every))
        )

    def measure(self, engine: Engine) -> None:
        engine.state.metrics["loss"] = 1.0

    def score(self, engine: Engine, batch: int) -> None:
        engine.state.metrics["score"] = self.scores[self.trainer.state.iteration]


@pytest.mark.covers("G1")
def test_the_best_is_saved_where_it_is_measured(tmp_path):
    scores = {2: 0.2, 4: 0.9, 6: 0.3, 8: 0.9, 10: 0.1}
    run = Evaluated(tmp_path, scores, every=2, best=2)
    run.trainer.run(run.data, max_epochs=2)
    assert names(tmp_path) == ["00000004", "00000008", "00000010"]
    assert run.checkpoint.load_weights("best").iteration == 4
    assert run.checkpoint.store.manifest(tmp_path / "00000008").score == 0.9


def test_a_score_of_other_weights_is_none_of_a_checkpoint(tmp_path):
    run = Evaluated(tmp_path, {3: 0.9, 6: 0.1, 9: 0.5}, every=3, best=1, last=9)
    run.trainer.run(run.data, max_epochs=2)
    found = {path.name: manifest.score for path, manifest in run.checkpoint.store}
    assert found == {"00000003": 0.9, "00000005": None, "00000010": None}


def test_the_best_so_far_is_known_to_a_resumed_run(tmp_path):
    first = Evaluated(tmp_path, {2: 0.9, 4: 0.1}, every=2, best=1)
    first.trainer.run(first.data, max_epochs=1)
    second = Evaluated(tmp_path, {6: 0.5, 8: 0.95, 10: 0.2}, every=2, best=1)
    second.checkpoint.resume(second.trainer)
    second.trainer.run(second.data, max_epochs=2)
    assert names(tmp_path) == ["00000008", "00000010"]


@pytest.mark.covers("G1")
def test_what_is_saved_and_what_is_gone_on_with_can_be_chosen(tmp_path):
    run = Run(tmp_path / "full")
    run.trainer.run(run.data, max_epochs=2)
    meta = {"note": "for a friend"}
    path = run.checkpoint.save(run.trainer, name="mine", meta=meta, without=["optimizer"])
    manifest = run.checkpoint.store.manifest(path)
    assert (path.name, manifest.meta, manifest.exact) == ("mine", meta, False)
    assert manifest.left_out == ("optimizer",)

    other = Run(tmp_path / "full")
    assert other.checkpoint.resume(other.trainer, without=["optimizer"]).name == "00000010"
    assert not other.optimizer.state
    assert same(other.weights(), run.weights())
    assert other.trainer.state.iteration == 10
    another = Run(tmp_path / "full")
    with pytest.warns(RuntimeWarning, match="not exact: it was saved without optimizer"):
        another.checkpoint.resume(another.trainer, "mine")
    assert not another.optimizer.state
    with pytest.raises(ValueError, match="Did you mean 'optimizer'"):
        run.checkpoint.save(run.trainer, without=["optimiser"])
    with pytest.raises(TypeError, match="given the string 'optimizer'"):
        run.checkpoint.resume(run.trainer, without="optimizer")


def test_a_handler_can_be_left_out(tmp_path):
    run = Run(tmp_path)
    run.trainer.attach(EarlyStopping("score", patience=9))
    run.trainer.run(run.data, max_epochs=2)
    other = Run(tmp_path)
    stopping = other.trainer.attach(EarlyStopping("score", patience=9))
    other.checkpoint.resume(other.trainer, without=["early_stopping"])
    assert stopping.best is None
    third = Run(tmp_path)
    with pytest.raises(StateError, match="no handler for 'early_stopping'"):
        third.checkpoint.resume(third.trainer)


@pytest.mark.covers("G1")
def test_the_weights_alone_can_be_saved(tmp_path):
    run = Run(tmp_path)
    run.trainer.run(run.data)
    path = run.checkpoint.save_weights(run.trainer, name="weights")
    other = Run(tmp_path)
    with pytest.warns(RuntimeWarning, match="not exact: it was saved without engine, random"):
        other.checkpoint.resume(other.trainer, path)
    assert same(other.weights(), run.weights())
    assert other.trainer.state.iteration == 0


@pytest.mark.covers("G3")
def test_training_goes_on_while_a_checkpoint_is_written(tmp_path):
    whole = Run(tmp_path / "whole")
    whole.trainer.run(whole.data, max_epochs=3)
    first = Run(tmp_path / "cut", when=Events.ITERATION_COMPLETED, last=2, background=True)
    first.trainer.on(Events.ITERATION_STARTED(once=9))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        first.trainer.run(first.data, max_epochs=3)
    second = Run(tmp_path / "cut", background=True)
    assert second.checkpoint.resume(second.trainer).name == "00000008"
    second.trainer.run(second.data)
    assert same(second.weights(), whole.weights())
    assert names(tmp_path / "cut")[-1] == "00000015"


class Full:
    """A store on a disk that is full from some save on."""

    def __init__(self, folder: Path, good: int) -> None:
        self.store, self.good = CheckpointStore(folder), good

    def save(self, weights, state, manifest, *, name=None):
        time.sleep(0.05)
        if not self.good:
            raise OSError(errno.ENOSPC, "No space left on device")
        self.good -= 1
        return self.store.save(weights, state, manifest, name=name)

    def __iter__(self):
        return iter(self.store)

    def __getattr__(self, name):
        return getattr(self.store, name)


@pytest.mark.covers("G3")
@pytest.mark.parametrize("when", [Events.ITERATION_COMPLETED, Events.EPOCH_COMPLETED])
def test_an_error_in_the_background_is_raised_soon_and_at_the_latest_when_the_run_ends(
    tmp_path, when
):
    run = Run(Full(tmp_path, good=1), when=when, background=True)
    run.trainer.on(Events.ITERATION_COMPLETED)(lambda: time.sleep(0.1))
    with pytest.raises(OSError, match="No space left") as caught:
        run.trainer.run(run.data, max_epochs=2)
    assert caught.value.errno == errno.ENOSPC
    assert run.trainer.state.iteration in (3, 10)
    assert names(tmp_path) in (["00000001"], ["00000005"])


def test_no_second_save_is_tried_for_an_error_of_the_first(tmp_path):
    run = Run(Full(tmp_path, good=1))
    with pytest.raises(OSError, match="No space left") as caught:
        run.trainer.run(run.data, max_epochs=2)
    assert not any("besides" in note for note in caught.value.__notes__)
    assert names(tmp_path) == ["00000005"]


class Unplain(Handler):
    def completed(self, engine):
        raise AssertionError

    def state_dict(self):
        return {"best": [1, np.float64(0.5)]}

    def load_state_dict(self, state):
        raise AssertionError


@pytest.mark.covers("G7")
def test_a_state_that_could_not_be_loaded_is_refused_before_the_run(tmp_path):
    run = Run(tmp_path)
    run.trainer.attach(Unplain())
    with pytest.raises(
        TypeError, match=r"handler 'unplain': state\['best'\]\[1\] is a numpy.float64"
    ):
        run.trainer.run(run.data)
    assert run.trainer.state.iteration == 0


@pytest.mark.covers("H7")
def test_seed_and_hyper_parameters_are_on_record(tmp_path):
    run = Run(tmp_path, config={"lr": 0.1, "layers": (1, 2), "name": "mine"})
    seed_all(11)
    run.trainer.run(run.data)
    manifest = run.checkpoint.store.manifest(tmp_path / "00000005")
    assert manifest.seed == 11
    assert manifest.config == {"lr": 0.1, "layers": [1, 2], "name": "mine"}
    run.trainer.state.seed = 5
    assert run.checkpoint.store.manifest(run.checkpoint.save(run.trainer)).seed == 5
    with pytest.raises(TypeError, match="model"):
        Run(tmp_path, config={"model": run.model})


def test_what_differs_from_the_machine_that_wrote_it_is_warned_about(tmp_path):
    run = Run(tmp_path)
    run.trainer.run(run.data)
    file = tmp_path / "00000005" / "manifest.json"
    manifest = json.loads(file.read_text())
    manifest["machine"]["threads"] = 99
    manifest["versions"]["torch"] = "1.0"
    file.write_text(json.dumps(manifest))
    other = Run(tmp_path)
    with pytest.warns(RuntimeWarning, match=r"not come to the same bits: .*torch.*1\.0.*99"):
        other.checkpoint.resume(other.trainer)


@pytest.mark.covers("G6")
def test_a_run_goes_on_from_the_last_of_all_runs_in_a_folder(tmp_path, caplog):
    for number, name in enumerate(["first", "second"], 1):
        run = Run(tmp_path / "work" / name / "checkpoints")
        run.trainer.run(run.data, max_epochs=number)
    other = Run(tmp_path / "work" / "third" / "checkpoints")
    with caplog.at_level("INFO", "footplate.checkpoint"):
        path = other.checkpoint.resume(other.trainer, tmp_path / "work")
    assert path == tmp_path / "work" / "second" / "checkpoints" / "00000010"
    assert f"goes on from {path}; its checkpoints go to" in caplog.text
    other.trainer.run(other.data, max_epochs=3)
    assert names(tmp_path / "work" / "third" / "checkpoints") == ["00000015"]
    assert names(tmp_path / "work" / "second" / "checkpoints") == ["00000010"]


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({"minutes": 0}, ValueError, "minutes is a finite number above 0, given 0"),
        ({"minutes": float("inf")}, ValueError, "minutes is a finite number"),
        ({"minutes": "3"}, TypeError, "minutes is a number or None, given '3'"),
        ({"minutes": True}, TypeError, "minutes is a number or None, given True"),
        ({"events": 3}, TypeError, "3"),
    ],
)
def test_nonsense_of_when_is_refused(options, error, message):
    with pytest.raises(error, match=message):
        When(**options)


STOPPED = """
import os, signal, sys
from pathlib import Path
import torch
sys.path.insert(0, {here!r})
from test_checkpoint import Run
from footplate import Events

run = Run(Path(sys.argv[1]))
run.trainer.on(Events.ITERATION_STARTED(once=7))(
    lambda: os.kill(os.getpid(), int(sys.argv[2]))
)
run.trainer.run(run.data, max_epochs=3)
"""


@pytest.mark.covers("I7")
@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGUSR1, signal.SIGINT, signal.SIGKILL])
def test_a_stopped_process_leaves_what_the_next_one_needs(tmp_path, signum):
    whole = Run(tmp_path / "whole")
    whole.trainer.run(whole.data, max_epochs=3)
    script = STOPPED.format(here=str(Path(__file__).parent))
    process = subprocess.run(
        [sys.executable, "-c", script, str(tmp_path / "cut"), str(int(signum))],
        check=False,
        stderr=subprocess.PIPE,
        text=True,
    )
    assert process.returncode != 0
    second = Run(tmp_path / "cut")
    saved = second.checkpoint.resume(second.trainer)
    assert saved.name == ("00000005" if signum == signal.SIGKILL else "00000007"), process.stderr
    second.trainer.run(second.data)
    assert same(second.weights(), whole.weights())


@pytest.mark.covers("G4")
@pytest.mark.parametrize("batch", [1, 2, 3])
def test_an_evaluation_that_a_signal_cuts_draws_its_random_numbers_once(tmp_path, batch):
    def made(folder: Path, batch: int | None) -> Run:
        run = Run(folder)
        evaluator = Engine(lambda engine, batch: torch.rand(()).item(), name="val")
        if batch is not None:
            evaluator.add_event_handler(
                Events.ITERATION_STARTED(once=batch), lambda: os.kill(os.getpid(), signal.SIGTERM)
            )
        run.trainer.attach(
            Evaluation(evaluator, DataLoader(range(6), 2), Events.ITERATION_COMPLETED(once=7))
        )
        return run

    whole = made(tmp_path / "whole", None)
    whole.trainer.run(whole.data, max_epochs=3)
    first = made(tmp_path / "cut", batch)
    with pytest.raises(Signalled):
        first.trainer.run(first.data, max_epochs=3)
    second = made(tmp_path / "cut", None)
    assert second.checkpoint.resume(second.trainer).name == "00000007"
    second.trainer.run(second.data)
    assert same(second.weights(), whole.weights())


def test_a_metric_that_a_later_evaluation_measures_is_waited_for(tmp_path):
    run = Evaluated(tmp_path, {7: 0.5}, every=7, best=1)
    early = Engine(lambda engine, batch: engine.state.metrics.update(other=1.0), name="early")
    run.trainer.attach(Evaluation(early, [0], Events.ITERATION_COMPLETED(every=2), prefix="early"))
    run.trainer.run(run.data, max_epochs=2)
    assert names(tmp_path) == ["00000007", "00000010"]


def test_a_metric_that_no_evaluation_measures_is_an_error_when_all_have_run(tmp_path):
    run = Evaluated(tmp_path, {2: 0.5, 4: 0.5}, every=2, best=1)
    run.checkpoint.ranking.metric = "val_scores"
    with pytest.raises(KeyError, match="Did you mean 'val_score'"):
        run.trainer.run(run.data, max_epochs=2)


@pytest.mark.covers("G1")
def test_a_metric_of_epochs_is_waited_for_until_the_first_has_ended(tmp_path):
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=2)))
    model, every = torch.nn.Linear(1, 1), Events.ITERATION_COMPLETED(every=2)
    saves = Checkpoint(
        tmp_path, model, last=9, best=1, metric="loss_epoch", mode="min", when=When(every)
    )
    engine.attach(saves)
    engine.run([1.0] * 5)
    assert names(tmp_path) == ["00000002", "00000004", "00000005"]


@pytest.mark.parametrize("when", [Events.EPOCH_COMPLETED, Events.ITERATION_COMPLETED(every=3)])
def test_a_metric_that_is_not_there_when_an_epoch_has_ended_is_an_error(tmp_path, when):
    engine = Engine(lambda engine, batch: {"loss": batch}, name="train")
    engine.attach(Scalars(Events.ITERATION_COMPLETED(every=2)))
    model = torch.nn.Linear(1, 1)
    engine.attach(Checkpoint(tmp_path, model, best=1, metric="los_epoch", mode="min", when=when))
    with pytest.raises(KeyError, match="Did you mean 'loss_epoch'"):
        engine.run([1.0] * 5, max_epochs=2)
    assert engine.state.epoch == (1 if when == Events.EPOCH_COMPLETED else 2)


class Noise(Dataset):
    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> torch.Tensor:
        return torch.rand(1)


@pytest.mark.covers("G4")
def test_the_batch_of_an_iteration_that_a_signal_cuts_is_not_augmented_again(tmp_path):
    def seen(folder: Path, *, cut: bool = False) -> list[float]:
        torch.manual_seed(0)
        batches: list[float] = []
        trainer = Engine(lambda engine, batch: None, name="train")
        evaluator = Engine(lambda engine, batch: None, name="val")
        trainer.attach(Evaluation(evaluator, [0, 1], Events.ITERATION_COMPLETED(every=2)))
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda e: batches.append(e.state.batch.item()), priority=99
        )
        if cut:
            evaluator.on(Events.ITERATION_STARTED)(lambda: os.kill(os.getpid(), signal.SIGTERM))
        checkpoint = trainer.attach(Checkpoint(folder, torch.nn.Linear(1, 1)))
        checkpoint.resume(trainer)
        with suppress(Signalled):
            trainer.run(DataLoader(Noise(), batch_size=1), max_epochs=1)
        return batches

    whole = seen(tmp_path / "whole")
    assert seen(tmp_path / "cut", cut=True) + seen(tmp_path / "cut") == whole


def private(data: Dataset) -> DataLoader:
    return DataLoader(data, 2, shuffle=True, generator=torch.Generator().manual_seed(3))


@pytest.mark.covers("G4")
@pytest.mark.parametrize("signum", [None, signal.SIGTERM])
@pytest.mark.parametrize(
    "loader",
    [
        private,
        lambda data: ordered_loader(data, 2, shuffle=True),
        lambda data: InMemoryLoader(torch.arange(6.0).view(6, 1), 2, shuffle=True),
    ],
    ids=["generator", "ordered", "in memory"],
)
def test_an_evaluation_keeps_the_order_of_its_own_data(tmp_path, loader, signum):
    def seen(folder: Path, cut: int | None = None) -> list[tuple[int, list[float]]]:
        torch.manual_seed(0)
        batches: list[tuple[int, list[float]]] = []
        trainer = Engine(lambda engine, batch: None, name="train")
        evaluator = Engine(lambda engine, batch: batch.flatten().tolist(), name="val")
        data = loader(torch.arange(6.0).view(6, 1))
        evaluation = Evaluation(evaluator, data, Events.ITERATION_COMPLETED(every=2))
        trainer.attach(evaluation)
        checkpoint = trainer.attach(
            Checkpoint(folder, torch.nn.Linear(1, 1), when=Events.ITERATION_COMPLETED)
        )
        checkpoint.resume(trainer)

        @evaluator.on(Events.ITERATION_COMPLETED)
        def look(engine: Engine) -> None:
            now = trainer.state.iteration
            batches.append((now, engine.state.output))
            if cut == now and engine.state.iteration == 2:
                os.kill(os.getpid(), signum) if signum else 1 / 0

        with suppress(Signalled, ZeroDivisionError):
            trainer.run([0] * 8, max_epochs=1)
        return batches

    whole = seen(tmp_path / "whole")
    first = seen(tmp_path / "cut", cut=4)
    rest = seen(tmp_path / "cut")
    assert [one for one in first if one[0] < 4] + rest == whole


def test_a_save_amid_an_iteration_is_not_exact(tmp_path):
    run = Run(tmp_path, when=When(None, at_end=False))
    run.trainer.on(Events.ITERATION_STARTED(once=3))(run.checkpoint.save)
    run.trainer.run(run.data)
    assert [manifest.exact for _, manifest in run.checkpoint.store] == [False]
    other = Run(tmp_path)
    assert other.checkpoint.resume(other.trainer) is None


def test_a_request_before_the_run_is_served(tmp_path):
    run = Run(tmp_path, when=When(None, at_end=False))
    run.checkpoint.request()
    run.trainer.run(run.data)
    assert names(tmp_path) == ["00000001"]


def test_a_save_by_hand_leaves_what_is_due(tmp_path):
    run = Run(tmp_path, last=3)
    run.trainer.on(Events.SAFE_POINT(once=5), priority="HIGHEST")(
        lambda engine: run.checkpoint.save(engine, name="mine") and None
    )
    run.trainer.run(run.data)
    assert names(tmp_path) == ["00000005", "mine"]


def test_the_best_by_what_is_no_number_is_refused(tmp_path):
    run = Run(tmp_path, best=1, metric="score")
    run.scores = {1: "high"}
    with pytest.raises(TypeError, match="'score', but that is no single number; it is a str"):
        run.trainer.run(run.data)


def test_a_resume_that_is_refused_changes_nothing(tmp_path):
    run, other = Run(tmp_path), Run(tmp_path)
    run.trainer.run(run.data)
    other.trainer.attach(EarlyStopping("score", patience=3))
    before = other.weights()
    with pytest.raises(StateError, match=r"handlers: no state for 'early_stopping'\. Attach"):
        other.checkpoint.resume(other.trainer)
    assert same(other.weights(), before)
    assert other.trainer.state.iteration == 0


def adam(model):
    return torch.optim.Adam(model.parameters())


def split(model):
    return torch.optim.SGD([{"params": [one]} for one in model.parameters()], lr=0.1)


def trained(folder, made, *, by_hand, seed=0):
    """A run by an optimizer that a training step drives, or one that is saved besides."""
    torch.manual_seed(seed)
    model = torch.nn.Linear(4, 1)
    optimizer = made(model)
    step = training_step(model, optimizer, torch.nn.functional.mse_loss)
    trainer = Engine((lambda engine, batch: None) if by_hand else step, name="train")
    others = {"optimization": optimizer} if by_hand else {}
    return model, trainer, trainer.attach(Checkpoint(folder, model, others))


@pytest.mark.covers("G1")
@pytest.mark.parametrize("by_hand", [False, True])
@pytest.mark.parametrize(
    ("made", "said"),
    [
        (adam, r"saved by another kind .* with lr, momentum, .*; the Adam .* needs betas, eps,"),
        (
            split,
            r"saved with 1 parameter group of 2 parameters, but the SGD .* groups of 1 and 1 param",
        ),
    ],
)
def test_another_optimizer_is_refused_and_nothing_is_changed(tmp_path, made, said, by_hand):
    data = [(torch.ones(8, 4), torch.ones(8, 1))]
    _, trainer, _ = trained(tmp_path, momentum, by_hand=by_hand)
    trainer.run(data)
    model, trainer, checkpoint = trained(tmp_path, made, by_hand=by_hand, seed=1)
    before = [one.clone() for one in model.parameters()]
    with pytest.raises(StateError, match=rf"'optimization' was {said}.*without=\['optimization'\]"):
        checkpoint.resume(trainer)
    assert same(list(model.parameters()), before)
    assert checkpoint.resume(trainer, without=["optimization"])
    assert trainer.run(data, max_epochs=2).iteration == 2


def test_what_an_older_torch_saved_lacks_switches_that_are_added(tmp_path):
    (weight,) = torch.nn.Linear(1, 1, bias=False).parameters()
    optimization = Optimization(torch.optim.AdamW([weight], lr=0.5))
    saved = optimization.state_dict()
    for name in ("maximize", "foreach", "capturable", "fused", "decoupled_weight_decay"):
        del saved["optimizer"]["param_groups"][0][name]
    optimization = Optimization(torch.optim.AdamW([weight]))
    optimization.load_state_dict(saved)
    assert optimization.update(weight.sum())
    assert optimization.optimizer.param_groups[0]["lr"] == 0.5


class Picky:
    def state_dict(self):
        return {}

    def load_state_dict(self, state):
        raise ValueError("no")


def test_an_error_of_others_says_whose(tmp_path):
    runs = [Run(tmp_path), Run(tmp_path)]
    for run in runs:
        run.checkpoint.contents.others["picky"] = Picky()
    runs[0].trainer.run(runs[0].data)
    with pytest.raises(ValueError, match="no") as caught:
        runs[1].checkpoint.resume(runs[1].trainer)
    assert "raised by 'picky', loading its state from a checkpoint" in caught.value.__notes__


def test_what_others_hold_is_looked_at_before_the_run(tmp_path):
    run = Run(tmp_path)
    run.checkpoint.contents.others["plain"] = Unplain()
    with pytest.raises(TypeError, match=r"of 'plain': state\['best'\]\[1\] is a numpy.float64"):
        run.trainer.run(run.data)
    assert run.trainer.state.iteration == 0
    with pytest.raises(ValueError, match="'random' is saved in any case"):
        Checkpoint(tmp_path, run.model, {"random": run.optimizer})


def test_metrics_come_back(tmp_path):
    run, other = Run(tmp_path), Run(tmp_path)
    run.trainer.run(run.data, max_epochs=2)
    other.checkpoint.resume(other.trainer)
    assert other.trainer.state.metrics == {"score": 0.9}


def test_what_was_trained_on_after_an_error_is_not_exact(tmp_path):
    run = Run(tmp_path, when=Events.ITERATION_COMPLETED(every=2))
    failing = run.trainer.add_event_handler(Events.ITERATION_STARTED(once=5), lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.trainer.run(run.data, max_epochs=3)
    failing.remove()
    run.checkpoint.save(run.trainer)
    run.trainer.run()  # goes on, with whatever the error left
    assert names(tmp_path) == ["00000004", "00000015-inexact"]
    other = Run(tmp_path)
    other.checkpoint.resume(other.trainer)
    other.trainer.run(other.data)
    assert names(tmp_path) == ["00000015", "00000015-inexact"]


def test_two_that_go_on_from_one_checkpoint_leave_each_other_s(tmp_path):
    first = Run(tmp_path)
    first.trainer.run(first.data, max_epochs=1)
    one, other = Run(tmp_path), Run(tmp_path)
    one.checkpoint.resume(one.trainer)
    other.checkpoint.resume(other.trainer)
    one.trainer.run(one.data, max_epochs=4)
    other.trainer.run(other.data, max_epochs=2)
    assert names(tmp_path) == ["00000010", "00000020"]


def test_what_was_saved_under_a_name_is_kept(tmp_path):
    run = Run(tmp_path)
    run.trainer.run(run.data)
    run.checkpoint.save(run.trainer, name="release")
    run.checkpoint.save(run.trainer, name="for_a_friend", without=["optimizer"])
    run.checkpoint.save_weights(run.trainer, name="weights")
    run.trainer.on(Events.ITERATION_STARTED(once=12))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.trainer.run(run.data, max_epochs=3)
    kept = ["00000010", "00000012-inexact", "for_a_friend", "release", "weights"]
    assert names(tmp_path) == kept


@pytest.mark.covers("G7")
def test_what_a_program_lets_torch_load_is_not_loaded(tmp_path):
    run = Run(tmp_path / "run")
    run.trainer.run(run.data)
    canary, folder = tmp_path / "canary", tmp_path / "run" / "00000005"

    class Malicious:
        def __reduce__(self):
            return os.mkdir, (str(canary),)

    torch.save(Malicious(), folder / "state.pt")
    manifest = json.loads((folder / "manifest.json").read_text())
    content = (folder / "state.pt").read_bytes()
    manifest["files"]["state.pt"] = [len(content), hashlib.sha256(content).hexdigest()]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with (
        torch.serialization.safe_globals([(os.mkdir, "posix.mkdir")]),
        pytest.raises(StateError, match=r"holds posix.mkdir"),
    ):
        run.checkpoint.resume(run.trainer)
    assert not canary.exists()


class Slow:
    """A store that takes its time."""

    def __init__(self, folder: Path) -> None:
        self.store = CheckpointStore(folder)

    def save(self, *given, **options):
        time.sleep(0.3)
        return self.store.save(*given, **options)

    def __iter__(self):
        return iter(self.store)

    def __getattr__(self, name):
        return getattr(self.store, name)


@pytest.mark.covers("G3")
def test_an_error_during_a_save_in_the_background_leaves_both(tmp_path):
    run = Run(Slow(tmp_path), background=True)
    run.trainer.on(Events.ITERATION_STARTED(once=6))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        run.trainer.run(run.data, max_epochs=2)
    assert names(tmp_path) == ["00000005", "00000006-inexact"]


@pytest.mark.covers("G3")
def test_what_is_being_written_is_waited_for_when_weights_are_loaded(tmp_path):
    run = Run(Slow(tmp_path), best=1, metric="score", background=True)
    seen = []
    run.trainer.on(Events.EPOCH_STARTED(once=3))(
        lambda: seen.append(run.checkpoint.load_weights("best").epoch)
    )
    run.trainer.run(run.data, max_epochs=3)
    assert seen == [2]


def test_scores_of_another_metric_do_not_count(tmp_path):
    first = Run(tmp_path, best=1, metric="score")
    first.trainer.run(first.data, max_epochs=2)
    second = Run(tmp_path, best=1, metric="score", mode="min")
    second.scores = {3: 0.6, 4: 0.8}
    second.checkpoint.resume(second.trainer)
    second.trainer.run(second.data, max_epochs=4)
    assert second.checkpoint.load_weights("best").epoch == 3
    assert names(tmp_path) == ["00000015", "00000020"]


def test_a_model_or_place_that_can_t_be_saved_is_refused_before_the_run(tmp_path):
    run = Run(tmp_path)
    run.model.register_buffer("sparse", torch.eye(2).to_sparse())
    with pytest.raises(TypeError, match=r"'sparse' is of layout torch.sparse_coo"):
        run.trainer.run(run.data)
    nowhere = Run(Path("/proc/nowhere"))
    with pytest.raises(OSError, match="/proc/nowhere"):
        nowhere.trainer.run(nowhere.data)
    assert run.trainer.state.iteration == nowhere.trainer.state.iteration == 0
    with pytest.raises(ValueError, match="was a URL before a Path was made of it"):
        Run(Path("s3://bucket/run"))


@pytest.mark.covers("G6")
def test_the_first_run_of_an_experiment_finds_none_to_go_on_from(tmp_path):
    for epochs in (1, 2):
        run = Run(tmp_path / "experiment" / str(epochs))
        found = run.checkpoint.resume(run.trainer, within=tmp_path / "experiment")
        assert (found is None) == (epochs == 1)
        run.trainer.run(run.data, max_epochs=epochs)
    assert run.trainer.state.iteration == 10


@pytest.mark.covers("G1")
def test_of_a_loss_the_least_is_the_best_unless_it_is_said_otherwise(tmp_path):
    for name, options, best in (
        ("loss", {"metric": "val_loss"}, "00000015"),
        ("said", {"metric": "val_loss", "mode": "max"}, "00000005"),
        ("score", {"metric": "score"}, "00000005"),
    ):
        run = Run(tmp_path / name, best=1, last=1, **options)
        falling = {1: 3.0, 2: 2.0, 3: 1.0}
        run.scores = falling
        run.trainer.add_event_handler(
            Events.EPOCH_COMPLETED,
            lambda e, falling=falling: e.state.metrics.update(val_loss=falling[e.state.epoch]),
            priority="ABOVE_NORMAL",
        )
        run.trainer.run(run.data, max_epochs=3)
        assert run.checkpoint.load_weights("best").iteration == int(best)
