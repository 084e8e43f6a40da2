"""What pytorch-ignite attaches at once: its functions of common handlers."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from ignite.contrib.engines import common
from ignite.engine import Events
from ignite.metrics import Accuracy

from tests.handlers.ignite.training import BATCHES, Probe, Training, trying
from tests.handlers.ignite.worlds import World

PROBES: dict[str, Probe] = {}


def _evaluated(one: Training) -> None:
    """Have each epoch followed by an evaluation."""
    Accuracy().attach(one.evaluator, "accuracy")
    one.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: one.evaluator.run(BATCHES))


@trying(PROBES, "common.setup_common_training_handlers")
def all_at_once(world: World, folder: Path) -> Any:
    """What is for one process, and for several where there are such."""
    return _all_by(common.setup_common_training_handlers, world, folder)


@trying(PROBES, "common.setup_common_distrib_training_handlers")
def all_at_once_in_a_process_of_several(world: World, folder: Path) -> Any:
    """What is for each of several processes, of which this is one alone."""
    return _all_by(common.setup_common_distrib_training_handlers, world, folder)


def _all_by(set_up: Callable[..., Any], world: World, folder: Path) -> Any:
    """Bars, an average, a schedule, a stop at NaN and files of every fourth iteration."""
    one = Training(world)
    set_up(
        world.given(one.trainer),
        to_save={"model": one.model, "trainer": one.trainer},
        save_every_iters=4,
        output_path=str(folder),
        lr_scheduler=torch.optim.lr_scheduler.StepLR(one.optimizer, 2),
        output_names=["loss"],
    )
    state = one.trainer.run(BATCHES, max_epochs=3)
    files = sorted(path.name for path in folder.iterdir())
    return files, state.metrics["loss"], one.optimizer.param_groups[0]["lr"]


@trying(PROBES, "common.save_best_model_by_val_score", "common.gen_save_best_models_by_val_score")
def best(world: World, folder: Path) -> Any:
    """The best model of four epochs."""
    one = Training(world)
    _evaluated(one)
    common.save_best_model_by_val_score(
        str(folder), one.evaluator, one.model, "accuracy", n_saved=1, trainer=one.trainer
    )
    one.trainer.run(BATCHES, max_epochs=4)
    return {path.name: torch.load(path, weights_only=True) for path in folder.iterdir()}


@trying(PROBES, "common.empty_cuda_cache")
def emptied(world: World, folder: Path) -> Any:
    """A cache that is emptied behind each epoch, if there is one."""
    one = Training(world)
    one.trainer.add_event_handler(Events.EPOCH_COMPLETED, common.empty_cuda_cache)
    return one.trainer.run(BATCHES, max_epochs=2).iteration


@trying(PROBES, "common.add_early_stopping_by_val_score")
def stopped_early(world: World, folder: Path) -> Any:
    """Two evaluations without improvement end the run."""
    one = Training(world)
    _evaluated(one)
    trainer = world.given(one.trainer)
    common.add_early_stopping_by_val_score(2, one.evaluator, trainer, "accuracy")
    return one.trainer.run(BATCHES, max_epochs=40).epoch
