"""Shows that tests would notice: ``python -m tests.features [ID …]``.

For each row of docs/features.md it empties what the row is called by, one function at a time
(``entry_points.py``), and runs the tests that are marked with the row, quick ones first, until one
fails. Where none does, the function has survived: the tests are weak, or it is not what carries
the row. All rows take an hour or two; let tests pass before.

``--tests`` prints the tests of the rows instead, for pytest to run.
"""

from __future__ import annotations

import argparse
import os
import re
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.features.emptied.sitecustomize import NO_SUCH_FUNCTION
from tests.features.entry_points import ENTRY_POINTS
from tests.features.rows import ROOT, marked_tests, rows, slow_tests

HANGS = 600  # seconds
SENT = {signal.SIGINT, signal.SIGTERM, signal.SIGUSR1, signal.SIGUSR2}
PROCESSES = {"crash", "distributed"}  # folders whose tests start several
PASSED, FAILED, NOT_COLLECTED, NONE_COLLECTED = 0, 1, 2, 5


def main() -> None:
    """Read the command line, and do what it says."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("ids", nargs="*", metavar="ID", help="rows; all of them by default")
    parser.add_argument("--tests", action="store_true", help="print the tests of the rows")
    given = parser.parse_args()
    if unknown := sorted(set(given.ids) - rows().keys()):
        parser.error(f"there is no row {', '.join(unknown)} in docs/features.md.")
    marked = marked_tests()
    chosen = given.ids or list(rows())
    if given.tests:
        print(*dict.fromkeys(test for one in chosen for test in marked[one]))
        return
    survivors = [
        (one, entry)
        for one in chosen
        for entry in ENTRY_POINTS[one]
        if not noticed(one, entry, marked[one])
    ]
    print(f"\n{len(survivors)} survived", *(f"{one} {entry}" for one, entry in survivors), sep="\n")
    sys.exit(bool(survivors))


def noticed(row: str, entry: str, tests: list[str]) -> bool:
    """Whether a test of the row fails when an entry point is empty."""
    begun = time.monotonic()
    for some, stage in in_turn(entry, tests):
        code, said = run(entry, some, stage)
        if code not in (PASSED, NONE_COLLECTED):
            print(f"{row:4} {entry}\n     {said} ({time.monotonic() - begun:.0f} s)", flush=True)
            return True
    print(f"{row:4} {entry}\n     SURVIVED ({time.monotonic() - begun:.0f} s)", flush=True)
    return False


def in_turn(entry: str, tests: list[str]) -> list[tuple[list[str], str]]:
    """Tests in groups, those first that are likely to notice soon; and which of their cases.

    One file alone leads, as collecting others takes long: the one named after the entry point's
    module, or that with most of the tests. Then come quick ones, those that start processes, and
    slow ones one by one.
    """
    module = entry.partition(":")[0].rpartition(".")[2]
    slow = slow_tests()
    quick: list[str] = []
    in_processes: list[str] = []
    for test in tests:
        if not slow.get(test):
            starts_processes = not PROCESSES.isdisjoint(Path(test).parts)
            (in_processes if starts_processes else quick).append(test)
    files = [test.partition("::")[0] for test in quick]
    lead = max(files, key=lambda one: (one.endswith(f"_{module}.py"), files.count(one)), default="")
    first = [test for test in quick if test.startswith(f"{lead}::")]
    others = [test for test in quick if not test.startswith(f"{lead}::")]
    groups = [(group, "not slow") for group in (first, others, in_processes) if group]
    return groups + [([test], "slow") for test in tests if test in slow]


def run(entry: str, tests: list[str], stage: str) -> tuple[int, str]:
    """Run tests on a library in which an entry point is empty: pytest's code, and who failed."""
    environment = {
        **os.environ,
        "EMPTIED": f"footplate.{entry}",
        "PYTHONPATH": str(ROOT / "tests" / "features" / "emptied"),
    }
    options = ["-x", "-q", "-p", "no:cacheprovider", "-m", stage]
    command = [sys.executable, "-m", "pytest", *options, *tests]
    try:
        done = subprocess.run(
            command,
            cwd=ROOT,
            env=environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=HANGS,
        )
    except subprocess.TimeoutExpired:
        return FAILED, f"hung for {HANGS} s"
    if done.returncode == NO_SUCH_FUNCTION:
        sys.exit(f"{entry}: {done.stderr.strip().splitlines()[-1]}")
    if -done.returncode in SENT:  # by a test to itself, and nobody hears it now
        return FAILED, f"pytest was ended by {signal.Signals(-done.returncode).name}"
    if done.returncode not in (PASSED, FAILED, NOT_COLLECTED, NONE_COLLECTED):
        sys.exit(f"pytest did not run: {(done.stdout + done.stderr)[-2000:]}")
    failed = re.search(r"^(?:FAILED|ERROR) .*", done.stdout, re.MULTILINE)
    return done.returncode, failed.group() if failed else (done.stdout + done.stderr)[-300:]


if __name__ == "__main__":
    main()
