"""A script has a checkpoint and nothing else."""

from __future__ import annotations

import subprocess
import sys
from dataclasses import FrozenInstanceError, dataclass, field
from enum import Enum
from itertools import pairwise
from pathlib import Path

import pytest
import torch

import footplate
from footplate import Engine, hyper_parameters, load_checkpoint, load_from
from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.checkpoints.tensor_file import weights_of
from footplate.engine.errors import StateError
from tests.engine.checkpoints.saves import manifest, save, state


class Activation(Enum):
    RELU = "relu"
    TANH = "tanh"


@dataclass
class Size:
    hidden: int = 4
    layers: tuple[int, ...] = (3, 2)


class Net(torch.nn.Module):
    def __init__(self, inputs: int, size: Size, activation: Activation, loss=None) -> None:
        super().__init__()
        self.made_with = hyper_parameters(
            {"inputs": inputs, "size": size, "activation": activation, "loss": loss}, ignore="loss"
        )
        self.loss = loss
        self.activation = activation
        widths = (inputs, size.hidden, *size.layers)
        self.layers = torch.nn.ModuleList(torch.nn.Linear(a, b) for a, b in pairwise(widths))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = getattr(torch, self.activation.value)(layer(x))
        return x


@dataclass
class Config:
    size: Size = field(default_factory=Size)
    lr: float = 0.1
    folder: Path = Path("data")


@pytest.fixture
def net() -> Net:
    torch.manual_seed(0)
    return Net(5, Size(7, (6, 3)), Activation.TANH)


def saved(folder: Path, net: Net, config: dict, iteration: int = 3) -> Path:
    given = manifest(iteration, config=config, metrics={"loss": 0.5})
    return CheckpointStore(folder).save(weights_of(net), state(iteration), given)


@pytest.mark.covers("H7")
def test_a_model_is_rebuilt_from_its_checkpoint_alone(tmp_path, net):
    x = torch.randn(11, 5)
    checkpoint = load_checkpoint(saved(tmp_path, net, net.made_with))
    again = checkpoint.build(Net)
    assert not torch.equal(again(x), net(x))
    assert not checkpoint.into(again)
    assert torch.equal(again(x), net(x))
    assert again.activation is Activation.TANH
    assert again.made_with == net.made_with == checkpoint.config


@pytest.mark.covers("H7")
def test_another_process_rebuilds_a_run_that_was_trained(tmp_path):
    """Of the run there is nothing but the checkpoint, and the source of its classes."""
    folder = tmp_path / "run/checkpoints"
    (tmp_path / "own_net.py").write_text(
        "import torch\n"
        "class OwnNet(torch.nn.Sequential):\n"
        "    def __init__(self, width: int = 1):\n"
        "        super().__init__(torch.nn.Linear(2, width), torch.nn.Dropout(0.5))\n"
    )
    train = f"""
import torch
from footplate import Engine, hyper_parameters
from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.checkpoints.tensor_file import weights_of
from footplate.engine.checkpoints.manifest import Manifest
from own_net import OwnNet
config = hyper_parameters({{"width": 3}})
model = OwnNet(**config)
optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
def step(engine, batch):
    optimizer.zero_grad()
    model(batch).square().sum().backward()
    optimizer.step()
trainer = Engine(step)
trainer.run([torch.ones(4, 2)] * 3, max_epochs=2)
manifest = Manifest(run="r", iteration=6, epoch=2, config=config)
CheckpointStore({str(folder)!r}).save(weights_of(model), trainer.state_dict(), manifest)
print(model.eval()(torch.ones(1, 2)).tolist())
"""
    use = f"""
import torch
from footplate import load_checkpoint
from own_net import OwnNet
checkpoint = load_checkpoint({str(tmp_path / "run")!r})
model = checkpoint.build(OwnNet)
checkpoint.into(model)
print(model.eval()(torch.ones(1, 2)).tolist())
"""
    said = [
        subprocess.run(
            [sys.executable, "-c", program],
            cwd=tmp_path,
            capture_output=True,
            text=True,
            check=True,
            timeout=120,
        ).stdout
        for program in (train, use)
    ]
    assert said[0] == said[1] != ""


@pytest.mark.covers("H7")
def test_a_part_of_the_hyper_parameters(tmp_path, net):
    config = hyper_parameters({"model": net.made_with, "run": Config(lr=0.5)})
    checkpoint = load_checkpoint(saved(tmp_path, net, config))
    assert checkpoint.build(Config, "run") == Config(lr=0.5)
    assert checkpoint.build(Size, "model.size") == Size(7, (6, 3))
    again = checkpoint.build(Net, "model", loss="given again", activation=Activation.RELU)
    assert (again.loss, again.activation) == ("given again", Activation.RELU)
    assert not checkpoint.into(again)


@pytest.mark.parametrize(
    ("part", "said"),
    [
        ("modle", r"'modle' is no part of 'model', 'lr'\. Did you mean 'model'"),
        ("model.sizes", r"'sizes' is no part of .*'size', .* Did you mean 'size'"),
        ("lr", "'lr' is no part of"),
        ("model.size.hidden.x", "'hidden' is no part of"),
    ],
)
def test_a_part_that_is_not_there_is_refused(tmp_path, net, part, said):
    path = saved(tmp_path, net, {"model": net.made_with, "lr": 0.5})
    with pytest.raises(StateError, match=f"{path} has no hyper-parameters of '{part}', .*{said}"):
        load_checkpoint(path).build(Net, part)


