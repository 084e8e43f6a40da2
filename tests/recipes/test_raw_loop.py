"""Loops that stay their owner's: what they compute, what they are spared, and how they go on."""

from __future__ import annotations

import copy
import gc
import io
import multiprocessing
import pickle
import signal
import subprocess
import sys
import warnings
import weakref
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.optim.swa_utils import AveragedModel
from torch.utils.data import DataLoader, Dataset, IterableDataset, TensorDataset

from footplate import Engine, Events, load_checkpoint
from footplate.engine.data.device import DeviceLoader
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.data.order import ordered_loader
from footplate.engine.errors import DataError, StateError
from footplate.engine.step.accumulation import Accumulation
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.training import training_step
from footplate.handlers.checkpoint import Checkpoint
from footplate.recipes.raw_loop import setup

pytestmark = [
    pytest.mark.covers("C13"),
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),  # by torchdata
]
ROOT = Path(__file__).parents[2]


# ------------------------------------------------------------------ killed


def run(folder, *arguments, status=0):
    command = [sys.executable, "-m", "tests.recipes.raw_loop_run", str(folder), *arguments]
    ended = subprocess.run(command, check=False, cwd=ROOT, capture_output=True, text=True)
    assert ended.returncode == status, ended.stderr
    return ended.stdout.split()


def kill(folder, at, *arguments):
    return run(folder, "--kill-at", str(at), *arguments, status=-signal.SIGKILL)


@pytest.fixture(scope="module")
def unbroken(tmp_path_factory):
    (digest,) = run(tmp_path_factory.mktemp("unbroken"))
    return digest


def test_the_loop_computes_what_one_by_hand_does(unbroken, tmp_path):
    assert run(tmp_path, "--by-hand") == [unbroken]


@pytest.mark.parametrize(
    ("at", "name"),
    [
        (5, "00000004"),  # amid an epoch and amid a window, one iteration behind the save
        (14, "00000014"),  # behind the last update of an epoch, which is not over
        (-14, "00000014-2"),  # behind the save that ends it
    ],
)
def test_a_killed_loop_goes_on_to_the_same_bits(unbroken, tmp_path, at, name):
    kill(tmp_path, at)
    assert run(tmp_path, "--resume") == ["resumed", "at", name, unbroken]


def test_a_loop_that_is_killed_twice(unbroken, tmp_path):
    kill(tmp_path, 8)
    kill(tmp_path, 17, "--resume")
    assert run(tmp_path, "--resume") == ["resumed", "at", "00000016", unbroken]


def test_worker_processes_go_on_to_the_same_bits(tmp_path):
    (digest,) = run(tmp_path / "unbroken", "--workers", "2")
    kill(tmp_path, 11, "--workers", "2")
    ended = run(tmp_path, "--resume", "--workers", "2")
    assert ended == ["resumed", "at", "00000010", digest]


# ------------------------------------------------------------------ going on, within one process


class Made:
    """A loop over five batches, and what it had."""

    def __init__(self, folder, kind="loader", seed=0, **options):
        torch.manual_seed(7)
        data = TensorDataset(torch.randn(18, 3), torch.randn(18, 1))
        torch.manual_seed(seed)
        self.net = nn.Sequential(nn.Linear(3, 8), nn.Dropout(0.5), nn.Linear(8, 1))
        sgd = torch.optim.SGD(self.net.parameters(), lr=0.05, momentum=0.9)
        options = {"device": "cpu", "checkpoints": folder, "accumulate": 2, **options}
        self.loop = setup(self.net, sgd, data_of(kind, data), **options)
        self.seen = []

    def train(self, n=3, stop=None, leave=None, save_at=()):
        """Train; and stop in the midst, or leave each epoch, behind so many batches."""
        for _ in self.loop.epochs(n):
            for number, (x, y) in enumerate(self.loop.batches(), 1):
                self.seen.append(x.sum().item())
                self.loop.update(F.mse_loss(self.loop.model(x), y))
                if self.loop.iteration in save_at:
                    self.loop.save()
                if self.loop.iteration == stop:
                    self.loop.save()
                    return self
                if number == leave:
                    break
            if leave is not None and self.loop.iteration == -(stop or 0):
                self.loop.save()
                return self
        return self

    @property
    def vector(self):
        return nn.utils.parameters_to_vector(self.net.parameters()).detach().clone()


