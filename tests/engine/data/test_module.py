"""Data modules: what is called when, once, and by whom."""

from __future__ import annotations

import json
import os
import time
from pathlib import Path

import pytest
import torch
from torch.utils.data import DataLoader

from footplate import Engine
from footplate.engine.data.module import DataModule, DataModuleLoaders, is_data_module
from footplate.engine.placement import ranks
from tests.engine.placement.launching import called_in_processes

pytestmark = pytest.mark.covers("C14")
HERE = "tests.engine.data.test_module"


class Telling(DataModule):
    """Tells what it was asked for."""

    def __init__(self):
        self.calls = []

    def prepare_data(self):
        self.calls.append("prepare")

    def setup(self, stage):
        self.calls.append(f"setup {stage}")
        self.stage = stage

    def train_dataloader(self):
        self.calls.append("train")
        return DataLoader(range(4), batch_size=2)

    def val_dataloader(self):
        self.calls.append("val")
        return [self.stage]

    def test_dataloader(self):
        return {"clean": [1], "noisy": [2]}

    def teardown(self, stage):
        self.calls.append(f"teardown {stage}")


class Duck:
    """Has the names that it needs, and nothing of ours."""

    def setup(self, stage):
        self.stage = stage

    def predict_dataloader(self):
        return [self.stage]


# ------------------------------------------------------------------ when


def test_all_is_done_once_and_in_order():
    module = Telling()
    loaders = DataModuleLoaders(module)
    assert module.calls == []
    train = loaders.loader("train")
    assert loaders.loader("val") == ["fit"]
    assert loaders.loader("train") is train
    assert loaders.loader("val") is loaders.loader("val")
    assert module.calls == ["prepare", "setup fit", "train", "val"]
    assert loaders.loader("test") == {"clean": [1], "noisy": [2]}
    assert module.calls[4:] == ["setup test"]


def test_an_engine_runs_over_it():
    batches = []
    engine = Engine(lambda engine, batch: batches.append(batch.tolist()))
    engine.run(DataModuleLoaders(Telling()).loader("train"))
    assert batches == [[0, 1], [2, 3]]


def test_validation_alone_is_a_stage_of_its_own():
    module = Telling()
    loaders = DataModuleLoaders(module)
    assert loaders.loader("val") == ["validate"]
    assert module.calls == ["prepare", "setup validate", "val"]
    loaders.loader("train")
    assert loaders.loader("val") == ["fit"]
    assert module.calls[3:] == ["setup fit", "train", "val"]


def test_every_stage_is_torn_down_the_last_first():
    module = Telling()
    loaders = DataModuleLoaders(module)
    loaders.teardown()
    assert module.calls == []
    loaders.loader("train")
    loaders.loader("test")
    loaders.teardown()
    assert module.calls[3:] == ["setup test", "teardown test", "teardown fit"]
    loaders.teardown()
    assert len(module.calls) == 6
    loaders.loader("train")
    assert module.calls[6:] == ["setup fit", "train"]


def test_a_teardown_that_fails_stops_no_other():
    class Failing(Telling):
        def teardown(self, stage):
            super().teardown(stage)
            if stage == "test":
                raise OSError("busy")

    module = Failing()
    loaders = DataModuleLoaders(module)
    loaders.loader("train")
    loaders.loader("test")
    with pytest.raises(OSError, match="busy"):
        loaders.teardown()
    assert module.calls[-2:] == ["teardown test", "teardown fit"]


def test_a_setup_that_failed_is_tried_again_and_not_torn_down():
    class Failing(Telling):
        def setup(self, stage):
            super().setup(stage)
            if len(self.calls) < 3:
                raise OSError("no data")

    module = Failing()
    loaders = DataModuleLoaders(module)
    with pytest.raises(OSError, match="no data"):
        loaders.loader("train")
    loaders.teardown()
    assert module.calls == ["prepare", "setup fit"]
    loaders.loader("train")
    assert module.calls[2:] == ["setup fit", "train"]


# ------------------------------------------------------------------ what is one


