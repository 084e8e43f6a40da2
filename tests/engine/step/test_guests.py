"""Models of other systems are recognised without an import, and by names that are truly theirs."""

from __future__ import annotations

import subprocess
import sys
from typing import get_type_hints

import pytest
import torch
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


def test_a_compiled_model_is_known_where_the_model_itself_is_called():
    transformers = pytest.importorskip("transformers")
    config = transformers.GPT2Config(n_embd=8, n_layer=1, n_head=1, vocab_size=9, n_positions=4)
    model = transformers.GPT2LMHeadModel(config).eval()
    compiled = torch.compile(model, backend="eager")
    assert guest_contract(compiled) is guest_contract(model)
    contract = contract_of(compiled)
    assert contract.name == "model_output"
    ids = torch.arange(4)[None]
    batch = {"input_ids": ids, "labels": ids, "number": ids}
    with torch.no_grad():
        answer = contract.forward(None, batch)
        assert answer.loss == model(input_ids=ids, labels=ids).loss
        shared = contract.forward(None, {**batch, "num_items_in_batch": torch.tensor(1)})
        assert shared.loss == model(input_ids=ids, labels=ids, num_items_in_batch=1).loss
        assert shared.loss > answer.loss


def test_a_model_that_is_called_by_its_methods_is_not_looked_for_inside_of_a_compiled_one():
    mmengine = pytest.importorskip("mmengine.model")
    model = type("Net", (mmengine.BaseModel,), {"forward": lambda self, x: x})()
    assert guest_contract(model).name == "mmengine"
    assert guest_contract(torch.compile(model, backend="eager")) is None


@pytest.mark.parametrize("guest", GUESTS, ids=lambda guest: guest.name)
def test_the_contract_is_where_it_is_said_to_be(guest):
    pytest.importorskip(guest.packages[0])
    found = guest.load()
    kind = found if isinstance(found, type) else get_type_hints(found)["return"]
    assert kind.name == guest.name
    assert kind.needs


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
