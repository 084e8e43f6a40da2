"""Shards: each process keeps a part of the parameters, and has the rest while it computes."""

from __future__ import annotations

import inspect
from collections.abc import Collection, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import wraps
from typing import Any

import torch
import torch.distributed as dist
from torch import Tensor, nn
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import (
    CPUOffloadPolicy,
    FSDPModule,
    MixedPrecisionPolicy,
    fully_shard,
    register_fsdp_forward_method,
)

from ..errors import nearest
from .materializing import materialize, tensors_of
from .placement import Placement
from .ranks import world_size
from .shard_state import (
    are_held,
    as_summand,
    average_held,
    cast_inputs,
    forget_batch,
    free_after_forward,
    frees_after_forward,
    hold,
    keep_after_forward,
    own_summand,
)
from .sharding import submodules_to_shard
from .solitude import join_alone
from .spreading import mean_over_processes, spread

__all__ = ["Sharded"]

_METHODS = ("train_step", "val_step", "valid_step", "test_step", "predict_step")
_MIN_PARAMETERS = 10_000_000
_TYPES = {"fp32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


class Sharded(Placement):
    """A model whose parameters, gradients and optimizer state lie in parts in all processes.

    Chosen submodules and the model itself are each a unit, by torch's ``fully_shard``: a unit's
    parameters are gathered before its forward and its backward pass and freed behind them, and
    its gradients are averaged into the shards. The model stays the object that it was, with its
    names and methods; its parameters become ``DTensor``. All processes have to call it equally
    often, in evaluation too, unless it is :meth:`whole`.

    Weights are those of the first process, whatever the others began with. A model that was made
    under ``torch.device("meta")`` gets its memory, and its values by ``reset_parameters()``, unit
    by unit, so that no process ever holds all of it.

    Args:
        device: of this process.
        modules: the units: classes of submodules, or names of classes.
        min_parameters: where no ``modules`` are given, the units are the innermost submodules
            with so many parameters that are in no other unit; ten million by default.
        param_dtype: what units compute with, and what is gathered: ``"bf16"``, ``"fp16"``, or
            a type of torch. Shards and optimizer keep the type that the model has.
        reduce_dtype: what gradients are averaged in; as ``param_dtype`` by default.
        output_dtype: what the model's floating-point outputs become.
        reshard_after_forward: whether a unit is freed between its forward and backward pass, and
            gathered anew. By default all are but the model's own, which backward begins with. A
            number is that of processes among which it is kept in parts meanwhile.
        no_sync: whether the gradients of a window of several batches are exchanged once, at its
            end. It spares exchanges, but until then each process holds gradients of all
            parameters, and a checkpoint that is written then has them once for each process.
        cast_inputs: whether floating-point inputs of units are cast to ``param_dtype``.
        offload: whether shards and optimizer state lie in the CPU's memory.
        methods: further methods of the model that are called in the place of ``forward``.

    Attributes:
        units: names of the units that :meth:`place` made, the model itself, ``""``, last.

    Raises:
        ValueError: for options that contradict each other, and unknown types of numbers.

    Example:
        >>> placement = Sharded("cpu", modules=("Linear",), param_dtype="bf16")
        >>> model = placement.place(nn.Sequential(nn.Linear(2, 4), nn.ReLU(), nn.Linear(4, 1)))
        >>> placement.units, type(model[0].weight).__name__, model(torch.zeros(3, 2)).dtype
        (['0', '2', ''], 'DTensor', torch.bfloat16)
        >>> dist.destroy_process_group()  # of this one process

    Source: Zhao et al., PyTorch FSDP, 2023; the way of torchtitan, Liang et al., 2024.
    """

    in_step = True

    def __init__(
        self,
        device: str | int | torch.device = "auto",
        *,
        modules: Collection[str | type[nn.Module]] = (),
        min_parameters: int | None = None,
        param_dtype: str | torch.dtype | None = None,
        reduce_dtype: str | torch.dtype | None = None,
        output_dtype: str | torch.dtype | None = None,
        reshard_after_forward: bool | int | None = None,
        no_sync: bool = False,
        cast_inputs: bool = True,
        offload: bool = False,
        methods: Collection[str] = (),
    ) -> None:
        super().__init__(device)
        if modules and min_parameters is not None:
            raise ValueError("modules= and min_parameters= both say what the units are; give one.")
        if offload and self.device.type == "cpu":
            raise ValueError("offload=True is for accelerators; on the CPU they lie there anyway.")
        if offload and no_sync:
            raise ValueError("no_sync= keeps whole gradients on the accelerator; offload= not.")
        self.several = world_size() > 1
        self.modules = (modules,) if isinstance(modules, (str, type)) else tuple(modules)
        self.min_parameters = _MIN_PARAMETERS if min_parameters is None else min_parameters
        self.methods = (methods,) if isinstance(methods, str) else tuple(methods)
        self.no_sync = no_sync
        self.units: list[str] = []
        self._reshards = reshard_after_forward
        self._offload = offload
        self._precision = MixedPrecisionPolicy(
            _type("param_dtype", param_dtype),
            _type("reduce_dtype", reduce_dtype),
            cast_forward_inputs=cast_inputs,
        )
        self._output_dtype = _type("output_dtype", output_dtype)
        self._root: FSDPModule | None = None
        self._inside = 0  # methods of the model that are at work
        self._whole = 0
        self._holds = False  # whether the batch at hand leaves its gradients unexchanged
        self._goes_on = False  # whether gradients of an open window were ever loaded

    def place(self, model: nn.Module) -> nn.Module:
        """Put the model on its device in shards; the same object, with other parameters.

        Raises:
            ValueError: if ``modules`` names what is not in the model, or a parameter of a unit is
                used outside of it, too.
        """
        for name in self.methods:
            if not callable(getattr(model, name, None)):
                known = [one for one in dir(model) if not one.startswith("_")]
                raise ValueError(
                    f"methods= names {name!r}, which {type(model).__name__} has not."
                    f"{nearest(name, known)}"
                )
        chosen = submodules_to_shard(model, self.modules, self.min_parameters)
        options = self._options()
        for unit in chosen.values():
            self._shard(unit, **options, reshard_after_forward=self._reshards)
        reshards = False if chosen or self._reshards is None else self._reshards
        options["mp_policy"] = replace(self._precision, output_dtype=self._output_dtype)
        self._shard(model, **options, reshard_after_forward=reshards)
        self.units = [*chosen, ""]
        for name in dict.fromkeys((*_METHODS, *self.methods)):
            self._enter_by(model, name)
        model.register_forward_hook(self._left)
        return model

    def bind(self, model: nn.Module, *, one_backward: bool) -> None:
        """Know the model.

        Raises:
            ValueError: for a model that :meth:`place` did not put in shards.
        """
        if not isinstance(model, FSDPModule):
            raise ValueError(
                f"{type(model).__name__} is not in shards; place it, and make its optimizer of the "
                f"parameters that it has then: model = placement.place(model)."
            )
        self._root = model

    def own(self, optimization: Any) -> None:
        """Refuse several optimizers: what a backward pass computes gradients of are no shards."""
        if not optimization.alone:
            raise ValueError(
                "a model in shards is trained by one optimizer, given several; make one, with a "
                "parameter group for each, or train replicas."
            )

    @contextmanager
    def batch(self, *, closes: bool) -> Iterator[None]:
        """Average gradients in backward, or hold them; after an error forget the batch."""
        root = self._root
        assert root is not None, "bind() comes before"
        if self.no_sync or self._goes_on:
            holds = are_held(root)
            self._holds = self.no_sync and not closes if holds is None else holds
            root.set_requires_gradient_sync(not self._holds)
        try:
            yield
        except BaseException:
            forget_batch(root)
            raise

    def backward(self, loss: Tensor, **how: Any) -> None:
        """Compute the gradients of a batch; what is not averaged lies with the parameters."""
        super().backward(loss, **how)
        if self._holds and self._root is not None:
            hold(self._root)

    def reduce(self, parameters: Sequence[Tensor]) -> None:
        """Average the gradients that processes hold of a window."""
        if self.no_sync or self._goes_on:
            average_held(parameters)

    def kept(self, gradient: Tensor) -> Tensor:
        """A copy; of one that was not exchanged, of what this process adds to it."""
        return own_summand(gradient)

    def taken(self, gradient: Tensor, parameter: Tensor) -> Tensor:
        """A copy; the rest of its window is exchanged when it was, in backward or at the end."""
        self._goes_on = True  # the window may be of a run with another no_sync
        return as_summand(super().taken(gradient, parameter), parameter)

    def mean(self, total: float | Tensor) -> float | Tensor:
        """The mean over the processes."""
        return mean_over_processes(total, self.device) if self.several else total

    def align(self, model: nn.Module) -> None:
        """Have all processes know the first one's buffers, which are not in shards."""
        if self.several:
            spread(model.buffers())

    @contextmanager
    def whole(self, model: nn.Module) -> Iterator[None]:
        """Within it this process has all weights and calls the model alone, for evaluation.

        So processes may evaluate different numbers of batches. It takes the memory that sharding
        spares, but that of gradients and optimizer state.
        """
        units = [one for one in model.modules() if isinstance(one, FSDPModule)]
        frees = [(one, frees_after_forward(one)) for one in units]
        try:
            for unit in units:
                unit.unshard()
                keep_after_forward(unit)
            self._whole += 1
            yield
        finally:
            self._whole -= 1
            for unit, how in frees:
                free_after_forward(unit, how)
                unit.reshard()

    # ------------------------------------------------------------------ parts

    def _options(self) -> dict[str, Any]:
        join_alone()
        options = {
            "mesh": init_device_mesh(self.device.type, (dist.get_world_size(),)),
            "mp_policy": self._precision,
        }
        return {**options, "offload_policy": CPUOffloadPolicy()} if self._offload else options

    def _shard(self, unit: nn.Module, **options: Any) -> None:
        """Put what is not in shards yet of a module in shards, which are the first process's."""
        done = [one for one in unit.modules() if one is not unit and isinstance(one, FSDPModule)]
        materialize(unit, self.device, but=done)
        own = [*tensors_of(unit, but=done)]
        for tensor in own:
            tensor.data = tensor.data.to(self.device)
        if self.several:
            spread(own)
        fully_shard(unit, **options)

    def _enter_by(self, model: nn.Module, name: str) -> None:
        """Gather the model's own parameters for a method, as for its forward pass."""
        method = getattr(model, name, None)
        if not callable(method) or "optim_wrapper" in inspect.signature(method).parameters:
            return  # one that runs backward, too, calls the model within
        register_fsdp_forward_method(model, name)
        gathered = getattr(model, name)

        @wraps(method)
        def entered(*args: Any, **kwargs: Any) -> Any:
            if self._whole:  # else it would be freed at the end
                args, kwargs = cast_inputs(model, args, kwargs)
                return method(*args, **kwargs)
            self._inside += 1
            try:
                return gathered(*args, **kwargs)
            finally:
                self._inside -= 1
                self._left(model)

        setattr(model, name, entered)

    def _left(self, model: nn.Module, *_: Any) -> None:
        """Free the model's own parameters where no backward pass will."""
        if not (self._inside or self._whole or torch.is_grad_enabled()) and isinstance(
            model, FSDPModule
        ):
            model.reshard()


def _type(option: str, given: str | torch.dtype | None) -> torch.dtype | None:
    if given is None or isinstance(given, torch.dtype):
        return given
    if given not in _TYPES:
        raise ValueError(
            f"{option} is one of {', '.join(map(repr, _TYPES))}, given {given!r}."
            f"{nearest(str(given), _TYPES)}"
        )
    return _TYPES[given]
