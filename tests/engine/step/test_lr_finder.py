"""A search for a learning rate sees what a plain loop sees, and leaves no trace."""

from __future__ import annotations

import copy
import math
import random
from types import SimpleNamespace

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, Dataset, DistributedSampler

from footplate import Engine, Events
from footplate.engine.combined import combined
from footplate.engine.errors import DataError
from footplate.engine.handler import Handler
from footplate.engine.step.accumulation import Accumulation
from footplate.engine.step.batch_size_finder import find_batch_size
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.events import StepEvents
from footplate.engine.step.lr_finder import find_lr, set_lr
from footplate.engine.step.optimization import Optimization
from footplate.engine.step.training import training_step
from footplate.engine.step.turns import alternately
from footplate.handlers.lr_schedule import LRSchedule
from tests.engine.pictures import BLUE, has_color

pytestmark = pytest.mark.usefixtures("one_thread")

PNG = b"\x89PNG\r\n\x1a\n"


class Noisy(Dataset):
    """Samples that draw from all generators whenever they are loaded."""

    def __init__(self, length=40):
        self.length = length
        self.own = np.random.default_rng(5)

    def __len__(self):
        return self.length

    def __getitem__(self, index):
        drawn = random.random() + np.random.rand() + torch.rand(1).item() + self.own.random()
        return torch.linspace(0, index, 8) / 40 + drawn, torch.tensor([index / 40])


class Net(nn.Module):
    """Dropout, batch norm, a buffer that is not saved, and attributes that forward changes."""

    def __init__(self, fails_at=None):
        super().__init__()
        self.layers = nn.Sequential(
            nn.Linear(8, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1)
        )
        self.register_buffer("hidden", torch.zeros(3), persistent=False)
        self.register_buffer("wide", torch.zeros(1).expand(4))
        self.calls, self.seen, self.fails_at = 0, [], fails_at

    def forward(self, x):
        self.calls += 1
        self.seen.append(self.calls)
        self.hidden = self.hidden + 1
        self.layers[0].bias.requires_grad_(self.calls % 2 == 0)
        if self.calls == self.fails_at:
            raise RuntimeError("no more")
        return self.layers(x)


OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=torch.tensor(0.01), foreach=False),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}


def made(optimizer="adam", *, fails_at=None, **options):
    torch.manual_seed(0)
    random.seed(0)
    np.random.seed(0)
    net = Net(fails_at)
    groups = [{"params": net.layers[0].parameters()}, {"params": net.layers[1:].parameters()}]
    moving = OPTIMIZERS[optimizer](groups)
    optimization = Optimization(moving, name="optimization", **options)
    trainer = Engine(training_step(net, optimization, F.mse_loss), name="train")
    generator = torch.Generator().manual_seed(3)
    loader = DataLoader(Noisy(), batch_size=6, shuffle=True, generator=generator)
    return SimpleNamespace(
        net=net, optimizer=moving, optimization=optimization, trainer=trainer, loader=loader
    )


def fingerprint(one):
    """All that a search might move, as values that can be compared to the bit."""
    optimization = one.optimization
    return copy.deepcopy(
        {
            "net": {key: bits(value) for key, value in one.net.state_dict().items()},
            "buffers": {key: bits(value) for key, value in one.net.named_buffers()},
            "gradients": [bits(p.grad) for p in one.net.parameters()],
            "wanted": [p.requires_grad for p in one.net.parameters()],
            "modes": [m.training for m in one.net.modules()],
            "attributes": (one.net.calls, one.net.seen),
            "optimization": bits(optimization.state_dict()),
            "norm": bits(optimization.norm),
            "window": bits(optimization.window.state_dict()),
            "engine": bits(one.trainer.state_dict()),
            "state": {k: v for k, v in vars(one.trainer.state).items() if k in STATE},
            "last": one.trainer.last_event_name,
            "generators": (
                random.getstate(),
                bits(np.random.get_state()[1]),
                bits(torch.get_rng_state()),
                bits(one.loader.generator.get_state()),
                one.loader.dataset.own.bit_generator.state,
            ),
        }
    )


STATE = ("iteration", "epoch", "epoch_length", "max_epochs", "max_iters", "status", "reason",
         "metrics", "times", "counts", "event_to_attr", "stage", "call")  # fmt: skip


