"""Hooks of MMEngine: called by a runner's engines in the order of MMEngine's own runner."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any

from ....engine.data.dataset import meta_of
from ....engine.emitter import Emitter
from ....engine.engine import Engine
from ....engine.errors import HandlerError
from ....engine.events import Events
from ....engine.handler import Handler, snake_case
from ....engine.priority import Priority
from ....engine.step.guests import descends_from
from ..folders import stored_handler_state
from .hub import AHEAD_OF_EVALUATION, facts_of
from .keeping import MMEngineKept
from .runner import as_mmengine

if TYPE_CHECKING:
    from ...runner import Runner

__all__ = ["INSTEAD", "MMEngineCrew", "MMEngineHook"]

INSTEAD = {
    "CheckpointHook": "give default_hooks=dict(checkpoint=dict(…)), which takes its options",
    "LoggerHook": "give default_hooks=dict(logger=dict(…)), which takes its options",
    "ParamSchedulerHook": "leave it out: schedulers are moved in any case",
    "NaiveVisualizationHook": "give custom_hooks=[dict(type='Visualizer')], which draws",
    "PrepareTTAHook": "give the TTA model to a runner that tests: Runner(model=tta_model, …)",
}
"""MMEngine's hooks that work on nothing but its own runner, and what does the same here."""

_BEHIND_SCHEDULES = Priority.LOW + 1  # and what logs, and ahead of what saves
_KEEPING = ("before_save_checkpoint", "after_load_checkpoint")
_CALLS = ("before_run", "after_run")
_STAGES = ("train", "val", "test")
_VALUES = {
    **{f"before_{one}_iter": ("batch_idx", "data_batch") for one in _STAGES},
    **{f"after_{one}_iter": ("batch_idx", "data_batch", "outputs") for one in _STAGES},
    **{f"after_{one}_epoch": ("metrics",) for one in _STAGES[1:]},
}
"""What the methods of a hook are given besides the runner, if anything is."""


class MMEngineHook:
    """A hook of MMEngine as a bundle: it joins the others of its runner.

    Args:
        hook: the hook.

    Attributes:
        hook: the same.
        name: its key in checkpoints.
        place: its priority.

    Raises:
        HandlerError: for one that works on nothing but MMEngine's own runner.
    """

    priority = Priority.NORMAL  # of the bundle; the hook's own says where it is among the others

    def __init__(self, hook: Any) -> None:
        for name, instead in INSTEAD.items():
            if descends_from(hook, name, "mmengine"):
                raise HandlerError(
                    f"{type(hook).__name__} is MMEngine's {name}, which works on its own runner "
                    f"alone; {instead}."
                )
        self.hook = hook
        self.name = snake_case(type(hook).__name__)
        self.place = Priority.of(getattr(hook, "priority", Priority.NORMAL))

    @staticmethod
    def make_way(runner: Runner) -> None:
        """Make what hooks ask for by ``get_current_instance()``."""
        as_mmengine(runner).make_way()

    def taken(self, runner: Runner, emitter: Emitter, priority: int | str | None) -> None:
        """Join the other hooks when the runner takes it.

        Args:
            runner: the runner.
            emitter: what fires the runner's own points.
            priority: beats the hook's own.
        """
        self.make_way(runner)
        if priority is not None:
            self.place = Priority.of(priority)
        _crew(runner).take(self, emitter)

    def handlers(self, runner: Runner, engine: Engine) -> Iterator[Handler]:
        """What calls all of the hooks, once on an engine; and what keeps something for this one."""
        yield from facts_of(runner, engine)
        if engine.name in _STAGES and MMEngineCalls.name not in engine.handlers:
            yield MMEngineCalls(_crew(runner))
        if engine.name == "train" and any(_has(self.hook, name) for name in _KEEPING):
            yield MMEngineKept(self.hook, self.name, as_mmengine(runner))