@pytest.mark.parametrize(
    ("given", "is_one"),
    [
        (DataModule(), True),
        (Telling(), True),
        (Duck(), True),
        (Telling, False),
        (DataLoader(range(2)), False),
        ([1, 2], False),
        (None, False),
        (torch.nn.Linear(1, 1), False),
    ],
)
def test_what_is_one(given, is_one):
    assert is_data_module(given) is is_one


def test_names_are_enough():
    loaders = DataModuleLoaders(Duck())
    assert loaders.loader("predict") == ["predict"]
    loaders.teardown()
    assert loaders.state_dict() == {}
    loaders.load_state_dict({})


def test_one_of_lightning():
    pytorch = pytest.importorskip("lightning.pytorch")

    class Numbers(pytorch.LightningDataModule):
        def setup(self, stage):
            self.stage = stage

        def train_dataloader(self):
            return DataLoader(range(3))

        def val_dataloader(self):
            return [DataLoader(range(2)), DataLoader(range(1))]

    module = Numbers()
    assert is_data_module(module)
    loaders = DataModuleLoaders(module)
    assert len(loaders.loader("train")) == 3
    assert len(loaders.loader("val")) == 2
    assert module.stage == "fit"
    loaders.load_state_dict(loaders.state_dict())
    loaders.teardown()


def test_its_state_is_handed_on():
    class Keeping(Telling):
        def state_dict(self):
            return {"seen": self.seen}

        def load_state_dict(self, state):
            self.seen = state["seen"]

    module = Keeping()
    loaders = DataModuleLoaders(module)
    loaders.load_state_dict({"seen": 7})
    assert (module.seen, loaders.state_dict()) == (7, {"seen": 7})


# ------------------------------------------------------------------ refused


def test_what_is_none_is_refused():
    with pytest.raises(TypeError, match=r"given a list; derive from DataModule"):
        DataModuleLoaders([1])
    with pytest.raises(TypeError, match=r"is an instance; give Telling\(…\)"):
        DataModuleLoaders(Telling)


def test_a_method_that_returns_nothing_is_named():
    with pytest.raises(TypeError, match=r"Telling.predict_dataloader\(\) returned None; override"):
        DataModuleLoaders(Telling()).loader("predict")


def test_what_can_not_be_run_over_is_refused_with_the_method():
    class Odd(Telling):
        def train_dataloader(self):
            return 7

    with pytest.raises(TypeError, match="data of type int") as caught:
        DataModuleLoaders(Odd()).loader("train")
    assert caught.value.__notes__ == ["returned by Odd.train_dataloader()"]


def test_a_method_that_is_missing_is_named():
    with pytest.raises(TypeError, match=r"Duck has no val_dataloader\(\), only loaders for 'predi"):
        DataModuleLoaders(Duck()).loader("val")


def test_an_unknown_name_is_refused_with_the_nearest():
    with pytest.raises(ValueError, match=r"given 'valid'\. Did you mean 'val'"):
        DataModuleLoaders(Telling()).loader("valid")


# ------------------------------------------------------------------ processes


class Downloaded(DataModule):
    """Its data are a file that is written slowly, and must be written once."""

    file = Path("data.json")

    def prepare_data(self):
        time.sleep(0.5)
        with self.file.open("x") as file:
            json.dump({"by": ranks.rank(), "pid": os.getpid()}, file)
        return object()  # which could be sent to nobody

    def setup(self, stage):
        self.by = json.loads(self.file.read_text())["by"]

    def train_dataloader(self):
        return [self.by, ranks.rank()]

    def val_dataloader(self):
        return [self.by]


class Broken(Downloaded):
    def prepare_data(self):
        raise OSError("no network")


def each_process_loads():
    loaders = DataModuleLoaders(Downloaded())
    told = [loaders.loader("train"), loaders.loader("val")]
    try:
        DataModuleLoaders(Broken()).loader("train")
    except Exception as error:
        told.append(f"{type(error).__name__}: {error}")
    return told


def test_one_process_prepares_and_the_others_wait(tmp_path):
    first, second = called_in_processes(f"{HERE}:each_process_loads", tmp_path)
    assert first == [[0, 0], [0], "OSError: no network"]
    assert second[:2] == [[0, 1], [0]]
    assert second[2] == "RuntimeError: the first process failed with OSError: no network"
