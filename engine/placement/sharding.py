"""Which submodules of a model become units of their own when it is put in shards."""

from __future__ import annotations

from collections.abc import Collection

from torch import nn

from ..errors import nearest

__all__ = ["submodules_to_shard"]


def submodules_to_shard(
    model: nn.Module, classes: Collection[str | type[nn.Module]], min_parameters: int
) -> dict[str, nn.Module]:
    """Submodules by name, those within others before them; the model itself is none of them.

    Args:
        model: the model.
        classes: which, by class or its name.
        min_parameters: without classes, the innermost submodules of at least so many parameters,
            not counting those that are in one already.

    Raises:
        ValueError: for a class that no submodule is of, and for a parameter that a submodule
            shares with the rest of the model.

    Example:
        >>> model = nn.Sequential(nn.Linear(8, 8), nn.Sequential(nn.Linear(8, 8), nn.Linear(8, 1)))
        >>> [*submodules_to_shard(model, ("Linear",), 0)], [*submodules_to_shard(model, (), 72)]
        (['1.0', '1.1', '0'], ['1.0', '0'])
    """
    inside_out = sorted(model.named_modules(), key=lambda item: -item[0].count("."))
    named = {name: one for name, one in inside_out if name and _has_forward(one)}
    chosen = _of_classes(named, classes) if classes else _of_size(named, min_parameters)
    _check_shared(model, chosen)
    return chosen


def _has_forward(module: nn.Module) -> bool:
    return type(module).forward is not nn.Module.forward  # unlike ModuleList


def _of_classes(
    named: dict[str, nn.Module], classes: Collection[str | type[nn.Module]]
) -> dict[str, nn.Module]:
    chosen: dict[str, nn.Module] = {}
    for one in classes:
        found = {name: module for name, module in named.items() if _is(module, one)}
        if not found:
            known = sorted({type(module).__name__ for module in named.values()})
            given = one if isinstance(one, str) else getattr(one, "__name__", repr(one))
            raise ValueError(
                f"no submodule is a {given}; there are {', '.join(known) or 'none'}."
                f"{nearest(given, known)}"
            )
        chosen.update(found)
    return {name: module for name, module in named.items() if name in chosen}


def _is(module: nn.Module, one: str | type[nn.Module]) -> bool:
    if isinstance(one, str):
        return any(base.__name__ == one for base in type(module).__mro__[: -len(nn.Module.__mro__)])
    return isinstance(module, one)


def _of_size(named: dict[str, nn.Module], min_parameters: int) -> dict[str, nn.Module]:
    chosen, taken = {}, set[int]()
    for name, module in named.items():
        own = {id(one): one.numel() for one in module.parameters() if id(one) not in taken}
        if own and sum(own.values()) >= min_parameters:
            chosen[name] = module
            taken.update(own)
    return chosen


def _check_shared(model: nn.Module, chosen: dict[str, nn.Module]) -> None:
    """Refuse a parameter that two units would hold: each would step its own."""
    units = {id(module): name for name, module in chosen.items()}
    owners: dict[int, tuple[str, str]] = {}

    def walk(module: nn.Module, name: str, unit: str) -> None:
        for key, one in module.named_parameters(name, recurse=False):
            other, first = owners.setdefault(id(one), (unit, key))
            if other != unit:
                raise ValueError(
                    f"{key!r} and {first!r} are one parameter, but lie in different units, "
                    f"{_told(unit)} and {_told(other)}; choose units so that both are in one."
                )
        for key, child in module.named_children():
            walk(child, f"{name}.{key}".lstrip("."), units.get(id(child), unit))

    walk(model, "", "")


def _told(unit: str) -> str:
    return repr(unit) if unit else "the model itself"
