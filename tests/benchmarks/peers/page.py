"""Renders what was measured: ``python -m tests.benchmarks.peers.page [RESULTS [PAGE]]``.

The tables go into the page between two comments; the plots into the folder beside it that is named
as it is.
"""

import sys
from pathlib import Path

from . import plots, results
from .measuring import MEASURES, measure_of
from .tables import number, rows_of

PAGE = results.FILE.parents[1] / "benchmarks.md"
BEGIN, END = "<!-- the field: begin -->", "<!-- the field: end -->"


def main(source=results.FILE, page=PAGE):
    measured = results.read(Path(source))["measures"]
    page = Path(page)
    folder = page.with_suffix("")
    folder.mkdir(exist_ok=True)
    sections, made = [], ""
    for name in MEASURES:
        if name in measured:
            measure, kept = measure_of(name), measured[name]
            plots.draw(measure, kept["contenders"], folder / f"{name}.svg", number)
            if made_of(kept) != made:  # said once, where the next ones were made so, too
                made = made_of(kept)
                sections.append(made)
            sections.append(section(measure, kept, f"{folder.name}/{name}.svg"))
    text = page.read_text()
    before, rest = text.split(BEGIN)
    _, after = rest.split(END)
    page.write_text("\n\n".join([before + BEGIN, *sections, END]) + after)


def section(measure, kept, picture):
    """A measure's part of the page: what it is, its table, and its plot."""
    head, *rows = rows_of(measure, kept["contenders"])
    table = [head, ["---"] + ["---:"] * (len(head) - 1), *rows]
    lines = ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in table]
    about = measure.__doc__.strip()
    return "\n\n".join(
        [
            f"### {measure.TITLE}",
            about,
            "\n".join(lines),
            f"![{measure.TITLE}]({picture})",
        ]
    )


def made_of(kept):
    """When, where and with what it was measured."""
    machine = kept["machine"]
    versions = [f"{name} {version}" for name, version in kept["versions"].items() if version]
    on = "" if machine["device"] == "cpu" else f"{machine['device']}, "
    short = " A shortened run." if kept["quick"] else ""
    return (
        f"{kept['date']}, {on}{machine['processor']}, {machine['cores']} cores, "
        f"{machine['memory']}; {', '.join(versions)}.{short}"
    )


if __name__ == "__main__":
    main(*sys.argv[1:])
