"""Each of Lightning's callbacks: it is called, saved and resumed, or refused by its name."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import Callback, LightningModule, callbacks
from lightning.pytorch.callbacks import (
    BackboneFinetuning,
    BaseFinetuning,
    BasePredictionWriter,
    DeviceStatsMonitor,
    EarlyStopping,
    EMAWeightAveraging,
    GradientAccumulationScheduler,
    LambdaCallback,
    LearningRateMonitor,
    ModelCheckpoint,
    ModelPruning,
    ModelSummary,
    OnExceptionCheckpoint,
    StochasticWeightAveraging,
    ThroughputMonitor,
    Timer,
    WeightAveraging,
)

from footplate.engine.errors import HandlerError, StateError
from footplate.recipes.composition.lightning.callbacks import REFUSED
from footplate.recipes.runner import Runner

pytestmark = [
    pytest.mark.covers("C4"),
    pytest.mark.filterwarnings("ignore:Checkpoint directory .* exists:UserWarning"),
]

PAGE = Path(__file__).resolve().parents[2] / "docs" / "lightning.md"
QUIET = {"logger": None, "report": None, "runtime_info": None}
BATCHES = [torch.tensor([[1.0, 2.0], [3.0, float(n)]]) for n in range(3)]


class Module(LightningModule):
    """A backbone and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.backbone = torch.nn.Linear(2, 2)
        self.head = torch.nn.Linear(2, 1)

    def forward(self, x):
        return self.head(self.backbone(x))

    def training_step(self, batch, batch_idx):
        loss = self(batch).square().mean()
        self.log("train_loss", loss, on_epoch=True)
        return loss

    def validation_step(self, batch, batch_idx):
        self.log("val_loss", self(batch).square().mean())

    def configure_optimizers(self):
        trained = [one for one in self.parameters() if one.requires_grad]
        adam = torch.optim.Adam(trained, lr=0.01)
        return [adam], [torch.optim.lr_scheduler.ExponentialLR(adam, 0.9)]


class Thaw(BaseFinetuning):
    """Thaws the backbone in the second epoch."""

    def freeze_before_training(self, pl_module):
        self.freeze(pl_module.backbone)

    def finetune_function(self, pl_module, epoch, optimizer):
        if epoch == 1:
            self.unfreeze_and_add_param_group(pl_module.backbone, optimizer)


class Count(Callback):
    """Counts batches."""

    batches = 0

    def on_train_batch_end(self, trainer, pl_module, outputs, batch, batch_idx):
        self.batches += 1
        self.log("batches", float(self.batches))

    def on_train_epoch_end(self, trainer, pl_module):
        self.log("batches_so_far", float(self.batches))

    def state_dict(self):
        return {"batches": self.batches}

    def load_state_dict(self, state_dict):
        self.batches = state_dict["batches"]


class Writer(BasePredictionWriter):
    """Writes nothing."""


CALLED: dict[str, Any] = {
    "BackboneFinetuning": lambda: BackboneFinetuning(1, verbose=False),
    "BaseFinetuning": Thaw,
    "Callback": Count,
    "Checkpoint": callbacks.Checkpoint,
    "DeviceStatsMonitor": lambda: DeviceStatsMonitor(cpu_stats=True),
    "EarlyStopping": lambda: EarlyStopping("val_loss"),
    "EMAWeightAveraging": lambda: EMAWeightAveraging(decay=0.5),
    "LambdaCallback": lambda: LambdaCallback(on_train_start=lambda trainer, module: None),
    "LearningRateMonitor": LearningRateMonitor,
    "ModelCheckpoint": lambda: ModelCheckpoint("kept", monitor="val_loss", save_top_k=2),
    "ModelPruning": lambda: ModelPruning("l1_unstructured", amount=0.5),
    "ModelSummary": ModelSummary,
    "RichModelSummary": callbacks.RichModelSummary,
    "Timer": lambda: Timer("00:00:10:00"),
    "WeightAveraging": WeightAveraging,
}
"""By class, one that is called."""

NOT_CALLED: dict[str, Any] = {
    "BasePredictionWriter": Writer,
    "BatchSizeFinder": callbacks.BatchSizeFinder,
    "GradientAccumulationScheduler": lambda: GradientAccumulationScheduler({1: 2}),
    "LearningRateFinder": callbacks.LearningRateFinder,
    "OnExceptionCheckpoint": lambda: OnExceptionCheckpoint("."),
    "ProgressBar": callbacks.ProgressBar,
    "RichProgressBar": callbacks.RichProgressBar,
    "SpikeDetection": callbacks.SpikeDetection,
    "StochasticWeightAveraging": lambda: StochasticWeightAveraging(0.1),
    "ThroughputMonitor": lambda: ThroughputMonitor(len),
    "TQDMProgressBar": callbacks.TQDMProgressBar,
}
"""By class, one that is refused."""

NOT_RESUMED = ("ModelPruning",)
"""What changes the weights' names, so that a run that is made anew has no place for them."""


