"""Lightning's data modules, and the loaders that a LightningModule has itself."""

from __future__ import annotations

from typing import Any

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import LightningDataModule, LightningModule
from lightning.pytorch.utilities import CombinedLoader
from torch.utils.data import DataLoader

from footplate.engine.data.module import DataModuleLoaders
from footplate.recipes.runner import Runner

pytestmark = [
    pytest.mark.covers("C14"),
    pytest.mark.covers("C4"),
    pytest.mark.filterwarnings("ignore:`isinstance.treespec, LeafSpec:FutureWarning"),
]

QUIET = {"logger": None, "report": None, "runtime_info": None, "checkpoint": None}
SILENT: dict[str, Any] = {"default_hooks": QUIET, "visualizer": False}


def _loader(start: int, batches: int = 2) -> DataLoader:
    return DataLoader(torch.arange(start, start + batches).float()[:, None], batch_size=1)


class Seen(LightningModule):
    """A layer that notes which batches it is given."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(1, 1)
        self.seen: list[Any] = []

    def _note(self, *what: Any) -> None:
        plain = [one.flatten().tolist() if isinstance(one, torch.Tensor) else one for one in what]
        self.seen.append(tuple(plain))

    def training_step(self, batch, batch_idx):
        if isinstance(batch, dict):
            self._note("train", {name: one.item() for name, one in batch.items()})
            batch = sum(batch.values())
        else:
            self._note("train", batch)
        return self.layer(batch).mean()

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        self._note("val", batch, dataloader_idx)

    def test_step(self, batch, batch_idx):
        self._note("test", batch)

    def predict_step(self, batch, batch_idx):
        return batch

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


class Numbers(LightningDataModule):
    """Numbers, and notes of what it is asked for."""

    def __init__(self, first: int = 0) -> None:
        super().__init__()
        self.save_hyperparameters()
        self.called: list[str] = []

    def prepare_data(self):
        self.called.append("prepare")

    def setup(self, stage):
        self.called.append(f"setup {stage}")

    def train_dataloader(self):
        self.called.append("train")
        return _loader(self.hparams.first)

    def val_dataloader(self):
        return [_loader(10), _loader(20, 1)]

    def test_dataloader(self):
        return _loader(30)

    def predict_dataloader(self):
        return _loader(40)

    def teardown(self, stage):
        self.called.append(f"teardown {stage}")

    def state_dict(self):
        return {"called": len(self.called)}

    def load_state_dict(self, state_dict):
        self.restored = state_dict


def test_a_data_module_brings_all_loaders_by_lightnings_stages(tmp_path):
    data, module = Numbers(first=5), Seen()
    runner = Runner(module, tmp_path, train_dataloader=data, **SILENT)
    runner.train()
    assert data.trainer is module.trainer
    assert module.trainer.datamodule is data
    assert module.seen == [
        ("train", [5.0]),
        ("train", [6.0]),
        ("val", [10.0], 0),
        ("val", [11.0], 0),
        ("val", [20.0], 1),
    ]
    runner.test()
    assert runner.predict().flatten().tolist() == [40.0, 41.0]
    assert data.called == [
        *("prepare", "setup fit", "train", "teardown fit"),
        *("setup test", "teardown test", "setup predict", "teardown predict"),
    ]


def test_its_state_is_saved_and_comes_back(tmp_path):
    hooks = {**QUIET, "checkpoint": {}}
    options: dict[str, Any] = {"experiment_name": "run", "visualizer": False}
    Runner(Seen(), tmp_path, train_dataloader=Numbers(), default_hooks=hooks, **options).train()
    data = Numbers()
    Runner(
        Seen(),
        tmp_path,
        train_dataloader=data,
        train_cfg={"max_epochs": 2},
        default_hooks=hooks,
        resume=True,
        **options,
    ).train()
    assert data.restored == {"called": 3}


class Own(Seen):
    """A module that has its loaders itself."""

    def prepare_data(self):
        self._note("prepare")

    def setup(self, stage):
        self._note("setup", stage)

    def train_dataloader(self):
        return _loader(0)

    def val_dataloader(self):
        return _loader(10, 1)


def test_a_module_may_have_its_own_loaders(tmp_path):
    module = Own()
    Runner(module, tmp_path, **SILENT).train()
    assert module.seen == [
        ("prepare",),
        ("setup", "fit"),
        ("train", [0.0]),
        ("train", [1.0]),
        ("val", [10.0], 0),
    ]


def test_loaders_that_are_given_go_before_its_own(tmp_path):
    module = Own()
    Runner(module, tmp_path, train_dataloader=_loader(7, 1), **SILENT).train()
    assert module.seen[2:] == [("train", [7.0]), ("val", [10.0], 0)]


def test_loaders_that_are_given_may_be_built(tmp_path):
    module = Own()
    made = {"dataset": torch.tensor([[7.0], [8.0]]), "batch_size": 2}
    Runner(module, tmp_path, train_dataloader=made, **SILENT).train()
    assert module.seen[2:] == [("train", [7.0, 8.0]), ("val", [10.0], 0)]


def test_a_module_without_loaders_is_told_which_argument_is_missing(tmp_path):
    with pytest.raises(ValueError, match=r"train\(\) needs train_dataloader"):
        Runner(Seen(), tmp_path, **SILENT).train()


def test_methods_of_the_base_class_are_no_loaders():
    class Trains(LightningDataModule):
        def train_dataloader(self):
            return _loader(0)

    assert DataModuleLoaders(Trains()).has("train")
    assert not DataModuleLoaders(Trains()).has("val")
    made = LightningDataModule.from_datasets(val_dataset=torch.ones(2, 1), batch_size=1)
    assert DataModuleLoaders(made).has("val")


def test_several_training_loaders_last_as_long_as_the_longest(tmp_path):
    class Several(Numbers):
        def train_dataloader(self):
            return {"a": _loader(0, 3), "b": _loader(10, 2)}

    module = Seen()
    cfg = {"max_epochs": 1}
    Runner(module, tmp_path, train_dataloader=Several(), train_cfg=cfg, **SILENT).train()
    assert [one[1] for one in module.seen if one[0] == "train"] == [
        {"a": 0.0, "b": 10.0},
        {"a": 1.0, "b": 11.0},
        {"a": 2.0, "b": 10.0},
    ]


@pytest.mark.parametrize(("mode", "batches"), [("min_size", 2), ("max_size_cycle", 3)])
def test_a_combined_loader_is_taken_apart(tmp_path, mode, batches):
    loader = CombinedLoader({"a": _loader(0, 3), "b": _loader(10, 2)}, mode)
    module = Seen()
    Runner(module, tmp_path, train_dataloader=loader, **SILENT).train()
    assert len(module.seen) == batches


def test_a_combined_loader_evaluates_one_loader_behind_the_other(tmp_path):
    loader = CombinedLoader([_loader(0, 1), _loader(10, 1)], "sequential")
    module = Seen()
    Runner(module, tmp_path, val_dataloader=loader, **SILENT).val()
    assert module.seen == [("val", [0.0], 0), ("val", [10.0], 1)]


def test_a_mode_that_pads_is_refused(tmp_path):
    loader = CombinedLoader([_loader(0, 1), _loader(10, 2)], "max_size")
    with pytest.raises(ValueError, match=r"mode='max_size'.*'min_size' and 'max_size_cycle'"):
        Runner(Seen(), tmp_path, train_dataloader=loader, **SILENT).train()


def test_hooks_move_batches_the_data_modules_first(tmp_path):
    class Moves(Numbers):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            return batch + 100

        def val_dataloader(self):
            return [_loader(10, 1), _loader(20, 1)]

    class Shifted(Seen):
        def on_before_batch_transfer(self, batch, dataloader_idx):
            raise AssertionError("the data module's goes before it")

        def transfer_batch_to_device(self, batch, device, dataloader_idx):
            self._note("to", device.type, dataloader_idx)
            return batch.to(device)

        def on_after_batch_transfer(self, batch, dataloader_idx):
            return batch * 2

    module = Shifted()
    Runner(module, tmp_path, train_dataloader=Moves(), **SILENT).train()
    assert module.seen[:2] == [("to", "cpu", 0), ("train", [200.0])]
    assert module.seen[-2:] == [("to", "cpu", 1), ("val", [240.0], 1)]


def test_training_data_are_made_anew(tmp_path):
    data = Numbers()
    cfg = {"max_epochs": 3, "reload_every": 1}
    Runner(Seen(), tmp_path, train_dataloader=data, train_cfg=cfg, **SILENT).train()
    assert data.called.count("train") == 3
    assert data.called.count("setup fit") == 1
