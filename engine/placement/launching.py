"""Launching: a process joins the others that were launched with it, and leaves them."""

from __future__ import annotations

import atexit
import gc
import os
import sys
import time
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from ..errors import LaunchError, nearest
from .devices import device_of
from .failures import attempt, error_file
from .launchers import Place, place_in
from .orphans import end_with_launcher
from .ranks import world_size

if TYPE_CHECKING:
    import torch

__all__ = ["join", "leave"]

_A_MOMENT = 0.1  # seconds

_made: list[Any] = []  # the group that join() made, if it did
_spares: list[bool] = []  # whether forks were told already


def join(
    launcher: str = "auto",
    *,
    backend: str | None = None,
    timeout: float | None = None,
    device: str | int | torch.device = "auto",
) -> bool:
    """Join the processes that were launched together; all of them have to call this.

    From then on :mod:`.ranks` and ``torch.distributed`` know of them, and ``ignite.distributed``,
    too, which metrics of pytorch-ignite go by. Nothing happens where there is one process alone,
    or where a group was made already.

    Args:
        launcher: what launched them: ``"pytorch"`` for torchrun, ``"slurm"`` for srun, ``"mpi"``
            for mpirun; ``"auto"`` finds out; ``"none"`` joins nobody.
        backend: of ``torch.distributed``; by default NCCL for what is on CUDA and Gloo for what is
            not.
        timeout: seconds until a collective operation is given up; by default torch's.
        device: where models will run, as :func:`.device_of` takes it; on CUDA each process has
            the one of its number on its machine.

    Returns:
        whether a group was made.

    Raises:
        LaunchError: if the launcher's variables are not whole, or the backend can't be used.
        ValueError: if the device can't be used by several processes.

    Example:
        >>> join()
        False
    """
    place = place_in(os.environ, launcher)
    if place is None or world_size() > 1:
        return False
    import torch.distributed as distributed

    if not distributed.is_available():
        raise LaunchError(
            f"{place.size} processes were launched, but this torch was built without "
            f"torch.distributed; install one that has it, or launch one process."
        )
    if timeout is not None and not timeout > 0:
        raise LaunchError(f"a timeout is a number of seconds above 0, given {timeout!r}.")
    _tell_torch(place)
    chosen = device_of(device, local_rank=place.local_rank)
    options: dict[str, Any] = {} if timeout is None else {"timeout": timedelta(seconds=timeout)}
    if chosen.type == "cuda":
        sys.modules["torch"].cuda.set_device(chosen)
        options["device_id"] = chosen
    options |= _store_of_attempt(place, distributed)
    distributed.init_process_group(_backend(backend, chosen, distributed), **options)
    _made[:] = [distributed.group.WORLD]
    _tell_ignite()
    _spare_children()
    atexit.register(_let_go)
    if error_file() is not None:  # torchrun's; other launchers have a daemon that ends all
        end_with_launcher()
    return True


def leave() -> None:
    """Leave the processes that :func:`join` has joined; all of them have to call this.

    A group that somebody else has made is left alone. After an error nobody has to leave: the end
    of a process ends its part in the group.

    Example:
        >>> leave()
    """
    distributed = sys.modules.get("torch.distributed")
    is_ours = distributed is not None and _made == [distributed.group.WORLD]
    _made.clear()
    if distributed is None or not is_ours:
        return
    distributed.barrier()  # the first of them may be the one that all others reach each other by
    import ignite.distributed as idist

    idist.finalize()
    if distributed.is_initialized():
        distributed.destroy_process_group()
    atexit.unregister(_let_go)  # which is done now
    _let_go()


def _let_go() -> None:
    """Have the group's threads let go of the tensors that they have sent.

    They may hold the last of one a moment longer than whoever waited for it; and one that wants
    the interpreter to take it back when that has begun to end, ends the process by SIGABRT.
    """
    gc.collect()  # wrappers of models are in cycles, and keep a group that was left
    time.sleep(_A_MOMENT)


def _tell_torch(place: Place) -> None:
    """Set the variables that torch goes by, whoever has launched the processes."""
    os.environ.update(
        RANK=str(place.rank),
        WORLD_SIZE=str(place.size),
        LOCAL_RANK=str(place.local_rank),
        MASTER_ADDR=place.address,
        MASTER_PORT=str(place.port),
    )


def _store_of_attempt(place: Place, distributed: Any) -> dict[str, Any]:
    """A store of this attempt's own, if torchrun has started the processes again.

    It hands every attempt the same one, in which torch would find the addresses of processes that
    are gone (https://github.com/pytorch/pytorch/issues/135712). Attempts are counted on each
    machine by itself, so that those of several can't be told apart by it.
    """
    shared = os.environ.get("TORCHELASTIC_USE_AGENT_STORE") == "True"
    if not (attempt() and shared and os.environ.get("GROUP_WORLD_SIZE") == "1"):
        return {}
    store = distributed.TCPStore(place.address, place.port, place.size, is_master=False)
    own = distributed.PrefixStore(f"attempt_{attempt()}", store)
    return {"store": own, "rank": place.rank, "world_size": place.size}


def _tell_ignite() -> None:
    """Have ignite see the group now; it makes one of its own then, which takes all processes."""
    import ignite.distributed as idist

    idist.sync()


def _spare_children() -> None:
    """Have what is forked from here, as workers of a loader, be in a process group of its own.

    A launcher sends its signals to the group of a process. Workers that SIGTERM has ended would
    end the run with an error, before it has come to where it saves.
    """
    if not _spares and hasattr(os, "register_at_fork"):
        _spares.append(True)
        os.register_at_fork(after_in_child=lambda: os.setpgid(0, 0) if _made else None)


def _backend(given: str | None, device: torch.device, distributed: Any) -> str:
    """The backend to talk by; one for each kind of device if need be."""
    if given is None:
        return "cpu:gloo,cuda:nccl" if device.type == "cuda" else "gloo"
    known = distributed.Backend.backend_list
    for one in given.split(","):
        name = one.rpartition(":")[2]
        if name not in known:
            raise LaunchError(
                f"torch has no backend {name!r}; it has {', '.join(known)}, and 'cpu:gloo,"
                f"cuda:nccl' for both kinds of devices.{nearest(name, known)}"
            )
    if "nccl" in given and device.type != "cuda":
        raise LaunchError(
            f"backend {given!r} talks between CUDA devices alone, and this process runs on "
            f"{str(device)!r}; take 'gloo', or leave it out."
        )
    return given
