"""DeepSpeed's configuration, as far as it touches what training steps and handlers do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

__all__ = ["checked_config"]

_STAGES = (1, 2, 3)
_OURS = {
    "scheduler": "schedules are handlers of the engine; give param_scheduler= or attach one",
    "data_types": "DeepSpeed would gather gradients in another type; leave it out",
}


def checked_config(given: Mapping[str, Any]) -> dict[str, Any]:
    """The configuration that DeepSpeed gets.

    It is told that the training step accumulates, that nothing is clipped unless that is asked
    for, and of a batch of one sample where none is given, which it needs for its own counts alone.

    Args:
        given: as in DeepSpeed's documentation.

    Raises:
        ValueError: for a stage that is none, and for what is asked for elsewhere.

    Example:
        >>> checked_config({"zero_optimization": {"stage": 2}})["managed_gradient_accumulation"]
        False
    """
    config = dict(given)
    zero = config.get("zero_optimization")
    stage = zero.get("stage") if isinstance(zero, Mapping) else None
    if stage not in _STAGES:
        raise ValueError(
            f"config= has a stage of ZeRO, 1, 2 or 3, as {{'zero_optimization': {{'stage': 2}}}}; "
            f"it has {stage!r}. Without ZeRO train replicas."
        )
    for name, instead in _OURS.items():
        if name in config:
            raise ValueError(f"config= has {name!r}, but {instead}.")
    if config.get("gradient_accumulation_steps", 1) not in (1, "auto"):
        raise ValueError(
            f"config= has 'gradient_accumulation_steps' "
            f"{config['gradient_accumulation_steps']!r}; give accumulate= to the training step."
        )
    for name in ("train_batch_size", "train_micro_batch_size_per_gpu"):
        if config.get(name) == "auto":
            del config[name]
    if not {"train_batch_size", "train_micro_batch_size_per_gpu"} & config.keys():
        config["train_micro_batch_size_per_gpu"] = 1
    return {
        "zero_allow_untested_optimizer": True,
        "zero_force_ds_cpu_optimizer": False,
        "steps_per_print": None,
        "gradient_clipping": 0.0,  # by default DeepSpeed would clip to 1
        **config,
        "gradient_accumulation_steps": 1,
        "managed_gradient_accumulation": False,
    }
