"""The environment of a run: system, versions, devices."""

from __future__ import annotations

import os
import platform
import sys
from importlib.metadata import PackageNotFoundError, version
from typing import Any

import torch

from ..random import current_seed
from .ranks import world_size

__all__ = ["environment", "versions"]

_PACKAGES = ("footplate", "torch", "torchvision", "pytorch-ignite", "numpy")


def environment() -> dict[str, Any]:
    """What a run takes place in, as one would tell it to somebody who is to repeat it.

    Returns:
        plain values by name: the operating system, Python, versions of the packages that count,
        the processor with its cores, torch's threads, the memory, accelerators with their driver
        libraries, the number of processes, and the seed if one was set.

    Example:
        >>> found = environment()
        >>> found["torch"] == torch.__version__, found["processes"]
        (True, 1)
    """
    return {
        **versions(),
        "processor": _processor(),
        "cores": len(os.sched_getaffinity(0))
        if hasattr(os, "sched_getaffinity")
        else os.cpu_count(),
        "threads": torch.get_num_threads(),
        **_memory(),
        **_accelerators(),
        "processes": world_size(),
        "seed": current_seed(),
        "command": " ".join(sys.orig_argv),
    }


def versions() -> dict[str, str]:
    """The operating system, Python, and the packages that count, as far as they are here.

    Example:
        >>> versions()["torch"] == torch.__version__
        True
    """
    return {
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: known for name in _PACKAGES if (known := _version_of(name))},
    }


def _version_of(distribution: str) -> str | None:
    try:
        return version(distribution)
    except PackageNotFoundError:
        return None


def _processor() -> str:
    try:
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            named = (
                line.partition(":")[2].strip() for line in file if line.startswith("model name")
            )
            return next(named, platform.machine())
    except OSError:  # not Linux
        return platform.processor() or platform.machine()


def _memory() -> dict[str, str]:
    try:
        size = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    except (AttributeError, ValueError, OSError):  # not told by this system
        return {}
    return {"memory": f"{size / 2**30:.1f} GiB"}


def _accelerators() -> dict[str, Any]:
    if not torch.cuda.is_available():
        return {"accelerators": "none"}
    names = [torch.cuda.get_device_name(number) for number in range(torch.cuda.device_count())]
    return {
        "accelerators": ", ".join(names),
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),  # type: ignore[no-untyped-call]
    }
