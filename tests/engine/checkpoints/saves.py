"""Checkpoints whose content is known by their iteration, and what processes do with them.

``python -m tests.engine.checkpoints.saves ACTION DIRECTORY …`` prints what happened, in JSON.
"""

import ctypes
import errno
import json
import os
import random
import shutil
import signal
import sys
import time
import warnings
from pathlib import Path

import torch

from footplate.engine.checkpoints.manifest import Manifest
from footplate.engine.checkpoints.store import CheckpointStore

LARGE = 1_200_000  # numbers: more than what is gathered before it is written


def manifest(iteration, run="mine", **more):
    return Manifest(run=run, iteration=iteration, epoch=1, **more)


def weights(iteration, size=10):
    return {name: torch.full((size,), float(iteration)) for name in ("a", "b", "c")}


def state(iteration, size=10):
    return {"moments": torch.full((size,), iteration), "iteration": iteration}


def save(store, iteration, size=10, run="mine", **more):
    given = manifest(iteration, run, **more)
    return store.save(weights(iteration, size), state(iteration, size), given)


def is_whole(store, path, size=None):
    """Whether a checkpoint holds what belongs to its iteration, all of it."""
    from footplate.engine.checkpoints.tensor_file import read_tensors

    iteration = store.verify(path, digests=True).iteration
    read, known = store.load_state(path), read_tensors(path / "model.safetensors")
    size = len(known["a"]) if size is None else size
    if known.keys() != {"a", "b", "c"} or read["iteration"] != iteration:
        return False
    filled = torch.full((size,), float(iteration))
    return all(torch.equal(one, filled) for one in (*known.values(), read["moments"].float()))


def fail_at_every_call(folder, shim):
    """What became of a save whose n-th call of the system failed, for all n and two causes."""
    shim, store, happened = ctypes.CDLL(shim), CheckpointStore(folder), []
    good = save(store, 1)
    shim.shim_arm(0, 0, 0, 0)
    shutil.rmtree(save(store, 2, LARGE))
    calls = shim.shim_calls()
    for cause in (errno.ENOSPC, errno.EIO):
        for number in range(1, calls + 1):
            shim.shim_arm(number, cause, 0, 0)
            try:
                save(store, 2, LARGE)
                said, code = "saved", 0
            except OSError as error:
                said, code = f"{error} {error.__notes__}", error.errno
            shim.shim_calls()
            left = sorted(os.listdir(folder))
            whole = [path == good and is_whole(store, path) for path, _ in store]
            happened.append([errno.errorcode[cause], number, code == cause, said, left, whole])
    return {"calls": calls, "happened": happened}


def cut_every_call(folder, shim):
    """Whether saves are whole whose n-th write took fewer bytes than given; or every one."""
    shim, store, happened = ctypes.CDLL(shim), CheckpointStore(folder), []
    shim.shim_arm(0, 0, 0, 0)
    save(store, 1, LARGE)
    calls = shim.shim_calls()
    for cut, size in [*((number, 1) for number in range(1, calls + 1)), (0, 100_001)]:
        shim.shim_arm(0, 0, cut, size)
        path = save(store, 2, LARGE)
        happened.append([cut, shim.shim_calls() > calls, is_whole(store, path)])
        shutil.rmtree(path)
    return {"calls": calls, "happened": happened}


def kill_while_saving(folder, times):
    """What is there after each kill of a process that saves and prunes, with the last one kept."""
    chance, store, happened, iteration = random.Random(0), CheckpointStore(folder), [], 0
    torch.set_num_threads(1)
    begun = time.monotonic()
    save(store, 0, LARGE)
    longest = max(0.15, 4 * (time.monotonic() - begun))  # a busy machine takes its time
    warnings.simplefilter("error")  # nothing is ever there that is not whole
    for _ in range(int(times)):
        if (child := os.fork()) == 0:
            while True:
                iteration += 1
                save(store, iteration, LARGE)
                store.prune("mine", last=1, best=0)
        time.sleep(chance.uniform(0.0, longest))
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
        found = list(store)
        iteration = found[-1][1].iteration
        parts = [path.name for path in Path(folder).glob(".*")]
        happened.append([iteration, len(parts), [is_whole(store, path) for path, _ in found]])
    save(store, iteration + 1)
    return {"happened": happened, "hidden": [path.name for path in Path(folder).glob(".*")]}


def save_and_prune(folder, run, times):
    """One of several runs that share a directory."""
    warnings.simplefilter("error")
    store = CheckpointStore(folder)
    for iteration in range(1, int(times) + 1):
        save(store, iteration, LARGE if iteration % 5 == 0 else 10, run)
        store.prune(run, last=2, best=0)
        for path, found in store:
            if found.run == run:
                store.verify(path, digests=True)
    return {}


def without_rights(folder):
    """What becomes of saving, pruning and reading where that is not allowed."""
    store, said = CheckpointStore(folder), {}
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if os.getuid() == 0:
            os.setuid(65534)  # root may do everything
        try:
            save(store, 3)
        except PermissionError as error:
            said["save"] = [str(error), error.errno]
        store.prune("mine", last=1, best=0)
        said["found"] = [[path.name, is_whole(store, path)] for path, _ in store]
        said["warned"] = [str(one.message) for one in caught]
    return said


def fill_disk(folder):
    """What becomes of a save that the disk has no room for."""
    store = CheckpointStore(folder)
    save(store, 1)
    try:
        save(store, 2, LARGE)
        said = "saved"
    except OSError as error:
        said = f"{errno.errorcode[error.errno]} {error}"
    left = sorted(os.listdir(folder))
    whole = [is_whole(store, path) for path, _ in store]
    return {"said": said, "left": left, "whole": whole, "next": save(store, 3).name}


if __name__ == "__main__":
    print(json.dumps(globals()[sys.argv[1]](*sys.argv[2:])))
