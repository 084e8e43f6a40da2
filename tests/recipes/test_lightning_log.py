"""What LightningModules log and are told of their trainer, compared with Lightning's own."""

from __future__ import annotations

import pytest

pytest.importorskip("lightning")

import torch
import torchmetrics
from torch.nn import functional as F

from footplate import Runner
from tests.recipes import lightning_modules as modules
from tests.recipes.lightning_modules import ours, theirs

pytestmark = [
    pytest.mark.covers("C4"),
    pytest.mark.covers("F6"),
    pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning"),
]


def as_numbers(metrics):
    return {name: float(value) for name, value in metrics.items()}


class Talkative(modules.Regression):
    """Logs in all ways, in many hooks, and notes what it could see there."""

    def __init__(self):
        super().__init__()
        self.error = torchmetrics.MeanSquaredError()
        self.val_error = torchmetrics.MeanSquaredError()
        self.seen = []

    def note(self, where):
        trainer = self.trainer
        self.seen.append(
            (
                where,
                as_numbers(trainer.callback_metrics),
                as_numbers(trainer.logged_metrics),
                as_numbers(trainer.progress_bar_metrics),
            )
        )

    def training_step(self, batch, batch_idx):
        x, y = batch
        predicted = self(x)
        loss = F.mse_loss(predicted, y)
        self.losses.append(loss.item())
        self.error(predicted, y)
        self.log("error", self.error, on_step=True, on_epoch=True)
        self.log("step_alone", loss)
        self.log("epoch_alone", loss, on_step=False, on_epoch=True)
        self.log("highest", loss, on_step=False, on_epoch=True, reduce_fx="max")
        self.log("lowest", loss, on_step=True, on_epoch=True, reduce_fx=torch.min)
        self.log("sum", loss, on_epoch=True, reduce_fx="sum", logger=False)
        self.log("weighted", loss, on_epoch=True, batch_size=batch_idx + 1, prog_bar=True)
        self.log_dict({"one": 1.0, "index": float(batch_idx)}, on_epoch=True, on_step=False)
        return {"loss": loss, "extra": predicted.mean()}

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.log("behind_the_batch", outputs["loss"], on_step=True)
        self.note("on_train_batch_end")

    def on_before_optimizer_step(self, optimizer):
        self.log("weight", self.layers[0].weight.grad.norm(), on_epoch=True)

    def on_train_epoch_end(self):
        self.log("epochs", float(self.current_epoch))
        self.note("on_train_epoch_end")

    def validation_step(self, batch, batch_idx):
        x, y = batch
        predicted = self(x)
        self.val_error.update(predicted, y)
        self.log("val_loss", F.mse_loss(predicted, y), prog_bar=True)
        self.log("val_both", predicted.mean(), on_step=True, on_epoch=True)
        self.log_dict({"val_error": self.val_error}, on_step=False, on_epoch=True)

    def on_validation_epoch_end(self):
        self.log("val_last", 3.0)
        self.note("on_validation_epoch_end")

    def on_validation_end(self):
        self.note("on_validation_end")

    def on_train_end(self):
        self.note("on_train_end")


def test_what_is_logged_and_seen_in_the_hooks_is_as_in_lightning(tmp_path):
    one, other = modules.twins(Talkative)
    theirs(one, tmp_path / "theirs", validates=True)
    ours(other, tmp_path / "ours", validates=True)
    assert [where for where, *_ in one.seen] == [where for where, *_ in other.seen]
    for expected, seen in zip(one.seen, other.seen, strict=True):
        assert seen[:2] == expected[:2]
        assert seen[2] == {**expected[2], **seen[2]}
        assert seen[3] == expected[3]


