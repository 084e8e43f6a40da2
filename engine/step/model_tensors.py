"""The tensors of a model by name, looked up anew only when the model has changed."""

from __future__ import annotations

from collections.abc import Iterable
from operator import is_
from typing import Any

from torch import Tensor, nn

from .compiling import own_name

__all__ = ["ModelTensors"]


class ModelTensors:
    """Parameters and buffers of a model's state, each once, by their own names.

    To walk a model by its names takes longer than to average it; so that is done again only when
    one of its modules has got another tensor or module.

    Attributes:
        buffers: the names of those that are buffers.
    """

    def __init__(self, model: nn.Module) -> None:
        self.buffers: set[str] = set()
        self._model = model
        self._modules: list[nn.Module] = []
        self._members: list[Any] = []
        self._by_name: dict[str, Tensor] = {}

    def by_name(self) -> dict[str, Tensor]:
        """The tensors that the model has now."""
        members = _members_of(self._modules)
        if not members or not _are(members, self._members):
            self._modules = list(self._model.modules())
            self._members = _members_of(self._modules)
            self._look()
        return self._by_name

    def _look(self) -> None:
        saved, named = self._model.state_dict().keys(), self._model.named_buffers()
        parameters = {own_name(name): one for name, one in self._model.named_parameters()}
        buffers = {own_name(name): one for name, one in named if name in saved}
        self._by_name, self.buffers = {**parameters, **buffers}, set(buffers)


def _members_of(modules: Iterable[nn.Module]) -> list[Any]:
    """What the modules hold directly: tensors, other modules, and nothing where there is none."""
    return [
        one
        for module in modules
        for own in (module._modules, module._parameters, module._buffers)
        for one in own.values()
    ]


def _are(some: list[Any], others: list[Any]) -> bool:
    return len(some) == len(others) and all(map(is_, some, others))
