"""Runner: one object that composes model, data, optimizer, schedules, metrics and hooks."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterable, Mapping
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from pathlib import Path
from typing import Any, Never

from torch import nn

from ..engine.bus import Bus
from ..engine.checkpoints.store import CheckpointStore
from ..engine.emitter import Emitter
from ..engine.evaluating import measured
from ..engine.placement.disagreement import agree_or_raise
from ..engine.placement.ranks import is_first, rank
from ..engine.priority import Priority
from .composition.bundles import DEFAULT_HOOKS, LOG, LoggerHook
from .composition.facts import Facts
from .composition.folders import checkpoint_in, timestamp, work_dir_of
from .composition.hooking import Hooks, merged
from .composition.keeping import kept
from .composition.loaders import by_name
from .composition.log_file import log_file, named_by_rank
from .composition.loops import Around, EvaluationLoop, loop_as_engine, predicted
from .composition.mmengine.arguments import in_our_words
from .composition.saving import Saving
from .composition.settings import (
    Settings,
    arguments_in_files,
    own_arguments,
    problems_in,
    runner_problems,
)
from .composition.shared_facts import facts_of
from .config.layers import load
from .config.mmengine_names import enter_scope
from .config.objects import Objects
from .config.problems import ConfigError
from .config.registry import RUNNERS

__all__ = ["Runner"]

_NOT_GIVEN = ("self", "__class__", "objects", "misnamed")  # of the constructor's local names


@RUNNERS.register_module()
class Runner(Facts, Saving):
    """Trains, validates, tests and predicts, with what it is given.

    The arguments have the names and meanings of MMEngine's Runner; options of Lightning and wall_e
    are in the groups. Anything may be an object, or a mapping ``{type: …, **arguments}`` to build
    one of. All of it is checked first; the model is built at once, and everything else when it is
    needed: ``val()`` alone builds no optimizer and no training data. The engines
    (:attr:`trainer`, :attr:`validator`, :attr:`tester`, :attr:`predictor`) may be attached to
    before they run.

    Args:
        model: the model.
        work_dir: where runs are kept: in ``work_dir/experiment_name/time``.
        train_dataloader, val_dataloader, test_dataloader, predict_dataloader: the data; several
            loaders by name; or, in the place of one of them, a data module that brings all.
        train_cfg: how long to train and when to validate:
            :class:`~footplate.recipes.composition.options.TrainCfg`; or a loop of your own.
        val_cfg, test_cfg, predict_cfg: how to evaluate:
            :class:`~footplate.recipes.composition.options.EvalCfg`; or a loop of your own.
        auto_scale_lr: the linear scaling rule.
        optim_wrapper: the optimizer, with precision, accumulation and clipping; AdamW by default.
        param_scheduler: schedulers of torch or pytorch-ignite, one, several, or by optimizer.
        val_evaluator, test_evaluator: metrics of pytorch-ignite, torchmetrics, or with
            ``process`` and ``compute_metrics``.
        default_hooks: merged by name into those of every run; ``None`` takes one away.
        custom_hooks: handlers and hooks of your own.
        data_preprocessor: handed to a model that is built.
        load_from: weights to begin with, from a path, a URL or a name.
        resume: go on from the newest checkpoint of the experiment, ``"best"``, or a path; with
            ``load_from`` from that.
        launcher: what has launched this process and others: ``"pytorch"`` for torchrun, ``"slurm"``
            for srun, ``"mpi"`` for mpirun; ``"auto"`` finds out, and is for one process, too.
        env_cfg: device and process.
        log_processor: statistics of what is logged.
        log_level: the least level that ``run.log`` has of Python's logging.
        visualizer: where numbers and pictures go besides; ``False`` for nowhere.
        randomness: seed and determinism.
        experiment_name: by which runs are kept together; by default the time, for this run alone.
        compile: whether, or with which options, the model is compiled.
        model_wrapper_cfg: how several processes train the model: ``{type: "ddp", …}`` with options
            of :class:`~footplate.engine.placement.replicated.Replicated`, the default.
        default_scope: where MMEngine looks names up first, if it is imported; ours are in one
            place.
        cfg: the whole configuration, to be kept with the run.
        objects: what finds types; it may allow some alone.
        misnamed: nothing: here lands what is called by a name that is none of these.

    Raises:
        ConfigError: with all that is wrong with the arguments, misnamed ones among it.

    Example:
        >>> import tempfile, torch
        >>> batches = [(torch.ones(8, 1), torch.ones(8, 1))] * 4
        >>> runner = Runner(
        ...     torch.nn.Linear(1, 1),
        ...     tempfile.mkdtemp(),
        ...     train_dataloader=batches,
        ...     train_cfg=dict(max_epochs=3, loss=torch.nn.functional.mse_loss),
        ...     optim_wrapper=dict(optimizer=dict(type="SGD", lr=0.1)),
        ...     default_hooks=dict(logger=None, report=None),
        ... )
        >>> model = runner.train()
        >>> runner.epoch, runner.iter, (runner.folder / "checkpoints" / "00000012").is_dir()
        (3, 12, True)
    """

    def __init__(
        self,
        model: Any,
        work_dir: str | Path = "work_dirs",
        train_dataloader: Any = None,
        val_dataloader: Any = None,
        test_dataloader: Any = None,
        train_cfg: Any = None,
        val_cfg: Any = None,
        test_cfg: Any = None,
        auto_scale_lr: Any = None,
        optim_wrapper: Any = None,
        param_scheduler: Any = None,
        val_evaluator: Any = None,
        test_evaluator: Any = None,
        default_hooks: Mapping[str, Any] | None = None,
        custom_hooks: Iterable[Any] | None = None,
        data_preprocessor: Any = None,
        load_from: str | Path | None = None,
        resume: bool | str | Path = False,
        launcher: str = "none",
        env_cfg: Any = None,
        log_processor: Any = None,
        log_level: int | str = "INFO",
        visualizer: Any = None,
        default_scope: str | None = None,
        randomness: Any = None,
        experiment_name: str | None = None,
        cfg: Mapping[str, Any] | None = None,
        *,
        predict_dataloader: Any = None,
        predict_cfg: Any = None,
        compile: Any = None,
        model_wrapper_cfg: Mapping[str, Any] | None = None,
        objects: Objects | None = None,
        **misnamed: Never,
    ) -> None:
        given = {name: one for name, one in locals().items() if name not in _NOT_GIVEN}
        given = in_our_words({**given, **misnamed})
        self.objects = objects or Objects()
        enter_scope(default_scope, may_import=not self.objects.limited)
        if problems := problems_in(given, self.objects):
            raise ConfigError(problems)
        self.given: Mapping[str, Any] = given
        self.settings = Settings.of(given, self.objects)
        self.plain_config = kept(given, type(self))
        self.log_level, self._launcher = log_level, launcher
        self.device = self.setup_env()
        self.timestamp = timestamp()
        self.work_dir = Path(work_dir)
        self.experiment_name = experiment_name or self.timestamp
        self.experiment = self.work_dir / experiment_name if experiment_name else self.work_dir
        self.bus, self.engines, self._received = Bus(), [], {}
        self._emitter = Emitter(bus=self.bus, name="runner")
        self._loaded: Path | None = None  # the checkpoint or file whose weights the model has
        self._initialized = False  # whether the model's own weights were drawn when it was placed
        self._resumed = False  # whether training goes on, or had its weights loaded by hand
        self._depth = 0  # calls within calls
        self.around = Around()
        self._told: BaseException | None = None  # the last error that an engine has fired
        self.seed = self.set_randomness()
        self.note_seed()
        self.placement = self.build_placement(model_wrapper_cfg)
        self.model = self.wrap_model(self.build_model(model))
        self._hooks = Hooks(self, self._emitter, self.objects)
        self.register_hooks(default_hooks, custom_hooks)
        self.settle()

    @classmethod
    def from_cfg(cls, cfg: Any, *, overrides: Iterable[str] = (), **changes: Any) -> Runner:
        """A runner from a configuration.

        Args:
            cfg: a mapping, a path of YAML, or an OmegaConf; a ``Config`` of MMEngine, or the path
                of its file in Python, which is run.
            overrides: assignments that come last, ``"train_cfg.max_epochs=5"``.
            changes: arguments in the place of the configuration's; and ``objects``, which finds
                types.

        Raises:
            ConfigError: with all that is wrong with it.
        """
        names = arguments_in_files(Runner)
        values = load(cfg, overrides=tuple(overrides), arguments=names).values
        objects = changes.pop("objects", None) or Objects()
        arguments = in_our_words({"model": None, **values, **changes})
        enter_scope(arguments.get("default_scope"), may_import=not objects.limited)
        name = arguments.pop("runner_type", cls)
        if problems := runner_problems(name, objects, Runner):
            raise ConfigError([*problems_in(arguments, objects), *problems])
        kind = objects.find(name, RUNNERS)
        own = own_arguments(kind, arguments)
        if problems := problems_in(arguments, objects, kind):
            raise ConfigError(problems)
        runner: Runner = kind(**arguments, objects=objects)
        runner.plain_config.update(kept(own))
        return runner

    @classmethod
    def from_checkpoint(
        cls,
        path: str | Path,
        which: str = "last",
        *,
        overrides: Iterable[str] = (),
        objects: Objects | None = None,
        **changes: Any,
    ) -> Runner:
        """The runner that wrote a checkpoint: it tests its weights, or goes on with its training.

        Args:
            path: of a checkpoint, or of the folder of a run.
            which: of a run's checkpoints: ``"last"`` or ``"best"``.
            overrides: assignments that come last, ``"test_dataloader.batch_size=8"``.
            objects: what finds types; it may allow some alone.
            changes: arguments in the place of the configuration's.

        Raises:
            StateError: if there is no checkpoint.
            ConfigError: if its configuration held objects that no file can hold; give them.
        """
        found = checkpoint_in(Path(path), which)
        config = CheckpointStore(found.parent).manifest(found).config
        place = {"work_dir": str(work_dir_of(found, config)), "resume": str(found)}
        place["launcher"] = "auto"  # as it may be launched otherwise now
        config = {**config, **place, "load_from": None}
        return cls.from_cfg(config, overrides=overrides, **changes, objects=objects)

    # ------------------------------------------------------------------ what people call

    def train(self) -> nn.Module:
        """Train until a limit is reached; with a loop of your own, as long as that runs.

        Returns:
            the model.
        """
        with self._call("train"):
            loop = self.train_loop
            agree_or_raise(facts_of(self))
            trainer = self.trainer if self.needs_trainer(loop) else None
            if trainer is not None:
                self.check_measured("val", "train")
                self.renew_validation()
            self.call_hook("before_run")
            self.init_weights(self.model)
            self.load_or_resume(trainer)
            loop.run()
        return self.model

    def val(self) -> dict[str, Any]:
        """Validate; returns the metrics by name."""
        return self._evaluate("val")

    def test(self) -> dict[str, Any]:
        """Test; returns the metrics by name."""
        return self._evaluate("test")

    def predict(self, dataloader: Any = None, writer: Any = None) -> Any:
        """Predict.

        Args:
            dataloader: the data; by default ``predict_dataloader``, and else ``test_dataloader``.
            writer: a function ``(outputs, batch_idx)`` that is handed each batch's predictions, in
                place of gathering them.

        Returns:
            the predictions in the order of the data set, of several loaders by name; ``None`` with
            a writer.
        """
        with self._call("predict"):
            data = self.predict_dataloader if dataloader is None else dataloader
            data = self.build_dataloader(data, name="predict_dataloader")
            data = self.evaluation_data(data, self.settings.predict)
            engine, several = self.predictor, by_name(data)
            if several is not None and writer is not None:
                raise ValueError(
                    f"a writer is not told which loader a batch is of, given {', '.join(several)}; "
                    f"call predict(loader, writer) for each."
                )
            self.call_hook("before_run")
            self.load_or_resume()
            self.load_average(self.settings.predict)
            if several is None:
                return predicted(engine, data, writer)
            return {name: predicted(engine, one) for name, one in several.items()}

    # ------------------------------------------------------------------ hooks

    def register_hooks(
        self,
        default_hooks: Mapping[str, Any] | None = None,
        custom_hooks: Iterable[Any] | None = None,
    ) -> None:
        """Register those of every run, as changed, and then the user's own."""
        for name, hook in merged(default_hooks).items():
            self.register_hook(hook, name="" if name in DEFAULT_HOOKS else name)
        for hook in custom_hooks or ():
            self.register_hook(hook)

    def register_hook(
        self, hook: Any, priority: int | str | Priority | None = None, *, name: str = ""
    ) -> None:
        """Take a hook.

        Args:
            hook: an instance of a :class:`.Hook` or a :class:`.Handler`, or a mapping with
                ``type`` of one; besides its arguments it may have ``priority``, and a handler's
                ``on``: the engines that it goes to, by default ``"train"``.
            priority: beats the mapping's, which beats the class's own.
            name: what it is called; by default its own name.

        Raises:
            HandlerError: if its methods could not be called as they are.
        """
        self._hooks.register(hook, priority, name)

    def call_hook(self, fn_name: str, **payload: Any) -> None:
        """Call the method of this name of every hook that has it, in their order.

        It is an event of this name on :attr:`bus`, too.

        Args:
            fn_name: any name.
            payload: what is handed to the methods that ask for it by name.
        """
        if self.around.passes_over(fn_name):
            return
        if not self._emitter.has_registered_events(fn_name):
            self._emitter.register_events(fn_name)
        self._emitter.fire_event(fn_name, **payload)

    call_hooks = call_hook

    # ------------------------------------------------------------------ parts of these

    def _evaluate(self, name: str) -> dict[str, Any]:
        with self._call(name):
            loop = self.val_loop if name == "val" else self.test_loop
            own = not isinstance(loop, EvaluationLoop)
            engine = loop_as_engine(lambda: loop, self, name) if own else None
            self.check_measured(name, name)
            self.call_hook("before_run")
            self.load_or_resume()
            self.load_average(self.settings.val if name == "val" else self.settings.test)
            return loop.run() if engine is None else measured(engine, [None])

    @contextmanager
    def _call(self, stage: str) -> Generator[None, None, None]:
        """Around whatever a call does: what hooks hear of it, and what is let go of."""
        failure: BaseException | None = None
        self._told = None
        self._depth += 1
        with self._logged():
            try:
                self.call_hook("setup", stage=stage)
                self.guest.set_up(stage)
                yield
            except BaseException as error:
                failure = error
                raise
            finally:
                self._depth -= 1
                self._end_call(stage, failure)

    def _logged(self) -> AbstractContextManager[None]:
        """Have what the library says written to the run's log, if there is a logger."""
        if self._depth > 1 or not any(isinstance(one, LoggerHook) for one in self.hooks):
            return nullcontext()
        if not is_first():
            return named_by_rank(rank())
        return log_file(self.folder / LOG, self.log_level)

    def _end_call(self, stage: str, failure: BaseException | None) -> None:
        """Tell the hooks, all of them, whatever they raise; and let go of a data module's data."""
        failures: list[BaseException] = []
        if failure is not None and failure is not self._told:
            failures += self._call_all("on_exception", exception=failure)
        failures += self._call_all("after_run")
        failures += self._call_all("teardown", stage=stage)
        ends: list[Callable[[], None]] = [] if self._depth else [self.let_go_of_data]
        ends.append(partial(self.guest.tear_down, stage))
        for end in ends:
            try:
                end()
            except BaseException as error:
                failures.append(error)
        if failure is not None:
            for other in failures:
                failure.add_note(f"besides, {type(other).__name__}: {other}")
        elif len(failures) == 1:
            raise failures[0]
        elif failures:
            raise BaseExceptionGroup(f"hooks failed when {stage}() ended", failures)

    def _call_all(self, fn_name: str, **payload: Any) -> list[BaseException]:
        """Call a hook that ends something; every one is called, and what they raise returned."""
        if not self._emitter.has_registered_events(fn_name):
            return []
        return self._emitter.channels[fn_name].deliver_all(self._emitter, payload)