def bits(value):
    if isinstance(value, torch.Tensor):
        raw = value.detach().contiguous().numpy().tobytes()
        return (str(value.dtype), tuple(value.shape), raw)
    if isinstance(value, np.ndarray):
        return value.tobytes()
    if isinstance(value, dict):
        return {key: bits(one) for key, one in value.items()}
    if isinstance(value, (list, tuple)):
        return [bits(one) for one in value]
    return value


def search_lr(one, **options):
    return find_lr(one.trainer, one.loader, **{"steps": 12, "stop_at": math.inf, **options})


def search_batch_size(one, **options):
    def batches(size):
        generator = one.loader.generator
        return DataLoader(one.loader.dataset, size, shuffle=True, generator=generator)

    return find_batch_size(one.trainer, batches, **{"start": 4, **options})


SEARCHES = {"lr": search_lr, "batch size": search_batch_size}
SETUPS = {
    "sgd": {"optimizer": "sgd"},
    "adam": {"optimizer": "adam", "clip": ClipNorm(0.1)},
    "fp16": {"optimizer": "adamw", "precision": "fp16"},
    "open window": {"optimizer": "sgd", "accumulate": Accumulation(4, at_epoch_end="carry")},
}


@pytest.mark.covers("D5")
@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("setup", SETUPS)
@pytest.mark.parametrize("before", [0, 1])
def test_training_goes_on_as_if_there_had_been_no_search(search, setup, before):
    """From the beginning, and behind an epoch of 7 batches, which leaves a window of 4 open."""
    prints = []
    for searching in (False, True):
        one = made(**SETUPS[setup])
        if before:
            one.trainer.run(one.loader)
        if searching:
            then = fingerprint(one)
            SEARCHES[search](one)
            assert fingerprint(one) == then
        one.trainer.run(one.loader, max_epochs=before + 2)
        prints.append(fingerprint(one))
    assert prints[0].pop("state") | {"times": None} == prints[1].pop("state") | {"times": None}
    for one in prints:
        exact = one["engine"]["footplate"]
        exact["run_seconds"] = exact["epoch_seconds"] = None
    assert prints[0] == prints[1]


@pytest.mark.parametrize("search", SEARCHES)
@pytest.mark.parametrize("setup", SETUPS)
def test_all_is_put_back_if_the_search_raises(search, setup):
    one = made(**SETUPS[setup], fails_at=9)
    one.trainer.run(one.loader)
    then = fingerprint(one)
    with pytest.raises(RuntimeError, match="no more"):
        SEARCHES[search](one)
    assert fingerprint(one) == then


@pytest.mark.parametrize("search", SEARCHES)
def test_an_optimizer_that_has_not_stepped_is_left_without_state(search):
    one = made("adam", precision="fp16")
    SEARCHES[search](one)
    assert dict(one.optimizer.state) == {}
    assert "scaler" not in vars(one.optimization)


def test_the_very_objects_stay():
    one = made("adam", accumulate=Accumulation(4, at_epoch_end="carry"))
    one.trainer.run(one.loader)
    one.trainer.run(one.loader, max_epochs=2)

    def objects():
        entries = [value for state in one.optimizer.state.values() for value in state.values()]
        gradients = [p.grad for p in one.net.parameters()]
        groups = one.optimizer.param_groups
        others = [one.optimization.window, one.net.layers[0].weight, one.trainer.state]
        return [*entries, *gradients, *groups, *(group["lr"] for group in groups), *others]

    then = objects()
    assert any(one is not None for one in then)
    search_lr(one)
    assert all(a is b for a, b in zip(then, objects(), strict=True))


class Wide(torch.optim.Optimizer):
    """Keeps state in a wider type than that of the parameters, and a count of its own."""

    def __init__(self, params):
        super().__init__(params, {"lr": 0.1})
        self.count = 0

    @torch.no_grad()
    def step(self):
        self.count += 1
        for group in self.param_groups:
            for one in group["params"]:
                master = self.state[one].setdefault("master", one.float())
                master.add_(one.grad.float(), alpha=-float(group["lr"]))
                one.copy_(master)