def test_what_was_not_saved_is_named(tmp_path, net):
    checkpoint = load_checkpoint(saved(tmp_path, net, {}))
    with pytest.raises(StateError, match="Net requires 'inputs', which was not saved"):
        checkpoint.build(Net)


def test_all_of_it_is_there(tmp_path, net):
    path = saved(tmp_path, net, {"lr": 0.1})
    checkpoint = load_checkpoint(path)
    assert checkpoint.path == path
    assert (checkpoint.manifest.iteration, checkpoint.manifest.metrics) == (3, {"loss": 0.5})
    assert checkpoint.config == {"lr": 0.1}
    assert torch.equal(checkpoint.state["moments"], torch.full((10,), 3))
    assert checkpoint.weights.keys() == net.state_dict().keys()
    assert all(torch.equal(value, checkpoint.weights[k]) for k, value in net.state_dict().items())
    assert repr(checkpoint) == f"LoadedCheckpoint(path={path!r})"
    with pytest.raises(FrozenInstanceError):
        checkpoint.path = tmp_path


def test_the_state_of_an_engine_goes_into_an_engine(tmp_path):
    trainer = Engine(lambda engine, batch: None)
    trainer.run([1, 2], max_epochs=3)
    path = CheckpointStore(tmp_path).save({}, trainer.state_dict(), manifest(6))
    again = Engine(lambda engine, batch: None)
    again.load_state_dict(load_checkpoint(path).state)
    assert again.state.iteration == 6


def test_weights_that_do_not_fit_are_refused_by_checkpoint_and_name(tmp_path, net):
    path, model = saved(tmp_path, net, {}), torch.nn.Linear(2, 1)
    with pytest.raises(StateError, match=rf"{path}: the weights do not fit the Linear:\nmissing"):
        load_checkpoint(path).into(model)
    report = load_checkpoint(path).into(model, strict=False)
    assert list(report.missing) == ["weight", "bias"]


@pytest.mark.covers("G6")
def test_a_folder_stands_for_the_newest_in_it(tmp_path, net, monkeypatch):
    newest = [saved(tmp_path / "run/checkpoints", net, {}, iteration) for iteration in (1, 2)][-1]
    for folder in (tmp_path, tmp_path / "run", str(tmp_path / "run/checkpoints")):
        assert load_checkpoint(folder).path == newest
    monkeypatch.chdir(tmp_path / "run")
    assert load_checkpoint("checkpoints").path == load_checkpoint(".").path == newest
    monkeypatch.setenv("HOME", str(tmp_path))
    assert load_checkpoint("~/run/checkpoints/00000002").path == newest


def test_a_relative_path_is_one_from_here(tmp_path, net, monkeypatch):
    path = saved(tmp_path / "run", net, {})
    saved(tmp_path / "run/run", net, {})
    monkeypatch.chdir(tmp_path)
    assert load_checkpoint("run/00000003").path == path


@pytest.mark.covers("G6")
def test_no_checkpoint_of_a_like_name_elsewhere_is_taken(tmp_path, net, monkeypatch):
    saved(tmp_path, net, {})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StateError, match=r"there is no checkpoint '.*nowhere/00000003'"):
        load_checkpoint("nowhere/00000003")
    with pytest.raises(StateError, match=r"its last are '00000003'\) nor at that path\. G"):
        load_checkpoint("00000004")


def test_the_words_of_resume_are_names_here(tmp_path, net, monkeypatch):
    saved(tmp_path, net, {})
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StateError, match=r"there is no checkpoint '.*last'"):
        load_checkpoint("last")


@pytest.mark.covers("G6")
def test_digests_are_compared_unless_that_is_not_wanted(tmp_path, net):
    path = saved(tmp_path, net, {})
    file = path / "model.safetensors"
    data = file.read_bytes()
    file.write_bytes(data[:-1] + bytes([data[-1] ^ 1]))
    with pytest.raises(StateError, match=f"{file} is not as it was written"):
        load_checkpoint(path)
    assert load_checkpoint(path, digests=False).path == path
    with (
        pytest.raises(StateError, match="no whole, exact checkpoint"),
        pytest.warns(RuntimeWarning, match="passed over"),
    ):
        load_checkpoint(tmp_path)


def test_one_for_inspection_can_be_looked_at(tmp_path):
    path = save(CheckpointStore(tmp_path), 2, exact=False, error="ValueError: boom")
    assert load_checkpoint(path).manifest.error == "ValueError: boom"


def test_a_url_is_refused():
    with pytest.raises(StateError, match=r"'s3://b/x' is not on a disk; copy the directory"):
        load_checkpoint("s3://b/x")


def test_the_facade_has_them():
    assert {"hyper_parameters", "load_checkpoint", "load_from"} <= set(dir(footplate))
    assert load_from is footplate.engine.checkpoints.weights.load_from
    with pytest.raises(AttributeError, match=r"Did you mean 'load_checkpoint'\?"):
        footplate.load_checkpoints  # noqa: B018
