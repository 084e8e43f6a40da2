"""Averaged weights: their values, when they are updated, how they are used, saved and resumed."""

from __future__ import annotations

import contextlib
import copy
import os
import pickle
import random
import signal
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file
from torch import nn

from footplate import Engine, Events, Signalled
from footplate.engine.errors import DataError, StateError
from footplate.engine.step.optimization import Optimization
from footplate.handlers.averaging import EMA, SWA
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.evaluation import Evaluation


def network(seed: int = 0) -> nn.Sequential:
    torch.manual_seed(seed)
    return nn.Sequential(nn.Linear(4, 8), nn.BatchNorm1d(8), nn.Dropout(0.3), nn.Linear(8, 1))


def batches(count: int = 6) -> list[torch.Tensor]:
    return list(torch.randn(count, 16, 4, generator=torch.Generator().manual_seed(1)))


def bits(model: nn.Module) -> dict[str, torch.Tensor]:
    return {name: value.clone() for name, value in model.state_dict().items()}


def same(one: dict[str, torch.Tensor], other: dict[str, torch.Tensor]) -> bool:
    return one.keys() == other.keys() and all(torch.equal(one[key], other[key]) for key in one)


def shift(model: nn.Module, by: float = 1.0) -> None:
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.is_floating_point() or parameter.is_complex():
                parameter.add_(by)


class Run:
    """A small training run with an EMA that an evaluator uses, and checkpoints."""

    def __init__(self, folder: Path, **options) -> None:
        self.model = network()
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.1, momentum=0.9)
        self.trainer = Engine(self.step, name="train")
        self.evaluator = Engine(self.look, name="val")
        self.ema = self.trainer.attach(EMA(self.model, decay=0.9, warm_up=True))
        self.ema.evaluate_with(self.evaluator)
        self.trainer.attach(Evaluation(self.evaluator, batches(3)))
        others = {"optimizer": self.optimizer}
        self.checkpoint = self.trainer.attach(Checkpoint(folder, self.model, others, **options))
        self.seen: list[dict[str, torch.Tensor]] = []
        self.trained: list[dict[str, torch.Tensor]] = []
        self.trainer.on(Events.EPOCH_COMPLETED, priority="HIGHEST")(
            lambda: self.trained.append(bits(self.model))
        )

    def step(self, engine: Engine, batch: torch.Tensor) -> None:
        self.model.train()
        self.optimizer.zero_grad()
        self.model(batch).square().mean().backward()
        self.optimizer.step()

    @torch.no_grad()
    def look(self, engine: Engine, batch: torch.Tensor) -> None:
        self.model.eval()
        self.seen.append(bits(self.model))
        self.model(batch)


# ------------------------------------------------------------------ values


@pytest.mark.covers("C12")
@pytest.mark.parametrize("warm_up", [False, True])
def test_the_moving_average_is_the_formulas(warm_up):
    model = nn.Linear(3, 2).double()
    ema = EMA(model, decay=0.9, warm_up=warm_up)
    weights, decays = [], []
    for n in range(30):
        nn.init.normal_(model.weight)
        weights.append(model.weight.detach().clone())
        decays.append(min(0.9, (1 + n) / (10 + n)) if warm_up else 0.9)
        ema.update()
    expected = weights[0] * torch.tensor(decays[1:]).double().prod()
    for n in range(1, 30):
        later = torch.tensor(decays[n + 1 :]).double().prod()
        expected = expected + (1 - decays[n]) * later * weights[n]
    torch.testing.assert_close(ema.averaged["weight"], expected, rtol=1e-6, atol=1e-7)
    exact = weights[0]
    for decay, weight in zip(decays[1:], weights[1:], strict=True):
        exact = decay * exact + (1 - decay) * weight
    torch.testing.assert_close(ema.averaged["weight"], exact, rtol=1e-13, atol=1e-14)


def test_the_moving_average_has_the_bits_of_torch():
    model = network()
    average = torch.optim.swa_utils.get_ema_multi_avg_fn(0.99)
    reference = torch.optim.swa_utils.AveragedModel(model, multi_avg_fn=average)
    ema = EMA(model, decay=0.99)
    for _ in range(5):
        shift(model, 0.37)
        model(torch.randn(8, 4))
        ema.update()
        reference.update_parameters(model)
    assert same(ema.model_state_dict(), bits(reference.module))


