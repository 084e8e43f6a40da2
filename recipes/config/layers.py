"""Where a configuration comes from: defaults, files, the environment, the command line.

What comes later in this list counts where several say something. ``load`` merges them, fills in
references, and tells of each value where it came from; ``dump`` writes the result.
"""

from __future__ import annotations

import os
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from ...engine.errors import nearest
from .nodes import BASE, Node, merged, node_of, unwrapped
from .paths import split
from .problems import ABSENT, ConfigError, Problem
from .python_files import is_config, of_config, read_python
from .references import filled_in
from .settings import of_environment, of_override
from .writing import dump
from .yaml_files import read

__all__ = ["Resolved", "dump", "load"]

Source = str | Path | Mapping[str, Any]


@dataclass(frozen=True, kw_only=True)
class Resolved:
    """A configuration, with everything merged and filled in.

    Attributes:
        values: dictionaries, lists, plain values, and what objects Python code has put there.
        origins: where each value came from, by its path: ``"defaults"``, the name of a file,
            ``"environment FOOTPLATE__…"``, ``"command line"``, or ``"call"`` for what was given
            as a mapping.
    """

    values: dict[str, Any]
    origins: Mapping[str, str]

    def origin_of(self, path: str) -> str:
        """Where the value at a path came from.

        Args:
            path: of a value; of several, all of their origins are told; of one that was filled in
                with what stands elsewhere, or is missing, that of the nearest around it.

        Raises:
            KeyError: if there is none.

        Example:
            >>> found = load({"a": {"b": 1}}, overrides=["a.c=2"], environment={})
            >>> found.origin_of("a.c"), found.origin_of("a")
            ('command line', 'call, command line')
        """
        steps = split(path)
        of = {split(one): origin for one, origin in self.origins.items()}
        within = [origin for one, origin in of.items() if one[: len(steps)] == steps]
        while not within and steps:
            steps = steps[:-1]
            within = [of[steps]] if steps in of else []
        if not within:
            raise KeyError(f"there is no {path!r}.{nearest(path, self.origins)}")
        return ", ".join(dict.fromkeys(within))


def load(
    *sources: Source,
    overrides: Iterable[str | Mapping[str, Any]] = (),
    environment: Mapping[str, str] | None = None,
    defaults: Mapping[str, Any] | None = None,
    arguments: Collection[str] = (),
) -> Resolved:
    """Read a configuration from all of its sources.

    Overrides count more than the environment, that more than the sources, a later one of these
    more than an earlier, and they more than the defaults. Mappings are merged by key, where
    ``_delete_: true`` in the upper one drops what is below; lists are replaced as a whole.

    Args:
        sources: paths of YAML files, and mappings, OmegaConf's too. ``_base_`` in one names
            files, relative to it, that it builds on. Or the path of a Python file in MMEngine's
            manner, which is run, and a ``Config`` of MMEngine.
        overrides: ``"train_cfg.max_epochs=5"``, ``"param_scheduler[0].gamma=0.5"``, with values
            in YAML; or mappings.
        environment: the environment's variables, by default those of the process.
            ``FOOTPLATE__TRAIN_CFG__MAX_EPOCHS=5`` sets ``train_cfg.max_epochs``, and an empty
            one sets nothing.
        defaults: what counts where nothing else is said.
        arguments: what is meant of a source in MMEngine's manner; its own variables become
            ``cfg``. By default all is meant.

    Raises:
        ConfigError: for files that can't be read, and whatever else is wrong, with its place.

    Example:
        >>> found = load(
        ...     {"lr": 0.1, "optimizer": {"type": "SGD", "lr": "${lr}"}},
        ...     overrides=["lr=1e-3"],
        ...     environment={},
        ... )
        >>> found.values["optimizer"], found.origins["lr"]
        ({'type': 'SGD', 'lr': 0.001}, 'command line')
    """
    root = merged(None, node_of(defaults or {}, "defaults"))
    for source in sources:
        for node in _nodes(source, arguments):
            root = merged(root, node)
    variables = os.environ if environment is None else environment
    problems: list[Problem] = []
    for change in (*of_environment(variables), *map(of_override, overrides)):
        try:
            root = change(root)
        except ConfigError as error:  # all that are wrong are told at once
            problems += error.problems
    values, unfilled = filled_in(root.plain())
    if problems or unfilled:
        raise ConfigError([*problems, *unfilled])
    return Resolved(values=values, origins=dict(root.origins()) if root.value else {})


def _nodes(source: Any, arguments: Collection[str]) -> Iterator[Node]:
    """What a source says, behind what it builds on."""
    if isinstance(source, (str, os.PathLike)):
        path = Path(source).expanduser()
        if path.suffix == ".py":  # which is run, so no other file may ask for it
            yield node_of(read_python(path, arguments), path.name)
        else:
            yield from _of_file(path, ())
    elif is_config(source):
        yield node_of(of_config(source, arguments), "call")
    elif isinstance(source, Mapping):
        yield from _with_bases(unwrapped(source), "call", Path(), ())
    else:
        reason = "a configuration is the path of a file, a mapping, or a Config of MMEngine"
        raise ConfigError([Problem(path="", given=source, reason=reason)])


def _of_file(path: Path, chain: tuple[Path, ...]) -> Iterator[Node]:
    path = path.expanduser()
    if path.suffix == ".py":
        reason = "a base is YAML; a file in Python is run, and has to be given by itself"
        raise ConfigError([Problem(path=path.name, given=str(path), reason=reason)])
    chain = (*chain, path.resolve())
    if chain[-1] in chain[:-1]:
        names = " → ".join(one.name for one in chain[chain.index(chain[-1]) :])
        reason = f"its bases lead back to it, {names}"
        raise ConfigError([Problem(path=f"{path.name}: {BASE}", given=ABSENT, reason=reason)])
    yield from _with_bases(read(path), path.name, path.parent, chain)


def _with_bases(
    values: Mapping[str, Any], origin: str, folder: Path, chain: tuple[Path, ...]
) -> Iterator[Node]:
    own = {key: one for key, one in values.items() if key != BASE} if BASE in values else values
    bases = values.get(BASE, [])
    bases = [bases] if isinstance(bases, (str, Path)) else bases
    if not isinstance(bases, list) or not all(isinstance(one, (str, Path)) for one in bases):
        reason = "it is the path of a file, or a list of such"
        raise ConfigError([Problem(path=f"{origin}: {BASE}", given=bases, reason=reason)])
    for base in bases:
        yield from _of_file(folder / Path(base).expanduser(), chain)
    yield node_of(own, origin)
