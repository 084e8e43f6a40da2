"""What MMEngine's hooks find at the runner, in the hub and in the logs, as at MMEngine's own."""

from __future__ import annotations

import json
import logging
import pickle

import numpy as np
import pytest
import torch

pytest.importorskip("mmengine")

from mmengine.evaluator import Evaluator
from mmengine.hooks import Hook
from mmengine.logging import HistoryBuffer, MessageHub, print_log
from mmengine.optim import OptimWrapper
from mmengine.runner import Runner as MMEngineRunner
from mmengine.visualization import Visualizer
from torch.utils.data import BatchSampler, DataLoader, SequentialSampler, TensorDataset

from footplate import Runner
from tests.recipes.mmengine_task import Accuracy, Net, loader, project

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mmengine")

VALIDATED = {"val_dataloader": loader(12, 5), "val_evaluator": [Accuracy()], "val_cfg": {}}
LOGGED = {"default_hooks": {"logger": {"interval": 5}, "checkpoint": None, "report": None}}


class Noted(Hook):
    """Notes what a function of the runner returns, behind each iteration of training."""

    def __init__(self, look, priority="NORMAL"):
        self.look, self.priority, self.seen = look, priority, []

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        self.seen.append(self.look(runner))


def noted(kind, look, priority="NORMAL", **changes):
    """What is seen with a Runner, MMEngine's or ours."""
    hook = Noted(look, priority)
    kind(**project(custom_hooks=[hook], **changes)).train()
    return hook.seen


def by_both(look, priority="NORMAL", **changes):
    return [noted(kind, look, priority, **changes) for kind in (Runner, MMEngineRunner)]


# ---------------------------------------------------------------------- the hub


@pytest.mark.covers("A11", "E3")
@pytest.mark.parametrize("name", ["train/loss", "train/lr"])
def test_the_hub_has_the_scalars_that_mmengines_has(name):
    schedule = {"type": "ExponentialLR", "gamma": 0.5, "begin": 0}

    def look(runner):
        found = runner.message_hub.get_scalar(name)
        told = found.current(), found.mean(3), found.min(), found.max(), found.statistics("mean")
        return [float(one) for one in told]

    ours, theirs = by_both(look, param_scheduler=schedule)
    assert len(ours) == 30
    assert ours == theirs


@pytest.mark.covers("A11", "E3")
def test_the_hub_has_the_metrics_of_a_validation():
    class Reads(Hook):
        seen = ()

        def after_val_epoch(self, runner, metrics=None):
            found = runner.message_hub.get_scalar("val/accuracy")
            self.seen = (*self.seen, (float(found.current()), metrics["accuracy"]))

    hook = Reads()
    Runner(**project(**VALIDATED, custom_hooks=[hook])).train()
    assert len(hook.seen) == 3
    assert all(told == metric for told, metric in hook.seen)


@pytest.mark.covers("A11", "F5")
def test_what_hooks_tell_the_hub_is_in_the_runs_stream():
    class Tells(Hook):
        def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
            runner.message_hub.update_scalar("train/x", float(runner.iter))
            runner.message_hub.update_scalar("train/time", 1.0)  # which the run's timer tells
            runner.message_hub.update_scalar("train/loss", outputs["loss"])

        def after_val_epoch(self, runner, metrics=None):
            MessageHub.get_current_instance().update_scalar("val/y", runner.epoch)

    runner = Runner(**project(**VALIDATED, **LOGGED, custom_hooks=[Tells()]))
    runner.train()
    lines = [json.loads(one) for one in (runner.folder / "scalars.jsonl").read_text().splitlines()]
    assert [one["x"] for one in lines if "x" in one][:2] == [2.0, 7.0]
    assert [one["val_y"] for one in lines if "val_y" in one] == [1.0, 2.0, 3.0]
    assert len(runner.trainer.history["x"].values) == 30
    assert all(one["time"] != 1.0 for one in lines if "time" in one)


