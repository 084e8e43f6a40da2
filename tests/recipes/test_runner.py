"""The runner: what each call builds, runs, tells and returns."""

from __future__ import annotations

import gc
import logging
import math
import os
import re

import pytest
import torch
from ignite.metrics import MeanSquaredError
from torch import nn
from torch.utils.data import DataLoader

from footplate.engine.bus import Bus
from footplate.engine.engine import Engine
from footplate.engine.events import Events
from footplate.recipes.composition.hook import Hook
from footplate.recipes.composition.loops import BaseLoop
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.config.registry import RUNNERS
from footplate.recipes.runner import Runner
from tests.recipes.composition.tools import MSE, QUIET, Line, Numbers, loader, runner, same, weights


class Recorded(torch.optim.SGD):
    made = 0

    def __init__(self, params, lr=0.1):
        type(self).made += 1
        super().__init__(params, lr)


@pytest.fixture
def lazy(tmp_path):
    """A runner all of whose parts note that they are made."""
    Numbers.made, Recorded.made = [], 0
    sets = {
        f"{name}_dataloader": {
            "dataset": {"type": Numbers, "size": 4, "name": name},
            "batch_size": 2,
        }
        for name in ("train", "val", "test", "predict")
    }
    return runner(
        tmp_path,
        **sets,
        optim_wrapper={"optimizer": {"type": Recorded}},
        test_evaluator={"mse": MeanSquaredError()},
    )


@pytest.mark.covers("H1")
@pytest.mark.parametrize(
    ("call", "sets", "optimizers"),
    [
        ("train", ["train", "val"], 1),
        ("val", ["val"], 0),
        ("test", ["test"], 0),
        ("predict", ["predict"], 0),
    ],
)
def test_a_call_builds_what_it_needs_and_nothing_else(lazy, call, sets, optimizers):
    assert Numbers.made == []
    getattr(lazy, call)()
    assert sorted(Numbers.made) == sorted(sets)
    assert Recorded.made == optimizers


@pytest.mark.covers("H1")
def test_nothing_is_built_twice(lazy):
    lazy.train()
    lazy.val()
    lazy.test()
    lazy.predict()
    assert sorted(Numbers.made) == ["predict", "test", "train", "val"]
    assert Recorded.made == 1


@pytest.mark.covers("H1")
def test_what_the_calls_return(tmp_path):
    made = runner(
        tmp_path,
        test_dataloader=loader(6, name="test"),
        test_evaluator=MeanSquaredError(),
    )
    model = made.train()
    assert model is made.model
    assert isinstance(model, Line)
    val, test, predictions = made.val(), made.test(), made.predict()
    assert val.keys() == {"mse"}
    assert val["mse"] == made.trainer.state.metrics["val_mse"]
    assert test.keys() == {"mean_squared_error"}
    x = torch.arange(6).reshape(6, 1) / 6
    torch.testing.assert_close(predictions, model(x).detach())


@pytest.mark.covers("B7")
def test_predictions_are_streamed_to_a_writer(tmp_path):
    streamed = []
    made = runner(tmp_path)
    returned = made.predict(DataLoader(Numbers(5), 2), lambda outputs, n: streamed.append(outputs))
    assert returned is None
    assert [len(one) for one in streamed] == [2, 2, 1]
    assert torch.equal(torch.cat(streamed), made.predict(DataLoader(Numbers(5), 2)))


@pytest.mark.covers("B7")
def test_predictions_of_several_loaders_are_told_by_name(tmp_path):
    made = runner(tmp_path, predict_dataloader={"few": loader(2), "more": loader(4)})
    assert {name: len(one) for name, one in made.predict().items()} == {"few": 2, "more": 4}
    with pytest.raises(ValueError, match="a writer is not told which loader a batch is of"):
        made.predict(writer=lambda outputs, n: None)