class MMEngineCrew:
    """The hooks of MMEngine that a runner has, in their order.

    Args:
        runner: the runner.
    """

    def __init__(self, runner: Runner) -> None:
        self.view = as_mmengine(runner)
        self._members: list[MMEngineHook] = []
        self._methods: dict[tuple[str, bool | None], list[Callable[..., None]]] = {}
        self._heard: set[str] = set()
        self._failed = False

    def take(self, member: MMEngineHook, emitter: Emitter) -> None:
        """Take a hook, and have it called when the runner calls hooks by name.

        Raises:
            HandlerError: if there is one of its name, under which it would be kept.
        """
        names = [one.name for one in self._members]
        if member.name in names and any(_has(member.hook, name) for name in _KEEPING):
            raise HandlerError(
                f"there is a hook named {member.name!r} already, and what they keep in a "
                f"checkpoint goes by that; derive a class of another name for one of them."
            )
        self._members.append(member)
        self._members.sort(key=lambda one: one.place)
        self._methods.clear()
        if not self._heard:
            self._hear("setup", emitter, self._begin)
            self._hear("on_exception", emitter, self._fail)
            self._hear("after_load_weights", emitter, self._loaded)
        for name in _names(member.hook):
            if name not in (*self._heard, *_KEEPING):
                self._hear(name, emitter, self._by_call(name))

    def call(self, name: str, late: bool | None = None, /, **values: Any) -> None:
        """Call a method of each hook that has it.

        Args:
            name: the method's.
            late: whether of hooks with a priority of ``LOW`` or behind it alone, or of the others.
            values: what they are given besides the runner.
        """
        found = self._methods.get((name, late))
        if found is None:
            asked = [one for one in self._members if late in (None, one.place >= Priority.LOW)]
            having = [one.hook for one in asked if _has(one.hook, name)]
            found = self._methods[name, late] = [getattr(one, name) for one in having]
        for method in found:
            method(self.view, **values)

    def fail(self) -> None:
        """Note that the call of the runner failed, which MMEngine's hooks hear no more of."""
        self._failed = True

    # ------------------------------------------------------------------ calls by name

    def _hear(self, name: str, emitter: Emitter, handler: Callable[..., None]) -> None:
        if not emitter.has_registered_events(name):
            emitter.register_events(name)
        emitter.add_event_handler(name, handler)
        self._heard.add(name)

    def _by_call(self, name: str) -> Callable[..., None]:
        known = name in (*_CALLS, *_VALUES, *_points())

        def call(_: Any, **payload: Any) -> None:
            if name == "after_run" and self._failed:
                return
            if known:
                wanted = _VALUES.get(name, ())
                self.call(name, **{one: payload[one] for one in wanted if one in payload})
            else:
                self._call_at_own_point(name, payload)

        return call

    def _call_at_own_point(self, name: str, payload: Mapping[str, Any]) -> None:
        """Call a method of a name of the user's; one may do without the runner."""
        for one in self._members:
            if _has(one.hook, name):
                method = getattr(one.hook, name)
                first = next(iter(inspect.signature(method).parameters), None)
                method(*([] if first in payload else [self.view]), **payload)

    def _begin(self, _: Any, **payload: Any) -> None:
        self._failed = False

    def _fail(self, _: Any, **payload: Any) -> None:
        self._failed = True

    def _loaded(self, _: Any, path: Any, **payload: Any) -> None:
        """Tell the hooks of weights that were loaded by themselves, with what they had kept."""
        for one in self._members:
            if any(_has(one.hook, name) for name in _KEEPING):
                state = stored_handler_state(path, one.name) or {}
                MMEngineKept(one.hook, one.name, self.view).give_back(state)


