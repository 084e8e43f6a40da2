"""Passages: read, cut from code, and parted."""

from __future__ import annotations

import pytest

from footplate.engine.data.passages import (
    Passage,
    gaps_below,
    parted,
    passages_in,
    with_gaps,
)
from footplate.engine.errors import DataError

CODE = """\
def found(names, of=None):
    # not a word of this, nor "in" that
    return [one for one in names if one is not of]
"""


def test_a_gap_is_left_where_a_word_stands_in_code_and_nowhere_else():
    passages = list(with_gaps(CODE, "found.py", {"not", "in", "return"}, around=8))
    assert passages == [
        Passage("hat\n    <mask> [one fo", "return", "found.py"),
        Passage("for one <mask> names i", "in", "found.py"),
        Passage(" one is <mask> of]\n", "not", "found.py"),
    ]


def test_what_a_gap_hides_can_be_put_back():
    for passage in with_gaps(CODE, "", {"not", "in", "return", "if", "def"}, around=200):
        assert passage.text.replace("<mask>", passage.label) == CODE


def test_form_feeds_and_letters_of_any_script_move_no_gap():
    code = "naïve = '日本'\x0c\n\x0cx = 1 if naïve else 2\n"
    assert [p.text for p in with_gaps(code, "", {"else"}, around=6)] == ["naïve <mask> 2\n"]


@pytest.mark.parametrize("code", ["x = (1 if y", "if x:\n    y\n  z\n", "x = '''\n", "\0"])
def test_code_that_can_not_be_read_ends_the_passages(code):
    assert len(list(with_gaps(code, "", {"if"}))) <= 1


def test_files_below_a_folder_are_sources_by_their_paths(tmp_path):
    for name in ("b.py", "a/c.py", "a/tests/d.py", "notes.txt"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text("x or y")
    assert [p.source for p in gaps_below(tmp_path, {"or"}, but=["tests"])] == ["a/c.py", "b.py"]


def test_rows_are_read_with_their_line_ends_and_their_sources(tmp_path):
    file = tmp_path / "passages.csv"
    file.write_text('text,label,source\n"two\nlines",a,one.txt\nanother,b,\n', encoding="utf-8")
    assert passages_in(file) == [
        Passage("two\nlines", "a", "one.txt"),
        Passage("another", "b", "row 1"),
    ]


@pytest.mark.parametrize(
    ("content", "said"),
    [("", "no rows"), ("text,label\n", "no rows"), ("words,label\nx,y\n", "columns words, label")],
)
def test_a_file_that_lacks_something_is_refused(tmp_path, content, said):
    (tmp_path / "passages.csv").write_text(content)
    with pytest.raises(DataError, match=said):
        passages_in(tmp_path / "passages.csv")


def test_no_source_is_in_two_parts_and_no_passage_is_lost():
    passages = [Passage(f"{number}", "", f"{number % 40}") for number in range(400)]
    parts = parted(passages, 0.7, 0.15, seed=3)
    assert [len({passage.source for passage in part}) for part in parts] == [28, 6, 6]
    assert sorted(passage for part in parts for passage in part) == sorted(passages)
    assert parts == parted(passages, 0.7, 0.15, seed=3) != parted(passages, 0.7, 0.15, seed=4)


def test_a_part_without_a_source_is_refused():
    with pytest.raises(DataError, match="1 sources"):
        parted([Passage("a", "", "one"), Passage("b", "", "one")], 0.7, 0.15)


@pytest.mark.parametrize(
    ("content", "said"),
    [
        (b"text,label\none,a\ntwo\n", "no text or no label in row 1"),
        (b"text,label\n,a\n", "no text or no label in row 0"),
        (b"text,label\n\xe4,a\n", "can't be read as CSV in UTF-8"),
        (b"text,label\n" + b"x" * 200_000 + b",a\n", "can't be read as CSV in UTF-8"),
    ],
    ids=["short", "empty", "latin", "long"],
)
def test_rows_that_are_none_are_refused(tmp_path, content, said):
    file = tmp_path / "passages.csv"
    file.write_bytes(content)
    with pytest.raises(DataError, match=said):
        passages_in(file)


def test_the_mark_that_spreadsheets_put_in_front_is_no_part_of_a_name(tmp_path):
    file = tmp_path / "passages.csv"
    file.write_text("text,label\none,a\n", encoding="utf-8-sig")
    assert [passage.text for passage in passages_in(file)] == ["one"]
