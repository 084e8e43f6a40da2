"""On a real GPU: between two log points nothing waits for it."""

from __future__ import annotations

import pytest
import torch
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.engine.step.training import training_step
from footplate.handlers.console import Console
from footplate.handlers.gradient_norms import GradientNorms
from footplate.handlers.jsonl import JSONL
from footplate.handlers.progress_bar import ProgressBar
from footplate.handlers.scalars import Scalars
from footplate.handlers.tensorboard import TensorBoard
from footplate.handlers.timer import Timer

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")


@pytest.mark.covers("F5")
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_nothing_waits_between_log_points(precision, tmp_path):
    model = torch.nn.Linear(16, 4).cuda()
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Engine(training_step(model, sgd, F.mse_loss, precision=precision), name="train")
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=10)))
    for handler in (
        Timer(),
        Console(),
        ProgressBar(["loss"]),
        TensorBoard(tmp_path / "tensorboard"),
        JSONL(tmp_path / "scalars.jsonl"),
        GradientNorms(model),
    ):
        trainer.attach(handler)

    def forbid_waits(engine):
        at_log_point = (engine.state.iteration + 1) % 10 == 0
        torch.cuda.set_sync_debug_mode("default" if at_log_point else "error")

    trainer.add_event_handler(Events.SAFE_POINT, forbid_waits)
    batch = torch.randn(32, 16, device="cuda"), torch.randn(32, 4, device="cuda")
    try:
        trainer.run([batch] * 40)
    finally:
        torch.cuda.set_sync_debug_mode("default")
    assert trainer.history["loss"].count == 40