@pytest.mark.covers("A11")
def test_a_history_of_the_hub_is_read_when_it_is_looked_at():
    from footplate.recipes.composition.mmengine.history import gathered

    history = gathered()()
    history.max_length = 250
    plain = HistoryBuffer(max_length=250)
    for number in range(601):
        value = torch.tensor(float(number), requires_grad=True) if number % 2 else number
        history.update(value)
        plain.update(number)
        if number in (0, 99, 300):
            assert history.current() == number
    assert all(np.array_equal(*both) for both in zip(history.data, plain.data, strict=True))
    copied = pickle.loads(pickle.dumps(history))
    assert type(copied) is HistoryBuffer
    assert copied.mean() == plain.mean()


# ---------------------------------------------------------------------- pictures and texts


class Draws(Hook):
    """Draws in each evaluation."""

    def after_val_epoch(self, runner, metrics=None):
        picture = np.zeros((4, 4, 3), np.uint8)
        Visualizer.get_current_instance().add_image("seen", picture)

    after_test_epoch = after_val_epoch


@pytest.mark.covers("A11", "F10")
@pytest.mark.parametrize(("call", "pictures"), [("train", 3), ("val", 1), ("test", 1)])
def test_pictures_of_an_evaluation_are_kept(call, pictures, tmp_path):
    backend = {"type": "LocalVisBackend", "save_dir": str(tmp_path)}
    tested = {"test_dataloader": loader(12, 5), "test_evaluator": [Accuracy()], "test_cfg": {}}
    runner = Runner(
        **project(**VALIDATED, **tested, **LOGGED, custom_hooks=[Draws()], visualizer=backend)
    )
    getattr(runner, call)()
    assert len(list(tmp_path.glob("seen_*.png"))) == pictures


@pytest.mark.covers("A11", "H1")
def test_what_is_said_to_mmengines_current_logger_is_in_the_runs_log():
    class Says(Net):
        def forward(self, *args, **kwargs):
            print_log("the model says so", logger="current")
            print_log("which is nobody's business", logger="current", level=logging.DEBUG)
            return super().forward(*args, **kwargs)

    runner = Runner(**project(model=Says, **LOGGED))
    runner.train()
    log = (runner.folder / "run.log").read_text()
    assert log.count("the model says so") == 30
    assert "nobody's business" not in log


# ---------------------------------------------------------------------- what the runner has


@pytest.mark.covers("A11", "E3")
def test_names_of_mmengines_runner_give_what_they_give_there():
    schedule = {"type": "StepLR", "step_size": 1, "gamma": 0.5}
    options = {"log_processor": {"window_size": 7}, "param_scheduler": schedule, **VALIDATED}

    def look(runner):
        loop, (scheduler,) = runner.train_loop, runner.param_schedulers
        return (
            *(loop._epoch, loop._iter, loop._max_epochs, loop._max_iters),
            *(scheduler.last_step, scheduler.by_epoch, scheduler.get_last_value()),
            *(type(runner.val_evaluator), len(runner.val_evaluator.metrics)),
            *(type(runner.val_loop.evaluator), runner.val_loop.runner is runner),
            *(runner.log_processor.window_size, runner.log_processor.by_epoch),
            "(NORMAL      ) Noted" in runner.get_hooks_info().split("after_train_iter:")[1],
        )

    ours, theirs = by_both(look, **options)
    assert len(ours) == 30
    assert ours == theirs
    assert ours[0][7] is Evaluator


@pytest.mark.covers("A11", "E3")
def test_the_evaluator_of_a_loop_knows_the_data_set():
    class Colored(TensorDataset):
        metainfo = {"color": "red"}  # noqa: RUF012

    data = DataLoader(Colored(*loader(12, 5).dataset.tensors), 5)
    options = {**VALIDATED, "val_dataloader": data}
    ours, theirs = by_both(lambda runner: runner.val_loop.evaluator.dataset_meta, **options)
    assert ours == theirs == [{"color": "red"}] * 30


