"""HTML from calls: text is escaped unless it is markup already."""

from __future__ import annotations

import json
from collections.abc import Iterable
from html import escape
from typing import Any

__all__ = ["Markup", "data", "scrolled", "style", "tag", "text"]

_VOID = frozenset({"br", "hr", "img", "input", "link", "meta"})


class Markup(str):
    """Text that is HTML already."""

    __slots__ = ()


def tag(name: str, /, *children: Any, **attributes: Any) -> Markup:
    """An element.

    Args:
        name: of the element.
        children: what stands in it: text, which is escaped, markup, which is not, numbers, and
            iterables of these; ``None`` is left out.
        attributes: by name, an underscore for a hyphen, and one more at the end of a word of
            Python's; ``True`` for one without a value, ``None`` and ``False`` for none.

    Example:
        >>> print(tag("p", "1 < 2 ", tag("b", "yes"), class_="note", hidden=True))
        <p class="note" hidden>1 &lt; 2 <b>yes</b></p>
    """
    written = "".join(_attribute(key, value) for key, value in attributes.items())
    inside = "".join(map(text, children))
    return Markup(f"<{name}{written}>" if name in _VOID else f"<{name}{written}>{inside}</{name}>")


def text(child: Any) -> Markup:
    """Anything that may stand in an element, as markup.

    Example:
        >>> print(text(["a & b", None, 3]))
        a &amp; b3
    """
    if child is None:
        return Markup()
    if isinstance(child, Markup):
        return child
    if isinstance(child, str) or not isinstance(child, Iterable):
        return Markup(escape(str(child)))
    return Markup("".join(map(text, child)))


def data(value: Any, **attributes: Any) -> Markup:
    r"""Plain values for a script to read, in an element of their own.

    Example:
        >>> print(data({"name": "</script>"}))
        <script type="application/json">{"name":"\u003c/script>"}</script>
    """
    written = json.dumps(value, separators=(",", ":"), allow_nan=False).replace("<", "\\u003c")
    return tag("script", Markup(written), type="application/json", **attributes)


def scrolled(child: Markup, label: str, kind: str = "") -> Markup:
    """What may be wider than the page, in an area that is scrolled, also by keys.

    Example:
        >>> print(scrolled(tag("p"), "values"))
        <div class="scroll" tabindex="0" role="group" aria-label="values"><p></p></div>
    """
    return tag(
        "div",
        child,
        class_=f"scroll {kind}".rstrip(),
        tabindex=0,
        role="group",
        aria_label=label,
    )


def style(**values: float | str) -> str:
    """Custom properties as the value of a ``style`` attribute.

    Example:
        >>> style(left=12.5, top="3px")
        '--left:12.5;--top:3px'
    """
    return ";".join(
        f"--{name}:{value:.6g}" if isinstance(value, float) else f"--{name}:{value}"
        for name, value in values.items()
    )


def _attribute(key: str, value: Any) -> str:
    if value is None or value is False:
        return ""
    name = key.rstrip("_").replace("_", "-")
    return f" {name}" if value is True else f' {name}="{escape(str(value))}"'