@pytest.mark.covers("C12")
def test_swa_is_the_mean_of_the_epochs_from_its_start_on():
    model = nn.Linear(3, 2).double()
    ends = []
    trainer = Engine(lambda engine, batch: nn.init.normal_(model.weight), name="train")
    trainer.on(Events.EPOCH_COMPLETED)(lambda: ends.append(model.weight.detach().clone()))
    swa = trainer.attach(SWA(model, start=3, every=2))
    trainer.run([0, 1], max_epochs=8)
    expected = torch.stack([ends[2], ends[4], ends[6]]).mean(0)
    assert swa.updates == 3
    torch.testing.assert_close(swa.averaged["weight"], expected, rtol=1e-14, atol=1e-14)


def test_swa_is_updated_before_the_evaluation_of_the_epoch():
    model = nn.Linear(1, 1, bias=False)
    nn.init.zeros_(model.weight)
    trainer = Engine(lambda engine, batch: shift(model), name="train")
    evaluator = Engine(lambda engine, batch: seen.append(model.weight.item()), name="val")
    seen: list[float] = []
    trainer.attach(Evaluation(evaluator, [0]))
    swa = trainer.attach(SWA(model, start=2))
    swa.evaluate_with(evaluator)
    trainer.run([0], max_epochs=4)
    assert seen == [1.0, 2.0, 2.5, 3.0]  # before its start the weights themselves
    assert model.weight.item() == 4.0


def test_small_steps_of_half_precision_are_not_lost():
    model = nn.Linear(1, 1, bias=False).bfloat16()
    nn.init.ones_(model.weight)
    ema = EMA(model, decay=0.999)
    ema.update()
    nn.init.constant_(model.weight, 2.0)
    for _ in range(2000):
        ema.update()
    assert ema.averaged["weight"].item() == pytest.approx(2 - 0.999**2000, rel=1e-4)
    assert ema.model_state_dict()["weight"].dtype == torch.bfloat16


def test_many_types_and_tied_weights_are_averaged_each_once():
    model = nn.ModuleDict({"a": nn.Linear(2, 2), "b": nn.Linear(2, 2), "c": nn.Linear(2, 2)})
    model["a"].weight = model["b"].weight
    model["c"].register_parameter("turn", nn.Parameter(torch.zeros(2, dtype=torch.complex64)))
    model["b"].bias = nn.Parameter(torch.zeros(2, dtype=torch.float64))
    model["a"].register_parameter("count", nn.Parameter(torch.tensor(3), requires_grad=False))
    before = {name: one.detach().clone() for name, one in model.named_parameters()}
    ema = EMA(model, decay=0.5)
    ema.update()
    shift(model)
    ema.update()
    assert sorted(ema.averaged) == sorted(before)
    assert "b.weight" not in ema.averaged
    for name, value in ema.averaged.items():
        by = 0 if name == "a.count" else 0.5
        torch.testing.assert_close(value, before[name] + by)
    state = ema.model_state_dict()
    assert torch.equal(state["a.weight"], state["b.weight"])
    assert state.keys() == model.state_dict().keys()


def test_buffers_are_copied_or_averaged():
    model = nn.BatchNorm1d(2, affine=True)
    model.register_buffer("mask", torch.zeros(2), persistent=False)
    both = {kind: EMA(model, decay=0.5, buffers=kind) for kind in ("copy", "average")}
    for mean in (0.0, 4.0):
        model.running_mean.fill_(mean)
        model.num_batches_tracked += 1
        for ema in both.values():
            ema.update()
    assert both["copy"].averaged["running_mean"].tolist() == [4.0, 4.0]
    assert both["average"].averaged["running_mean"].tolist() == [2.0, 2.0]
    assert both["average"].averaged["num_batches_tracked"] == 2
    assert "mask" not in both["copy"].averaged


# ------------------------------------------------------------------ when


@pytest.mark.covers("C12")
def test_only_real_steps_count_where_the_engine_tells_them():
    model = nn.Linear(1, 1, bias=False)
    optimization = Optimization(torch.optim.SGD(model.parameters(), lr=0.1), accumulate=2)
    trainer = Engine(lambda engine, batch: optimization.update(model(batch).sum()), name="train")
    trainer.attach(optimization)
    ema = trainer.attach(EMA(model, every=2))
    trainer.run([torch.ones(1, 1)] * 12)
    assert (ema.steps, ema.updates) == (6, 3)


