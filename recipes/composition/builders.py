"""Builders: how a runner's parts are made; each may be made otherwise in a subclass."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import torch
from torch import nn

from ...engine.combined import combined
from ...engine.data.device import DeviceLoader, move
from ...engine.limited import limited, overfit
from ...engine.placement.placement import Placement
from ...engine.placement.ranks import world_size
from ...engine.random import seed_all, set_deterministic
from ...engine.step.compiling import compile_model
from ...engine.step.optimization import Optimization
from ...engine.step.recompute import recompute_activations
from ...engine.step.scaling import auto_scale_lr
from ...engine.stream.sink import Sink
from ...handlers.lr_schedule import LRSchedule
from ..config.objects import Objects
from ..config.registry import LOOPS, MODELS
from .evaluators import Evaluator, metrics_of
from .guests import Guest, guest_of
from .loaders import by_name, dataloader, is_several
from .loops import BaseLoop, is_ours, of_loop
from .mmengine.loops import is_mmengine_loop, offered_to
from .optimizers import optimizations
from .options import EvalCfg
from .placements import placement_of
from .schedules import schedules
from .settings import Settings
from .sinks import sinks_of
from .surroundings import set_up
from .validation import validation_events

__all__ = ["Builders"]


class Builders:
    """The set-up steps of a runner, in the order in which they are taken.

    A subclass may override any of them. What is given as an instance is taken as it is.
    """

    settings: Settings
    objects: Objects
    given: Mapping[str, Any]
    model: nn.Module
    device: torch.device
    placement: Placement
    seed: int
    run_length: Any
    resumed_seed: Callable[[], int | None]
    init_weights: Callable[[nn.Module], None]

    # ------------------------------------------------------------------ the process

    def setup_env(self) -> torch.device:
        """Set what ``env_cfg`` says, join the other processes, and find the device."""
        deterministic = bool(self.settings.randomness.deterministic)
        launcher = self.given.get("launcher") or "none"
        return set_up(self.settings.env, launcher=launcher, deterministic=deterministic)

    def set_randomness(self) -> int:
        """Seed all random number generators; returns the seed.

        Without one it is that of the run that is resumed, as the order of its data follows from it.
        """
        options = self.settings.randomness
        seed = self.resumed_seed() if options.seed is None else options.seed
        set_deterministic(options.deterministic)
        return seed_all(seed, diff_rank_seed=options.diff_rank_seed)

    # ------------------------------------------------------------------ the model

    def build_placement(self, given: Mapping[str, Any] | None) -> Placement:
        """Where the model runs, and how several processes train it as one."""
        return placement_of(given, self.objects, self.device)

    def build_model(self, model: Any) -> nn.Module:
        """The model."""
        offered = {}
        if (preprocessor := self.given.get("data_preprocessor")) is not None:
            offered["data_preprocessor"] = self.objects.build(
                preprocessor, MODELS, path="data_preprocessor"
            )
        if isinstance(model, Mapping):
            offered = {name: one for name, one in offered.items() if name not in model}
        made: nn.Module = self.objects.build(model, MODELS, path="model", **offered)
        return made

    @cached_property
    def guest(self) -> Guest:
        """What a model of another system brings along."""
        return guest_of(self.model, self)  # type: ignore[arg-type]

    def wrap_model(self, model: nn.Module) -> nn.Module:
        """The model where it runs; with recomputed activations, and compiled, if asked for."""
        if which := self.settings.train.recompute:
            recompute_activations(model, *([which] if isinstance(which, str) else which))
        if options := self.given.get("compile"):
            compile_model(model, options)
        if self.placement.several:  # behind it all have the first one's weights
            self.init_weights(model)
        return self.placement.place(model)

    # ------------------------------------------------------------------ data and metrics

    def build_dataloader(
        self, given: Any, seed: int | None = None, *, name: str = "dataloader"
    ) -> Any:
        """A loader, or several by name."""
        return dataloader(
            _with_options(given, self.guest.loader_options()),
            self.objects,
            path=name,
            seed=self.seed if seed is None else seed,
            evaluates=not name.startswith("train"),
        )

    def build_evaluator(self, given: Any) -> Evaluator | None:
        """Metrics to be driven by hand."""
        if given is None or isinstance(given, Evaluator):
            return given
        return Evaluator(metrics_of(given, self.objects, "evaluator"))

    def to_device(self, batch: Any) -> Any:
        """A batch on the model's device."""
        return move(batch, self.device)

    def training_data(self, loader: Any) -> Any:
        """The training data as the train engine runs over them."""
        options = self.settings.train
        if is_several(loader):
            loader = combined(loader, options.combine or self.guest.combine)
        if options.overfit_batches is not None:
            loader = overfit(loader, options.overfit_batches)
        amount = options.batches or options.limit_batches
        return self._on_device(loader if amount is None else limited(loader, amount))

    def evaluation_data(self, loader: Any, options: EvalCfg) -> Any:
        """Data as an engine evaluates them; several by name."""
        if (several := by_name(loader)) is not None:
            return {name: self.evaluation_data(one, options) for name, one in several.items()}
        return self._on_device(self._limited(loader, options.limit_batches))

    def _limited(self, loader: Any, amount: Any) -> Any:
        """The data that an evaluation takes; in a trial fewer."""
        amount = self.settings.train.batches or amount
        return loader if amount is None else limited(loader, amount)

    def _for_own_loop(self, name: str, loader: Any, own: Mapping[str, Any]) -> Any:
        """The data of a loop of the user's; one that takes a limit itself has it all."""
        if name == "train_cfg":
            return loader
        group = self.settings.val if name == "val_cfg" else self.settings.test
        if (several := by_name(loader)) is not None:
            return {key: self._for_own_loop(name, one, own) for key, one in several.items()}
        return self._limited(loader, None if "limit_batches" in own else group.limit_batches)

    def _on_device(self, loader: Any) -> Any:
        stays = self.device.type == "cpu" or self.guest.moves_batches
        return loader if stays else DeviceLoader(loader, self.device)

    # ------------------------------------------------------------------ optimizers

    def build_optim_wrapper(self, given: Any) -> Optimization | dict[str, Optimization]:
        """The optimization of the model, or several by name."""
        if (own := self.guest.optimizations(given)) is not None:
            return own
        given = self.placement.optimizer(self.model) if given is None else given
        return optimizations(given, self.model, self.objects)

    def scale_lr(self, wrappers: Mapping[str, Optimization], batch_size: int | None) -> float:
        """Multiply learning rates by the linear scaling rule; returns the factor."""
        rule = self.settings.auto_scale_lr
        if rule is None or not rule.enable:
            return 1.0
        if batch_size is None:
            raise ValueError(
                "auto_scale_lr needs the size of a batch, which train_dataloader does not tell; "
                "give it a loader with batch_size, or leave the rule out."
            )
        factor = 1.0
        for one in wrappers.values():
            samples = batch_size * one.accumulation.size_in(1) * world_size()
            factor = auto_scale_lr(
                one.optimizer, base_batch_size=rule.base_batch_size, batch_size=samples
            )
        self.guest.rescaled(wrappers, factor)
        return factor

    def build_param_scheduler(
        self, given: Any, wrappers: Mapping[str, Optimization]
    ) -> list[LRSchedule]:
        """The handlers that move the optimizers' schedulers."""
        optimizers = {name: one.optimizer for name, one in wrappers.items()}
        return schedules(
            given, optimizers, self.objects, self.run_length, validation_events(self.settings.train)
        )

    # ------------------------------------------------------------------ loops and sinks

    def build_loop(
        self, name: str, default: type[BaseLoop], loader: Any, evaluator: Any = None
    ) -> BaseLoop:
        """The default loop with its options, or the user's own.

        Args:
            name: the argument that says so: ``"val_cfg"``.
            default: the loop where it names none.
            loader: the data, or a mapping to build a loader of.
            evaluator: metrics.
        """
        given = self.given.get(name)
        if given is not None and not isinstance(given, Mapping):  # a group of options
            given = vars(given)
        options = dict(given or {})
        kind = self.objects.find(options.get("type", default), LOOPS)
        if not is_ours(kind):
            options, _ = of_loop(kind, options)
            loader = self._for_own_loop(name, loader, options)
        options.pop("type", None)
        names = inspect.signature(kind).parameters
        offered = {"runner": self, "dataloader": loader, "evaluator": evaluator}
        if is_mmengine_loop(kind):
            offered = offered_to(kind, offered, self)  # type: ignore[arg-type]
        offered = {key: value for key, value in offered.items() if key in names}
        loop: BaseLoop = kind(**{**offered, **options})
        return loop

    def build_visualizer(self, given: Any, folder: Path, config: Mapping[str, Any]) -> list[Sink]:
        """The places that numbers and pictures are written to, besides JSON lines."""
        return sinks_of(given, self.objects, folder, config)


def _with_options(given: Any, options: Mapping[str, Any]) -> Any:
    """Mappings of loaders of a data set, with options that they don't say."""
    if isinstance(given, Mapping) and "dataset" in given:
        return {**options, **given}
    if isinstance(given, Mapping) and options:
        return {name: _with_options(one, options) for name, one in given.items()}
    if type(given) in (list, tuple):
        return type(given)(_with_options(one, options) for one in given)
    return given