FACTS = (
    "current_epoch",
    "global_step",
    "max_epochs",
    "max_steps",
    "estimated_stepping_batches",
    "num_training_batches",
    "num_val_batches",
    "accumulate_grad_batches",
    "gradient_clip_val",
    "gradient_clip_algorithm",
    "precision",
    "world_size",
    "global_rank",
    "local_rank",
    "node_rank",
    "num_nodes",
    "num_devices",
    "is_global_zero",
    "training",
    "validating",
    "testing",
    "predicting",
    "sanity_checking",
    "evaluating",
    "fast_dev_run",
    "limit_train_batches",
    "limit_val_batches",
    "num_sanity_val_batches",
    "val_check_batch",
    "val_check_interval",
    "enable_validation",
    "received_sigterm",
    "interrupted",
    "device_ids",
    "distributed_sampler_kwargs",
    "check_val_every_n_epoch",
    "is_last_batch",
    "should_stop",
    "datamodule",
)
"""What Lightning's trainer and ours both say of themselves."""


class Curious(modules.ByStep):
    """Notes the facts of its trainer wherever it can."""

    def __init__(self):
        super().__init__()
        self.seen = []

    def note(self, where):
        trainer = self.trainer
        facts = {name: getattr(trainer, name) for name in FACTS}
        facts.update(fn=trainer.state.fn, stage=trainer.state.stage)
        facts.update(epoch=self.current_epoch, step=self.global_step, rank=self.global_rank)
        self.seen.append((where, facts))

    def configure_optimizers(self):
        facts = "max_epochs", "estimated_stepping_batches", "accumulate_grad_batches"
        self.seen.append([getattr(self.trainer, name) for name in facts])
        return super().configure_optimizers()

    def on_train_start(self):
        self.note("on_train_start")

    def on_train_epoch_start(self):
        self.note("on_train_epoch_start")

    def training_step(self, batch, batch_idx):
        self.note("training_step")
        return super().training_step(batch, batch_idx)

    def on_train_batch_end(self, outputs, batch, batch_idx):
        self.note("on_train_batch_end")

    def validation_step(self, batch, batch_idx):
        self.note("validation_step")
        super().validation_step(batch, batch_idx)

    def on_validation_epoch_end(self):
        self.note("on_validation_epoch_end")

    def on_train_epoch_end(self):
        self.note("on_train_epoch_end")


def test_the_facts_of_the_trainer_are_those_of_lightnings(tmp_path):
    one, other = modules.twins(Curious)
    options = {"accumulate_grad_batches": 5, "gradient_clip_val": 0.5, "precision": "bf16-mixed"}
    theirs(one, tmp_path / "theirs", validates=True, **options)
    wrapper = {"accumulative_counts": 5, "clip_grad": 0.5, "precision": "bf16"}
    ours(other, tmp_path / "ours", validates=True, optim_wrapper=wrapper)
    assert other.seen[0] == one.seen[0] == [3, 6, 5]
    assert len(other.seen) == len(one.seen)
    for (where, expected), (here, seen) in zip(one.seen[1:], other.seen[1:], strict=True):
        differing = {name: (seen[name], one) for name, one in expected.items() if seen[name] != one}
        assert (here, differing) == (where, {})


@pytest.mark.parametrize(
    ("options", "cfg"),
    [
        ({"val_check_interval": 0.5}, {"val_interval": 0.5}),
        ({"check_val_every_n_epoch": 2}, {"val_interval": 2}),
        (
            {"check_val_every_n_epoch": None, "val_check_interval": 4},
            {"by_epoch": False, "val_interval": 4},
        ),
        (
            {"limit_train_batches": 0.5, "limit_val_batches": 3},
            {"limit_batches": 0.5},
        ),
    ],
)
def test_the_facts_of_intervals_and_parts_are_in_lightnings_words(options, cfg, tmp_path):
    one, other = modules.twins(Curious)
    theirs(one, tmp_path / "theirs", validates=True, **options)
    loaders = {"val_cfg": {"limit_batches": options.get("limit_val_batches")}}
    train_cfg = {"max_epochs": 3, **cfg}
    ours(other, tmp_path / "ours", validates=True, train_cfg=train_cfg, **loaders)
    names = [name for name in FACTS if "check" in name or "limit" in name]
    (_, expected), (_, seen) = one.seen[1], other.seen[1]
    assert {name: seen[name] for name in names} == {name: expected[name] for name in names}


