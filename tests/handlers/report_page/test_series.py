"""Scalars are read from a run's folder and thinned out, and nothing that matters is lost."""

from __future__ import annotations

import json
import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from footplate.handlers.report_page.naming import better, is_rate, name_of
from footplate.handlers.report_page.scales import Scale, time_ticks
from footplate.handlers.report_page.series import Gap, drawn, read_scalars, smoothed

values_of_any_kind = st.lists(st.floats(-1e6, 1e6) | st.just(math.nan) | st.just(math.inf))


def row(step: int, **scalars: float) -> str:
    head = {"engine": "train", "on": "iteration", "step": step, "epoch": 1, "wall_time": 1.0}
    return json.dumps({**head, **scalars}) + "\n"


def test_torn_and_foreign_lines_are_counted_and_the_rest_is_read(tmp_path):
    file = tmp_path / "scalars.jsonl"
    torn = row(3, loss=1.0)[:-12]
    file.write_text(row(1, loss=2.0) + "[1, 2]\n" + row(2, loss=math.nan) + "\n" + torn)
    found = read_scalars(file)
    series = found.series["train", "loss"]
    assert list(series.steps) == [1, 2]
    assert series.values[0] == 2.0
    assert math.isnan(series.last)
    assert found.torn == 2


def test_a_missing_file_has_no_scalars(tmp_path):
    assert read_scalars(tmp_path / "scalars.jsonl").series == {}


def test_what_a_resumed_run_wrote_again_counts_once(tmp_path):
    file = tmp_path / "scalars.jsonl"
    file.write_text("".join(row(step, loss=float(step)) for step in (1, 2, 3, 4)))
    with file.open("a") as more:
        more.write(row(3, loss=30.0) + row(4, loss=40.0))
    series = read_scalars(file).series["train", "loss"]
    assert list(zip(series.steps, series.values, strict=True)) == [(1, 1), (2, 2), (3, 30), (4, 40)]


@pytest.mark.covers("F9")
@pytest.mark.parametrize("place", [0, 1, 54_321, 99_998, 99_999])
@pytest.mark.parametrize("peak", [1e6, -1e6])
def test_a_peak_of_a_single_step_survives_thinning(place, peak):
    values = [math.sin(step) for step in range(100_000)]
    values[place] = peak
    points = drawn(range(100_000), values, buckets=100).points
    assert (place, peak) in points
    assert len(points) <= 400


@pytest.mark.covers("F9")
@pytest.mark.parametrize("place", [0, 1, 54_321, 99_999])
@pytest.mark.parametrize("bad", [math.nan, math.inf, -math.inf])
def test_a_single_value_that_is_no_number_survives_thinning(place, bad):
    values = [1.0] * 100_000
    values[place] = bad
    found = drawn(range(100_000), values, buckets=100)
    assert found.gaps == [Gap(place, place, 1)]


@given(values_of_any_kind, st.integers(1, 8))
def test_thinning_keeps_extremes_order_and_the_number_of_bad_values(values, buckets):
    found = drawn(range(len(values)), values, buckets)
    finite = [value for value in values if math.isfinite(value)]
    kept = [value for _, value in found.points]
    steps = [step for step, _ in found.points]
    assert steps == sorted(set(steps))
    assert sum(gap.count for gap in found.gaps) == len(values) - len(finite)
    if finite:
        assert (min(kept), max(kept)) == (min(finite), max(finite))
    for one in found.lines:  # no line runs over a bad value
        if len(values) <= 2 * buckets:
            assert [step for step, _ in one] == list(range(int(one[0][0]), int(one[-1][0]) + 1))


@given(st.lists(st.floats(-1e3, 1e3), min_size=1), st.integers(1, 20))
def test_smoothing_stays_within_the_values(values, window):
    found = smoothed(values, window)
    assert len(found) == len(values)
    assert all(min(values) - 1e-6 <= one <= max(values) + 1e-6 for one in found)


@pytest.mark.parametrize(
    ("values", "log"),
    [
        ([2.3, 0.4, 0.05, 0.02, 0.01, 0.009], True),
        ([1e-3 * (1 + math.cos(math.pi * i / 99)) for i in range(99)], False),  # cosine schedule
        ([0.1, 0.01, 0.001], True),
        ([0.0, 0.1, 100.0, 0.01], False),
        ([-1.0, 100.0, 0.01, 0.02], False),
        ([0.9, 0.99], False),
        ([1.0] * 9 + [1e6], True),
    ],
)
def test_a_scale_is_logarithmic_where_values_span_decades(values, log):
    scale = Scale.of(values)
    assert scale.log is log
    assert all(0 <= scale.position(value) <= 1 for value in values)
    assert 2 <= len(scale.ticks()) <= 9


@given(st.lists(st.floats(-1e150, 1e150), min_size=1))
def test_every_scale_has_ticks_within(values):
    scale = Scale.of(values)
    assert all(-0.01 <= scale.position(value) <= 1.01 for value, _ in scale.ticks())
    assert all(-1e-6 <= scale.position(value) <= 1 + 1e-6 for value in values)


@given(st.floats(1e-3, 1e8))
def test_times_have_a_few_ticks_from_zero(seconds):
    ticks = time_ticks(seconds)
    assert ticks[0] == (0, "0")
    assert len(ticks) <= 7
    assert ticks[-1][0] <= seconds * 1.001


@pytest.mark.parametrize(
    ("name", "role", "subject", "topic"),
    [
        ("loss", "train", "loss", "loss"),
        ("loss_epoch", "train", "loss", "loss"),
        ("val_loss", "val", "loss", "loss"),
        ("d_loss", "train", "loss", "loss"),
        ("val_clean_accuracy", "val", "accuracy", "metric"),
        ("test/f1", "test", "f1", "metric"),
        ("lr", "train", "learning rate", "rate"),
        ("lr/generator", "train", "learning rate", "rate"),
        ("grad_norm/head", "train", "grad_norm", "gradient"),
        ("samples/s", "train", "samples/s", "speed"),
        ("data_time", "train", "seconds an iteration", "speed"),
        ("value", "train", "value", "metric"),
    ],
)
def test_names_tell_what_belongs_together(name, role, subject, topic):
    found = name_of(name)
    assert (found.role, found.subject, found.topic) == (role, subject, topic)


@pytest.mark.parametrize(
    ("name", "compared_by", "way"),
    [
        ("val_loss", None, "min"),
        ("val_accuracy", None, "max"),
        ("val_error", None, "min"),
        ("charm", None, None),
        ("charm", "max charm", "max"),
        ("val_loss", "max val_loss", "max"),
        ("val_loss", "max val_accuracy", "min"),
    ],
)
def test_which_way_is_better(name, compared_by, way):
    assert better(name, compared_by) == way


def test_shares_of_one_are_known_by_name():
    assert is_rate("val_accuracy")
    assert not is_rate("val_loss")
    assert not is_rate("reward")


def test_a_number_that_no_float_holds_is_a_line_that_could_not_be_read(tmp_path):
    path = tmp_path / "scalars.jsonl"
    path.write_text('{"step": 1, "loss": 1}\n{"step": 2, "loss": 1' + 400 * "0" + "}\n")
    found = read_scalars(path)
    assert found.torn == 1
    assert list(found.series["engine", "loss"].steps) == [1]
