"""Surroundings: what a run sets in its process before anything is built."""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing
import os
import warnings
from contextlib import suppress

import torch

from ...engine.errors import LaunchError
from ...engine.placement.devices import device_of
from ...engine.placement.launchers import place_in
from ...engine.placement.launching import join
from ...engine.placement.ranks import local_rank, world_size
from ..config.problems import ABSENT, ConfigError, Problem
from .options import DistCfg, EnvCfg, MpCfg

__all__ = ["set_up"]


def set_up(env: EnvCfg, *, launcher: str = "none", deterministic: bool) -> torch.device:
    """Set what ``env_cfg`` says, join the processes that were launched together, find the device.

    Args:
        env: what is asked for.
        launcher: what has launched them.
        deterministic: whether results have to be the same on each run; cuDNN may not try out
            algorithms then, whatever ``env`` says.

    Returns:
        the device that the model goes to.

    Raises:
        ConfigError: if there is no such device here.
        LaunchError: if the launcher has not told what it has to.
    """
    torch.backends.cudnn.benchmark = env.cudnn_benchmark and not deterministic
    if env.threads is not None:
        torch.set_num_threads(env.threads)
    if env.mp_cfg is not None:
        _set_up_processes(env.mp_cfg)
    if env.resource_limit is not None:
        _raise_file_limit(env.resource_limit)
    if launcher == "none":
        _warn_if_several()
    return _device(env, launcher)


def _warn_if_several() -> None:
    """Say so, if each of several processes is about to train for itself."""
    with suppress(LaunchError):  # nobody has asked
        place = place_in(os.environ)
        if place is not None and world_size() == 1:
            warnings.warn(
                f"{place.size} processes were launched by {place.launched_by}, and each of them "
                f"runs for itself, since launcher='none'; give launcher='auto' to have them work "
                f"together.",
                stacklevel=2,
            )


def _device(env: EnvCfg, launcher: str) -> torch.device:
    options = env.dist_cfg or DistCfg()
    try:
        join(launcher, backend=options.backend, timeout=options.timeout, device=env.device)
        return device_of(env.device, local_rank=local_rank() if world_size() > 1 else None)
    except LaunchError:
        raise
    except ValueError as error:
        problem = Problem(path="env_cfg.device", given=ABSENT, reason=str(error))
        raise ConfigError([problem]) from error


def _set_up_processes(options: MpCfg) -> None:
    if options.mp_start_method is not None:
        multiprocessing.set_start_method(options.mp_start_method, force=True)
    if options.opencv_num_threads is not None and importlib.util.find_spec("cv2"):
        importlib.import_module("cv2").setNumThreads(options.opencv_num_threads)


def _raise_file_limit(files: int) -> None:
    """Let as many files be open, as far as the system allows; Windows knows no such limit."""
    if importlib.util.find_spec("resource") is None:
        return
    import resource

    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = files if hard == resource.RLIM_INFINITY else min(files, hard)
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))