class MMEngineCalls(Handler):
    """Calls a runner's hooks of MMEngine at the points of an engine.

    They are called before an engine's epoch counts as over, and before what evaluates behind it,
    so that the order is that of MMEngine's loops. Where training counts iterations, all of it is
    one epoch to them; where it counts epochs, hooks of a low priority hear of an iteration behind
    what logs it and what moves schedules, as there.

    Args:
        crew: the hooks.
    """

    name = "mmengine_hooks"

    def __init__(self, crew: MMEngineCrew) -> None:
        self._crew = crew

    def on_register(self, engine: Engine) -> None:
        """Connect them."""
        crew, role = self._crew, str(engine.name)
        epochs = role != "train" or crew.view.by_epoch
        add, late = engine.add_event_handler, AHEAD_OF_EVALUATION
        after = f"after_{role}_epoch"
        told = after in _VALUES

        def begin(engine: Engine) -> None:
            if (meta := meta_of(engine.state.dataloader)) is not None:
                crew.view.visualizer.dataset_meta = meta
            crew.call(f"before_{role}")
            if not epochs or engine.progress.epoch_iteration:  # or it goes on amid an epoch
                crew.call(f"before_{role}_epoch")

        def end_epoch(engine: Engine) -> None:
            crew.call(after, **({"metrics": engine.state.metrics} if told else {}))

        def end(engine: Engine) -> None:
            if not epochs:
                crew.call(after)
            crew.call(f"after_{role}")

        add(Events.OPENED, begin)
        add(Events.COMPLETED, end)
        add(Events.EXCEPTION_RAISED, lambda engine, exception: crew.fail())
        add(Events.ITERATION_STARTED, self._iteration(f"before_{role}_iter", epochs, False))
        apart = epochs and role == "train"  # else what evaluates may lie between
        places = {False: late, True: _BEHIND_SCHEDULES} if apart else {None: late}
        for behind, place in places.items():
            done = self._iteration(f"after_{role}_iter", epochs, True, behind)
            add(Events.ITERATION_COMPLETED, done, priority=place)
        if epochs:
            add(Events.EPOCH_STARTED, lambda: crew.call(f"before_{role}_epoch"))
            # the metrics of an evaluation are there from priority HIGH on
            add(Events.EPOCH_COMPLETED, end_epoch, priority=late)

    def _iteration(
        self, name: str, epochs: bool, done: bool, late: bool | None = None
    ) -> Callable[[Engine], None]:
        call = self._crew.call

        def iteration(engine: Engine) -> None:
            progress, state = engine.progress, engine.state
            number = progress.epoch_iteration if epochs else progress.iteration
            if done:
                call(name, late, batch_idx=number, data_batch=state.batch, outputs=state.output)
            else:
                call(name, batch_idx=number, data_batch=state.batch)

        return iteration


def _crew(runner: Runner) -> MMEngineCrew:
    """The hooks of MMEngine that the runner has; the same object each time."""
    known: MMEngineCrew | None = vars(runner).get("_mmengine_crew")
    if known is None:
        known = vars(runner)["_mmengine_crew"] = MMEngineCrew(runner)
    return known


def _names(hook: Any) -> Iterator[str]:
    """The public methods that a hook has, of MMEngine's base those that do something in it."""
    for name in dir(type(hook)):
        found = inspect.getattr_static(type(hook), name)
        if not name.startswith("_") and inspect.isfunction(found) and _has(hook, name):
            yield name


def _has(hook: Any, name: str) -> bool:
    """Whether a hook does something at a point, by its method or one that is called for several."""
    found = getattr(type(hook), name, None)
    if not inspect.isfunction(found):
        return False
    if found.__module__ != "mmengine.hooks.hook":
        return True
    parts = name.split("_")  # MMEngine's before_train_epoch calls _before_epoch
    general = f"_{parts[0]}_{parts[-1]}" if len(parts) == 3 else ""
    inner = getattr(type(hook), general, None)
    return inner is not None and inner.__module__ != "mmengine.hooks.hook"


def _points() -> Iterator[str]:
    for when in ("before", "after"):
        for role in _STAGES:
            yield from (f"{when}_{role}", f"{when}_{role}_epoch", f"{when}_{role}_iter")
