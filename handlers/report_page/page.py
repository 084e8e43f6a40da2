"""The page: sections that have something to show, with style and script, in one file."""

from __future__ import annotations

import logging
import os
from collections.abc import Callable
from importlib.resources import files
from pathlib import Path

from .curves import curves
from .facts import checkpoints, facts, plan, trace
from .markup import Markup, tag
from .matrices import matrices
from .pictures import pictures
from .predictions import predictions
from .results import cards, metrics_table
from .run import Run, read_run
from .time_chart import time_chart
from .wording import duration, moment

__all__ = ["page", "write_report"]

_SECTIONS: tuple[tuple[str, Callable[[Run], Markup | None]], ...] = (
    ("Curves", curves),
    ("Metrics", metrics_table),
    ("Classes", matrices),
    ("Predictions", predictions),
    ("Media", pictures),
    ("Time", time_chart),
    ("Trace", trace),
    ("Checkpoints", checkpoints),
    ("Configuration", lambda run: facts(run.config)),
    ("Environment", lambda run: facts(run.environment)),
    ("Event plan", plan),
)

_log = logging.getLogger("footplate.report")

_POLICY = (
    "default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'unsafe-inline'; "
    "base-uri 'none'; form-action 'none'"
)
_KINDS = {
    "completed": "good",
    "running": "busy",
    "stopped early": "halted",
    "terminated": "halted",
    "interrupted": "halted",
    "stopped by a signal": "halted",
    "failed": "bad",
    "killed": "bad",
}


def write_report(folder: str | Path, output: str | Path | None = None) -> Path:
    """Write the report of a run.

    Args:
        folder: the run's; what of it is there is shown.
        output: the file; by default ``report.html`` in the folder. What is there is replaced, as a
            whole. Its folder is made if need be.

    Returns:
        the file.

    Example:
        >>> import tempfile
        >>> run = Path(tempfile.mkdtemp())
        >>> _ = (run / "options.json").write_text('{"lr": 0.1}')
        >>> write_report(run).name
        'report.html'
    """
    folder = Path(folder)
    path = folder / "report.html" if output is None else Path(output)
    written = page(read_run(folder))
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_name(f".{path.name}.{os.getpid()}.part")
    try:
        beside.write_text(written, encoding="utf-8", errors="xmlcharrefreplace")
        beside.replace(path)
    finally:
        beside.unlink(missing_ok=True)
    return path


def page(run: Run) -> str:
    """The report of a run as HTML that needs no other file, and no network.

    What can't be drawn is left out; a remark at the page's end says so.
    """
    shown = [(title, _drawn(title, show, run)) for title, show in _SECTIONS]
    parts = [(title, body) for title, body in shown if body is not None]
    links = [tag("a", title, href=f"#{_anchor(title)}") for title, _ in parts]
    sections = [tag("section", tag("h2", title), body, id=_anchor(title)) for title, body in parts]
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        Markup(f'<meta http-equiv="Content-Security-Policy" content="{_POLICY}">'),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("title", f"{run.name} · run report"),
        tag("style", Markup(_own("page.css"))),
    )
    body = tag(
        "body",
        _drawn("The head", _header, run) or tag("header", tag("h1", run.name)),
        tag("nav", tag("div", links, class_="inner"), aria_label="sections") if links else None,
        tag(
            "main",
            _drawn("The error", _error, run),
            _drawn("The cards", cards, run),
            sections or _nothing(),
        ),
        _footer(run),
        tag("script", Markup(_own("page.js"))),
    )
    return f"<!doctype html>\n{tag('html', head, body, lang='en')}\n"


def _drawn(title: str, show: Callable[[Run], Markup | None], run: Run) -> Markup | None:
    """A part of the page; a remark on it if it can't be drawn, which must spoil no other."""
    try:
        return show(run)
    except Exception as error:
        sentence = f"{title} could not be drawn: {type(error).__name__}: {str(error)[:200]}."
        run.remarks.append(sentence)
        _log.warning("%s: %s", run.folder, sentence)
        _log.debug("where it failed", exc_info=error)
        return None


# ---------------------------------------------------------------------- the frame


def _header(run: Run) -> Markup:
    status = run.status
    badge = tag("span", status, class_=f"badge {_KINDS.get(status, '')}") if status else None
    facts = []
    if run.sessions:
        facts.append(moment(run.sessions[0].began))
    if run.seconds is not None:
        facts.append(duration(run.seconds))
    if run.why is not None:
        facts.append(run.why)
    if resumed := sum(one.iteration > 0 for one in run.sessions):
        facts.append("resumed once" if resumed == 1 else f"resumed {resumed} times")
    toggle = tag("button", "dark", type="button", id="theme", aria_label="change the colours")
    return tag(
        "header",
        tag(
            "div",
            tag("p", "run report", class_="over"),
            tag("h1", run.name),
            tag("p", badge, [tag("span", one) for one in facts], class_="meta"),
            class_="title",
        ),
        toggle,
        _progress(run),
    )


def _progress(run: Run) -> Markup | None:
    """How far a run has come that has not come to its end."""
    if run.status == "completed":
        return None
    for count, most in (("iteration", "max_iters"), ("epoch", "max_epochs")):
        done, whole = run.record.get(count), run.record.get(most)
        logged = run.scalars.series.values()
        if count == "epoch":
            done = max([done or 0, *(s.epochs[-1] for s in logged if s.engine == run.engine)])
        if isinstance(done, (int, float)) and isinstance(whole, (int, float)) and whole:
            text = f"{count} {done:.0f} of {whole:.0f}"
            bar = tag("progress", text, value=f"{done:.0f}", max=f"{whole:.0f}", aria_label=text)
            return tag("p", bar, tag("span", text), class_="progress")
    return None


def _error(run: Run) -> Markup | None:
    last = run.sessions[-1] if run.sessions else None
    if last is None or last.error is None:
        return None
    where = tag("details", tag("summary", "Traceback"), tag("pre", last.traceback, tabindex=0))
    return tag(
        "div", tag("p", last.error), where if last.traceback else None, class_="error", role="alert"
    )


def _nothing() -> Markup:
    return tag(
        "p",
        "There is nothing to show yet: the run has logged nothing so far.",
        class_="panel empty",
    )


def _footer(run: Run) -> Markup:
    return tag(
        "footer",
        [tag("p", sentence, class_="note") for sentence in run.remarks],
        tag(
            "p",
            "Made by Footplate on ",
            moment(run.read_at),
            " from ",
            tag("code", str(run.folder)),
        ),
    )


def _anchor(title: str) -> str:
    return title.lower().replace(" ", "-")


def _own(name: str) -> str:
    return files(__package__).joinpath(name).read_text(encoding="utf-8")
