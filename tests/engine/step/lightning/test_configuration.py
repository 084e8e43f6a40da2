"""Every form in which a LightningModule may say what it is trained with, and what is none."""

from __future__ import annotations

import pytest
import torch
from torch.optim.lr_scheduler import ExponentialLR, ReduceLROnPlateau, StepLR

from footplate.engine.step.lightning.configuration import NoOptimizer, Scheduled, read

pytestmark = pytest.mark.covers("C4")


def sgd():
    return torch.optim.SGD([torch.nn.Parameter(torch.ones(1))], lr=0.1)


ONE, TWO = sgd(), sgd()
HALVING, DECAY = StepLR(ONE, 1, gamma=0.5), ExponentialLR(TWO, 0.9)
PLATEAU = ReduceLROnPlateau(ONE)
BY_STEP = {"scheduler": HALVING, "interval": "step", "frequency": 3, "name": "half"}


@pytest.mark.parametrize(
    ("returned", "optimizers", "schedulers"),
    [
        (ONE, [ONE], []),
        ([ONE], [ONE], []),
        ((ONE, TWO), [ONE, TWO], []),
        (([ONE], [HALVING]), [ONE], [Scheduled(HALVING)]),
        ([[ONE], [HALVING]], [ONE], [Scheduled(HALVING)]),
        ([[ONE], HALVING], [ONE], [Scheduled(HALVING)]),
        ([[ONE, TWO], []], [ONE, TWO], []),
        (([ONE, TWO], [HALVING, DECAY]), [ONE, TWO], [Scheduled(HALVING), Scheduled(DECAY)]),
        (
            ([ONE], [BY_STEP]),
            [ONE],
            [Scheduled(HALVING, name="half", interval="step", frequency=3)],
        ),
        ({"optimizer": ONE}, [ONE], []),
        ({"optimizer": ONE, "lr_scheduler": HALVING}, [ONE], [Scheduled(HALVING)]),
        (
            {"optimizer": ONE, "lr_scheduler": PLATEAU, "monitor": "loss"},
            [ONE],
            [Scheduled(PLATEAU, reduce_on_plateau=True, monitor="loss")],
        ),
        (
            {"optimizer": ONE, "lr_scheduler": {"scheduler": PLATEAU, "monitor": "loss"}},
            [ONE],
            [Scheduled(PLATEAU, reduce_on_plateau=True, monitor="loss")],
        ),
        (
            [
                {"optimizer": ONE, "lr_scheduler": HALVING},
                {"optimizer": TWO, "lr_scheduler": {"scheduler": DECAY, "strict": False}},
            ],
            [ONE, TWO],
            [Scheduled(HALVING), Scheduled(DECAY, strict=False)],
        ),
        (({"optimizer": ONE}, {"optimizer": TWO}), [ONE, TWO], []),
    ],
)
def test_all_forms_are_understood(returned, optimizers, schedulers):
    made = read(returned, "Net")
    assert all(a is b for a, b in zip(made.optimizers, optimizers, strict=True))
    assert made.schedulers == schedulers


def test_nothing_is_no_optimizer():
    (none,) = read(None, "Net").optimizers
    assert isinstance(none, NoOptimizer)
    assert none.step(lambda: 3) == 3
    assert none.state_dict() == {}


@pytest.mark.parametrize(
    ("returned", "error", "says"),
    [
        (3, TypeError, "returned a int, which is none of"),
        ([], TypeError, "a list of nothing"),
        ([ONE, HALVING], TypeError, "a list of a SGD, a StepLR"),
        ((ONE, [HALVING]), TypeError, "none of"),
        ({"optimiser": ONE}, ValueError, "says 'optimiser'.*Did you mean 'optimizer'"),
        ({"optimizer": [ONE]}, TypeError, "whose 'optimizer' is a list of a SGD"),
        ({"optimizer": ONE, "frequency": 2}, ValueError, "given up with version 2"),
        (([ONE], [{"interval": "step"}]), ValueError, "without 'scheduler'"),
        (([ONE], [{**BY_STEP, "interval": "steps"}]), ValueError, "'epoch' or 'step'"),
        (([ONE], [{**BY_STEP, "frequency": 0}]), ValueError, "a whole number from 1"),
        (([ONE], [{**BY_STEP, "schedular": 1}]), ValueError, "says 'schedular'"),
    ],
)
def test_all_else_is_refused_with_the_forms_that_there_are(returned, error, says):
    with pytest.raises(error, match=says):
        read(returned, "Net")
