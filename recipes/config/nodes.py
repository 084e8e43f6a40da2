"""Nested values of which each knows where it came from; merged, and set by path."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from .paths import Key, joined
from .problems import ABSENT, ConfigError, Problem

__all__ = ["BASE", "DELETE", "Node", "merged", "node_of", "placed", "unwrapped"]

BASE = "_base_"
"""The key of the files that a file builds on."""

DELETE = "_delete_"
"""The key by which a mapping takes the place of the one below, rather than adding to it."""


@dataclass(frozen=True)
class Node:
    """A value with its origin.

    Attributes:
        value: nodes by key, a list of nodes, or anything else as it is.
        origin: where it came from.
    """

    value: Any
    origin: str

    def plain(self) -> Any:
        """The values alone."""
        if isinstance(self.value, dict):
            return {key: one.plain() for key, one in self.value.items()}
        if isinstance(self.value, list):
            return [one.plain() for one in self.value]
        return self.value

    def origins(self, path: str = "") -> Iterator[tuple[str, str]]:
        """The path of each value that is no container, or an empty one, with its origin."""
        if not isinstance(self.value, (dict, list)) or not self.value:
            yield path, self.origin
            return
        items = self.value.items() if isinstance(self.value, dict) else enumerate(self.value)
        for key, one in items:
            yield from one.origins(joined(path, key))


def node_of(value: Any, origin: str, path: str = "", around: tuple[int, ...] = ()) -> Node:
    """Nested mappings and lists as nodes of one origin; tuples are lists.

    Args:
        value: the values; what is no mapping, list or tuple stays as it is.
        origin: where they came from.
        path: where they stand.
        around: what they are in, to find what holds itself.

    Raises:
        ConfigError: for a key that is no text, and for what holds itself.

    Example:
        >>> node_of({"a": {"b": 1}}, "call").value["a"]
        Node(value={'b': Node(value=1, origin='call')}, origin='call')
    """
    value = unwrapped(value)
    if not isinstance(value, (Mapping, list)) and type(value) is not tuple:
        return Node(value, origin)
    if id(value) in around:
        raise _refused(path, ABSENT, f"it holds itself, in what {origin} gives")
    around = (*around, id(value))
    if not isinstance(value, Mapping):
        at = enumerate(value)
        return Node([node_of(one, origin, joined(path, n), around) for n, one in at], origin)
    items = {}
    for key, one in value.items():
        if not isinstance(key, str):
            reason = f"the key {key!r} is no text"
            raise _refused(path, ABSENT, reason, f" Put it in quotes: {str(key)!r}.")
        if key == BASE:
            raise _refused(joined(path, key), one, "it stands at the top of a file alone")
        items[key] = node_of(one, origin, joined(path, key), around)
    return Node(items, origin)


def merged(below: Node | None, above: Node, path: str = "") -> Node:
    """Two nodes as one: keys of mappings are added, and anything else is replaced.

    Args:
        below: what is there; ``None`` if nothing is.
        above: what counts where both say something.
        path: where they stand.

    Raises:
        ConfigError: if what a mapping is to be added to stands elsewhere.

    Example:
        >>> below = node_of({"type": "SGD", "lr": 1}, "base.yaml")
        >>> merged(below, node_of({"lr": 2}, "call")).plain()
        {'type': 'SGD', 'lr': 2}
        >>> merged(below, node_of({"lr": 2, "_delete_": True}, "call")).plain()
        {'lr': 2}
    """
    if isinstance(above.value, list):
        items = [merged(None, one, joined(path, at)) for at, one in enumerate(above.value)]
        return Node(items, above.origin)
    if not isinstance(above.value, dict):
        return above
    new = dict(above.value)
    delete = new.pop(DELETE, Node(False, ""))
    if not isinstance(delete.value, bool):
        raise _refused(joined(path, DELETE), delete.value, "it is true or false")
    if below is None or delete.value:
        below = Node({}, above.origin)
    elif not isinstance(below.value, dict):
        _refuse_reference(below, path)
        below = Node({}, above.origin)
    new = {key: merged(below.value.get(key), one, joined(path, key)) for key, one in new.items()}
    return Node({**below.value, **new}, below.origin)


def placed(below: Node | None, steps: tuple[Key, ...], above: Node, path: str = "") -> Node:
    """A node with another merged into it at a path.

    Args:
        below: what is there; ``None`` if nothing is.
        steps: the path, from here; mappings on it that are not there yet are made.
        above: what goes there.
        path: where this is.

    Raises:
        ConfigError: if the path leads through what has no such place.

    Example:
        >>> below = node_of({"hooks": [{"gamma": 1}]}, "base.yaml")
        >>> placed(below, ("hooks", 0, "gamma"), Node(2, "command line")).plain()
        {'hooks': [{'gamma': 2}]}
    """
    if not steps:
        return merged(below, above, path)
    step, *rest = steps
    inside = joined(path, step)
    if below is not None and isinstance(below.value, list):
        at = _place(below.value, step, path)
        items = list(below.value)
        items[at] = placed(items[at], tuple(rest), above, joined(path, at))
        return Node(items, below.origin)
    if isinstance(step, int):
        raise _refused(inside, ABSENT, f"{path or 'this'!r} is no list, and has no place {step}")
    if below is None or not isinstance(below.value, dict):
        if below is not None:
            _refuse_reference(below, path, step)
        below = Node({}, above.origin)
    new = placed(below.value.get(step), tuple(rest), above, inside)
    return Node({**below.value, step: new}, below.origin)


def _place(items: list[Node], step: Key, path: str) -> int:
    try:
        at = int(step)
    except ValueError:
        reason = f"{path!r} is a list of {len(items)}"
        raise _refused(joined(path, step), ABSENT, reason, f" Write {path}[0].{step}.") from None
    if not -len(items) <= at < len(items):
        reason = f"{path!r} is a list of {len(items)}, and has no place {at}"
        raise _refused(joined(path, at), ABSENT, reason, " Give the list as a whole to add to it.")
    return at % len(items)


def _refuse_reference(below: Node, path: str, step: str = "") -> None:
    """Refuse to add to what is not here: values that stand elsewhere, or an object."""
    if isinstance(below.value, str) and "${" in below.value:
        reason = "what stands elsewhere can't be added to"
        hint = f" Change it where it stands, or replace it: give a mapping with {DELETE}: true."
        raise _refused(path, below.value, reason, hint)
    if not isinstance(below.value, (str, int, float, list, type(None))):
        reason = f"an object has no {step!r} to set" if step else "an object can't be added to"
        hint = f" Give a description of it, {{type: …}}, or a mapping with {DELETE}: true."
        raise _refused(path, below.value, reason, hint)


def unwrapped(value: Any) -> Any:
    """What OmegaConf holds, with its references as they are written; anything else as it is."""
    if not type(value).__module__.startswith("omegaconf."):
        return value
    from omegaconf import OmegaConf

    return OmegaConf.to_container(value) if OmegaConf.is_config(value) else value


def _refused(path: str, given: Any, reason: str, hint: str = "") -> ConfigError:
    return ConfigError([Problem(path=path, given=given, reason=reason, hint=hint)])
