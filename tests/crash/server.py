"""Forks runs of a child from a process that has imported all that takes long.

    python -m tests.crash.server MODULE ARGUMENT …

The module has ``warm_up(ARGUMENT, …)``, and ``main(arguments, bell=…)``, which a child runs. The
server reads what to run, a line of JSON each, and writes what becomes of it, in lines, too: the
number of the process, a bell where the child rings one, and its exit status.
"""

from __future__ import annotations

import importlib
import json
import multiprocessing
import os
import signal
import sys

import torch
import torch._dynamo  # takes a second, which the first optimizer would spend

LONGEST = 120  # seconds that a child may take


def tell(channel, **what):
    os.write(channel, json.dumps(what).encode() + b"\n")


def run(child, arguments, output, channel):
    """In the forked process: the child, with its output in a file."""
    signal.alarm(LONGEST)
    file = os.open(output, os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.dup2(file, 1)
    os.dup2(file, 2)
    sys.exit(child.main(arguments, bell=lambda: tell(channel, bell=True)))


def main(module, *arguments):
    torch.set_num_threads(1)  # and no other threads: they would not be there in the fork
    channel = os.dup(1)
    os.dup2(2, 1)  # what is printed meanwhile is told to nobody
    child = importlib.import_module(module)
    child.warm_up(*arguments)
    fork = multiprocessing.get_context("fork")
    for line in sys.stdin:
        process = fork.Process(target=run, args=(child, *json.loads(line), channel))
        process.start()
        tell(channel, process=process.pid)
        process.join()  # with a time limit it would wait for orphaned workers, too
        tell(channel, status=process.exitcode)


if __name__ == "__main__":
    main(*sys.argv[1:])
