"""Configurations, registries and loops of MMEngine, as our runner takes them."""

from __future__ import annotations

import sys

import pytest
import torch

pytest.importorskip("mmengine")

from mmengine.config import Config
from mmengine.hooks import Hook
from mmengine.registry import DATASETS, HOOKS, LOOPS, METRICS, MODELS, TRANSFORMS
from mmengine.runner import BaseLoop, EpochBasedTrainLoop, ValLoop
from torch.utils.data import DataLoader, TensorDataset

from footplate import Runner
from footplate.recipes.composition.mmengine.runner import as_mmengine
from footplate.recipes.config.layers import load
from footplate.recipes.config.objects import SAFE, Objects
from footplate.recipes.config.problems import ConfigError
from tests.recipes.commands.calling import called
from tests.recipes.mmengine_files import write
from tests.recipes.mmengine_task import Accuracy, Net, loader, project

pytestmark = pytest.mark.filterwarnings(
    "ignore::DeprecationWarning:mmengine", "ignore:Failed to:UserWarning"
)


@pytest.fixture
def files(tmp_path, monkeypatch):
    """A folder with a project."""
    write(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.chdir(tmp_path)
    yield tmp_path
    for registry in (MODELS, HOOKS, DATASETS, METRICS, TRANSFORMS):
        for name in [name for name in registry.module_dict if name.startswith("Project")]:
            del registry.module_dict[name]
    sys.modules.pop("mmengine_project", None)


@pytest.mark.covers("H2", "E3")
@pytest.mark.parametrize("style", ["older", "newer"])
def test_a_project_is_trained_by_its_file_in_python(files, style):
    runner = Runner.from_cfg(f"{style}.py")
    runner.train()
    project_module = sys.modules["mmengine_project"]
    assert project_module.ProjectHook.seen == [(number, "here") for number in range(3)]
    assert runner.model.head_width == 2  # the head was built by the model, of a ConfigDict
    assert runner.val() == {"right": 1.0}
    assert runner.cfg["cfg"]["data_root"] == "here"
    (best, *_) = sorted(one.name for one in (runner.folder / "checkpoints").iterdir())
    assert int(best) % 5 == 0
    tester = Runner.from_checkpoint(runner.folder)
    assert tester.val() == {"right": 1.0}


@pytest.mark.covers("H2")
def test_hooks_see_a_config_and_a_name_as_in_mmengine(files):
    runner = Runner.from_cfg("older.py")
    seen = as_mmengine(runner)
    assert seen.cfg.data_root == "here"
    assert "cfg" not in seen.cfg
    assert seen.cfg.filename == "older.py"
    assert seen.experiment_name == f"older_{runner.timestamp}"
    named = as_mmengine(Runner.from_cfg("older.py", experiment_name="named"))
    assert named.experiment_name == f"named_{named.timestamp}"
    plain = as_mmengine(Runner(**{**project(), "experiment_name": None}))
    assert plain.experiment_name == plain.timestamp


@pytest.mark.covers("H2")
def test_a_config_that_was_read_is_taken_too(files):
    config = Config.fromfile("older.py")
    config.train_cfg.max_epochs = 1
    runner = Runner.from_cfg(config, experiment_name="by_config")
    runner.train()
    assert (runner.epoch, runner.experiment_name) == (1, "by_config")


@pytest.mark.covers("H2", "H6")
def test_the_command_trains_a_file_in_python(files):
    told = called("train", "older.py", "train_cfg.max_epochs=1", folder=files)
    assert told.exit_code == 0, told.output
    assert len(list((files / "older").glob("*/checkpoints/*"))) == 1
    told = called("train", "older.py", "--safe", folder=files)
    assert told.exit_code != 0
    assert "is run, which --safe does not allow" in " ".join(told.output.split())


@pytest.mark.covers("H2")
def test_a_slip_of_the_pen_in_a_file_is_no_variable_of_its_own(files):
    (files / "slip.py").write_text("_base_ = 'older.py'\noptim_wraper = dict()\n")
    with pytest.raises(ConfigError, match=r"optim_wraper: .* Did you mean 'optim_wrapper'"):
        Runner.from_cfg("slip.py")


@pytest.mark.covers("H2")
@pytest.mark.parametrize(
    ("name", "text", "line"),
    [
        ("none.py", None, r"none\.py: there is no such file"),
        ("fails.py", "1 / 0", r"fails\.py: it can't be read: ZeroDivisionError"),
        ("base.yaml", "_base_: older.py", r"a base is YAML; a file in Python is run"),
    ],
)
def test_files_that_cant_be_taken(files, name, text, line):
    if text is not None:
        (files / name).write_text(text)
    with pytest.raises(ConfigError, match=line):
        load(name, environment={})


@pytest.mark.covers("H2")
def test_runners_of_strategies_are_refused():
    with pytest.raises(ConfigError, match=r"runner_type: is MMEngine's runner of strategies"):
        Runner.from_cfg({**project(), "runner_type": "FlexibleRunner"})


# ---------------------------------------------------------------------- registries


@pytest.mark.covers("H2")
def test_names_of_mmengines_registries_and_their_scopes():
    found = Objects()
    from footplate.recipes.config.registry import MODELS as OURS

    expected = MODELS.get("ImgDataPreprocessor")
    assert found.find("ImgDataPreprocessor", OURS) is expected
    assert found.find("mmengine.ImgDataPreprocessor", OURS) is expected
    with pytest.raises(LookupError, match=r"Did you mean 'ImgDataPreprocessor'"):
        found.find("ImgDataPreprocesor", OURS)
    with pytest.raises(LookupError, match=r"may not be used|there is no model"):
        Objects(SAFE).find("ImgDataPreprocessor", OURS)


@pytest.mark.covers("H2")
def test_a_scope_that_mmengine_does_not_know_is_refused():
    with pytest.raises(ValueError, match=r"default_scope='mmdt' is none that MMEngine knows"):
        Runner(**project(default_scope="mmdt"))


# ---------------------------------------------------------------------- loops


class Validated(TensorDataset):
    """Data that say what they are."""

    metainfo = {"classes": ("a", "b", "c")}  # noqa: RUF012


@pytest.mark.covers("B6")
def test_a_loop_and_a_hook_with_points_of_their_own():
    calls = []

    class CustomValLoop(BaseLoop):
        def __init__(self, runner, dataloader, evaluator, dataloader2):
            super().__init__(runner, dataloader)
            self.evaluator = evaluator
            self.dataloader2 = runner.build_dataloader(dataloader2)

        def measured(self, data, point):
            for idx, data_batch in enumerate(data):
                self.runner.call_hook(f"before_{point}_iter", batch_idx=idx, data_batch=data_batch)
                outputs = self.runner.model.val_step(data_batch)
                self.evaluator.process(data_samples=outputs, data_batch=data_batch)
                given = {"batch_idx": idx, "data_batch": data_batch, "outputs": outputs}
                self.runner.call_hook(f"after_{point}_iter", **given)
            return self.evaluator.evaluate(len(data.dataset))["accuracy"]

        def run(self):
            self.runner.call_hook("before_val_epoch")
            metrics = {"accuracy": self.measured(self.dataloader, "val")}
            metrics["second"] = self.measured(self.dataloader2, "valloader2")
            self.runner.call_hook("after_val_epoch", metrics=metrics)
            return metrics

    class CustomValHook(Hook):
        def before_valloader2_iter(self, batch_idx, data_batch):
            calls.append(("before", batch_idx))

        def after_valloader2_iter(self, runner, batch_idx, data_batch, outputs):
            calls.append(("after", batch_idx, runner.epoch))

        def after_val_epoch(self, runner, metrics=None):
            calls.append(sorted(metrics))

        def before_val_epoch(self, runner):
            calls.append(runner.model.training)

    LOOPS.register_module(module=CustomValLoop, force=True)
    HOOKS.register_module(module=CustomValHook, force=True)
    second = {"dataset": loader(40).dataset, "batch_size": 20, "collate_fn": "default_collate"}
    runner = Runner(
        **project(
            val_dataloader=loader(12, 5),
            val_evaluator=[Accuracy()],
            val_cfg={"type": "CustomValLoop", "dataloader2": second},
            custom_hooks=[{"type": "CustomValHook"}],
            train_cfg={"max_epochs": 1},
        )
    )
    runner.train()
    around = [("before", 0), ("after", 0, 1), ("before", 1), ("after", 1, 1)]
    assert calls == [False, *around, ["accuracy", "second"]]
    assert runner.trainer.state.metrics.keys() == {"val_accuracy", "val_second"}


@pytest.mark.covers("B6")
def test_a_loop_that_derives_from_mmengines():
    class Named(ValLoop):
        def run(self):
            return {"mine": super().run()["accuracy"]}

    data = DataLoader(Validated(*loader(12).dataset.tensors), 5)
    given = {"val_dataloader": data, "val_evaluator": [Accuracy()]}
    runner = Runner(**project(**given, val_cfg={"type": Named}))
    plain = Runner(**project(**given))
    assert runner.val()["mine"] == plain.val()["accuracy"]


@pytest.mark.covers("B6")
def test_train_loops_of_mmengines_are_refused():
    class Own(EpochBasedTrainLoop):
        pass

    runner = Runner(**project(train_cfg={"type": Own, "max_epochs": 1}))
    with pytest.raises(TypeError, match="Own derives from a train loop of MMEngine's"):
        runner.train()


# ---------------------------------------------------------------------- models


class Pictures(Net):
    """One whose preprocessor makes its batches."""

    def forward(self, inputs, data_samples=None, mode="tensor"):
        self.scale = inputs.mean().item()
        return super().forward(inputs.flatten(1)[:, :8], torch.tensor(data_samples), mode)


@pytest.mark.covers("C3")
def test_a_preprocessor_is_built_and_its_batches_gathered_as_mmengine_does():
    MODELS.register_module(module=Pictures, force=True)
    pixels = [{"inputs": torch.full((3, 2, 2), 6, dtype=torch.uint8), "data_samples": 1}] * 8
    runner = Runner(
        **project(
            model={"type": "Pictures"},
            data_preprocessor={"type": "ImgDataPreprocessor", "mean": [2] * 3, "std": [2] * 3},
            train_dataloader={"dataset": pixels, "batch_size": 4},
            train_cfg={"max_epochs": 1},
        )
    )
    runner.train()
    assert (runner.model.scale, runner.iter) == (2.0, 2)
    assert type(runner.model.data_preprocessor).__name__ == "ImgDataPreprocessor"


@pytest.mark.covers("C3")
def test_weights_are_initialized_once_by_init_cfg():
    model = Net(init_cfg={"type": "Constant", "layer": "Linear", "val": 0.5, "bias": 0.25})
    runner = Runner(**project(model=model, optim_wrapper={"optimizer": {"type": "SGD", "lr": 0.0}}))
    runner.train()
    assert model.net[0].weight.eq(0.5).all()
    assert model.net[2].bias.eq(0.25).all()
    with torch.no_grad():
        model.net[0].weight.zero_()
    runner.train()
    assert model.net[0].weight.eq(0).all()


@pytest.mark.covers("C3")
def test_a_model_for_test_time_augmentation_tests():
    from mmengine.model import BaseTTAModel

    class Mean(BaseTTAModel):
        def merge_preds(self, data_samples_list):
            scores, labels = data_samples_list
            return torch.stack(scores).mean(0), labels[0]

    torch.manual_seed(0)
    net = Net()
    images, labels = loader(12).dataset.tensors
    twice = [([one, one], [label, label]) for one, label in zip(images, labels, strict=True)]
    plain = Runner(**project(model=net, test_dataloader=loader(12, 4), test_evaluator=[Accuracy()]))
    both = Runner(
        **project(
            model=Mean(net),
            test_dataloader=DataLoader(twice, 4),
            test_evaluator=[Accuracy()],
        )
    )
    assert both.test() == plain.test()


@pytest.mark.covers("C3")
@pytest.mark.parametrize("accumulated", [1, 4])
def test_a_run_of_a_model_of_mmengine_goes_on_to_the_bit(accumulated):
    from tests.recipes.mmengine_task import Losses

    wrapper = {
        "optimizer": {"type": "AdamW", "lr": 0.01},
        "accumulative_counts": accumulated,
    }
    schedule = {"type": "LinearLR", "by_epoch": False, "begin": 0, "end": 20}

    def made(**changes):
        noted = Losses()
        saves = {"checkpoint": {"interval": 7, "by_epoch": False, "max_keep_ckpts": -1}}
        options = {"optim_wrapper": wrapper, "param_scheduler": schedule, **changes}
        hooks = {**saves, "logger": None, "report": None}
        runner = Runner(**project(default_hooks=hooks, custom_hooks=[noted], **options))
        return runner, noted

    whole, expected = made(train_dataloader=loader(shuffle=True))
    whole.train()
    place = whole.folder / "checkpoints" / "00000014"
    went_on, found = made(train_dataloader=loader(shuffle=True), resume=str(place))
    went_on.train()
    assert found.noted == expected.noted[14:]
    weights = went_on.model.state_dict()
    assert all(torch.equal(one, weights[name]) for name, one in whole.model.state_dict().items())
