"""What MMCV's runners and ours are both made to do; ``api`` is the one module or the other."""

# ruff: noqa: C408 - configurations are written as MMCV's users write them

from __future__ import annotations

import contextlib
import itertools
import logging
import pathlib
import tempfile
import time
from collections import OrderedDict

import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

FOLDER = pathlib.Path(__file__).parents[2] / "golden" / "mmcv"

STAGES = [
    f"{when}_{phase}_{unit}"
    for when, phase, unit in itertools.product(
        ("before", "after"), ("train", "val"), ("epoch", "iter")
    )
]

PHASES = {
    "epoch": ("epoch", [("train", 2), ("val", 1)], [3, 2], 3),
    "epoch, val first": ("epoch", [("val", 2), ("train", 1)], [2, 3], 2),
    "epoch, two train": ("epoch", [("train", 1), ("train", 1), ("val", 1)], [3, 2, 1], 3),
    "iter": ("iter", [("train", 3), ("val", 2)], [4, 3], 8),
    "iter, val first": ("iter", [("val", 1), ("train", 2)], [2, 3], 5),
    "iter, two train": ("iter", [("train", 2), ("val", 1), ("train", 1)], [2, 1, 3], 6),
    "iter, cut": ("iter", [("train", 2), ("train", 1), ("val", 2)], [2, 1, 3], 7),
}

POLICIES = {
    "fixed": dict(policy="fixed"),
    "step": dict(policy="step", step=[2, 5], gamma=0.5, min_lr=0.03),
    "step each": dict(policy="step", step=2, gamma=0.7),
    "exp": dict(policy="exp", gamma=0.9),
    "poly": dict(policy="poly", power=0.9, min_lr=1e-4),
    "inv": dict(policy="inv", gamma=0.3, power=0.75),
    "CosineAnnealing": dict(policy="CosineAnnealing", min_lr=1e-3),
    "CosineAnnealing to a share": dict(policy="CosineAnnealing", min_lr_ratio=1e-2),
    "FlatCosineAnnealing": dict(policy="FlatCosineAnnealing", start_percent=0.5, min_lr=1e-3),
    "CosineRestart": dict(
        policy="CosineRestart", periods=[3, 40], restart_weights=[1, 0.5], min_lr_ratio=0.1
    ),
    "LinearAnnealing": dict(policy="LinearAnnealing", min_lr=1e-3),
    "cyclic": dict(policy="cyclic", target_ratio=(10, 1e-2), cyclic_times=2, gamma=0.9),
    "cyclic, down alone": dict(policy="cyclic", step_ratio_up=0.0, anneal_strategy="linear"),
    "OneCycle": dict(policy="OneCycle", max_lr=0.5),
    "OneCycle in three": dict(
        policy="OneCycle", max_lr=0.5, total_steps=40, three_phase=True, anneal_strategy="linear"
    ),
}
BY_ITERATION = ("cyclic", "OneCycle")

WARM_UPS = {
    "none": {},
    "constant": dict(warmup="constant", warmup_iters=7, warmup_ratio=0.2),
    "linear": dict(warmup="linear", warmup_iters=7, warmup_ratio=0.2),
    "exp": dict(warmup="exp", warmup_iters=7, warmup_ratio=0.2),
    "linear by epoch": dict(
        warmup="linear", warmup_iters=2, warmup_ratio=0.2, warmup_by_epoch=True
    ),
}

MOMENTA = {
    "step": dict(policy="step", step=[2, 5], min_momentum=0.3),
    "CosineAnnealing": dict(policy="CosineAnnealing", min_momentum=0.5),
    "LinearAnnealing": dict(policy="LinearAnnealing", min_momentum_ratio=0.5),
    "cyclic": dict(policy="cyclic", cyclic_times=2, gamma=0.8),
    "OneCycle": dict(policy="OneCycle"),
    "OneCycle in three": dict(policy="OneCycle", three_phase=True, pct_start=0.4),
}

