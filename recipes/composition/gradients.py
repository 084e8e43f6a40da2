"""Gradients and parameters: what ``clip_grad`` and ``paramwise_cfg`` say."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from ...engine.errors import nearest
from ...engine.step.clipping import ClipNorm, ClipValue
from ...engine.step.groups import NoDecay, Rule, Scale
from ...engine.step.optimization import Clip
from ..config.problems import OptionError

__all__ = ["ClipCfg", "ParamwiseCfg", "clip_of"]


@dataclass(frozen=True, kw_only=True)
class ClipCfg:
    """What bounds the gradients.

    Attributes:
        type: by their ``"norm"``, or by ``"value"``; that is clear if ``clip_value`` is given.
        max_norm: the norm that all gradients have together at most.
        norm_type: which norm; ``math.inf`` for the greatest value.
        error_if_nonfinite: whether a norm that is no number is an error.
        clip_value: what each value is bounded by.
    """

    type: Literal["norm", "value"] | None = None
    max_norm: float | None = None
    norm_type: float = 2.0
    error_if_nonfinite: bool = False
    clip_value: float | None = None

    def __post_init__(self) -> None:
        """Refuse what contradicts itself."""
        by_value = self.type == "value" or (self.type is None and self.clip_value is not None)
        if by_value and self.clip_value is None:
            raise OptionError("clip_value", "is what gradients are bounded by; give it")
        if by_value and self.max_norm is not None:
            raise OptionError("max_norm", "and clip_value exclude each other")
        if not by_value and self.clip_value is not None:
            raise OptionError("clip_value", "is for type 'value'")
        try:
            self.made()
        except (ValueError, TypeError) as error:
            raise OptionError("clip_value" if by_value else "max_norm", str(error)) from None

    def made(self) -> Clip:
        """The function that bounds them."""
        if self.clip_value is not None:
            return ClipValue(self.clip_value)
        norm = 1.0 if self.max_norm is None else self.max_norm
        return ClipNorm(norm, self.norm_type, error_if_nonfinite=self.error_if_nonfinite)


def clip_of(given: Mapping[str, Any] | ClipCfg | float | bool | None) -> Clip | None:
    """What bounds the gradients; a number is the norm, and ``False`` for nothing.

    Example:
        >>> clip_of({"type": "value", "clip_value": 0.5}), clip_of(2.0), clip_of(False)
        (ClipValue(0.5), ClipNorm(2, 2), None)
    """
    if given is None or given is False:
        return None
    if isinstance(given, ClipCfg):
        return given.made()
    if isinstance(given, Mapping):
        return ClipCfg(**given).made()
    return ClipNorm(float(given))


@dataclass(frozen=True, kw_only=True)
class ParamwiseCfg:
    """Which parameters learn at another rate, or decay otherwise.

    Attributes:
        norm_decay_mult: 0, together with ``bias_decay_mult``, for no weight decay on biases and
            norm layers.
        bias_decay_mult: the same.
        bias_lr_mult: what the learning rate of biases is multiplied by.
        custom_keys: ``{part of a name: {lr_mult: …, decay_mult: …}}``.
        bypass_duplicate: accepted, and nothing else: parameters that are shared count once.
        rules: rules as :mod:`footplate.engine.step.groups` has them.
    """

    norm_decay_mult: float | None = None
    bias_decay_mult: float | None = None
    bias_lr_mult: float | None = None
    custom_keys: Mapping[str, Mapping[str, float]] | None = None
    bypass_duplicate: bool = True
    rules: Sequence[Any] | None = None

    def __post_init__(self) -> None:
        """Refuse what can't be told apart, and keys that mean nothing."""
        if self.norm_decay_mult != self.bias_decay_mult or self.norm_decay_mult not in (None, 0, 1):
            raise OptionError(
                "norm_decay_mult",
                "is 0 together with bias_decay_mult, or neither is given; say more by rules",
            )
        for part, factors in (self.custom_keys or {}).items():
            for name in factors:
                if name not in ("lr_mult", "decay_mult"):
                    hint = nearest(name, ("lr_mult", "decay_mult"))
                    reason = f"has lr_mult and decay_mult for {part!r}, not {name!r}.{hint}"
                    raise OptionError("custom_keys", reason)

    def as_rules(self) -> Iterator[Rule]:
        """The same as rules."""
        if self.norm_decay_mult == 0:
            yield NoDecay()
        if self.bias_lr_mult is not None:
            yield Scale("*bias", lr=self.bias_lr_mult)
        for part, factors in (self.custom_keys or {}).items():
            lr, decay = factors.get("lr_mult"), factors.get("decay_mult")
            yield Scale(f"*{part}*", lr=lr, weight_decay=decay)
        yield from self.rules or ()