@pytest.mark.covers("B7")
def test_a_prediction_after_one_that_failed_begins_at_the_beginning(tmp_path):
    made = runner(tmp_path, predict_dataloader=loader(6))

    def fail(outputs, n):
        if n == 1:
            raise OSError("the disk is full")

    with pytest.raises(OSError, match="the disk is full"):
        made.predict(writer=fail)
    assert len(made.predict()) == 6


@pytest.mark.covers("H1")
def test_engines_can_be_attached_to_before_they_run(tmp_path):
    made, heard = runner(tmp_path), []
    made.trainer.add_event_handler(Events.STARTED, lambda: heard.append("train"))
    made.validator.add_event_handler(Events.STARTED, lambda: heard.append("val"))
    made.bus.signal(Events.COMPLETED).connect(lambda engine: heard.append(f"/{engine.name}"))
    made.train()
    assert heard == ["train", "val", "/val", "val", "/val", "/train"]


@pytest.mark.covers("H1")
def test_facts_before_and_behind_a_run(tmp_path):
    made = runner(tmp_path, experiment_name="first", train_cfg={"max_epochs": 3, "val_begin": 2})
    assert (made.epoch, made.iter, made.max_epochs, made.max_iters) == (0, 0, 3, 12)
    assert (made.val_begin, made.val_interval) == (2, 1)
    assert (made.rank, made.world_size, made.distributed, made.launcher) == (0, 1, False, "none")
    assert (made.seed, made.deterministic) == (7, False)
    assert re.fullmatch(r"\d{8}_\d{6}", made.timestamp)
    assert (made.experiment_name, made.model_name) == ("first", "Line")
    assert made.work_dir == tmp_path
    assert made.logger is logging.getLogger("footplate.runner")
    assert type(made.train_loop).__name__ == "EpochBasedTrainLoop"
    assert type(made.val_loop).__name__ == "ValLoop"
    assert made.cfg["train_cfg"]["max_epochs"] == 3
    with pytest.raises(ValueError, match="test_dataloader"):
        made.test_loop  # noqa: B018
    made.train()
    assert (made.epoch, made.iter) == (3, 12)


@pytest.mark.covers("H1")
@pytest.mark.parametrize(
    ("cfg", "epochs", "iters"),
    [
        ({"max_epochs": 3}, 3, 12),
        ({"max_epochs": None}, 1, 4),
        ({"max_iters": 5, "by_epoch": False}, math.inf, 5),
        ({"max_epochs": None, "max_steps": 5}, math.inf, None),
        ({"max_epochs": 2, "epoch_length": 3}, 2, 6),
        ({"max_epochs": 2, "limit_batches": 3}, 2, 6),
        ({"max_epochs": 9, "fast_dev_run": True}, 1, 1),
    ],
)
def test_how_long_a_run_is(tmp_path, cfg, epochs, iters):
    made = runner(tmp_path, train_cfg=cfg)
    assert (made.max_epochs, made.max_iters) == (epochs, iters)


class Counts(Hook):
    """What epoch and iter are where."""

    def __init__(self):
        self.lines = []

    def before_train_iter(self, runner):
        self.lines.append(("iter", runner.epoch, runner.iter))

    def after_train_iter(self, runner):
        self.lines.append(("done", runner.epoch, runner.iter))

    def before_val(self, runner):
        self.lines.append(("val", runner.epoch, runner.iter))

    def after_train_epoch(self, runner):
        self.lines.append(("epoch", runner.epoch, runner.iter))