class Counting(IterableDataset):
    """Batches in another order each time, without indices, that say where they stand."""

    def __init__(self, data):
        self.data, self.passes, self.at, self.first = data, 0, 0, 0

    def __iter__(self):
        self.at, self.first = self.first, 0
        self.passes += not self.at
        while self.at < 5:
            self.at += 1
            first = 4 * ((self.at + self.passes) % 5)
            x, y = self.data[first : first + 4]
            yield x + torch.randn(x.shape), y

    def state_dict(self):
        return {"at": self.at, "passes": self.passes}

    def load_state_dict(self, state):
        self.first, self.passes = state["at"], state["passes"]


class Noisy(Dataset):
    """Samples with noise from a generator that is the data set's own."""

    def __init__(self, data):
        self.data, self.own = data, torch.Generator().manual_seed(9)

    def __len__(self):
        return len(self.data)

    def __getitem__(self, index):
        x, y = self.data[index]
        return x + torch.randn(x.shape, generator=self.own), y

    def state_dict(self):
        return {"own": self.own.get_state()}

    def load_state_dict(self, state):
        self.own.set_state(state["own"])


def data_of(kind, data):
    x, y = data.tensors
    if kind == "list":
        return list(zip(x.split(4), y.split(4), strict=True))
    if kind == "in memory":
        return InMemoryLoader(data, 4, shuffle=True, seed=3)
    if kind == "ordered":
        return ordered_loader(data, batch_size=4, shuffle=True, seed=3)
    if kind == "own generator":
        return DataLoader(data, 4, shuffle=True, generator=torch.Generator().manual_seed(5))
    if kind == "stateful":
        stateful = pytest.importorskip("torchdata.stateful_dataloader").StatefulDataLoader
        return stateful(data, batch_size=4, shuffle=True)
    if kind == "noisy":
        return DataLoader(Noisy(data), 4, shuffle=True)
    if kind == "iterable":
        return DataLoader(Counting(data), batch_size=None)
    if kind == "generator":
        return Generated(data)
    return DataLoader(data, 4, shuffle=True)


class Generated:
    """Batches that no one can be told to stand behind, and nobody knows the number of."""

    def __init__(self, data):
        self.data = data

    def __iter__(self):
        x, y = self.data.tensors
        yield from zip(x.split(4), y.split(4), strict=True)


KINDS = [
    "loader",
    "list",
    "in memory",
    "ordered",
    "own generator",
    "stateful",
    "noisy",
    "iterable",
]


@pytest.mark.parametrize("at", [1, 3, 5, 7, 10])
@pytest.mark.parametrize("kind", KINDS)
def test_any_data_go_on_to_the_same_bits(tmp_path, kind, at):
    whole = Made(tmp_path / "whole", kind).train()
    cut = Made(tmp_path / "cut", kind).train(stop=at)
    assert cut.seen == whole.seen[:at]
    again = Made(tmp_path / "cut", kind, seed=1)
    assert again.loop.resume().name == f"{at:08d}"
    again.train()
    assert again.seen == whole.seen[at:]
    assert torch.equal(again.vector, whole.vector)


@pytest.mark.filterwarnings("ignore:the run goes on behind batch")
@pytest.mark.parametrize("at", [3, 5])
def test_data_without_a_length_go_on(tmp_path, at):
    whole = Made(tmp_path / "whole", "generator").train()
    Made(tmp_path / "cut", "generator").train(stop=at)
    again = Made(tmp_path / "cut", "generator", seed=1)
    again.loop.resume()
    assert torch.equal(again.train().vector, whole.vector)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("at", [3, -3, 6, -6])
def test_epochs_that_are_left_go_on_to_the_same_bits(tmp_path, kind, at):
    whole = Made(tmp_path / "whole", kind).train(leave=3)
    assert len(whole.seen) == 9
    Made(tmp_path / "cut", kind).train(leave=3, stop=at)
    again = Made(tmp_path / "cut", kind, seed=1)
    again.loop.resume()
    if at < 0:  # the epoch was over; else it goes on, as nobody says so yet
        again.train(leave=3)
        assert again.seen == whole.seen[-at:]
        assert torch.equal(again.vector, whole.vector)
    else:
        assert next(again.loop.epochs(3)) == at // 3