def test_of_several_optimizations_one_may_count():
    models = {name: nn.Linear(1, 1, bias=False) for name in ("generator", "critic")}
    optimizations = {
        name: Optimization(torch.optim.SGD(model.parameters(), lr=0.1), name=name)
        for name, model in models.items()
    }

    def step(engine: Engine, batch: torch.Tensor) -> None:
        for _ in range(3):
            optimizations["critic"].update(models["critic"](batch).sum())
        optimizations["generator"].update(models["generator"](batch).sum())

    trainer = Engine(step, name="train")
    for one in optimizations.values():
        trainer.attach(one)
    ema = trainer.attach(EMA(models["generator"], optimization="generator"))
    every = trainer.attach(EMA(models["generator"]), name="every")
    trainer.run([torch.ones(1, 1)] * 4)
    assert (ema.updates, every.updates) == (4, 16)
    with pytest.raises(ValueError, match=r"no optimization named 'critik' yet.*'critic'"):
        trainer.attach(EMA(models["critic"], optimization="critik"), name="another")


def test_a_run_that_starts_anew_averages_anew():
    model = nn.Linear(1, 1, bias=False)
    trainer = Engine(lambda engine, batch: shift(model), name="train")
    ema, swa = trainer.attach(EMA(model, decay=0.5, every=2)), trainer.attach(SWA(model, 1))
    for _ in range(2):
        nn.init.zeros_(model.weight)
        trainer.state.max_epochs = None
        trainer.run([0, 1, 2], max_epochs=1)
        trainer.run(max_epochs=2)  # goes on
        assert (ema.updates, ema.steps, swa.updates) == (3, 6, 2)
        assert (ema.averaged["weight"].item(), swa.averaged["weight"].item()) == (4.5, 4.5)


def test_an_average_that_is_there_before_the_first_run_is_kept():
    def made() -> tuple[nn.Linear, Engine, EMA]:
        model = nn.Linear(1, 1, bias=False)
        nn.init.zeros_(model.weight)
        trainer = Engine(lambda engine, batch: shift(model), name="train")
        return model, trainer, trainer.attach(EMA(model, decay=0.5))

    _, trainer, ema = made()
    ema.update()
    trainer.run([0])
    assert (ema.updates, ema.averaged["weight"].item()) == (2, 0.5)
    _, trainer, other = made()
    trainer.run([0])
    other.load_state_dict(ema.state_dict())
    trainer.run([0])
    assert (other.updates, other.averaged["weight"].item()) == (3, 1.25)


def test_a_resumed_run_is_one_that_a_later_run_forgets():
    model = nn.Linear(1, 1, bias=False)
    made = lambda: Engine(lambda engine, batch: shift(model), name="train")  # noqa: E731
    first, second = made(), made()
    first.attach(EMA(model))
    first.run([0, 1])
    ema = second.attach(EMA(model))
    second.load_state_dict(first.state_dict())
    second.run([0, 1], max_epochs=2)
    assert ema.updates == 4
    second.run([0, 1], max_epochs=2)
    second.state.max_epochs = None
    second.run([0, 1])
    assert ema.updates == 2


def test_what_the_model_gets_in_place_of_its_tensors_is_averaged():
    model = network()
    ema = EMA(model, decay=0.5)
    ema.update()
    for module, name, kind in ((model[0], "weight", nn.Parameter), (model[1], "running_var", None)):
        new = torch.full_like(getattr(module, name), 7.0)
        before = ema.averaged[f"{list(model).index(module)}.{name}"].clone()
        setattr(module, name, kind(new) if kind else new)
        ema.update()
        after = ema.averaged[f"{list(model).index(module)}.{name}"]
        torch.testing.assert_close(after, (before + 7) / 2 if kind else new)
    model[3] = nn.Linear(8, 1)
    with ema.applied():
        assert torch.equal(model[3].weight, ema.averaged["3.weight"])
    before = ema.averaged["0.weight"].clone()
    nn.init.constant_(model.double()[0].weight, 9.0)
    ema.update()
    torch.testing.assert_close(ema.averaged["0.weight"], (before + 9) / 2)


# ------------------------------------------------------------------ using it