class TwoLoaders(modules.Regression):
    """Tells several validation loaders apart, and one metric of all of them."""

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        x, y = batch
        loss = F.mse_loss(self(x), y)
        self.log("val_loss", loss)
        self.log(f"own_{dataloader_idx}", float(batch_idx), add_dataloader_idx=False)


def test_several_loaders_have_names_of_their_own(tmp_path):
    one, other = modules.twins(TwoLoaders)
    loaders = [modules.batches(1, number=3), modules.batches(2, number=4)]
    expected = theirs(one, tmp_path / "theirs", val_dataloaders=loaders)
    runner = Runner(**modules.runner(other, tmp_path / "ours", val_dataloader=loaders))
    torch.manual_seed(7)
    runner.train()
    names = ["val_loss/dataloader_idx_0", "val_loss/dataloader_idx_1", "own_0", "own_1"]
    assert [float(other.trainer.callback_metrics[name]) for name in names] == [
        expected[name] for name in names
    ]
    assert sorted(runner.val()) == sorted(names)
    checked = TwoLoaders()
    options = modules.runner(checked, tmp_path / "checked", val_dataloader=loaders)
    Runner(**{**options, "train_cfg": {"max_epochs": 1, "sanity_check": 5}}).train()
    assert {*names} <= checked.trainer.callback_metrics.keys()
    assert runner.trainer.state.metrics[names[1]] == expected[names[1]]


