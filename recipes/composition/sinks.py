"""Sinks: what ``visualizer`` says, as places that numbers and pictures are written to."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from ...engine.stream.sink import Sink
from ...handlers.csv_file import CSV
from ...handlers.media_folder import MediaFolder
from ...handlers.mlflow import MLflow
from ...handlers.tensorboard import TensorBoard
from ...handlers.wandb import WandB
from ..config.objects import Objects
from ..config.problems import Problem
from ..config.registry import VISBACKENDS, VISUALIZERS

__all__ = ["check_visualizer", "sinks_of"]


@VISBACKENDS.register_module(name="LocalVisBackend")
def local(folder: Path, *, save_dir: str | None = None) -> MediaFolder:
    """Pictures, texts and tables as files."""
    return MediaFolder(Path(save_dir) if save_dir else folder / "media")


@VISBACKENDS.register_module(name="TensorboardVisBackend")
def tensorboard(folder: Path, *, save_dir: str | None = None) -> TensorBoard:
    """Event files for TensorBoard."""
    return TensorBoard(Path(save_dir) if save_dir else folder / "tensorboard")


@VISBACKENDS.register_module(name="CSVVisBackend")
def csv(folder: Path, *, save_dir: str | None = None) -> CSV:
    """A table of scalars."""
    return CSV((Path(save_dir) if save_dir else folder) / "scalars.csv")


@VISBACKENDS.register_module(name="WandbVisBackend")
def wandb(
    folder: Path,
    *,
    project: str = "footplate",
    init_kwargs: Mapping[str, Any] | None = None,
    save_dir: str | None = None,
    hyper_parameters: Mapping[str, Any] | None = None,
) -> WandB:
    """Weights & Biases."""
    options = {"project": project, **(init_kwargs or {})}
    directory = str(save_dir or folder)
    return WandB(**{"dir": directory, "hyper_parameters": hyper_parameters, **options})


@VISBACKENDS.register_module(name="MLflowVisBackend")
def mlflow(
    folder: Path,
    *,
    exp_name: str = "Default",
    run_name: str | None = None,
    tags: Mapping[str, str] | None = None,
    tracking_uri: str | None = None,
    hyper_parameters: Mapping[str, Any] | None = None,
) -> MLflow:
    """MLflow."""
    return MLflow(
        exp_name,
        tracking_uri=tracking_uri,
        run_name=run_name,
        tags=tags,
        hyper_parameters=hyper_parameters,
    )


@VISUALIZERS.register_module(name="Visualizer")
def visualizer(*, vis_backends: list[Any] | None = None, name: str = "visualizer") -> list[Sink]:
    """Several places at once.

    Args:
        vis_backends: the places.
        name: accepted, and nothing else.
    """
    return list(vis_backends or ())


_DRAWN_BY = "drawn_by"  # what draws for hooks of MMEngine, whose business it is
_DEFAULT = {"type": "Visualizer", "vis_backends": [{"type": "TensorboardVisBackend"}]}


def sinks_of(
    given: Any, objects: Objects, folder: Path, hyper_parameters: Mapping[str, Any]
) -> list[Sink]:
    """The places that a run's numbers and pictures are written to, besides its JSON lines.

    Args:
        given: a sink, a mapping with ``type``, or a list of these; ``None`` for TensorBoard's event
            files, ``False`` for none.
        objects: what builds what is given as ``{type: …}``.
        folder: the run's folder.
        hyper_parameters: what the services are told that the run is made with.
    """
    if given is False:
        return []
    offered = {"folder": folder, "hyper_parameters": hyper_parameters}
    return list(_built(_DEFAULT if given is None else given, objects, "visualizer", offered))


def check_visualizer(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    """What is wrong with a visualizer."""
    if given is None or given is False or isinstance(given, Sink):
        return
    if isinstance(given, (list, tuple)):
        for number, one in enumerate(given):
            yield from check_visualizer(one, f"{path}[{number}]", objects)
    elif isinstance(given, Mapping):
        options = {name: one for name, one in given.items() if name != _DRAWN_BY}
        backends = options.pop("vis_backends", None)
        injected = [name for name in ("folder", "hyper_parameters") if name not in given]
        yield from objects.check(options, path, _registry_of(given), injected=injected)
        yield from check_visualizer(backends, f"{path}.vis_backends", objects)
    else:
        yield Problem(path=path, given=given, reason="is no sink, nor a mapping with type")


def _built(given: Any, objects: Objects, path: str, offered: Mapping[str, Any]) -> Iterator[Sink]:
    if isinstance(given, (list, tuple)):
        for number, one in enumerate(given):
            yield from _built(one, objects, f"{path}[{number}]", offered)
    elif isinstance(given, Mapping):
        options = {name: one for name, one in given.items() if name != _DRAWN_BY}
        backends = options.pop("vis_backends", None) or ()
        yield from _built(list(backends), objects, f"{path}.vis_backends", offered)
        missing = {name: value for name, value in offered.items() if name not in options}
        made = objects.build(options, _registry_of(given), path=path, **missing)
        yield from made if isinstance(made, list) else [made]
    else:
        yield given


def _registry_of(given: Mapping[str, Any]) -> Any:
    name = given.get("type")
    return VISUALIZERS if isinstance(name, str) and name in VISUALIZERS else VISBACKENDS
