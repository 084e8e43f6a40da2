"""Programs written for MMEngine's Runner, with other imports and data."""
# ruff: noqa: C408, RUF012 - as they are written there

from __future__ import annotations

import pytest
import torch
import torch.nn.functional as F
from sklearn.datasets import load_digits
from torch import nn
from torch.optim import SGD
from torch.utils.data import DataLoader, TensorDataset

from footplate.engine.step.base_metric import BaseMetric
from footplate.engine.step.base_model import BaseModel
from footplate.recipes.composition.hook import Hook
from footplate.recipes.composition.loops import BaseLoop
from footplate.recipes.config.registry import (
    DATASETS,
    HOOKS,
    LOOPS,
    METRICS,
    MODELS,
    RUNNERS,
)
from footplate.recipes.runner import Runner


def digits(part: slice) -> TensorDataset:
    bunch = load_digits()
    images = torch.tensor(bunch.images[part], dtype=torch.float32).flatten(1) / 16
    return TensorDataset(images, torch.tensor(bunch.target[part]))


class Net(BaseModel):
    def __init__(self):
        super().__init__()
        self.resnet = nn.Sequential(nn.Linear(64, 32), nn.ReLU(), nn.Linear(32, 10))

    def forward(self, imgs, labels, mode):
        x = self.resnet(imgs)
        if mode == "loss":
            return {"loss": F.cross_entropy(x, labels)}
        elif mode == "predict":
            return x, labels


class Accuracy(BaseMetric):
    def process(self, data_batch, data_samples):
        score, gt = data_samples
        self.results.append(
            {
                "batch_size": len(gt),
                "correct": (score.argmax(dim=1) == gt).sum().cpu(),
            }
        )

    def compute_metrics(self, results):
        total_correct = sum(item["correct"] for item in results)
        total_size = sum(item["batch_size"] for item in results)
        return dict(accuracy=100 * total_correct / total_size)


@pytest.mark.covers("C3")
@pytest.mark.covers("H1")
def test_the_tutorials_program(tmp_path, capsys):
    train_dataloader = DataLoader(batch_size=32, shuffle=True, dataset=digits(slice(0, 1200)))
    val_dataloader = DataLoader(batch_size=32, shuffle=False, dataset=digits(slice(1200, None)))

    runner = Runner(
        model=Net(),
        work_dir=str(tmp_path / "work_dir"),
        train_dataloader=train_dataloader,
        optim_wrapper=dict(optimizer=dict(type=SGD, lr=0.1, momentum=0.9)),
        train_cfg=dict(by_epoch=True, max_epochs=5, val_interval=1),
        val_dataloader=val_dataloader,
        val_cfg=dict(),
        val_evaluator=dict(type=Accuracy),
    )
    model = runner.train()

    assert model is runner.model
    assert runner.trainer.state.metrics["val_accuracy"] > 85
    assert runner.trainer.state.metrics["val_accuracy"] == runner.val()["accuracy"]
    lines = capsys.readouterr().out
    assert "train [1/5][10/38]" in lines
    assert "val_accuracy" in lines
    assert "data_time" in lines


@pytest.fixture
def toys():
    """The parts of the long example of the API reference, registered by their names there."""

    class ToyModel(BaseModel):
        def __init__(self, data_preprocessor=None):
            super().__init__(data_preprocessor=data_preprocessor)
            self.linear = nn.Linear(2, 1)

        def forward(self, inputs, targets, mode="tensor"):
            outputs = self.linear(inputs)
            if mode == "loss":
                return dict(loss=((targets - outputs) ** 2).sum())
            return outputs

    class ToyDataset(torch.utils.data.Dataset):
        METAINFO = dict()

        def __len__(self):
            return 12

        def __getitem__(self, index):
            return dict(inputs=torch.full((2,), float(index)), targets=torch.ones(1))

    class ToyEvaluator(BaseMetric):
        def process(self, data_batch, data_samples):
            self.results.extend(range(len(data_samples)))

        def compute_metrics(self, results):
            return dict(acc=float(len(results)))

    made = ((MODELS, ToyModel), (DATASETS, ToyDataset), (METRICS, ToyEvaluator))
    for registry, one in made:
        registry.register_module(module=one, force=True)
    yield
    for registry, one in made:
        registry._registered.pop(one.__name__)


