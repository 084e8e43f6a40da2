"""The command doctor: what there is on this machine."""

from __future__ import annotations

import importlib.util
from importlib.metadata import PackageNotFoundError, version
from typing import Any

from rich.console import Console as Terminal
from rich.table import Table

__all__ = ["doctor", "findings"]

_OPTIONAL = {
    "torchmetrics": "metrics",
    "wandb": "logging to Weights & Biases",
    "mlflow": "logging to MLflow",
    "tensorboard": "looking at TensorBoard's files",
    "torchdata": "loaders with a state",
    "fsspec": "checkpoints on object stores",
    "sklearn": "the recipes' data",
    "torchvision": "image models and data sets",
    "transformers": "text models",
    "datasets": "tables of samples",
    "lightning": "modules of Lightning",
    "mmengine": "models of MMEngine",
    "gymnasium": "reinforcement learning",
    "deepspeed": "ZeRO",
}
_DISTRIBUTIONS = {"sklearn": "scikit-learn"}


def doctor() -> None:
    """Tell what there is here: versions, devices, backends for several processes, libraries.

    For example:

      footplate doctor
    """
    terminal = Terminal()
    for title, rows in findings().items():
        table = Table(title=title, title_justify="left", box=None, show_header=False)
        for name, value in rows.items():
            table.add_row(name, str(value))
        terminal.print(table)
        terminal.print()


def findings() -> dict[str, dict[str, Any]]:
    """What the command tells, by section.

    Example:
        >>> list(findings())
        ['environment', 'devices', 'backends of torch.distributed', 'optional libraries']
    """
    from ...engine.placement.environment import environment  # torch takes long to import

    return {
        "environment": environment(),
        "devices": _devices(),
        "backends of torch.distributed": _backends(),
        "optional libraries": {name: _library(name, use) for name, use in _OPTIONAL.items()},
    }


def _devices() -> dict[str, Any]:
    import torch

    cuda = {
        f"cuda:{number}": torch.cuda.get_device_name(number)
        for number in range(torch.cuda.device_count())
    }
    mps = "available" if torch.backends.mps.is_available() else "not available"
    return {"cpu": f"{torch.get_num_threads()} threads", "mps": mps, **(cuda or {"cuda": "none"})}


def _backends() -> dict[str, str]:
    from torch import distributed

    if not distributed.is_available():
        return {"torch.distributed": "not built in"}
    known = {
        "gloo": distributed.is_gloo_available(),
        "nccl": distributed.is_nccl_available(),
        "mpi": distributed.is_mpi_available(),
    }
    return {name: "available" if there else "not available" for name, there in known.items()}


def _library(name: str, use: str) -> str:
    distribution = _DISTRIBUTIONS.get(name, name)
    try:
        found = importlib.util.find_spec(name) is not None
        return f"{version(distribution)}, for {use}" if found else f"missing, for {use}"
    except (PackageNotFoundError, ValueError):
        return f"of unknown version, for {use}"
