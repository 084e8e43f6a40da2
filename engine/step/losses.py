"""Losses: what a model's answer means for training, and what of it is reported."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from torch import Tensor

from ..errors import nearest
from ..nested import map_nested

__all__ = ["WithExtras", "detached", "read_loss", "reported"]


def read_loss(returned: Any) -> Tensor | None:
    """The loss to train on.

    Args:
        returned: a scalar tensor; or a mapping with one under ``"loss"``, whose other entries are
            extras; or ``None``, which says that there is nothing to train on.

    Returns:
        the loss; ``None`` for none.

    Raises:
        TypeError: for anything else.
        ValueError: for a mapping without ``"loss"``, a loss of several elements, or a loss that
            depends on no parameter.

    Example:
        >>> import torch
        >>> weight = torch.nn.Parameter(torch.tensor(2.0))
        >>> read_loss({"loss": weight**2, "accuracy": 0.5}).item()
        4.0
    """
    loss = returned if isinstance(returned, Tensor) else _found(returned)
    if loss is None:
        return None
    if loss.numel() != 1:
        raise ValueError(
            f"a loss is one number, given a tensor of shape {tuple(loss.shape)}; "
            f"reduce it with .mean() or .sum()."
        )
    if not loss.requires_grad:
        raise ValueError(
            "the loss depends on no parameter that requires a gradient: it was detached, computed "
            "under no_grad, or all of its parameters are frozen; return None to skip a batch."
        )
    return loss


def _found(returned: Any) -> Tensor | None:
    """The loss in what is no tensor."""
    loss, where = returned, ""
    if isinstance(returned, Mapping):
        if "loss" not in returned:
            keys = ", ".join(map(repr, returned)) or "none"
            raise ValueError(
                f"a dict of losses needs the key 'loss', which training is done on; this one has "
                f"{keys}.{nearest('loss', map(str, returned))} Sum what is to be trained on into "
                f"'loss' yourself; the other entries are reported only."
            )
        loss, where = returned["loss"], " under 'loss'"
    if loss is not None and not isinstance(loss, Tensor):
        raise TypeError(
            f"training needs a tensor, a dict with one under 'loss', or None to skip the batch; "
            f"given a {type(loss).__name__}{where}: {loss!r:.80}."
        )
    return loss


def reported(returned: Any) -> Any:
    """What the step reports: the losses by name, the extras as they are, all of them detached.

    Example:
        >>> import torch
        >>> reported(torch.tensor(0.5, requires_grad=True))
        {'loss': tensor(0.5000)}
    """
    if isinstance(returned, Tensor):
        return {"loss": returned.detach() if returned.dim() == 0 else returned.detach().reshape(())}
    return detached(returned)


class WithExtras(dict[str, Any]):
    """What a step reports where its loss alone is logged; the other entries are for handlers.

    Example:
        >>> WithExtras(loss=0.5, epoch=3).logged
        {'loss': 0.5}
    """

    @property
    def logged(self) -> dict[str, Any]:
        """The loss, if there is one."""
        return {"loss": self["loss"]} if "loss" in self else {}


def detached(values: Any) -> Any:
    """The same nest of values with all tensors in it detached.

    Example:
        >>> import torch
        >>> detached([torch.tensor(0.5, requires_grad=True), "a"])
        [tensor(0.5000), 'a']
    """
    return map_nested(Tensor.detach, values, kind=Tensor)
