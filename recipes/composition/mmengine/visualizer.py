"""MMEngine's visualizer for hooks that draw: what it is handed goes into the run's sinks."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ....engine.stopping import current_engine
from ....engine.stream.media import show

if TYPE_CHECKING:
    from ...runner import Runner

__all__ = ["sink_backend", "visualizer_of"]


def visualizer_of(runner: Runner) -> Any:
    """The visualizer that the run's configuration names, or MMEngine's plain one.

    It is ``Visualizer.get_current_instance()`` from then on.

    Args:
        runner: the runner.
    """
    from mmengine.registry import VISUALIZERS
    from mmengine.visualization import Visualizer  # noqa: F401 - which registers it

    given = runner.given["visualizer"]
    drawn_by = given.get("drawn_by") if isinstance(given, Mapping) else None
    said = {"type": "Visualizer", **(drawn_by or {}), "vis_backends": [sink_backend()]}
    said["name"] = f"{runner.experiment_name}_{time.monotonic_ns()}"  # no two have the same
    return VISUALIZERS.build(said)


def sink_backend() -> Any:
    """A backend of MMEngine that hands on to the sinks of the engine that runs."""
    from mmengine.visualization.vis_backend import BaseVisBackend

    class SinkBackend(BaseVisBackend):  # type: ignore[misc]  # of a library without types
        def __init__(self) -> None:
            super().__init__("")

        @property
        def experiment(self) -> None: ...

        def _init_env(self) -> None: ...

        def add_scalar(self, name: str, value: Any, step: int = 0, **kwargs: Any) -> None:
            if (engine := current_engine()) is not None:
                engine.log(name, value)

        def add_scalars(self, scalar_dict: Mapping[str, Any], *args: Any, **kwargs: Any) -> None:
            for name, value in scalar_dict.items():
                if name != "step":
                    self.add_scalar(name, value)

        def add_image(self, name: str, image: Any, step: int = 0, **kwargs: Any) -> None:
            if (engine := current_engine()) is not None:
                show(engine, "image", name, image)

    return SinkBackend()
