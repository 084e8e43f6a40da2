"""pytorch-ignite's names on Footplate's engine: a script moves by changing where it imports from.

:func:`create_supervised_trainer` and :func:`create_supervised_evaluator` take what
pytorch-ignite's take, and return an :class:`~footplate.engine.engine.Engine`. ``Events`` and
``EventEnum`` are pytorch-ignite's own, so that its handlers find in them all that they ask for;
the engine takes them wherever it takes ours. :func:`as_ignite` is for the few classes that want
pytorch-ignite's engine and no other.
"""

from ignite.engine import EventEnum, Events

from ...engine.engine import Engine
from ...engine.state import State
from .supervised import create_supervised_evaluator, create_supervised_trainer
from .view import as_ignite

__all__ = [
    "Engine",
    "EventEnum",
    "Events",
    "State",
    "as_ignite",
    "create_supervised_evaluator",
    "create_supervised_trainer",
]
