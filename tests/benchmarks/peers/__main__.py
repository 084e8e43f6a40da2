"""Measures the field side by side: ``python -m tests.benchmarks.peers [overhead] [kills] …``.

All of it takes some twenty-five minutes; let nothing else run meanwhile. ``--quick`` sees in a few
minutes that it works. What was measured is kept as JSON, which ``python -m
tests.benchmarks.peers.page`` makes the tables and plots of the documentation from.
"""

import sys

from .measuring import main

if __name__ == "__main__":
    main(sys.argv[1:])
