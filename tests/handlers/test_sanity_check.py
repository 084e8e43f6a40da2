"""An evaluation is tried before training, and nothing of it is left."""

from __future__ import annotations

import copy
import os
import random
import signal

import numpy as np
import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, Dataset

from footplate import Engine, Events
from footplate.engine.handler import Handler
from footplate.engine.limited import overfit
from footplate.engine.random import seed_all
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.console import Console
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.predictions import Predictions
from footplate.handlers.sanity_check import SanityCheck
from footplate.handlers.scalars import Scalars
from footplate.handlers.tensorboard import TensorBoard
from tests.engine.recording import same

pytestmark = pytest.mark.covers("B5")

DATA = [(torch.tensor([n / 24, 1.0]), torch.tensor([n % 3 / 2])) for n in range(24)]


class Counting(Handler):
    """Counts evaluations and keeps the count in its state."""

    def __init__(self) -> None:
        self.looks = 0
        self.seen = torch.zeros(1)

    def iteration_completed(self, engine: Engine) -> None:
        self.looks += 1
        self.seen += 1

    def state_dict(self):
        return {"looks": self.looks, "seen": self.seen}

    def load_state_dict(self, state):
        self.looks, self.seen = state["looks"], state["seen"]


def setting(check: bool, *, generator: bool = False, workers: int = 0):
    """A run with dropout, shuffling loaders and an evaluation that draws random numbers."""
    seed_all(3)
    model = nn.Sequential(nn.Linear(2, 16), nn.Dropout(0.5), nn.Linear(16, 1))
    optimizer = torch.optim.SGD(model.parameters(), lr=0.01)
    own = torch.Generator().manual_seed(5) if generator else None
    options = {"num_workers": workers, "persistent_workers": workers > 0}
    train = DataLoader(DATA, 4, shuffle=True, generator=own)
    val = DataLoader(DATA, 4, shuffle=True, generator=own, **options)

    def train_step(engine, batch):  # the mode is set once, before the run
        optimizer.zero_grad()
        loss = nn.functional.mse_loss(model(batch[0]), batch[1])
        loss.backward()
        optimizer.step()
        return loss.item()

    @torch.no_grad()
    def val_step(engine, batch):
        model.eval()
        noise = random.random() + np.random.rand() + torch.rand(1).item()
        return model(batch[0]).sum().item() + noise

    trainer, evaluator = Engine(train_step, name="train"), Engine(val_step, name="val")
    evaluator.register_events("LOOKED")
    evaluator.on(Events.ITERATION_COMPLETED)(lambda e: e.fire_event("LOOKED"))
    evaluator.on(Events.EPOCH_COMPLETED)(lambda e: e.state.metrics.update(last=e.state.output))
    counting = evaluator.attach(Counting())
    if check:
        trainer.attach(SanityCheck(evaluator, val, model=model))
    return trainer, evaluator, model, train, val, counting


@pytest.mark.parametrize("options", [{}, {"generator": True}, {"workers": 1}], ids=str)
@pytest.mark.usefixtures("one_thread")
def test_training_behind_a_check_is_that_without(options):
    ends = []
    for check in (False, True):
        trainer, evaluator, model, train, val, _ = setting(check, **options)
        trainer.attach(Evaluation(evaluator, val))
        trainer.on(Events.EPOCH_STARTED)(lambda model=model: model.train())
        losses = []
        trainer.on(Events.ITERATION_COMPLETED)(lambda e, to=losses: to.append(e.state.output))
        trainer.run(train, max_epochs=3)
        weights = [weight.clone() for weight in model.parameters()]
        ends.append((losses, trainer.state.metrics, weights))
    (losses, metrics, weights), (losses_behind, metrics_behind, weights_behind) = ends
    assert losses == losses_behind
    assert metrics == metrics_behind
    assert all(map(torch.equal, weights, weights_behind))


