"""When a run is saved, what is kept, and how it goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader, DistributedSampler

from footplate import Engine, Events
from footplate.engine.errors import StateError
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.early_stopping import EarlyStopping
from footplate.handlers.sampler_seed import SamplerSeed


class Run:
    """A small run: a linear model with dropout on fixed data, by momentum SGD."""

    def __init__(self, folder: Path, **options) -> None:
        torch.manual_seed(0)
        self.model = torch.nn.Sequential(torch.nn.Dropout(0.5), torch.nn.Linear(4, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
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


def test_the_last_and_the_best_are_kept(tmp_path):
    run = Run(tmp_path, last=2, best=1, metric="score")
    run.trainer.run(run.data, max_epochs=4)
    assert names(tmp_path) == ["00000010", "00000015", "00000020"]  # of equals the earlier


def test_less_can_be_better(tmp_path):
    run = Run(tmp_path, best=2, metric="score", mode="min")
    run.trainer.run(run.data, max_epochs=4)
    assert names(tmp_path) == ["00000005", "00000020"]


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


def test_broken_checkpoints_are_passed_over_and_nothing_is_no_error(tmp_path):
    run = Run(tmp_path, last=3)
    assert run.checkpoint.resume(run.trainer) is None
    run.trainer.run(run.data, max_epochs=3)
    (tmp_path / "00000015" / "state.pt").write_bytes(b"short")
    (tmp_path / "00000099").mkdir()
    other = Run(tmp_path)
    with pytest.warns(RuntimeWarning, match=r"passed over: .*(state.pt has 5 bytes|00000099)"):
        assert other.checkpoint.resume(other.trainer).name == "00000010"


def test_a_flipped_bit_is_found(tmp_path):
    run = Run(tmp_path)
    run.trainer.run(run.data)
    path = tmp_path / "00000005" / "model.safetensors"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    other = Run(tmp_path)
    before = other.weights()
    with pytest.raises(StateError, match="digest differs"):
        other.checkpoint.resume(other.trainer)
    assert same(other.weights(), before)


def test_checkpoints_of_others_and_foreign_files_are_never_taken_away(tmp_path):
    other = Run(tmp_path)
    other.trainer.run(other.data, max_epochs=1)
    (tmp_path / "notes.txt").write_text("mine")
    run = Run(tmp_path)
    run.trainer.run(run.data, max_epochs=3)
    assert names(tmp_path) == ["00000005", "00000015", "notes.txt"]


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
    del manifest["files"]["state.pt"]
    (folder / "manifest.json").write_text(json.dumps(manifest))
    with pytest.raises(Exception, match="weights_only"):
        run.checkpoint.resume(run.trainer)
    assert not canary.exists()


def test_a_checkpoint_for_other_things_is_refused_before_anything_is_loaded(tmp_path):
    run = Run(tmp_path)
    run.trainer.run(run.data)
    other = Run(tmp_path)
    other.checkpoint.others["scaler"] = other.optimizer
    before = other.weights()
    with pytest.raises(StateError, match=r"\['optimizer'\].*not \['optimizer', 'scaler'\]"):
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


def test_after_the_best_was_resumed_the_new_branch_is_what_is_last(tmp_path):
    first = Run(tmp_path, best=1, metric="score")
    first.trainer.run(first.data, max_epochs=4)
    second = Run(tmp_path, best=1, metric="score")
    assert second.checkpoint.resume(second.trainer, "best").name == "00000010"
    second.trainer.on(Events.ITERATION_STARTED(once=17))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        second.trainer.run(second.data)
    assert names(tmp_path) == ["00000010", "00000015"]
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
    other.checkpoint.model = torch.nn.Sequential(torch.nn.Dropout(), torch.nn.Linear(3, 1))
    before = [value.clone() for value in other.checkpoint.model.state_dict().values()]
    with pytest.raises(StateError, match="does not fit the model"):
        other.checkpoint.resume(other.trainer)
    assert same(list(other.checkpoint.model.state_dict().values()), before)
    assert other.trainer.state.iteration == 0


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


@pytest.mark.parametrize("signum", [signal.SIGTERM, signal.SIGINT, signal.SIGKILL])
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