def test_state_that_is_wider_than_its_parameters_is_not_rounded():
    torch.manual_seed(0)
    net = nn.Linear(3, 1, bias=False).bfloat16()
    trainer = Engine(training_step(net, Wide(net.parameters()), F.mse_loss), name="train")
    data = [(torch.rand(4, 3).bfloat16(), torch.rand(4, 1).bfloat16())]
    trainer.run(data, max_epochs=3)
    optimizer = trainer.handlers["optimization"].optimizer
    master = optimizer.state[net.weight]["master"].clone()
    assert not torch.equal(master, master.bfloat16().float())
    find_lr(trainer, data, steps=5)
    assert optimizer.count == 3
    assert torch.equal(optimizer.state[net.weight]["master"], master)
    assert optimizer.state[net.weight]["master"].dtype == torch.float32


def test_loaders_and_samplers_stand_where_they_stood():
    sampler = DistributedSampler(range(8), num_replicas=1, rank=0)
    sampler.set_epoch(3)

    class Moving(DataLoader):
        def __iter__(self):
            sampler.set_epoch(sampler.epoch + 1)
            return super().__iter__()

    one = made("sgd")
    loader = Moving(Noisy(8), 4, sampler=sampler, num_workers=1, persistent_workers=True)
    one.trainer.run(loader)
    workers = loader._iterator
    find_lr(one.trainer, loader, steps=5)
    assert (sampler.epoch, loader._iterator is workers) == (4, True)


def test_workers_that_wait_for_their_next_pass_are_left_alone():
    """They go on drawing random numbers where they stood; a search has workers of its own."""
    passes = []
    for searching in (False, True):
        one = made("sgd")
        loader = DataLoader(Noisy(8), 4, num_workers=1, persistent_workers=True)
        one.trainer.run(loader)
        if searching:
            find_lr(one.trainer, loader, steps=5)
        passes.append([x for x, _ in loader])
    assert all(map(torch.equal, *passes))


def test_each_of_several_loaders_is_put_back():
    one, other = made("sgd"), torch.Generator().manual_seed(8)
    second = DataLoader(Noisy(), 6, shuffle=True, generator=other)
    losses = {"optimization": lambda net, batch: net(batch["a"][0] + batch["b"][0]).mean()}
    step = training_step(one.net, {"optimization": one.optimizer}, losses)
    before = other.get_state()
    find_lr(Engine(step, name="train"), combined({"a": one.loader, "b": second}), steps=5)
    assert torch.equal(other.get_state(), before)


def test_nobody_hears_of_a_search_and_everybody_hears_of_the_run_behind_it():
    one = made("sgd")
    heard = []
    for event in (StepEvents.OPTIMIZER_STEPPED, StepEvents.LOSS_COMPLETED):
        one.trainer.add_event_handler(event, lambda engine, event=event: heard.append(event))
    schedule = one.trainer.attach(LRSchedule(torch.optim.lr_scheduler.StepLR(one.optimizer, 1)))
    search_lr(one)
    assert heard == []
    assert schedule.planned(1)["lr/0"] == [0.05]
    one.trainer.run(one.loader)
    assert len(heard) == 14
    assert one.trainer.state.get_event_attrib_value(StepEvents.OPTIMIZER_STEPPED) == 7


# ---------------------------------------------------------------------- the curve


def weight_trainer(*values, lrs=(0.1,), accumulate=1):
    weights = [nn.Parameter(torch.tensor(value, dtype=torch.float64)) for value in values]
    groups = [{"params": [w], "lr": lr} for w, lr in zip(weights, lrs, strict=True)]
    net = nn.Module()
    net.weights = nn.ParameterList(weights)
    net.forward = lambda x: sum(x * weight for weight in weights)
    sgd = torch.optim.SGD(groups)
    step = training_step(net, sgd, lambda y, target: ((y - target) ** 2).mean(),
                         accumulate=accumulate)  # fmt: skip
    return Engine(step, name="train"), sgd


def batch(x, y):
    return torch.tensor([x], dtype=torch.float64), torch.tensor([y], dtype=torch.float64)


@pytest.mark.covers("D5")
def test_it_sees_what_a_plain_loop_sees():
    trainer, _ = weight_trainer(1.0)
    data = [batch(1.0, 3.0), batch(2.0, 1.0)]
    search = find_lr(trainer, data, lowest=0.001, highest=0.1, steps=5, smoothing=0.4)
    weight, losses, smoothed, mean = 1.0, [], [], 0.0
    for step in range(5):
        x, y = ((1.0, 3.0), (2.0, 1.0))[step % 2]
        losses.append((weight * x - y) ** 2)
        mean = 0.6 * mean + 0.4 * losses[-1]
        smoothed.append(mean / (1 - 0.6 ** (step + 1)))
        weight -= 0.001 * 10 ** (step / 2) * 2 * x * (weight * x - y)
    assert search.rates == pytest.approx([0.001 * 10 ** (step / 2) for step in range(5)])
    assert search.rates[-1] == 0.1
    assert search.losses == pytest.approx(losses)
    assert search.smoothed == pytest.approx(smoothed)