def test_it_takes_the_first_batches_at_the_start_of_a_run():
    trainer, evaluator, _, train, _, _ = setting(check=True)
    seen = []
    evaluator.on(Events.ITERATION_COMPLETED)(
        lambda e: seen.append((e.state.call, e.state.stage, e.state.iteration))
    )
    trainer.run(train, max_epochs=2)
    assert seen == [("train", "sanity_check", 1), ("train", "sanity_check", 2)]


def test_nothing_of_it_is_left():
    trainer, evaluator, model, train, val, counting = setting(check=True)
    evaluator.run(val, max_epochs=2)
    evaluator.state.remark = "mine"
    trainer.state.metrics["before"] = 1
    evaluator.on(Events.COMPLETED)(lambda: trainer.state.metrics.update(before=2, more=3))
    model.train()
    model[1].eval()
    before = {**vars(evaluator.state), "metrics": dict(evaluator.state.metrics)}
    saved, looks, found = copy.deepcopy(evaluator.state_dict()), counting.looks, []

    @trainer.on(Events.STARTED, priority="LOWEST")
    def look(engine):
        found.append(dict(engine.state.metrics))
        found.append([module.training for module in model.modules()])
        found.append(vars(evaluator.state) == before)
        found.append(same(evaluator.state_dict(), saved))
        found.append((evaluator.state.get_event_attrib_value("LOOKED"), counting.looks))
        found.append(evaluator.last_event_name)

    trainer.run(train)
    modes = [True, True, False, True]
    assert looks == 12
    assert found == [{"before": 1}, modes, True, True, (12, 12), "CLOSED"]


def test_an_engine_that_never_ran_has_fired_nothing_behind_a_check():
    evaluator, found = Engine(lambda engine, batch: None, name="val"), []
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(SanityCheck(evaluator, [0]))
    trainer.on(Events.STARTED, priority="LOWEST")(lambda: found.append(evaluator.last_event_name))
    trainer.run([0])
    assert found == [None]


def test_handlers_that_report_stand_aside_and_come_back(tmp_path, capsys):
    trainer, evaluator, _, train, val, _ = setting(check=True)
    board = evaluator.attach(TensorBoard(tmp_path / "board"))
    scalars = evaluator.attach(Scalars(gauges={"one": lambda: 1}))
    console = evaluator.attach(Console())
    saved = evaluator.attach(Checkpoint(tmp_path / "saved", nn.Linear(1, 1)))
    plan = str(evaluator.describe())
    trainer.run(train)
    assert list(tmp_path.iterdir()) == []
    assert capsys.readouterr().out == ""
    assert str(evaluator.describe()) == plan
    assert list(evaluator.handlers.values())[1:] == [board, scalars, console, saved]
    evaluator.run(val)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["board", "saved"]
    assert capsys.readouterr().out.startswith("val [1/1]  one 1.0000")


def test_outputs_that_can_not_be_saved_are_kept_by_what_gathers_them():
    evaluator = Engine(lambda engine, batch: [object(), batch], name="val")
    gathered = evaluator.attach(Predictions(ordered=False))
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(SanityCheck(evaluator, [7, 8, 9]))
    trainer.run([0])
    assert gathered.outputs is None
    evaluator.run([1, 2])
    outputs = gathered.outputs
    trainer.state.max_epochs = None
    trainer.run([0])
    assert gathered.outputs == outputs


class Noisy(Dataset):
    """Samples with noise of generators of its own."""

    def __init__(self) -> None:
        self.generators = np.random.default_rng(1), random.Random(2)
        self.numpy, self.python = self.generators
        self.legacy, self.torch = np.random.RandomState(3), torch.Generator().manual_seed(4)

    def __len__(self) -> int:
        return 6

    def __getitem__(self, index: int) -> float:
        noise = self.numpy.random() + self.python.random() + self.legacy.rand()
        return index + noise + torch.rand(1, generator=self.torch).item()


