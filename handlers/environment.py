"""The environment: on which machine, and with which versions, a run takes place."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from ..engine.engine import Engine
from ..engine.handler import Handler
from ..engine.placement.environment import environment
from ..engine.placement.ranks import is_first
from ..engine.priority import Priority
from ..engine.stream.media import show

__all__ = ["Environment"]


class Environment(Handler):
    """Tells every sink at the start of a run what it takes place in.

    It does so once, as a table: system, versions, processor and accelerators, seed.

    Args:
        file: a JSON file to write it to besides.
        more: what to add to it, by name.

    Example:
        >>> from footplate import Engine
        >>> from footplate.handlers.console import Console
        >>> trainer = Engine(lambda engine, batch: None, name="train")
        >>> console = trainer.attach(Console())
        >>> told = trainer.attach(Environment(more={"task": "digits"}))
        >>> state = trainer.run([0])  # doctest: +ELLIPSIS
        environment:
          system...
          task            digits
    """

    priority = Priority.LOW  # behind the sinks, which open at BELOW_NORMAL

    def __init__(
        self, file: str | Path | None = None, *, more: dict[str, Any] | None = None
    ) -> None:
        self.file = None if file is None else Path(file)
        self.more = dict(more or {})
        self._told = False

    def opened(self, engine: Engine) -> None:
        """Tell it, if that was not done yet."""
        if self._told:
            return
        self._told = True
        found = {**environment(), **self.more}
        if self.file is not None and is_first():
            self.file.parent.mkdir(parents=True, exist_ok=True)
            self.file.write_text(json.dumps(found, indent=2, default=str))
        rows = [{"name": name, "value": one} for name, one in found.items()]
        show(engine, "table", "environment", rows)
