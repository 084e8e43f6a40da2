"""A timeline adds up spans that nest, and keeps the first of them."""

from __future__ import annotations

import json
import threading
import time

import pytest

from footplate.engine.trace.chrome import write_chrome_trace
from footplate.engine.trace.table import findings, left_out, lines, table
from footplate.engine.trace.timeline import NEVER, Kind, Timeline

TRAIN = ("train",)
VAL = ("train", "val")


def begun(**options):
    timeline = Timeline(**options)
    timeline.begin()
    timeline.open(timeline.row(TRAIN, Kind.ENGINE, "train"))
    return timeline


def spend(timeline, row, seconds, number=0):
    depth = timeline.open(row, number)
    time.sleep(seconds)
    timeline.close(depth)


def own(timeline):
    return {(row.engines, row.what): row.own for row in timeline.rows()}


@pytest.mark.covers("F8")
def test_own_times_add_up_to_the_whole_to_the_nanosecond():
    timeline = begun()
    outer = timeline.open(timeline.row(TRAIN, Kind.HANDLER, "evaluate", "EPOCH_COMPLETED"))
    inner = timeline.open(timeline.row(VAL, Kind.ENGINE, "val"))
    spend(timeline, timeline.row(VAL, Kind.STEP, "step"), 0.02)
    timeline.close(inner)
    timeline.close(outer)
    timeline.finish()
    times = own(timeline)
    assert sum(times.values()) == timeline.nanoseconds
    assert times[VAL, "step"] >= 20e6
    assert sum(line.share for line in lines(timeline)) == pytest.approx(1)


def test_to_close_a_span_closes_what_was_left_open_within_it():
    timeline = begun()
    outer = timeline.open(timeline.row(TRAIN, Kind.HANDLER, "outer"))
    timeline.open(timeline.row(TRAIN, Kind.HANDLER, "inner"))
    timeline.close(outer)
    after = timeline.open(timeline.row(TRAIN, Kind.HANDLER, "outer"))
    assert after == outer
    assert [row.calls for row in timeline.rows()] == [1, 1]


def test_phases_end_by_what_comes_and_leave_calls_under_way_alone():
    timeline = begun()
    epoch, step = (timeline.row(TRAIN, kind, kind) for kind in (Kind.EPOCH, Kind.STEP))
    part = timeline.row(TRAIN, Kind.PART, "forward")
    handler = timeline.row(TRAIN, Kind.HANDLER, "handler")
    for row in (epoch, step, part):
        timeline.open(row)
    timeline.end_phases(VAL, 0)
    assert timeline.rows() == []
    timeline.end_phases(TRAIN, 1)
    assert timeline.rows() == [step, part]
    inside = timeline.open(handler)
    timeline.end_phases(TRAIN, 0)
    timeline.end_phase(epoch)
    assert epoch.calls == handler.calls == 0
    timeline.close(inside)
    timeline.end_phase(epoch)
    assert epoch.calls == 1


def test_a_phase_in_the_midst_ends_with_those_within():
    timeline = begun()
    forward, backward = (timeline.row(TRAIN, Kind.PART, name) for name in ("forward", "backward"))
    timeline.open(forward)
    timeline.open(backward)
    timeline.end_phase(forward)
    timeline.end_phase(forward)
    assert (forward.calls, backward.calls) == (1, 1)


def test_another_thread_is_not_recorded():
    timeline = begun()
    row = timeline.row(TRAIN, Kind.HANDLER, "elsewhere")
    seen = []

    def elsewhere():
        seen.append((timeline.here, timeline.open(row)))
        timeline.close(seen[0][1])

    thread = threading.Thread(target=elsewhere)
    thread.start()
    thread.join()
    assert timeline.here
    assert seen == [(False, NEVER)]
    assert row.calls == 0
    timeline.finish()
    assert not timeline.here
    assert timeline.open(row) == NEVER


def test_to_begin_forgets_what_was():
    timeline = begun(max_spans=5)
    row = timeline.row(TRAIN, Kind.STEP, "step")
    for _ in range(9):
        spend(timeline, row, 0)
    timeline.finish()
    assert (len(timeline), timeline.left_out) == (5, 5)
    timeline.begin()
    assert (len(timeline), timeline.left_out, timeline.nanoseconds) == (0, 0, 0)
    assert timeline.rows() == []
    assert timeline.row(TRAIN, Kind.STEP, "step") is row