LOSSES = {
    "epoch": dict(optimizer_config=dict(grad_clip=dict(max_norm=0.5, norm_type=2))),
    "iter": dict(optimizer_config=dict(grad_clip=dict(max_norm=0.5, norm_type=2))),
    "epoch, cumulative": dict(
        optimizer_config=dict(type="GradientCumulativeOptimizerHook", cumulative_iters=4)
    ),
    "epoch, batch_processor": dict(optimizer_config=dict()),
}


class Net(nn.Module):
    """A network whose losses depend on each draw of torch's random numbers."""

    def __init__(self):
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(6, 8), nn.Tanh(), nn.Dropout(0.2), nn.Linear(8, 1))
        self.double()

    def answer(self, data):
        x, y = data
        loss = (self.layers(x) - y).square().mean()
        return dict(loss=loss, log_vars=dict(loss=loss.item()), num_samples=len(x))


class Stepping(Net):
    """With the methods of a model."""

    def train_step(self, data, optimizer, scale=1.0):
        return self.answer(data)

    def val_step(self, data, optimizer=None, scale=1.0):
        return self.answer(data)


class Adversaries(nn.Module):
    """Two networks, which step their optimizers themselves."""

    def __init__(self):
        super().__init__()
        self.maker = nn.Linear(6, 1).double()
        self.judge = nn.Linear(1, 1).double()

    def train_step(self, data, optimizer):
        x, y = data
        found = {}
        for name, sign in (("judge", 1.0), ("maker", -1.0)):
            optimizer[name].zero_grad()
            made = self.maker(x) if name == "maker" else self.maker(x).detach()
            loss = sign * (self.judge(made) - self.judge(y)).tanh().mean()
            loss.backward()
            optimizer[name].step()
            found[name] = loss.item()
        return dict(log_vars=found, num_samples=len(x))


def process(model, data, train_mode):
    """The same as a function."""
    return model.answer(data)


@contextlib.contextmanager
def without_sleep():
    """MMCV waits for two seconds between epochs, which nothing here needs."""
    sleep, time.sleep = time.sleep, lambda seconds: None
    try:
        yield
    finally:
        time.sleep = sleep


def _logger():
    logger = logging.getLogger("scenarios")
    logger.setLevel(logging.CRITICAL)
    return logger


def _runner(api, unit, limit, model=None, **options):
    model = Stepping() if model is None else model
    options.setdefault("optimizer", torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9))
    kind, name = (
        (api.EpochBasedRunner, "max_epochs")
        if unit == "epoch"
        else (api.IterBasedRunner, "max_iters")
    )
    return kind(model, logger=_logger(), **{name: limit}, **options)


def _loader(count, seed=0, batch=2, *, shuffle=False, own=False):
    """A loader; with ``own`` random numbers it draws none of torch's."""
    generator = torch.Generator().manual_seed(seed)
    x = torch.randn(count * batch, 6, generator=generator, dtype=torch.float64)
    y = x.sum(1, keepdim=True).tanh()
    generator = torch.Generator().manual_seed(seed) if own else None
    return DataLoader(TensorDataset(x, y), batch, shuffle=shuffle, generator=generator)


# ---------------------------------------------------------------------- the order of hooks


def _recorders(api, lines):
    def note(hook, stage, runner):
        lines.append(
            f"{type(hook).__name__}.{stage} epoch={runner.epoch} iter={runner.iter} "
            f"inner={runner.inner_iter} mode={runner.mode} max={runner.max_iters}"
        )

    def method(stage):
        return lambda hook, runner: note(hook, stage, runner)

    generic = [
        "before_run",
        "before_epoch",
        "before_iter",
        "after_iter",
        "after_epoch",
        "after_run",
    ]
    specific = ["before_run", *STAGES, "after_run"]
    some = ["before_epoch", "after_val_iter", "after_train_epoch"]
    return [
        (type("Generic", (api.Hook,), {name: method(name) for name in generic})(), "NORMAL"),
        (type("Specific", (api.Hook,), {name: method(name) for name in specific})(), 45),
        (type("Late", (api.Hook,), {name: method(name) for name in some})(), "VERY_LOW"),
        (type("First", (api.Hook,), {name: method(name) for name in some})(), "HIGHEST"),
        (type("Equal", (api.Hook,), {name: method(name) for name in some})(), "normal"),
    ]