def test_rates_may_grow_by_equal_differences():
    trainer, _ = weight_trainer(1.0)
    search = find_lr(trainer, [batch(1.0, 1.0)], lowest=0.1, highest=0.5, steps=5, growth="linear")
    assert search.rates == pytest.approx([0.1, 0.2, 0.3, 0.4, 0.5])


def test_a_window_of_batches_has_one_rate():
    trainer, _ = weight_trainer(1.0, accumulate=3)
    data = [batch(1.0, 3.0), batch(2.0, 1.0), batch(1.0, 1.0)]
    search = find_lr(trainer, data, lowest=0.001, highest=0.01, steps=2)
    first = [(1.0 - 3.0) ** 2, (2.0 - 1.0) ** 2, 0.0]
    gradient = (2 * -2.0 + 2 * 2 * 1.0 + 0.0) / 3
    weight = 1.0 - 0.001 * gradient
    second = [(weight - 3.0) ** 2, (2 * weight - 1.0) ** 2, (weight - 1.0) ** 2]
    assert search.losses == pytest.approx([sum(first) / 3, sum(second) / 3])


@pytest.mark.parametrize("limit", [{"max_epochs": 2}, {"max_iters": 2}])
def test_the_end_of_a_run_before_ends_no_window(limit):
    trainer, _ = weight_trainer(1.0, accumulate=3)
    trainer.run([batch(1.0, 1.0)], **limit)
    seen = []
    model = trainer.handlers["training_step"].contract.model
    model.register_forward_hook(lambda *_: seen.append(1))
    find_lr(trainer, [batch(1.0, 1.0)], steps=4)
    assert len(seen) == 12


def test_parameter_groups_keep_their_proportions():
    """With rates of 1:4 a loss with equal gradients moves the weights by 1:4."""
    trainer, sgd = weight_trainer(0.0, 0.0, lrs=(0.025, 0.1))
    seen = []
    trainer.handlers["training_step"].contract.model.register_forward_hook(
        lambda *_: seen.append([group["lr"] for group in sgd.param_groups])
    )
    find_lr(trainer, [batch(1.0, 1.0)], lowest=0.01, highest=1.0, steps=3, stop_at=math.inf)
    assert seen[0][1] == 0.01
    assert seen[-1] == [0.25, 1.0]
    assert [low / high for low, high in seen] == pytest.approx([0.25] * 3)
    assert [group["lr"] for group in sgd.param_groups] == [0.025, 0.1]


class Prescribed(Handler):
    """A step whose loss is a function of the rate."""

    def __init__(self, loss):
        self.weight = nn.Parameter(torch.zeros(1))
        self.optimization = Optimization(torch.optim.SGD([self.weight], lr=1.0))
        self.loss = loss
        self.calls = 0

    def on_register(self, engine):
        engine.attach(self.optimization)

    def __call__(self, engine, batch):
        self.calls += 1
        value = self.loss(self.optimization.optimizer.param_groups[0]["lr"])
        self.optimization.update((self.weight * 0).sum() + value)
        return value


def prescribed(loss, **options):
    trainer = Engine(Prescribed(loss), name="train")
    search = find_lr(trainer, [0], model=nn.Identity(), **options)
    assert trainer.handlers["prescribed"].calls == 0  # a step that is a handler is put back
    return search


def sigmoid(rate, middle, width=0.5):
    return 2.0 - 1.0 / (1 + math.exp(-(math.log10(rate) - math.log10(middle)) / width))


@pytest.mark.covers("D5")
@pytest.mark.parametrize("middle", [1e-5, 1e-3, 1e-1])
@pytest.mark.parametrize("growth", ["exponential", "linear"])
def test_the_suggestion_is_where_the_loss_falls_most_steeply(middle, growth):
    low, high = (1e-2, 1e2) if growth == "exponential" else (0.5, 3.0)
    bounds = {"lowest": middle * low, "highest": middle * high, "steps": 401}
    search = prescribed(lambda rate: sigmoid(rate, middle), smoothing=1.0, growth=growth, **bounds)
    assert search.suggestion == pytest.approx(middle, rel=0.03)
    assert search.reason is None
    assert f"suggested learning rate: {search.suggestion:.3g}" in repr(search) == str(search)