@pytest.mark.covers("A11")
def test_a_scheduler_that_was_given_is_there_as_it_is():
    from mmengine.optim.scheduler import StepLR

    def wrapped(model):
        return OptimWrapper(torch.optim.SGD(model.parameters(), 0.1))

    options = project(optim_wrapper=wrapped)
    scheduler = StepLR(options["optim_wrapper"], step_size=1)
    hook = Noted(lambda runner: runner.param_schedulers[0] is scheduler)
    Runner(**{**options, "param_scheduler": [scheduler], "custom_hooks": [hook]}).train()
    assert all(hook.seen)


class Saves(Hook):
    """Saves in MMEngine's way behind each epoch, and marks what is saved."""

    def __init__(self, folder):
        self.folder = folder

    def after_train_epoch(self, runner):
        runner.save_checkpoint(str(self.folder), f"epoch_{runner.epoch + 1}.pth", meta={"a": 1})

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint["mark"] = runner.epoch


@pytest.mark.covers("A11", "G1")
def test_a_hook_saves_files_of_mmengines_form(tmp_path):
    saved = {}
    for kind in (MMEngineRunner, Runner):
        folder = tmp_path / kind.__module__
        schedule = {"type": "ExponentialLR", "gamma": 0.5, "begin": 0}
        runner = kind(**project(custom_hooks=[Saves(folder)], param_scheduler=schedule))
        runner.train()
        saved[kind] = torch.load(folder / "epoch_2.pth", weights_only=False)
    theirs, ours = saved.values()
    assert ours.keys() == theirs.keys()
    assert ours["meta"].keys() == theirs["meta"].keys()
    stands = [[one["meta"][name] for name in ("epoch", "iter", "a")] for one in (ours, theirs)]
    assert stands == [[2, 20, 1]] * 2
    assert ours["mark"] == theirs["mark"] == 1
    for name, weight in theirs["state_dict"].items():
        assert torch.equal(ours["state_dict"][name], weight)
    runner = Runner(**project(load_from=str(tmp_path / "footplate.recipes.runner/epoch_2.pth")))
    runner.load_or_resume()
    assert torch.equal(runner.model.net[0].weight, theirs["state_dict"]["net.0.weight"])


@pytest.mark.covers("A11")
def test_a_hook_saves_a_checkpoint_of_the_run_or_is_told_what_it_can_not_say(tmp_path):
    class Once(Hook):
        def after_train_epoch(self, runner):
            if runner.epoch == 0:
                self.path = runner.save_checkpoint("mine")
                with pytest.raises(TypeError, match=r"writes a file into a folder of this machine"):
                    runner.save_checkpoint(
                        str(tmp_path), "a.pth", backend_args={"backend": "petrel"}
                    )

    hook = Once()
    runner = Runner(**project(custom_hooks=[hook], default_hooks={"logger": None}))
    runner.train()
    assert hook.path == runner.folder / "checkpoints" / "mine"


# ---------------------------------------------------------------------- order, and how it goes on


@pytest.mark.covers("A11", "E3")
@pytest.mark.parametrize("priority", ["NORMAL", "LOW", "VERY_LOW"])
def test_hooks_of_low_priority_come_behind_what_moves_schedules(priority):
    schedule = {"type": "LinearLR", "start_factor": 0.1, "begin": 0, "end": 9, "by_epoch": False}

    def look(runner):
        return runner.optim_wrapper.get_lr()["lr"][0]

    ours, theirs = by_both(look, priority, param_scheduler=schedule)
    assert len(ours) == 30
    assert ours == theirs


class Epochs(Hook):
    """Notes where epochs and iterations begin."""

    def __init__(self):
        self.seen = []

    def before_train_epoch(self, runner):
        self.seen.append("epoch")

    def before_train_iter(self, runner, batch_idx, data_batch=None):
        self.seen.append(batch_idx)