@pytest.mark.covers("C12")
def test_the_average_takes_the_weights_place_and_gives_it_back():
    model, optimizer = network(), None
    optimizer = torch.optim.Adam(model.parameters())
    ema = EMA(model, decay=0.5)
    for _ in range(3):
        ema.update()
        shift(model)
        model(torch.randn(8, 4))
    model[0].weight.grad = torch.ones_like(model[0].weight)
    trained, places = bits(model), [one.data_ptr() for one in model.state_dict().values()]
    with ema.applied():
        assert torch.equal(model[0].weight, ema.averaged["0.weight"])
        assert torch.equal(model[1].running_mean, ema.averaged["1.running_mean"])
        assert not torch.equal(model[0].weight, trained["0.weight"])
        assert optimizer.param_groups[0]["params"][0] is model[0].weight
        assert torch.is_grad_enabled()
    assert same(bits(model), trained)
    assert places == [one.data_ptr() for one in model.state_dict().values()]
    assert model[0].weight.grad.sum() == 32


def test_the_weights_come_back_whatever_happens():
    model = network()
    ema = EMA(model, decay=0.5)
    ema.update()
    shift(model)
    trained = bits(model)
    with contextlib.suppress(KeyboardInterrupt), ema.applied():
        shift(model)
        raise KeyboardInterrupt
    assert same(bits(model), trained)
    ema.averaged["3.bias"] = torch.zeros(7)  # can't be copied: the swap fails in the middle
    with pytest.raises(RuntimeError, match="shape"), ema.applied():
        pass
    assert same(bits(model), trained)
    ema.state_dict()


class Fragile(torch.Tensor):
    """A tensor; something interrupts so many copies into tensors of its class."""

    cuts = 0

    @classmethod
    def __torch_function__(cls, function, types, args=(), kwargs=None):
        if function is torch.Tensor.copy_ and cls.cuts:
            cls.cuts -= 1
            if not cls.cuts:
                raise KeyboardInterrupt
        return super().__torch_function__(function, types, args, kwargs or {})


def fragile_network() -> nn.ModuleList:
    """Three weights, the second of which may cut the copies."""
    weights = nn.ModuleList(nn.Linear(2, 2, bias=False) for _ in range(3))
    weights[1].weight = nn.Parameter(weights[1].weight.detach().as_subclass(Fragile))
    return weights


@pytest.mark.parametrize("cut", [1, 2], ids=["on the way in", "on the way back"])
@pytest.mark.parametrize(
    "use",
    ["restore", "update", "state_dict", "load_state_dict", "model_state_dict", "applied", "run"],
)
def test_an_interrupt_in_the_midst_of_copying_loses_no_weight(cut, use):
    model = fragile_network()
    ema = EMA(model, decay=0.5)
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(ema)
    ema.update()
    shift(model)
    trained, state = bits(model), ema.state_dict()
    averaged = {name: one.clone() for name, one in ema.averaged.items()}
    Fragile.cuts = cut
    with pytest.raises(KeyboardInterrupt), ema.applied():
        pass
    assert Fragile.cuts == 0
    if cut == 2:
        assert not same(bits(model), trained)  # some of each
    if use == "applied":
        with ema.applied():
            assert same(bits(model), averaged)
    elif use == "model_state_dict":
        assert same(ema.model_state_dict(), averaged)
    elif use == "run":
        trainer.run([0])
    else:
        getattr(ema, use)(*([state] if use == "load_state_dict" else []))
    assert same(bits(model), trained)
    ema.restore()
    assert same(bits(model), trained)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_a_signal_at_any_time_loses_no_weight():
    model = nn.Sequential(*(nn.Linear(2, 2) for _ in range(60)))
    ema = EMA(model)
    ema.update()
    shift(model)
    trained, cuts, pause = bits(model), 0, random.Random(0)
    rung = False

    def interrupt(*_: object) -> None:
        nonlocal rung
        rung = True
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGALRM, interrupt)
    try:
        with torch.enable_grad():  # torch's no_grad(), cut off at its end, leaves gradients off
            for _ in range(150):
                rung = False
                try:
                    signal.setitimer(signal.ITIMER_REAL, pause.uniform(1e-4, 1.5e-3))
                    while not rung:  # what rings in a callback of the collector is swallowed there
                        with ema.applied():
                            pass
                except KeyboardInterrupt:
                    cuts += 1
                ema.restore()
                assert same(bits(model), trained)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert cuts > 100
    ema.state_dict()


