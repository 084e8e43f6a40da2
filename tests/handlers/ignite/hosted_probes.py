"""Loggers of pytorch-ignite for services that are elsewhere, with their clients offline."""

from __future__ import annotations

import json
from contextlib import chdir
from pathlib import Path
from typing import Any

from ignite import handlers as H
from ignite.engine import Events
from ignite.handlers import logger_utils

from tests.handlers.ignite.logging_probes import OF_LAYERS, logged, of, scalars, set_up
from tests.handlers.ignite.training import Probe, Training, trying
from tests.handlers.ignite.worlds import World

PROBES: dict[str, Probe] = {}


def _layers(module: Any, one: Training) -> list[tuple[Any, Any]]:
    kinds = [getattr(module, name) for name in OF_LAYERS if hasattr(module, name)]
    return [(kind(one.model), Events.EPOCH_COMPLETED) for kind in kinds]


# ------------------------------------------------------------------ ClearML

CLEARML = {"project_name": "tried", "task_name": "tried", "auto_connect_frameworks": False}


def _clearml_rows(folder: str) -> Any:
    """The scalars that a task wrote, less when."""
    lines = (Path(folder) / "metrics.jsonl").read_text().splitlines()
    found = [one for line in lines for one in json.loads(line) if "value" in one]
    return sorted([one[key] for key in ("metric", "variant", "iter", "value")] for one in found)


@trying(PROBES, "ClearMLLogger", *of("clearml_logger", "OutputHandler", "OptimizerParamsHandler"))
@trying(PROBES, *of("clearml_logger", *OF_LAYERS))
def clearml(world: World, folder: Path) -> Any:
    """The scalars of a task."""
    from clearml import Task
    from ignite.handlers import clearml_logger as module

    Task.set_offline(True)
    one = Training(world)
    logger = H.ClearMLLogger(**CLEARML)
    where = Task.current_task().get_offline_mode_folder()
    logged(one, logger, [*scalars(module, one), *_layers(module, one)])
    return _clearml_rows(where)


@trying(PROBES, "logger_utils.setup_clearml_logging", "logger_utils.setup_trains_logging")
def set_up_clearml(world: World, folder: Path) -> Any:
    """Rates and metrics."""
    from clearml import Task

    Task.set_offline(True)
    task = Task.init(**CLEARML)
    where = task.get_offline_mode_folder()
    try:
        set_up(world, logger_utils.setup_clearml_logging, **CLEARML)
    finally:
        task.close()
    return _clearml_rows(where)


# ------------------------------------------------------------------ Neptune


def _neptune_rows(folder: Path) -> Any:
    """The numbers that a run wrote, less when."""
    (file,) = folder.rglob("data-1.log")
    operations = [json.loads(line)["obj"] for line in file.read_text().splitlines()]
    of_numbers = [one for one in operations if one["type"] == "LogFloats"]
    return sorted(
        (one["path"], [(value["step"], value["value"]) for value in one["values"]])
        for one in of_numbers
        if one["path"][0] != "monitoring"
    )


@trying(PROBES, "NeptuneLogger", *of("neptune_logger", "OutputHandler", "OptimizerParamsHandler"))
@trying(PROBES, *of("neptune_logger", "WeightsScalarHandler", "GradsScalarHandler"))
def neptune(world: World, folder: Path) -> Any:
    """The numbers of a run."""
    from ignite.handlers import neptune_logger as module

    one = Training(world)
    with chdir(folder):
        logger = H.NeptuneLogger(mode="offline")
        logged(one, logger, [*scalars(module, one), *_layers(module, one)])
    return _neptune_rows(folder)


@trying(PROBES, "logger_utils.setup_neptune_logging")
def set_up_neptune(world: World, folder: Path) -> Any:
    """Rates and metrics."""
    with chdir(folder):
        set_up(world, logger_utils.setup_neptune_logging, mode="offline")
    return _neptune_rows(folder)


# ------------------------------------------------------------------ Polyaxon


def _polyaxon_rows(folder: Path) -> Any:
    """The metrics that a run wrote, less when."""
    rows = (
        (file.name, line.split("|")[0], line.split("|")[2])
        for file in folder.rglob("events/metric/*.plx")  # the others are of the machine
        for line in file.read_text().splitlines()
    )
    return sorted(rows)


def _polyaxon(folder: Path) -> dict[str, Any]:
    untracked = dict.fromkeys(("track_code", "track_env", "track_logs"), False)
    where = str(folder / "artifacts")
    return {"is_offline": True, "project": "tried", "artifacts_path": where, **untracked}


@trying(PROBES, "PolyaxonLogger", *of("polyaxon_logger", "OutputHandler", "OptimizerParamsHandler"))
def polyaxon(world: World, folder: Path) -> Any:
    """The metrics of a run."""
    from ignite.handlers import polyaxon_logger as module

    one = Training(world)
    logged(one, H.PolyaxonLogger(**_polyaxon(folder)), scalars(module, one))
    return _polyaxon_rows(folder)


@trying(PROBES, "logger_utils.setup_plx_logging")
def set_up_polyaxon(world: World, folder: Path) -> Any:
    """Rates and metrics."""
    set_up(world, logger_utils.setup_plx_logging, **_polyaxon(folder))
    return _polyaxon_rows(folder)
