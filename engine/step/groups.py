"""Parameter groups by rule: which parameters learn at which rate, and which of them decay."""

from __future__ import annotations

import math
import textwrap
from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any, Protocol

from torch import nn
from torch.nn.modules.batchnorm import _NormBase
from torch.nn.parameter import is_lazy
from torch.optim import AdamW, Optimizer

from ..errors import nearest
from .compiling import own_name

__all__ = [
    "NamedParameter",
    "NoDecay",
    "Rule",
    "Scale",
    "check_groups",
    "default_optimizer",
    "describe_groups",
    "parameter_groups",
]

_NORMS = (_NormBase, nn.LayerNorm, nn.GroupNorm, nn.RMSNorm)
_EMBEDDINGS = (nn.Embedding, nn.EmbeddingBag)
_FACTORS = ("lr", "weight_decay")


@dataclass(frozen=True)
class NamedParameter:
    """A parameter, what it is called, and the modules that own it; a tied one has several.

    Attributes:
        value: the parameter.
        names: its dotted names, in the order of the model.
        owners: the module that owns it under each of the names.

    Example:
        >>> model = nn.Linear(2, 1)
        >>> one = NamedParameter(model.bias, ("head.bias",), (model,))
        >>> one.name, NoDecay().matches(one), Scale("backbone.*", lr=0.1).matches(one)
        ('head.bias', True, False)
    """

    value: nn.Parameter
    names: tuple[str, ...]
    owners: tuple[nn.Module, ...]

    @property
    def name(self) -> str:
        """The first of the names."""
        return self.names[0]


class Rule(Protocol):
    """What says how the base values of ``lr`` and ``weight_decay`` are scaled.

    Example:
        >>> class NoDecayOfConvolutions:
        ...     factors = {"weight_decay": 0.0}
        ...     def matches(self, parameter):
        ...         return any(isinstance(owner, nn.Conv2d) for owner in parameter.owners)
        ...     def check(self, names):
        ...         pass
        >>> model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.Flatten(), nn.Linear(16, 2))
        >>> rule = NoDecayOfConvolutions()
        >>> groups = parameter_groups(model, rule, lr=0.1, weight_decay=0.01)
        >>> [(len(group["params"]), group["weight_decay"]) for group in groups]
        [(2, 0.0), (2, 0.01)]
    """

    @property
    def factors(self) -> Mapping[str, float]:
        """What ``"lr"`` or ``"weight_decay"`` is multiplied by; what is not in it stays."""

    def matches(self, parameter: NamedParameter) -> bool:
        """Whether it applies to a parameter."""

    def check(self, names: Sequence[str]) -> None:
        """Raise ``ValueError`` if none of a model's parameter names is meant."""


@dataclass(frozen=True)
class NoDecay:
    """No weight decay on biases and on the parameters of norm layers.

    These are: parameters named ``bias``; those with at most one dimension, as scales and offsets
    of norm layers written by hand; and all of batch, instance, layer, group and RMS
    norms, of whatever dimension. It may apply to nothing.

    Args:
        embeddings: whether those of ``Embedding`` and ``EmbeddingBag`` don't decay either.

    Example:
        >>> model = nn.Sequential(nn.Embedding(10, 4), nn.Linear(4, 2))
        >>> for rule in NoDecay(), NoDecay(embeddings=True):
        ...     groups = parameter_groups(model, rule, lr=0.1, weight_decay=0.01)
        ...     print([(group["name"], len(group["params"])) for group in groups])
        [('default', 2), ('no_decay', 1)]
        [('no_decay', 2), ('default', 1)]
    """

    embeddings: bool = False

    @property
    def factors(self) -> Mapping[str, float]:
        """No weight decay."""
        return {"weight_decay": 0.0}

    def matches(self, parameter: NamedParameter) -> bool:
        """Whether it is a bias, of a norm layer, or of an embedding where that is asked for."""
        kinds = (*_NORMS, *_EMBEDDINGS) if self.embeddings else _NORMS
        return (
            parameter.value.ndim <= 1
            or any(name.rpartition(".")[2] == "bias" for name in parameter.names)
            or any(isinstance(owner, kinds) for owner in parameter.owners)
        )

    def check(self, names: Sequence[str]) -> None:
        """Nothing can be misspelt."""