def barred(folder, leave, stop=None):
    """The batches that epochs see which are left behind the second, under a bar kept by name."""
    tqdm = pytest.importorskip("tqdm").tqdm
    made, seen = Made(folder), []
    loop = made.loop
    loop.resume()
    for epoch in loop.epochs(2):
        bar = tqdm(loop.batches(), file=io.StringIO())
        for number, (x, y) in enumerate(bar, 1):
            loop.update(F.mse_loss(loop.model(x), y))
            seen.append((epoch, x.sum().item()))
            if number == 2:
                if leave == "in place of break":
                    loop.leave()
                else:
                    break
        if leave == "behind it":
            loop.leave()
        loop.save()
        if epoch == stop:
            break
    return seen, made.vector


@pytest.mark.parametrize("leave", ["behind it", "in place of break"])
def test_an_epoch_under_a_bar_is_left_by_name(tmp_path, leave):
    whole, weights = barred(tmp_path / "whole", leave)
    assert [epoch for epoch, _ in whole] == [1, 1, 2, 2]
    barred(tmp_path / "cut", leave, stop=1)
    seen, again = barred(tmp_path / "cut", leave)
    assert seen == whole[2:]
    assert torch.equal(again, weights)


@pytest.mark.filterwarnings("ignore:epoch 2 was left behind a save")
def test_a_break_under_a_bar_that_is_not_named_is_told_of(tmp_path):
    with pytest.warns(RuntimeWarning, match=r"epoch 1 was left .*call loop.leave\(\) before save"):
        barred(tmp_path, leave="by break")


def test_leaving_belongs_to_an_epoch(tmp_path):
    loop = Made(tmp_path).loop
    with pytest.raises(RuntimeError, match=r"leave\(\) was called outside of an epoch"):
        loop.leave()
    for _ in loop.epochs(2):
        loop.leave()  # before it has begun
        for x, y in loop.batches():
            loop.update(F.mse_loss(loop.model(x), y))
        loop.leave()
    assert loop.iteration == 10


def test_saving_changes_nothing(tmp_path):
    often = Made(tmp_path / "often").train(save_at=range(1, 16))
    assert torch.equal(often.vector, Made(tmp_path / "never").train().vector)


@pytest.mark.parametrize("precision", ["bf16", "fp16"])
def test_half_precision_goes_on_to_the_same_bits(tmp_path, precision):
    whole = Made(tmp_path / "whole", precision=precision).train()
    Made(tmp_path / "cut", precision=precision).train(stop=8)
    again = Made(tmp_path / "cut", seed=1, precision=precision)
    again.loop.resume()
    assert torch.equal(again.train().vector, whole.vector)


def test_a_window_that_is_carried_on_is_saved(tmp_path):
    carried = {"accumulate": Accumulation(2, at_epoch_end="carry")}
    whole = Made(tmp_path / "whole", **carried).train()
    cut = Made(tmp_path / "cut", **carried)
    for _ in cut.loop.epochs(1):
        for x, y in cut.loop.batches():
            cut.loop.update(F.mse_loss(cut.loop.model(x), y))
        cut.loop.save()
    again = Made(tmp_path / "cut", seed=1, **carried)
    again.loop.resume()
    assert torch.equal(again.train().vector, whole.vector)


def test_a_finished_loop_takes_more_epochs(tmp_path):
    made = Made(tmp_path)
    made.train(2).loop.save()
    assert list(made.loop.epochs(2)) == []
    again = Made(tmp_path, seed=1)
    again.loop.resume()
    assert list(again.loop.epochs(1)) == []
    again.loop.save()
    again.loop.resume()
    again.train(3)
    assert torch.equal(again.vector, Made(tmp_path / "whole").train(3).vector)
    again.loop.save()
    assert Made(tmp_path).loop.resume().name == "00000015"


def test_a_save_before_all_batches_of_an_epoch(tmp_path):
    whole = Made(tmp_path / "whole").train(2)
    made = Made(tmp_path)
    for epoch in made.loop.epochs(2):
        if epoch == 2:
            made.loop.save()
            break
        for x, y in made.loop.batches():
            made.loop.update(F.mse_loss(made.loop.model(x), y))
    again = Made(tmp_path, seed=1)
    again.loop.resume()
    assert next(again.loop.epochs(2)) == 2
    again.train(2)
    assert again.seen == whole.seen[5:]
    assert torch.equal(again.vector, whole.vector)


def test_there_may_be_nothing_yet(tmp_path):
    made = Made(tmp_path)
    before = torch.get_rng_state()
    assert made.loop.resume() is None
    assert torch.equal(before, torch.get_rng_state())
    assert next(made.loop.epochs(1)) == 1


