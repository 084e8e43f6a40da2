"""LightningModules in a runner: calls, what is refused, and how training ends."""

from __future__ import annotations

import copy
import warnings

import pytest

pytest.importorskip("lightning")

import lightning.pytorch as pl
import pytorch_lightning
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader

from footplate import Runner
from footplate.engine.step.lr_finder import find_lr
from footplate.recipes.config.problems import ConfigError
from tests.recipes import lightning_modules as modules
from tests.recipes.lightning_modules import EPOCHS, batches, theirs, twins

pytestmark = [
    pytest.mark.covers("C4"),
    pytest.mark.filterwarnings("ignore::lightning.pytorch.utilities.warnings.PossibleUserWarning"),
]


def runner_of(module, folder, **options):
    return Runner(**modules.runner(module, folder, **options))


# ------------------------------------------------------------------ calls


class Whole(modules.Regression):
    """With a test, too; what it predicts is what it answers."""

    def test_step(self, batch, batch_idx):
        x, y = batch
        self.log("test_loss", F.mse_loss(self(x), y))

    def predict_step(self, batch, batch_idx):
        return self(batch[0])


def test_the_calls_return_what_lightnings_do(tmp_path):
    one, other = twins(Whole)
    loader = batches(1)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        quiet = {"logger": False, "enable_checkpointing": False, "enable_progress_bar": False}
        trainer = pl.Trainer(accelerator="cpu", default_root_dir=tmp_path, **quiet)
        (validated,) = trainer.validate(one, loader, verbose=False)
        (tested,) = trainer.test(one, loader, verbose=False)
        predicted = trainer.predict(one, loader)
    runner = runner_of(
        other,
        tmp_path,
        val_dataloader=loader,
        test_dataloader=loader,
        predict_dataloader=loader,
    )
    assert runner.val() == validated
    assert runner.test() == tested
    assert torch.equal(runner.predict(), torch.cat(predicted))
    assert other.trainer.state.stage is None


def test_without_a_predict_step_the_answer_to_the_batch_is_predicted(tmp_path):
    module = modules.Regression().eval()
    inputs = torch.randn(4, 6)
    runner = runner_of(module, tmp_path, predict_dataloader=DataLoader(inputs, 2))
    torch.testing.assert_close(runner.predict(), module(inputs).detach())


def test_several_loaders_are_predicted_of_one_after_the_other(tmp_path):
    class Telling(modules.Regression):
        def predict_step(self, batch, batch_idx, dataloader_idx=None):
            return torch.tensor([[dataloader_idx, batch_idx]])

    inputs = [DataLoader(torch.randn(4, 6), 2), DataLoader(torch.randn(2, 6), 2)]
    predicted = runner_of(Telling(), tmp_path, predict_dataloader=inputs).predict()
    assert {name: one.tolist() for name, one in predicted.items()} == {
        "0": [[0, 0], [0, 1]],
        "1": [[1, 0]],
    }


def test_a_trial_and_a_search_for_a_rate_leave_it_as_it_is(tmp_path):
    module = modules.Regression()
    runner = runner_of(module, tmp_path)
    before = copy.deepcopy(module.state_dict())
    find_lr(runner.trainer, runner.train_dataloader, steps=20)
    assert all(torch.equal(one, before[name]) for name, one in module.state_dict().items())
    assert module.trainer.global_step == 0
    assert not module.trainer.callback_metrics
    options = {"val_dataloader": batches(1), "train_cfg": {"max_epochs": 9, "fast_dev_run": 2}}
    trial = runner_of(module, tmp_path, **options)
    trial.train()
    assert module.trainer.global_step == 2
    assert "val_loss" in module.trainer.callback_metrics


def test_lightnings_own_checkpoints_are_gone_on_from(tmp_path):
    one, other = twins(modules.Regression)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        trainer = pl.Trainer(
            accelerator="cpu",
            max_epochs=1,
            logger=False,
            enable_checkpointing=False,
            enable_progress_bar=False,
        )
        trainer.fit(one, batches())
        trainer.save_checkpoint(tmp_path / "theirs.ckpt")
    runner = runner_of(
        other, tmp_path, load_from=tmp_path / "theirs.ckpt", val_dataloader=batches(1)
    )
    runner.val()
    for weight, expected in zip(other.parameters(), one.parameters(), strict=True):
        assert torch.equal(weight, expected)


def test_both_names_of_the_library_are_welcome(tmp_path):
    class Named(pytorch_lightning.LightningModule):
        def __init__(self):
            super().__init__()
            self.layer = nn.Linear(6, 1)

        def training_step(self, batch, batch_idx):
            return F.mse_loss(self.layer(batch[0]), batch[1])

        def configure_optimizers(self):
            return torch.optim.SGD(self.parameters(), lr=0.1)

    module = Named()
    runner_of(module, tmp_path).train()
    assert module.trainer.global_step == 30


