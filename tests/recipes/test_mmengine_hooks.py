"""Hooks of MMEngine, its own and users', on our runner."""

from __future__ import annotations

import copy
from pathlib import Path

import numpy as np
import pytest
import torch

pytest.importorskip("mmengine")

from mmengine import hooks
from mmengine.hooks import EarlyStoppingHook, EMAHook, Hook, IterTimerHook, RuntimeInfoHook
from mmengine.registry import HOOKS, VISUALIZERS
from mmengine.runner import Runner as MMEngineRunner
from mmengine.visualization import Visualizer
from torch.utils.data import DataLoader, TensorDataset

from footplate import Runner
from footplate.engine.errors import HandlerError
from footplate.recipes.composition.mmengine.arguments import hook_kind
from footplate.recipes.composition.mmengine.hooks import INSTEAD
from footplate.recipes.config.objects import Objects
from tests.recipes.mmengine_task import Accuracy, Net, loader, project

pytestmark = pytest.mark.filterwarnings("ignore::DeprecationWarning:mmengine")

VALIDATED = {"val_dataloader": loader(12, 5), "val_evaluator": [Accuracy()], "val_cfg": {}}

NEEDS = {"EarlyStoppingHook": {"monitor": "accuracy"}, "PrepareTTAHook": {"tta_cfg": {}}}
"""What some of them are made with."""

ELSEWHERE = {"NPUProfilerHook"}  # which needs another device


@pytest.mark.covers("E3", "A11")
@pytest.mark.parametrize("name", sorted({*hooks.__all__} - ELSEWHERE))
def test_mmengines_own_hooks_work_or_are_refused_by_name(name):
    made = getattr(hooks, name)(**NEEDS.get(name, {}))
    options = project(**VALIDATED, custom_hooks=[made])
    if name in INSTEAD:
        with pytest.raises(HandlerError, match=f"{name}, which works on its own runner alone; "):
            Runner(**options)
        return
    runner = Runner(**options)
    runner.train()
    assert runner.epoch == 3


def table():
    """What the docs say of MMEngine's hooks: by name, as an instance and by its name."""
    page = Path(__file__).parents[2] / "docs" / "migrating" / "mmengine.md"
    lines = page.read_text(encoding="utf-8").split("| MMEngine's hook |")[1].splitlines()[2:]
    rows = [line.strip("| ").split(" | ") for line in lines[: lines.index("")]]
    return {name.strip("`"): (instance, *by_name) for name, instance, *by_name in rows}


@pytest.mark.covers("E3")
def test_the_docs_tell_of_each_of_them():
    assert table().keys() == {*hooks.__all__}


@pytest.mark.covers("E3")
@pytest.mark.parametrize("name", sorted({*hooks.__all__} - ELSEWHERE - {"Hook"}))
def test_what_the_docs_tell_is_so(name):
    instance, by_name = table()[name]
    assert instance.startswith("refused" if name in INSTEAD else "works")
    given = {"type": name, **NEEDS.get(name, {})}
    if by_name == "refused":
        with pytest.raises(HandlerError, match="works on its own runner alone"):
            Runner(**project(custom_hooks=[given]))
        return
    found = hook_kind(given, Objects())
    ours = found.__module__.startswith("footplate.")
    assert ours is by_name.startswith("ours")
    if by_name.endswith("it itself"):
        own = {"EMAHook": "momentum", "ProfilerHook": "by_epoch", "EarlyStoppingHook": "strict"}
        assert hook_kind({**given, own[name]: 0}, Objects()) is getattr(hooks, name)


@pytest.mark.covers("H2")
@pytest.mark.parametrize(
    ("given", "ours"),
    [
        ({"type": "CheckpointHook", "save_optimizer": True}, "CheckpointHook"),
        ({"type": hooks.CheckpointHook, "interval": 2}, "CheckpointHook"),
        ({"type": "mmengine.hooks.LoggerHook", "ignore_last": False}, "LoggerHook"),
        ({"type": "ParamSchedulerHook"}, "ParamSchedulerHook"),
    ],
)
def test_by_their_names_and_classes_ours_are_meant(given, ours):
    place = {"CheckpointHook": "checkpoint", "LoggerHook": "logger"}.get(ours, "param_scheduler")
    runner = Runner(**project(default_hooks={place: given, "report": None}))
    (found,) = [one for one in runner.hooks if type(one).__name__ == ours]
    assert type(found).__module__.startswith("footplate.recipes.composition.")


