"""Names of scalars tell whose they are, what they measure, and which way is better."""

from __future__ import annotations

import pytest

from footplate.handlers.report_page.naming import better, name_of


@pytest.mark.parametrize(
    ("name", "way"),
    [
        ("val_brier_score", "min"),
        ("val_calibration_error", "min"),
        ("loss_scale", None),
        ("val_accuracy", "max"),
        ("score", "max"),
    ],
)
def test_which_way_is_better(name, way):
    assert better(name) == way


@pytest.mark.parametrize("first", ["val", "eval", "dev", "heldout", "validation"])
def test_whose_a_scalar_is(first):
    name = name_of(f"{first}_accuracy")
    assert (name.role, name.subject) == ("val", "accuracy")


def test_a_loss_scale_is_no_loss():
    name = name_of("loss_scale")
    assert (name.subject, name.topic) == ("loss scale", "rate")
    assert name_of("loss").topic == "loss"


def test_memory_says_its_unit():
    assert name_of("memory").subject == "memory in MiB"
