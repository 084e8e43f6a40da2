"""Contracts: how to get a loss and outputs from a model.

A contract is one small class that knows what a kind of model offers. :func:`contract_of` picks the
one that fits, unless it is named.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import nn

from ..errors import nearest
from .contract import Contract
from .guests import GUESTS, guest_contract
from .mmengine.optim_wrapper import optim_wrapper
from .modes import Modes

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = [
    "CONTRACTS",
    "BatchProcessor",
    "Contract",
    "LossFunctions",
    "Modes",
    "StepMethods",
    "Supervised",
    "contract_of",
]


_UNKNOWN = object()


class Supervised(Contract):
    """A plain module and a loss function of its answer and the target.

    Args:
        model: called with the input.
        loss: called as ``loss(y_pred, y)``; not needed for evaluation and prediction.
        unpack: takes a batch apart into input and target; by default a batch is such a pair.

    Example:
        >>> import torch
        >>> contract = Supervised(torch.nn.Linear(2, 1), torch.nn.functional.mse_loss)
        >>> batch = torch.zeros(4, 2), torch.zeros(4, 1)
        >>> contract.loss(contract.forward(None, batch), batch).shape
        torch.Size([])
    """

    name = "supervised"
    needs = "a loss function (y_pred, y) -> loss besides the model"

    def __init__(
        self,
        model: nn.Module,
        loss: Callable[[Any, Any], Any] | None = None,
        *,
        unpack: Callable[[Any], Sequence[Any]] | None = None,
    ) -> None:
        super().__init__(model)
        self._loss = loss
        self._unpack = _pair if unpack is None else unpack
        self._any_batch = unpack is None
        self._target: Any = _UNKNOWN  # of the batch at hand, which is taken apart once

    @classmethod
    def fits(cls, model: object, loss: object) -> bool:
        """Any module with one loss function."""
        return isinstance(model, nn.Module) and callable(loss)

    def forward(self, engine: Engine, batch: Any, turn: str | None = None) -> Any:
        """The model's answer to the input."""
        x, self._target = self._unpack(batch)
        return self.model(x)

    def loss(self, outputs: Any, batch: Any) -> Any:
        """What the loss function says of answer and target."""
        if self._loss is None:
            raise TypeError(f"contract {self.name!r} needs {self.needs}; give loss=.")
        target, self._target = self._target, _UNKNOWN
        return self._loss(outputs, self._unpack(batch)[1] if target is _UNKNOWN else target)

    def evaluate(self, engine: Engine, batch: Any) -> Any:
        """The pair ``(y_pred, y)``, as metrics take it."""
        x, y = self._unpack(batch)
        return self.model(x), y

    def predict(self, engine: Engine, batch: Any) -> Any:
        """The model's answer; the batch may bring a target, which is not looked at."""
        bare = self._any_batch and not (isinstance(batch, (list, tuple)) and len(batch) == 2)
        return self.model(batch if bare else self._unpack(batch)[0])


class LossFunctions(Contract):
    """Several loss functions, one for each optimizer, that call the model themselves.

    Args:
        model: the module that holds all parts.
        loss: functions ``(model, batch) -> loss`` by the name of the optimizer; names joined by
            ``+`` for a loss that several share.

    Example:
        >>> import torch
        >>> pair = nn.ModuleDict({"up": nn.Linear(1, 1), "down": nn.Linear(1, 1)})
        >>> losses = {
        ...     "up": lambda pair, x: -pair["up"](x).mean(),
        ...     "down": lambda pair, x: pair["down"](x).mean(),
        ... }
        >>> contract = LossFunctions(pair, losses)
        >>> contract.turns, contract.forward(None, torch.ones(4, 1), "up").shape
        (('up', 'down'), torch.Size([]))
    """

    name = "loss_functions"
    needs = "a dict of functions (model, batch) -> loss by the optimizer's name"

    def __init__(self, model: nn.Module, loss: Mapping[str, Callable[[Any, Any], Any]]) -> None:
        super().__init__(model)
        if not self.fits(model, loss):
            raise TypeError(f"contract {self.name!r} needs {self.needs}, given {loss!r:.80}.")
        self._losses = dict(loss)
        self.turns = tuple(self._losses)

    @classmethod
    def fits(cls, model: object, loss: object) -> bool:
        """Any module with a dict of functions."""
        return isinstance(loss, Mapping) and bool(loss) and all(map(callable, loss.values()))

    def bind(self, optimizations: Mapping[str, Any]) -> None:
        """Check that each loss has its optimizer."""
        names = [name for joined in self._losses for name in joined.split("+")]
        if unknown := [name for name in names if name not in optimizations]:
            raise ValueError(
                f"there are losses for {', '.join(map(repr, unknown))}, but the optimizers are "
                f"{', '.join(map(repr, optimizations))}.{nearest(unknown[0], optimizations)}"
            )
        if idle := [name for name in optimizations if name not in names]:
            raise ValueError(
                f"there is no loss for {', '.join(map(repr, idle))}; there are losses for "
                f"{', '.join(map(repr, self._losses))}."
            )

    def forward(self, engine: Engine, batch: Any, turn: str | None = None) -> Any:
        """The loss of the optimizer whose turn it is."""
        if turn not in self._losses:
            raise ValueError(
                f"it is the turn of {turn!r}, for which there is no loss; there are losses for "
                f"{', '.join(map(repr, self._losses))}."
            )
        return self._losses[turn](self.model, batch)

    def evaluate(self, engine: Engine, batch: Any) -> Any:
        """What each loss function gives, by name."""
        return {name: loss(self.model, batch) for name, loss in self._losses.items()}

    def predict(self, engine: Engine, batch: Any) -> Any:
        """The model's answer to the batch."""
        return self.model(batch)