@dataclass(frozen=True)
class Scale:
    """Another learning rate or weight decay for the parameters of some names.

    Args:
        pattern: an ``fnmatch`` pattern for whole dotted names, as ``"backbone.*"``; a ``*``
            matches dots, too, and capitals matter.
        lr: what the learning rate is multiplied by.
        weight_decay: what the weight decay is multiplied by.
        but: a pattern for names to leave out.

    Raises:
        ValueError: if neither or a negative factor is given.

    Example:
        >>> model = nn.Sequential(nn.Linear(2, 2), nn.Linear(2, 1))
        >>> rule = Scale("0.*", lr=0.1, but="*.bias")
        >>> groups = parameter_groups(model, rule, lr=0.5, weight_decay=0.0)
        >>> [(group["lr"], len(group["params"])) for group in groups]
        [(0.05, 1), (0.5, 3)]
        >>> Scale("0.*")
        Traceback (most recent call last):
        ValueError: Scale('0.*') changes nothing; give lr= or weight_decay=.
    """

    pattern: str
    lr: float | None = None
    weight_decay: float | None = None
    but: str | None = None

    def __post_init__(self) -> None:
        if not self.factors:
            raise ValueError(f"{self} changes nothing; give lr= or weight_decay=.")
        for option, factor in self.factors.items():
            _check_number(f"{option} of {self}", factor)

    @property
    def factors(self) -> Mapping[str, float]:
        """The factors that were given."""
        given = {"lr": self.lr, "weight_decay": self.weight_decay}
        return {option: factor for option, factor in given.items() if factor is not None}

    def matches(self, parameter: NamedParameter) -> bool:
        """Whether one of its names is meant and none is left out."""
        left_out = self.but is not None and _any_match(parameter.names, self.but)
        return _any_match(parameter.names, self.pattern) and not left_out

    def check(self, names: Sequence[str]) -> None:
        """Refuse a pattern that no parameter has."""
        for pattern in (self.pattern, self.but):
            if pattern is not None and not _any_match(names, pattern):
                raise ValueError(
                    f"no parameter is named {pattern!r}, as {self} says.{nearest(pattern, names)}"
                )

    def __str__(self) -> str:
        given = {"lr": self.lr, "weight_decay": self.weight_decay, "but": self.but}
        said = [f"{key}={value!r}" for key, value in given.items() if value is not None]
        return f"Scale({', '.join([repr(self.pattern), *said])})"


def parameter_groups(
    model: nn.Module, *rules: Rule, lr: float, weight_decay: float
) -> list[dict[str, Any]]:
    """The parameters of a model in groups, for any optimizer of torch.

    Each rule multiplies the learning rate or the weight decay of the parameters that it applies
    to. Parameters with the same result share a group. Rules may meet in a parameter if they are
    about different things, or if one of them says 0: what does not decay can't be scaled.
    Parameters that need no gradient are left out; :func:`describe_groups` lists them. A tied
    parameter counts once, and under each of its names.

    Args:
        model: the model.
        rules: such as :class:`NoDecay` and :class:`Scale`; their order does not matter.
        lr: the base learning rate.
        weight_decay: the base weight decay.

    Returns:
        groups with ``params``, ``name``, ``lr`` and ``weight_decay``, in the order in which the
        model has the first parameter of each.

    Raises:
        ValueError: if two rules scale one thing of a parameter, if a rule applies to nothing, or
            if there is nothing to train.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
        >>> rules = NoDecay(), Scale("0.*", lr=0.1)
        >>> groups = parameter_groups(model, *rules, lr=0.5, weight_decay=0.01)
        >>> for group in groups:
        ...     print(group["name"], len(group["params"]), group["lr"], group["weight_decay"])
        lr*0.1 1 0.05 0.01
        lr*0.1,no_decay 1 0.05 0.0
        no_decay 3 0.5 0.0
        default 1 0.5 0.01
    """
    base = {"lr": lr, "weight_decay": weight_decay}
    for option, value in base.items():
        _check_number(option, value)
    parameters = _parameters(model)
    names = [name for one in parameters for name in one.names]
    for rule in rules:
        rule.check(names)
    groups: dict[str, dict[str, Any]] = {}
    for one in parameters:
        if not one.value.requires_grad:
            continue
        factors = {key: _factor(key, one, rules) for key in _FACTORS}
        factors = {key: factor if base[key] else 1.0 for key, factor in factors.items()}
        name = _group_name(factors)
        values = {key: base[key] * factors[key] for key in _FACTORS}
        group = groups.setdefault(name, {"params": [], "name": name, **values})
        group["params"].append(one.value)
    if not groups:
        raise ValueError(f"{type(model).__name__} has no parameter that needs a gradient.")
    return list(groups.values())