def test_what_comes_behind_the_lowest_loss_does_not_count():
    """The loss rises from 1e-2 on, and falls again more steeply at 1."""

    def loss(rate):
        rise = 2.0 if 1e-2 < rate < 1 else 0.5
        return sigmoid(rate, 1e-4) + (rise if rate > 1e-2 else 0.0)

    assert prescribed(loss, smoothing=1.0).suggestion == pytest.approx(1e-4, rel=0.2)


@pytest.mark.parametrize("bad", [math.nan, math.inf])
def test_a_loss_that_is_not_finite_ends_the_search(bad):
    search = prescribed(lambda rate: sigmoid(rate, 1e-4) if rate < 1e-2 else bad)
    assert max(search.rates) < 1e-2
    assert all(map(math.isfinite, search.losses))
    assert search.suggestion is not None
    assert search.ended == f"ended at 0.0102, where the loss was {bad}"


@pytest.mark.parametrize("lowest", [1.0, -3.0])
def test_it_ends_when_the_loss_has_risen_too_far(lowest):
    search = prescribed(
        lambda rate: lowest + max(0.0, math.log10(rate) + 3) * 10, smoothing=1.0, stop_at=3.0
    )
    before, last = search.losses[-2:]
    assert before <= lowest + 2 * abs(lowest) < last
    assert "where the smoothed loss had risen too far" in search.ended
    assert len(prescribed(lambda rate: rate, stop_at=math.inf).rates) == 100


@pytest.mark.parametrize(
    ("loss", "options", "reason"),
    [
        (lambda rate: 1.0 + rate, {"stop_at": math.inf}, "the loss never falls"),
        (lambda rate: 1.0, {}, "the loss never falls"),
        (lambda rate: math.nan, {}, "0 rates are too few to see a slope; ended at 1e-07, where"),
        (lambda rate: 1.0, {"steps": 2}, "2 rates are too few to see a slope; all were tried"),
        (lambda rate: 1 + math.sin(1e9 * math.log(rate)), {}, "take larger batches"),
    ],
)
def test_without_a_descent_there_is_no_suggestion(loss, options, reason, tmp_path):
    search = prescribed(loss, **options)
    assert search.suggestion is None
    assert reason in search.reason
    assert f"no suggestion: {search.reason}" in repr(search)
    search.plot(tmp_path / "none.png")
    assert (tmp_path / "none.png").read_bytes().startswith(PNG)


def test_a_descent_is_seen_through_noise():
    draw = random.Random(3)
    search = prescribed(lambda rate: sigmoid(rate, 1e-4) + draw.gauss(0, 0.1))
    assert 1e-5 < search.suggestion < 1e-2


@pytest.mark.covers("D5")
def test_the_plot_names_the_suggestion(tmp_path):
    search = prescribed(lambda rate: sigmoid(rate, 1e-4))
    search.plot(tmp_path / "new" / "rates.png")
    assert has_color(tmp_path / "new" / "rates.png", BLUE)
    axis = Figure().subplots()
    search._draw(axis)
    assert axis.get_xscale() == "log"
    assert axis.get_title(loc="left") == f"suggested learning rate: {search.suggestion:.3g}"
    assert axis.get_legend_handles_labels()[1] == [
        "loss",
        "smoothed",
        f"suggestion {search.suggestion:.3g}",
    ]
    marked = axis.lines[-1].get_xydata()[0]
    assert marked[0] == search.suggestion


# ---------------------------------------------------------------------- ways to train


