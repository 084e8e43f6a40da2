"""Loops: what a call of the runner does; the default ones, and the base of your own."""

from __future__ import annotations

import inspect
from abc import ABC, abstractmethod
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from torch import nn

from ...engine.data.dataset import meta_of
from ...engine.data.even import even
from ...engine.engine import Engine
from ...engine.evaluating import measured
from ...engine.events import Event, Events
from ...engine.step.contracts import Contract
from ...engine.step.evaluation import EvaluationStep
from ...engine.workflow import Workflow
from ...handlers.predictions import Predictions
from ..config.registry import LOOPS
from .limits import check_limits
from .loaders import by_name
from .options import EvalCfg, TrainCfg
from .points import POINTS

if TYPE_CHECKING:
    from ..runner import Runner

__all__ = [
    "Around",
    "BaseLoop",
    "EpochBasedTrainLoop",
    "EvaluationLoop",
    "IterBasedTrainLoop",
    "TestLoop",
    "TrainLoop",
    "ValLoop",
    "is_ours",
    "loop_as_engine",
    "of_loop",
    "predicted",
]


class BaseLoop(ABC):
    """Base of loops: :meth:`run` is all that a call of the runner does.

    A loop of your own, registered with ``LOOPS.register_module()``, takes the place of a default
    one by ``val_cfg=dict(type="MyLoop", …)``. It may fire any points with
    ``self.runner.call_hook(name, …)``. A validation loop runs where the default one would, behind
    each epoch of training say, with the model in evaluation mode and without gradients.

    Args:
        runner: the runner.
        dataloader: a loader, or a mapping to build one of.
        evaluator: metrics, or what to build them of.

    Attributes:
        engine_name: which of the runner's engines has the step that :meth:`run_iter` takes.

    Example:
        >>> import tempfile, torch
        >>> from footplate import Runner
        >>> @LOOPS.register_module()
        ... class Range(BaseLoop):
        ...     def run(self):
        ...         outputs = torch.cat([self.runner.model(x) for x, y in self.dataloader])
        ...         return {"range": (outputs.max() - outputs.min()).item()}
        >>> model = torch.nn.Linear(1, 1)
        >>> runner = Runner(
        ...     model,
        ...     tempfile.mkdtemp(),
        ...     val_dataloader=[(torch.ones(4, 1), torch.ones(4, 1))] * 2,
        ...     val_cfg=dict(type="Range"),
        ...     default_hooks=dict(logger=None, report=None),
        ... )
        >>> runner.val()
        {'range': 0.0}
    """

    engine_name = "validator"

    def __init__(self, runner: Runner, dataloader: Any, evaluator: Any = None) -> None:
        self._runner = runner
        self.dataloader = runner.build_dataloader(dataloader)
        self.evaluator = runner.build_evaluator(evaluator)
        if self.evaluator is not None and (meta := meta_of(self.dataloader)) is not None:
            self.evaluator.dataset_meta = meta

    @property
    def runner(self) -> Runner:
        """The runner."""
        return self._runner

    @abstractmethod
    def run(self) -> Any:
        """Do all of it."""

    def run_iter(self, idx: int, data_batch: Any) -> Any:
        """Evaluate a batch: what the model answers, which the evaluator has taken in.

        Args:
            idx: the batch's number.
            data_batch: the batch.
        """
        engine: Engine = getattr(self.runner, self.engine_name)
        outputs = engine.process(self.runner.to_device(data_batch))
        if self.evaluator is not None:
            self.evaluator.process(data_samples=outputs, data_batch=data_batch)
        return outputs


class TrainLoop(BaseLoop):
    """Base of the default loops of training: they run the train engine.

    Args:
        runner: the runner.
        dataloader: the training data.
        options: as :class:`~footplate.recipes.composition.options.TrainCfg` has them.

    Example:
        >>> import tempfile, torch
        >>> from footplate import Runner
        >>> class Twice(EpochBasedTrainLoop):
        ...     def run(self):
        ...         super().run()
        ...         self.options = TrainCfg(max_epochs=2 * self.options.max_epochs)
        ...         return super().run()
        >>> _ = LOOPS.register_module(Twice)
        >>> runner = Runner(
        ...     torch.nn.Linear(1, 1),
        ...     tempfile.mkdtemp(),
        ...     train_dataloader=[(torch.ones(4, 1), torch.ones(4, 1))],
        ...     train_cfg=dict(type="Twice", max_epochs=2, loss=torch.nn.functional.mse_loss),
        ...     optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        ...     default_hooks=dict(logger=None, report=None),
        ... )
        >>> model = runner.train()
        >>> runner.epoch
        4
    """

    by_epoch = True

    def __init__(self, runner: Runner, dataloader: Any, **options: Any) -> None:
        super().__init__(runner, dataloader)
        self.options = TrainCfg(**{"by_epoch": self.by_epoch, **options})

    def run(self) -> nn.Module:
        """Train until a limit is reached.

        Returns:
            the model.

        Raises:
            ConfigError: if a run that goes on has passed the limit, or counts by the other one.
        """
        options, trainer = self.options, self.runner.trainer
        check_limits(trainer.state, options)
        data = even(self.runner.training_data(self.dataloader))
        if options.workflow is not None:
            self._take_turns(trainer, data, options.workflow)
        else:
            length = None if options.batches else options.epoch_length
            trainer.run(data, epoch_length=length, **options.limits)
        return self.runner.model

    def _take_turns(self, trainer: Engine, data: Any, workflow: Sequence[Sequence[Any]]) -> None:
        phases = [(name, number) for name, number in workflow]
        engines = {"train": trainer}
        if any(name == "val" for name, _ in phases):
            engines["val"] = self.runner.validator
        loaders = [data if name == "train" else self.runner.one_val_loader for name, _ in phases]
        unit = "epoch" if self.options.by_epoch else "iteration"
        turns = Workflow(phases, engines, unit)
        try:
            turns.run(loaders, **self.options.limits)
        finally:
            turns.detach()


