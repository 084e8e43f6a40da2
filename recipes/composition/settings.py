"""Settings: a runner's arguments, checked as a whole, and those that are groups of options."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from pathlib import Path
from typing import Any

from torch import nn

from ...engine.data.module import is_data_module
from ...engine.errors import nearest
from ...engine.placement.launchers import LAUNCHERS
from ..config.objects import Objects, TypeNotFound
from ..config.paths import joined
from ..config.problems import ABSENT, Problem
from ..config.registry import LOOPS, MODELS, RUNNERS, Registry
from .evaluators import check_evaluator
from .guests import kind_of
from .hooking import check_custom_hooks, check_default_hooks
from .loaders import check_loader, makes_data_module
from .loops import is_ours, of_loop
from .named import check_averaged, check_monitored
from .optimizers import check_optimizations, missing_optimizers
from .options import (
    AutoScaleLR,
    DistCfg,
    EnvCfg,
    EvalCfg,
    LogProcessorCfg,
    MpCfg,
    Randomness,
    TrainCfg,
)
from .placements import check_one_optimizer, check_placement
from .schedules import check_schedules
from .sinks import check_visualizer

__all__ = [
    "Settings",
    "arguments_in_files",
    "own_arguments",
    "problems_in",
    "runner_problems",
]

Check = Callable[[Any, str, Objects], Iterable[Problem]]

_LOADERS = ("train_dataloader", "val_dataloader", "test_dataloader", "predict_dataloader")
_OFFERED = ("runner", "dataloader", "evaluator")  # to loops
_GROUPS_WITHIN: Mapping[type, Mapping[str, type]] = {EnvCfg: {"mp_cfg": MpCfg, "dist_cfg": DistCfg}}
_MODES = (
    "default",
    "reduce-overhead",
    "max-autotune",
    "max-autotune-no-cudagraphs",
    "lite",
)
_LEVELS = ("CRITICAL", "ERROR", "WARNING", "INFO", "DEBUG", "NOTSET")


@dataclass(frozen=True, kw_only=True)
class Settings:
    """The groups of options among a runner's arguments.

    Attributes:
        train, val, test, predict: of the calls.
        randomness, env: of the process.
        log_processor: of what is logged.
        auto_scale_lr: of the linear scaling rule; ``None`` where it is not asked for.
    """

    train: TrainCfg
    val: EvalCfg
    test: EvalCfg
    predict: EvalCfg
    randomness: Randomness
    env: EnvCfg
    log_processor: LogProcessorCfg
    auto_scale_lr: AutoScaleLR | None

    @classmethod
    def of(cls, arguments: Mapping[str, Any], objects: Objects) -> Settings:
        """The groups of some arguments, which have been checked."""

        def made(kind: type[Any], name: str) -> Any:
            given = arguments.get(name)
            if isinstance(given, kind):
                return given
            options = _of_group(kind, dict(given or {}), objects)
            for inner, one in _GROUPS_WITHIN.get(kind, {}).items():
                if isinstance(options.get(inner), Mapping):
                    options[inner] = objects.call(one, options[inner], path=f"{name}.{inner}")
            return objects.call(kind, options, path=name)

        scale = arguments.get("auto_scale_lr")
        return cls(
            train=made(TrainCfg, "train_cfg"),
            val=made(EvalCfg, "val_cfg"),
            test=made(EvalCfg, "test_cfg"),
            predict=made(EvalCfg, "predict_cfg"),
            randomness=made(Randomness, "randomness"),
            env=made(EnvCfg, "env_cfg"),
            log_processor=made(LogProcessorCfg, "log_processor"),
            auto_scale_lr=None if scale is None else made(AutoScaleLR, "auto_scale_lr"),
        )


_INSTEAD = {
    "custom_imports": " What a module defines is imported by its path, as type: my_module.Net."
}
"""What to do, where a name of MMEngine has nothing in its place."""


def problems_in(
    arguments: Mapping[str, Any], objects: Objects, runner: Callable[..., Any] | None = None
) -> list[Problem]:
    """All that is wrong with a runner's arguments; nothing is built.

    Args:
        arguments: by the names of the runner's parameters.
        objects: what finds what is given as ``{type: …}``.
        runner: the runner's class; one of the user's own may have parameters of its own.
    """
    found: list[Problem] = []
    own: Mapping[str, Any] = {}
    if runner is not None:
        own = own_arguments(runner, arguments)
        others = [*_CHECKS, "objects"]
        found.extend(objects.check_call(runner, own, "", injected=others))
    for name, value in arguments.items():
        if name in own:
            continue
        if name in _CHECKS:
            found.extend(_CHECKS[name](value, name, objects))
        else:
            reason = "the runner has no such argument"
            hint = _INSTEAD.get(str(name)) or nearest(str(name), _CHECKS)
            found.append(Problem(path=str(name), given=value, reason=reason, hint=hint))
    found.extend(_contradictions(arguments, objects))
    found.extend(check_monitored(arguments, objects))
    found.extend(check_averaged(arguments, objects))
    found.extend(check_one_optimizer(arguments))
    found.extend(_check_optimizer_given(arguments, objects))
    return found


def _check_optimizer_given(arguments: Mapping[str, Any], objects: Objects) -> Iterator[Problem]:
    """Where nobody says which optimizer; some models bring theirs."""
    model = arguments.get("model")
    if isinstance(model, Mapping) and "type" in model:
        try:
            model = objects.find(model["type"], MODELS)
        except LookupError:  # which was told already
            model = None
    if not kind_of(model).own_optimizers:
        yield from missing_optimizers(arguments.get("optim_wrapper"), "optim_wrapper")


def own_arguments(runner: Callable[..., Any], arguments: Mapping[str, Any]) -> dict[str, Any]:
    """Those that the user's own class of a runner takes, and :class:`.Runner` does not."""
    names = [name for name in signature_names(runner) if name not in _CHECKS]
    return {name: one for name, one in arguments.items() if name in names and name != "objects"}