@pytest.mark.covers("H1")
def test_epochs_and_iterations_count_when_they_are_over(tmp_path):
    counts = Counts()
    cfg = {"epoch_length": 2, "val_interval": 2, "by_epoch": False}
    runner(tmp_path, custom_hooks=[counts], train_cfg=cfg).train()
    a_pair = [("iter", 0, 0), ("done", 0, 0), ("iter", 0, 1), ("val", 0, 2), ("done", 0, 1)]
    assert counts.lines[:6] == [*a_pair, ("epoch", 0, 2)]
    assert counts.lines[6:] == [
        ("iter", 1, 2), ("done", 1, 2), ("iter", 1, 3), ("val", 1, 4), ("done", 1, 3),
        ("epoch", 1, 4),
    ]  # fmt: skip
    by_epoch = Counts()
    runner(tmp_path, custom_hooks=[by_epoch], train_cfg={"epoch_length": 1}).train()
    assert [line for line in by_epoch.lines if line[0] in ("val", "epoch")] == [
        ("val", 1, 1), ("epoch", 0, 1), ("val", 2, 2), ("epoch", 1, 2),
    ]  # fmt: skip


class Lives(Hook):
    """What happens to a call, and what the engines' states say of it."""

    def __init__(self, fails=""):
        self.lines, self.fails = [], fails

    def setup(self, stage):
        self._tell("setup", stage)

    def before_run(self):
        self._tell("before_run")

    def after_run(self):
        self._tell("after_run")

    def teardown(self, stage):
        self._tell("teardown", stage)

    def on_exception(self, exception):
        self._tell("on_exception", type(exception).__name__)

    def before_iter(self, engine):
        self._tell(engine.state.call, engine.state.stage)

    def _tell(self, *line):
        self.lines.append(line)
        if self.fails == line[0]:
            raise ConnectionError(f"{line[0]} failed")


@pytest.mark.covers("A7")
def test_states_say_which_call_and_stage_it_is(tmp_path):
    lives = Lives()
    made = runner(
        tmp_path,
        custom_hooks=[lives],
        train_cfg={"max_epochs": 1, "limit_batches": 1, "sanity_check": 1},
        val_cfg={"limit_batches": 1},
        test_dataloader=loader(2),
        test_evaluator={"mse": MeanSquaredError()},
    )
    made.train()
    made.val()
    made.test()
    made.predict()
    told = [line for line in lives.lines if line[0] in ("train", "val", "test", "predict")]
    assert told == [
        ("train", "sanity_check"),
        ("train", "train"),
        ("train", "val"),
        ("val", "val"),
        ("test", "test"),
        ("predict", "predict"),
    ]


@pytest.mark.covers("H1")
@pytest.mark.parametrize("call", ["train", "val", "test", "predict"])
def test_an_error_is_told_once_and_reaches_the_caller_as_it_is(tmp_path, call):
    error, lives = ArithmeticError("no"), Lives()

    class Wrong(Line):
        def forward(self, x):
            raise error

    made = runner(
        tmp_path,
        model=Wrong(),
        custom_hooks=[lives],
        test_dataloader=loader(2),
        test_evaluator={"mse": MeanSquaredError()},
    )
    closed = []
    made.bus.signal(Events.CLOSED).connect(lambda engine: closed.append(engine.name))
    with pytest.raises(ArithmeticError) as caught:
        getattr(made, call)()
    assert caught.value is error
    assert [line for line in lives.lines if line[0] != call] == [
        ("setup", call),
        ("before_run",),
        ("on_exception", "ArithmeticError"),
        ("after_run",),
        ("teardown", call),
    ]
    assert closed == [call]


@pytest.mark.covers("H1")
def test_an_error_of_a_validation_within_training_is_told_once(tmp_path):
    lives, made = Lives(), None
    made = runner(tmp_path, custom_hooks=[lives])

    @made.validator.on(Events.ITERATION_COMPLETED)
    def fail():
        raise ArithmeticError("no")

    with pytest.raises(ArithmeticError):
        made.train()
    assert lives.lines.count(("on_exception", "ArithmeticError")) == 1


