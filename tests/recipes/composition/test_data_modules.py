"""Data modules in the place of a loader."""

from __future__ import annotations

import pytest
from ignite.metrics import MeanSquaredError
from torch.utils.data import DataLoader

from footplate.engine.data.module import DataModule
from footplate.engine.events import Events
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.config.registry import DATASETS  # noqa: F401 - that specs are known
from tests.recipes.composition.tools import Numbers, loader, runner

TEST = {"test_evaluator": {"mse": MeanSquaredError()}}
NONE = {"val_dataloader": None, "test_dataloader": None}


class Module(DataModule):
    def __init__(self):
        self.calls = []

    def prepare_data(self):
        self.calls.append("prepare")

    def setup(self, stage):
        self.calls.append(f"setup {stage}")

    def train_dataloader(self):
        self.calls.append("train")
        return DataLoader(Numbers(8), 2)

    def val_dataloader(self):
        self.calls.append("val")
        return {"dataset": Numbers(4), "batch_size": 2}

    def test_dataloader(self):
        self.calls.append("test")
        return DataLoader(Numbers(2), 2)

    def predict_dataloader(self):
        self.calls.append("predict")
        return DataLoader(Numbers(2), 2)

    def teardown(self, stage):
        self.calls.append(f"teardown {stage}")


class Sized(Module):
    def __init__(self, size: int):
        super().__init__()
        self.size = size


@pytest.mark.covers("C14")
def test_a_module_may_be_described(tmp_path):
    spec = {"type": Sized, "size": 3}
    made = runner(tmp_path, train_dataloader=spec, **NONE, **TEST)
    made.train()
    assert (made.iter, made._module.module.size) == (8, 3)
    assert made.test().keys() == {"mse"}
    with pytest.raises(ConfigError, match=r"train_dataloader.siz: Sized takes no 'siz'"):
        runner(tmp_path, train_dataloader={"type": Sized, "siz": 3}, **NONE)
    with pytest.raises(ConfigError, match="the data module in train_dataloader brings all"):
        runner(tmp_path, train_dataloader=spec)


@pytest.mark.covers("C14")
def test_a_module_brings_the_loaders_of_each_call(tmp_path):
    module = Module()
    made = runner(tmp_path, train_dataloader=module, **NONE, **TEST)
    assert module.calls == []
    made.train()
    assert module.calls == ["prepare", "setup fit", "train", "val", "teardown fit"]
    assert "val_mse" in made.trainer.state.metrics
    module.calls.clear()
    made.val()
    made.test()
    made.predict()
    assert module.calls == [
        "setup validate", "val", "teardown validate",
        "setup test", "test", "teardown test",
        "setup predict", "predict", "teardown predict",
    ]  # fmt: skip


@pytest.mark.covers("C14")
def test_training_again_sets_up_again(tmp_path):
    module = Module()
    made = runner(tmp_path, train_dataloader=module, train_cfg={"sanity_check": 1}, **NONE)
    made.train()
    first = made.trainer.handlers["evaluation_val"].data
    module.calls.clear()
    made.train()
    assert module.calls == ["setup fit", "train", "val", "teardown fit"]
    assert made.trainer.handlers["evaluation_val"].data is not first
    assert made.trainer.handlers["sanity_check"].data is not first


@pytest.mark.covers("C14")
def test_a_module_is_torn_down_when_a_run_fails(tmp_path):
    module = Module()
    made = runner(tmp_path, train_dataloader=module, **NONE)
    failing = [True]
    made.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=2), lambda: failing.pop() and None
    )
    made.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=3), lambda: failing.pop() and None
    )
    with pytest.raises(IndexError):
        made.train()
    assert module.calls[-1] == "teardown fit"
    failing.append(True)
    made.train()
    assert made.iter == 8


@pytest.mark.covers("C14")
def test_a_call_within_a_call_leaves_the_data_alone(tmp_path):
    module = Module()
    made = runner(tmp_path, train_dataloader=module, **NONE, **TEST)
    made.trainer.add_event_handler(Events.EPOCH_COMPLETED(once=1), lambda: made.test() and None)
    made.train()
    assert made.iter == 8
    assert [one for one in module.calls if one.startswith("teardown")] == [
        "teardown fit",
        "teardown test",
    ] or module.calls[-2:] == ["teardown test", "teardown fit"]


@pytest.mark.covers("C14")
def test_what_a_module_does_not_have_is_not_there(tmp_path):
    class Training(DataModule):
        def train_dataloader(self):
            return DataLoader(Numbers(8), 2)

    made = runner(tmp_path, train_dataloader=Training(), val_dataloader=None, val_evaluator=None)
    made.train()
    assert made.iter == 8
    with pytest.raises(
        ValueError, match=r"test\(\) needs test_dataloader.*data module that has it"
    ):
        made.test()


@pytest.mark.covers("C14")
def test_objects_with_the_same_methods_will_do(tmp_path):
    class Alike:
        def setup(self, stage):
            self.data = Numbers(4)

        def train_dataloader(self):
            return DataLoader(self.data, 2)

    made = runner(tmp_path, train_dataloader=Alike(), val_dataloader=None, val_evaluator=None)
    made.train()
    assert made.iter == 4


@pytest.mark.covers("C14")
def test_a_module_together_with_loaders_is_refused(tmp_path):
    with pytest.raises(
        ConfigError,
        match=r"val_dataloader: the data module in train_dataloader brings all loaders",
    ):
        runner(tmp_path, train_dataloader=Module(), val_dataloader=loader(2))


@pytest.mark.covers("C14")
def test_data_of_a_module_are_made_anew(tmp_path):
    module = Module()
    cfg = {"reload_every": 1, "max_epochs": 3}
    runner(tmp_path, train_dataloader=module, train_cfg=cfg, **NONE).train()
    assert module.calls.count("train") == 3
    assert module.calls.count("setup fit") == 1


@pytest.mark.covers("C14")
def test_the_state_of_a_module_is_saved_with_a_run(tmp_path):
    class Stateful(Module):
        drawn = 0

        def state_dict(self):
            return {"drawn": self.drawn}

        def load_state_dict(self, state):
            self.drawn = state["drawn"]

    module = Stateful()
    module.drawn = 5
    runner(tmp_path, train_dataloader=module, **NONE).train()
    again = Stateful()
    runner(tmp_path, train_dataloader=again, resume=True, **NONE).train()
    assert again.drawn == 5
