"""Facts of a runner, as the trainer of a LightningModule is asked for them."""

from __future__ import annotations

import math
from collections.abc import Mapping
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ....engine.amount import Amount
from ....engine.engine import Engine
from ....engine.hyper_parameters import hyper_parameters
from ....engine.minimum import Minimum
from ....engine.source import length_of
from ....engine.step.lightning.run_facts import RunFacts
from ....engine.stream.sink import Sink
from ..bundles import LoggerHook
from ..loaders import by_name
from ..validation import run_length

if TYPE_CHECKING:
    from ...runner import Runner

__all__ = ["RunnerFacts"]


class RunnerFacts(RunFacts):
    """What a runner knows of its run before it has begun, too.

    Args:
        runner: the runner.
    """

    def __init__(self, runner: Runner) -> None:
        self._runner = runner
        options = runner.settings.train
        self.fast_dev_run = options.fast_dev_run
        self.min_epochs = options.min_epochs or None
        self.min_steps = options.min_steps or None
        self.max_time = options.max_time
        self.num_sanity_val_steps = options.sanity_check
        self.reload_dataloaders_every_n_epochs = options.reload_every or 0
        self.overfit_batches = _amount(options.overfit_batches) if options.overfit_batches else 0.0
        interval, iters = _amount(options.val_interval or 1), options.val_iters
        by_epoch = options.by_epoch and isinstance(interval, int)
        self.check_val_every_n_epoch = interval if by_epoch else 1 if options.by_epoch else None
        within = 1.0 if by_epoch else interval
        self.val_check_interval = within if iters is None else _amount(iters)

    @property
    def log_every_n_steps(self) -> int:  # type: ignore[override]
        """Iterations from one log point to the next."""
        found = (one for one in self._runner.hooks if isinstance(one, LoggerHook))
        hook = next(found, None)
        window = self._runner.settings.log_processor.window_size
        return (None if hook is None else hook.interval) or window or 50

    def max_epochs(self, trainer: Engine | None) -> int | None:
        """Epochs of training in all; ``None`` where iterations limit it, -1 for no end."""
        limit = self._runner.settings.train.limits.get("max_epochs")
        return None if limit is None else -1 if limit == math.inf else int(limit)

    def max_steps(self, trainer: Engine | None) -> int:
        """Optimizer steps in all; -1 for no limit."""
        options = self._runner.settings.train
        limit = options.max_steps or options.limits.get("max_iters")
        return -1 if limit is None or limit == math.inf else int(limit)

    def stepping_batches(self, trainer: Engine | None, accumulate: int) -> float:
        """Optimizer steps that the run will have taken at its end; infinite for no end."""
        runner = self._runner
        steps = run_length(runner.settings.train, runner.batches_in_epoch, accumulate)("step")
        return math.inf if steps is None else steps

    def batches(self, role: str, engine: Engine | None) -> Any:
        """Batches of an engine's epoch, of several loaders each; infinite if not known."""
        if not self._runner.has_loader(role):
            return None
        if role == "train":
            known = self._runner.batches_in_epoch()
            return math.inf if known is None else known
        loader = getattr(self._runner, f"{role}_dataloader")
        options = getattr(self._runner.settings, role)
        several = by_name(loader) or {"": loader}
        data = [self._runner.evaluation_data(one, options) for one in several.values()]
        lengths = [length_of(one) for one in data]
        return [math.inf if one is None else one for one in lengths]

    def limit(self, role: str) -> Any:
        """What part of an engine's data is taken, or how many batches."""
        settings = self._runner.settings
        amount = getattr(settings, role).limit_batches
        return 1.0 if amount is None else _amount(amount)

    def loader(self, role: str, engine: Engine | None) -> Any:
        """An engine's data; several in a list."""
        if not self._runner.has_loader(role):
            return None
        loader = getattr(self._runner, f"{role}_dataloader")
        several = by_name(loader)
        return loader if several is None or role == "train" else list(several.values())

    def loader_idx(self, role: str, engine: Engine) -> int | None:
        """The number of the loader that is predicted of, where there are several."""
        if role != "predict" or by_name(vars(self._runner).get("predict_dataloader")) is None:
            return None
        return self._runner.dataloader_idx(engine)

    def folder(self) -> str | None:
        """The run's folder."""
        return str(self._runner.folder)

    def sinks(self, engine: Engine | None) -> list[Sink]:
        """The visualizer's."""
        return self._runner.sinks

    def minimum(self) -> Minimum:
        """What a run does before it may be stopped."""
        return self._runner.minimum

    def note_hyper_parameters(self, values: Mapping[str, Any]) -> None:
        """Keep them with the configuration."""
        noted: dict[str, Any] = {}
        for name, value in values.items():
            with suppress(TypeError):  # of what no file can hold
                noted.update(hyper_parameters({name: value}))
        config = self._runner.plain_config
        config["model"] = {**noted, **config.get("model", {})}


def _amount(given: Any) -> Any:
    """A count, or a part of all, as Lightning says it."""
    amount = Amount.of(given)
    return amount.count if amount.fraction is None else float(amount.fraction)
