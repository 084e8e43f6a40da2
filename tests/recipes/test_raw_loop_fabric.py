"""Fabric and a raw loop train alike, and the page says what becomes of each of Fabric's names."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from footplate.engine.step.clipping import ClipNorm
from footplate.recipes.raw.processes import Processes
from footplate.recipes.raw_loop import setup

fabric_module = pytest.importorskip("lightning.fabric")
pytestmark = [
    pytest.mark.covers("C13"),
    pytest.mark.filterwarnings("ignore::UserWarning:lightning.*"),
]
PAGE = Path(__file__).parents[2] / "docs" / "migrating" / "lightning.md"


def task():
    torch.manual_seed(3)
    x = torch.randn(80, 4)
    loader = DataLoader(TensorDataset(x, (x.sum(1) > 0).long()), 8, shuffle=True)
    model = nn.Sequential(nn.Linear(4, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 2))
    return model, torch.optim.AdamW(model.parameters(), lr=0.05), loader


def by_fabric(precision, accumulate, clip):
    fabric = fabric_module.Fabric(accelerator="cpu", devices=1, precision=precision)
    given, optimizer, loader = task()
    model, optimizer = fabric.setup(given, optimizer)
    loader = fabric.setup_dataloaders(loader)
    losses = []
    for _ in range(3):
        for number, (x, y) in enumerate(loader, 1):
            loss = F.cross_entropy(model(x), y)
            losses.append(loss.item())
            with fabric.no_backward_sync(model, enabled=number % accumulate != 0):
                fabric.backward(loss / accumulate)
            if number % accumulate == 0:
                if clip is not None:
                    fabric.clip_gradients(model, optimizer, max_norm=clip)
                optimizer.step()
                optimizer.zero_grad()
    return losses


def by_setup(precision, accumulate, clip):
    model, optimizer, loader = task()
    loop = setup(
        model,
        optimizer,
        loader,
        device="cpu",
        precision=precision,
        accumulate=accumulate,
        clip=None if clip is None else ClipNorm(clip),
    )
    losses = []
    for _ in loop.epochs(3):
        for x, y in loop.batches():
            loss = F.cross_entropy(loop.model(x), y)
            losses.append(loss.item())
            loop.update(loss)
    return losses


@pytest.mark.parametrize(("theirs", "ours"), [("32-true", "fp32"), ("bf16-mixed", "bf16")])
@pytest.mark.parametrize(("accumulate", "clip"), [(1, None), (2, None), (1, 0.1)])
def test_losses_are_fabrics(theirs, ours, accumulate, clip):
    losses = by_setup(ours, accumulate, clip)
    assert len(losses) == 30
    assert losses == by_fabric(theirs, accumulate, clip)


def test_the_page_has_each_of_fabrics_names():
    section = PAGE.read_text().partition("## Fabric and LightningLite")[2]
    firsts = (line.split("|")[1] for line in section.splitlines() if line.startswith("|"))
    named = set(re.findall(r"[a-z_]+", " ".join(re.findall("`([^`]+)`", " ".join(firsts)))))
    theirs = {one for one in dir(fabric_module.Fabric) if not one.startswith("_")}
    assert theirs - named == set()


def test_what_has_fabrics_name_is_a_name_of_fabric():
    ours = {one for one in vars(Processes) if not one.startswith("_")} - {
        "share_of",
        "leave_at_exit",
    }
    assert ours - set(dir(fabric_module.Fabric)) == set()