@pytest.mark.covers("H1")
@pytest.mark.parametrize("point", ["setup", "before_run", "after_run", "teardown"])
def test_a_hook_that_fails_around_a_run_keeps_no_other_from_its_end(tmp_path, point):
    wrong, right = Lives(point), Lives()
    right.name = "right"
    made = runner(tmp_path, custom_hooks=[wrong, right])
    with pytest.raises(ConnectionError, match=f"{point} failed"):
        made.val()
    assert right.lines[-2:] == [("after_run",), ("teardown", "val")]
    told = point in ("setup", "before_run")
    assert right.lines.count(("on_exception", "ConnectionError")) == told


@pytest.mark.covers("H1")
def test_what_hooks_raise_besides_an_error_is_a_note_of_it(tmp_path):
    made = runner(tmp_path, custom_hooks=[Lives("after_run")])
    made.trainer.add_event_handler(Events.STARTED, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError) as caught:
        made.train()
    assert "besides, ConnectionError: after_run failed" in caught.value.__notes__


@pytest.mark.covers("H1")
def test_training_that_failed_goes_on_where_it_stood(tmp_path):
    made, failing = runner(tmp_path), [True]

    @made.trainer.on(Events.ITERATION_STARTED(once=6))
    def fail():
        if failing:
            raise ArithmeticError(failing.pop())

    with pytest.raises(ArithmeticError):
        made.train()
    assert made.iter == 5
    made.train()
    assert (made.epoch, made.iter) == (2, 8)


@pytest.mark.covers("H1")
@pytest.mark.parametrize(
    ("call", "changes", "said"),
    [
        (
            "train",
            {"train_dataloader": None},
            r"train\(\) needs train_dataloader.*Runner\(…, tr",
        ),
        ("val", {"val_dataloader": None}, r"val\(\) needs val_dataloader"),
        ("test", {}, r"test\(\) needs test_dataloader"),
        (
            "predict",
            {},
            r"predict\(\) needs predict_dataloader or test_dataloader.*Runner\(…, predict_data",
        ),
        ("val", {"val_evaluator": None}, r"val\(\) has data .* give Runner\(…, val_evaluator="),
        ("train", {"val_evaluator": None}, r"train\(\) has data in val_dataloader, but nothing"),
        ("train", {"val_dataloader": None}, r"train\(\) was given val_evaluator, but no val_data"),
        ("test", {"test_dataloader": [1]}, r"test\(\) has data .* give Runner\(…, test_evaluator="),
    ],
)
def test_what_a_call_lacks_is_named(tmp_path, call, changes, said):
    made = runner(tmp_path, **changes)
    with pytest.raises(ValueError, match=said):
        getattr(made, call)()


@pytest.mark.covers("H1")
def test_metrics_that_were_attached_by_hand_will_do(tmp_path):
    made = runner(tmp_path, val_evaluator=None)
    MeanSquaredError().attach(made.validator, "by_hand")
    assert made.val().keys() == {"by_hand"}
    made.train()
    assert "val_by_hand" in made.trainer.state.metrics


@pytest.mark.covers("H1")
def test_the_training_data_alone_will_do(tmp_path):
    made = runner(tmp_path, val_dataloader=None, val_evaluator=None)
    before = weights(made.model)
    made.train()
    assert not same(before, weights(made.model))
    assert not any(name.startswith("val") for name in made.trainer.state.metrics)


@pytest.mark.covers("H1")
def test_a_list_of_batches_is_one_loader(tmp_path):
    x = torch.ones(2, 1)
    made = Runner(
        Line(),
        tmp_path,
        train_dataloader=[(x, x)] * 3,
        train_cfg={"loss": MSE},
        default_hooks=QUIET,
    )
    made.train()
    assert made.iter == 3


@pytest.mark.covers("B6")
def test_an_engine_of_ones_own_trains(tmp_path):
    class Counting(Hook):
        seen = 0

        def after_train_iter(self, outputs):
            type(self).seen += outputs

    own = Engine(lambda engine, batch: len(batch), bus=Bus(), name="train")
    made = runner(tmp_path, train_cfg={"engine": own}, custom_hooks=[Counting()])
    assert made.trainer is own
    made.train()
    assert Counting.seen == 16
    nameless = Engine(lambda engine, batch: None)
    with pytest.raises(ValueError, match=r"named None.*name='train'"):
        runner(tmp_path, train_cfg={"engine": nameless}).train()


