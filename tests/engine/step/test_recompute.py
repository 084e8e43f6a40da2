"""Activation checkpointing: the same bits, in less memory."""

from __future__ import annotations

import copy
import pickle

import pytest
import torch
from torch import Tensor, nn

from footplate.engine.step.recompute import keep_activations, recompute_activations


class Block(nn.Module):
    """Convolution, norms with statistics, dropout, and a keyword that checkpoint has, too."""

    def __init__(self) -> None:
        super().__init__()
        self.conv = nn.Conv2d(4, 4, 3, padding=1)
        self.batch_norm = nn.BatchNorm2d(4)
        self.instance_norm = nn.InstanceNorm2d(4, affine=True, track_running_stats=True)
        self.dropout = nn.Dropout(0.3)

    def forward(self, x: Tensor, debug: float = 1.0) -> Tensor:
        y = self.instance_norm(self.batch_norm(self.conv(x)))
        return x + debug * self.dropout(torch.relu(y))


class Network(nn.Module):
    """Blocks and a head."""

    def __init__(self) -> None:
        super().__init__()
        self.blocks = nn.Sequential(Block(), Block(), Block())
        self.last = Block()
        self.head = nn.Linear(4, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.last(self.blocks(x), debug=2.0).mean((2, 3)))


def network() -> Network:
    torch.manual_seed(0)
    return Network()


def trained(model: nn.Module, steps: int = 3) -> list[Tensor]:
    """Gradients of the last step, weights, statistics, and what the generator draws next."""
    torch.manual_seed(1)
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1)
    for _ in range(steps):
        optimizer.zero_grad()
        model(torch.randn(3, 4, 6, 6)).square().mean().backward()
        optimizer.step()
    gradients = [one.grad.clone() for one in model.parameters()]
    return [*gradients, *(one.clone() for one in model.state_dict().values()), torch.rand(1)]


def calls_of(block: Block) -> list[str]:
    """Grows with each time that a block runs."""
    calls: list[str] = []
    block.conv.register_forward_hook(lambda *_: calls.append("again"))
    return calls


def same(one: list[Tensor], other: list[Tensor]) -> bool:
    return all(torch.equal(a, b) for a, b in zip(one, other, strict=True))


def kept(model: nn.Module) -> int:
    """Bytes that a forward pass keeps for the gradients."""
    sizes = {}

    def pack(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        sizes[storage.data_ptr()] = storage.nbytes()
        held.append(tensor)
        return tensor

    held: list[Tensor] = []
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda tensor: tensor):
        model(torch.randn(8, 4, 16, 16)).sum()
    return sum(sizes.values())


@pytest.mark.covers("C11")
@pytest.mark.parametrize("which", [["blocks.*", "last"], [Block], ["blocks"], [nn.Sequential]])
def test_gradients_weights_and_statistics_have_the_same_bits(which):
    model, other = network(), network()
    names = list(model.state_dict())
    recompute_activations(model, *which)
    calls = calls_of(model.blocks[0])
    assert same(trained(model), trained(other))
    assert len(calls) == 6  # forward and again, in three steps
    assert list(model.state_dict()) == names


@pytest.mark.covers("C11")
def test_less_is_kept():
    model = network()
    before = kept(model)
    recompute_activations(model, Block)
    after = kept(model)
    assert after < before / 4
    keep_activations(model)
    assert kept(model) == before


@pytest.mark.covers("C11")
def test_the_outermost_of_what_matches_is_meant():
    model = network()
    assert recompute_activations(model, "blocks.*") == ["blocks.0", "blocks.1", "blocks.2"]
    assert keep_activations(model) == ["blocks.0", "blocks.1", "blocks.2"]
    assert recompute_activations(model, Block, nn.Sequential) == ["blocks", "last"]
    keep_activations(model)
    nested = nn.Sequential(nn.Sequential(nn.Linear(2, 2)), nn.Linear(2, 2))
    assert recompute_activations(nested, nn.Sequential) == ["0"]  # never the model itself


def test_in_evaluation_and_without_gradients_nothing_runs_twice():
    model = network()
    recompute_activations(model, Block)
    calls = calls_of(model.last)
    with torch.no_grad():
        model(torch.randn(2, 4, 6, 6))
    assert len(calls) == 1
    model.eval()
    model(torch.randn(2, 4, 6, 6)).sum().backward()
    assert len(calls) == 2