def test_one_can_be_named(tmp_path):
    made = Made(tmp_path)
    made.train(1)
    path = made.loop.save(name="first", meta={"why": "test"})
    made.train(2).loop.save()
    again = Made(tmp_path, seed=1)
    assert again.loop.resume("first") == path
    assert again.loop.iteration == 5
    assert load_checkpoint(path).manifest.meta == {"why": "test"}


def test_a_checkpoint_is_like_any_other(tmp_path):
    made = Made(tmp_path).train(stop=3)
    checkpoint = load_checkpoint(tmp_path)
    other = copy.deepcopy(made.net)
    nn.init.zeros_(other[0].weight)
    checkpoint.into(other)
    assert torch.equal(other[0].weight, made.net[0].weight)
    assert (checkpoint.manifest.iteration, checkpoint.manifest.epoch) == (3, 1)
    assert checkpoint.manifest.exact
    assert checkpoint.manifest.versions.keys() >= {"torch", "footplate"}


def test_an_engine_goes_on_from_it(tmp_path):
    whole = Made(tmp_path / "whole").train()
    Made(tmp_path / "cut").train(stop=8)
    other = Made(tmp_path / "other", seed=1)
    step = training_step(other.net, other.loop.optimizer, F.mse_loss, accumulate=2)
    engine = Engine(step, name="train")
    checkpoint = engine.attach(Checkpoint(tmp_path / "cut", other.net))
    assert checkpoint.resume(engine).name == "00000008"
    engine.run(other.loop.loaders[0], max_epochs=3)
    assert engine.state.iteration == 15
    assert torch.equal(other.vector, whole.vector)


def test_it_goes_on_from_an_engines(tmp_path):
    whole = Made(tmp_path / "whole").train()
    other = Made(tmp_path / "other")
    engine = Engine(training_step(other.net, other.loop.optimizer, F.mse_loss, accumulate=2))
    checkpoint = engine.attach(Checkpoint(tmp_path / "cut", other.net))
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=8), engine.interrupt)
    engine.run(other.loop.loaders[0], max_epochs=3)
    checkpoint.save(engine)
    again = Made(tmp_path / "cut", seed=1)
    again.loop.resume()
    assert again.loop.iteration == 8
    assert torch.equal(again.train().vector, whole.vector)


def test_other_things_have_to_be_those_that_were_saved(tmp_path):
    made = Made(tmp_path)
    schedule = torch.optim.lr_scheduler.StepLR(made.loop.optimizer, 1)
    Made(tmp_path, others={"schedule": schedule}).loop.save()
    with pytest.raises(StateError, match="the checkpoint holds 'schedule' besides model"):
        made.loop.resume()


