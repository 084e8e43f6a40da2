"""Lightning's callbacks in a runner: which there are, in which order, and which are refused."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ....engine.engine import Engine
from ....engine.errors import HandlerError
from ....engine.handler import Handler
from ....engine.step.guests import descends_from
from ....engine.step.lightning.calling import PACKAGES
from ....engine.step.lightning.overridden import overridden

if TYPE_CHECKING:
    from ...runner import Runner

__all__ = ["REFUSED", "LightningCallback", "in_order"]


REFUSED: Mapping[str, tuple[str, str]] = {
    "BasePredictionWriter": (
        "it asks the trainer's loop for the numbers of the samples that were predicted of",
        "runner.predict(writer=function), which is handed each batch's predictions",
    ),
    "BatchSizeFinder": (
        "it runs the trainer's loops itself",
        "footplate.engine.step.batch_size_finder.find_batch_size(…)",
    ),
    "GradientAccumulationScheduler": (
        "it sets the trainer's accumulation, which a run that is resumed would not know of",
        "optim_wrapper=dict(accumulative_counts={1: 8, 5: 4}), whose epochs count from 1",
    ),
    "LearningRateFinder": (
        "it runs the trainer's loops itself",
        "footplate.engine.step.lr_finder.find_lr(runner.trainer, loader)",
    ),
    "OnExceptionCheckpoint": (
        "its file is taken away when a call is torn down, which is done behind an error, too",
        "default_hooks.checkpoint, which keeps one of a run that has failed",
    ),
    "ProgressBar": (
        "it draws where the run's own bar does, and asks the trainer's loops what is to come",
        "default_hooks=dict(logger=dict(progress_bar=True))",
    ),
    "SpikeDetection": (
        "its state can't be saved, as it names what the callback does not have",
        "custom_hooks=[StopOnNonFinite()] of footplate.handlers.non_finite",
    ),
    "StochasticWeightAveraging": (
        "it takes over the trainer's loop, schedulers and optimizer",
        "custom_hooks=[dict(type='SWA', start=3)], val_cfg=dict(averaged='swa')",
    ),
    "ThroughputMonitor": (
        "it looks into the trainer's loops and Lightning's own plugin of precision",
        "what is always logged: time, data_time, samples/s",
    ),
}
"""By class, why a callback is not called, and what there is in its place."""


class LightningCallback:
    """A callback of Lightning, as a hook of a runner whose model is a LightningModule.

    The module's hooks and all callbacks are called by one handler, in Lightning's order; so this
    brings none of its own.

    Args:
        callback: the callback.

    Raises:
        HandlerError: for one that reaches into parts of Lightning's trainer that there are not.
    """

    def __init__(self, callback: Any) -> None:
        for name, (why, instead) in REFUSED.items():
            if descends_from(callback, name, *PACKAGES):
                kind = type(callback).__name__
                kind = kind if kind == name else f"{kind}, a {name},"
                raise HandlerError(
                    f"{kind} is not called here: {why}. In its place there is {instead}."
                )
        self.callback = callback

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """None; the guest is told that there is another callback.

        Raises:
            HandlerError: if the model is no LightningModule.
        """
        life = getattr(runner.guest, "life", None)
        if life is None:
            raise HandlerError(
                f"{type(self.callback).__name__} is a callback of Lightning, whose hooks are given "
                f"a LightningModule, but the model is a {type(runner.model).__name__}; derive from "
                f"Hook, which has the same points."
            )
        life.gather()
        yield from ()


def in_order(given: Sequence[Any], of_the_module: Sequence[Any]) -> list[Any]:
    """All callbacks as Lightning orders them: those that save last.

    Of a class of which the module brings one, the given ones are left out.

    Args:
        given: those of the runner, in the order of their registration.
        of_the_module: those that the module's ``configure_callbacks`` has returned.

    Raises:
        HandlerError: if two have a state under the same key.
    """
    brought = [type(one) for one in of_the_module]
    left = [one for one in given if not any(issubclass(kind, type(one)) for kind in brought)]
    everyone = [*left, *of_the_module]
    keys: set[str] = set()
    for one in everyone:
        if overridden(one, "state_dict") and one.state_key in keys:
            raise HandlerError(
                f"there are two callbacks whose states go by {one.state_key!r}; give one of them "
                f"another state_key, or leave it out."
            )
        keys.add(one.state_key)
    return sorted(everyone, key=lambda one: descends_from(one, "Checkpoint", *PACKAGES))