def arguments_in_files(runner: Callable[..., Any]) -> list[str]:
    """What a configuration in a file may say of a runner's arguments, and of which kind it is."""
    names = [name for name in signature_names(runner) if name not in ("cfg", "objects")]
    return [*names, "runner_type"]


def signature_names(runner: Callable[..., Any]) -> list[str]:
    """What a class names in its signature."""
    several = (inspect.Parameter.VAR_POSITIONAL, inspect.Parameter.VAR_KEYWORD)
    parameters = inspect.signature(runner).parameters.values()
    return [one.name for one in parameters if one.kind not in several]


def runner_problems(name: Any, objects: Objects, base: type | None = None) -> list[Problem]:
    """What is wrong with the type of a runner.

    Args:
        name: the type, or its name.
        objects: what finds it.
        base: what it has to be derived from.
    """
    if str(getattr(name, "__name__", name)).rpartition(".")[2] == "FlexibleRunner":
        reason = "is MMEngine's runner of strategies; what they are for says model_wrapper_cfg"
        return [Problem(path="runner_type", given=name, reason=reason, hint=" Leave it out.")]
    try:
        found = objects.find(name, RUNNERS)
    except TypeNotFound as error:
        return [Problem(path="runner_type", given=name, reason=error.reason, hint=error.hint)]
    if base is None or (inspect.isclass(found) and issubclass(found, base)):
        return []
    reason = "is no class that is derived from Runner; derive it, or leave runner_type out"
    return [Problem(path="runner_type", given=name, reason=reason)]


def _is_module(given: Any, objects: Objects) -> bool:
    return is_data_module(given) or makes_data_module(given, objects)