def test_the_end_of_one_use_does_not_end_another():
    model = network()
    ema = EMA(model)
    ema.update()
    shift(model)
    trained, first = bits(model), ema.applied()
    first.__enter__()
    ema.restore()
    with ema.applied():
        first.__exit__(None, None, None)
        assert torch.equal(model[0].weight, ema.averaged["0.weight"])
    assert same(bits(model), trained)


@pytest.mark.parametrize("whole", [False, True], ids=["a part", "the whole"])
def test_no_checkpoint_has_the_average_in_place_of_the_trained_weights(tmp_path, whole):
    inner = network()
    model = nn.ModuleDict({"inner": inner, "head": nn.Linear(1, 1)})
    ema = EMA(inner if whole else model, decay=0.5)  # nobody attached it
    trainer = Engine(lambda engine, batch: None, name="train")
    checkpoint = trainer.attach(Checkpoint(tmp_path, model if whole else inner))
    ema.update()
    shift(model)
    trained, path = bits(model), checkpoint.save(trainer)
    other = SWA(inner, 1)
    other.update()
    with ema.applied():
        with other.applied():
            pass
        for call in (lambda: checkpoint.save(trainer), lambda: checkpoint.resume(trainer)):
            with pytest.raises(RuntimeError, match=r"0\.weight' of the model holds an averaged"):
                call()
        copied, pickled = copy.deepcopy(model), pickle.loads(pickle.dumps(model))
    assert [one.name for one in tmp_path.iterdir()] == [path.name]
    checkpoint.save(trainer)
    checkpoint.resume(trainer)
    assert same(bits(model), trained)
    for number, one in enumerate((copied, pickled)):  # they have these values for their own
        Checkpoint(tmp_path / str(number), one).save(trainer)


def test_everything_else_of_an_evaluation_comes_between():
    model, seen = network(), []
    ema = EMA(model)
    ema.update()
    shift(model)
    trained = bits(model)
    evaluator = Engine(lambda engine, batch: None, name="val")
    look = lambda: seen.append(same(bits(model), trained))  # noqa: E731
    evaluator.add_event_handler(Events.OPENED, look, priority="VERY_HIGH")
    ema.evaluate_with(evaluator)
    evaluator.add_event_handler(Events.CLOSED, look, priority="VERY_LOW")
    evaluator.run([0])
    assert seen == [False, False]
    assert same(bits(model), trained)


def test_a_run_of_an_evaluator_that_was_cut_before_its_end_is_cleared_up():
    model, seen = network(), []
    ema = EMA(model)
    ema.update()
    averaged = copy.deepcopy(ema.averaged)
    shift(model)
    trained = bits(model)
    evaluator = Engine(lambda engine, batch: seen.append(bits(model)), name="val")
    ema.evaluate_with(evaluator)
    evaluator.bus["CLOSED"].is_muted = True  # as if it were not reached
    evaluator.run([0])
    evaluator.bus["CLOSED"].is_muted = False
    with pytest.raises(RuntimeError, match=r"call restore\(\)"):
        ema.update()
    evaluator.run([0])
    assert all(same(one, averaged) for one in seen)
    assert same(bits(model), trained)
    ema.update()


def test_while_it_is_applied_nothing_else_is_done_with_it():
    model = network()
    ema = EMA(model)
    ema.update()
    state = ema.state_dict()
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(ema)
    run, load = (lambda: trainer.run([0])), (lambda: ema.load_state_dict(state))
    forbidden = [ema.update, ema.state_dict, load, run]
    with ema.applied():
        for call in (*forbidden, lambda: ema.applied().__enter__()):
            with pytest.raises(RuntimeError, match="stand in the model"):
                call()
        assert torch.equal(ema.model_state_dict()["0.weight"], ema.averaged["0.weight"])