class Repetitive(modules.Regression):
    """One name for all there is."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        self.log("loss", loss, on_step=True, on_epoch=True)
        return {"loss": loss}

    def validation_step(self, batch, batch_idx):
        x, y = batch
        self.log("loss", F.mse_loss(self(x), y))


def test_a_name_that_several_things_go_by_is_made_several_in_the_stream(tmp_path):
    runner = Runner(
        **modules.runner(Repetitive(), tmp_path, val_dataloader=modules.batches(1)),
    )
    runner.train()
    metrics = runner.trainer.state.metrics
    assert {"loss", "loss_epoch", "train_loss_step", "train_loss_epoch", "val_loss"} <= {*metrics}
    assert runner.model.trainer.callback_metrics["loss"] == metrics["train_loss_epoch"]


NAMES_OF_THE_RUN = ("lr", "time", "data_time", "samples/s", "eta", "memory", "epoch", "step", "run")


class Reserved(modules.Regression):
    """Logs by names that the run has numbers and columns by, everywhere."""

    def on_train_epoch_start(self):
        self.logger.log_metrics({"engine": 1.0, "lr/1": 2.0})

    def training_step(self, batch, batch_idx):
        self.log_dict(dict.fromkeys(NAMES_OF_THE_RUN, 1.0))
        return super().training_step(batch, batch_idx)

    def validation_step(self, batch, batch_idx):
        self.log_dict(dict.fromkeys(NAMES_OF_THE_RUN, 2.0))

    def test_step(self, batch, batch_idx):
        self.log_dict(dict.fromkeys(NAMES_OF_THE_RUN, 3.0))


def test_names_that_the_run_has_itself_get_what_runs_before_them(tmp_path):
    data = {"val_dataloader": modules.batches(1), "test_dataloader": modules.batches(1)}
    options = modules.runner(Reserved(), tmp_path, **data)
    del options["visualizer"]  # journal and files have columns
    options["default_hooks"] = {"logger": {"progress_bar": False, "interval": 1}}
    runner = Runner(**options)
    runner.train()
    metrics = runner.trainer.state.metrics
    assert {metrics[f"train_{name}"] for name in NAMES_OF_THE_RUN} == {1.0}
    assert {metrics[f"val_{name}"] for name in NAMES_OF_THE_RUN} == {2.0}
    assert (metrics["train_engine"], metrics["train_lr/1"]) == (1.0, 2.0)
    assert runner.model.trainer.callback_metrics.keys() >= {*NAMES_OF_THE_RUN}
    assert runner.val() == {f"val_{name}": 2.0 for name in NAMES_OF_THE_RUN}
    assert runner.test() == {f"test_{name}": 3.0 for name in NAMES_OF_THE_RUN}
    assert runner.trainer.history["lr"].count


class WithExtras(modules.Regression):
    """Returns more than its loss, under names that the run has itself, too."""

    def training_step(self, batch, batch_idx):
        loss = super().training_step(batch, batch_idx)
        return {"loss": loss, "lr": 7.0, "epoch": 3, "answers": loss.detach().expand(2)}

    def on_train_batch_end(self, outputs, batch, batch_idx):
        assert {"lr", "epoch", "answers"} < outputs.keys()


def test_what_a_step_returns_beside_its_loss_is_for_hooks_and_not_logged(tmp_path):
    options = modules.runner(WithExtras(), tmp_path)
    options["default_hooks"] = {"logger": {"progress_bar": False, "interval": 1}}
    runner = Runner(**options)
    runner.train()
    history = runner.trainer.history
    assert history["loss"].count
    assert history["lr"].mean() < 1
    assert "answers" not in history
    assert "epoch" not in history


class Rare(modules.Regression):
    """Logs in the first batch of an epoch alone."""

    def training_step(self, batch, batch_idx):
        if batch_idx == 0:
            self.log("rare", float(self.current_epoch))
        return super().training_step(batch, batch_idx)


def test_what_one_batch_has_logged_is_not_shown_with_the_next(tmp_path):
    runner = Runner(**modules.runner(Rare(), tmp_path))
    runner.train()
    assert runner.trainer.history["rare"].count == modules.EPOCHS


def test_an_epoch_that_a_limit_has_cut_ends_as_in_lightning(tmp_path):
    one, other = modules.twins(Talkative)
    expected = theirs(one, tmp_path / "theirs", validates=True, max_steps=17)
    options = {"train_cfg": {"max_epochs": 3, "max_steps": 17}}
    assert ours(other, tmp_path / "ours", validates=True, **options) == expected
    assert [where for where, *_ in one.seen] == [where for where, *_ in other.seen]
    assert other.seen[-1][:2] == one.seen[-1][:2]
    assert other.seen[-2][:2] == one.seen[-2][:2]
    assert other.trainer.current_epoch == one.trainer.current_epoch == 2


def test_an_epoch_that_is_gone_on_with_and_cut_then_ends_as_if_it_had_been_one(tmp_path):
    options = {
        "default_hooks": {**modules.QUIET, "checkpoint": {"interval": 1, "by_epoch": False}},
        "experiment_name": "run",
        "train_cfg": {"max_steps": 13},
    }

    class Cut(Talkative):
        def on_train_batch_start(self, batch, batch_idx):
            if self.trainer.global_step == 12:
                raise KeyboardInterrupt

    _, whole = modules.twins(Talkative)
    expected = ours(whole, tmp_path / "whole", **options)
    _, one = modules.twins(Cut)
    with pytest.raises(KeyboardInterrupt):
        ours(one, tmp_path / "cut", **options)
    _, other = modules.twins(Talkative)
    assert ours(other, tmp_path / "cut", resume=True, **options) == expected
    assert [where for where, *_ in other.seen][-2:] == ["on_train_epoch_end", "on_train_end"]
    assert other.seen[-2] == whole.seen[-2]


@pytest.mark.parametrize(
    ("arguments", "error"),
    [
        ({"reduce_fx": "median"}, "mean, sum, min or max"),
        ({"on_step": False, "on_epoch": False}, "shows nothing"),
    ],
)
def test_a_log_that_can_not_be_meant_is_refused(arguments, error, tmp_path):
    class Wrong(modules.Regression):
        def training_step(self, batch, batch_idx):
            self.log("wrong", 1.0, **arguments)

    with pytest.raises(ValueError, match=error):
        Runner(**modules.runner(Wrong(), tmp_path)).train()


def test_one_name_in_two_ways_is_refused(tmp_path):
    class Wrong(modules.Regression):
        def training_step(self, batch, batch_idx):
            self.log("wrong", 1.0)
            self.log("wrong", 1.0, prog_bar=True)

    with pytest.raises(ValueError, match="called twice in training_step"):
        Runner(**modules.runner(Wrong(), tmp_path)).train()