def test_a_graph_may_be_walked_twice():
    model, other = network(), network()
    recompute_activations(model, Block)
    results = []
    for one in (model, other):
        torch.manual_seed(1)
        loss = one(torch.randn(3, 4, 6, 6)).sum()
        loss.backward(retain_graph=True)
        loss.backward()
        results.append([p.grad for p in one.parameters()] + list(one.buffers()))
    assert same(*results)


def test_autocast_is_as_it_was_in_the_forward_pass():
    model, other = network(), network()
    recompute_activations(model, Block)
    results = []
    for one in (model, other):
        torch.manual_seed(1)
        with torch.autocast("cpu", torch.bfloat16):
            loss = one(torch.randn(3, 4, 6, 6)).float().sum()
        loss.backward()
        results.append([p.grad for p in one.parameters()])
    assert same(*results)


@pytest.mark.covers("C11")
@pytest.mark.parametrize("duplicate", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_recomputes_its_own(duplicate):
    model = network()
    recompute_activations(model, Block)
    other = duplicate(model)
    calls = calls_of(model.last), calls_of(other.last)
    result = trained(other)
    assert list(map(len, calls)) == [0, 6]
    assert same(result, trained(network()))
    assert keep_activations(other) == ["blocks.0", "blocks.1", "blocks.2", "last"]
    assert type(other.last) is Block
    assert type(model.last) is not Block
    assert isinstance(model.last, Block)


def test_without_its_generator_dropout_is_drawn_anew():
    model, other = network(), network()
    recompute_activations(model, Block, preserve_rng_state=False)
    assert not same(trained(model, steps=1), trained(other, steps=1))


@pytest.mark.covers("C11")
def test_hooks_run_once():
    model, seen = network(), []
    recompute_activations(model, Block)
    model.last.register_forward_hook(lambda *_: seen.append("forward"))
    model.last.register_full_backward_hook(lambda *_: seen.append("backward"))
    model(torch.randn(2, 4, 6, 6)).sum().backward()
    assert seen == ["forward", "backward"]


def test_it_works_in_a_compiled_model():
    model, other = network(), network()
    recompute_activations(model, Block)
    model.compile(backend="aot_eager")
    assert same(trained(model), trained(other))


def test_names_are_those_of_the_model_that_is_not_compiled():
    model = network()
    model.last = torch.compile(model.last, backend="aot_eager")
    assert recompute_activations(torch.compile(model, backend="aot_eager"), "last") == ["last"]
    assert keep_activations(model) == ["last"]


def test_a_shared_module_is_changed_once():
    layer = nn.Linear(2, 2)
    model = nn.Sequential(layer, nn.ReLU(), layer)
    assert recompute_activations(model, nn.Linear) == ["0", "2"]
    model(torch.randn(3, 2)).sum().backward()
    keep_activations(model)
    assert type(layer) is nn.Linear


# ------------------------------------------------------------------ refused


@pytest.mark.covers("C11")
@pytest.mark.parametrize(
    ("which", "message"),
    [
        ("block.0", r"no submodule is named 'block.0'\. Did you mean 'blocks.0'\?"),
        (nn.LayerNorm, r"no submodule is a LayerNorm; there are .*BatchNorm2d"),
    ],
)
def test_what_matches_nothing_is_an_error(which, message):
    model = network()
    with pytest.raises(ValueError, match=message):
        recompute_activations(model, "last", which)
    assert keep_activations(model) == []


@pytest.mark.parametrize("which", ["last", "last.conv", "blocks"])
def test_what_recomputes_already_is_refused(which):
    model = network()
    recompute_activations(model, "last", "blocks.1")
    with pytest.raises(ValueError, match=r"does already; call keep_activations\(model\)"):
        recompute_activations(model, which)


@pytest.mark.parametrize("which", [3, Tensor, nn.ReLU()])
def test_neither_name_nor_class_is_refused(which):
    with pytest.raises(TypeError, match="give names or classes of submodules"):
        recompute_activations(network(), which)


def test_a_forward_that_was_replaced_is_refused():
    model = network()
    model.last.forward = lambda x, debug: x
    with pytest.raises(ValueError, match="'last' has a forward of its own"):
        recompute_activations(model, "last")


def test_recomputing_nothing_is_refused():
    with pytest.raises(ValueError, match="was told no module; give names"):
        recompute_activations(torch.nn.Linear(1, 1))
