"""A ``type`` is found, or it is said why not and what is near."""

from __future__ import annotations

import collections
import sys

import pytest
import torch

from footplate.recipes.config.finding import TypeNotFound
from footplate.recipes.config.objects import Objects
from footplate.recipes.config.registry import MODELS, OPTIMIZERS

pytestmark = pytest.mark.covers("H3")

objects = Objects()


@pytest.mark.parametrize(
    ("given", "found"),
    [
        (torch.nn.Linear, torch.nn.Linear),
        (len, len),
        ("torch.optim.AdamW", torch.optim.AdamW),
        ("collections.OrderedDict.fromkeys", collections.OrderedDict.fromkeys),
        ("AdamW", torch.optim.AdamW),
    ],
)
def test_a_class_a_path_or_a_name_is_found(given, found):
    assert objects.find(given) == found


@pytest.mark.parametrize(
    ("given", "reason", "hint"),
    [
        ("torch.optim.AdmW", "the module 'torch.optim' has no 'AdmW'", "'torch.optim.AdamW'?"),
        ("torch.optm.AdamW", "the module 'torch' has no 'optm'", "'torch.optim'?"),
        ("torhc.optim.AdamW", "there is no module 'torhc'", "'torch'?"),
        ("torch.optim", "it is a module, which can't be called", "as torch.optim.ASGD."),
        ("torch.nn.Linear.forwrd", "the class 'torch.nn.Linear' has no 'forwrd'", "forward'?"),
        ("torch.pi", "it is of type float, which can't be called", ""),
        ("SDG", "there is no type of this name", "'SGD'?"),
        ("", "there is no type of this name", " more."),
        ("a..b", "there is no type of this name", " more."),
        (
            "TinyNet",
            "there is no type of this name",
            "; its path, as my_module.TinyNet, imports it.",
        ),
        (3, "a type is a class, a dotted path or a registered name", ""),
        (None, "a type is a class, a dotted path or a registered name", ""),
        (["SGD"], "a type is a class, a dotted path or a registered name", ""),
    ],
)
def test_what_is_not_found_has_a_reason_and_the_nearest_name(given, reason, hint):
    with pytest.raises(LookupError) as caught:
        objects.find(given)
    assert caught.value.given == given
    assert caught.value.reason == reason
    assert hint in caught.value.hint


def test_the_candidates_are_all_names_of_the_registry():
    with pytest.raises(TypeNotFound, match="there is no optimizer of this name") as caught:
        objects.find("Accuracy", OPTIMIZERS)
    assert list(caught.value.candidates) == OPTIMIZERS.names()
    assert "There are ASGD, Adadelta, " in caught.value.hint
    with pytest.raises(TypeNotFound) as caught:
        objects.find("Accuracyy")
    assert {"Accuracy", "SGD", "MultiStepLR"} <= set(caught.value.candidates)


def test_a_path_is_found_whatever_the_registry():
    assert objects.find("torch.optim.SGD", MODELS) is torch.optim.SGD


@pytest.mark.parametrize("text", ["1 / 0", "import a_module_that_is_not_here"])
def test_a_module_that_fails_is_told_from_one_that_is_not_there(tmp_path, monkeypatch, text):
    (tmp_path / "fails_for_the_test.py").write_text(text)
    monkeypatch.syspath_prepend(tmp_path)
    with pytest.raises(TypeNotFound, match=r"importing 'fails_for_the_test' failed with .*Error"):
        objects.find("fails_for_the_test.Net")


def test_submodules_are_imported_on_the_way(tmp_path, monkeypatch):
    (tmp_path / "deep_for_the_test").mkdir()
    (tmp_path / "deep_for_the_test" / "__init__.py").touch()
    (tmp_path / "deep_for_the_test" / "nets.py").write_text("class Net: ...")
    monkeypatch.syspath_prepend(tmp_path)
    assert objects.find("deep_for_the_test.nets.Net").__name__ == "Net"
    with pytest.raises(TypeNotFound, match=r"Did you mean 'deep_for_the_test\.nets'"):
        objects.find("deep_for_the_test.net.Net")
    for name in ("deep_for_the_test", "deep_for_the_test.nets"):
        del sys.modules[name]
