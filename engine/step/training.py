"""Training steps: from a batch to changed weights."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from torch import Tensor, nn
from torch.optim import Optimizer

from ..errors import nearest
from ..handler import Handler
from ..placement.placement import Placement
from ..priority import Priority
from .accumulation import Accumulation
from .announcer import Announcer
from .contracts import Contract, contract_of
from .groups import check_groups
from .losses import detached, read_loss, reported
from .optimization import Clip, Optimization
from .precision import Precision
from .turns import Turns, simultaneously

if TYPE_CHECKING:
    from ..engine import Engine

__all__ = ["TrainingStep", "training_step"]

Weigh = Callable[[Any], "float | Tensor"]
Output = Callable[[Any, Any, Any], Any]

_SKIPPED = (
    "the step has no loss for this batch, but other processes may have one, and would wait for its "
    "gradients; return a loss of zero times what the model says, or leave such batches out of the "
    "data."
)


class TrainingStep(Handler):
    """One iteration of training, as the process function of an engine.

    It calls the model by its contract, reads the loss, and hands it to an
    :class:`.Optimization`, firing the events of
    :class:`~footplate.engine.step.events.StepEvents` on the way. The optimizer and what else
    moves are saved with the engine. The model is set to training mode if it is in evaluation mode.

    Args:
        contract: how to get a loss from the model.
        optimizations: what makes steps of it; several by name.
        turns: whose turn it is in an iteration, where there are several. By default all step in
            each iteration: each with its own loss if the contract has one for each, else with
            the one loss that they share.
        weigh: how much a batch weighs within a window: the number of samples or tokens that its
            loss is the mean of; all the same by default.
        output: makes ``engine.state.output`` from the batch, the model's outputs and the report;
            by default it is the report: losses and extras by name. All are detached.
        placement: how several processes train the model as one; here it is alone by default.

    Raises:
        ValueError: if optimizations share parameters, or have no names of their own; also, in
            several processes, in an iteration that one of them skips.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> from footplate.engine.step.contracts import Supervised
        >>> model = nn.Linear(1, 1)
        >>> contract = Supervised(model, nn.functional.mse_loss)
        >>> sgd = Optimization(torch.optim.SGD(model.parameters(), lr=0.1), accumulate=2)
        >>> step = TrainingStep(contract, sgd, output=lambda batch, y_pred, report: y_pred)
        >>> trainer = Engine(step, name="train")
        >>> trainer.run([(torch.ones(8, 1), torch.ones(8, 1))] * 4).output.shape
        torch.Size([8, 1])
        >>> trainer.state.get_event_attrib_value("OPTIMIZER_STEPPED")
        2
    """

    priority = Priority.HIGHEST
    for_one_engine = True

    def __init__(
        self,
        contract: Contract,
        optimizations: Optimization | Mapping[str, Optimization],
        *,
        turns: Turns | None = None,
        weigh: Weigh | None = None,
        output: Output | None = None,
        placement: Placement | None = None,
    ) -> None:
        if isinstance(optimizations, Optimization):
            optimizations = {optimizations.name: optimizations}
        _check(optimizations)
        for option, given in {"turns": turns, "weigh": weigh, "output": output}.items():
            if given is not None and not callable(given):
                raise TypeError(f"{option}= is a function, given {given!r:.60}.")
        self.contract = contract
        self.optimizations = dict(optimizations)
        contract.bind(self.optimizations)
        if not contract.deals_out:
            _check_owners(optimizations)
        alone = len(self.optimizations) == 1
        for name, one in self.optimizations.items():
            one.name, one.alone = name, alone
        if turns is not None and contract.optimizes_itself:
            raise ValueError(
                f"turns= says whose turn it is, but {type(contract.model).__name__}.train_step "
                f"steps its optimizers itself; leave turns= out."
            )
        if turns is None and contract.turns:
            turns = simultaneously(*(tuple(turn.split("+")) for turn in contract.turns))
        self._first, *self._others = self.optimizations.values()
        self._turns = turns
        self._weigh = weigh
        self._output = output
        self._announce = Announcer()
        self._placement = placement if placement is not None and placement.several else None
        if self._placement is not None:
            self._place(self._placement)

    def on_register(self, engine: Engine) -> None:
        """Register the events, and have the optimizations saved with the engine."""
        self._announce = Announcer(engine)
        for name, one in self.optimizations.items():
            engine.attach(one, name=name)
        self.contract.attached(engine, "train")

    def __call__(self, engine: Engine, batch: Any) -> Any:
        """Train on a batch."""
        model = self.contract.model
        if not model.training:
            model.train()
        if self._placement is not None and not self._first.window.held:
            self._placement.begin()
        if self._turns is not None:
            return self._take_turns(self._turns, engine, batch)
        if self._placement is not None and not self.contract.optimizes_itself:
            with self._placement.batch(closes=self._first.closes_next()):
                return self._train_by(self._first, self._others, None, engine, batch)
        if self.contract.optimizes_itself:
            return self._leave_it_to_the_model(engine, batch)
        return self._train_by(self._first, self._others, None, engine, batch)

    def _take_turns(self, turns: Turns, engine: Engine, batch: Any) -> Any:
        """Train with each optimizer, or group of them, whose turn it is."""
        reports = {}
        for turn in turns(engine.state.iteration - 1):
            names = (turn,) if isinstance(turn, str) else turn
            first, *others = map(self._named, names)
            joined = "+".join(names)
            reports[joined] = self._train_by(first, others, joined, engine, batch)
        return _flat(reports)

    def _train_by(
        self,
        first: Optimization,
        others: Sequence[Optimization],
        turn: str | None,
        engine: Engine,
        batch: Any,
    ) -> Any:
        """Forward, loss and backward, and a step of each optimizer whose window is full."""
        announce = self._announce
        if first.precision.dtype is None:
            outputs, returned = self._forward(engine, batch, turn)
        else:
            with first.precision.autocast(first.device_type):
                outputs, returned = self._forward(engine, batch, turn)
        if self._output is None:
            outputs = None  # lets go of its memory before backward
        loss = read_loss(returned)
        if loss is None and self._placement is not None:
            raise ValueError(_SKIPPED)
        if loss is not None:
            if announce.loss_completed.calls:
                announce(announce.loss_completed, loss=loss)
            first.backward(loss, self._weigh and self._weigh(batch), shared_with=others)
        first.settle()
        for one in others:
            one.settle()
        if self._output is None:
            return reported(returned)
        return self._output(batch, detached(outputs), reported(returned))

    def _forward(self, engine: Engine, batch: Any, turn: str | None) -> tuple[Any, Any]:
        contract, announce = self.contract, self._announce
        if announce.forward_started.calls:
            announce(announce.forward_started, batch=batch)
        if self._placement is None:
            outputs = contract.forward(engine, batch, turn)
        else:
            outputs = self._placement.call(contract.forward, engine, batch, turn)
        if announce.forward_completed.calls:
            announce(announce.forward_completed, outputs=outputs)
        if announce.loss_started.calls:
            announce(announce.loss_started, outputs=outputs)
        return outputs, contract.loss(outputs, batch)

    def _leave_it_to_the_model(self, engine: Engine, batch: Any) -> Any:
        """Forward alone; the model drives the optimization that its contract handed to it."""
        announce = self._announce
        if announce.forward_started.calls:
            announce(announce.forward_started, batch=batch)
        report = detached(self.contract.forward(engine, batch))
        if announce.forward_completed.calls:
            announce(announce.forward_completed, outputs=report)
        return report if self._output is None else self._output(batch, report, report)

    def _place(self, placement: Placement) -> None:
        """Train the model in several processes."""
        several = len(self.optimizations) > 1 or self._turns is not None
        alone = not several and not self.contract.optimizes_itself
        placement.bind(self.contract.model, one_backward=alone)
        for one in self.optimizations.values():
            one.placement = placement
            placement.own(one)

    def _named(self, name: str) -> Optimization:
        if name not in self.optimizations:
            raise ValueError(
                f"it is the turn of {name!r}, but the optimizers are "
                f"{', '.join(map(repr, self.optimizations))}.{nearest(name, self.optimizations)}"
            )
        return self.optimizations[name]


def training_step(
    model: nn.Module,
    optimizer: Optimizer | Optimization | Mapping[str, Optimizer | Optimization],
    loss: Any = None,
    *,
    contract: str | Contract | None = None,
    precision: str | Precision | None = None,
    accumulate: int | Mapping[int, int] | Accumulation | None = None,
    clip: Clip | Mapping[str, Clip] | None = None,
    turns: Turns | None = None,
    weigh: Weigh | None = None,
    output: Output | None = None,
    placement: Placement | None = None,
) -> TrainingStep:
    """A training step for a model, as the process function of an engine.

    Args:
        model: the model.
        optimizer: its optimizer; an :class:`.Optimization`; or several of either by name.
        loss: ``(y_pred, y) -> loss`` for a plain module; a dict of ``(model, batch) -> loss`` by
            optimizer; a batch processor; or nothing for a model with step methods.
        contract: how to get a loss from the model, if that is not to be found out: the name of a
            contract, or a :class:`.Contract`.
        precision: ``"fp32"``, ``"bf16"`` or ``"fp16"``.
        accumulate: batches that make one optimizer step, or ``{epoch: batches}``.
        clip: what bounds the gradients; by optimizer, where there are several.
        turns: whose turn it is in an iteration, where there are several optimizers; see
            :mod:`~footplate.engine.step.turns`.
        weigh: how many samples or tokens a batch's loss is the mean of; see :class:`TrainingStep`.
        output: what becomes of ``engine.state.output``; see :class:`TrainingStep`.
        placement: how several processes train the model as one.

    Raises:
        TypeError: if no contract fits.
        ValueError: for options that contradict each other, and for a parameter of the model that
            requires a gradient and is in no parameter group, or in two.

    Example:
        >>> import torch
        >>> from footplate import Engine
        >>> model = torch.nn.Linear(1, 1)
        >>> sgd = torch.optim.SGD(model.parameters(), lr=0.1)
        >>> trainer = Engine(training_step(model, sgd, torch.nn.functional.mse_loss), name="train")
        >>> batch = torch.ones(8, 1), torch.ones(8, 1)
        >>> losses = []
        >>> @trainer.on("ITERATION_COMPLETED")
        ... def note(engine):
        ...     losses.append(engine.state.output["loss"].item())
        >>> _ = trainer.run([batch] * 3)
        >>> losses[0] > losses[1] > losses[2]
        True
    """
    several = isinstance(optimizer, Mapping)
    given = dict(optimizer) if isinstance(optimizer, Mapping) else {"optimization": optimizer}
    clips = dict(clip) if isinstance(clip, Mapping) else dict.fromkeys(given, clip)
    if unknown := [name for name in clips if name not in given]:
        raise ValueError(
            f"clip= names {', '.join(map(repr, unknown))}, but the optimizers are "
            f"{', '.join(map(repr, given))}.{nearest(unknown[0], given)}"
        )
    options: dict[str, Any] = {"precision": precision, "accumulate": accumulate}
    optimizations = {
        name: _optimization(one, name, {**options, "clip": clips.get(name)})
        for name, one in given.items()
    }
    step = TrainingStep(
        contract_of(model, loss, contract),
        optimizations if several else optimizations["optimization"],
        turns=turns,
        weigh=weigh,
        output=output,
        placement=placement,
    )
    if not step.contract.deals_out:
        check_groups([one.optimizer for one in optimizations.values()], model)
    return step


def _optimization(one: Any, name: str, options: dict[str, Any]) -> Optimization:
    said = {key: value for key, value in options.items() if value is not None}
    if not isinstance(one, Optimization):
        return Optimization(one, name=name, **said)
    if said:
        raise ValueError(
            f"{', '.join(f'{key}=' for key in said)} can't be set for {name!r}, which is an "
            f"Optimization already; say it there."
        )
    return one


def _check(optimizations: Mapping[str, Optimization]) -> None:
    if not optimizations:
        raise ValueError("a training step needs an optimizer, and was given none.")
    for name, one in optimizations.items():
        if not isinstance(one, Optimization):
            raise TypeError(f"{name!r} is a {type(one).__name__}; give an Optimization.")


def _check_owners(optimizations: Mapping[str, Optimization]) -> None:
    owners: dict[int, str] = {}
    for name, one in optimizations.items():
        for parameter in one.parameters:
            if owners.setdefault(id(parameter), name) != name:
                raise ValueError(
                    f"{owners[id(parameter)]!r} and {name!r} share a parameter of shape "
                    f"{tuple(parameter.shape)}; each parameter belongs to one optimizer."
                )


def _flat(reports: Mapping[str, Any]) -> dict[str, Any]:
    """One report of several turns: the entries of each behind its name."""
    return {
        f"{turn}_{name}": value
        for turn, report in reports.items()
        for name, value in (report.items() if isinstance(report, Mapping) else [("output", report)])
        if report is not None
    }