@pytest.mark.parametrize("shared", [True, False])
def test_one_of_several_optimizers_is_searched(shared):
    nets = nn.ModuleDict({"disc": nn.Linear(1, 1), "gen": nn.Linear(1, 1)})
    optimizers = {name: torch.optim.SGD(net.parameters(), lr=0.5) for name, net in nets.items()}
    losses = {name: lambda m, b, n=name: m[n](b).pow(2).mean() for name in nets}
    turns = alternately("disc", "disc", "gen")
    if shared:
        losses = {"disc+gen": lambda m, b: (m["disc"](b) + m["gen"](b)).pow(2).mean()}
        turns = alternately(("disc", "gen"))
    trainer = Engine(training_step(nets, optimizers, losses, turns=turns), name="train")
    seen = []
    nets["gen"].register_forward_hook(
        lambda *_: seen.append([one.param_groups[0]["lr"] for one in optimizers.values()])
    )
    others = []
    nets["disc"].register_forward_hook(lambda *_: others.append(len(seen)))
    search = find_lr(trainer, [torch.ones(4, 1)], optimizer="gen", steps=4, highest=0.1)
    assert others == ([0, 1, 2, 3] if shared else [0, 0, 1, 1, 2, 2, 3, 3])
    assert [lr for _, lr in seen] == list(search.rates)
    assert {lr for lr, _ in seen} == {0.5}
    assert len(search.losses) == 4
    with pytest.raises(ValueError, match="say as optimizer= which rate to look for"):
        find_lr(trainer, [torch.ones(4, 1)])
    with pytest.raises(ValueError, match=r"'disk'.*Did you mean 'disc'\?"):
        find_lr(trainer, [torch.ones(4, 1)], optimizer="disk")


def test_a_step_may_report_something_else():
    one = made("sgd")
    seen = []
    step = training_step(
        one.net, one.optimizer, F.mse_loss, output=lambda batch, y, report: seen.append(report)
    )
    trainer = Engine(step, name="train")
    assert len(find_lr(trainer, one.loader, steps=6).losses) == 6
    trainer.run(one.loader)
    assert len(seen) == 7


@pytest.mark.parametrize("report", [lambda loss: {"loss": loss.detach()}, lambda loss: loss.item()])
def test_a_function_with_an_optimization_is_a_step_too(report):
    net = nn.Linear(1, 1)
    optimization = Optimization(torch.optim.SGD(net.parameters(), lr=0.1))

    def step(engine, batch):
        loss = net(batch).pow(2).mean()
        optimization.update(loss)
        return report(loss)

    trainer = Engine(step, name="train")
    trainer.attach(optimization)
    before = copy.deepcopy(net.state_dict())
    search = find_lr(trainer, [torch.ones(4, 1)], model=net, lowest=1e-3, highest=0.4)
    assert search.suggestion is not None
    assert str(net.state_dict()) == str(before)
    with pytest.raises(TypeError, match="give the model as model="):
        find_lr(trainer, [torch.ones(4, 1)])


def test_one_shot_data_may_be_given_if_they_are_long_enough():
    trainer, _ = weight_trainer(1.0)
    assert len(find_lr(trainer, iter([batch(1.0, 2.0)] * 5), steps=5, highest=0.1).losses) == 5
    with pytest.raises(DataError, match="one-shot iterator that ended behind batch 4"):
        find_lr(trainer, iter([batch(1.0, 2.0)] * 4), steps=5)


# ---------------------------------------------------------------------- set_lr


def test_a_rate_is_set_in_proportion_also_in_a_tensor():
    weights = [nn.Parameter(torch.zeros(1)) for _ in range(3)]
    rate = torch.tensor(0.25)
    lrs = [rate, 0.5, 0.0]
    groups = [{"params": [w], "lr": lr} for w, lr in zip(weights, lrs, strict=True)]
    adam = torch.optim.Adam(groups, foreach=False)
    set_lr(adam, 3.0)
    assert [float(group["lr"]) for group in adam.param_groups] == [1.5, 3.0, 0.0]
    assert adam.param_groups[0]["lr"] is rate


@pytest.mark.parametrize("rate", [0, -1.0, None, math.nan, math.inf, True, "0.1"])
def test_what_is_no_rate_is_not_set(rate):
    with pytest.raises(ValueError, match="a learning rate is a number above 0"):
        set_lr(weight_trainer(1.0)[1], rate)


def test_a_rate_is_not_set_behind_the_back_of_a_scheduler():
    _, sgd = weight_trainer(1.0)
    torch.optim.lr_scheduler.ExponentialLR(sgd, 0.9)
    with pytest.raises(RuntimeError, match="a scheduler is bound to this optimizer"):
        set_lr(sgd, 0.1)