@pytest.mark.covers("H2")
def test_the_long_configuration(tmp_path, toys):
    cfg = dict(
        model=dict(type="ToyModel"),
        work_dir=str(tmp_path / "work_dir"),
        train_dataloader=dict(
            dataset=dict(type="ToyDataset"),
            sampler=dict(type="DefaultSampler", shuffle=True),
            batch_size=1,
            num_workers=0,
        ),
        val_dataloader=dict(
            dataset=dict(type="ToyDataset"),
            sampler=dict(type="DefaultSampler", shuffle=False),
            batch_size=1,
            num_workers=0,
        ),
        test_dataloader=dict(
            dataset=dict(type="ToyDataset"),
            sampler=dict(type="DefaultSampler", shuffle=False),
            batch_size=1,
            num_workers=0,
        ),
        auto_scale_lr=dict(base_batch_size=16, enable=False),
        optim_wrapper=dict(type="OptimizerWrapper", optimizer=dict(type="SGD", lr=0.01)),
        param_scheduler=dict(type="MultiStepLR", milestones=[1, 2]),
        val_evaluator=dict(type="ToyEvaluator"),
        test_evaluator=dict(type="ToyEvaluator"),
        train_cfg=dict(by_epoch=True, max_epochs=3, val_interval=1),
        val_cfg=dict(),
        test_cfg=dict(),
        custom_hooks=[],
        default_hooks=dict(
            timer=dict(type="IterTimerHook"),
            checkpoint=dict(type="CheckpointHook", interval=1),
            logger=dict(type="LoggerHook"),
            optimizer=dict(type="OptimizerHook", grad_clip=False),
            param_scheduler=dict(type="ParamSchedulerHook"),
        ),
        launcher="none",
        env_cfg=dict(dist_cfg=dict(backend="nccl")),
        log_processor=dict(window_size=20),
        visualizer=dict(
            type="Visualizer",
            vis_backends=[dict(type="LocalVisBackend", save_dir=str(tmp_path / "temp_dir"))],
        ),
    )
    runner = Runner.from_cfg(cfg)
    runner.train()
    assert (runner.epoch, runner.iter) == (3, 36)
    assert runner.optim_wrapper.optimizer.param_groups[0]["lr"] == pytest.approx(1e-4)
    assert runner.test() == {"acc": 12.0}


@pytest.fixture
def registered():
    """Whatever a test registers is forgotten behind it."""
    registries = (DATASETS, HOOKS, LOOPS, METRICS, MODELS, RUNNERS)
    before = [dict(one._registered) for one in registries]
    yield
    for one, names in zip(registries, before, strict=True):
        one._registered = names


@pytest.mark.covers("B6")
def test_a_loop_of_ones_own_with_points_of_its_own(tmp_path, registered):
    calls = []

    @LOOPS.register_module()
    class CustomValLoop(BaseLoop):
        def __init__(self, runner, dataloader, evaluator, dataloader2):
            super().__init__(runner, dataloader, evaluator)
            self.dataloader2 = runner.build_dataloader(dataloader2)

        def run(self):
            self.runner.call_hooks("before_val_epoch")
            for idx, data_batch in enumerate(self.dataloader):
                self.runner.call_hooks("before_val_iter", batch_idx=idx, data_batch=data_batch)
                outputs = self.run_iter(idx, data_batch)
                self.runner.call_hooks(
                    "after_val_iter", batch_idx=idx, data_batch=data_batch, outputs=outputs
                )
            metric = self.evaluator.evaluate()

            for idx, data_batch in enumerate(self.dataloader2):
                self.runner.call_hooks(
                    "before_valloader2_iter", batch_idx=idx, data_batch=data_batch
                )
                self.run_iter(idx, data_batch)
                self.runner.call_hooks(
                    "after_valloader2_iter",
                    batch_idx=idx,
                    data_batch=data_batch,
                    outputs=outputs,
                )
            metric2 = self.evaluator.evaluate()

            self.runner.call_hooks("after_val_epoch")
            return {**metric, **{f"second_{name}": one for name, one in metric2.items()}}

    @HOOKS.register_module()
    class CustomValHook(Hook):
        def before_valloader2_iter(self, batch_idx, data_batch):
            calls.append(("before", batch_idx, len(data_batch[1])))

        def after_valloader2_iter(self, batch_idx, data_batch, outputs):
            calls.append(("after", batch_idx, outputs[0].requires_grad))

        def before_val_epoch(self, runner):
            calls.append(("epoch", runner.epoch, runner.model.training))

    @DATASETS.register_module()
    class ValDataset2(TensorDataset):
        def __init__(self):
            super().__init__(*digits(slice(1500, 1600)).tensors)

    runner = Runner(
        model=Net(),
        work_dir=tmp_path,
        train_dataloader=DataLoader(digits(slice(0, 100)), 50),
        train_cfg=dict(max_epochs=2),
        val_dataloader=DataLoader(digits(slice(1200, 1500)), 100),
        val_evaluator=Accuracy(),
        val_cfg=dict(
            type="CustomValLoop",
            dataloader2=dict(dataset=dict(type="ValDataset2"), batch_size=60),
        ),
        custom_hooks=[dict(type="CustomValHook")],
    )
    runner.train()

    assert runner.model.training
    a_pass = [("before", 0, 60), ("after", 0, False), ("before", 1, 40), ("after", 1, False)]
    assert calls == [("epoch", 1, False), *a_pass, ("epoch", 2, False), *a_pass]
    metrics = runner.trainer.state.metrics
    assert {"val_accuracy", "val_second_accuracy"} <= metrics.keys()
    calls.clear()
    assert runner.val()["second_accuracy"] == metrics["val_second_accuracy"]
    assert calls == [("epoch", 2, False), *a_pass]


@pytest.mark.covers("B6")
def test_a_runner_of_ones_own(tmp_path, registered):
    @RUNNERS.register_module()
    class CustomRunner(Runner):
        def setup_env(self):
            set_up.append(type(self).__name__)
            return torch.device("cpu")

    set_up = []
    cfg = dict(
        runner_type="CustomRunner",
        model=nn.Linear(64, 10),
        work_dir=str(tmp_path),
        train_dataloader=DataLoader(digits(slice(0, 64)), 32),
        train_cfg=dict(loss=F.cross_entropy),
    )
    runner = Runner.from_cfg(cfg)
    assert type(runner) is CustomRunner
    runner.train()
    assert (set_up, runner.iter) == (["CustomRunner"], 2)