def order(api, name):
    """Each call of a hook, and what the runner says of itself then."""
    unit, workflow, lengths, limit = PHASES[name]
    torch.manual_seed(0)
    lines = []
    runner = _runner(api, unit, limit)
    for hook, priority in _recorders(api, lines):
        runner.register_hook(hook, priority)
    with without_sleep():
        runner.run([_loader(length) for length in lengths], workflow)
    return lines


def asked(api, name):
    """What hooks are told when they ask where the run stands, at each iteration of training."""
    unit, workflow, lengths, limit = PHASES[name]
    told = []

    class Asking(api.Hook):
        def after_train_iter(self, runner):
            told.append(
                [
                    self.every_n_epochs(runner, 2),
                    self.every_n_iters(runner, 3),
                    self.every_n_inner_iters(runner, 2),
                    self.end_of_epoch(runner),
                    self.is_last_epoch(runner),
                    self.is_last_iter(runner),
                ]
            )

    torch.manual_seed(0)
    runner = _runner(api, unit, limit)
    runner.register_hook(Asking())
    with without_sleep():
        runner.run([_loader(length) for length in lengths], workflow)
    return [told, Asking().get_triggered_stages()]


# ---------------------------------------------------------------------- rates and momenta


def _curve(api, unit, read, **config):
    torch.manual_seed(0)
    values = []
    model = Stepping()
    groups = [{"params": model.layers[0].parameters()}, {"params": model.layers[3].parameters()}]
    groups[1]["lr"] = 0.02
    optimizer = torch.optim.SGD(groups, lr=0.1, momentum=0.9)
    runner = _runner(api, unit, 9 if unit == "epoch" else 36, model, optimizer=optimizer)

    class Reading(api.Hook):
        def after_train_iter(self, runner):
            values.append(list(getattr(runner, read)()))

    runner.register_training_hooks(**config)
    runner.register_hook(Reading())
    with without_sleep():
        runner.run([_loader(4)], [("train", 1)])
    return values


def rate_names():
    """Each policy with each warm-up in a runner by epochs; and some in one by iterations."""
    for policy, warm_up in itertools.product(POLICIES, WARM_UPS):
        yield f"{policy} | {warm_up} | epoch runner"
        if not policy.startswith(BY_ITERATION):
            yield f"{policy} | {warm_up} | epoch runner, by_epoch=False"
        if warm_up in ("none", "exp"):
            yield f"{policy} | {warm_up} | iter runner"


def rates(api, name):
    """The learning rates of two parameter groups in each of 36 iterations."""
    policy, warm_up, where = name.split(" | ")
    config = {**POLICIES[policy], **WARM_UPS[warm_up]}
    if where.endswith("by_epoch=False"):
        config["by_epoch"] = False
    unit = "iter" if where == "iter runner" else "epoch"
    return _curve(api, unit, "current_lr", lr_config=config, optimizer_config=dict())


def momentum_names():
    for policy, unit in itertools.product(MOMENTA, ("epoch", "iter")):
        yield f"{policy} | {unit}"
    yield "CosineAnnealing, warm | epoch"


def momenta(api, name):
    """The momenta of two parameter groups in each of 36 iterations."""
    policy, unit = name.split(" | ")
    config = dict(MOMENTA[policy.removesuffix(", warm")])
    if policy.endswith("warm"):
        config.update(warmup="linear", warmup_iters=6)
    if unit == "iter":
        config["by_epoch"] = False
    return _curve(
        api,
        unit,
        "current_momentum",
        lr_config=None,
        optimizer_config=dict(),
        momentum_config=config,
    )


# ---------------------------------------------------------------------- training


