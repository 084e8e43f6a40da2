"""Compiling by one option, and checkpoints that interchange."""

from __future__ import annotations

import copy
import shutil

import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from footplate import Engine
from footplate.engine.checkpoints.manifest import Manifest
from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.checkpoints.tensor_file import weights_of
from footplate.engine.errors import StateError
from footplate.engine.step.compiling import compile_model, own_name, uncompiled
from footplate.handlers.checkpoint import Checkpoint


def network() -> nn.Sequential:
    return nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4), nn.Linear(4, 1))


def eager(model: nn.Sequential) -> nn.Module:
    return model


def in_place(model: nn.Sequential) -> nn.Module:
    compile_model(model, {"backend": "aot_eager"})
    return model


def wrapped(model: nn.Sequential) -> nn.Module:
    return torch.compile(model, backend="aot_eager")


def wrapped_within(model: nn.Sequential) -> nn.Module:
    model[0] = torch.compile(model[0], backend="aot_eager")
    return torch.compile(model, backend="aot_eager")


FORMS = [eager, in_place, wrapped, wrapped_within]


class Written(nn.Module):
    """A model with a forward of its own."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = network()

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


@pytest.mark.covers("C10")
@pytest.mark.parametrize("make", [Written, network, lambda: nn.Linear(3, 1)])
def test_compiled_in_place_the_model_is_what_it_was(make):
    torch.manual_seed(0)
    model = make()
    reference, names, forward = copy.deepcopy(model), list(model.state_dict()), model.forward
    batch = torch.randn(5, 3)
    graphs = []

    def backend(graph, inputs):
        graphs.append(graph)
        return graph.forward

    compile_model(model, {"backend": backend, "dynamic": False})
    assert torch.equal(model(batch), reference(batch))
    assert len(graphs) == 1
    assert list(model.state_dict()) == names
    assert model.forward == forward
    copy.deepcopy(model)(torch.randn(6, 3))
    assert len(graphs) == 1


@pytest.mark.parametrize("make", [Written, network])
def test_hooks_of_a_compiled_model_run(make):
    model, seen = make(), []
    model.register_forward_hook(lambda *_: seen.append("hook"))
    compile_model(model, {"backend": "aot_eager"})
    model(torch.randn(5, 3))
    assert seen == ["hook"]


def test_false_is_nothing():
    model = network()
    before = dict(vars(model))
    compile_model(model, False)
    assert vars(model) == before


@pytest.mark.covers("C10")
@pytest.mark.skipif(shutil.which("c++") is None, reason="inductor needs a C++ compiler")
@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_true_is_the_default_of_torch():
    torch.manual_seed(0)
    model = network().eval()
    batch = torch.randn(5, 3)
    expected = model(batch)
    compile_model(model, True)
    torch.testing.assert_close(model(batch), expected)


@pytest.mark.covers("C10")
@pytest.mark.parametrize("reader", FORMS)
@pytest.mark.parametrize("writer", FORMS)
def test_checkpoints_interchange(tmp_path, writer, reader):
    torch.manual_seed(0)
    model = network()
    nn.init.normal_(model[1].running_mean)
    expected = {name: value.clone() for name, value in model.state_dict().items()}
    path = CheckpointStore(tmp_path).save(
        weights_of(writer(model)), {}, Manifest(run="r", iteration=1, epoch=1)
    )
    assert load_file(path / "model.safetensors").keys() == expected.keys()
    other = network()
    CheckpointStore(tmp_path).load_weights(path, reader(other))
    for name, value in other.state_dict().items():
        assert torch.equal(value, expected[own_name(name)])


def test_names_that_are_missing_are_said_without_the_wrapper(tmp_path):
    path = CheckpointStore(tmp_path).save(
        weights_of(nn.Sequential(nn.Linear(3, 4))), {}, Manifest(run="r", iteration=1, epoch=1)
    )
    model = wrapped_within(network())
    before = {name: value.clone() for name, value in model.state_dict().items()}
    with pytest.raises(StateError, match=r"missing: '1\.bias'") as caught:
        CheckpointStore(tmp_path).load_weights(path, model)
    assert "_orig_mod" not in str(caught.value)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())


def test_tied_weights_within_a_wrapper_are_saved_once(tmp_path):
    model = nn.Sequential(nn.Linear(3, 3, bias=False), nn.Linear(3, 3, bias=False))
    model[1].weight = model[0].weight
    expected = model[0].weight.detach().clone()
    model[1] = torch.compile(model[1], backend="eager")
    store = CheckpointStore(tmp_path)
    path = store.save(weights_of(model), {}, Manifest(run="r", iteration=1, epoch=1))
    assert list(load_file(path / "model.safetensors")) == ["0.weight"]
    nn.init.zeros_(model[0].weight)
    store.load_weights(path, model)
    assert torch.equal(model[1].weight, expected)


@pytest.mark.covers("C10")
def test_a_compiled_run_goes_on_eagerly(tmp_path):
    def trained(form, epochs: int) -> nn.Module:
        torch.manual_seed(0)
        inner = network()
        model = form(inner)
        optimizer = torch.optim.SGD(inner.parameters(), lr=0.1, momentum=0.9)

        def step(engine, batch):
            optimizer.zero_grad()
            model(batch).square().mean().backward()
            optimizer.step()

        trainer = Engine(step, name="train")
        checkpoint = trainer.attach(Checkpoint(folder, model, {"optimizer": optimizer}))
        checkpoint.resume(trainer)
        data = list(torch.randn(3, 8, 3, generator=torch.Generator().manual_seed(1)))
        trainer.run(data, max_epochs=epochs)
        return inner

    folder = tmp_path / "whole"
    whole = trained(eager, 2)
    folder = tmp_path / "parts"
    trained(wrapped, 1)
    parts = trained(eager, 2)
    for one, other in zip(whole.state_dict().values(), parts.state_dict().values(), strict=True):
        assert torch.equal(one, other)


def test_uncompiled_takes_all_wrappers_off():
    model = network()
    assert uncompiled(model) is model
    assert uncompiled(wrapped(model)) is model
    assert uncompiled(in_place(model)) is model


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize("options", [1, "default", None, ["mode"]])
def test_other_types_are_refused(options):
    with pytest.raises(TypeError, match="compile is a bool or a dict of keywords"):
        compile_model(network(), options)


def test_an_unknown_keyword_is_refused():
    model = network()
    with pytest.raises(ValueError, match=r"no keyword 'dynamics'.* Did you mean 'dynamic'"):
        compile_model(model, {"dynamics": True})
    with pytest.raises(ValueError, match="no keyword 'model'"):
        compile_model(model, {"model": model})
    assert model._compiled_call_impl is None


def test_a_model_that_is_wrapped_already_is_refused():
    model = wrapped(network())
    with pytest.raises(ValueError, match=r"was compiled by torch\.compile"):
        compile_model(model, True)
    compile_model(model, False)