class StepMethods(Contract):
    """A model with ``train_step``, and ``val_step``, ``valid_step``, ``test_step`` at will.

    Who runs backward and who steps is said by the signature of ``train_step``:

    - ``train_step(data, optim_wrapper)``, as in MMEngine: the model does both, through the
      optimization that it is given, by the names of
      :class:`~footplate.engine.step.mmengine.optim_wrapper.OptimWrapper` (several by name);
    - ``train_step(data, optimizer)``, as in MMCV, and ``train_step(data)``: the model returns a
      dict with ``"loss"``, or a loss, and the engine does both.

    A parameter named ``engine`` gets the engine, and the entries of ``engine.state.keywords``, if
    somebody set such a dict, go to the parameters of their names.

    Args:
        model: the model.
        loss: none, as the model has its own.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> from footplate.engine.step.training import training_step
        >>> class Line(nn.Linear):
        ...     def train_step(self, data):
        ...         x, y = data
        ...         return {"loss": (self(x) - y).square().mean(), "seen": len(x)}
        >>> line = Line(1, 1)
        >>> step = training_step(line, torch.optim.SGD(line.parameters(), lr=0.1))
        >>> step.contract.name
        'step_methods'
        >>> Engine(step).run([(torch.ones(8, 1), torch.ones(8, 1))]).output["seen"]
        8
    """

    name = "step_methods"
    needs = "a model with train_step(data, …), or val_step, valid_step, test_step, predict_step"
    _METHODS = ("train_step", "val_step", "valid_step", "test_step", "predict_step")

    def __init__(self, model: nn.Module, loss: None = None) -> None:
        super().__init__(model, loss)
        self._given: dict[str, Any] = {"optim_wrapper": None, "optimizer": None}  # in evaluation
        self._names = {
            method: tuple(inspect.signature(getattr(model, method)).parameters.items())
            for method in self._METHODS
            if callable(getattr(model, method, None))
        }
        self.optimizes_itself = "optim_wrapper" in dict(self._names.get("train_step", ()))

    @classmethod
    def fits(cls, model: object, loss: object) -> bool:
        """Models that have one of the methods, and no loss besides."""
        return loss is None and any(callable(getattr(model, name, None)) for name in cls._METHODS)

    def bind(self, optimizations: Mapping[str, Any]) -> None:
        """Keep what the model's method asks for, be it wrapped or bare."""
        wrapped = dict(optimizations)
        bare = {name: one.optimizer for name, one in wrapped.items()}
        several = len(wrapped) > 1
        self._given = {
            "optim_wrapper": optim_wrapper(wrapped),
            "optimizer": bare if several else next(iter(bare.values())),
        }

    def forward(self, engine: Engine, batch: Any, turn: str | None = None) -> Any:
        """What ``train_step`` returns."""
        return self._call(engine, batch, "train_step")

    def evaluate(self, engine: Engine, batch: Any) -> Any:
        """What ``test_step`` returns on an engine named ``test``, and else ``val_step``."""
        order = ("val_step", "valid_step", "test_step")
        if engine is not None and engine.name == "test":
            order = ("test_step", "val_step", "valid_step")
        return self._call(engine, batch, *order)

    def predict(self, engine: Engine, batch: Any) -> Any:
        """What ``predict_step`` returns, and without it the model's answer to the batch."""
        if "predict_step" in self._names:
            return self._call(engine, batch, "predict_step")
        return self.model(batch)

    def _call(self, engine: Engine, batch: Any, *methods: str) -> Any:
        method = next((name for name in methods if name in self._names), None)
        if method is None:
            raise TypeError(
                f"{type(self.model).__name__} has no {' or '.join(methods)}; it has "
                f"{', '.join(self._names) or 'none of these methods'}."
            )
        keywords = getattr(engine.state, "keywords", None) or {}
        known = {**self._given, "engine": engine, **keywords}
        named = self._names[method][1:]
        given = {name: known[name] for name, _ in named if name in known}
        if any(parameter.kind is parameter.VAR_KEYWORD for _, parameter in named):
            given.update(keywords)
        return getattr(self.model, method)(batch, **given)