@pytest.mark.covers("B6")
def test_steps_of_ones_own(tmp_path):
    made = runner(
        tmp_path,
        model=nn.Identity(),
        train_cfg={"step": lambda engine, batch: {"loss": 0.5}},
        val_cfg={"step": lambda engine, batch: (batch[1], batch[1])},
        predict_cfg={"step": lambda engine, batch: batch[0] + 1},
        predict_dataloader=loader(3),
    )
    made.train()
    assert made.val() == {"mse": 0.0}
    assert made.predict().flatten().tolist() == pytest.approx([1, 4 / 3, 5 / 3])


@pytest.mark.covers("B6")
def test_set_up_steps_can_be_overridden(tmp_path):
    steps = []

    class Own(Runner):
        def setup_env(self):
            steps.append("env")
            return super().setup_env()

        def build_optim_wrapper(self, given):
            steps.append("optimizer")
            return torch_sgd(self.model)

    def torch_sgd(model):
        from footplate.engine.step.optimization import Optimization

        return Optimization(torch.optim.SGD(model.parameters(), lr=0.5))

    made = runner(tmp_path, kind=Own)
    assert steps == ["env"]
    made.train()
    assert steps == ["env", "optimizer"]
    assert made.optim_wrapper.optimizer.param_groups[0]["lr"] == 0.5


@pytest.mark.covers("H1")
def test_a_runner_that_never_runs_leaves_nothing(tmp_path):
    made = runner(tmp_path / "work_dirs", experiment_name="planned")
    assert "EPOCH_COMPLETED" in str(made.trainer.describe())
    assert made.folder.is_dir()
    del made
    gc.collect()
    assert list(tmp_path.iterdir()) == []


class OwnLoop(BaseLoop):
    """Trains without the train engine."""

    def __init__(self, runner, dataloader, passes=1):
        super().__init__(runner, dataloader)
        self.passes = passes

    def run(self):
        for _ in range(self.passes):
            for x, _ in self.dataloader:
                self.runner.model(x)
        return "ignored"


class ByEngine(BaseLoop):
    """Trains by the train engine, an epoch at a time."""

    def __init__(self, runner, dataloader, epochs):
        super().__init__(runner, dataloader)
        self.epochs = epochs

    def run(self):
        data = self.runner.training_data(self.dataloader)
        for epochs in range(self.runner.epoch + 1, self.epochs + 1):
            self.runner.trainer.run(data, epoch_length=1, max_epochs=epochs)


@pytest.mark.covers("B6")
def test_a_train_loop_of_ones_own_needs_no_loss(tmp_path):
    lives = Lives()
    cfg = {"type": OwnLoop, "passes": 2}
    made = Runner(Line(), tmp_path, train_dataloader=loader(), train_cfg=cfg, custom_hooks=[lives])
    assert made.train() is made.model
    assert "trainer" not in vars(made)
    assert len(made.train_dataloader.dataset.asked) == 16
    assert lives.lines == [
        ("setup", "train"),
        ("before_run",),
        ("after_run",),
        ("teardown", "train"),
    ]


@pytest.mark.covers("B6")
def test_a_train_loop_that_runs_the_engine_is_saved_and_goes_on(tmp_path):
    def made(epochs, **changes):
        return runner(tmp_path, train_cfg={"type": ByEngine, "epochs": epochs}, **changes)

    first = made(3)
    first.train()
    assert (first.iter, "val_mse" in first.trainer.state.metrics) == (3, True)
    again = made(5, resume=True)
    begun = []
    again.trainer.add_event_handler(Events.OPENED, lambda e: begun.append(e.state.iteration))
    again.train()
    assert (begun, again.iter, again.folder) == ([3, 4], 5, first.folder)