def losses(api, name):
    """The losses of 30 iterations, those of validation, and the weights in the end."""
    config = dict(LOSSES[name]["optimizer_config"])
    unit = "iter" if name.startswith("iter") else "epoch"
    torch.manual_seed(3)
    processes = name.endswith("batch_processor")
    model = Net() if processes else Stepping()
    found = []
    options = dict(batch_processor=process) if processes else {}
    runner = _runner(api, unit, 3 if unit == "epoch" else 30, model, **options)

    class Reading(api.Hook):
        def after_iter(self, runner):
            found.append([runner.mode, runner.outputs["log_vars"]["loss"]])

    lr = dict(policy="step", step=[1, 2], warmup="linear", warmup_iters=5, warmup_ratio=0.1)
    runner.register_training_hooks(lr_config=lr, optimizer_config=config)
    runner.register_hook(Reading(), "LOW")
    own = unit == "iter"  # where MMCV begins all passes at once, and ours when they are needed
    loaders = [_loader(10, 1, shuffle=True, own=own), _loader(3, 2, own=own)]
    workflow = [("train", 1), ("val", 1)] if unit == "epoch" else [("train", 10), ("val", 3)]
    with without_sleep():
        runner.run(loaders, workflow)
    return {
        "losses": found,
        "weights": [value.sum().item() for value in model.state_dict().values()],
    }


CHECKPOINT = FOLDER / "epoch_1.pth"


def saved(api, folder):
    """Train for an epoch, and save as MMCV does; returns the file."""
    torch.manual_seed(3)
    runner = _runner(api, "epoch", 1, meta=dict(note="by MMCV"), work_dir=str(folder))
    runner.register_training_hooks(
        dict(policy="exp", gamma=0.5), dict(grad_clip=dict(max_norm=0.5)), dict(interval=1)
    )
    with without_sleep():
        runner.run([_loader(5, 1, shuffle=True)], [("train", 1)])
    return pathlib.Path(folder) / "epoch_1.pth"


def resumed(api):
    """The losses of two epochs behind what MMCV has saved."""
    torch.manual_seed(4)
    found = []
    runner = _runner(api, "epoch", 3)

    class Reading(api.Hook):
        def after_train_iter(self, runner):
            loss = runner.outputs["log_vars"]["loss"]
            found.append([runner.epoch, runner.iter, runner.current_lr()[0], loss])

    runner.register_training_hooks(
        dict(policy="exp", gamma=0.5), dict(grad_clip=dict(max_norm=0.5))
    )
    runner.register_hook(Reading())
    runner.resume(str(CHECKPOINT), map_location="cpu")
    with without_sleep():
        runner.run([_loader(5, 1, shuffle=True)], [("train", 1)])
    return [runner.meta["note"], found]


def adversaries(api):
    """Losses and learning rates of two optimizers, with which the model steps itself."""
    torch.manual_seed(3)
    model, found = Adversaries(), []
    optimizer = {
        name: torch.optim.SGD(getattr(model, name).parameters(), lr, momentum=0.5)
        for name, lr in (("maker", 0.1), ("judge", 0.2))
    }
    runner = _runner(api, "epoch", 3, model, optimizer=optimizer)

    class Reading(api.Hook):
        def after_train_iter(self, runner):
            rates, momenta = runner.current_lr(), runner.current_momentum()
            found.append([dict(runner.outputs["log_vars"]), rates, momenta])

    runner.register_training_hooks(
        dict(policy="poly", by_epoch=False, warmup="exp", warmup_iters=4),
        momentum_config=dict(policy="cyclic"),
    )
    runner.register_hook(Reading())
    with without_sleep():
        runner.run([_loader(10, 1, shuffle=True)], [("train", 1)])
    return found


def averaged(api):
    """The weights that ``EMAHook`` keeps, and those that a validation sees."""
    torch.manual_seed(3)
    model, found = Stepping(), []
    runner = _runner(api, "epoch", 3, model)

    class Reading(api.Hook):
        def before_val_epoch(self, runner):
            found.append([value.sum().item() for value in model.parameters()])

        def after_train_iter(self, runner):
            found.append([value.sum().item() for value in model.buffers()])

    runner.register_training_hooks(dict(policy="fixed"), optimizer_config=dict())
    runner.register_hook(api.EMAHook(momentum=0.1, interval=2, warm_up=5))
    runner.register_hook(Reading(), "LOWEST")
    with without_sleep():
        runner.run([_loader(10, 1, shuffle=True), _loader(2, 2)], [("train", 1), ("val", 1)])
    return found


# ---------------------------------------------------------------------- what hooks measure