@pytest.mark.covers("H2")
@pytest.mark.parametrize(
    ("options", "line"),
    [
        ({"filename_tmpl": "epoch_{}"}, r"filename_tmpl: checkpoints are folders"),
        ({"save_optimizer": False}, r"save_optimizer: a run goes on from any of its checkpoints"),
        ({"save_best": ["accuracy", "loss"]}, r"save_best: one metric decides"),
        ({"published_keys": ["meta"]}, r"published_keys: weights are in each checkpoint"),
    ],
)
def test_options_that_mean_something_else_here_are_refused_with_a_reason(options, line):
    hook = {"checkpoint": {"type": "CheckpointHook", **options}}
    with pytest.raises(ValueError, match=rf"default_hooks\.checkpoint\.{line}"):
        Runner(**project(default_hooks=hook))


@pytest.mark.covers("H2")
def test_checkpoints_begin_where_save_begin_says():
    hook = {"checkpoint": {"interval": 2, "save_begin": 3, "max_keep_ckpts": -1}, "logger": None}
    limits = {"by_epoch": True, "max_epochs": 6}
    runner = Runner(**project(default_hooks=hook, train_cfg=limits))
    runner.train()
    saved = sorted(int(one.name) // 10 for one in (runner.folder / "checkpoints").iterdir())
    assert saved == [3, 5, 6]


class Facts(Hook):
    """Looks at the runner as MMEngine's own hooks do."""

    def __init__(self):
        self.seen = {}

    def before_train(self, runner):
        self.seen["places"] = (runner.work_dir, runner.log_dir, runner.timestamp)
        self.seen["cfg"] = runner.cfg.train_cfg.max_epochs
        self.seen["loaders"] = len(runner.train_dataloader), len(runner.train_loop.dataloader)
        runner.logger.info("begins")

    def _before_iter(self, runner, batch_idx, data_batch=None, mode="train"):
        self.seen.setdefault(mode, []).append((runner.iter, batch_idx))

    def after_train_iter(self, runner, batch_idx, data_batch=None, outputs=None):
        if self.every_n_train_iters(runner, 10) or self.is_last_train_iter(runner):
            self.seen.setdefault("every", []).append(runner.iter)
        if self.end_of_epoch(runner.train_dataloader, batch_idx) and self.is_last_train_epoch(
            runner
        ):
            self.seen["end"] = runner.epoch
        runner.visualizer.add_scalar("double", 2 * outputs["loss"].item())
        runner.message_hub.update_scalar("train/loss", outputs["loss"].item())
        self.seen["lr"] = runner.optim_wrapper.get_lr()["lr"], len(runner.param_schedulers)


@pytest.mark.covers("A11", "E3")
def test_facts_that_hooks_read():
    hook = Facts()
    schedule = {"type": "StepLR", "step_size": 2, "gamma": 0.5}
    runner = Runner(**project(**VALIDATED, custom_hooks=[hook], param_scheduler=schedule))
    runner.train()
    seen = hook.seen
    assert seen["places"] == (str(runner.work_dir), str(runner.folder), runner.timestamp)
    assert (seen["cfg"], seen["loaders"], seen["end"]) == (3, (10, 10), 2)
    assert seen["every"] == [9, 19, 29]
    assert seen["train"] == [(number, number % 10) for number in range(30)]
    assert seen["val"][:4] == [(10, 0), (10, 1), (10, 2), (20, 0)]
    assert seen["lr"] == ([0.05], 1)


@pytest.mark.covers("A11", "E3")
def test_hooks_draw_with_the_visualizer_that_is_named(tmp_path):
    class Red(Visualizer):
        def add_datasample(self, name, image, data_sample=None, step=0, **kwargs):
            self.set_image(image)
            self.add_image(f"{name}_{self.dataset_meta['color']}", self.get_image(), step)

    class Draws(Hook):
        def __init__(self):
            self.visualizer = Visualizer.get_current_instance()

        def before_train_epoch(self, runner):
            assert runner.visualizer is self.visualizer
            self.visualizer.add_datasample("sample", np.full((4, 4, 3), 7, np.uint8))

    class Colored(TensorDataset):
        metainfo = {"color": "red"}  # noqa: RUF012

    VISUALIZERS.register_module(module=Red, force=True)
    HOOKS.register_module(module=Draws, force=True)
    data = DataLoader(Colored(*loader().dataset.tensors), 4)
    backends = [{"type": "LocalVisBackend", "save_dir": str(tmp_path)}]
    drawing = {"type": "Red", "name": "red", "vis_backends": backends}
    hooked = {"custom_hooks": [{"type": "Draws"}], "default_hooks": {"checkpoint": None}}
    runner = Runner(**project(**hooked, visualizer=drawing, train_dataloader=data))
    runner.train()
    assert len(list(tmp_path.rglob("*sample_red*"))) == 3


@pytest.mark.covers("A11")
def test_a_slip_of_the_pen_at_the_runner_is_told():
    class Wrong(Hook):
        def before_train(self, runner):
            runner.max_epoch  # noqa: B018

    with pytest.raises(AttributeError, match=r"a runner has no 'max_epoch'\. Did you mean 'max_ep"):
        Runner(**project(custom_hooks=[Wrong()])).train()


@pytest.mark.covers("A11")
def test_priorities_order_them_and_registering_beats_the_class():
    calls = []

    def made(name, priority):
        def note(self, runner):
            calls.append(name)

        return type(name, (Hook,), {"before_train": note, "priority": priority})()

    HOOKS.register_module(module=type(made("Registered", "VERY_LOW")), force=True)
    given = [made("late", "LOW"), {"type": "Registered", "priority": 45}, made("first", "HIGH")]
    runner = Runner(**project(custom_hooks=given))
    runner.register_hook(made("second", "LOWEST"), priority="ABOVE_NORMAL")
    runner.train()
    assert calls == ["first", "second", "Registered", "late"]


@pytest.mark.covers("A11")
def test_early_stopping_by_mmengines_hook_ends_the_run():
    stop = EarlyStoppingHook(monitor="accuracy", min_delta=2.0, patience=1)
    limits = {"by_epoch": True, "max_epochs": 9}

    def epochs(kind):
        hook = copy.deepcopy(stop)
        runner = kind(**project(**VALIDATED, custom_hooks=[hook], train_cfg=limits))
        runner.train()
        return runner.epoch

    assert epochs(Runner) == epochs(MMEngineRunner) == 2


def averaged(runner):
    (hook,) = [one for one in runner.hooks if isinstance(getattr(one, "hook", one), EMAHook)]
    return getattr(hook, "hook", hook).ema_model.module.state_dict()


@pytest.mark.covers("A11", "E3")
def test_the_average_of_emahook_is_mmengines():
    def trained(kind):
        hook = EMAHook(momentum=0.1)
        runner = kind(**project(**VALIDATED, custom_hooks=[hook]))
        runner.train()
        return averaged(runner), runner.model.state_dict()

    (ours, weights), (theirs, their_weights) = trained(Runner), trained(MMEngineRunner)
    assert all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert all(torch.equal(weights[name], their_weights[name]) for name in weights)
    assert not torch.equal(ours["net.0.weight"], weights["net.0.weight"])


@pytest.mark.covers("A11", "E3")
def test_what_a_hook_puts_into_a_checkpoint_comes_back():
    def made(**changes):
        options = {"custom_hooks": [{"type": "EMAHook", "momentum": 0.1}], **VALIDATED}
        saves = {"checkpoint": {"interval": 1}, "logger": None, "report": None}
        return Runner(**project(default_hooks=saves, **options, **changes))

    whole = made()
    whole.train()
    short = made(train_cfg={"by_epoch": True, "max_epochs": 1})
    short.train()
    (found,) = (short.folder / "checkpoints").iterdir()
    went_on = made(resume=str(found))
    went_on.train()
    ours, expected = averaged(went_on), averaged(whole)
    assert all(torch.equal(ours[name], expected[name]) for name in expected)
    tester = made(load_from=str(found))
    tester.val()
    mean = averaged(short)
    assert all(torch.equal(one, mean[name]) for name, one in tester.model.state_dict().items())


@pytest.mark.covers("A11")
def test_mmengines_facts_are_in_its_hub():
    class Watched(Net):
        seen = []  # noqa: RUF012 - of the class, as there is one model

        def forward(self, *args, mode="tensor", **kwargs):
            from mmengine.logging import MessageHub

            hub = MessageHub.get_current_instance()
            told = [hub.get_info(name) for name in ("loop_stage", "epoch", "iter", "max_iters")]
            self.seen.append(tuple(told))
            return super().forward(*args, mode=mode, **kwargs)

    hooks_of_theirs = [RuntimeInfoHook(), IterTimerHook()]
    Runner(**project(model=Watched, **VALIDATED, custom_hooks=hooks_of_theirs)).train()
    assert Watched.seen[:2] == [("train", 0, 0, 30), ("train", 0, 1, 30)]
    assert Watched.seen[10][0] == "val"
    assert Watched.seen[13] == ("train", 1, 10, 30)