@pytest.mark.covers("A11", "G4")
def test_a_run_that_goes_on_amid_an_epoch_tells_that_the_epoch_begins():
    saves = {"checkpoint": {"interval": 5, "by_epoch": False, "max_keep_ckpts": -1}, "logger": None}
    run = Runner(**project(default_hooks=saves))
    run.train()
    hook, found = Epochs(), str(run.folder / "checkpoints" / "00000015")
    Runner(**project(default_hooks=saves, custom_hooks=[hook], resume=found)).train()
    assert hook.seen == ["epoch", *range(5, 10), "epoch", *range(10)]


@pytest.mark.covers("A11")
def test_a_prediction_is_a_test_to_the_hub():
    stages = []

    class Watched(Net):
        def forward(self, *args, **kwargs):
            stages.append(MessageHub.get_current_instance().get_info("loop_stage"))
            return super().forward(*args, **kwargs)

    Runner(**project(model=Watched)).predict(loader(8, 4))
    assert stages == ["test", "test"]


class Counts(OptimWrapper):
    """One of the user's that is driven as it is."""

    def update_params(self, *args, **kwargs):
        super().update_params(*args, **kwargs)


@pytest.mark.covers("C3", "G4")
def test_a_wrapper_that_counts_by_itself_steps_with_the_last_window_when_it_goes_on():
    saves = {"interval": 6, "by_epoch": False, "max_keep_ckpts": -1}

    def made(kind=Runner, **changes):
        def counting(model):
            sgd = torch.optim.SGD(model.parameters(), 0.1)
            return Counts(sgd, accumulative_counts=4)

        limits = {"by_epoch": True, "max_epochs": 1}
        return kind(**project(optim_wrapper=counting, train_cfg=limits, **changes))

    whole = made(default_hooks={"checkpoint": saves, "logger": None})
    whole.train()
    theirs = made(MMEngineRunner)
    theirs.train()
    saved = whole.folder / "checkpoints" / "00000006"
    went_on = made(resume=str(saved), default_hooks={"checkpoint": saves, "logger": None})
    went_on.train()
    for name, weight in theirs.model.state_dict().items():
        assert torch.equal(whole.model.state_dict()[name], weight)
        assert torch.equal(went_on.model.state_dict()[name], weight)


@pytest.mark.covers("A11", "D4")
def test_a_learning_rate_that_mmengine_would_scale_otherwise_is_told():
    options = {
        "train_dataloader": {"dataset": loader().dataset, "batch_size": 4, "num_workers": 0,
                             "collate_fn": {"type": "default_collate"}},
        "auto_scale_lr": {"base_batch_size": 8, "enable": True},
    }  # fmt: skip
    sgd = {"type": "SGD", "lr": 0.1}
    whole = Runner(**project(**options, optim_wrapper={"optimizer": sgd}))
    assert whole.optim_wrapper.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
    gathers = {"optimizer": sgd, "accumulative_counts": 2}
    runner = Runner(**project(**options, optim_wrapper=gathers))
    with pytest.warns(RuntimeWarning, match=r"multiplied learning rates by 1, since 2 batches"):
        assert runner.optim_wrapper.optimizer.param_groups[0]["lr"] == 0.1
    assert runner.optim_wrapper is runner.optim_wrapper  # warned of once


@pytest.mark.covers("D4")
def test_a_batch_sampler_tells_the_size_by_which_learning_rates_are_scaled():
    data = loader().dataset
    batches = BatchSampler(SequentialSampler(data), 4, drop_last=False)
    runner = Runner(
        **project(
            train_dataloader=DataLoader(data, batch_sampler=batches),
            auto_scale_lr={"base_batch_size": 8, "enable": True},
        )
    )
    assert runner.optim_wrapper.optimizer.param_groups[0]["lr"] == pytest.approx(0.05)