def default_optimizer(model: nn.Module, lr: float = 1e-3, weight_decay: float = 1e-2) -> AdamW:
    """AdamW (Loshchilov and Hutter, 2019) without decay on biases and norm layers.

    Args:
        model: the model.
        lr: the learning rate.
        weight_decay: of all other parameters.

    Example:
        >>> optimizer = default_optimizer(nn.Linear(4, 2))
        >>> [(group["name"], group["weight_decay"]) for group in optimizer.param_groups]
        [('default', 0.01), ('no_decay', 0.0)]
    """
    return AdamW(parameter_groups(model, NoDecay(), lr=lr, weight_decay=weight_decay))


def check_groups(optimizers: Optimizer | Iterable[Optimizer], model: nn.Module) -> None:
    """Make sure that each parameter to train is in exactly one group.

    Args:
        optimizers: the optimizer, or several that share the model.
        model: the model.

    Raises:
        ValueError: naming the parameters that are in no group or in several. Frozen parameters
            need not be in any.

    Example:
        >>> from torch.optim import SGD
        >>> model = nn.Linear(4, 2)
        >>> check_groups(SGD([model.weight], lr=0.1), model)
        Traceback (most recent call last):
        ValueError: in no group, so not trained: bias. Add it, or set requires_grad to False.
    """
    held = Counter(id(one) for group in _groups(optimizers) for one in group["params"])
    parameters = _parameters(model)
    missing = [
        one.name for one in parameters if one.value.requires_grad and not held[id(one.value)]
    ]
    twice = [one.name for one in parameters if held[id(one.value)] > 1]
    if missing:
        raise ValueError(
            f"in no group, so not trained: {_listed(missing)}. Add it, or set "
            f"requires_grad to False."
        )
    if twice:
        raise ValueError(
            f"in several groups, so stepped repeatedly: {_listed(twice)}. Leave it in one "
            f"group of one optimizer."
        )


def describe_groups(optimizers: Optimizer | Iterable[Optimizer], model: nn.Module) -> str:
    """What went where, as a table for people.

    Args:
        optimizers: the optimizer, or several.
        model: the model whose names are shown.

    Returns:
        a line for each group, with its number of tensors and of elements, its rate and its decay,
        the names of its parameters below; and what is frozen, or in no group.

    Example:
        >>> model = nn.Sequential(nn.Linear(4, 8), nn.LayerNorm(8), nn.Linear(8, 2))
        >>> _ = model[2].bias.requires_grad_(False)
        >>> print(describe_groups(default_optimizer(model), model))
        group     tensors  elements     lr  weight decay
        default         2        48  0.001          0.01
            0.weight, 2.weight
        no_decay        3        24  0.001             0
            0.bias, 1.weight, 1.bias
        frozen          1         2
            2.bias
    """
    parameters = _parameters(model)
    by_id = {id(one.value): one for one in parameters}
    rows: list[tuple[list[str], list[str]]] = []
    seen: set[int] = set()
    for number, group in enumerate(_groups(optimizers)):
        ids = [id(one) for one in group["params"]]
        seen.update(ids)
        names = [by_id[one].name if one in by_id else "(not of this model)" for one in ids]
        size = sum(one.numel() for one in group["params"])
        values = [f"{group[key]:g}" if key in group else "" for key in _FACTORS]
        name = str(group.get("name", number))
        rows.append(([name, str(len(ids)), str(size), *values], names))
    for name, frozen in (("frozen", True), ("in no group", False)):
        rest = [
            one
            for one in parameters
            if one.value.requires_grad != frozen and id(one.value) not in seen
        ]
        if rest:
            size = sum(one.value.numel() for one in rest)
            rows.append(([name, str(len(rest)), str(size), "", ""], [one.name for one in rest]))
    return _table(["group", "tensors", "elements", "lr", "weight decay"], rows)


