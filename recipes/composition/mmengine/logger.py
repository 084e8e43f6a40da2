"""MMEngine's logger, whose records go into the log of the run, too."""

from __future__ import annotations

import logging
import time
from typing import Any

__all__ = ["logger_of"]


class _ToRunLog(logging.Handler):
    """Hands records to whatever writes the library's own, at the time."""

    def emit(self, record: logging.LogRecord) -> None:
        for one in logging.getLogger("footplate").handlers:
            if record.levelno >= one.level:
                one.handle(record)


def logger_of(name: str, level: int | str) -> Any:
    """A logger of MMEngine, the current one from then on.

    Args:
        name: the run's.
        level: the least level that it passes on.
    """
    from mmengine.logging import MMLogger

    logger = MMLogger.get_instance(
        f"{name}_{time.monotonic_ns()}", logger_name="mmengine", log_level=level
    )
    logger.addHandler(_ToRunLog())
    return logger