def test_its_hyper_parameters_are_kept_with_the_run(tmp_path):
    module = modules.Regression(lr=0.02)
    runner = runner_of(module, tmp_path, default_hooks={**modules.QUIET, "checkpoint": {}})
    runner.train()
    module.logger.log_hyperparams({"depth": 3, "function": print})
    assert runner.cfg["model"]["lr"] == 0.02
    assert runner.cfg["model"]["depth"] == 3
    assert runner.checkpoint.config["model"]["lr"] == 0.02
    again = Runner.from_checkpoint(
        runner.folder, model=modules.Regression(lr=1.0), train_dataloader=batches()
    )
    again.train()
    for weight, expected in zip(again.model.parameters(), module.parameters(), strict=True):
        assert torch.equal(weight, expected)


@pytest.mark.covers("D3")
def test_the_best_are_kept_and_training_ends_by_what_it_logs(tmp_path):
    class Worse(modules.Regression):
        def validation_step(self, batch, batch_idx):
            self.log("valid/error", float(self.current_epoch + 1))

    runner = runner_of(
        Worse(),
        tmp_path,
        val_dataloader=batches(1),
        train_cfg={"max_epochs": 9},
        default_hooks={
            **modules.QUIET,
            "checkpoint": {"save_best": "valid/error", "rule": "less"},
            "early_stopping": {
                "type": "EarlyStoppingHook",
                "monitor": "valid/error",
                "patience": 2,
                "rule": "less",
            },
        },
    )
    runner.train()
    assert runner.epoch == 3
    kept = sorted(one.name for one in (runner.folder / "checkpoints").iterdir())
    assert kept == ["00000010", "00000030"]


# ------------------------------------------------------------------ losses


@pytest.mark.covers("C5")
def test_a_step_may_return_a_dict_which_is_left_as_it_is_or_nothing(tmp_path):
    given = []

    class Skipping(modules.Regression):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            if batch_idx % 3 == 0:
                return None
            given.append({"loss": loss, "note": "kept"})
            return given[-1]

    one, other = twins(Skipping)
    theirs(one, tmp_path / "theirs")
    given.clear()
    runner = runner_of(other, tmp_path / "ours")
    torch.manual_seed(7)
    runner.train()
    assert one.losses == other.losses
    assert all(entry["loss"].requires_grad and entry["note"] == "kept" for entry in given)
    assert runner.trainer.count_of("OPTIMIZER_STEPPED") == 18


def test_without_optimizers_it_is_run_all_the_same(tmp_path):
    class Idle(modules.Regression):
        def configure_optimizers(self):
            return None

    one, other = twins(Idle)
    theirs(one, tmp_path / "theirs")
    modules.ours(other, tmp_path / "ours")
    assert one.losses == other.losses
    assert one.trainer.global_step == other.trainer.global_step == 30


# ------------------------------------------------------------------ the end


@pytest.mark.parametrize("hook", ["training_step", "on_train_epoch_end", "on_validation_end"])
def test_a_module_may_end_training_where_it_would_in_lightning(hook, tmp_path):
    class Ending(modules.Regression):
        def stop(self, name):
            if name == hook and self.current_epoch == 1:
                self.trainer.should_stop = True

        def training_step(self, batch, batch_idx):
            if batch_idx == 4:
                self.stop("training_step")
            return super().training_step(batch, batch_idx)

        def on_train_epoch_end(self):
            self.stop("on_train_epoch_end")

        def on_validation_end(self):
            self.stop("on_validation_end")

    one, other = twins(Ending)
    measured = theirs(one, tmp_path / "theirs", validates=True)
    assert modules.ours(other, tmp_path / "ours", validates=True) == measured
    assert one.losses == other.losses
    assert len(one.losses) == (15 if hook == "training_step" else 20)
    assert one.trainer.current_epoch == other.trainer.current_epoch


def test_the_least_is_trained_all_the_same(tmp_path):
    class Hasty(modules.Regression):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.trainer.should_stop = True

    module = Hasty()
    runner_of(module, tmp_path, train_cfg={"max_epochs": EPOCHS, "min_epochs": 2}).train()
    assert module.trainer.global_step == 20


# ------------------------------------------------------------------ optimizers from outside


def test_a_module_without_optimizers_takes_one_from_outside(tmp_path):
    one, _ = twins(modules.Regression)
    other, _ = twins(modules.Unoptimized)
    theirs(one, tmp_path / "theirs", accumulate_grad_batches=2)
    wrapper = {"optimizer": {"type": "Adam", "lr": 0.05}, "accumulative_counts": 2}
    modules.ours(other, tmp_path / "ours", optim_wrapper=wrapper)
    assert one.losses == other.losses


def refused(module, folder, error, match, **options):
    with pytest.raises(error, match=match):
        runner_of(module, folder, **options).train()