def _contradictions(arguments: Mapping[str, Any], objects: Objects) -> Iterator[Problem]:
    """What is right by itself, but not together."""
    given = {name: arguments.get(name) for name in _LOADERS}
    modules = [n for n, one in given.items() if _is_module(one, objects)]
    if modules and any(one is not None for name, one in given.items() if name not in modules):
        others = [name for name, one in given.items() if one is not None and name not in modules]
        yield Problem(
            path=others[0],
            given=ABSENT,
            reason=f"the data module in {modules[0]} brings all loaders; leave this one out",
        )
    train, data = arguments.get("train_cfg"), arguments.get("train_dataloader")
    reloads = isinstance(train, Mapping) and train.get("reload_every")
    if reloads and data is not None and not isinstance(data, Mapping) and not is_data_module(data):
        yield Problem(
            path="train_cfg.reload_every",
            given=reloads,
            reason="a loader that is made already can't be made anew; give a mapping to make it "
            "of, or a data module",
        )
    preprocessor = arguments.get("data_preprocessor")
    if preprocessor is not None and isinstance(arguments.get("model"), nn.Module):
        yield Problem(
            path="data_preprocessor",
            given=preprocessor,
            reason="the model is built already; hand the preprocessor to it",
        )


# ---------------------------------------------------------------------- one argument each


