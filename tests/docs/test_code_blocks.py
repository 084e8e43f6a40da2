"""Every Python block of the README and the pages runs, and prints what the page says it prints.

The blocks of a page run in order and share their names. A ``text`` block that follows at once is
what the block before it prints. A block, of any language, that begins with the name of a file in a
comment, as ``# train.py``, is that file, too: beside the page's program, which may import it. What
is written for another library is shown and not run, in ``sage`` blocks, coloured as Python.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
PAGES = [ROOT / "README.md", *sorted((ROOT / "docs").glob("**/*.md"))]
BLOCK = re.compile(
    r"^```python\n(?P<code>.*?)^```\n(?:\s*^```text\n(?P<printed>.*?)^```$)?",
    re.DOTALL | re.MULTILINE,
)
FILE = re.compile(
    r"^```\w+\n(?P<text># (?P<name>\w+\.\w+)\n.*?)^```$",
    re.DOTALL | re.MULTILINE,
)


class Block(NamedTuple):
    code: str
    printed: str | None
    line: int


def _blocks(page: str) -> list[Block]:
    return [
        Block(found["code"], found["printed"], page[: found.start("code")].count("\n"))
        for found in BLOCK.finditer(page)
    ]


def _keep_files(page: str, folder: Path) -> None:
    for found in FILE.finditer(page):
        (folder / found["name"]).write_text(found["text"])


def _run(page: Path, names: dict[str, object], capsys: pytest.CaptureFixture[str]) -> None:
    for block in _blocks(page.read_text()):
        # behind as many empty lines, so that a traceback names the page's own line
        exec(compile("\n" * block.line + block.code, str(page), "exec"), names)
        printed = capsys.readouterr().out
        if block.printed is not None:
            assert printed == block.printed, f"{page.name}, behind line {block.line}"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """Where the page's program runs, as if it had been started there."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    yield tmp_path
    for name, module in list(sys.modules.items()):
        if str(getattr(module, "__file__", None)).startswith(str(tmp_path)):
            del sys.modules[name]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_the_blocks_of_the_page_run(
    page: Path, folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    _keep_files(page.read_text(), folder)
    # dataclasses and pickle look up the module of what the block defines
    names = dict.fromkeys(["__name__"], "__main__")
    _run(page, names, capsys)


def test_no_block_is_missed() -> None:
    for page in PAGES:
        text = page.read_text()
        fences = re.findall(r"^ *```+ *\{?(?:code-block\} *)?py", text, re.MULTILINE)
        assert len(fences) == len(_blocks(text)), page.name


@pytest.mark.parametrize(
    ("text", "printed"),
    [
        ("```python\nprint(1)\n```\n\n```text\n1\n```\n", "1\n"),
        ("```python\nprint(1)\n```\nProse.\n```text\n1\n```\n", None),
        ("```python\nprint(1)\n```\n", None),
    ],
)
def test_what_belongs_to_a_block(text: str, printed: str | None) -> None:
    assert [block.printed for block in _blocks(text)] == [printed]


def test_a_named_block_is_a_file(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = folder / "page.md"
    page.write_text(
        "```python\n# ours.py\nn = 1\n```\n```yaml\n# a.yaml\nn: 1\n```\n"
        "```python\nfrom ours import n\nprint(n)\n```\n\n```text\n1\n```\n"
    )
    _keep_files(page.read_text(), folder)
    _run(page, {}, capsys)
    assert (folder / "a.yaml").read_text() == "# a.yaml\nn: 1\n"


def test_a_wrong_output_is_seen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    page = tmp_path / "page.md"
    page.write_text("```python\nprint(1)\n```\n\n```text\n2\n```\n")
    with pytest.raises(AssertionError, match="behind line 1"):
        _run(page, {}, capsys)