def test_what_contradicts_the_module_is_refused(tmp_path):
    refused(modules.Unoptimized(), tmp_path, TypeError, "Unoptimized has no configure_optimizers")
    refused(
        modules.Regression(),
        tmp_path,
        ValueError,
        "makes its own optimizers",
        optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.1}},
    )
    refused(
        modules.Regression(),
        tmp_path,
        ValueError,
        "leave param_scheduler out",
        param_scheduler={"type": "StepLR", "step_size": 1},
    )
    refused(modules.ByHand(), tmp_path, ValueError, "clipping is", optim_wrapper={"clip_grad": 1.0})
    refused(modules.Gan(), tmp_path, ValueError, "use bf16", optim_wrapper={"precision": "fp16"})
    with pytest.raises(ConfigError, match="an optimizer is missing"):
        runner_of(nn.Linear(1, 1), tmp_path, optim_wrapper={"accumulative_counts": 2})


def test_several_optimizers_need_to_be_stepped_by_hand(tmp_path):
    class Two(modules.Gan):
        def __init__(self):
            super().__init__()
            self.automatic_optimization = True

    refused(Two(), tmp_path, ValueError, "automatic_optimization = False")


def test_an_evaluation_needs_its_step(tmp_path):
    runner = runner_of(modules.Regression(), tmp_path, test_dataloader=batches(1))
    with pytest.raises(TypeError, match=r"no test_step\(self, batch, batch_idx\)"):
        runner.test()


def test_a_step_that_fetches_itself_is_refused(tmp_path):
    class Fetching(modules.Regression):
        def training_step(self, dataloader_iter):
            return None

    refused(Fetching(), tmp_path, TypeError, "takes a dataloader_iter")


@pytest.mark.parametrize(
    ("name", "says"),
    [("fit", "call runner.train"), ("num_trainig_batches", "num_training_batches")],
)
def test_what_the_trainer_does_not_have_is_named(name, says, tmp_path):
    class Asking(modules.Regression):
        def on_train_start(self):
            getattr(self.trainer, name)

    refused(Asking(), tmp_path, AttributeError, f"has no '{name}'.*{says}")


@pytest.mark.parametrize(
    ("ask", "says"),
    [
        (lambda trainer: trainer.fit_loop.epoch_progress, "no 'epoch_progress', but epoch_loop, "),
        (lambda trainer: trainer.fit_loop.epoch_loop.batch_idx, "no 'batch_idx', but "),
        (lambda trainer: trainer.logger.log_image("a", []), "no 'log_image'.*logger.experiment"),
    ],
)
def test_what_its_loops_and_its_logger_do_not_have_is_named(ask, says, tmp_path):
    class Asking(modules.Regression):
        def on_train_start(self):
            ask(self.trainer)

    refused(Asking(), tmp_path, AttributeError, says)


def test_a_client_that_is_closed_is_named(tmp_path):
    runner = runner_of(modules.Regression(), tmp_path, visualizer={"type": "CSVVisBackend"})
    runner.train()
    with pytest.raises(AttributeError, match=r"sinks of this run \(CSV\w*\) has a client"):
        runner.model.trainer.logger.experiment  # noqa: B018


def test_the_loops_have_the_plain_facts_of_lightnings(tmp_path):
    class Asking(modules.Regression):
        def on_train_batch_end(self, outputs, batch, batch_idx):
            loop = self.trainer.fit_loop
            self.seen = [loop.max_epochs, loop.min_epochs or 0, loop.max_batches]
            self.seen.append(loop.total_batch_idx)

    one, other = twins(Asking)
    theirs(one, tmp_path / "theirs")
    modules.ours(other, tmp_path / "ours")
    assert one.seen == other.seen


def test_other_optimizers_are_not_set_at_the_trainer(tmp_path):
    class Setting(modules.Regression):
        def on_train_start(self):
            self.trainer.optimizers = self.trainer.optimizers
            self.trainer.optimizers = [torch.optim.SGD(self.parameters(), 0.1)]

    refused(Setting(), tmp_path, ValueError, "return them in configure_optimizers")


def test_a_metric_that_nobody_has_logged_is_an_error_or_a_warning(tmp_path):
    class Looking(modules.Plateau):
        strict = True

        def configure_optimizers(self):
            said = super().configure_optimizers()
            plateau = {"scheduler": said["lr_scheduler"], "monitor": "val_los"}
            return {**said, "lr_scheduler": {**plateau, "strict": self.strict}}

    data = {"val_dataloader": batches(1)}
    refused(Looking(), tmp_path, KeyError, "'val_los'.*'val_loss'", **data)
    module = Looking()
    module.strict = False
    with pytest.warns(RuntimeWarning, match="It does not move"):
        runner_of(module, tmp_path, **data).train()
