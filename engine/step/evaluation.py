"""Evaluation and prediction steps: what a model says, with no gradient and in evaluation mode."""

from __future__ import annotations

from itertools import chain
from typing import TYPE_CHECKING, Any

import torch
from torch import nn

from ..data.device import move
from ..events import Events
from ..handler import Handler
from ..nested import map_nested
from ..placement.company import Company, company_of
from ..placement.placement import Placement
from ..placement.ranks import gathered, rank, world_size
from ..priority import Priority
from .announcer import Announcer
from .contracts import Contract, Modes, StepMethods, Supervised, contract_of
from .guests import guest_contract
from .precision import Precision, single

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["EvaluationStep", "evaluation_step", "prediction_step"]


class EvaluationStep(Handler):
    """One iteration of evaluation or prediction, as the process function of an engine.

    For the length of each run, whatever ends it, every submodule is in evaluation mode, and then
    in the mode that it was in. No gradients are computed.

    Where a forward pass waits for those of other processes, as that of a model whose parameters
    are spread over them does, all processes have to go through as many. With ``in_step``, a process
    that has fewer batches than others goes through its last one again at the end of the epoch, or,
    with an empty share of the data, through the first of another process; nothing comes of it.

    Args:
        contract: how to get outputs from the model.
        predicts: whether the model is asked to predict, with no target.
        precision: what the forward pass computes with; what it gives in half precision comes out
            as fp32, which metrics that go through numpy need.
        in_step: whether all processes go through as many forward passes.
        placement: how several processes train the model: it tells ``in_step``, and has all of them
            evaluate with the first one's buffers, such as running means.

    Example:
        >>> from footplate import Engine
        >>> from footplate.engine.step.contracts import Supervised
        >>> model = nn.Dropout(0.5)
        >>> evaluator = Engine(EvaluationStep(Supervised(model)), name="val")
        >>> state = evaluator.run([(torch.ones(3), torch.zeros(3))])
        >>> state.output, model.training
        ((tensor([1., 1., 1.]), tensor([0., 0., 0.])), True)
    """

    priority = Priority.HIGHEST
    for_one_engine = True

    def __init__(
        self,
        contract: Contract,
        *,
        predicts: bool = False,
        precision: str | Precision = "fp32",
        in_step: bool = False,
        placement: Placement | None = None,
    ) -> None:
        self.contract = contract
        self.in_step = in_step or (placement is not None and placement.in_step)
        self._placement = placement
        self.precision = Precision.of(precision)
        self._predicts = predicts
        self._ask = contract.predict if predicts else contract.evaluate
        self._announce = Announcer()
        self._modes: list[tuple[nn.Module, bool]] = []
        self._company: Company | None = None
        self._last: Any = None  # the batch to go through again

    def on_register(self, engine: Engine) -> None:
        """Register the events, and have the step called for batches that only others have."""
        self._announce = Announcer(engine)
        of_test = "test" if engine.name == "test" else "val"
        self.contract.attached(engine, "predict" if self._predicts else of_test)
        if self.in_step and world_size() > 1:
            self._company = company_of(engine)
            self._company.invite(self._keep_company)
        if self._placement is not None and self._placement.several:
            # behind all that puts other weights into the model
            engine.add_event_handler(Events.OPENED, self._align, priority=Priority.LOWEST)

    def _align(self, engine: Engine) -> None:
        assert self._placement is not None
        self._placement.align(self.contract.model)

    def opened(self, engine: Engine) -> None:
        """Note the mode of every submodule, and set them to evaluation mode."""
        model = self.contract.model
        self._modes = [(module, module.training) for module in model.modules()]
        self.contract.to_evaluation(engine)

    def closed(self, engine: Engine) -> None:
        """Put the modes back."""
        for module, training in self._modes:
            module.training = training
        self._modes = []
        self._last = None

    def __call__(self, engine: Engine, batch: Any) -> Any:
        """Evaluate a batch, or predict."""
        if self._company is not None:
            self._last = self._sent_once(batch)
        announce = self._announce
        if announce.forward_started.calls:
            announce(announce.forward_started, batch=batch)
        outputs = self._outputs(engine, batch)
        if self.precision.dtype is not None:
            outputs = map_nested(single, outputs, kind=torch.Tensor)
        if announce.forward_completed.calls:
            announce(announce.forward_completed, outputs=outputs)
        return outputs

    def _outputs(self, engine: Engine, batch: Any) -> Any:
        with torch.no_grad(), self.precision.autocast(_device_type(self.contract.model)):
            return self._ask(engine, batch)

    def _keep_company(self, engine: Engine) -> None:
        """Go through a forward pass that others wait for."""
        self._last = self._sent_once(None)
        self._outputs(engine, self._last)

    def _sent_once(self, batch: Any) -> Any:
        """The batch, or the last one where there is none; those without any get one at first."""
        company = self._company
        if self._last is not None:
            return self._last if batch is None else batch
        if company is None or not company.some_have_none:
            return batch
        giver = next(number for number, length in enumerate(company.lengths) if length)
        given = gathered(move(batch, "cpu") if rank() == giver else None)[giver]
        return move(given, _device_of(self.contract.model)) if batch is None else batch


