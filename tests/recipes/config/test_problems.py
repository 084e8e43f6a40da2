"""Problems say what is wrong, where, and what to do; errors hold all of them."""

from __future__ import annotations

import pickle

import pytest

from footplate.recipes.config.problems import ABSENT, ConfigError, OptionError, Problem

pytestmark = pytest.mark.covers("H3")

FIRST = Problem(path="a.lr", given="fast", reason="SGD takes a number as 'lr'", hint=" Write one.")
SECOND = Problem(path="a.momentum", given=ABSENT, reason="SGD needs 'momentum', which is missing")


def test_a_problem_prints_as_one_line():
    assert str(FIRST) == "a.lr: SGD takes a number as 'lr', given 'fast'. Write one."
    assert str(SECOND) == "a.momentum: SGD needs 'momentum', which is missing."
    assert str(Problem(path="", given=None, reason="no")) == "no, given None."


def test_a_reason_that_is_a_sentence_keeps_its_end():
    assert str(Problem(path="a", given=ABSENT, reason="Write 'b'.")) == "a: Write 'b'."


def test_what_was_given_is_told_in_short():
    line = str(Problem(path="a", given=list(range(1000)), reason="no"))
    assert len(line) < 100
    assert line.endswith("….")


def test_an_error_lists_all_problems_one_a_line():
    error = ConfigError(iter([FIRST, SECOND]))
    assert error.problems == (FIRST, SECOND)
    assert str(error).splitlines() == [str(FIRST), str(SECOND)]
    assert isinstance(error, ValueError)


def test_problems_and_options_are_frozen_and_named():
    with pytest.raises(TypeError):
        Problem("a", 1, "no")
    with pytest.raises(AttributeError):
        FIRST.path = "b"


@pytest.mark.parametrize("error", [ConfigError([FIRST, SECOND]), OptionError("lr", "too low")])
def test_errors_travel_between_processes(error):
    again = pickle.loads(pickle.dumps(error))
    assert str(again) == str(error)
    assert vars(again) == vars(error)
