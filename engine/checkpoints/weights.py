"""Weights from anywhere into a model."""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path

import torch
from torch import Tensor

from ..errors import StateError
from ..step.compiling import own_name
from .foreign import read_weights_file
from .loans import refuse_lent
from .locations import fetched
from .tensor_file import WeightsReport, load_tensors

__all__ = ["load_from"]

_LOG = logging.getLogger("footplate.checkpoints")


def load_from(
    model: torch.nn.Module,
    location: str | os.PathLike[str],
    *,
    strict: bool = True,
    map_location: str | torch.device = "cpu",
    revise_keys: Iterable[tuple[str, str]] = ((r"^module\.", ""),),
    digest: str | None = None,
) -> WeightsReport:
    r"""Load weights into a model from wherever they are, whichever program wrote them.

    Nothing else is loaded, and no file can run code. If loading fails, the model is as it was.

    Args:
        model: the model, compiled or not.
        location: what :func:`~footplate.engine.checkpoints.locations.fetched` takes: a path, a
            URL, ``torchvision://…``.
        strict: whether all names and shapes must match; else what does is loaded, and the rest
            is logged as a warning by the logger ``footplate.checkpoints``.
        map_location: the device that the weights are put on, on their way into the model.
        revise_keys: regular expressions and what takes the place of their matches, applied to
            each name in this order, as MMEngine's. By default the ``module.`` that data-parallel
            wrappers add is taken away.
        digest: the SHA-256 that the file must have, or its first 8 or more digits.

    Returns:
        what did not match.

    Raises:
        StateError: if the file can't be read, or does not match and ``strict``.
        ValueError: if ``revise_keys`` are no such pairs.
        RuntimeError: while parameters of the model are lent to averaged weights.

    Example:
        >>> import tempfile
        >>> path = tempfile.mkdtemp() + "/whole.pth"
        >>> torch.save({"net.weight": torch.ones(1, 2), "scale": torch.ones(3)}, path)
        >>> model = torch.nn.Linear(2, 1)
        >>> print(load_from(model, path, strict=False, revise_keys=[(r"^net\.", "")]))
        missing: 'bias' (1,)
        unexpected: 'scale' (3,)
        >>> model.weight.tolist()
        [[1.0, 1.0]]
    """
    refuse_lent(model, "loaded")  # before a download, too
    pairs = _compiled(revise_keys)
    path = fetched(location, digest=digest)
    tensors = _revised(read_weights_file(path, map_location), pairs, path)
    hint = _hint(map(own_name, model.state_dict()), tensors, pairs)
    try:
        report = load_tensors(model, tensors, strict=strict)
    except StateError as error:
        raise StateError(f"{path}: {error}{hint}") from None
    if report:
        _LOG.warning("%s was loaded in part:\n%s%s", path, report, hint)
    return report


def _compiled(revise_keys: Iterable[tuple[str, str]]) -> list[tuple[re.Pattern[str], str]]:
    pairs = []
    for pair in revise_keys:
        try:
            pattern, replacement = re.compile(pair[0]), pair[1]
            pattern.sub(replacement, "")  # which looks at the replacement, too
        except (TypeError, LookupError, re.error) as error:
            raise ValueError(
                f"revise_keys are pairs of a regular expression and what takes its place, such "
                f"as ('^module[.]', ''); {pair!r} is none: {error}."
            ) from error
        pairs.append((pattern, replacement))
    return pairs


def _revised(
    tensors: Mapping[str, Tensor], pairs: list[tuple[re.Pattern[str], str]], path: Path
) -> dict[str, Tensor]:
    before: dict[str, str] = {}
    for name in tensors:
        new = name
        for pattern, replacement in pairs:
            new = pattern.sub(replacement, new)
        if new in before:
            raise StateError(
                f"revise_keys make the same name, {new!r}, of {before[new]!r} and {name!r} in "
                f"{path}."
            )
        before[new] = name
    return {new: tensors[name] for new, name in before.items()}


def _hint(
    own: Iterable[str], given: Iterable[str], pairs: list[tuple[re.Pattern[str], str]]
) -> str:
    """How most names of a model would match, if they only begin with too much or too little."""
    ours, theirs = set(own), set(given)
    missing, unexpected = ours - theirs, theirs - ours
    ways: Counter[tuple[str, str]] = Counter()
    ways.update(
        (f"^{re.escape(head)}", "")
        for name in unexpected
        for head, tail in _cuts(name)
        if tail in missing
    )
    ways.update(("^", head) for name in missing for head, tail in _cuts(name) if tail in unexpected)
    for way, fitting in ways.most_common(1):
        if 2 * fitting > len(ours):
            known = [(pattern.pattern, replacement) for pattern, replacement in pairs]
            return f"\n{fitting} of the missing would be there by revise_keys={[*known, way]}."
    return ""


def _cuts(name: str) -> Iterator[tuple[str, str]]:
    """A dotted name in two, at each of its dots."""
    for dot in re.finditer(r"\.", name):
        yield name[: dot.end()], name[dot.end() :]
