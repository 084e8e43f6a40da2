"""The page shows what a run's folder holds, whatever that is, and whoever wrote it."""

from __future__ import annotations

import json
import math
import os
import re
import signal
import socket
import subprocess
import sys
import time
from html.parser import HTMLParser
from pathlib import Path

import pytest

from footplate.engine.data.png import png
from footplate.handlers.report_page.page import page, write_report
from footplate.handlers.report_page.run import read_run
from footplate.handlers.report_page.trace import read_trace
from tests.handlers.report_page.runs import EPOCHS, train

HOSTILE = "<script>alert('x')</script>\"><img src=x onerror=alert(1)>"
VOID = {"br", "hr", "img", "input", "link", "meta"}


class Read(HTMLParser):
    """A page taken apart: sections, headings, tags; it must be nested as it should be."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.headings: list[str] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if self.open and self.open[-1] in ("h2", "h3"):
            self.headings.append(data)
        if "script" not in self.open and "style" not in self.open:
            self.words.append(data)

    @property
    def text(self) -> str:
        return " ".join(self.words)


def logged(folder: Path, rows: list[dict]) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    head = {"engine": "train", "on": "iteration", "epoch": 1, "wall_time": 1e9}
    lines = (json.dumps({**head, **row}) + "\n" for row in rows)
    (folder / "scalars.jsonl").write_text("".join(lines))
    return folder


def record(folder: Path, **more) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "run.json").write_text(json.dumps({"name": "r", "engine": "train", **more}))
    return folder


def read(folder: Path) -> Read:
    return Read(page(read_run(folder)))


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return train(tmp_path_factory.mktemp("runs") / "digits")


# ---------------------------------------------------------------------- a real run


@pytest.mark.covers("F9")
def test_a_real_run_has_every_section(run):
    found = Read((run / "report.html").read_text())
    sections = [attributes["id"] for tag, attributes in found.tags if tag == "section"]
    assert sections == [
        "curves",
        "metrics",
        "classes",
        "predictions",
        "media",
        "time",
        "trace",
        "checkpoints",
        "configuration",
        "environment",
        "event-plan",
    ]
    for chart in ("loss", "accuracy", "learning rate", "grad norm", "samples/s"):
        assert chart in found.headings
    for words in ("val_confusion", "test confusion", "completed", "layers.hidden", "best"):
        assert words in found.text
    assert "Checkpoint.safe_point" in found.text


@pytest.mark.covers("F9")
def test_numbers_on_the_page_are_those_of_the_run(run):
    rows = [json.loads(line) for line in (run / "scalars.jsonl").read_text().splitlines()]
    scores = [row["val_accuracy"] for row in rows if "val_accuracy" in row]
    assert len(scores) == EPOCHS
    text = re.sub(r"\s+", " ", read(run).text)
    assert f"val_accuracy {100 * max(scores):.1f} %" in text
    assert f"best, in epoch {scores.index(max(scores)) + 1}" in text
    told = json.loads((run / "run.json").read_text())
    assert f"test accuracy {100 * told['results']['test']['accuracy']:.1f} %" in text


@pytest.mark.covers("F9")
def test_the_page_needs_no_other_file(run):
    found = Read((run / "report.html").read_text())
    links = [value for _, a in found.tags for key, value in a.items() if key in ("src", "href")]
    assert links
    assert all(link.startswith(("#", "data:image/png;base64,")) for link in links)
    assert "url(" not in (run / "report.html").read_text()
    policies = [a["content"] for tag, a in found.tags if "http-equiv" in a]
    assert policies[0].startswith("default-src 'none'")


@pytest.mark.covers("F9")
def test_a_run_that_was_killed_has_a_page_and_goes_on(tmp_path):
    folder = tmp_path / "run"
    command = [sys.executable, "-m", "tests.handlers.report_page.runs", str(folder)]
    child = subprocess.Popen([*command, "500"])
    try:
        deadline = time.monotonic() + 120
        while len(list(folder.glob("checkpoints/0*"))) < 2:
            assert time.monotonic() < deadline
            assert child.poll() is None
            time.sleep(0.02)
        alive = read(folder)
        assert "running" in alive.text
        assert "of 500" in alive.text
    finally:
        child.send_signal(signal.SIGKILL)
        child.wait()
    killed = read(folder)
    assert "killed" in killed.text
    assert {"Curves", "Metrics", "Time", "Checkpoints", "Event plan"} <= set(killed.headings)

    subprocess.run([*command, "5", "--resume"], check=True)
    again = read_run(folder)
    assert [one.status for one in again.sessions] == ["killed", "completed", "completed"]
    assert again.status == "completed"
    for name in ("loss", "val_loss"):
        steps = list(again.scalars.series["train", name].steps)
        assert steps == sorted(set(steps))
    epochs = [one["epoch"] for one in again.phases if one["what"] == "train"]
    assert epochs[-1] == 5
    assert len([one for one in epochs if one == 5]) == 1
    assert "resumed once" in read(folder).text


# ---------------------------------------------------------------------- parts of a run


@pytest.mark.covers("F9")
def test_what_is_not_there_has_no_section(tmp_path):
    (tmp_path / "options.json").write_text('{"lr": 0.1}')
    found = read(tmp_path)
    assert found.headings == ["Configuration"]
    assert "0.1" in found.text


def test_a_run_that_has_said_nothing_yet_has_a_page_that_says_so(tmp_path):
    (tmp_path / "scalars.jsonl").write_text("")
    assert "nothing to show yet" in read(tmp_path).text


@pytest.mark.covers("F9")
@pytest.mark.parametrize(
    "name",
    [
        "run.json",
        "options.json",
        "environment.json",
        "trace.json",
        "predictions.json",
        "checkpoints/1/manifest.json",
    ],
)
@pytest.mark.parametrize(
    "content", ["{", "[1]", "null", '{"a": {"b": [1, {"c": null}]}}', "[" * 9999]
)
def test_a_broken_file_spoils_nothing_else(tmp_path, name, content):
    logged(tmp_path, [{"step": step, "loss": 1.0 / step} for step in range(1, 5)])
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(content)
    found = read(tmp_path)
    assert "loss" in found.headings
    if content == "{":
        assert f"{name} could not be read" in found.text


@pytest.mark.parametrize(
    "line", ["", "nonsense", "[]", '{"what": "x"}', '{"name": "x", "value": [[1]]}']
)
@pytest.mark.parametrize(
    "name", ["phases.jsonl", "tables.jsonl", "tables.json", "media/media.jsonl"]
)
def test_odd_lines_are_left_out(tmp_path, name, line):
    logged(tmp_path, [{"step": step, "loss": 1.0 / step} for step in range(1, 5)])
    (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
    (tmp_path / name).write_text(line + "\n")
    assert [one for one in read(tmp_path).headings if one in ("Classes", "Media", "Time")] == []


@pytest.mark.covers("F9")
def test_names_and_values_are_escaped_wherever_they_stand(tmp_path):
    folder = tmp_path / "run"
    steps = [{"step": step, "engine": HOSTILE, HOSTILE: 1.0 / step} for step in range(1, 5)]
    logged(folder, [*steps, *({"step": step, HOSTILE: 1.0} for step in range(1, 4))])
    plan = {HOSTILE: [{"event": HOSTILE, "handler": HOSTILE, "source": HOSTILE, "order": 1}]}
    session = {"engine": "train", "began": 1e9, "ended": 1e9 + 5, "reason": "error"}
    sessions = [{**session, "error": HOSTILE, "traceback": HOSTILE}]
    parts = {"plan": plan, "sessions": sessions, "config": {HOSTILE: {HOSTILE: HOSTILE}}}
    record(folder, classes=[HOSTILE] * 2, results={HOSTILE: {HOSTILE: 1.0}}, **parts)
    told = json.loads((folder / "run.json").read_text())
    (folder / "run.json").write_text(json.dumps({**told, "name": HOSTILE}))
    (folder / "environment.json").write_text(json.dumps({HOSTILE: HOSTILE}))
    table = {"engine": HOSTILE, "name": HOSTILE, "epoch": HOSTILE, "step": 1}
    (folder / "tables.jsonl").write_text(json.dumps({**table, "value": [[1, 2], [3, 4]]}) + "\n")
    span = {"what": HOSTILE, "epoch": HOSTILE, "began": 1e9, "seconds": 2.0}
    (folder / "phases.jsonl").write_text(json.dumps(span) + "\n")
    sample = {"predicted": HOSTILE, "actual": 1, "image": HOSTILE, "confidence": 0.5}
    samples = {"kind": "classes", "epoch": HOSTILE, "looked_at": 1, "mistakes": 1}
    (folder / "predictions.json").write_text(
        json.dumps({HOSTILE: {**samples, "samples": [sample]}})
    )
    saved = folder / "checkpoints" / "<b>1"
    saved.mkdir(parents=True)
    told = {"iteration": 1, "epoch": 1, "exact": False, "error": HOSTILE, "compared_by": HOSTILE}
    (saved / "manifest.json").write_text(json.dumps(told))
    spans = {
        "name": HOSTILE,
        "ph": "X",
        "cat": HOSTILE,
        "ts": 0,
        "dur": 5,
        "args": {"engine": HOSTILE},
    }
    events = {"traceEvents": [spans], "otherData": {"remarks": [HOSTILE]}}
    (folder / "trace.json").write_text(json.dumps(events))
    media = folder / "media"
    media.mkdir()
    (media / "a.txt").write_text(HOSTILE)
    (media / "b.json").write_text(json.dumps({"columns": [HOSTILE], "rows": [[HOSTILE]]}))
    lines = [{"kind": "text", "file": "a.txt"}, {"kind": "table", "file": "b.json"}]
    shown = (json.dumps({**one, "name": HOSTILE, "step": 1}) + "\n" for one in lines)
    (media / "media.jsonl").write_text("".join(shown))

    found = read(folder)
    scripts = [a for tag, a in found.tags if tag == "script" and "type" not in a]
    assert len(scripts) == 1  # our own
    assert all("onerror" not in attributes for _, attributes in found.tags)
    assert found.text.count(HOSTILE) > 20
    expected = {"Classes", "Predictions", "Media", "Time", "Trace", "Checkpoints", "Event plan"}
    assert expected <= set(found.headings)


@pytest.mark.covers("F9")
def test_values_that_are_no_numbers_are_marked_and_told(tmp_path):
    losses = {10: math.nan, 11: math.inf, 20: math.nan}
    logged(tmp_path, [{"step": s, "loss": losses.get(s, 1.0 / s)} for s in range(1, 31)])
    found = read(tmp_path)
    bands = [a for tag, a in found.tags if tag == "rect" and "gap" in (a.get("class") or "")]
    assert len(bands) == 2
    assert "loss: 3 values are no finite numbers, at iteration 10 to 11, 20." in found.text


@pytest.mark.parametrize("value", [math.nan, math.inf, 0.0, -1.0, 5e-324, 1e300, -1.7e308])
def test_a_curve_of_one_value_throughout_is_drawn(tmp_path, value):
    logged(tmp_path, [{"step": s, "loss": value, "both": (-1) ** s * value} for s in range(1, 5)])
    found = read(tmp_path)
    assert "loss" in found.headings
    assert "nan" not in re.sub("NaN", "", " ".join(str(a) for _, a in found.tags)).lower()


@pytest.mark.covers("F9")
def test_many_points_make_a_small_page(tmp_path):
    with (tmp_path / "scalars.jsonl").open("w") as file:
        for step in range(1, 100_001):
            row = {"engine": "train", "on": "iteration", "step": step, "epoch": 1, "wall_time": 1.0}
            scalars = {"loss": step % 97, "grad_norm": 1e6 if step == 77_777 else step % 89}
            file.write(json.dumps({**row, **scalars}) + "\n")
    path = write_report(tmp_path)
    assert path.stat().st_size < 500_000
    assert '"1,000,000"' in path.read_text()  # the peak is there for the pointer


def test_media_outside_of_the_folder_are_not_taken_in(tmp_path):
    secret = tmp_path / "secret.txt"
    secret.write_text("secret words")
    media = logged(tmp_path / "run", []) / "media"
    media.mkdir()
    (media / "link.txt").symlink_to(secret)
    files = ("../../secret.txt", str(secret), "link.txt")
    lines = ({"kind": "text", "name": "a", "step": 1, "file": file} for file in files)
    (media / "media.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    assert "secret words" not in page(read_run(tmp_path / "run"))


def test_a_matrix_of_many_classes_is_a_picture(tmp_path):
    size = 200
    matrix = [[10 if row == column else 0 for column in range(size)] for row in range(size)]
    matrix[3][5] = 7
    table = {"engine": "train", "name": "confusion", "epoch": 1, "step": 1, "value": matrix}
    record(tmp_path)
    (tmp_path / "tables.jsonl").write_text(json.dumps(table) + "\n")
    text = page(read_run(tmp_path))
    assert "200 true classes" in text
    assert "<b>3</b> taken for <b>5</b><em>7</em>" in text
    assert len(text) < 100_000


def test_a_table_that_an_evaluation_handed_on_is_shown_once(tmp_path):
    logged(record(tmp_path), [])
    tables = [
        {"engine": "val", "name": "confusion", "step": 4, "epoch": 1, "value": [[1, 0], [0, 1]]},
        {"engine": "train", "name": "val_confusion", "step": 4, "value": [[1, 0], [0, 1]]},
        {"engine": "test", "name": "confusion", "step": 4, "value": [[2, 0], [0, 2]]},
    ]
    (tmp_path / "tables.jsonl").write_text("".join(json.dumps(one) + "\n" for one in tables))
    assert read(tmp_path).headings == ["Classes", "val_confusion", "test confusion"]


def matrix(folder: Path, value, **more) -> Path:
    logged(record(folder, **more), [])
    table = {"engine": "train", "name": "cm", "epoch": 1, "step": 1, "value": value}
    (folder / "tables.json").write_text(json.dumps({"tables": [table]}))
    return folder


@pytest.mark.covers("F9")
@pytest.mark.parametrize("size", [3, 40])
def test_a_matrix_with_values_that_are_no_numbers_is_drawn(tmp_path, size):
    value = [[0.5] * size for _ in range(size)]
    value[1] = [math.nan] * size
    value[2][0] = math.inf
    found = read(matrix(tmp_path, value))
    assert "cm" in found.headings
    assert "could not be" not in found.text


def test_a_matrix_of_shares_is_not_taken_for_counts(tmp_path):
    shares = read(matrix(tmp_path, [[0.9, 0.1], [0.5, 0.5]])).text
    assert "normalised" in shares
    assert not [words for words in ("taken for", "recall", "right") if words in shares]
    counts = read(matrix(tmp_path, [[9.0, 1.0], [5.0, 5.0]])).text
    assert "normalised" not in counts
    assert "taken for" in counts
    other = read(matrix(tmp_path, [[1.5, -2.0], [0.5, 0.25]])).text
    assert "cm" in other
    assert "normalised" not in other


def test_a_table_that_is_too_large_is_told(tmp_path):
    logged(record(tmp_path), [])
    table = {"engine": "train", "name": "cm", "epoch": 1, "step": 1, "shape": [3000, 3000]}
    (tmp_path / "tables.json").write_text(json.dumps({"tables": [table]}))
    assert "cm, of 3,000 by 3,000 values, is too large" in read(tmp_path).text


@pytest.mark.covers("F9")
def test_a_section_that_can_not_be_drawn_spoils_no_other(tmp_path, caplog):
    logged(tmp_path, [{"step": step, "loss": 1.0 / step} for step in range(1, 5)])
    told = {"kind": "classes", "epoch": 1, "looked_at": 4, "samples": 3}
    (tmp_path / "predictions.json").write_text(json.dumps({"val": told}))
    spans = [{"what": "x", "began": 1e9, "seconds": 10**400, "epoch": 1}]
    (tmp_path / "phases.jsonl").write_text("".join(json.dumps(one) + "\n" for one in spans))
    found = read(tmp_path)
    assert "loss" in found.headings
    assert "Predictions could not be drawn" in found.text
    assert "Predictions could not be drawn" in caplog.text


@pytest.mark.parametrize(
    "broken",
    [
        {"sessions": [{"began": math.nan, "ended": math.inf}]},
        {"sessions": [{"began": 1e308, "ended": 1e309, "process": 10**400}]},
        {"sessions": [{"began": 10**400}]},
        {"name": "\ud800", "max_epochs": math.nan, "epoch": "x"},
        {"epoch": {}, "iteration": [], "results": {"x": {"y": math.inf}}},
    ],
)
def test_a_record_of_odd_values_has_a_page(tmp_path, broken):
    logged(tmp_path, [{"step": step, "loss": 1.0 / step} for step in range(1, 5)])
    record(tmp_path, **broken)
    assert "loss" in Read(write_report(tmp_path).read_text()).headings


# ---------------------------------------------------------------------- how a run stands


def session(**more) -> dict:
    return {"engine": "train", "began": time.time() - 60, "host": socket.gethostname(), **more}


@pytest.mark.parametrize(
    ("reason", "status"),
    [
        ("completed", "completed"),
        ("terminated", "terminated"),
        ("interrupted", "interrupted"),
        ("signalled", "stopped by a signal"),
        ("error", "failed"),
    ],
)
def test_a_run_that_ended_says_how(tmp_path, reason, status):
    record(tmp_path, sessions=[session(ended=time.time(), reason=reason)])
    assert read_run(tmp_path).status == status


def test_a_run_whose_process_lives_is_running_and_otherwise_was_killed(tmp_path):
    record(tmp_path, sessions=[session(process=os.getpid())])
    assert read_run(tmp_path).status == "running"
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    child.wait()
    record(tmp_path, sessions=[session(process=child.pid)])
    assert read_run(tmp_path).status == "killed"


@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are seen in /proc")
def test_a_process_that_died_unnoticed_by_its_parent_does_not_run(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", "pass"])
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)  # it stays a zombie
    record(tmp_path, sessions=[session(process=child.pid)])
    assert read_run(tmp_path).status == "killed"
    child.wait()


def test_a_run_of_another_machine_is_alive_as_long_as_it_is_heard_of(tmp_path):
    record(tmp_path, sessions=[session(process=1, host="elsewhere")])
    assert read_run(tmp_path).status == "running"
    old = session(process=1, host="elsewhere", began=time.time() - 86_400)
    record(tmp_path, sessions=[old])
    assert read_run(tmp_path).status == "killed"


def test_time_between_sessions_does_not_count(tmp_path):
    sessions = [
        session(began=1e9, ended=1e9 + 10, reason="signalled"),
        session(began=2e9, ended=2e9 + 5, reason="completed", iteration=7),
    ]
    record(tmp_path, sessions=sessions)
    spans = [{"what": "train", "began": at, "seconds": 5.0, "epoch": 1} for at in (1e9, 2e9)]
    (tmp_path / "phases.jsonl").write_text("".join(json.dumps(one) + "\n" for one in spans))
    run = read_run(tmp_path)
    assert run.seconds == 15
    text = Read(page(run)).text
    assert "went on from iteration 7" in text
    assert re.search(r"train\s+66\.7 %", text)


# ---------------------------------------------------------------------- small parts


def test_a_trace_is_added_up_to_own_times(tmp_path):
    def span(name, kind, began, took, **more):
        args = {"engine": "train", **more}
        return {"name": name, "cat": kind, "ph": "X", "ts": began, "dur": took, "args": args}

    spans = [
        span("train", "engine", 0, 100e6),
        span("step", "step", 10e6, 60e6),
        span("forward", "part of the step", 10e6, 45e6),
        span("save", "handler", 80e6, 5e6, event="SAFE_POINT"),
    ]
    file = tmp_path / "trace.json"
    file.write_text(json.dumps({"traceEvents": spans[::-1]}))
    found = read_trace(file)
    seconds = {line.name: round(line.seconds, 6) for line in found.lines}
    assert seconds == {"forward": 45, "dispatch": 35, "step": 15, "save": 5}
    assert found.seconds == pytest.approx(100)


@pytest.mark.parametrize(("pixels", "shape"), [(b"", (0, 0)), (b"123", (2, 2)), (b"1", (1, 1, 2))])
def test_pictures_that_are_none_are_refused(pixels, shape):
    with pytest.raises(ValueError, match=r"at least one pixel|1 or 3 channels"):
        png(pixels, *shape)


def test_a_picture_is_read_back_as_it_was():
    import io

    from PIL import Image

    pixels = bytes(range(24))
    with Image.open(io.BytesIO(png(pixels, 4, 2, 3))) as image:
        assert image.size == (4, 2)
        assert image.convert("RGB").tobytes() == pixels


def test_a_report_replaces_the_one_before_as_a_whole(tmp_path):
    logged(tmp_path, [])
    output = tmp_path / "pages" / "one.html"
    for _ in range(2):
        assert write_report(tmp_path, output) == output
    assert [one.name for one in output.parent.iterdir()] == ["one.html"]


@pytest.mark.covers("F9")
def test_the_mean_of_an_epoch_is_told_apart_from_the_values(tmp_path):
    rows = [{"step": s, "loss": 1.0 / s, "epoch": 1 + (s - 1) // 10} for s in range(1, 31)]
    rows += [{"step": s, "on": "epoch", "epoch": s // 10, "loss_epoch": 2.0} for s in (10, 20, 30)]
    found = read(logged(tmp_path, rows))
    drawn = [a.get("class") for tag, a in found.tags if tag == "path"]
    assert drawn.count("dots") == 1  # as many as the legend shows
    assert drawn.count("line mean") == 1
    keys = [a.get("class") for tag, a in found.tags if tag == "i"]
    assert "key dotted mean" in keys


def test_what_scrolls_is_reached_by_keys(run):
    found = Read((run / "report.html").read_text())
    scrolling = [a for _, a in found.tags if "scroll" in (a.get("class") or "").split()]
    assert len(scrolling) > 5
    assert all(a.get("tabindex") == "0" for a in scrolling)


@pytest.mark.parametrize("step", [[1, 2], {"a": 1}, None, "x"])
def test_a_table_of_an_odd_step_is_shown(tmp_path, step):
    logged(tmp_path, [{"step": step, "loss": 1.0 / step} for step in range(1, 5)])
    table = {"engine": "val", "name": "confusion", "epoch": 1, "step": step, "value": [[1, 2]] * 2}
    tables = [table, {**table, "engine": "train", "name": "val_confusion"}]
    (tmp_path / "tables.json").write_text(json.dumps({"tables": tables}))
    assert "loss" in read(tmp_path).headings
