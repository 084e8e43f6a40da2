"""How much memory this process has held."""

from __future__ import annotations

import re
import sys
from contextlib import suppress
from pathlib import Path

__all__ = ["peak_memory"]

_PEAK = re.compile(r"^VmHWM:\s*(\d+) kB", re.MULTILINE)


def peak_memory() -> float | None:
    """The most memory that this process has held, in MiB; ``None`` where the system can't tell.

    On Linux the kernel's own account of it is read: that of ``getrusage`` begins with what the
    process held that has launched this one.

    Example:
        >>> before = peak_memory()
        >>> before is None or 1 < before <= peak_memory()
        True
    """
    with suppress(OSError):  # not Linux, or no such file there
        if found := _PEAK.search(Path("/proc/self/status").read_text(errors="replace")):
            return int(found[1]) / 2**10
    try:
        import resource
    except ImportError:  # Windows
        return None
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return peak / (2**20 if sys.platform == "darwin" else 2**10)