@pytest.mark.covers("C12")
@pytest.mark.parametrize("end", ["end", "error", "terminate", "error when opened"])
def test_an_evaluator_uses_the_average_in_each_run_and_no_longer(tmp_path, end):
    run = Run(tmp_path)
    run.trainer.run(batches(2))
    trained = bits(run.model)
    assert len(run.seen) == 3
    assert same(run.seen[-1], run.ema.model_state_dict())
    if end == "error":
        run.evaluator.on(Events.ITERATION_STARTED(once=2))(lambda: 1 / 0)
    if end == "error when opened":
        run.evaluator.add_event_handler(Events.OPENED, lambda: 1 / 0, priority="HIGHEST")
    if end == "terminate":
        run.evaluator.on(Events.ITERATION_STARTED(once=2))(run.evaluator.terminate)
    try:
        run.evaluator.run(batches(3))
    except ZeroDivisionError:
        assert "error" in end
    assert same(bits(run.model), trained)


def test_an_evaluator_no_longer_uses_it_when_told_so(tmp_path):
    run = Run(tmp_path)
    run.trainer.run(batches(2))
    run.evaluator.detach(run.evaluator.handlers["averaged_weights"])
    run.evaluator.run(batches(1))
    assert same(run.seen[-1], bits(run.model))


@pytest.mark.covers("C12")
def test_batch_norm_gets_the_statistics_of_the_averaged_weights():
    model, data = network(), [(one, 0) for one in batches(4)]
    model[2].p = 0.0
    model[1].eval()
    swa = SWA(model, start=1)
    with pytest.raises(RuntimeError, match="no average yet"):
        swa.update_batch_norm(data)
    for _ in range(3):
        swa.update()
        shift(model, 0.3)
    trained = bits(model)
    swa.update_batch_norm(data)
    assert same(bits(model), trained)
    assert (model.training, model[1].training, model[1].momentum) == (True, False, 0.1)
    with torch.no_grad(), swa.applied():
        means = torch.stack([model[0](one).mean(0) for one, _ in data]).mean(0)
    torch.testing.assert_close(swa.averaged["1.running_mean"], means)
    assert swa.averaged["1.num_batches_tracked"] == 4


@pytest.mark.parametrize(
    "forward", [None, lambda model, batch: model(batch["x"])], ids=["by itself", "as is told"]
)
def test_batch_norm_takes_batches_of_any_kind(forward):
    class OfDict(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.norm = nn.BatchNorm1d(4)

        def forward(self, batch):
            return self.norm(batch if forward else batch["x"])

    model, data = OfDict(), batches(4)
    swa = SWA(model, start=1)
    swa.update()
    swa.update_batch_norm([{"x": one, "name": "a"} for one in data], forward)
    means = torch.stack([one.mean(0) for one in data]).mean(0)
    torch.testing.assert_close(swa.averaged["norm.running_mean"], means)


def test_batch_norm_has_the_bits_of_torch():
    model, data = network(), batches(4)
    model[2].p = 0.0
    swa, other = SWA(model, start=1), copy.deepcopy(model)
    swa.update()
    swa.update_batch_norm(data)
    torch.optim.swa_utils.update_bn(data, other)
    assert same(swa.model_state_dict(), bits(other))


def test_without_a_batch_statistics_stay_as_they_are():
    model = network()
    swa = SWA(model, start=1)
    swa.update()
    before, exhausted = copy.deepcopy(swa.averaged), iter([])
    for data in ([], exhausted):
        with pytest.raises(DataError, match="the data gave no batch"):
            swa.update_batch_norm(data)
    assert same(swa.averaged, before)
    nothing = SWA(nn.Linear(1, 1), start=1)
    nothing.update()
    nothing.update_batch_norm([])  # nothing to compute


def test_statistics_of_batch_norm_cost_no_random_numbers():
    def data():
        for one in batches(3):
            yield one + random.random() + np.random.rand() + torch.rand(1)

    swa = SWA(network(), start=1)
    swa.update()
    drawn = []
    for look in (False, True):
        random.seed(1), np.random.seed(1), torch.manual_seed(1)
        if look:
            swa.update_batch_norm(data())
        drawn.append((random.random(), np.random.rand(), torch.rand(1).item()))
    assert drawn[0] == drawn[1]


def test_data_that_fail_leave_batch_norm_as_it_was():
    model = network()
    swa = SWA(model, start=1)
    swa.update()
    before, trained = copy.deepcopy(swa.averaged), bits(model)
    with pytest.raises(RuntimeError, match="mat1"):
        swa.update_batch_norm([torch.randn(8, 4), torch.randn(8, 5)])
    assert same(swa.averaged, before)
    assert same(bits(model), trained)
    assert model[1].momentum == 0.1


def test_other_tools_read_what_is_saved(tmp_path):
    model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 2), nn.BatchNorm1d(2)).half()
    model[1].weight = model[0].weight
    ema = EMA(model, decay=0.5)
    ema.update()
    shift(model)
    ema.update()
    trained = bits(model)
    ema.save(tmp_path / "averaged.safetensors")
    state = load_file(tmp_path / "averaged.safetensors")
    averaged = ema.model_state_dict()
    assert averaged.keys() - state.keys() == {"1.weight"}
    assert same(state, {name: averaged[name] for name in state})
    assert same(bits(model), trained)
    assert [path.name for path in tmp_path.iterdir()] == ["averaged.safetensors"]


