"""Supervised trainers and evaluators: pytorch-ignite's and ours, with the same model and data."""

from __future__ import annotations

import copy
import inspect

import ignite.engine
import pytest
import torch
from ignite.engine import Engine as IgniteEngine
from ignite.engine import Events as IgniteEvents
from ignite.metrics import Accuracy, Loss
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from footplate.engine.step.events import StepEvents
from footplate.handlers import ignite as ours
from footplate.handlers.ignite import Engine, Events, State

pytestmark = [
    pytest.mark.filterwarnings("ignore:CUDA is not available:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.cuda.amp.GradScaler:UserWarning"),
    pytest.mark.filterwarnings("ignore:torch.amp.GradScaler:UserWarning"),
]

BOTH = (ignite.engine, ours)


def model_and_optimizer(kind=torch.optim.SGD, options=None, dropout=0.2):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(8, 16), nn.ReLU(), nn.Dropout(dropout), nn.Linear(16, 3))
    return model, kind(model.parameters(), **{"lr": 0.05, **(options or {})})


def loader(shuffle=True):
    """Batches of 6 and one of 2: seven to a pass."""
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(38, 8, generator=generator)
    y = torch.randint(0, 3, (38,), generator=generator)
    return DataLoader(TensorDataset(x, y), 6, shuffle=shuffle)


def trained(system, *, limits=None, kind=torch.optim.SGD, options=None, ends=(), **given):
    """The outputs of 30 iterations or more, and the weights; epochs are cut at some of them."""
    model, optimizer = model_and_optimizer(kind, options)
    trainer = system.create_supervised_trainer(model, optimizer, F.cross_entropy, **given)
    outputs = []
    trainer.add_event_handler(
        IgniteEvents.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output)
    )
    for at in ends:
        trainer.add_event_handler(
            IgniteEvents.ITERATION_COMPLETED(once=at), lambda engine: engine.terminate_epoch()
        )
    torch.manual_seed(2)
    trainer.run(loader(), **(limits or {"max_iters": 30}))
    return outputs, [one.detach() for one in model.parameters()]


def in_bf16(model, x):
    with torch.autocast("cpu", torch.bfloat16):
        return model(x).float()


WAYS = {
    "as it comes": {},
    "momentum": {"options": {"momentum": 0.9, "weight_decay": 0.01}},
    "AdamW": {"kind": torch.optim.AdamW, "options": {"lr": 0.01}},
    "over 2 batches": {"gradient_accumulation_steps": 2},
    "over 4 batches": {"gradient_accumulation_steps": 4},
    "amp": {"amp_mode": "amp"},
    "amp and a scaler": {"amp_mode": "amp", "scaler": True},
    "amp, a scaler, over 2 batches": {
        "amp_mode": "amp",
        "scaler": True,
        "gradient_accumulation_steps": 2,
    },
    "bf16": {"model_fn": in_bf16},
    "a device": {"device": "cpu", "non_blocking": True},
    "on the CPU by its object": {"device": torch.device("cpu")},
    "transformed": {
        "model_transform": lambda answer: 2 * answer,
        "prepare_batch": lambda batch, device, non_blocking: (batch[0] + 1, batch[1]),
        "output_transform": lambda x, y, y_pred, loss: (
            x.sum().item(),
            y.sum().item(),
            y_pred.sum().item(),
            loss.item(),
        ),
    },
    "deterministic": {"deterministic": True, "limits": {"max_epochs": 5}},
    "epochs": {"limits": {"max_epochs": 5, "epoch_length": 6}},
    "deterministic, with cut epochs": {
        "deterministic": True,
        "limits": {"max_epochs": 6},
        "ends": (4, 9),
    },
    "deterministic, other epochs": {
        "deterministic": True,
        "limits": {"max_epochs": 4, "epoch_length": 10},
    },
}


@pytest.mark.covers("A12")
@pytest.mark.parametrize("way", WAYS)
def test_30_steps_give_the_same_losses_and_weights(way):
    (theirs, their_weights), (mine, my_weights) = (trained(one, **WAYS[way]) for one in BOTH)
    assert len(mine) >= 30
    assert mine == theirs
    assert all(map(torch.equal, my_weights, their_weights))


@pytest.mark.covers("A12")
def test_over_3_batches_the_weights_are_the_same_and_the_losses_to_the_rounding():
    theirs, mine = (trained(one, gradient_accumulation_steps=3) for one in BOTH)
    assert all(map(torch.equal, theirs[1], mine[1]))
    assert mine[0] == pytest.approx(theirs[0], rel=1e-6)  # theirs are divided by 3, times 3


@pytest.mark.covers("A12")
def test_their_own_step_functions_run_on_our_engine():
    def losses(kind):
        model, optimizer = model_and_optimizer()
        step = ignite.engine.supervised_training_step(model, optimizer, F.cross_entropy)
        outputs, engine = [], kind(step)
        engine.add_event_handler(
            IgniteEvents.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output)
        )
        torch.manual_seed(2)
        engine.run(loader(), max_iters=30)
        return outputs

    assert losses(Engine) == losses(IgniteEngine)


