"""Measures what the library promises: ``python -m tests.benchmarks [overhead] [step] …``.

It takes some minutes, and prints a table for each benchmark. Let nothing else run meanwhile.
"""

import importlib
import platform
import sys
from importlib.metadata import version

BENCHMARKS = [
    "import_time",
    "overhead",
    "memory",
    "step",
    "stack",
    "runner",
    "trace",
    "loading",
    "shards",
    "saving",
    "distributed_saving",
    "crash",
    "scaling",
    "metric_reduction",
    "guests",
]
LONG = ["peers"]  # that run only when they are named
PLACES = {"guests": "guests.side_by_side", "peers": "peers.measuring"}  # of those in a folder

chosen = sys.argv[1:] or BENCHMARKS
if unknown := [name for name in chosen if name not in BENCHMARKS + LONG]:
    sys.exit(f"no benchmark {', '.join(unknown)}; there are {', '.join(BENCHMARKS + LONG)}.")
print(
    f"Python {platform.python_version()}, torch {version('torch')}, "
    f"pytorch-ignite {version('pytorch-ignite')}, {platform.machine()}\n",
    flush=True,
)
for name in chosen:
    importlib.import_module(f"tests.benchmarks.{PLACES.get(name, name)}").main()