@LOOPS.register_module()
class EpochBasedTrainLoop(TrainLoop):
    """Trains; what is said in intervals counts epochs.

    Example:
        >>> import tempfile, torch
        >>> from footplate import Runner
        >>> runner = Runner(
        ...     torch.nn.Linear(1, 1),
        ...     tempfile.mkdtemp(),
        ...     train_dataloader=[(torch.ones(4, 1), torch.ones(4, 1))] * 5,
        ...     train_cfg=dict(
        ...         type="EpochBasedTrainLoop", max_epochs=2, loss=torch.nn.functional.mse_loss
        ...     ),
        ...     optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        ...     default_hooks=dict(logger=None, report=None),
        ... )
        >>> model = runner.train()
        >>> runner.epoch, runner.iter
        (2, 10)
    """


@LOOPS.register_module()
class IterBasedTrainLoop(TrainLoop):
    """Trains; what is said in intervals counts iterations.

    Example:
        >>> import tempfile, torch
        >>> from footplate import Runner
        >>> runner = Runner(
        ...     torch.nn.Linear(1, 1),
        ...     tempfile.mkdtemp(),
        ...     train_dataloader=[(torch.ones(4, 1), torch.ones(4, 1))] * 5,
        ...     train_cfg=dict(
        ...         type="IterBasedTrainLoop", max_iters=7, loss=torch.nn.functional.mse_loss
        ...     ),
        ...     optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        ...     default_hooks=dict(logger=None, report=None),
        ... )
        >>> model = runner.train()
        >>> runner.iter
        7
    """

    by_epoch = False


class EvaluationLoop(BaseLoop):
    """Base of the default loops of evaluation: they run an engine over one loader or several.

    Args:
        runner: the runner.
        dataloader: the data; several by name.
        evaluator: the metrics, which the engine has.
        options: as :class:`~footplate.recipes.composition.options.EvalCfg` has them.

    Example:
        >>> import tempfile, torch
        >>> from ignite.metrics import MeanSquaredError
        >>> from footplate import Runner
        >>> runner = Runner(
        ...     torch.nn.Identity(),
        ...     tempfile.mkdtemp(),
        ...     val_dataloader=[(torch.ones(4, 1), torch.zeros(4, 1))],
        ...     val_evaluator=dict(mse=MeanSquaredError()),
        ...     default_hooks=dict(logger=None, report=None),
        ... )
        >>> runner.val()
        {'mse': 1.0}
    """

    def __init__(
        self, runner: Runner, dataloader: Any, evaluator: Any = None, **options: Any
    ) -> None:
        super().__init__(runner, dataloader)
        self.options = EvalCfg(**options)

    def run(self) -> dict[str, Any]:
        """Evaluate.

        Returns:
            the metrics by name; of several loaders with the loaders' names before them.
        """
        engine: Engine = getattr(self.runner, self.engine_name)
        data = self.runner.evaluation_data(self.dataloader, self.options)
        data = self.runner.guest.together(data)
        if (several := by_name(data)) is None:
            return measured(engine, data)
        return {
            f"{name}_{metric}": value
            for name, one in several.items()
            for metric, value in measured(engine, one).items()
        }


@LOOPS.register_module()
class ValLoop(EvaluationLoop):
    """Validates.

    Example:
        >>> @LOOPS.register_module()
        ... class LoudLoop(ValLoop):
        ...     def run(self):
        ...         metrics = super().run()
        ...         print("validated:", metrics)
        ...         return metrics
        >>> import tempfile, torch
        >>> from ignite.metrics import MeanSquaredError
        >>> from footplate import Runner
        >>> runner = Runner(
        ...     torch.nn.Identity(),
        ...     tempfile.mkdtemp(),
        ...     val_dataloader=[(torch.ones(4, 1), torch.zeros(4, 1))],
        ...     val_cfg=dict(type="LoudLoop"),
        ...     val_evaluator=dict(mse=MeanSquaredError()),
        ...     default_hooks=dict(logger=None, report=None),
        ... )
        >>> _ = runner.val()
        validated: {'mse': 1.0}
    """