@pytest.mark.covers("A12", "E1")
@pytest.mark.parametrize(
    "given",
    [
        {},
        {"amp_mode": "amp"},
        {"device": "cpu", "model_transform": lambda answer: -answer},
        {"model_fn": lambda model, x: model(x + 1)},
        {"output_transform": lambda x, y, y_pred: (y_pred * 2, y)},
    ],
)
def test_evaluators_give_the_same_metrics(given):
    def evaluated(system):
        model, _ = model_and_optimizer()
        metrics = {"accuracy": Accuracy(), "loss": Loss(F.cross_entropy)}
        evaluator = system.create_supervised_evaluator(model, metrics, **given)
        return dict(evaluator.run(loader(shuffle=False)).metrics)

    assert evaluated(ours) == evaluated(ignite.engine)


@pytest.mark.covers("A12")
def test_a_trained_epoch_and_an_evaluation_in_turns():
    """The classic script: an evaluator that a handler of the trainer runs."""

    def script(system):
        model, optimizer = model_and_optimizer()
        trainer = system.create_supervised_trainer(model, optimizer, F.cross_entropy)
        evaluator = system.create_supervised_evaluator(model, {"accuracy": Accuracy()})
        seen = []

        @trainer.on(IgniteEvents.EPOCH_COMPLETED)
        def evaluate(engine):
            evaluator.run(loader(shuffle=False))
            seen.append((engine.state.output, evaluator.state.metrics["accuracy"]))

        torch.manual_seed(3)
        trainer.run(loader(), max_epochs=5)
        return seen

    assert script(ours) == script(ignite.engine)


def test_the_parameters_and_their_defaults_are_the_same():
    for name in ("create_supervised_trainer", "create_supervised_evaluator"):
        theirs = inspect.signature(getattr(ignite.engine, name)).parameters
        mine = inspect.signature(getattr(ours, name)).parameters
        assert list(mine) == list(theirs)
        for one in mine:
            if not callable(theirs[one].default):
                assert mine[one].default == theirs[one].default, one


def test_what_comes_back_is_our_engine():
    model, optimizer = model_and_optimizer()
    trainer = ours.create_supervised_trainer(model, optimizer, F.cross_entropy)
    assert type(trainer) is Engine
    assert type(trainer.state) is State
    assert Events is IgniteEvents
    stepped = []
    trainer.add_event_handler(StepEvents.OPTIMIZER_STEPPED, lambda: stepped.append(1))
    trainer.run(loader())
    assert len(stepped) == 7


def test_gradients_are_there_when_the_iteration_is_completed():
    def norms(system):
        model, optimizer = model_and_optimizer()
        trainer = system.create_supervised_trainer(
            model, optimizer, F.cross_entropy, gradient_accumulation_steps=2
        )
        found = []
        trainer.add_event_handler(
            IgniteEvents.ITERATION_COMPLETED, lambda: found.append(model[0].weight.grad.norm())
        )
        torch.manual_seed(3)
        trainer.run(loader(), max_epochs=2)
        return found

    assert norms(ours) == norms(ignite.engine)


@pytest.mark.covers("A12")
@pytest.mark.parametrize("size", [1, 2])
def test_gradients_of_the_last_window_are_gone_during_the_forward_pass(size):
    """As with pytorch-ignite: they would take memory just where most of it is taken."""

    def held(system):
        model, optimizer = model_and_optimizer()
        trainer = system.create_supervised_trainer(
            model, optimizer, F.cross_entropy, gradient_accumulation_steps=size
        )
        found = []

        def note(*_):
            found.append(model[0].weight.grad is not None)

        trainer.add_event_handler(IgniteEvents.ITERATION_STARTED, note)
        model.register_forward_pre_hook(note)
        trainer.run(loader(), max_epochs=2)
        return found

    assert held(ours) == held(ignite.engine)


def test_an_optimizer_of_some_parameters_is_taken():
    def weights(system):
        model, _ = model_and_optimizer()
        head = torch.optim.SGD(model[3].parameters(), 0.1)
        torch.manual_seed(3)
        system.create_supervised_trainer(model, head, F.cross_entropy).run(loader())
        return list(model.parameters())

    assert all(map(torch.equal, weights(ours), weights(ignite.engine)))


def test_the_scaler_that_is_made_is_the_states():
    model, optimizer = model_and_optimizer()
    trainer = ours.create_supervised_trainer(
        model, optimizer, F.cross_entropy, amp_mode="amp", scaler=True
    )
    assert trainer.state.scaler is trainer.handlers["optimization"].scaler