def _model(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if isinstance(given, Mapping):
        injected = () if "data_preprocessor" in given else ("data_preprocessor",)
        yield from objects.check(given, path, MODELS, injected=injected)
        if "type" not in given:
            yield Problem(path=f"{path}.type", given=ABSENT, reason="a model needs a type")
    elif not isinstance(given, nn.Module):
        reason = "a model is a Module of torch, or a mapping with type"
        yield Problem(path=path, given=given, reason=reason)


def _loader(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if given is not None and not is_data_module(given):
        yield from check_loader(given, path, objects)


def _options(
    kind: type[Any], given: Any, path: str, objects: Objects, loops: Registry | None = None
) -> Iterator[Problem]:
    """A group of options, or a loop: one of ours, which takes these options, or the user's own."""
    if given is None or isinstance(given, kind):
        return
    if loops is None or not isinstance(given, Mapping) or given.get("type") is None:
        yield from objects.check_call(kind, given, path)
        for name, one in _GROUPS_WITHIN.get(kind, {}).items():
            inner = given.get(name) if isinstance(given, Mapping) else None
            if isinstance(inner, Mapping):
                yield from objects.check_call(one, inner, f"{path}.{name}")
        return
    injected = [one for one in _OFFERED if one not in given]
    try:
        loop = objects.find(given["type"], loops)
    except TypeNotFound:
        yield from objects.check(given, path, loops)
        return
    own, rest = of_loop(loop, given)
    yield from objects.check(own, path, loops, injected=injected)
    known = [*inspect.signature(loop).parameters, *(field.name for field in fields(kind))]
    for name in [name for name in rest if name not in known]:
        yield Problem(
            path=joined(path, str(name)),
            given=rest.pop(name),
            reason=f"neither {loop.__name__} nor {kind.__name__} takes {str(name)!r}",
            hint=nearest(str(name), known),
        )
    yield from objects.check_call(kind, rest, path)


def _anything(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    yield from ()


def _preprocessor(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if isinstance(given, Mapping) and "type" in given:
        yield from objects.check(given, path, MODELS)


def _text(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if given is not None and not isinstance(given, (str, Path)):
        yield Problem(path=path, given=given, reason="is a text")


def _experiment_name(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if given is not None and not isinstance(given, str):
        yield Problem(path=path, given=given, reason="is a text")
        return
    name = Path(given or "_")
    if name.is_absolute() or name.drive or ".." in name.parts or not name.parts:
        reason = "is the name of a folder within work_dir, or of one within such; it has no '..', "
        yield Problem(path=path, given=given, reason=f"{reason}and begins with no slash")


def _resume(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if not isinstance(given, (bool, str, Path)) and given is not None:
        reason = "is true or false, 'last', 'best', or the path of a checkpoint"
        yield Problem(path=path, given=given, reason=reason)


def _one_of(known: tuple[str, ...], given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if given is not None and given not in known:
        reason = f"is one of {', '.join(known)}"
        yield Problem(path=path, given=given, reason=reason, hint=nearest(str(given), known))


def _level(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if isinstance(given, bool) or not isinstance(given, int):
        yield from _one_of(_LEVELS, given, path, objects)


def _compile(given: Any, path: str, objects: Objects) -> Iterator[Problem]:
    if given is not None and not isinstance(given, (bool, Mapping)):
        reason = "is true or false, or the options of torch.compile"
        yield Problem(path=path, given=given, reason=reason)
    elif isinstance(given, Mapping) and objects.limited:
        yield from _compile_safely(given, path, objects)


def _compile_safely(given: Mapping[str, Any], path: str, objects: Objects) -> Iterator[Problem]:
    """Where types are limited: the others' backends and options name programs to be run."""
    for name, value in given.items():
        at = joined(path, str(name))
        if name == "mode":
            yield from _one_of(_MODES, value, at, objects)
        elif name not in ("dynamic", "fullgraph"):
            reason = "it may not be used here, as it can name what is run"
            hint = " Allowed are mode, dynamic and fullgraph."
            yield Problem(path=at, given=value, reason=reason, hint=hint)
        elif value is not None and not isinstance(value, bool):
            yield Problem(path=at, given=value, reason="is true or false")


_CHECKS: Mapping[str, Check] = {
    "model": _model,
    "work_dir": _text,
    "train_dataloader": _loader,
    "val_dataloader": _loader,
    "test_dataloader": _loader,
    "predict_dataloader": _loader,
    "train_cfg": partial(_options, TrainCfg, loops=LOOPS),
    "val_cfg": partial(_options, EvalCfg, loops=LOOPS),
    "test_cfg": partial(_options, EvalCfg, loops=LOOPS),
    "predict_cfg": partial(_options, EvalCfg),
    "auto_scale_lr": partial(_options, AutoScaleLR),
    "optim_wrapper": check_optimizations,
    "param_scheduler": check_schedules,
    "val_evaluator": check_evaluator,
    "test_evaluator": check_evaluator,
    "default_hooks": check_default_hooks,
    "custom_hooks": check_custom_hooks,
    "data_preprocessor": _preprocessor,
    "load_from": _text,
    "resume": _resume,
    "launcher": partial(_one_of, LAUNCHERS),
    "env_cfg": partial(_options, EnvCfg),
    "log_processor": partial(_options, LogProcessorCfg),
    "log_level": _level,
    "visualizer": check_visualizer,
    "randomness": partial(_options, Randomness),
    "experiment_name": _experiment_name,
    "compile": _compile,
    "model_wrapper_cfg": check_placement,
    "default_scope": _text,
    "cfg": _anything,
}
"""What checks each argument of a runner."""


def _of_group(kind: type[Any], given: dict[str, Any], objects: Objects) -> dict[str, Any]:
    """What of a loop's options is a group's; the user's own may have others besides."""
    if given.get("type") is None:
        return given
    loop = objects.find(given["type"], LOOPS)
    names = {field.name for field in fields(kind)}
    own, rest = of_loop(loop, given)
    # what a loop takes for itself may have a name of the group's, and mean something else
    options = {n: one for n, one in own.items() if n in names and _fits(kind, n, one, objects)}
    by_epoch = {"by_epoch": loop.by_epoch} if is_ours(loop) and hasattr(loop, "by_epoch") else {}
    return {**by_epoch, **options, **rest}


def _fits(kind: type[Any], name: str, value: Any, objects: Objects) -> bool:
    """Whether a value will do for an option of a group."""
    return not objects.check_call(kind, {name: value}, name)