def _run(callback: Any, folder: Path, epochs: int, **options: Any) -> Runner:
    torch.manual_seed(2)
    runner = Runner(
        Module(),
        folder,
        BATCHES,
        BATCHES,
        train_cfg={"max_epochs": epochs},
        default_hooks=QUIET,
        visualizer=False,
        custom_hooks=[callback],
        experiment_name="run",
        **options,
    )
    runner.train()
    return runner


def test_each_of_lightnings_callbacks_has_a_verdict():
    assert {*CALLED, *NOT_CALLED} == set(callbacks.__all__)
    assert not CALLED.keys() & NOT_CALLED.keys()


def test_the_page_says_which_are_called_and_which_are_not():
    section = PAGE.read_text().split("## Callbacks", 1)[1]
    rows = re.findall(r"^\| (`[^|]+) \| (\w+)", section, re.MULTILINE)
    said = {name: word for names, word in rows for name in re.findall(r"`(\w+)`", names)}
    expected = {**dict.fromkeys(CALLED, "called"), **dict.fromkeys(NOT_CALLED, "refused")}
    assert said == expected


@pytest.mark.parametrize("name", [name for name in CALLED if name not in NOT_RESUMED])
def test_a_run_that_is_resumed_comes_to_the_same_bits(name, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    whole_callback, callback = CALLED[name](), CALLED[name]()
    whole = _run(whole_callback, tmp_path / "whole", 4)
    for one in Path("kept").glob("*"):
        one.unlink()
    _run(CALLED[name](), tmp_path / "parts", 2)
    resumed = _run(callback, tmp_path / "parts", 4, resume=True)
    assert resumed.epoch == 4
    for key, value in whole.model.state_dict().items():
        assert torch.equal(value, resumed.model.state_dict()[key]), key
    if name != "Timer":  # whose state is how long it took
        assert _plain(callback.state_dict()) == _plain(whole_callback.state_dict())


def _plain(state: Any) -> str:
    return re.sub(r"0x\w+", "", repr(state))


@pytest.mark.parametrize("name", NOT_CALLED)
def test_the_others_are_refused_with_what_there_is_in_their_place(name, tmp_path):
    with pytest.raises(HandlerError, match=rf"(?s){name}.* In its place there is \S+"):
        _run(NOT_CALLED[name](), tmp_path, 1)


def test_no_refusal_is_of_a_class_that_there_is_not():
    assert REFUSED.keys() <= set(callbacks.__all__)


def test_a_run_that_has_pruned_is_not_resumed(tmp_path):
    _run(ModelPruning("l1_unstructured", amount=0.5), tmp_path, 1)
    with pytest.raises(StateError, match="weights do not fit"):
        _run(ModelPruning("l1_unstructured", amount=0.5), tmp_path, 2, resume=True)


# ---------------------------------------------------------------------- what they do


def test_early_stopping_stops_the_run(tmp_path):
    runner = _run(EarlyStopping("val_loss", patience=1, min_delta=1e9), tmp_path, 9)
    assert runner.epoch == 2


def test_early_stopping_may_look_at_what_training_has_logged(tmp_path):
    callback = EarlyStopping("train_loss", stopping_threshold=1e9)
    assert _run(callback, tmp_path, 9).epoch == 1


def test_a_timer_stops_the_run(tmp_path):
    runner = _run(Timer({"seconds": 0}), tmp_path, 9)
    assert runner.epoch == 1


def test_the_best_files_are_kept_and_read_by_lightning(tmp_path):
    keeper = ModelCheckpoint(tmp_path / "kept", monitor="val_loss", save_top_k=1, save_last=True)
    runner = _run(keeper, tmp_path, 3)
    best = float(runner.trainer.state.metrics["val_loss"])
    assert float(keeper.best_model_score) == pytest.approx(best)
    read = Module.load_from_checkpoint(keeper.best_model_path)
    for key, value in runner.model.state_dict().items():
        assert torch.equal(value, read.state_dict()[key])
    assert sorted(one.name for one in (tmp_path / "kept").iterdir()) == [
        "epoch=2-step=9.ckpt",
        "last.ckpt",
    ]


def test_the_last_file_is_written_of_an_epoch_that_is_cut(tmp_path):
    keeper = ModelCheckpoint(tmp_path / "kept", save_top_k=-1, filename="{epoch}-{step}")
    runner = _run(keeper, tmp_path, 1)
    steps = runner.model.trainer.global_step + 1
    keeper = ModelCheckpoint(tmp_path / "kept", save_top_k=-1, filename="{epoch}-{step}")
    Runner(
        Module(),
        tmp_path,
        BATCHES,
        train_cfg={"max_steps": steps},
        default_hooks=QUIET,
        visualizer=False,
        custom_hooks=[keeper],
    ).train()
    assert (tmp_path / "kept" / f"epoch=1-step={steps}.ckpt").exists()


def test_savers_and_early_stopping_are_found_at_the_trainer(tmp_path):
    trainer = _run(Count(), tmp_path, 1).model.trainer
    assert (trainer.checkpoint_callback, trainer.checkpoint_callbacks) == (None, [])
    assert (trainer.early_stopping_callback, trainer.early_stopping_callbacks) == (None, [])
    keeper = ModelCheckpoint(tmp_path / "kept")
    trainer = _run(keeper, tmp_path, 1).model.trainer
    assert trainer.checkpoint_callback is keeper
    assert trainer.checkpoint_callbacks == [keeper]
    stops = EarlyStopping("val_loss")
    trainer = _run(stops, tmp_path, 1).model.trainer
    assert trainer.early_stopping_callback is stops
    assert trainer.early_stopping_callbacks == [stops]
    assert trainer.checkpoint_callback is None


def test_the_learning_rate_is_monitored(tmp_path):
    runner = _run(LearningRateMonitor("epoch"), tmp_path, 2)
    assert runner.model.trainer.callback_metrics["lr-Adam"].item() == pytest.approx(0.009)


def test_an_average_is_what_is_validated_and_left(tmp_path):
    seen = []

    class Looks(Callback):
        def on_validation_start(self, trainer, pl_module):
            seen.append(pl_module.head.weight.clone())

        def on_validation_batch_end(self, trainer, pl_module, *_):
            seen.append(pl_module.head.weight.clone())

    torch.manual_seed(2)
    runner = Runner(
        Module(),
        tmp_path,
        BATCHES,
        BATCHES[:1],
        train_cfg={"max_epochs": 1},
        default_hooks={**QUIET, "checkpoint": None},
        visualizer=False,
        custom_hooks=[Looks(), EMAWeightAveraging(decay=0.5)],
    )
    runner.train()
    trained, averaged = seen
    assert not torch.equal(trained, averaged)
    assert torch.equal(runner.model.head.weight, averaged)


def test_a_backbone_is_frozen_at_first_and_thawed_later(tmp_path):
    runner = _run(BackboneFinetuning(5, verbose=False), tmp_path, 1)
    torch.manual_seed(2)
    before = Module()
    assert torch.equal(runner.model.backbone.weight, before.backbone.weight)
    assert not torch.equal(runner.model.head.weight, before.head.weight)


# ---------------------------------------------------------------------- which, and in which order


def test_the_modules_own_replace_those_of_their_class_and_savers_come_last(tmp_path):
    own = EarlyStopping("val_loss", patience=7)

    class Brings(Module):
        def configure_callbacks(self):
            return [own, Count()]

    given = [ModelCheckpoint(tmp_path / "kept"), EarlyStopping("val_loss"), Timer()]
    runner = Runner(
        Brings(),
        tmp_path,
        BATCHES,
        BATCHES,
        custom_hooks=given,
        visualizer=False,
        default_hooks={**QUIET, "checkpoint": None},
    )
    runner.train()
    names = [type(one).__name__ for one in runner.model.trainer.callbacks]
    assert names == ["Timer", "EarlyStopping", "Count", "ModelCheckpoint"]
    assert runner.model.trainer.callbacks[1] is own
    assert runner.model.trainer.logged_metrics["batches"] == 3.0
    assert runner.trainer.state.metrics["batches_so_far"] == 3.0


def test_callbacks_may_come_as_types_and_late(tmp_path):
    late = Count()
    runner = Runner(
        Module(),
        tmp_path,
        BATCHES,
        custom_hooks=[{"type": "lightning.pytorch.callbacks.Timer"}],
        default_hooks={**QUIET, "checkpoint": None},
        visualizer=False,
    )
    assert runner.trainer.name == "train"
    runner.register_hook(late)
    runner.train()
    assert late.batches == 3
    assert [type(one).__name__ for one in runner.model.trainer.callbacks] == ["Timer", "Count"]


def test_two_with_the_same_key_are_refused(tmp_path):
    runner = Runner(Module(), tmp_path, BATCHES, custom_hooks=[Count(), Count()])
    with pytest.raises(HandlerError, match="two callbacks whose states go by 'Count'"):
        runner.train()


def test_a_plain_model_has_no_hooks_for_them(tmp_path):
    runner = Runner(
        torch.nn.Linear(2, 1),
        tmp_path,
        [(torch.ones(2, 2), torch.ones(2, 1))],
        train_cfg={"loss": torch.nn.functional.mse_loss},
        custom_hooks=[Count()],
    )
    with pytest.raises(HandlerError, match="the model is a Linear; derive from Hook"):
        runner.train()


def test_hooks_that_nobody_has_are_not_connected(tmp_path):
    runner = Runner(
        Module(),
        tmp_path,
        BATCHES,
        default_hooks=dict.fromkeys((*QUIET, "checkpoint")),
        visualizer=False,
    )
    names = {
        one.receiver.__qualname__
        for channel in runner.trainer.channels.values()
        for one in channel.subscriptions
        if "handlers.lightning" in getattr(one.receiver, "__module__", "")
    }
    assert names == {"LightningHooks._failed", "LightningPretrain._tell"}