@pytest.mark.covers("A12")
@pytest.mark.parametrize("given", [{}, {"gradient_accumulation_steps": 2}, {"deterministic": True}])
def test_a_run_that_is_cut_goes_on_to_the_same_losses(given):
    """The optimizer and an open window of gradients come with the engine's state."""

    def begin(outputs):
        model, optimizer = model_and_optimizer(torch.optim.AdamW)
        trainer = ours.create_supervised_trainer(model, optimizer, F.cross_entropy, **given)
        trainer.add_event_handler(
            Events.ITERATION_COMPLETED, lambda engine: outputs.append(engine.state.output)
        )
        torch.manual_seed(4)
        return model, trainer

    unbroken, cut = [], []
    begin(unbroken)[1].run(loader(), max_epochs=4)
    model, trainer = begin(cut)
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=11), trainer.interrupt)
    trainer.run(loader(), max_epochs=4)
    state, weights, random = trainer.state_dict(), model.state_dict(), torch.get_rng_state()
    assert len(cut) == 11
    model, trainer = begin(cut)
    model.load_state_dict(weights)
    trainer.load_state_dict(state)
    torch.set_rng_state(random)
    trainer.run(loader(), max_epochs=4)
    assert cut == unbroken


def saved_at(system, at, limits):
    """What a run over ordered data saves behind an iteration, and its losses up to there."""
    model, optimizer = model_and_optimizer(options={"momentum": 0.9}, dropout=0.0)
    trainer = system.create_supervised_trainer(model, optimizer, F.cross_entropy)
    losses, saved = [], []
    parts = trainer, model, optimizer

    @trainer.on(IgniteEvents.ITERATION_COMPLETED)
    def note(engine):
        losses.append(engine.state.output)
        if engine.state.iteration == at:
            saved.extend(copy.deepcopy(part.state_dict()) for part in parts)

    trainer.run(loader(shuffle=False), **limits)
    return saved, losses


@pytest.mark.covers("A12")
@pytest.mark.parametrize("at", [7, 10], ids=["at an epoch's end", "within an epoch"])
@pytest.mark.parametrize("limits", [{"max_epochs": 3}, {"max_iters": 20}], ids=str)
@pytest.mark.parametrize(("before", "behind"), [BOTH, BOTH[::-1]], ids=["to ours", "to theirs"])
def test_what_one_has_saved_the_other_goes_on_from(before, behind, limits, at):
    """Theirs begins the data anew where it goes on within an epoch, so that is only counted."""
    saved, losses = saved_at(before, at, limits)
    model, optimizer = model_and_optimizer(options={"momentum": 0.9}, dropout=0.0)
    trainer, rest = behind.create_supervised_trainer(model, optimizer, F.cross_entropy), []
    trainer.add_event_handler(
        IgniteEvents.ITERATION_COMPLETED, lambda engine: rest.append(engine.state.output)
    )
    for part, state in zip((trainer, model, optimizer), saved, strict=True):
        part.load_state_dict(state)
    trainer.run(loader(shuffle=False), **limits)
    if behind is ours or at == 7:
        assert rest == losses[at:]
    else:
        assert len(rest) == len(losses[at:])


def test_an_open_window_is_loaded_over_the_gradients_of_another():
    model, optimizer = model_and_optimizer(dropout=0.0)
    trainer = ours.create_supervised_trainer(
        model, optimizer, F.cross_entropy, gradient_accumulation_steps=2
    )
    losses = []
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: losses.append(engine.state.output)
    )
    trainer.add_event_handler(Events.ITERATION_COMPLETED(once=[3, 6]), trainer.interrupt)
    data = loader(shuffle=False)
    trainer.run(data, max_epochs=2)
    saved = copy.deepcopy([trainer.state_dict(), model.state_dict()])
    trainer.run(data)  # to behind a step, whose gradients are still there
    trainer.load_state_dict(saved[0])
    model.load_state_dict(saved[1])
    trainer.run(data)
    trainer.run(data)
    assert losses[6:9] == losses[3:6]
    assert len(losses) == 17


@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"device": "xla"}, "is a TPU"),
        ({"device": torch.device("xla:1")}, "is a TPU"),
        ({"amp_mode": "apex"}, "amp_mode='apex' is not supported"),
        ({"amp_mode": "fp16"}, "amp_mode is 'amp' or None"),
        ({"amp_mode": "amp", "device": "mps"}, "given device='mps'"),
        ({"scaler": True}, "add amp_mode='amp'"),
        ({"gradient_accumulation_steps": 0}, "gradient_accumulation_steps"),
    ],
)
def test_what_cannot_be_done_is_named(given, said):
    with pytest.raises(ValueError, match=said):
        ours.create_supervised_trainer(*model_and_optimizer(), F.cross_entropy, **given)


@pytest.mark.parametrize("given", [{"device": "xla"}, {"amp_mode": "apex"}])
def test_an_evaluator_refuses_the_same(given):
    with pytest.raises(ValueError, match=r"TPU|apex"):
        ours.create_supervised_evaluator(model_and_optimizer()[0], **given)