def evaluation_step(
    model: nn.Module,
    loss: Any = None,
    *,
    contract: str | Contract | None = None,
    precision: str | Precision = "fp32",
    in_step: bool = False,
    placement: Placement | None = None,
) -> EvaluationStep:
    """An evaluation step for a model; a plain module's output is the pair ``(y_pred, y)``.

    Args:
        model: the model.
        loss: as for :func:`~footplate.engine.step.training.training_step`; a plain module needs
            none here.
        contract: how to get outputs from the model, if that is not to be found out.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``; outputs are fp32 in any case.
        in_step: whether all processes go through as many forward passes; see
            :class:`EvaluationStep`.
        placement: how several processes train the model, which tells that, too.

    Example:
        >>> from ignite.metrics import MeanSquaredError
        >>> from footplate import Engine
        >>> model = nn.Linear(2, 1)
        >>> evaluator = Engine(evaluation_step(model), name="val")
        >>> MeanSquaredError().attach(evaluator, "mse")
        >>> list(evaluator.run([(torch.zeros(4, 2), torch.zeros(4, 1))]).metrics)
        ['mse']
        >>> model.training
        True
    """
    contract = _contract_of(model, loss, contract)
    return EvaluationStep(contract, precision=precision, in_step=in_step, placement=placement)


def prediction_step(
    model: nn.Module,
    *,
    contract: str | Contract | None = None,
    precision: str | Precision = "fp32",
    in_step: bool = False,
    placement: Placement | None = None,
) -> EvaluationStep:
    """A prediction step for a model; a plain module's output is its answer to the input.

    Args:
        model: the model; with a ``predict_step`` of its own, that is called.
        contract: how to get outputs from the model, if that is not to be found out.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``; outputs are fp32 in any case.
        in_step: whether all processes go through as many forward passes.
        placement: how several processes train the model, which tells that, too.

    Example:
        >>> from footplate import Engine
        >>> predictor = Engine(prediction_step(nn.Linear(2, 3)), name="predict")
        >>> predictor.run([torch.zeros(4, 2)]).output.shape
        torch.Size([4, 3])
    """
    contract = _contract_of(model, None, contract)
    return EvaluationStep(
        contract, predicts=True, precision=precision, in_step=in_step, placement=placement
    )


def _contract_of(model: nn.Module, loss: Any, contract: str | Contract | None) -> Contract:
    """The contract that fits; a plain module needs no loss here."""
    ours = any(kind.fits(model, loss) for kind in (StepMethods, Modes))
    knows_how = ours or guest_contract(model) is not None
    plain = loss is None and contract is None and not knows_how
    return Supervised(model) if plain else contract_of(model, loss, contract)


def _device_type(model: nn.Module) -> str:
    return _device_of(model).type


def _device_of(model: nn.Module) -> torch.device:
    tensor = next(chain(model.parameters(), model.buffers()), None)
    return torch.device("cpu") if tensor is None else tensor.device
