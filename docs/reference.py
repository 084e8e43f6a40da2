"""Writes the index of the API reference: ``python docs/reference.py``.

The pages of ``docs/reference/`` are written by hand: the modules that they show, by automodule, are
the public ones, and what they show of them is the public API. The index lists all of it, and the
page behind it every other module. A test keeps both equal to the code.
"""

from __future__ import annotations

import ast
import inspect
import re
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from importlib import import_module
from pathlib import Path
from types import ModuleType

ROOT = Path(__file__).parents[1]
PAGES = Path(__file__).parent / "reference"
MARKED = re.compile(r"(<!-- generated: (\w+) -->\n).*?(<!-- end -->)", re.DOTALL)
SHOWN = re.compile(
    r"^## (.+)\n(?:(?!## |```).*\n)*```\{eval-rst\}\n\.\. automodule:: (\S+)\n((?:   :.*\n)*)", re.M
)
ROOMS = ("engine", "handlers", "recipes")


@dataclass(frozen=True)
class Shown:
    """A module that a page of the reference shows.

    Attributes:
        page: the page's file.
        heading: what it stands under.
        module: its true name.
        options: the directive's, as they are written.
    """

    page: Path
    heading: str
    module: str
    options: str

    @property
    def names(self) -> list[str]:
        """The names that are public: those that the directive has, or all that the module has."""
        given = re.search(r":members: (.+)", self.options)
        return re.split(r",\s*", given[1].strip()) if given else self.loaded.__all__

    @cached_property
    def loaded(self) -> ModuleType:
        """The module."""
        return import_module(self.module)


def shown() -> list[Shown]:
    """Every module that the reference shows, in its order."""
    pages = re.findall(r"^(\w+)$", (PAGES / "index.md").read_text(), re.M)
    files = [PAGES / f"{name}.md" for name in pages]
    return [Shown(file, *one) for file in files for one in SHOWN.findall(file.read_text())]


def names() -> str:
    """Every public name with the first line of what it says of itself, by page."""
    text, page = "", None
    for one in shown():
        if one.page != page:
            page = one.page
            title = page.read_text().partition("\n")[0].removeprefix("# ")
            text += (
                f"\n## [{title}]({page.name})\n\n| name | of | what it is |\n| --- | --- | --- |\n"
            )
        for name in one.names:
            says = _first_line(getattr(one.loaded, name))
            of = f"[`{one.module.removeprefix('footplate.')}`]({page.name}#{_slug(one.heading)})"
            text += f"| {_link(one, name)} | {of} | {says} |\n"
    return text + "\n"


def inside() -> str:
    """Every module that the reference does not show, with its first line, by folder."""
    public = {one.module for one in shown()}
    text, folder = "", None
    for file in _files():
        name = "footplate." + ".".join(file.relative_to(ROOT).with_suffix("").parts)
        if name in public:
            continue
        if file.parent != folder:
            folder = file.parent
            place = folder.relative_to(ROOT).as_posix()
            text += f"\n## `{place}/`\n\n| file | holds |\n| --- | --- |\n"
        first = ast.get_docstring(ast.parse(file.read_text())) or ""
        text += f"| `{file.name}` | {_plain(first)} |\n"
    return text + "\n"


def _files() -> Iterator[Path]:
    for room in ROOMS:
        files = (file for file in (ROOT / room).rglob("*.py") if file.name != "__init__.py")
        yield from sorted(files, key=lambda file: (file.parent, file.name))


def _link(one: Shown, name: str) -> str:
    """A name as a link to its description, where it has one of its own."""
    kind = getattr(one.loaded, name)
    described = inspect.isroutine(kind) or inspect.isclass(kind)
    if described and ":no-index:" not in one.options:
        return f"{{py:obj}}`~{one.module}.{name}`"
    return f"[`{name}`]({one.page.name}#{_slug(one.heading)})"


def _first_line(value: object) -> str:
    if inspect.isroutine(value) or inspect.isclass(value):
        return _plain(inspect.getdoc(value) or "")
    return f"a value: {_plain(type(value).__name__)}"


def _plain(docstring: str) -> str:
    """The first sentence of a docstring, in Markdown."""
    first = " ".join(docstring.partition("\n\n")[0].split())
    first = re.sub(r":\w+:`[~.]?(?:\w+\.)*(\w+)`", r"`\1`", first).replace("``", "`")
    return first.replace("|", r"\|")


def _slug(heading: str) -> str:
    return re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")


BLOCKS = {"names": names, "inside": inside}


def fill(page: str) -> str:
    """A page with its blocks as they should be."""
    return MARKED.sub(lambda found: f"{found[1]}{BLOCKS[found[2]]()}{found[3]}", page)


if __name__ == "__main__":
    for file in PAGES.glob("*.md"):
        file.write_text(fill(file.read_text()))
