"""Text, its numbers and its pieces."""

from __future__ import annotations

import pytest
import torch

from footplate.engine.data.text import characters, standard_library, windows
from footplate.engine.errors import DataError

pytestmark = pytest.mark.covers("K2")


def test_the_standard_library_is_read_up_to_a_length():
    text = standard_library(30_000)
    assert len(text) == 30_000
    assert standard_library(1000) == text[:1000]
    assert "import" in text


def test_characters_that_are_not_told_apart_are_zero():
    assert characters("a\x7f\x80é\n", 128).tolist() == [97, 127, 0, 0, 10]
    assert characters("", 128).shape == (0,)


def test_windows_are_followed_by_what_comes_next():
    tokens = torch.arange(11)
    pieces, following = windows(tokens, 3)
    assert pieces.tolist() == [[0, 1, 2], [3, 4, 5], [6, 7, 8]]
    assert torch.equal(following, pieces + 1)
    assert len(windows(torch.arange(9), 3)[0]) == 2  # nothing comes behind the third


def test_a_text_without_a_window_is_refused():
    with pytest.raises(DataError, match="has 3 characters; it needs over 3"):
        windows(torch.arange(3), 3)