@pytest.mark.parametrize("once", [False, True], ids=["as they are", "overfit"])
def test_generators_of_the_data_stay_as_they_were(once):
    passes = []
    for check in (False, True):
        order = torch.Generator().manual_seed(5)
        data = DataLoader(Noisy(), 2, shuffle=True, generator=order)
        data = overfit(data, 2) if once else data
        trainer = Engine(lambda engine, batch: None, name="train")
        if check:
            evaluator = Engine(lambda engine, batch: None, name="val")
            trainer.attach(SanityCheck(evaluator, data))
        trainer.run([0])
        drawn = torch.rand(1, generator=order).item()
        passes.append((drawn, [batch.tolist() for batch in data]))
    assert passes[0] == passes[1]


def test_it_is_not_repeated_when_the_run_goes_on():
    trainer, evaluator, _, train, _, _ = setting(check=True)
    seen = []
    evaluator.on(Events.STARTED)(lambda: seen.append(trainer.state.iteration))
    trainer.on(Events.ITERATION_COMPLETED(once=8))(lambda e: e.interrupt())
    trainer.run(train, max_epochs=2)
    trainer.run()
    trainer.run(max_epochs=4)  # beyond its end
    other, val, _, train, _, _ = setting(check=True)
    val.on(Events.STARTED)(lambda: seen.append(other.state.iteration))
    other.load_state_dict(trainer.state_dict())
    other.run(train, max_epochs=5)
    assert seen == [0]


def test_an_evaluation_that_stands_in_the_midst_goes_on_there_behind_a_check():
    trainer, evaluator, _, train, val, _ = setting(check=True)
    seen = []
    evaluator.on(Events.ITERATION_COMPLETED)(lambda e: seen.append(e.state.iteration))
    evaluator.on(Events.ITERATION_COMPLETED(once=4))(lambda e: e.interrupt())
    evaluator.run(val)
    trainer.run(train)
    evaluator.run()
    assert seen == [1, 2, 3, 4, 1, 2, 5, 6]


def test_its_errors_reach_the_caller_before_any_training():
    trainer, evaluator, model, train, _, counting = setting(check=True)
    model.train()
    evaluator.on(Events.EPOCH_COMPLETED)(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        trainer.run(train)
    assert (trainer.state.iteration, trainer.state.reason) == (0, "error")
    assert (evaluator.state.iteration, evaluator.state.reason, counting.looks) == (0, None, 0)
    assert all(module.training for module in model.modules())


def test_it_runs_whole_behind_a_signal():
    trainer, evaluator, _, train, _, _ = setting(check=True)
    seen, stops = [], [signal.SIGINT]
    evaluator.on(Events.ITERATION_COMPLETED)(lambda e: seen.append(e.state.iteration))

    @evaluator.on(Events.ITERATION_COMPLETED(once=1))
    def stop():
        if stops:
            os.kill(os.getpid(), stops.pop())

    with pytest.raises(KeyboardInterrupt):
        trainer.run(train)
    assert (seen, evaluator.state.iteration) == ([1], 0)
    trainer.run()
    assert (seen, trainer.state.iteration) == ([1, 1, 2], 6)


def test_how_many_batches_is_an_amount():
    evaluator = Engine(lambda engine, batch: seen.append(batch), name="val")
    for batches, expected in ((1, [0]), ("50%", [0, 1]), (99, [0, 1, 2, 3])):
        trainer, seen = Engine(lambda engine, batch: None), []
        trainer.attach(SanityCheck(evaluator, range(4), batches))
        trainer.run([0])
        assert seen == expected


@pytest.mark.parametrize("batches", [0, -1, 0.5, "0%"])
def test_no_batches_are_refused(batches):
    evaluator = Engine(lambda engine, batch: None)
    with pytest.raises(ValueError, match=r"."):
        SanityCheck(evaluator, range(4), batches)


def test_data_for_one_pass_are_refused():
    with pytest.raises(TypeError, match="one pass alone"):
        SanityCheck(Engine(lambda engine, batch: None), iter([1, 2, 3]))


def test_an_engine_does_not_check_itself():
    trainer = Engine(lambda engine, batch: None)
    with pytest.raises(ValueError, match="can't check itself"):
        trainer.attach(SanityCheck(trainer, [0]))