class BatchProcessor(Contract):
    """A function that knows what to do with a batch, as in MMCV of old.

    Args:
        model: the model.
        loss: the function, called as ``batch_processor(model, data, train_mode=…)``, with the
            entries of ``engine.state.keywords`` besides; it returns a dict with ``"loss"``.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> from footplate.engine.step.training import training_step
        >>> def process(model, data, train_mode):
        ...     return {"loss": model(data).square().mean(), "num_samples": len(data)}
        >>> model = nn.Linear(2, 1)
        >>> step = training_step(model, torch.optim.SGD(model.parameters(), lr=0.1), process)
        >>> step.contract.name, Engine(step).run([torch.ones(4, 2)]).output["num_samples"]
        ('batch_processor', 4)
    """

    name = "batch_processor"
    needs = "a function (model, data, train_mode) -> dict with 'loss' in the place of loss="

    def __init__(self, model: nn.Module, loss: Callable[..., Any]) -> None:
        super().__init__(model)
        if not self.fits(model, loss):
            raise TypeError(f"contract {self.name!r} needs {self.needs}, given {loss!r:.80}.")
        self._process = loss

    @classmethod
    def fits(cls, model: object, loss: object) -> bool:
        """Functions with a parameter ``train_mode``."""
        if not callable(loss) or isinstance(loss, nn.Module):
            return False
        try:
            return "train_mode" in inspect.signature(loss).parameters
        except (TypeError, ValueError):
            return False

    def forward(self, engine: Engine, batch: Any, turn: str | None = None) -> Any:
        """What the function returns in training."""
        return self._call(engine, batch, train_mode=True)

    def evaluate(self, engine: Engine, batch: Any) -> Any:
        """What the function returns in evaluation."""
        return self._call(engine, batch, train_mode=False)

    predict = evaluate

    def _call(self, engine: Engine, batch: Any, *, train_mode: bool) -> Any:
        keywords = getattr(engine.state, "keywords", None) or {}
        return self._process(self.model, batch, train_mode=train_mode, **keywords)


CONTRACTS: Sequence[type[Contract]] = (
    BatchProcessor,
    LossFunctions,
    Supervised,
    StepMethods,
    Modes,
)
"""Every contract, in the order in which they are tried."""


def contract_of(model: nn.Module, loss: Any = None, name: str | Contract | None = None) -> Contract:
    """The contract for a model: the named one, or the first that fits.

    A loss that is given decides, even if the model has step methods of its own. Without one, a
    model of another system has the contract that is made for it.

    Args:
        model: the model.
        loss: a loss function, a dict of them, or a batch processor.
        name: the contract's name, or a contract, which is returned as it is.

    Raises:
        ValueError: for an unknown name.
        TypeError: if none fits, with what each of them needs; and for a class in place of a loss.

    Example:
        >>> import torch
        >>> contract_of(torch.nn.Linear(1, 1), torch.nn.functional.mse_loss).name
        'supervised'
    """
    if isinstance(name, Contract):
        return name
    for one in loss.values() if isinstance(loss, Mapping) else (loss,):
        if isinstance(one, type):  # called with an answer and a target it makes an object of them
            raise TypeError(
                f"loss={one.__name__} is a class, and a loss is what can be called with an answer "
                f"and a target; give an instance, loss={one.__name__}()."
            )
    if name is not None:
        return _named(name)(model, loss)
    if loss is None and (guest := guest_contract(model)) is not None:
        return guest.load()(model)
    for contract in CONTRACTS:
        if contract.fits(model, loss):
            return contract(model, loss)
    needs = "; ".join(f"{contract.name}: {contract.needs}" for contract in CONTRACTS)
    given = "no loss" if loss is None else f"loss={loss!r:.60}"
    raise TypeError(
        f"no contract fits {type(model).__name__} with {given}. Give what one of them needs "
        f"({needs}), or a Contract of your own as contract=."
    )


def _named(name: str) -> Callable[..., Contract]:
    guests = {guest.name: guest for guest in GUESTS}
    if name in guests:
        return guests[name].load()
    by_name = {contract.name: contract for contract in CONTRACTS}
    if name not in by_name:
        known = [*by_name, *guests]
        raise ValueError(f"contract {name!r} is none of {', '.join(known)}.{nearest(name, known)}")
    return by_name[name]


def _pair(batch: Any) -> Sequence[Any]:
    if not isinstance(batch, (list, tuple)) or len(batch) != 2:
        found = f"{len(batch)} parts" if isinstance(batch, (list, tuple)) else "no pair"
        raise TypeError(
            f"a batch is (input, target), given a {type(batch).__name__} of {found}; say how to "
            f"take it apart: contract=Supervised(model, loss, unpack=lambda batch: (…, …))."
        )
    return batch
