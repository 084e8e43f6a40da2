"""Surroundings: what a run sets in its process before anything is built."""

from __future__ import annotations

import importlib
import importlib.util
import multiprocessing

import torch

from ...engine.placement.devices import device_of
from ..config.problems import ABSENT, ConfigError, Problem
from .options import EnvCfg, MpCfg

__all__ = ["set_up"]


def set_up(env: EnvCfg, *, deterministic: bool) -> torch.device:
    """Set what ``env_cfg`` says, and find the device.

    Args:
        env: what is asked for.
        deterministic: whether results have to be the same on each run; cuDNN may not try out
            algorithms then, whatever ``env`` says.

    Returns:
        the device that the model goes to.

    Raises:
        ConfigError: if there is no such device here.
    """
    torch.backends.cudnn.benchmark = env.cudnn_benchmark and not deterministic
    if env.threads is not None:
        torch.set_num_threads(env.threads)
    if env.mp_cfg is not None:
        _set_up_processes(env.mp_cfg)
    if env.resource_limit is not None:
        _raise_file_limit(env.resource_limit)
    return _device(env.device)


def _device(name: str) -> torch.device:
    try:
        return device_of(name)
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