def test_names_are_those_of_the_model_that_is_not_compiled():
    inner = network()
    inner[0] = torch.compile(inner[0], backend="eager")
    ema = EMA(torch.compile(inner, backend="eager"))
    ema.update()
    assert ema.model_state_dict().keys() == network().state_dict().keys()
    assert ema.averaged.keys() == network().state_dict().keys()


# ------------------------------------------------------------------ resuming


@pytest.mark.covers("C12", "G4")
@pytest.mark.parametrize("cut", [1, 3, 6, 7, 12])
def test_a_resumed_run_averages_the_same_bits(tmp_path, cut):
    whole = Run(tmp_path / "whole")
    whole.trainer.run(batches(), max_epochs=3)

    first = Run(tmp_path / "cut", when=Events.ITERATION_COMPLETED(once=cut))
    first.trainer.on(Events.ITERATION_STARTED(once=cut + 2))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        first.trainer.run(batches(), max_epochs=3)

    second = Run(tmp_path / "cut")
    shift(second.model, 5.0)
    assert second.checkpoint.resume(second.trainer).name == f"{cut:08d}"
    second.trainer.run(batches())
    assert same(second.ema.averaged, whole.ema.averaged)
    assert (second.ema.updates, second.ema.steps) == (18, 18)
    assert same(bits(second.model), bits(whole.model))
    assert same(second.seen[-1], whole.seen[-1])


@pytest.mark.covers("C12")
def test_a_run_stopped_within_an_evaluation_saves_the_trained_weights(tmp_path):
    whole = Run(tmp_path / "whole")
    whole.trainer.run(batches(), max_epochs=2)

    cut = Run(tmp_path / "cut")
    cut.evaluator.on(Events.ITERATION_STARTED(once=2))(lambda: os.kill(os.getpid(), signal.SIGTERM))
    with pytest.raises(Signalled):
        cut.trainer.run(batches(), max_epochs=2)
    assert len(cut.seen) == 2  # it was in the midst of the evaluation
    assert not same(cut.seen[-1], cut.trained[0])
    saved = load_file(tmp_path / "cut" / "00000006" / "model.safetensors")
    assert same(saved, cut.trained[0])

    rest = Run(tmp_path / "cut")
    rest.checkpoint.resume(rest.trainer)
    rest.trainer.run(batches())
    assert len(rest.seen) == 6
    assert same(rest.seen[0], whole.seen[0])
    assert same(rest.ema.averaged, whole.ema.averaged)
    assert same(bits(rest.model), bits(whole.model))


def test_swa_is_resumed(tmp_path):
    def made() -> tuple[nn.Module, SWA, Engine, Checkpoint]:
        model = network()
        trainer = Engine(lambda engine, batch: shift(model, batch), name="train")
        swa = trainer.attach(SWA(model, start=2, every=2))
        return model, swa, trainer, trainer.attach(Checkpoint(tmp_path, model))

    _, whole, trainer, _ = made()
    trainer.run([0.1, 0.2], max_epochs=7)
    averaged = copy.deepcopy(whole.averaged)
    for path in tmp_path.iterdir():
        path.rename(tmp_path / f"old.{path.name}")
    _, _, trainer, _ = made()
    trainer.run([0.1, 0.2], max_epochs=3)
    _, swa, trainer, checkpoint = made()
    checkpoint.resume(trainer)
    trainer.run([0.1, 0.2], max_epochs=7)
    assert same(swa.averaged, averaged)
    assert swa.updates == 3


