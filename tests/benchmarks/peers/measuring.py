"""The command that measures: which measures, of whom, for how long, and where it is kept."""

import argparse
import importlib
import time
from pathlib import Path

from . import results
from .field import CONTENDERS
from .tables import rows_of

MEASURES = [
    "overhead",
    "network",
    "stacks",
    "imports",
    "memory",
    "checkpoints",
    "resume",
    "kills",
    "lines",
]


def measure_of(name):
    """The module of a measure."""
    return importlib.import_module(f"{__package__}.measures.{name}")


def main(arguments=()):
    options = _parser().parse_args(list(arguments))
    for name in options.measures or MEASURES:
        begun = time.perf_counter()
        found = measure_of(name).measure(options.only, quick=options.quick, device=options.device)
        results.keep(options.output, name, found, device=options.device, quick=options.quick)
        print(f"\n{name}, {time.perf_counter() - begun:.0f} s")
        for row in rows_of(measure_of(name), found):
            print("  " + " | ".join(row), flush=True)


def _parser():
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.peers")
    parser.add_argument("measures", nargs="*", choices=[*MEASURES, []], metavar="MEASURE")
    parser.add_argument("--quick", action="store_true", help="shortened, to see that it works")
    parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
    parser.add_argument("--only", type=_names, default=[*CONTENDERS], metavar="NAME,…")
    parser.add_argument("--output", type=Path, default=results.FILE)
    return parser


def _names(text):
    names = text.split(",")
    if unknown := [name for name in names if name not in CONTENDERS]:
        known = ", ".join(CONTENDERS)
        raise argparse.ArgumentTypeError(f"no {', '.join(unknown)}; there are {known}")
    return names
