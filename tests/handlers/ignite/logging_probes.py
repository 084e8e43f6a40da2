"""Loggers of pytorch-ignite, each with its own client, in files; and what is read back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

from ignite import handlers as H
from ignite.engine import Events
from ignite.handlers import base_logger, logger_utils
from ignite.metrics import Accuracy

from tests.handlers.ignite.training import BATCHES, Probe, Training, trying
from tests.handlers.ignite.worlds import World

PROBES: dict[str, Probe] = {}


def of(module: str, *names: str) -> list[str]:
    """Names with their module before them."""
    return [f"{module}.{name}" for name in names]


def logged(one: Training, logger: Any, handlers: list[tuple[Any, Any]]) -> None:
    """Three epochs, each evaluated, with a logger's handlers."""
    Accuracy().attach(one.evaluator, "accuracy")
    logger.attach_output_handler(
        one.evaluator,
        event_name=Events.EPOCH_COMPLETED,
        tag="val",
        metric_names="all",
        global_step_transform=H.global_step_from_engine(one.trainer, Events.ITERATION_COMPLETED),
    )
    for handler, event in handlers:
        logger.attach(one.trainer, log_handler=handler, event_name=event)
    one.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: one.evaluator.run(BATCHES))
    one.trainer.run(BATCHES, max_epochs=3)
    logger.close()


def scalars(module: ModuleType, one: Training, **more: Any) -> list[tuple[Any, Any]]:
    """The handlers that every logger has, on filtered events and on several."""
    output = module.OutputHandler("train", output_transform=lambda loss: {"loss": loss}, **more)
    rates = module.OptimizerParamsHandler(one.optimizer)
    return [
        (output, Events.ITERATION_COMPLETED(every=2)),
        (rates, Events.EPOCH_STARTED | Events.COMPLETED),
    ]


def _tensorboard(folder: Path) -> Any:
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder), {"scalars": 0, "histograms": 0})
    events.Reload()
    tags = events.Tags()
    return {
        **{tag: [(o.step, o.value) for o in events.Scalars(tag)] for tag in tags["scalars"]},
        **{
            tag: [(o.step, o.histogram_value.sum) for o in events.Histograms(tag)]
            for tag in tags["histograms"]
        },
    }


OF_LAYERS = [
    "WeightsScalarHandler",
    "WeightsHistHandler",
    "GradsScalarHandler",
    "GradsHistHandler",
]


@trying(
    PROBES,
    "TensorboardLogger",
    *of("tensorboard_logger", "OutputHandler", "OptimizerParamsHandler", *OF_LAYERS),
)
def tensorboard(world: World, folder: Path) -> Any:
    """Scalars and histograms of output, rates, weights and gradients."""
    from ignite.handlers import tensorboard_logger as module

    one = Training(world)
    handlers = scalars(module, one)
    handlers += [(getattr(module, n)(one.model), Events.EPOCH_COMPLETED) for n in OF_LAYERS]
    logged(one, H.TensorboardLogger(log_dir=str(folder)), handlers)
    return _tensorboard(folder)


@trying(
    PROBES,
    *of("base_logger", "BaseHandler", "BaseLogger", "BaseOutputHandler"),
    *of("base_logger", "BaseOptimizerParamsHandler", "BaseWeightsHandler"),
    "base_logger.BaseWeightsScalarHandler",
)
def own_logger(world: World, folder: Path) -> Any:
    """A logger of one's own, built on the base classes."""
    told = []

    class Told(base_logger.BaseLogger):
        def _create_output_handler(self, *args: Any, **kwargs: Any) -> Any:
            return Output(*args, **kwargs)

        def _create_opt_params_handler(self, *args: Any, **kwargs: Any) -> Any:
            return Rate(*args, **kwargs)

    class Output(base_logger.BaseOutputHandler):
        def __call__(self, engine: Any, logger: Any, event_name: Any) -> None:
            step = self.global_step_transform(engine, event_name)
            told.append((step, self._setup_output_metrics_state_attrs(engine)))

    class Rate(base_logger.BaseOptimizerParamsHandler):
        def __call__(self, engine: Any, logger: Any, event_name: Any) -> None:
            step = engine.state.get_event_attrib_value(event_name)
            told.append((step, self.optimizer.param_groups[0][self.param_name]))

    class Norm(base_logger.BaseWeightsScalarHandler):
        def __call__(self, engine: Any, logger: Any, event_name: Any) -> None:
            told.extend((name, self.reduction(p).item()) for name, p in self.weights)

    class Names(base_logger.BaseWeightsHandler):
        def __call__(self, engine: Any, logger: Any, event_name: Any) -> None:
            told.append([name for name, _ in self.weights])

    one, logger = Training(world), Told()
    logger.attach_opt_params_handler(one.trainer, Events.ITERATION_STARTED(every=3), one.optimizer)
    handlers = [(Norm(one.model), Events.COMPLETED), (Names(one.model), Events.STARTED)]
    logged(one, logger, handlers)
    return told