def logged(api, by_epoch):
    """What a logger of one's own finds in the log buffer."""
    found = []

    class Noting(api.LoggerHook):
        def log(self, runner):
            tags = self.get_loggable_tags(runner)
            found.append([self.get_mode(runner), self.get_iter(runner), dict(tags)])

    torch.manual_seed(3)
    runner = _runner(api, "epoch" if by_epoch else "iter", 2 if by_epoch else 14)
    clip = dict(grad_clip=dict(max_norm=0.5))
    runner.register_training_hooks(dict(policy="exp", gamma=0.5), optimizer_config=clip)
    runner.register_hook(Noting(interval=3, ignore_last=False, by_epoch=by_epoch), "VERY_LOW")
    workflow = [("train", 1), ("val", 1)] if by_epoch else [("train", 7), ("val", 2)]
    with without_sleep():
        own = not by_epoch
        runner.run([_loader(7, 1, own=own), _loader(2, 2, batch=3, own=own)], workflow)
    return found


class Judged(TensorDataset):
    """Data that evaluate."""

    def __getitem__(self, index):
        x, y = super().__getitem__(index)
        return {"x": x, "y": y}

    def evaluate(self, results, logger=None, factor=1):
        return OrderedDict(spread=factor * sum(results) / len(results), loss=sum(results) ** 2)


class Judging(Stepping):
    """A model that is asked as MMCV asks."""

    def forward(self, x, y, return_loss=True):
        assert not return_loss
        return (self.layers(x) - y).abs().flatten().tolist()


def judged(api, unit, start):
    """When an ``EvalHook`` evaluates, and what."""
    torch.manual_seed(3)
    found = []
    limit = 5 if unit == "epoch" else 10
    runner = _runner(api, unit, limit, Judging(), work_dir=tempfile.mkdtemp())
    x, y = _loader(3, 4).dataset.tensors

    class Reading(api.EvalHook):
        def evaluate(self, runner, results):
            score = super().evaluate(runner, results)
            found.append([runner.epoch, runner.iter, dict(runner.log_buffer.output)])
            return score

    interval = 2 if unit == "epoch" else 3
    loader = DataLoader(Judged(x, y), 2)
    hook = Reading(loader, start, interval, unit == "epoch", factor=2)
    runner.register_training_hooks(dict(policy="fixed"), optimizer_config=dict())
    runner.register_hook(hook, "LOW")
    with without_sleep():
        runner.run([_loader(4)], [("train", 1)])
    return found


def groups(api):
    """The learning rates and weight decays that ``paramwise_cfg`` gives."""
    model = nn.Sequential(
        OrderedDict(
            stem=nn.Conv2d(3, 4, 3),
            norm=nn.BatchNorm2d(4),
            deep=nn.Conv2d(4, 4, 3, groups=4),
            head=nn.Sequential(OrderedDict(one=nn.Linear(4, 4), norm=nn.LayerNorm(4))),
        )
    )
    model.stem.bias.requires_grad = False
    paramwise = dict(
        bias_lr_mult=2.0,
        bias_decay_mult=0.5,
        norm_decay_mult=0.0,
        dwconv_decay_mult=0.1,
        custom_keys={"head": dict(lr_mult=0.1), "head.norm": dict(decay_mult=0.3)},
    )
    cfg = dict(type="SGD", lr=0.1, momentum=0.9, weight_decay=0.01, paramwise_cfg=paramwise)
    built = api.build_optimizer(model, cfg)
    return [[group["lr"], group["weight_decay"]] for group in built.param_groups]


def everything(api):
    """All of it, by file and name."""
    return {
        "orders": {name: order(api, name) for name in PHASES},
        "asked": {name: asked(api, name) for name in PHASES},
        "rates": {name: rates(api, name) for name in rate_names()},
        "momenta": {name: momenta(api, name) for name in momentum_names()},
        "losses": {name: losses(api, name) for name in LOSSES},
        "resumed": resumed(api),
        "adversaries": adversaries(api),
        "averaged": averaged(api),
        "logged": {str(by_epoch): logged(api, by_epoch) for by_epoch in (True, False)},
        "judged": {
            f"{unit} {start}": judged(api, unit, start)
            for unit, start in itertools.product(("epoch", "iter"), (None, 0, 2))
        },
        "groups": groups(api),
    }
