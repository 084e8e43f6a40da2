"""What a process has of a model that ZeRO keeps in parts, as plain tensors."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor

from ..errors import StateError
from .ranks import world_size

__all__ = ["ZeroState", "is_in_parts", "size_of"]


def is_in_parts(parameter: Tensor) -> bool:
    """Whether it is one of those of stage 3, which hold nothing but while they are gathered.

    Example:
        >>> is_in_parts(torch.nn.Parameter(torch.zeros(2))), size_of(torch.zeros(2, 3))
        (False, 6)
    """
    return hasattr(parameter, "ds_id")


def size_of(parameter: Tensor) -> int:
    """How many numbers it has, in all processes together."""
    return int(parameter.ds_numel) if is_in_parts(parameter) else parameter.numel()  # type: ignore[attr-defined]


class ZeroState:
    """The state of one of DeepSpeed's optimizers in this process.

    Its own form holds objects of classes, which no checkpoint of ours takes; this has tensors and
    numbers. It can be loaded by as many processes as there were.

    Args:
        zero: DeepSpeed's optimizer.
        stage: of ZeRO.
    """

    def __init__(self, zero: Any, stage: int) -> None:
        self._zero = zero
        self._stage = stage

    def state_dict(self) -> dict[str, Any]:
        """Weights in full precision, the optimizer's state for them, and the loss scale."""
        base = self._zero.optimizer
        scaler = vars(self._zero.loss_scaler)
        return {
            "stage": self._stage,
            "processes": world_size(),
            "weights": [one.detach().clone() for one in self._masters()],
            "states": [_copied(base.state.get(one, {})) for one in self._masters()],
            "scaler": {key: value for key, value in scaler.items() if _is_number(value)},
        }

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Set it, and the parameters that forward passes compute with.

        Raises:
            StateError: if it is of another stage, or of another number of processes.
        """
        masters = self._masters()
        for name, here in (("stage", self._stage), ("processes", world_size())):
            if state[name] != here:
                raise StateError(
                    f"DeepSpeed's state was saved with {state[name]} as its {name}, and the run "
                    f"has {here}; go on as it was, or load the weights alone."
                )
        shapes = [one.shape for one in state["weights"]]
        if shapes != [one.shape for one in masters]:
            raise StateError("DeepSpeed's state is of other parameters; make the model as it was.")
        with torch.no_grad():
            for one, saved, own in zip(masters, state["weights"], state["states"], strict=True):
                one.copy_(saved)
                self._zero.optimizer.state[one] = {
                    key: value.to(one.device, copy=True) if isinstance(value, Tensor) else value
                    for key, value in own.items()
                }
            vars(self._zero.loss_scaler).update(state["scaler"])
            if self._stage == 3:
                self._partition()

    def _masters(self) -> list[Tensor]:
        """Parameters in full precision that this process steps, each flat in one."""
        if self._stage == 3:
            return [*self._zero.fp32_partitioned_groups_flat]
        return [*self._zero.single_partition_of_fp32_groups]

    def _partition(self) -> None:
        """Set the parts of parameters that stage 3 computes with; before it they are whole."""
        zero = self._zero
        for group, master in enumerate(self._masters()):
            flat = zero.fp16_partitioned_groups_flat[group]
            flat.copy_(master)
            own = zero.fp16_partitioned_groups[group]
            for one, part in zip(own, zero.unflatten(flat, own), strict=True):
                one.data = part.data
        if small := zero.persistent_parameters:  # which each process has whole
            small[0].partition(small)
            small[0].all_gather(small)


def _is_number(value: Any) -> bool:
    return value is None or isinstance(value, (bool, int, float))


def _copied(state: Mapping[str, Any]) -> dict[str, Any]:
    return {
        key: value.detach().clone() if isinstance(value, Tensor) else value
        for key, value in state.items()
    }