def test_a_state_loads_without_running_code_and_keeps_nothing_of_it(tmp_path):
    model = network()
    ema = EMA(model)
    ema.update()
    torch.save(ema.state_dict(), tmp_path / "state.pt")
    state = torch.load(tmp_path / "state.pt", weights_only=True)
    other = EMA(network(1))
    other.load_state_dict(state)
    state["averaged"]["0.weight"].zero_()
    assert same(other.averaged, ema.averaged)
    assert (other.updates, other.steps) == (1, 0)


# ------------------------------------------------------------------ refused


@pytest.mark.parametrize("decay", [-0.1, 1.0, 1.5, float("nan")])
def test_a_decay_out_of_range_is_refused(decay):
    with pytest.raises(ValueError, match=r"decay is at least 0 and less than 1, given"):
        EMA(network(), decay=decay)


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: EMA(network(), every=0), "every is a whole number from 1 on, given 0"),
        (lambda: SWA(network(), 1, every=0), "every is a whole number from 1 on, given 0"),
        (lambda: SWA(network(), 0), "start is a whole number from 1 on, given 0"),
        (lambda: EMA(network(), every=True), "every is a whole number from 1 on, given True"),
        (lambda: SWA(network(), 1.5), "start is a whole number from 1 on, given 1.5"),
        (lambda: EMA(nn.ReLU()), "a ReLU has no parameters to average"),
        (lambda: EMA(network(), buffers="none"), "buffers is 'copy' or 'average', given 'none'"),
    ],
)
def test_nonsense_is_refused(make, message):
    with pytest.raises(ValueError, match=message):
        make()


def test_the_trainer_can_not_use_its_own_average():
    trainer, ema = Engine(lambda engine, batch: None, name="train"), EMA(network())
    trainer.attach(ema)
    with pytest.raises(ValueError, match=r"'train'.* trains the model, and would train its avera"):
        ema.evaluate_with(trainer)
    other, late = Engine(lambda engine, batch: None, name="train"), EMA(network())
    late.evaluate_with(other)
    with pytest.raises(ValueError, match=r"'train'.* trains the model, and would train its avera"):
        other.attach(late)
    assert "ema" not in other.handlers


def test_an_evaluator_uses_one_average():
    model, evaluator = network(), Engine(lambda engine, batch: None, name="val")
    EMA(model).evaluate_with(evaluator)
    with pytest.raises(ValueError, match="uses averaged weights already"):
        SWA(model, 1).evaluate_with(evaluator)


def test_a_state_of_another_model_is_refused():
    ema = EMA(network())
    ema.update()
    before = copy.deepcopy(ema.averaged)
    other = EMA(nn.ModuleDict({"first": nn.Linear(4, 8)}))
    other.update()
    with pytest.raises(StateError, match=r"lacks \['0.bias', .* and has \['first.bias', "):
        ema.load_state_dict(other.state_dict())
    state = ema.state_dict()
    state["averaged"]["0.bias"] = torch.zeros(9)
    with pytest.raises(StateError, match=r"'0.bias' has shape \(9,\), the model's is \(8,\)"):
        ema.load_state_dict(state)
    assert same(ema.averaged, before)


def test_a_model_that_has_grown_is_refused():
    model = network()
    ema = EMA(model)
    ema.update()
    model.append(nn.Linear(1, 1))
    for call in (ema.update, ema.model_state_dict):
        with pytest.raises(StateError, match=r"lacks \['4.bias', '4.weight'\]"):
            call()


def test_an_epoch_that_is_completed_again_after_an_error_is_averaged_once():
    model, failures = nn.Linear(1, 1, bias=False), iter([False, True])
    nn.init.zeros_(model.weight)

    def step(engine, batch):
        with torch.no_grad():
            model.weight += 1.0

    trainer = Engine(step, name="train")
    swa = trainer.attach(SWA(model, start=1))

    @trainer.on(Events.EPOCH_COMPLETED, priority="LOWEST")
    def fails():
        if next(failures, False):
            raise ArithmeticError

    with pytest.raises(ArithmeticError):
        trainer.run([0], max_epochs=3)
    trainer.run()
    assert swa.updates == 3
    with swa.applied():
        assert model.weight.item() == 2.0
    trainer.state.max_epochs = None
    nn.init.zeros_(model.weight)
    trainer.run([0])
    assert swa.updates == 1
