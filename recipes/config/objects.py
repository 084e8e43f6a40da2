"""Objects from their descriptions, ``{type: torch.optim.AdamW, lr: 1e-3}``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import Any

from .finding import Finder, Names, TypeNotFound
from .registry import REGISTRIES
from .safety import SAFE, AllowList
from .specs import Specs

__all__ = ["SAFE", "Objects", "TypeNotFound"]


class Objects(Specs):
    """Turns specs, ``{type: …, **arguments}``, into objects.

    ``type`` is a class or function, a dotted path, or a registered name. Arguments are checked
    against the signature before anything is built: their names, what is missing, and plain
    values against annotations or, where there is none, against the default. Where an annotation
    says so, lists become tuples and sets, and texts paths, callables and members of
    enumerations. An argument may be a spec itself, or hold some.

    Args:
        allowed: the modules that types may come from, such as :data:`SAFE`; ``None`` for any.
            What running code has registered under a name may be used in any case.

    Example:
        >>> objects = Objects()
        >>> objects.build({"type": "fractions.Fraction", "numerator": 1, "denominator": 2})
        Fraction(1, 2)
        >>> for problem in objects.check({"type": "torch.nn.Linear", "in_feature": 2}, "head"):
        ...     print(problem)
        head.in_feature: Linear takes no 'in_feature', given 2. Did you mean 'in_features'?
        head.in_features: Linear needs 'in_features', which is missing.
        head.out_features: Linear needs 'out_features', which is missing.
        >>> for problem in Objects(SAFE).check({"type": "os.system", "command": "ls"}, "model"):
        ...     print(problem.path, problem.reason)
        model.type it may not be used here
    """

    def __init__(self, allowed: Sequence[str] | None = None) -> None:
        self._allowed = None if allowed is None else AllowList(allowed)
        self._finder = Finder(REGISTRIES, self._allowed)
        super().__init__(self.find)

    @property
    def limited(self) -> bool:
        """Whether types may come from some modules alone."""
        return self._allowed is not None

    def find(self, type: object, registry: Names | None = None) -> Callable[..., Any]:
        """The class or function that a ``type`` means.

        Args:
            type: a class or function itself, a dotted path, or a registered name.
            registry: where a name is looked up; in all if it is ``None``.

        Raises:
            TypeNotFound: if there is none, or it may not be used; it has the reason, the nearest
                right name, and all candidates.

        Example:
            >>> Objects().find("torch.nn.Linear")
            <class 'torch.nn.modules.linear.Linear'>
        """
        return self._finder.find(type, registry)

    def refused(self, function: Callable[..., Any], arguments: Mapping[str, Any]) -> Iterator[str]:
        """The paths of arguments that may not be given where types are limited."""
        return (
            iter(())
            if self._allowed is None
            else self._allowed.refused_arguments(function, arguments)
        )
