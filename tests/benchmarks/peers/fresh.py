"""A measurement in a process of its own, which begins with nothing.

    python -m tests.benchmarks.peers.fresh MEASURE CONTENDER '{"options": …}'

It prints the figures that the measure's ``alone(contender, **options)`` returns, as JSON.
"""

import contextlib
import importlib
import json
import subprocess
import sys
import warnings

from ..timing import python
from .field import contender

LONGEST = 600  # seconds


def measured(measure, name, **options):
    """The figures of one contender.

    Raises:
        RuntimeError: with the last line of what the process said, if it failed.
    """
    command = ["-m", f"{__package__}.fresh", measure, name, json.dumps(options)]
    try:
        told = python(*command, stderr=subprocess.PIPE, timeout=LONGEST)
    except subprocess.CalledProcessError as failed:
        lines = [line for line in failed.stderr.splitlines() if line.strip()]
        raise RuntimeError(lines[-1] if lines else f"exit status {failed.returncode}") from failed
    return json.loads(told.splitlines()[-1])


def main(measure, name, options):
    warnings.simplefilter("ignore")
    alone = importlib.import_module(f"{__package__}.measures.{measure}").alone
    with contextlib.redirect_stdout(sys.stderr):
        figures = alone(contender(name), **json.loads(options))
    print(f"\n{json.dumps(figures)}")


if __name__ == "__main__":
    main(*sys.argv[1:])