def test_how_many_are_kept_is_said_by_a_checkpoint(tmp_path):
    net = nn.Linear(1, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    keep = Checkpoint(tmp_path, net, last=2)
    loop = setup(net, sgd, [torch.ones(1)] * 4, device="cpu", checkpoints=keep)
    for _ in loop.epochs(1):
        for x in loop.batches():
            loop.update(loop.model(x).sum())
            loop.save()
    assert sorted(path.name for path in tmp_path.iterdir()) == ["00000003", "00000004"]


# ------------------------------------------------------------------ what it computes


def test_a_window_ends_with_its_epoch(tmp_path):
    stepped = []
    loop = Made(tmp_path).loop
    for _ in loop.epochs(2):
        for x, y in loop.batches():
            stepped.append(loop.update(F.mse_loss(loop.model(x), y)))
    assert stepped == [False, True, False, True, True] * 2


@pytest.mark.parametrize("ends", ["by itself", "left"])
def test_a_window_is_stepped_with_where_the_end_was_not_known(tmp_path, ends):
    made = Made(tmp_path, "generator", accumulate=4)
    before = made.vector
    for _ in made.loop.epochs(1):
        for number, (x, y) in enumerate(made.loop.batches(), 1):
            made.loop.update(F.mse_loss(made.loop.model(x), y))
            if number == 3 and ends == "left":
                break
            behind = made.vector
        if ends == "by itself":  # at once, so that an evaluation sees it
            assert not torch.equal(made.vector, behind)
        else:
            assert torch.equal(made.vector, before)
            made.loop.save()
    assert not torch.equal(made.vector, before)
    assert all(one.grad is None for one in made.net.parameters())


def test_batches_are_weighed(tmp_path):
    def trained(by_hand):
        torch.manual_seed(0)
        net = nn.Linear(3, 1)
        sgd = torch.optim.SGD(net.parameters(), lr=0.1)
        x, y = torch.randn(6, 3), torch.randn(6, 1)
        if by_hand:
            F.mse_loss(net(x), y).backward()
            sgd.step()
            return net.weight
        data = list(zip(x.split([4, 2]), y.split([4, 2]), strict=True))
        loop = setup(net, sgd, data, device="cpu", accumulate=2)
        for _ in loop.epochs(1):
            for a, b in loop.batches():
                loop.update(F.mse_loss(loop.model(a), b), weight=len(a))
        return net.weight

    assert torch.allclose(trained(by_hand=True), trained(by_hand=False), atol=1e-6)


def test_gradients_are_clipped(tmp_path):
    net = nn.Linear(1, 1, bias=False)
    before = net.weight.item()
    sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    loop = setup(net, sgd, [torch.full((1,), 100.0)], device="cpu", clip=ClipNorm(0.5))
    for _ in loop.epochs(1):
        for x in loop.batches():
            loop.update(loop.model(x).sum())
    assert net.weight.item() == pytest.approx(before - 0.5, abs=1e-4)


def test_the_model_computes_in_half_and_gives_full_precision(tmp_path):
    heard = []
    made = Made(tmp_path, precision="bf16")
    made.net[2].register_forward_hook(lambda module, given, answer: heard.append(answer.dtype))
    model = made.loop.model
    assert model(torch.ones(2, 3)).dtype is torch.float32
    assert heard == [torch.bfloat16]
    with made.loop.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.bfloat16
    assert list(model.state_dict()) == list(made.net.state_dict())
    model.load_state_dict(made.net.state_dict())
    model.eval()
    assert not made.net.training
    made.net.classes = ("a", "b")
    assert model.classes == ("a", "b")
    with pytest.raises(AttributeError, match="no attribute 'nothing'"):
        model.nothing  # noqa: B018


class Net(nn.Module):
    """A model whose loss is a method, and that keeps a layer from training."""

    def __init__(self):
        super().__init__()
        self.scale = nn.Parameter(torch.ones(()))
        self.layers = nn.ModuleDict({"first": nn.Linear(3, 4), "kept": nn.Linear(4, 1)})
        self.heard, self.notes = [], {}

    def forward(self, x):
        return self.scale * self.layers["kept"](self.layers["first"](x))

    def loss_of(self, x, y):
        given = self(x)
        self.heard.append(given.dtype)
        return given, self.layers["first"](x)

    def noted(self):
        return self.notes

    def train(self, mode=True):
        super().train(mode)
        self.layers["kept"].eval()
        return self


def called_in_half():
    net = Net()
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    data = [(torch.ones(2, 3), torch.ones(2, 1))]
    return net, setup(net, sgd, data, device="cpu", precision="bf16")


def test_methods_of_the_model_compute_in_half_and_give_full_precision():
    net, loop = called_in_half()
    given, hidden = loop.model.loss_of(torch.ones(2, 3), torch.ones(2, 1))
    assert net.layers["first"](torch.ones(2, 3)).dtype is torch.float32
    assert [given.dtype, hidden.dtype] == [torch.float32] * 2
    half = torch.nn.functional.linear(
        torch.ones(2, 3).bfloat16(),
        net.layers["first"].weight.bfloat16(),
        net.layers["first"].bias.bfloat16(),
    )
    assert torch.equal(hidden, half.float())
    assert loop.model.noted() is net.notes
    assert loop.model.loss_of.__name__ == "loss_of"


def test_all_but_calling_is_the_models():
    net, loop = called_in_half()
    model = loop.model
    assert isinstance(model, nn.Module)
    assert [one for one, _ in model.named_parameters()] == [
        one for one, _ in net.named_parameters()
    ]
    assert [one for one, _ in model.named_modules()] == [one for one, _ in net.named_modules()]
    assert list(map(id, model.parameters())) == list(map(id, net.parameters()))
    model.threshold = 0.5
    model.register_buffer("seen", torch.zeros(1))
    model.head = nn.Linear(1, 1)
    assert net.threshold == 0.5
    assert {"seen", "head.weight", "scale"} <= net.state_dict().keys() == model.state_dict().keys()
    del model.head
    assert not hasattr(net, "head")
    assert model.eval() is model
    assert (model.training, net.training) == (False, False)
    assert model.train() is model
    assert (model.training, net.layers["kept"].training) == (True, False)
    net.eval()
    assert not model.training
    assert model.double() is model
    assert net.scale.dtype is torch.float64
    assert bool(model)
    assert repr(model) == repr(net)


def test_items_are_the_models():
    nets = nn.ModuleDict({"a": nn.Linear(1, 1)})
    sgd = torch.optim.SGD(nets.parameters(), lr=0.1)
    model = setup(nets, sgd, [1], device="cpu", precision="bf16").model
    assert (model["a"], list(model), len(model)) == (nets["a"], ["a"], 1)
    assert "a" in model
    assert "b" not in model


@pytest.mark.parametrize("copied", [copy.deepcopy, lambda one: pickle.loads(pickle.dumps(one))])
def test_a_copy_is_one_of_the_model_alone(copied):
    net, loop = called_in_half()
    other = copied(loop.model)
    assert type(other) is Net
    assert other.scale is not net.scale
    assert vars(other).keys() == vars(net).keys()


def test_an_average_of_it_is_one_of_the_model():
    net, loop = called_in_half()
    average = AveragedModel(loop.model)
    for _ in loop.epochs(1):
        for x, y in loop.batches():
            loop.update(F.mse_loss(loop.model(x), y))
    average.update_parameters(loop.model)
    assert type(average.module) is Net
    assert torch.equal(average.module.scale, net.scale)


def test_it_can_be_compiled():
    _, loop = called_in_half()
    x = torch.ones(2, 3)
    compiled = torch.compile(loop.model, backend="eager")
    assert torch.equal(compiled(x), loop.model(x))
    assert compiled(x).dtype is torch.float32


def test_in_full_precision_the_model_is_the_model(tmp_path):
    made = Made(tmp_path)
    assert made.loop.model is made.net
    with made.loop.autocast():
        assert (torch.ones(2, 2) @ torch.ones(2, 2)).dtype is torch.float32


def test_batches_are_moved():
    net = nn.Linear(1, 1, device="meta")
    sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    loop = setup(net, sgd, [torch.ones(1)], [{"a": torch.ones(1)}], device="meta")
    assert loop.device == torch.device("meta")
    assert [x.device.type for _ in loop.epochs(1) for x in loop.batches()] == ["meta"]
    assert [x["a"].device.type for x in loop.loaders[1]] == ["meta"]


def test_a_model_that_gets_other_parameters_by_a_move_is_refused():
    net = nn.Linear(1, 1)
    with pytest.raises(ValueError, match="moving Linear to 'meta' has given it other parameters"):
        setup(net, torch.optim.SGD(net.parameters(), lr=1.0), [1], device="meta")


def test_an_optimizer_that_stays_is_left_alone():
    net = nn.Linear(1, 1)
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(1)).sum().backward()
    adam.step()
    state = adam.state[net.weight]
    state["exp_avg"] = state["exp_avg"].double()  # which torch would make like its parameter
    setup(net, adam, [torch.ones(1)], device="cpu")
    assert adam.state[net.weight]["exp_avg"].dtype is torch.float64