@LOOPS.register_module()
class TestLoop(EvaluationLoop):
    """Tests.

    Example:
        >>> import tempfile, torch
        >>> from ignite.metrics import MeanSquaredError
        >>> from footplate import Runner
        >>> batches = [(torch.ones(4, 1), torch.zeros(4, 1))] * 4
        >>> runner = Runner(
        ...     torch.nn.Identity(),
        ...     tempfile.mkdtemp(),
        ...     test_dataloader=batches,
        ...     test_cfg=dict(type="TestLoop", limit_batches=2),
        ...     test_evaluator=dict(mse=MeanSquaredError()),
        ...     default_hooks=dict(logger=None, report=None),
        ... )
        >>> runner.test()
        {'mse': 1.0}
    """

    engine_name = "tester"
    __test__ = False  # pytest takes it for a test by its name


def is_ours(loop: Any) -> bool:
    """Whether a loop is a default one, or derived from one, and takes its group of options."""
    return inspect.isclass(loop) and issubclass(loop, (TrainLoop, EvaluationLoop))


def of_loop(
    loop: Callable[..., Any], given: Mapping[str, Any]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """What of some options a loop takes for itself, and what is left for the runner's group.

    A loop that takes any keywords is given all of them, unless it is one of ours.

    Args:
        loop: its class.
        given: the options, ``type`` among them, which is the loop's.
    """
    parameters = inspect.signature(loop).parameters
    takes_any = any(one.kind is one.VAR_KEYWORD for one in parameters.values())
    names = {"type", *(given if takes_any and not is_ours(loop) else parameters)}
    own = {name: value for name, value in given.items() if name in names}
    return own, {name: value for name, value in given.items() if name not in names}


class _WholeLoop(Contract):
    """A loop of the user's, in the place of a model that evaluates one batch."""

    name = "loop"
    needs = "a loop"

    def __init__(self, runner: Runner, loop: Callable[[], BaseLoop]) -> None:
        super().__init__(runner.model)
        self._runner = runner
        self._loop = loop

    def evaluate(self, engine: Engine, batch: Any) -> Any:
        """Run the loop; hooks are told that it begins, and with its metrics that it is over."""
        with self._runner.around.loop(self._runner, engine):
            engine.state.output = self._loop().run()
            if isinstance(engine.state.output, Mapping):
                engine.state.metrics.update(engine.state.output)
        return engine.state.output


class Around:
    """The points around a loop of the user's: hooks are told each of them, and once.

    A loop may tell them itself, as MMEngine's do. Those of the beginning are told before it runs,
    and passed over when it first tells them; those of the end behind it, unless it told them.
    """

    def __init__(self) -> None:
        self._ahead: set[str] = set()
        self._within: set[str] = set()

    def passes_over(self, name: str) -> bool:
        """Whether a point was told already, before the loop that tells it now."""
        self._within.add(name)
        if name not in self._ahead:
            return False
        self._ahead.discard(name)
        return True

    @contextmanager
    def loop(self, runner: Runner, engine: Engine) -> Generator[None, None, None]:
        """Tell the points around a loop, which is an engine's only iteration."""
        told: dict[str, Any] = {"engine": engine, "stage": engine.name}
        begins = list(_points_at(engine, Events.STARTED, Events.EPOCH_STARTED))
        for name in begins:
            runner.call_hook(name, **told)
        self._ahead, self._within = set(begins), set()
        try:
            yield
        finally:
            self._ahead = set()
        told["metrics"] = engine.state.metrics
        ends = list(_points_at(engine, Events.EPOCH_COMPLETED, Events.COMPLETED))
        for name in [name for name in ends if name not in self._within]:
            runner.call_hook(name, **told)


def _points_at(engine: Engine, *events: Event) -> Iterator[str]:
    for event in events:
        for point in POINTS.values():
            if point.event == event and engine.name in point.roles:
                yield point.name


def loop_as_engine(loop: Callable[[], BaseLoop], runner: Runner, name: str) -> Engine:
    """An engine whose single iteration is a loop; its metrics are what the loop returns.

    Args:
        loop: tells the loop.
        runner: the runner.
        name: the engine's name.
    """
    contract = _WholeLoop(runner, loop)
    return Engine(EvaluationStep(contract), bus=runner.bus, name=name)


def predicted(engine: Engine, data: Any, writer: Callable[..., Any] | None = None) -> Any:
    """What an engine predicts of data, in their order; ``None`` if a writer is handed it."""
    gathered = engine.attach(Predictions(writer))
    try:
        measured(engine, data)
    finally:
        engine.detach(gathered)
    return gathered.outputs