@pytest.mark.covers("B6")
def test_a_train_loop_of_ones_own_begins_with_the_weights_asked_for(tmp_path):
    first = runner(tmp_path)
    first.train()
    path, cfg = first.folder / "checkpoints" / "00000008", {"type": OwnLoop}
    again = Runner(Line(), tmp_path, train_dataloader=loader(), train_cfg=cfg, load_from=path)
    again.train()
    assert same(weights(again.model), weights(first.model))


def deterministic():
    return (
        torch.are_deterministic_algorithms_enabled(),
        torch.backends.cudnn.deterministic,
        os.environ.get("CUBLAS_WORKSPACE_CONFIG"),
    )


@pytest.mark.covers("H1")
def test_determinism_is_no_longer_asked_of_the_next_run(tmp_path, monkeypatch):
    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    assert deterministic() == (False, False, None)
    for how in (True, "warn"):
        runner(tmp_path, randomness={"seed": 1, "deterministic": how})
        assert deterministic() == (True, True, ":4096:8")
    runner(tmp_path)
    assert deterministic() == (False, False, None)
    torch.backends.cudnn.deterministic = True  # by hand, which no runner takes back
    try:
        runner(tmp_path)
        assert deterministic() == (False, True, None)
    finally:
        torch.backends.cudnn.deterministic = False


@pytest.mark.covers("H1", "H5")
def test_each_process_may_have_a_seed_of_its_own(tmp_path, monkeypatch):
    monkeypatch.setenv("RANK", "3")
    made = runner(tmp_path, randomness={"seed": 5, "diff_rank_seed": True})
    assert (made.seed, torch.initial_seed()) == (5, 8)
    assert runner(tmp_path, randomness={"seed": 5}).seed == torch.initial_seed() == 5


class Extra(Runner):
    def __init__(self, *arguments, extra: int, objects=None, **more):
        self.extra = extra
        super().__init__(*arguments, objects=objects, **more)


@pytest.fixture
def extra():
    """A runner with an argument of its own, registered."""
    RUNNERS.register_module(Extra)
    yield {"runner_type": "Extra", "model": Line(), "train_cfg": {"loss": MSE}}
    RUNNERS._registered.pop("Extra")


@pytest.mark.covers("H1")
def test_a_runner_of_ones_own_takes_arguments_of_its_own(tmp_path, extra):
    data = {"train_dataloader": loader(), "work_dir": str(tmp_path), "default_hooks": QUIET}
    made = Runner.from_cfg({**extra, "extra": 3, **data})
    assert (type(made), made.extra) == (Extra, 3)
    made.train()
    changes = {"model": Line(), "train_dataloader": loader(), "train_cfg": {"loss": MSE}}
    assert Runner.from_checkpoint(made.folder, **changes).extra == 3
    with pytest.raises(ConfigError) as caught:
        Runner.from_cfg({**extra, "extra": "three", "extr": 1})
    assert [one.path for one in caught.value.problems] == ["extra", "extr"]
    with pytest.raises(ConfigError, match="Extra needs 'extra', which is missing"):
        Runner.from_cfg(extra)


@pytest.mark.covers("H1")
@pytest.mark.parametrize("kind", ["torch.nn.Linear", "math.sqrt"])
def test_a_runner_type_that_is_no_runner_is_refused(kind):
    with pytest.raises(ConfigError, match="runner_type: is no class that is derived from Runner"):
        Runner.from_cfg({"runner_type": kind, "model": Line()})


@pytest.mark.covers("H1")
@pytest.mark.parametrize("objects", [None, {"type": "Objects"}, 3])
def test_what_finds_types_is_nothing_that_a_configuration_says(objects):
    with pytest.raises(ConfigError, match="objects: the runner has no such argument"):
        Runner.from_cfg({"model": Line(), "objects": objects})
