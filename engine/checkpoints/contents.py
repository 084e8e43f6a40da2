"""What a checkpoint of a run holds, and how a run takes it back."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.parameter import is_lazy
from torch.optim import Optimizer

from .. import random
from ..engine import Engine
from ..errors import StateError, nearest
from ..placement.placement import Placement
from ..serialization import is_plain, stateful
from ..step.compiling import own_name
from ..step.saved_optimizer import check_saved
from .laying import laid_as
from .plain import check_plain
from .shards import is_sharded, take_out
from .tensor_file import check_weights, weights_of

__all__ = ["Contents", "HandlersDiffer"]

_ENGINE, _RANDOM, _PLACEMENT = "engine", "random", "placement"


class Contents:
    """A model, an engine with its handlers, and whatever else makes a run.

    Args:
        model: whose weights are saved.
        others: what else is saved, by name; each has ``state_dict()`` and ``load_state_dict()``.
        placement: how several processes have the model; one with a state is saved, too.

    Raises:
        TypeError: for one that has not.
    """

    def __init__(
        self,
        model: torch.nn.Module,
        others: Mapping[str, Any] | None = None,
        placement: Placement | None = None,
    ) -> None:
        for key, other in (others or {}).items():
            if not hasattr(other, "state_dict") or not hasattr(other, "load_state_dict"):
                raise TypeError(f"{key!r} is a {type(other).__name__}, which has no state_dict().")
            if key in (_ENGINE, _RANDOM, _PLACEMENT):
                raise ValueError(f"{key!r} is saved in any case; give the other another name.")
        self.model = model
        self.others = dict(others or {})
        self.placement = placement
        if hasattr(placement, "state_dict"):
            self.others[_PLACEMENT] = placement

    def names(self, engine: Engine) -> list[str]:
        """What may be left out: ``engine``, ``random``, the others, and handlers by their keys."""
        return [_ENGINE, _RANDOM, *self.others, *stateful(engine)]

    def check(self, engine: Engine) -> None:
        """Refuse, before a run begins, a state that could not be saved.

        Raises:
            TypeError: naming the handler, the place in its state, and the type.
        """
        if not any(map(is_lazy, self.model.parameters())):  # else they are not there yet
            weights = weights_of(self.model)
            check_weights({name: one for name, one in weights.items() if not is_sharded(one)})
        for key, handler in stateful(engine).items():
            state, _ = take_out(handler.state_dict(), key)
            check_plain(state, f"the state of handler {key!r}: state")
        for key, other in self.others.items():
            state, _ = take_out(other.state_dict(), key)
            check_plain(state, f"the state of {key!r}: state")
        for key in engine.state_dict_user_keys:
            check_plain(getattr(engine.state, key), f"engine.state.{key}")

    def loading(self) -> AbstractContextManager[Any]:
        """The context in which weights are loaded into the model."""
        return nullcontext() if self.placement is None else self.placement.loading(self.model)

    def gather(
        self, engine: Engine, without: Collection[str] = (), *, alone: bool = False
    ) -> tuple[dict[str, Tensor], dict[str, Any]]:
        """Take everything together: the weights by name, and the state of all else.

        Args:
            engine: the engine.
            without: what to leave out.
            alone: whether other processes take no part, so that it is what this one has.

        Raises:
            ValueError: for a name in ``without`` that there is not.
            RuntimeError: while the parameters of the model are lent to averaged weights.
        """
        self.check_names(engine, without)
        weights = weights_of(self.model)
        if self.placement is not None and not alone:
            weights = self.placement.collected(self.model, weights)
        state: dict[str, Any] = {
            _ENGINE: engine.state_dict(),
            "others": {key: other.state_dict() for key, other in self.others.items()},
            "metrics": {k: value for k, value in engine.state.metrics.items() if is_plain(value)},
            "measured": dict(engine.state.measured),
            _RANDOM: random.capture(),
        }
        handlers = state[_ENGINE]["footplate"]["handlers"]
        for name in without:
            for holder in (state["others"], handlers, state):
                holder.pop(name, None)
        return weights, state

    def check_others(self, state: Mapping[str, Any], without: Collection[str] = ()) -> None:
        """Refuse a state that holds others than there are, or that of another optimizer.

        Raises:
            StateError: naming both sides.
        """
        saved = [key for key in state.get("others", {}) if key not in without]
        given = [key for key in self.others if key not in without]
        if sorted(saved) != sorted(given):
            raise StateError(
                f"the checkpoint holds {_told(saved)} besides model and engine, and the run has "
                f"{_told(given)}; make the run as it was, or name in without= what it goes on "
                f"without."
            )
        for key in given:
            if isinstance(self.others[key], Optimizer):
                check_saved(self.others[key], state["others"][key], key)

    def check_handlers(
        self, engine: Engine, state: Mapping[str, Any], without: Collection[str] = ()
    ) -> None:
        """Refuse a state of other handlers than there are, or one that a handler can't take.

        A handler that has ``check_state(state)`` is asked before anything is loaded.

        Raises:
            StateError: naming both sides.
        """
        if _ENGINE not in state or _ENGINE in without:
            return
        states, handlers = _handler_states(state), stateful(engine)
        added = {key: one for key, one in handlers.items() if key not in {*states, *without}}
        gone = {key: one for key, one in states.items() if key not in {*handlers, *without}}
        if added or gone:
            raise HandlersDiffer(added, gone)
        for key, one in handlers.items():
            if key not in without and hasattr(one, "check_state"):
                one.check_state(states[key])

    def give_back(
        self, engine: Engine, state: Mapping[str, Any], without: Collection[str] = ()
    ) -> None:
        """Set engine, handlers, others and random numbers to a state; weights are no part of it.

        Args:
            engine: the engine.
            state: what :meth:`gather` gave.
            without: what stays as it is, because it is not wanted or was not saved.

        Raises:
            StateError: if the engine's state does not fit; it is as it was then.
        """
        self._lay_out(engine, state, without)
        if _ENGINE in state and _ENGINE not in without:
            engine.load_state_dict(_completed(state[_ENGINE], engine, without))
            engine.state.metrics.update(state.get("metrics", {}))
            engine.state.measured.update(state.get("measured", {}))
        for key, other in self.others.items():
            if key not in without:
                try:
                    other.load_state_dict(state["others"][key])
                except Exception as error:
                    error.add_note(f"raised by {key!r}, loading its state from a checkpoint")
                    raise
        if _RANDOM in state and _RANDOM not in without:
            random.restore(state[_RANDOM])

    def _lay_out(self, engine: Engine, state: Mapping[str, Any], without: Collection[str]) -> None:
        """Bring what was saved whole into pieces, where it is in pieces here."""
        tensors = (*self.model.named_parameters(), *self.model.named_buffers())
        named = {own_name(name): one for name, one in tensors if is_sharded(one)}
        handlers = state.get(_ENGINE, {}).get("footplate", {}).get("handlers", {})
        both = ((handlers, stateful(engine)), (state.get("others", {}), self.others))
        for states, owners in both if named else ():
            for key in states.keys() & owners.keys() - {*without}:
                states[key] = laid_as(owners[key], states[key], named)

    def check_names(
        self, engine: Engine, without: Collection[str], state: Mapping[str, Any] | None = None
    ) -> None:
        """Refuse names that nothing has, neither here nor in a state that was saved."""
        if isinstance(without, str):
            raise TypeError(f"without is a list of names, given the string {without!r}.")
        saved = {} if state is None else {**state.get("others", {}), **_handler_states(state)}
        names = list(dict.fromkeys([*self.names(engine), *saved]))
        for name in without:
            if name not in names:
                raise ValueError(
                    f"{name!r} is nothing that could be left out; there are {_told(names)}."
                    f"{nearest(name, names)}"
                )


class HandlersDiffer(StateError):
    """A checkpoint was saved with other handlers than there are.

    Attributes:
        added: the handlers that it has no state of, by key.
        gone: the states that no handler takes, by key.
    """

    def __init__(self, added: Mapping[str, Any], gone: Mapping[str, Any]) -> None:
        self.added, self.gone = dict(added), dict(gone)
        parts = [f"no state for {_told(self.added)}"] * bool(added)
        parts += [f"no handler for {_told(self.gone)}"] * bool(gone)
        super().__init__(
            f"the checkpoint does not fit the handlers: {'; '.join(parts)}. Attach the same "
            f"handlers under the same names, or name in without= what the run goes on without."
        )


def _handler_states(state: Mapping[str, Any]) -> dict[str, Any]:
    """What a state has of handlers, by key."""
    return dict(state.get(_ENGINE, {}).get("footplate", {}).get("handlers", {}))


def _completed(state: dict[str, Any], engine: Engine, without: Collection[str]) -> dict[str, Any]:
    """An engine's state in which the handlers that are left out stand as they are."""
    exact = state.get("footplate", {})
    handlers = {key: one for key, one in exact.get("handlers", {}).items() if key not in without}
    for key, handler in stateful(engine).items():
        if key in without:
            handlers[key] = handler.state_dict()
    return {**state, "footplate": {**exact, "handlers": handlers}}


def _told(names: Collection[str]) -> str:
    return ", ".join(map(repr, names)) or "nothing"
