"""Paths into nested values are written and read."""

from __future__ import annotations

from functools import reduce

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.recipes.config.paths import joined, split


@pytest.mark.parametrize(
    ("path", "steps"),
    [
        ("", ()),
        ("train_cfg.max_epochs", ("train_cfg", "max_epochs")),
        ("hooks[0].when", ("hooks", 0, "when")),
        ("hooks.0", ("hooks", "0")),
        ("hooks[-1]", ("hooks", -1)),
        ("a[0][1]", ("a", 0, 1)),
        ('keys["a.b"].lr', ("keys", "a.b", "lr")),
        ('[""]', ("",)),
    ],
)
def test_a_path_is_split_into_steps(path, steps):
    assert split(path) == steps


@pytest.mark.parametrize("path", [".a", "a.", "a..b", "a b", "a[x]", "a]", 'a["b]', "a=b", "a.[0]"])
def test_what_is_no_path_is_refused(path):
    with pytest.raises(ValueError, match="is no path; write one as"):
        split(path)


@given(st.lists(st.text() | st.integers(min_value=0)))
def test_what_is_joined_is_split_again(steps):
    assert split(reduce(joined, steps, "")) == tuple(steps)