@pytest.mark.covers("F8")
def test_spans_behind_the_first_are_only_added_up(tmp_path):
    timeline = begun(max_spans=4)
    row = timeline.row(TRAIN, Kind.STEP, "step")
    for number in range(1, 11):
        spend(timeline, row, 0.001, number)
    timeline.finish()
    assert row.calls == 10
    assert sum(own(timeline).values()) == timeline.nanoseconds
    assert [number for kept, number, _, _ in timeline.spans() if kept is row] == [1, 2, 3]
    said = "of 11 spans the first 4 were kept one by one; the sums are of all."
    assert left_out(timeline) == [said]
    assert said in table(timeline)

    write_chrome_trace(timeline, tmp_path / "trace.json", remarks=left_out(timeline))
    written = json.loads((tmp_path / "trace.json").read_text())
    assert sum(event["ph"] == "X" for event in written["traceEvents"]) == 4
    about = written["otherData"]
    assert (about["spans_kept"], about["spans_left_out"], about["remarks"]) == (4, 7, [said])


def test_names_that_are_awkward_in_json_are_written(tmp_path):
    timeline = begun()
    spend(timeline, timeline.row(TRAIN, Kind.HANDLER, 'a "name" \\ ü', "E}}"), 0)
    timeline.finish()
    write_chrome_trace(timeline, tmp_path / "trace.json", remarks=[])
    *_, last = json.loads((tmp_path / "trace.json").read_text())["traceEvents"]
    assert (last["name"], last["args"]) == ('a "name" \\ ü', {"engine": "train", "event": "E}}"})


@pytest.mark.covers("F8")
def test_the_table_goes_from_long_to_short_and_nested_engines_stand_behind():
    timeline = begun()
    spend(timeline, timeline.row(TRAIN, Kind.HANDLER, "short", "STARTED"), 0.005)
    evaluate = timeline.open(timeline.row(TRAIN, Kind.HANDLER, "evaluate", "EPOCH_COMPLETED"))
    for _ in range(2):
        val = timeline.open(timeline.row(VAL, Kind.ENGINE, "val"))
        spend(timeline, timeline.row(VAL, Kind.STEP, "step"), 0.02)
        timeline.close(val)
    timeline.close(evaluate)
    spend(timeline, timeline.row(TRAIN, Kind.STEP, "step"), 0.03)
    timeline.finish()
    found = lines(timeline)
    assert [line.engines for line in found] == [TRAIN] * 4 + [VAL] * 2
    for of_one in (found[:4], found[4:]):  # in the order of what they took, as the machine was busy
        assert of_one == sorted(of_one, key=lambda line: -line.seconds)
    names = [line.name for line in found]
    assert {*names[:4]} == {"step", "short · STARTED", "dispatch", "evaluate · EPOCH_COMPLETED"}
    assert {*names[4:]} == {"step", "dispatch"}
    shown = [line.rstrip() for line in table(timeline).splitlines()]
    assert shown[0].split() == [*shown[0].split()[:4], "share", "time", "per", "call", "calls"]
    assert shown[1].startswith("train: ")
    assert shown[1].endswith(" in 1 run")
    assert shown[2].startswith(f"  {names[0]} ")
    assert shown[6].startswith("  val: ")
    assert shown[6].endswith(" in 2 runs")
    assert shown[7].startswith(f"    {names[4]} ")
    (step,) = (line for line in shown if line.startswith("    step "))
    assert step.split()[-1] == "2"


def test_nothing_was_traced_yet():
    assert table(Timeline()) == "nothing was traced yet"
    assert lines(Timeline()) == findings(Timeline()) == []


@pytest.mark.covers("F8")
@pytest.mark.parametrize(
    ("kind", "share", "told"),
    [
        (Kind.HANDLER, 0.099, False), (Kind.HANDLER, 0.101, True),
        (Kind.DATA, 0.199, False), (Kind.DATA, 0.201, True),
    ],
)  # fmt: skip
def test_a_tenth_for_handlers_and_a_fifth_for_data_is_too_much(kind, share, told):
    timeline = begun()
    timeline.close(timeline.open(timeline.row(TRAIN, kind, "it", "SOMETHING")))
    timeline.finish()
    for row in timeline.rows():
        row.own = 0
    timeline.nanoseconds = 1_000_000
    timeline.row(TRAIN, kind, "it", "SOMETHING").own = round(share * 1_000_000)
    assert bool(findings(timeline)) == told
