"""The library that a LightningModule comes from."""

from __future__ import annotations

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import LightningModule
from lightning.pytorch.core.optimizer import LightningOptimizer

from footplate.engine.step.lightning.calling import library

pytestmark = pytest.mark.covers("C4")


def test_a_part_is_that_of_the_modules_own_library():
    assert library(LightningModule(), "core.optimizer").LightningOptimizer is LightningOptimizer


def test_what_is_no_module_is_named():
    with pytest.raises(TypeError, match="given Linear"):
        library(torch.nn.Linear(1, 1), "core.optimizer")
    with pytest.raises(TypeError, match=r"given NoneType; .* keep the module"):
        library(None, "core.optimizer")
