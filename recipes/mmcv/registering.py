"""Registering: a runner's hooks, in their order, and what configurations make of hooks."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from ...engine.errors import nearest
from ...engine.priority import Priority
from .hook import HOOKS, Hook
from .registry import build_from_cfg
from .unsupported import refuse_unsupported

__all__ = ["Registering"]

_Cfg = Mapping[str, Any] | Hook | None
_TIMER = {"type": "IterTimerHook"}


class Registering:
    """What a runner does with hooks.

    Attributes:
        hooks: the hooks, by priority, and those of the same in the order of registration.
    """

    hooks: list[Hook]
    _settled = False

    def register_hook(self, hook: Hook, priority: int | str = "NORMAL") -> None:
        """Take a hook.

        Args:
            hook: the hook.
            priority: where it stands in the order: a name, or a number from 0, first, to 100.

        Raises:
            TypeError: for what is no hook.
            ValueError: for one that has a priority already, and for no priority.
        """
        if not isinstance(hook, Hook):
            raise TypeError(
                f"a hook is an instance of footplate.recipes.mmcv.Hook, given {hook!r:.80}. "
                f"Footplate's own handlers are attached to an engine: runner.trainer.attach(…)."
            )
        if hasattr(hook, "priority"):
            raise ValueError(
                f"{type(hook).__name__} has a priority already, so it is registered, or its class "
                f"says one; register a hook once, with priority=, and take that away."
            )
        hook.priority = Priority.of(priority)
        self.hooks.append(hook)
        self.hooks.sort(key=lambda one: one.priority)  # which keeps the order of equals
        if self._settled:
            hook.settle(self)  # type: ignore[arg-type]

    def call_hook(self, fn_name: str) -> None:
        """Call the method of this name of all hooks, in their order."""
        for hook in self.hooks:
            getattr(hook, fn_name)(self)

    def get_hook_info(self) -> str:
        """The hooks at each stage, as text."""
        blocks = []
        for stage in Hook.stages:
            lines = [
                f"({Priority.label(hook.priority):<12}) {type(hook).__name__:<35}"
                for hook in self.hooks
                if stage in hook.get_triggered_stages()
            ]
            if lines:
                blocks.append("\n".join([f"{stage}:", *lines, " -------------------- "]))
        return "\n".join(blocks)

    # ------------------------------------------------------------------ by configurations

    def register_hook_from_cfg(self, hook_cfg: Mapping[str, Any]) -> None:
        """Build a hook of ``dict(type=…, priority=…, **arguments)``, and take it."""
        options = dict(hook_cfg)
        priority = options.pop("priority", "NORMAL")
        self.register_hook(_built(options), priority)

    def register_lr_hook(self, lr_config: _Cfg) -> None:
        """Take what sets learning rates: ``dict(policy="step", …)``, or a hook."""
        self._register(lr_config, "VERY_HIGH", kind="LrUpdaterHook")

    def register_momentum_hook(self, momentum_config: _Cfg) -> None:
        """Take what sets momenta: ``dict(policy="cyclic", …)``, or a hook."""
        self._register(momentum_config, "HIGH", kind="MomentumUpdaterHook")

    def register_optimizer_hook(self, optimizer_config: _Cfg) -> None:
        """Take what steps the optimizer: ``dict(grad_clip=…)``, or a hook."""
        self._register(optimizer_config, "ABOVE_NORMAL", default="OptimizerHook")

    def register_checkpoint_hook(self, checkpoint_config: _Cfg) -> None:
        """Take what saves: ``dict(interval=…)``, or a hook."""
        self._register(checkpoint_config, "NORMAL", default="CheckpointHook")

    def register_timer_hook(self, timer_config: _Cfg) -> None:
        """Take what measures times."""
        self._register(timer_config, "LOW", default="IterTimerHook")

    def register_profiler_hook(self, profiler_config: _Cfg) -> None:
        """Take what profiles."""
        self._register(profiler_config, "NORMAL", default="ProfilerHook")

    def register_logger_hooks(self, log_config: Mapping[str, Any] | None) -> None:
        """Take what logs: ``dict(interval=10, hooks=[dict(type="TextLoggerHook")])``."""
        if log_config is None:
            return
        for info in log_config["hooks"]:
            hook = _built(info, interval=log_config["interval"])
            self.register_hook(hook, "VERY_LOW")

    def register_custom_hooks(
        self, custom_config: Sequence[Mapping[str, Any] | Hook] | _Cfg
    ) -> None:
        """Take others: a hook, or how to build it, or a list of these."""
        if custom_config is None:
            return
        given: Any = custom_config
        several = given if isinstance(given, (list, tuple)) else [given]
        for one in several:
            if isinstance(one, Mapping):
                self.register_hook_from_cfg(one)
            else:
                self.register_hook(one)

    def register_training_hooks(
        self,
        lr_config: _Cfg,
        optimizer_config: _Cfg = None,
        checkpoint_config: _Cfg = None,
        log_config: Mapping[str, Any] | None = None,
        momentum_config: _Cfg = None,
        timer_config: _Cfg = _TIMER,
        custom_hooks_config: Sequence[Mapping[str, Any] | Hook] | _Cfg = None,
    ) -> None:
        """Take the hooks of a training, each with the priority that MMCV gives it.

        These are: learning rate VERY_HIGH, momentum HIGH, optimizer ABOVE_NORMAL, checkpoints and
        custom hooks NORMAL, timer LOW, loggers VERY_LOW. In an ``IterBasedRunner`` rates,
        checkpoints and logs count iterations, unless they are told ``by_epoch=True``.

        Args:
            lr_config: see :meth:`register_lr_hook`.
            optimizer_config: see :meth:`register_optimizer_hook`.
            checkpoint_config: see :meth:`register_checkpoint_hook`.
            log_config: see :meth:`register_logger_hooks`.
            momentum_config: see :meth:`register_momentum_hook`.
            timer_config: see :meth:`register_timer_hook`.
            custom_hooks_config: see :meth:`register_custom_hooks`.
        """
        if log_config is not None:
            hooks = [self._counting(info) for info in log_config["hooks"]]
            log_config = {**log_config, "hooks": hooks}
        self.register_lr_hook(self._counting(lr_config))
        self.register_momentum_hook(momentum_config)
        self.register_optimizer_hook(optimizer_config)
        self.register_checkpoint_hook(self._counting(checkpoint_config))
        self.register_timer_hook(timer_config)
        self.register_logger_hooks(log_config)
        self.register_custom_hooks(custom_hooks_config)

    def _counting(self, given: Any) -> Any:
        """A configuration that counts what the runner counts, unless it says otherwise."""
        return given

    def _register(
        self, given: _Cfg, priority: str, *, kind: str | None = None, default: str | None = None
    ) -> None:
        """Take a hook, or build it of a policy's name or with a default type."""
        if given is None:
            return
        if isinstance(given, Mapping):
            options = dict(given)
            if kind is not None:
                options["type"] = _policy(options, kind)
            elif default is not None:
                options.setdefault("type", default)
            given = _built(options)
        self.register_hook(given, priority)


def _built(options: Mapping[str, Any], **default_args: Any) -> Hook:
    refuse_unsupported(options.get("type"))
    hook: Hook = build_from_cfg(options, HOOKS, default_args)
    return hook


def _policy(options: dict[str, Any], kind: str) -> str:
    """The name of the hook of a policy. One in small letters is written with a capital there."""
    if "policy" not in options:
        raise KeyError(f"a configuration of a {kind} has 'policy', given {options}.")
    policy = options.pop("policy")
    name = f"{policy.title() if policy == policy.lower() else policy}{kind}"
    if HOOKS.get(name) is None:
        known = [one.removesuffix(kind) for one in HOOKS.names() if one.endswith(kind)]
        raise KeyError(
            f"policy {policy!r} is none of {', '.join(filter(None, known))}."
            f"{nearest(policy, known)}"
        )
    return name