@pytest.mark.skipif(not torch.cuda.is_available(), reason="needs CUDA")
def test_an_optimizer_goes_with_the_model():
    net = nn.Linear(1, 1)
    adam = torch.optim.Adam(net.parameters())
    net(torch.ones(1)).sum().backward()
    adam.step()
    loop = setup(net, adam, [torch.ones(1)], precision="fp16")
    for _ in loop.epochs(1):
        for x in loop.batches():
            loop.update(loop.model(x).sum())
    assert net.weight.is_cuda
    assert adam.state[net.weight]["exp_avg"].is_cuda


def test_the_best_device_is_chosen(monkeypatch):
    net = nn.Linear(1, 1)

    def device():
        return setup(net, torch.optim.SGD(net.parameters(), lr=1.0), [1]).device.type

    accelerated = torch.cuda.is_available(), torch.backends.mps.is_available()
    assert device() == ("cuda" if accelerated[0] else "mps" if accelerated[1] else "cpu")
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert device() == "cpu"


# ------------------------------------------------------------------ refused


def test_an_unknown_device_is_refused_with_those_that_there_are():
    net = nn.Linear(1, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    with pytest.raises(ValueError, match=r"device 'cpus' can't be used here .*Did you mean 'cpu'"):
        setup(net, sgd, [1], device="cpus")
    with pytest.raises(ValueError, match=r"there are .*'cpu', and 'auto' takes the first"):
        setup(net, sgd, [1], device="cuda:77")


def test_what_is_no_model_and_no_data_are_refused():
    net = nn.Linear(1, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    with pytest.raises(TypeError, match=r"takes a model of torch first, given SGD"):
        setup(sgd, net, [1])
    with pytest.raises(TypeError, match=r"setup\(\) was given no data"):
        setup(net, sgd)
    with pytest.raises(TypeError, match=r"takes an optimizer of torch"):
        setup(net, net, [1])
    with pytest.raises(TypeError, match=r"type int can't be iterated over"):
        setup(net, sgd, [1], 7)


def test_others_need_a_place(tmp_path):
    net = nn.Linear(1, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    for checkpoints in (None, Checkpoint(tmp_path, net)):
        with pytest.raises(ValueError, match=r"others= are saved in checkpoints= by a path"):
            setup(net, sgd, [1], checkpoints=checkpoints, others={"sgd": sgd})


def test_saving_and_going_on_need_a_place():
    net = nn.Linear(1, 1)
    loop = setup(net, torch.optim.SGD(net.parameters(), lr=1.0), [1], device="cpu")
    for method in (loop.save, loop.resume):
        with pytest.raises(RuntimeError, match=rf"{method.__name__}\(\) needs a place"):
            method()


def test_a_place_that_can_not_be_written_to_is_refused_at_once(tmp_path):
    file = tmp_path / "file"
    file.write_text("")
    with pytest.raises(OSError, match="file"):
        Made(file)


def test_batches_belong_to_an_epoch(tmp_path):
    loop = Made(tmp_path).loop
    with pytest.raises(RuntimeError, match="outside of an epoch"):
        loop.batches()
    for _ in loop.epochs(1):
        assert len(list(loop.batches())) == 5
        with pytest.raises(RuntimeError, match=r"epoch 1 is over.*take one of loop.loaders\[0\]"):
            loop.batches()
    with pytest.raises(RuntimeError, match="outside of an epoch"):
        loop.batches()


def test_an_epoch_without_batches_counts(tmp_path):
    loop = Made(tmp_path).loop
    assert list(loop.epochs(3)) == [1, 2, 3]
    loop.save()
    again = Made(tmp_path).loop
    again.resume()
    assert list(again.epochs(4)) == [4]


def test_update_belongs_to_a_batch(tmp_path):
    loop = Made(tmp_path).loop
    loss = sum(one.sum() for one in loop.model.parameters())
    with pytest.raises(RuntimeError, match=r"update\(\) was called with no batch at hand"):
        loop.update(loss)
    for _ in loop.epochs(1):
        for _ in loop.batches():
            loop.update(sum(one.sum() for one in loop.model.parameters()))
        with pytest.raises(RuntimeError, match="no batch at hand"):
            loop.update(loss)


def test_a_loss_is_one_number(tmp_path):
    loop = Made(tmp_path).loop
    for _ in loop.epochs(1):
        for x, y in loop.batches():
            loss = F.mse_loss(loop.model(x), y, reduction="none")
            with pytest.raises(
                ValueError, match=r"one number, given a tensor of shape \(\d, 1\); give"
            ):
                loop.update(torch.cat([loss, loss]))
            with pytest.raises(TypeError, match=r"the loss of a batch, a tensor, given 0\.5"):
                loop.update(0.5)
            loop.update(loss.mean()[None])
    assert loop.iteration == 5


@pytest.mark.parametrize(
    ("theirs", "ours"),
    [
        ("bf16-mixed", "here it is 'bf16'"),
        ("16-mixed", "here it is 'fp16'"),
        (16, "here it is 'fp16'"),
        ("32-true", "here it is 'fp32'"),
        ("bf16-true", r"here it is no precision at all.*model.to\(torch.bfloat16\)"),
    ],
)
def test_a_precision_by_fabrics_name_is_told_its_own(tmp_path, theirs, ours):
    with pytest.raises(ValueError, match=f"precision={theirs!r} is Fabric's name; {ours}"):
        Made(tmp_path, precision=theirs)


def test_no_epochs_are_none(tmp_path):
    made = Made(tmp_path)
    assert list(made.loop.epochs(0)) == []
    assert not list(tmp_path.iterdir())
    made.train(1).loop.save()
    again = Made(tmp_path)
    again.loop.resume()
    assert list(again.loop.epochs(0)) == []
    assert len(again.train(2).seen) == 5


def test_a_save_amid_a_batch_is_refused(tmp_path):
    loop = Made(tmp_path).loop
    for _ in loop.epochs(1):
        for number, (x, y) in enumerate(loop.batches()):
            if number < 2:
                with pytest.raises(RuntimeError, match=r"amid a batch.*call it behind update"):
                    loop.save()
            loop.update(F.mse_loss(loop.model(x), y))
    assert not list(tmp_path.iterdir())


def test_a_save_for_an_error_that_left_the_loop_is_refused(tmp_path):
    made = Made(tmp_path)
    loop, seen = made.loop, []
    for _ in loop.epochs(2):
        try:
            for x, y in loop.batches():
                loop.update(F.mse_loss(loop.model(x), y))
                seen.append(x)
                if len(seen) == 3:
                    raise KeyboardInterrupt
        except KeyboardInterrupt:
            with pytest.raises(RuntimeError, match="while a KeyboardInterrupt is handled"):
                loop.save()
        loop.save()  # whoever goes on says that the epoch is over
    assert len(seen) == 3 + 5


def test_a_save_while_another_error_is_handled(tmp_path):
    loop = Made(tmp_path).loop
    for epoch in loop.epochs(2):
        for x, y in loop.batches():
            if epoch == 1:
                break
            try:
                raise ValueError
            except ValueError:
                loop.update(F.mse_loss(loop.model(x), y))
                loop.save()
    assert loop.iteration == 1 + 5


def test_worker_processes_end_with_a_loop_that_is_left(tmp_path):
    net = nn.Linear(1, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    loop = setup(net, sgd, DataLoader(torch.ones(4, 1), num_workers=1), device="cpu")
    for _ in loop.epochs(1):
        for _ in loop.batches():
            assert multiprocessing.active_children()
            break
        assert not multiprocessing.active_children()


def test_what_is_counted_for_an_error_does_not_pile_up(tmp_path):
    loop = Made(tmp_path, accumulate=1).loop
    for _ in loop.epochs(1):
        for x, y in loop.batches():
            loop.update(F.mse_loss(loop.model(x), y))
            assert len(loop._standing.engine.progress.recent) < 2


def test_going_on_comes_before_the_epochs(tmp_path):
    loop = Made(tmp_path).loop
    loop.save()
    for _ in loop.epochs(1):
        with pytest.raises(RuntimeError, match=r"call it before loop.epochs\(\)"):
            loop.resume()
    loop.resume()


def test_data_that_are_used_up_are_told_of():
    net = nn.Linear(1, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    loop = setup(net, sgd, (torch.ones(1) for _ in range(2)), device="cpu")
    epochs = loop.epochs(2)
    next(epochs)
    assert len(list(loop.batches())) == 2
    next(epochs)
    with pytest.raises(DataError, match="gave no batch; give data that can be iterated"):
        next(loop.batches())


def test_a_number_of_epochs_is_whole(tmp_path):
    with pytest.raises(ValueError, match="epochs is a whole number from 0 on, given '3'"):
        Made(tmp_path).loop.epochs("3")


def test_batches_that_are_not_trained_on_count(tmp_path):
    made = Made(tmp_path)
    for _ in made.loop.epochs(1):
        for number, (x, y) in enumerate(made.loop.batches()):
            if number == 1:
                continue
            made.loop.update(F.mse_loss(made.loop.model(x), y))
    assert made.loop.iteration == 5


def test_it_dies_with_its_last_name(tmp_path):
    made = Made(tmp_path).train(stop=3)
    gone = weakref.ref(made.loop)
    gc.disable()
    try:
        del made
        assert gone() is None
    finally:
        gc.enable()


def test_nothing_is_warned_of(tmp_path):
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Made(tmp_path).train(stop=5)
        again = Made(tmp_path)
        again.loop.resume()
        again.train()


def test_a_device_loader_may_be_given(tmp_path):
    net = nn.Linear(1, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=1.0)
    loop = setup(net, sgd, DeviceLoader([torch.ones(1)], "cpu"), device="cpu")
    assert [len(list(loop.batches())) for _ in loop.epochs(2)] == [1, 1]
