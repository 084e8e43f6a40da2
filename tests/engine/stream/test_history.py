"""The history of scalars: windows, epochs, the whole run, and what a NaN does to them."""

from __future__ import annotations

import math

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from footplate import Engine, Events
from footplate.engine.placement.reducing import statistics_over_ranks
from footplate.engine.stream.history import History, Record, Statistic, Sums
from footplate.handlers.scalars import Scalars

NAN = math.nan


def record(*values, keep=1000, weights=None):
    made = Record("loss", keep)
    weights = weights or [1.0] * len(values)
    made.extend(zip(range(1, len(values) + 1), values, weights, strict=True))
    return made


def test_windows_look_back_from_the_end():
    one = record(4.0, 1.0, 3.0, 2.0)
    assert (one.last, one.mean(2), one.min(2), one.max(3)) == (2.0, 2.5, 2.0, 3.0)
    assert (one.mean(), one.min(), one.max(), one.count) == (2.5, 1.0, 4.0, 4)
    assert one.mean(100) == 2.5
    assert one.values == [(1, 4.0), (2, 1.0), (3, 3.0), (4, 2.0)]


def test_means_are_weighted():
    one = record(1.0, 4.0, weights=[1.0, 3.0])
    assert (one.mean(), one.mean(2), one.mean(1)) == (3.25, 3.25, 4.0)


def test_an_epoch_begins_anew_and_the_run_goes_on():
    one = record(1.0, 2.0)
    one.begin_epoch()
    one.extend([(3, 5.0, 1.0)])
    assert (one.mean("epoch"), one.max("epoch"), one.mean(), one.min()) == (5.0, 5.0, 8 / 3, 1.0)


@given(st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=30), st.integers(1, 30))
def test_windows_are_those_of_a_list(values, window):
    one, part = record(*values), values[-window:]
    assert (one.min(window), one.max(window)) == (min(part), max(part))
    assert one.mean(window) == pytest.approx(math.fsum(part) / len(part), abs=1e-6)
    assert (one.min(), one.max(), one.count) == (min(values), max(values), len(values))


@pytest.mark.covers("F5")
@pytest.mark.parametrize("values", [(NAN, 1.0, 2.0), (1.0, NAN, 2.0), (1.0, 2.0, NAN)])
def test_a_nan_shows_wherever_it_stands(values):
    one = record(*values)
    for window in (None, "epoch", 3):
        assert all(map(math.isnan, (one.mean(window), one.min(window), one.max(window))))


def test_a_nan_that_a_window_has_left_behind_does_not_show_there():
    one = record(NAN, 1.0, 3.0)
    assert (one.mean(2), one.min(2), one.max(2)) == (2.0, 1.0, 3.0)


def test_nothing_is_nan_and_no_error():
    one = Record("loss")
    assert math.isnan(one.last)
    assert math.isnan(one.mean())
    assert math.isnan(Sums().mean)


def test_what_is_no_longer_kept_can_not_be_asked_for():
    one = record(1.0, 2.0, 3.0, keep=2)
    assert (one.mean(2), one.mean()) == (2.5, 2.0)
    with pytest.raises(ValueError, match=r"last 3 values of 'loss' .* 2 are kept; .*keep=3"):
        one.mean(3)


@pytest.mark.parametrize("window", [0, -1, True, 1.5, "run"])
def test_a_window_that_is_none_is_refused(window):
    with pytest.raises(ValueError, match="a window is a number of values from 1, 'epoch', or None"):
        record(1.0).mean(window)
    with pytest.raises(ValueError, match="a window is"):
        Statistic("loss", window=window)


def test_an_unknown_statistic_is_refused():
    with pytest.raises(ValueError, match=r"given 'maxx'. Did you mean 'max'"):
        Statistic("loss", "maxx")


def test_statistics_of_what_was_read():
    history = History()
    history.record("loss").extend([(1, 4.0, 1.0), (2, 2.0, 1.0)])
    asked = {"low": Statistic("loss", "min"), "now": Statistic("loss", "last"),
             "other": Statistic("acc")}  # fmt: skip
    assert statistics_over_ranks(history, asked) == {"low": 2.0, "now": 2.0}


def test_an_unknown_name_is_a_clear_error():
    history = History()
    with pytest.raises(KeyError, match="there is nothing, as long as no Scalars is attached"):
        history["loss"]
    history.record("loss")
    with pytest.raises(KeyError, match=r"no scalar 'los' was read; .* Did you mean 'loss'"):
        history["los"]
    assert "los" not in history
    assert list(history) == ["loss"]


@pytest.mark.covers("F6")
def test_handlers_ask_the_history_of_a_run():
    trainer = Engine(lambda engine, batch: {"loss": torch.tensor(batch)}, name="train")
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=2)))
    seen = []

    @trainer.on(Events.ITERATION_COMPLETED(every=2), priority="LOW")
    def ask(engine):
        seen.append((engine.history["loss"].mean(3), engine.history["loss"].mean("epoch")))

    trainer.run([4.0, 2.0, 6.0, 1.0], max_epochs=2)
    assert seen == [(3.0, 3.0), (3.0, 3.25), (pytest.approx(7 / 3), 3.0), (3.0, 3.25)]
    assert trainer.history["loss"].max() == 6.0


@pytest.mark.covers("F6")
def test_a_history_is_plain_and_comes_back(tmp_path):
    history = History()
    one = history.record("loss")
    one.extend([(1, 4.0, 2.0), (2, NAN, 1.0), (3, 2.0, 1.0)])
    one.bar, one.to, one.on = True, ("csv",), "epoch"
    torch.save(history.state_dict(), tmp_path / "state")
    again = History()
    again.record("old")
    again.load_state_dict(torch.load(tmp_path / "state", weights_only=True))
    assert list(again) == ["loss"]
    assert str(again.state_dict()) == str(history.state_dict())  # as text, a NaN equals itself
    assert again["loss"].mean(1) == 2.0
    assert not again.allowed("loss", "tensorboard")
    assert again.allowed("loss", "csv")
