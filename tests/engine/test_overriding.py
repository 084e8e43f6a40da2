"""Whether a method is the user's or that of a library's base class."""

from __future__ import annotations

import json
from collections import UserDict

import pytest

from footplate.engine.overriding import overrides

pytestmark = pytest.mark.covers("C14")


class Plain(json.JSONEncoder):
    """Overrides nothing."""


class Own(json.JSONEncoder):
    """Overrides one method."""

    def default(self, o):
        return None


class Derived(Own):
    """Has it from a class of the user's."""


@pytest.mark.parametrize(
    ("given", "name", "is_own"),
    [
        (Plain(), "default", False),
        (Own(), "default", True),
        (Derived(), "default", True),
        (Own(), "encode", False),
        (Own(), "no_such_method", False),
        (UserDict(), "clear", True),  # of a library, but of another one
    ],
)
def test_the_class_that_has_the_method_decides(given, name, is_own):
    assert overrides(given, name, "json.encoder") is is_own


def test_what_is_put_onto_the_instance_is_the_users():
    encoder = Plain()
    encoder.default = lambda one: None
    assert overrides(encoder, "default", "json.encoder")


def test_any_of_several_libraries_counts():
    assert not overrides(Plain(), "default", "collections", "json")