OFFLINE = {"mode": "offline", "settings": {"silent": True, "x_disable_stats": True}}


def _wandb_rows(folder: Path) -> Any:
    from tests.handlers.test_wandb import written

    (run,) = written(folder)
    of_the_clock = "_timestamp", "_runtime"
    return [sorted(item for item in row.items() if item[0] not in of_the_clock) for row in run.rows]


@trying(PROBES, "WandBLogger", *of("wandb_logger", "OutputHandler", "OptimizerParamsHandler"))
def wandb(world: World, folder: Path) -> Any:
    """The rows of a run that is offline."""
    from ignite.handlers import wandb_logger as module

    one = Training(world)
    logged(one, H.WandBLogger(dir=str(folder), **OFFLINE), scalars(module, one))
    return _wandb_rows(folder)


def _mlflow_in(folder: Path) -> str:
    import mlflow

    uri = f"sqlite:///{folder.parent}/runs.db"  # whose tables take long to make
    mlflow.set_tracking_uri(uri)
    mlflow.create_experiment(folder.name, artifact_location=(folder / "artifacts").as_uri())
    mlflow.set_experiment(folder.name)
    return uri


def _mlflow_metrics(uri: str, run_id: str) -> Any:
    import mlflow

    client = mlflow.MlflowClient(tracking_uri=uri)
    names = sorted(client.get_run(run_id).data.metrics)
    return {
        name: [(one.step, one.value) for one in client.get_metric_history(run_id, name)]
        for name in names
    }


@trying(PROBES, "MLflowLogger", *of("mlflow_logger", "OutputHandler", "OptimizerParamsHandler"))
def mlflow(world: World, folder: Path) -> Any:
    """The history of all values, from a data base."""
    from ignite.handlers import mlflow_logger as module

    one, uri = Training(world), _mlflow_in(folder)
    logger = H.MLflowLogger(tracking_uri=uri)
    run_id = logger.active_run.info.run_id
    logged(one, logger, scalars(module, one))
    return _mlflow_metrics(uri, run_id)


def set_up(world: World, set_up: Callable[..., Any], **given: Any) -> Training:
    """Three epochs with what a function sets up, which is given an evaluator by itself."""
    one = Training(world)
    Accuracy().attach(one.evaluator, "accuracy")
    logger = set_up(
        trainer=one.trainer,
        optimizers=one.optimizer,
        evaluators=world.given(one.evaluator),
        log_every_iters=2,
        **given,
    )
    one.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda: one.evaluator.run(BATCHES))
    one.trainer.run(BATCHES, max_epochs=3)
    logger.close()
    return one


@trying(PROBES, "logger_utils.setup_tb_logging")
def set_up_tensorboard(world: World, folder: Path) -> Any:
    """Rates and metrics."""
    set_up(world, logger_utils.setup_tb_logging, output_path=str(folder))
    return _tensorboard(folder)


@trying(PROBES, "logger_utils.setup_mlflow_logging")
def set_up_mlflow(world: World, folder: Path) -> Any:
    """Rates and metrics."""
    import mlflow

    uri = _mlflow_in(folder)
    with mlflow.start_run() as run:
        set_up(world, logger_utils.setup_mlflow_logging, tracking_uri=uri)
    return _mlflow_metrics(uri, run.info.run_id)


@trying(PROBES, "logger_utils.setup_wandb_logging")
def set_up_wandb(world: World, folder: Path) -> Any:
    """Rates and metrics."""
    import wandb

    try:
        set_up(world, logger_utils.setup_wandb_logging, dir=str(folder), **OFFLINE)
    finally:
        wandb.finish()  # also of what is refused
    return _wandb_rows(folder)
