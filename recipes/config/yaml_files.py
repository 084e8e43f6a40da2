"""YAML as configurations have it: plain values, and nothing that reads otherwise than it looks.

It is YAML 1.1, as PyYAML and MMEngine read it, but for this: ``1e-3`` is a number; dates,
``1:30`` and ``010`` are texts; a key that stands twice is refused, as is one that is no text
(``on`` and ``yes`` are ``true``), and any tag, so that a file can make nothing but plain values.
"""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import Any

import yaml

from ...engine.errors import nearest
from .problems import ABSENT, ConfigError, Problem

__all__ = ["parsed", "read", "written"]

_TAG = "tag:yaml.org,2002:"
_SCALARS = {
    "null": r"~|null|Null|NULL|",
    "bool": r"(?i:yes|no|true|false|on|off)",
    "int": r"[-+]?(?:0b[01_]+|0o[0-7_]+|0x[0-9a-fA-F_]+|0|[1-9][0-9_]*)",
    "float": r"[-+]?(?:[0-9][0-9_]*\.[0-9_]*(?:[eE][-+]?[0-9]+)?|[0-9][0-9_]*[eE][-+]?[0-9]+"
    r"|\.[0-9][0-9_]*(?:[eE][-+]?[0-9]+)?|\.inf|\.Inf|\.INF)|\.nan|\.NaN|\.NAN",
    "merge": "<<",
}
_RESOLVERS = [(_TAG + name, re.compile(rf"(?:{text})\Z")) for name, text in _SCALARS.items()]
_KNOWN = ("null", "bool", "int", "float", "str", "seq", "map")


class _Loader(yaml.SafeLoader):
    """Reads plain values; notes keys that are no texts, or stand twice."""

    yaml_implicit_resolvers = {None: _RESOLVERS}  # noqa: RUF012 - as PyYAML declares it
    yaml_constructors = {  # noqa: RUF012
        tag: make
        for tag, make in yaml.SafeLoader.yaml_constructors.items()
        if tag is None or tag.removeprefix(_TAG) in _KNOWN
    }

    def __init__(self, text: str) -> None:
        super().__init__(text)
        self.wrong_keys: list[tuple[int, str, str]] = []

    def compose_mapping_node(self, anchor: Any) -> Any:
        node = super().compose_mapping_node(anchor)
        met: dict[str, int] = {}
        for key, _ in node.value:
            line = key.start_mark.line + 1
            text = key.value if isinstance(key, yaml.ScalarNode) else "[…]"
            if key.tag not in (_TAG + "str", _TAG + "merge"):
                what = key.tag.removeprefix(_TAG)
                reason = f"the key {text} is no text but, to YAML, of type {what}"
                self.wrong_keys.append((line, reason, f" Put it in quotes: '{text}'."))
            elif text in met and key.tag == _TAG + "str":
                reason = f"the key {text!r} stands in line {met[text]} already"
                self.wrong_keys.append((line, reason, " Only the last would count; take one away."))
            met.setdefault(text, line)
        return node


class _Dumper(yaml.SafeDumper):
    """Writes plain values so that this loader, and one of YAML 1.1, read them as they are."""

    yaml_implicit_resolvers = {  # noqa: RUF012
        **yaml.SafeDumper.yaml_implicit_resolvers,
        None: _RESOLVERS,
    }

    def ignore_aliases(self, data: Any) -> bool:
        return True


def _text(dumper: _Dumper, text: str) -> Any:
    """A text; with line breaks, of which PyYAML mixes up some, it is in double quotes."""
    style = '"' if any(one in text for one in "\n\x85\u2028\u2029") else None
    return dumper.represent_scalar(_TAG + "str", text, style)


_Dumper.add_representer(str, _text)


def written(values: Any) -> str:
    """Plain values as YAML, in their own order.

    Example:
        >>> print(written({"lr": 1e-05, "name": "1e3", "sizes": []}), end="")
        lr: 1.0e-05
        name: '1e3'
        sizes: []
    """
    return yaml.dump(values, Dumper=_Dumper, sort_keys=False, allow_unicode=True, width=math.inf)


def parsed(text: str, where: str, *, lines: bool = False) -> Any:
    """The values that a text says.

    Args:
        text: YAML.
        where: what problems name as their place.
        lines: whether they name the line, too.

    Raises:
        ConfigError: if it is no YAML, or says what no configuration may.

    Example:
        >>> parsed("{lr: 1e-3, date: 2024-01-01}", "optimizer")
        {'lr': 0.001, 'date': '2024-01-01'}
    """
    loader = _Loader(text)
    try:
        node = loader.get_single_node()
        if loader.wrong_keys:
            raise ConfigError(
                Problem(path=_at(where, line, lines), given=ABSENT, reason=reason, hint=hint)
                for line, reason, hint in loader.wrong_keys
            )
        return None if node is None else loader.construct_document(node)
    except yaml.YAMLError as error:
        raise ConfigError([_no_yaml(error, where, lines)]) from error
    finally:
        loader.dispose()


def read(path: Path) -> dict[str, Any]:
    """What a file says, a mapping; an empty file says nothing.

    Args:
        path: the file.

    Raises:
        ConfigError: if it can't be read, or is no YAML, or none of a mapping.
    """
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise ConfigError([_unreadable(path, error)]) from error
    values = parsed(text, path.name, lines=True)
    if not isinstance(values, (dict, type(None))):
        reason = "a configuration is a mapping, key: value"
        raise ConfigError([Problem(path=path.name, given=values, reason=reason)])
    return values or {}


def _at(where: str, line: int, lines: bool) -> str:
    return f"{where}:{line}" if lines else where


def _no_yaml(error: yaml.YAMLError, where: str, lines: bool) -> Problem:
    mark = getattr(error, "problem_mark", None) or getattr(error, "context_mark", None)
    said = getattr(error, "problem", None) or str(error).splitlines()[0]
    hint = ""
    if "constructor for the tag" in said:
        said = f"{said.rpartition(' ')[2]} is a tag, and a configuration has plain values only"
        hint = " Describe an object as {type: …}."
    elif context := getattr(error, "context", None):
        said = f"{said} {context}"
    at = _at(where, mark.line + 1, lines) if mark else where
    return Problem(path=at, given=ABSENT, reason=f"this is no YAML: {said}", hint=hint)


def _unreadable(path: Path, error: OSError | UnicodeDecodeError) -> Problem:
    if isinstance(error, UnicodeDecodeError):
        return Problem(path=path.name, given=str(path), reason="it is no text in UTF-8")
    if not isinstance(error, FileNotFoundError):
        reason = f"it can't be read, {error.strerror or error}"
        return Problem(path=path.name, given=str(path), reason=reason)
    if not path.parent.is_dir():
        reason = f"there is no folder {str(path.parent)!r}"
        return Problem(path=path.name, given=str(path), reason=reason)
    beside = sorted(one.name for one in path.parent.iterdir() if one.suffix in (".yaml", ".yml"))
    hint = nearest(path.name, beside)
    if not hint and beside:
        hint = f" There are {', '.join(beside[:10])}{', …' if len(beside) > 10 else ''}."
    return Problem(path=path.name, given=str(path), reason="there is no such file", hint=hint)
