"""Passages: labelled pieces of text, read or cut from code, and parted by where they come from."""

from __future__ import annotations

import csv
import io
import random
import tokenize
from collections.abc import Collection, Iterator, Sequence
from contextlib import suppress
from itertools import accumulate, pairwise
from pathlib import Path
from typing import NamedTuple

from ..errors import DataError

__all__ = ["Passage", "gaps_below", "parted", "passages_in", "with_gaps"]


class Passage(NamedTuple):
    """A text and what it is.

    Attributes:
        text: the text.
        label: what is to be told of it.
        source: where it comes from, such as a file. Passages of one source resemble each other,
            so that all of them belong either to what is learnt from or to what is held out.

    Example:
        >>> passage = Passage("x = [1, 2]", "list", "example.py")
        >>> passage.label, passage.source
        ('list', 'example.py')
    """

    text: str
    label: str
    source: str


def passages_in(file: str | Path) -> list[Passage]:
    r"""The rows of a CSV file with the columns ``text``, ``label`` and, if need be, ``source``.

    Without a source each row is one of its own.

    Args:
        file: the file, in UTF-8.

    Raises:
        DataError: if it is no such file: not in UTF-8, without rows or a column, or with a row that
            has no text or label.

    Example:
        >>> import tempfile
        >>> file = Path(tempfile.mkdtemp(), "letters.csv")
        >>> _ = file.write_text("label,text\nkind,Many thanks\nrude,Get lost\n")
        >>> [passage.text for passage in passages_in(file)]
        ['Many thanks', 'Get lost']
    """
    try:
        with Path(file).open(encoding="utf-8-sig", newline="") as lines:  # spreadsheets mark UTF-8
            rows = list(csv.DictReader(lines))
    except (UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{file} can't be read as CSV in UTF-8: {error}.") from error
    if not rows or not {"text", "label"} <= rows[0].keys():
        has = f"the columns {', '.join(map(str, rows[0]))}" if rows else "no rows"
        raise DataError(f"{file} has {has}; it needs rows with the columns text and label.")
    for number, row in enumerate(rows):
        if not row["text"] or not row["label"]:
            raise DataError(f"{file} has no text or no label in row {number}; it needs both.")
    return [
        Passage(row["text"], row["label"], row.get("source") or f"row {number}")
        for number, row in enumerate(rows)
    ]


def with_gaps(
    code: str, source: str, words: Collection[str], *, gap: str = "<mask>", around: int = 60
) -> Iterator[Passage]:
    """The places of a Python file where one of some words stands, with a gap in its stead.

    What only looks like the word, in a string, a comment or another name, is passed over. Code
    that Python can't read ends the passages.

    Args:
        code: the file's text.
        source: where it comes from.
        words: names or keywords, which are the labels.
        gap: what is put in the word's place.
        around: characters to take on both sides.

    Example:
        >>> code = 'if ready and "and" in text: go()'
        >>> [(p.text, p.label) for p in with_gaps(code, "it.py", {"and"}, gap="…", around=9)]
        [('if ready … "and" in', 'and')]
    """
    lines = list(io.StringIO(code))
    starts = list(accumulate(map(len, lines), initial=0))
    with suppress(tokenize.TokenError, SyntaxError):
        for token in tokenize.generate_tokens(iter(lines).__next__):
            if token.type == tokenize.NAME and token.string in words:
                begin = starts[token.start[0] - 1] + token.start[1]
                end = begin + len(token.string)
                text = code[max(0, begin - around) : begin] + gap + code[end : end + around]
                yield Passage(text, token.string, source)


def gaps_below(
    folder: str | Path,
    words: Collection[str],
    *,
    gap: str = "<mask>",
    around: int = 60,
    but: Collection[str] = (),
) -> Iterator[Passage]:
    """What :func:`with_gaps` finds in the Python files of a folder and of those within it.

    Args:
        folder: the folder.
        words: names or keywords, which are the labels.
        gap: what is put in the word's place.
        around: characters to take on both sides.
        but: names of folders to leave out.

    Returns:
        passages in the order of the files' names; the path from the folder on is their source.

    Example:
        >>> import tempfile
        >>> folder = Path(tempfile.mkdtemp())
        >>> _ = (folder / "one.py").write_text("a or b")
        >>> list(gaps_below(folder, {"or"}))
        [Passage(text='a <mask> b', label='or', source='one.py')]
    """
    for file in sorted(Path(folder).rglob("*.py")):
        name = file.relative_to(folder)
        if not {*but} & {*name.parts}:
            code = file.read_text(encoding="utf-8", errors="replace")
            yield from with_gaps(code, name.as_posix(), words, gap=gap, around=around)


def parted(passages: Sequence[Passage], *shares: float, seed: int = 0) -> tuple[list[Passage], ...]:
    """Passages in parts, no source in two of them.

    Args:
        passages: the passages.
        shares: of the sources, for each part but the last, which has the rest.
        seed: of the order in which sources are dealt out.

    Returns:
        as many parts as there are shares, and one; the passages of each keep their order.

    Raises:
        DataError: if a part would have none.

    Example:
        >>> passages = [Passage(text, "a letter", text[0]) for text in ("a1", "a2", "b1", "c1")]
        >>> [[passage.text for passage in part] for part in parted(passages, 0.67)]
        [['a1', 'a2', 'c1'], ['b1']]
    """
    sources = sorted({passage.source for passage in passages})
    random.Random(seed).shuffle(sources)
    ends = [0, *(round(end * len(sources)) for end in accumulate(shares)), len(sources)]
    if len({*ends}) < len(ends):
        raise DataError(
            f"{len(passages)} passages of {len(sources)} sources can't be parted by {shares}: a "
            f"part would have none. Give more sources."
        )
    part_of = {
        source: number
        for number, (begin, end) in enumerate(pairwise(ends))
        for source in sources[begin:end]
    }
    parts: tuple[list[Passage], ...] = tuple([] for _ in ends[1:])
    for passage in passages:
        parts[part_of[passage.source]].append(passage)
    return parts
