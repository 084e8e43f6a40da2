"""YAML is read as it looks, and written so that it is read as it was."""

from __future__ import annotations

import math

import pytest
import yaml
from hypothesis import example, given
from hypothesis import strategies as st

from footplate.recipes.config.problems import ConfigError
from footplate.recipes.config.yaml_files import parsed, read, written

pytestmark = pytest.mark.covers("H4")


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1e-3", 0.001),
        ("1E5", 100000.0),
        ("1.5e3", 1500.0),
        ("-.5", -0.5),
        (".inf", math.inf),
        ("1_000", 1000),
        ("0x1f", 31),
        ("0o17", 15),
        ("0", 0),
        ("true", True),
        ("no", False),
        ("On", True),
        ("null", None),
        ("~", None),
        ("''", ""),
        ("010", "010"),
        ("1:30", "1:30"),
        ("2024-01-01", "2024-01-01"),
        ("1.2.3", "1.2.3"),
        ("1e", "1e"),
        ("e5", "e5"),
        ("'1e3'", "1e3"),
        ("'on'", "on"),
        ("=", "="),
        ("[1, {a: b}]", [1, {"a": "b"}]),
        ("!!str 5", "5"),
        ("!!float 5", 5.0),
    ],
)
def test_a_value_is_what_it_looks_like(text, value):
    found = parsed(text, "a")
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("a: [1", ":1: this is no YAML: expected ',' or ']'"),
        ("a: b: c", ":1: this is no YAML: mapping values are not allowed here"),
        ("a: 1\n\tb: 2", ":2: this is no YAML"),
        ("a: *b", ":1: this is no YAML: found undefined alias 'b'"),
        ("a: 1\n---\nb: 1", ":2: this is no YAML"),
        ("a: 1\nb: 2\na: 3", ":3: the key 'a' stands in line 1 already"),
        ("a:\n  b: {c: 1, c: 2}", ":2: the key 'c' stands in line 2 already"),
        ("a:\n  on: 1", ":2: the key on is no text but, to YAML, of type bool. Put it in quotes"),
        ("1: 2", ":1: the key 1 is no text but, to YAML, of type int"),
        ("? [a]\n: 1", ":1: the key"),
        ("- 1", ": a configuration is a mapping, key: value, given [1]"),
        ("text", ": a configuration is a mapping"),
        ("a: !!python/object/apply:os.system [ls]", ":1: this is no YAML"),
        ("a: !!python/name:os.system", "is a tag, and a configuration has plain values only"),
        ("a: !!binary aGk=", "is a tag"),
        ("a: !!timestamp 2024-01-01", "is a tag"),
        ("a: !!set {b}", "is a tag"),
        ("a: !mine 3", "Describe an object as {type: …}"),
    ],
)
def test_what_is_wrong_is_told_with_its_line(tmp_path, text, told):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ConfigError) as caught:
        read(tmp_path / "a.yaml")
    assert str(caught.value).startswith("a.yaml")
    assert told in str(caught.value)


def test_all_wrong_keys_are_told():
    with pytest.raises(ConfigError) as caught:
        parsed("{a: 1, a: 2, on: 3, 4: 5}", "x")
    assert [problem.path for problem in caught.value.problems] == ["x"] * 3


def test_merge_keys_and_aliases_are_no_repetition():
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, y: 3, x: 4}\n"
    found = parsed(text, "a")
    assert found["b"] == {"x": 2, "y": 1}
    assert found["c"] == {"x": 4, "y": 3}


def test_an_empty_file_says_nothing(tmp_path):
    (tmp_path / "a.yaml").write_text("# nothing\n")
    assert read(tmp_path / "a.yaml") == {}


def test_a_file_that_can_not_be_read_is_refused_with_what_is_there(tmp_path):
    for name in ("digits.yaml", "words.yml", "notes.txt"):
        (tmp_path / name).touch()
    with pytest.raises(ConfigError, match=r"no such file, given .*Did you mean 'digits\.yaml'"):
        read(tmp_path / "digit.yaml")
    with pytest.raises(ConfigError, match=r"There are digits\.yaml, words\.yml\.$"):
        read(tmp_path / "x")
    with pytest.raises(ConfigError, match="there is no folder"):
        read(tmp_path / "no" / "digits.yaml")
    with pytest.raises(ConfigError, match="it can't be read"):
        read(tmp_path)
    (tmp_path / "bytes.yaml").write_bytes(b"\xff\xfe\xfa")
    with pytest.raises(ConfigError, match="it is no text in UTF-8"):
        read(tmp_path / "bytes.yaml")


LIKE_OTHERS = ["on", "No", "y", "1e3", "1.", "010", "0o17", "1:30", "2024-01-01", "~", "null", "="]
LIKE_OTHERS += [
    ".inf",
    "-.5",
    "<<",
    "",
    " ",
    "a: b",
    "# a",
    "- a",
    "'",
    '"',
    "\n",
    "\ufeff",
    "\x85",
]
texts = st.sampled_from(LIKE_OTHERS) | st.text()
plain = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts,
    lambda inner: st.lists(inner) | st.dictionaries(texts, inner),
)


@given(plain)
@example(1e-05)
@example({"a": [{}, [], ""]})
@example({"k" * 200: "a " * 200})
def test_what_is_written_is_read_as_it_was(values):
    text = written(values)
    found = parsed(text, "a")
    assert found == values
    assert repr(found) == repr(values)  # 1 is no 1.0, and no true


@given(st.dictionaries(texts, texts))
def test_pyyaml_reads_the_same_texts(values):
    assert yaml.safe_load(written(values)) == values
