"""Who takes part: one module each, which leads the training of a :class:`Task` in its own way.

Each module has

- ``IMPORTS``: what a script with its default stack imports;
- ``PACKAGES``: the packages whose lines are its own;
- ``empty(loader, step)``: a run whose iterations call ``step()`` and nothing else;
- ``train(task)``: a training with as little besides as it can;
- ``stack(task, folder)``: a training as its users have it by default: bar, TensorBoard, metrics,
  a validation and a checkpoint after each epoch;
- ``resumable(task, folder, every)``: a training with a checkpoint after every so many iterations,
  which goes on from the last one that it finds, in the way that its documentation recommends;
  where it can write them behind the training's back, that is ``background=True``.

Each of these returns the call that runs. What it needs is imported inside of them.
"""

import importlib
from types import ModuleType

CONTENDERS = {
    "bare": "a bare loop",
    "footplate": "Footplate",
    "ignite": "pytorch-ignite",
    "lightning": "Lightning",
    "fabric": "Fabric",
    "mmengine": "MMEngine",
    "accelerate": "Accelerate",
    "torchtnt": "torchtnt",
}
"""Their names, by module."""


def contender(name: str) -> ModuleType:
    """The module of a contender."""
    return importlib.import_module(f"{__package__}.contenders.{name}")
