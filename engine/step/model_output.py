"""Models whose answer has the loss in it, as those of transformers have."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Mapping
from dataclasses import fields, is_dataclass
from typing import TYPE_CHECKING, Any, get_args, is_typeddict

from torch import Tensor, nn

from .compiling import uncompiled
from .contract import Contract

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["ModelOutput"]

_ITEMS = "num_items_in_batch"  # what a model of transformers divides its summed losses by


class ModelOutput(Contract):
    """A model that is handed the labels, too, and answers with an object that has a ``loss``.

    A batch that is a mapping, such as a ``BatchEncoding``, goes to ``forward`` as keywords: those
    that ``forward`` names, or all where it names none. Of those that its ``**kwargs`` would take,
    the ones go that its annotation names, and ``num_items_in_batch``, unless the model says
    ``accepts_loss_kwargs = False``: what transformers' trainer hands over, too. A list or tuple
    goes as arguments in order, anything else as the one argument. The answer is a mapping with
    ``"loss"``, or an object with such an attribute.

    Training is done on the loss, and reports it with the other single numbers of the answer; what
    else is in there, such as the logits, is let go of before the gradients are computed. An
    evaluation reports ``y_pred``, which are the logits, ``y``, which are the labels, and ``loss``,
    as far as there are any: a mapping that metrics take their pair from. A prediction is the
    logits. Where the answer has no ``logits``, it is reported whole.

    Args:
        model: the model.
        loss: none, as the model has its own.
        unpack: makes of a batch what goes to ``forward``: keywords, or arguments; all of them go.
        output: makes of the batch and the answer what an evaluation reports.

    Example:
        >>> import torch
        >>> class Line(nn.Linear):
        ...     def forward(self, x, labels=None):
        ...         logits = super().forward(x)
        ...         loss = None if labels is None else (logits - labels).square().mean()
        ...         return {"loss": loss, "logits": logits}
        >>> contract = ModelOutput(Line(2, 1))
        >>> batch = {"x": torch.zeros(4, 2), "labels": torch.zeros(4, 1), "name": "not asked for"}
        >>> list(contract.loss(contract.forward(None, batch), batch))
        ['loss']
        >>> list(contract.evaluate(None, batch)), contract.predict(None, {"x": batch["x"]}).shape
        (['y_pred', 'y', 'loss'], torch.Size([4, 1]))
    """

    name = "model_output"
    needs = "a model that is handed the labels and answers with an object that has a loss"

    def __init__(
        self,
        model: nn.Module,
        loss: None = None,
        *,
        unpack: Callable[[Any], Any] | None = None,
        output: Callable[[Any, Any], Any] | None = None,
    ) -> None:
        super().__init__(model, loss)
        self._unpack = unpack
        self._output = output
        self._named = _named_by(model)
        self._taken = {*self._named, *_taken_loosely(model)} if self._named else None

    @classmethod
    def fits(cls, model: object, loss: object) -> bool:
        """Any module, and no loss besides; what it answers is seen when it does."""
        return loss is None and isinstance(model, nn.Module)

    def forward(self, engine: Engine, batch: Any, turn: str | None = None) -> Any:
        """The model's whole answer."""
        return self._answer(batch)

    def loss(self, outputs: Any, batch: Any) -> Any:
        """The loss, and the other single numbers of the answer."""
        parts = _parts(outputs)
        if "loss" not in parts:
            raise ValueError(self._lacks_a_loss(parts, batch))
        numbers = {
            name: one for name, one in parts.items() if isinstance(one, Tensor) and not one.dim()
        }
        return {**numbers, "loss": parts["loss"]}

    def evaluate(self, engine: Engine, batch: Any) -> Any:
        """Logits, labels and loss as far as there are any, or what ``output`` makes of them."""
        outputs = self._answer(batch)
        if self._output is not None:
            return self._output(batch, outputs)
        parts = _parts(outputs)
        if "logits" not in parts:
            return parts
        report = {"y_pred": parts["logits"]}
        if isinstance(batch, Mapping) and "labels" in batch:
            report["y"] = batch["labels"]
        if "loss" in parts:
            report["loss"] = parts["loss"]
        return report

    def predict(self, engine: Engine, batch: Any) -> Any:
        """The logits; labels are not needed, but handed over if there are any."""
        parts = _parts(self._answer(batch))
        return parts.get("logits", parts)

    def _answer(self, batch: Any) -> Any:
        if self._unpack is not None:
            given = self._unpack(batch)
        elif isinstance(batch, Mapping) and self._taken is not None:
            given = {name: batch[name] for name in batch if name in self._taken}
        else:
            given = batch
        if isinstance(given, Mapping):
            return self.model(**given)
        return self.model(*given) if isinstance(given, (list, tuple)) else self.model(given)

    def _lacks_a_loss(self, parts: Mapping[str, Any], batch: Any) -> str:
        """What to say of an answer that can't be trained on."""
        told = f"the answer of {type(uncompiled(self.model)).__name__} has no loss"
        if not isinstance(batch, Mapping):
            return f"{told}; it has {', '.join(parts) or 'nothing'}. Was it handed the labels?"
        wanted = [name for name in self._named if name.endswith(("labels", "label", "_positions"))]
        wanted = wanted or [*self._named] or ["labels"]
        left = [str(name) for name in batch if self._taken and name not in self._taken]
        ignored = f", of which forward() does not take {', '.join(left)}" if left else ""
        return (
            f"{told}: it computes one when it is handed {' or '.join(wanted)}. The batch has "
            f"{', '.join(map(str, batch)) or 'nothing'}{ignored}; rename the labels in the data, "
            f"or give contract=ModelOutput(model, unpack=lambda batch: {{…}})."
        )


def _named_by(model: nn.Module) -> tuple[str, ...]:
    """The parameters that ``forward`` names."""
    loose = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    return tuple(one.name for one in _parameters(model) if one.kind not in loose)


def _taken_loosely(model: nn.Module) -> set[str]:
    """What its keywords without names are known to be for: ``**kwargs: Unpack[SomeTypedDict]``."""
    loose = [one for one in _parameters(model) if one.kind is one.VAR_KEYWORD]
    kinds = [kind for one in loose for kind in get_args(one.annotation) if is_typeddict(kind)]
    told = {name for kind in kinds for name in kind.__annotations__}
    counts = bool(loose) and getattr(uncompiled(model), "accepts_loss_kwargs", True)
    return told | {_ITEMS} if counts else told - {_ITEMS}


def _parameters(model: nn.Module) -> Iterable[inspect.Parameter]:
    forward = uncompiled(model).forward
    try:
        return inspect.signature(forward, eval_str=True).parameters.values()
    except Exception:  # of an annotation that is for type checkers alone
        return inspect.signature(forward).parameters.values()


def _parts(outputs: Any) -> dict[str, Any]:
    """What an answer has, by name."""
    if isinstance(outputs, Mapping):
        parts = dict(outputs)
    elif hasattr(outputs, "loss"):
        parts = _attributes(outputs)
    elif isinstance(outputs, (list, tuple)):
        raise TypeError(
            f"the answer is a bare {type(outputs).__name__}, in which nothing tells what the loss "
            f"is; have the model answer by name: config.return_dict = True for transformers."
        )
    else:
        parts = {"logits": outputs}
    return {str(name): one for name, one in parts.items() if one is not None}


def _attributes(outputs: Any) -> dict[str, Any]:
    if hasattr(outputs, "_asdict"):
        named: dict[str, Any] = outputs._asdict()
        return named
    if is_dataclass(outputs):
        return {field.name: getattr(outputs, field.name) for field in fields(outputs)}
    return dict(vars(outputs))
