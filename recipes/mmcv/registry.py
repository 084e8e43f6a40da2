"""Registries and building from configurations, by MMCV's names and calls."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from typing import Any

from ...engine.errors import nearest
from ..config import registry as ours

__all__ = ["Registry", "build_from_cfg"]


class Registry(ours.Registry):
    """Names for types, as MMCV's: ``MODELS = Registry("model")``.

    Args:
        name: what they are, in the singular.
        build_func: what :meth:`build` calls, in place of :func:`build_from_cfg`: a function
            ``(cfg, …, registry)``. A registry without one uses its parent's.
        parent: where names are looked up that this one does not have.
        scope: what may stand before a name, ``"mmdet.ResNet"`` say, to mean this registry; the
            name of the package where it is made, where that is asked for.
        modules: modules whose public classes have their names here, too.

    Example:
        >>> MODELS = Registry("model")
        >>> @MODELS.register_module()
        ... class Net:
        ...     def __init__(self, depth): self.depth = depth
        >>> MODELS.build(dict(type="Net", depth=18)).depth
        18

    Source: mmcv.utils.Registry of MMCV 1.7.
    """

    def __init__(
        self,
        name: str,
        build_func: Callable[..., Any] | None = None,
        parent: Registry | None = None,
        scope: str | None = None,
        *,
        modules: tuple[str, ...] = (),
    ) -> None:
        super().__init__(name, modules=modules)
        self.parent, self.scope = parent, scope
        inherited = build_from_cfg if parent is None else parent.build_func
        self.build_func: Callable[..., Any] = build_func or inherited
        self.children: dict[str, Registry] = {}
        if parent is not None and scope is not None:
            parent.children[scope] = self

    @property
    def name(self) -> str:
        """What they are, in the singular."""
        return self.kind

    def get(self, key: str) -> Callable[..., Any] | None:
        """What has the name here, or in a registry above; ``None`` if nothing has.

        Args:
            key: the name; of a registry below with its scope before it.
        """
        scope, _, rest = key.partition(".")
        if rest and scope in self.children:
            return self.children[scope].get(rest)
        found = self.find(rest if rest and scope == self.scope else key)
        if found is None and self.parent is not None:
            return self.parent.get(key)
        return found

    def build(self, cfg: Any, /, **options: Any) -> Any:
        """What a configuration describes; see :func:`build_from_cfg`."""
        return self.build_func(cfg, **options, registry=self)


def build_from_cfg(
    cfg: Mapping[str, Any], registry: Registry, default_args: Mapping[str, Any] | None = None
) -> Any:
    """Build what a configuration describes.

    Args:
        cfg: ``dict(type=…, **arguments)``; the type is a name, a class or a function.
        registry: where the name is looked up.
        default_args: arguments that the configuration may override; also ``type``.

    Raises:
        TypeError: for what is no configuration or no registry, and for arguments that don't fit.
        KeyError: for a configuration without ``type``, and an unknown name.

    Example:
        >>> shapes = Registry("shape", modules=("fractions",))
        >>> build_from_cfg(dict(type="Fraction", numerator=1), shapes, dict(denominator=2))
        Fraction(1, 2)
    """
    if not isinstance(cfg, Mapping):
        raise TypeError(f"cfg is a dict with type, given {cfg!r:.80}.")
    if not isinstance(registry, Registry):
        raise TypeError(f"registry is a Registry, given {registry!r:.80}.")
    arguments = {**(default_args or {}), **cfg}
    if "type" not in arguments:
        raise KeyError(f"a {registry.name} is built of a dict with 'type', given {dict(cfg)}.")
    kind = arguments.pop("type")
    found = registry.get(kind) if isinstance(kind, str) else kind
    if found is None:
        known = registry.names()
        listed = ", ".join(known) or "none"
        raise KeyError(f"{kind!r} is no {registry.name} of {listed}.{nearest(kind, known)}")
    if not (inspect.isclass(found) or inspect.isroutine(found)):
        raise TypeError(f"type is a name, a class or a function, given {kind!r:.80}.")
    try:
        return found(**arguments)
    except Exception as error:
        error.add_note(f"while {found.__qualname__} was built of {dict(cfg)}")
        raise
