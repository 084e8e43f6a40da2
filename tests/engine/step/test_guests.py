"""Models of other systems are recognised without an import, and by names that are truly theirs."""

from __future__ import annotations

import subprocess
import sys

import pytest
from torch import nn

from footplate.engine.step.contracts import contract_of
from footplate.engine.step.guests import GUESTS, descends_from, guest_contract


class LightningModule(nn.Module):
    """Named as Lightning's, but of this module."""

    def train_step(self, data):
        return data


def test_a_class_of_the_same_name_is_no_guest():
    assert guest_contract(LightningModule()) is None
    assert contract_of(LightningModule()).name == "step_methods"


def test_a_class_is_known_by_what_it_derives_from():
    class Pair(LightningModule):
        pass

    assert descends_from(Pair(), "LightningModule", "tests")
    assert descends_from(Pair, "Module", "torch")
    assert not descends_from(Pair(), "LightningModule", "test")


@pytest.mark.parametrize("guest", GUESTS, ids=lambda guest: guest.name)
def test_the_contract_is_where_it_is_said_to_be(guest):
    pytest.importorskip(guest.packages[0])
    found = guest.load()
    assert found.name == guest.name
    assert found.needs


def test_nothing_of_other_systems_is_imported_for_a_plain_model():
    code = """
import sys
import torch
from footplate import Runner
from footplate.engine.step.contracts import contract_of
from footplate.engine.step.guests import GUESTS
contract_of(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss)
loaded = {name.partition(".")[0] for name in sys.modules}
print(sorted(loaded & {package for guest in GUESTS for package in guest.packages}))
"""
    told = subprocess.run(
        [sys.executable, "-c", code], check=True, capture_output=True, text=True, timeout=120
    )
    assert told.stdout.strip() == "[]"


def test_an_unknown_contract_has_the_nearest_name():
    with pytest.raises(ValueError, match="Did you mean 'lightning'"):
        contract_of(nn.Linear(1, 1), name="lightening")
