"""On a real GPU: autocast and the scaler of pytorch-ignite's supervised trainer, and of ours."""

from __future__ import annotations

import ignite.engine
import pytest
import torch
from ignite.engine import Events
from torch import nn
from torch.nn import functional as F

from footplate.handlers import ignite as ours

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")


def losses(system, **given):
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Linear(32, 4)).cuda()
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    data = [(torch.randn(8, 16), torch.randint(0, 4, (8,))) for _ in range(6)]
    trainer = system.create_supervised_trainer(
        model, optimizer, F.cross_entropy, device="cuda", amp_mode="amp", **given
    )
    found = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda e: found.append(e.state.output))
    trainer.run(data, max_epochs=5)
    return found


@pytest.mark.covers("A12")
@pytest.mark.parametrize(
    "given", [{}, {"scaler": True}, {"scaler": True, "gradient_accumulation_steps": 2}]
)
def test_30_steps_give_the_same_losses(given):
    mine = losses(ours, **given)
    assert len(mine) == 30
    assert mine == losses(ignite.engine, **given)