def _table(head: list[str], rows: list[tuple[list[str], list[str]]]) -> str:
    columns = list(zip(head, *(cells for cells, _ in rows), strict=True))
    widths = [max(map(len, column)) for column in columns]

    def line(cells: list[str]) -> str:
        first, *others = (
            cell.rjust(width) if place else cell.ljust(width)
            for place, (cell, width) in enumerate(zip(cells, widths, strict=True))
        )
        return "  ".join([first, *others]).rstrip()

    lines = [line(head)]
    for cells, names in rows:
        lines.append(line(cells))
        lines += textwrap.wrap(
            ", ".join(names),
            width=100,
            initial_indent="    ",
            subsequent_indent="    ",
            break_long_words=False,
            break_on_hyphens=False,
        )
    return "\n".join(lines)


def _parameters(model: nn.Module) -> list[NamedParameter]:
    """Each parameter once, with all of its names and owners."""
    owners: dict[int, dict[str, nn.Module]] = {}
    values: dict[int, nn.Parameter] = {}
    for prefix, module in model.named_modules(remove_duplicate=False):
        for name, value in module._parameters.items():
            if value is not None:
                full = own_name(f"{prefix}.{name}" if prefix else name)
                if is_lazy(value):
                    raise ValueError(f"{full} has no shape yet; call the model on a batch first.")
                values[id(value)] = value
                owners.setdefault(id(value), {})[full] = module
    return [
        NamedParameter(values[key], tuple(named), tuple(named.values()))
        for key, named in owners.items()
    ]


def _factor(option: str, parameter: NamedParameter, rules: Sequence[Rule]) -> float:
    """What the rules make of one option of a parameter."""
    claims = [rule for rule in rules if option in rule.factors and rule.matches(parameter)]
    if any(rule.factors[option] == 0 for rule in claims):
        return 0.0
    if len(claims) > 1:
        raise ValueError(
            f"{parameter.name} would be in two groups: its {option} is scaled by {claims[0]} and "
            f"by {claims[1]}. Make one of them leave it out, as with but=."
        )
    return claims[0].factors[option] if claims else 1.0


def _group_name(factors: Mapping[str, float]) -> str:
    parts = [
        "no_decay" if (option, factor) == ("weight_decay", 0.0) else f"{option}*{float(factor)}"
        for option, factor in factors.items()
        if factor != 1.0
    ]
    return ",".join(parts) or "default"


def _groups(optimizers: Optimizer | Iterable[Optimizer]) -> list[dict[str, Any]]:
    several = [optimizers] if isinstance(optimizers, Optimizer) else list(optimizers)
    return [group for optimizer in several for group in optimizer.param_groups]


def _any_match(names: Iterable[str], pattern: str) -> bool:
    return any(fnmatchcase(name, pattern) for name in names)


def _check_number(what: str, value: object) -> None:
    number = isinstance(value, (int, float)) and not isinstance(value, bool)
    if not (number and math.isfinite(value) and value >= 0):  # type: ignore[arg-type,operator]
        raise ValueError(f"{what} is a number that is not negative, given {value!r}.")


def _listed(names: list[str], most: int = 10) -> str:
    more = f" and {len(names) - most} more" if len(names) > most else ""
    return ", ".join(names[:most]) + more