# ---------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"lowest": 1.0, "highest": 1.0}, "rates grow from lowest, above 0, to highest"),
        ({"lowest": 2.0, "highest": 1.0}, "given lowest=2.0 and highest=1.0"),
        ({"lowest": 0.0}, "rates grow from lowest, above 0"),
        ({"lowest": "a"}, "rates grow from lowest, above 0"),
        ({"highest": math.inf}, "rates grow from lowest, above 0"),
        ({"steps": 1}, "steps is a whole number from 2 on, given 1"),
        ({"steps": 2.5}, "steps is a whole number from 2 on, given 2.5"),
        ({"growth": "linea"}, "Did you mean 'linear'?"),
        ({"smoothing": 0.0}, "smoothing is the weight of a new loss"),
        ({"smoothing": 1.5}, "smoothing is the weight of a new loss"),
        ({"stop_at": 1.0}, "stop_at is a multiple of the lowest loss, above 1"),
        ({"optimizer": "optimisation"}, "Did you mean 'optimization'?"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    trainer, _ = weight_trainer(1.0)
    with pytest.raises(ValueError, match=said.replace("?", r"\?")):
        find_lr(trainer, [batch(1.0, 1.0)], **options)


def test_data_that_are_none_are_refused():
    trainer, _ = weight_trainer(1.0)
    with pytest.raises(DataError, match="was given no data"):
        find_lr(trainer, None)
    with pytest.raises(DataError, match="gave no batch"):
        find_lr(trainer, [])
    with pytest.raises(TypeError, match="can't be iterated over"):
        find_lr(trainer, 7)


@pytest.mark.parametrize("search", [find_lr, find_batch_size])
def test_what_can_not_be_searched_is_refused(search):
    data = [batch(1.0, 1.0)]
    given = data if search is find_lr else lambda size: data
    with pytest.raises(TypeError, match="takes the trainer, an Engine, given"):
        search(nn.Linear(1, 1), given)
    with pytest.raises(ValueError, match="has no Optimization"):
        search(Engine(lambda engine, batch: None), given)
    trainer, _ = weight_trainer(1.0)
    trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: search(engine, given))
    with pytest.raises(RuntimeError, match="is running; search before run"):
        trainer.run(data)


def test_rates_that_are_all_zero_are_refused():
    trainer, _ = weight_trainer(1.0, lrs=(0.0,))
    with pytest.raises(ValueError, match="the present rates are all 0"):
        find_lr(trainer, [batch(1.0, 1.0)])


def test_a_rate_that_is_no_number_is_refused():
    trainer, sgd = weight_trainer(1.0)
    sgd.param_groups[0]["lr"] = None
    with pytest.raises(ValueError, match=r"SGD has rates \[None\], which are no numbers"):
        find_lr(trainer, [batch(1.0, 1.0)])


def plain_trainer(step):
    net = nn.Linear(1, 1)
    optimization = Optimization(torch.optim.SGD(net.parameters(), lr=0.1))
    trainer = Engine(lambda engine, batch: step(net, optimization), name="train")
    trainer.attach(optimization)
    return trainer, net


def test_a_step_that_moves_the_rate_is_refused():
    def step(net, optimization):
        loss = net(torch.ones(1, 1)).sum()
        optimization.update(loss)
        optimization.optimizer.param_groups[0]["lr"] *= 0.9
        return loss

    trainer, net = plain_trainer(step)
    with pytest.raises(RuntimeError, match="the rate was set to 1e-07, but the step moved it"):
        find_lr(trainer, [0], model=net)
    assert trainer.handlers["optimization"].optimizer.param_groups[0]["lr"] == 0.1


@pytest.mark.parametrize(
    ("report", "said"),
    [
        ({"accuracy": 1.0}, r"returned a dict with \['accuracy'\]"),
        ({"loss": torch.ones(2)}, r"returned a dict with \['loss'\]"),
        ("fine", "returned a str"),
    ],
)
def test_a_report_without_a_loss_is_refused(report, said):
    trainer, net = plain_trainer(lambda net, optimization: report)
    with pytest.raises(ValueError, match=said):
        find_lr(trainer, [0], model=net)


@pytest.mark.parametrize("report", [None, {}, {"other_loss": 1.0}])
def test_a_step_that_never_trains_is_found_out(report):
    trainer, net = plain_trainer(lambda net, optimization: report)
    with pytest.raises(RuntimeError, match="100 batches went by, and 'optimization' made no step"):
        find_lr(trainer, [0], model=net)
