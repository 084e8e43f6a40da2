"""Hooks: default ones, own ones, the points of a run's life, and what they keep."""

from __future__ import annotations

from typing import ClassVar

import pytest
import torch

from footplate.engine.errors import HandlerError
from footplate.engine.events import Events
from footplate.engine.handler import Handler
from footplate.engine.priority import Priority
from footplate.engine.state import Reason
from footplate.handlers.early_stopping import EarlyStopping
from footplate.handlers.progress_bar import ProgressBar
from footplate.recipes.composition.bundles import CheckpointHook, EarlyStoppingHook
from footplate.recipes.composition.hook import Hook
from footplate.recipes.composition.points import CALLS, KEEPING, POINTS, offered_at
from footplate.recipes.config.problems import ConfigError
from tests.recipes.composition.tools import loader, runner

MMENGINE = [
    "RuntimeInfoHook",
    "IterTimerHook",
    "DistSamplerSeedHook",
    "LoggerHook",
    "ParamSchedulerHook",
    "CheckpointHook",
]


def kinds(made):
    return [type(one).__name__ for one in made.hooks]


# ---------------------------------------------------------------------- default hooks


@pytest.mark.covers("H1")
def test_the_default_hooks_have_mmengines_order_and_priorities(tmp_path):
    made = runner(tmp_path, default_hooks={"report": {}})
    assert kinds(made) == [*MMENGINE, "ReportHook"]
    priorities = [int(one.priority) for one in made.hooks]
    assert priorities[:6] == [10, 50, 50, 60, 70, 90]
    handlers = made.trainer.handlers
    of = {
        name: handlers[name].priority for name in ("timer", "sampler_seed", "scalars", "checkpoint")
    }
    assert of == {
        "timer": Priority.NORMAL,
        "sampler_seed": Priority.NORMAL,
        "scalars": Priority.BELOW_NORMAL,
        "checkpoint": Priority.VERY_LOW,
    }


@pytest.mark.covers("H2")
def test_default_hooks_are_merged_by_name(tmp_path):
    hooks = {"timer": None, "checkpoint": {"interval": 3, "max_keep_ckpts": -1}}
    made = runner(tmp_path, default_hooks=hooks, train_cfg={"max_epochs": 6})
    assert kinds(made) == [name for name in MMENGINE if name != "IterTimerHook"]
    made.train()
    saved = sorted(one.name for one in (made.folder / "checkpoints").iterdir())
    assert saved == ["00000012", "00000024"]
    assert "timer" not in made.trainer.handlers


@pytest.mark.covers("H2")
def test_a_default_hook_may_be_another_one_or_an_instance(tmp_path):
    bar = ProgressBar()
    hooks = {"checkpoint": CheckpointHook(interval=-1, save_last=False), "logger": bar}
    made = runner(tmp_path, default_hooks=hooks)
    made.train()
    assert not list((made.folder / "checkpoints").glob("0*"))
    assert made.trainer.handlers["progress_bar"] is bar


@pytest.mark.covers("H2")
def test_default_hooks_by_iteration(tmp_path):
    made = runner(
        tmp_path,
        train_cfg={"max_iters": 7, "by_epoch": False},
        default_hooks={"checkpoint": {"interval": 3, "max_keep_ckpts": 9}},
    )
    made.train()
    saved = sorted(one.name for one in (made.folder / "checkpoints").iterdir())
    assert saved == ["00000003", "00000006", "00000007"]


@pytest.mark.covers("G6")
def test_the_best_is_kept(tmp_path):
    made = runner(
        tmp_path,
        default_hooks={"checkpoint": {"save_best": "auto"}},
        train_cfg={"max_epochs": 3},
    )
    ranking = made.checkpoint.ranking
    assert (ranking.metric, ranking.sign, ranking.best) == ("val_mse", -1.0, 1)
    asked = {"save_best": "score", "rule": "greater", "keep_best": 2}
    ranking = runner(tmp_path, default_hooks={"checkpoint": asked}).checkpoint.ranking
    assert (ranking.metric, ranking.sign, ranking.best) == ("val_score", 1.0, 2)
    with pytest.raises(ConfigError, match=r"checkpoint\.rule: is 'greater' or 'less'.*'score'"):
        runner(tmp_path, default_hooks={"checkpoint": {"save_best": "score"}})
    with pytest.raises(ValueError, match="first metric of val_evaluator, but there is none"):
        runner(
            tmp_path,
            default_hooks={"checkpoint": {"save_best": "auto"}},
            val_evaluator=None,
            val_dataloader=None,
        ).train()


@pytest.mark.covers("H3")
@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        (
            {"chekpoint": {"interval": 1}},
            r"default_hooks\.chekpoint: there is no default hook.*'checkp",
        ),
        ({"chekpoint": None}, r"default_hooks\.chekpoint: there is no default hook.*'checkpoint'"),
        ({"checkpoint": {"intervall": 1}}, r"default_hooks\.checkpoint\.intervall: .*'interval'"),
        ({"checkpoint": {"interval": 0}}, r"default_hooks\.checkpoint\.interval: .*from 1 on"),
        ({"checkpoint": 5}, r"default_hooks\.checkpoint: is no instance of Handler or Hook"),
        ({"checkpoint": CheckpointHook}, r"default_hooks\.checkpoint: is no instance"),
        (
            {"checkpoint": {"priority": "LOWER"}},
            r"default_hooks\.checkpoint\.priority: priority 'LOWER' is not one of .*'LOW'",
        ),
        ({"checkpoint": {"on": "val"}}, r"default_hooks\.checkpoint\.on: it goes to all engines"),
        ([], r"default_hooks: is a mapping of hooks by name"),
    ],
)
def test_wrong_default_hooks_are_refused(tmp_path, hooks, said):
    from footplate.recipes.runner import Runner

    with pytest.raises(ConfigError, match=said):
        Runner(torch.nn.Identity(), tmp_path, default_hooks=hooks)


# ---------------------------------------------------------------------- custom hooks


class Noted(Handler):
    """Notes what it hears, in an order that all of them share."""

    heard: ClassVar[list[str]] = []

    def __init__(self, title="noted"):
        self.title = title

    def epoch_completed(self, engine):
        self.heard.append(f"{self.title} of {engine.name}")


@pytest.fixture
def heard():
    Noted.heard = []
    return Noted.heard


@pytest.mark.covers("H2")
def test_custom_hooks_are_handlers_of_the_engines_that_are_named(tmp_path, heard):
    hooks = [
        Noted("instance"),
        {"type": Noted, "title": "everywhere", "on": ["train", "val"], "name": "e"},
        {"type": Noted, "title": "val", "on": "val"},
    ]
    hooks[1].pop("name")
    made = runner(
        tmp_path,
        custom_hooks=hooks[:1],
        default_hooks={"everywhere": hooks[1], "val": hooks[2]},
        train_cfg={"max_epochs": 1},
    )
    made.train()
    assert sorted(heard) == sorted(
        ["instance of train", "everywhere of train", "everywhere of val", "val of val"]
    )
    assert {"noted", "everywhere"} <= made.trainer.handlers.keys()
    assert {"everywhere", "val"} <= made.validator.handlers.keys()


@pytest.mark.covers("H1", "A6")
def test_priority_of_the_argument_beats_the_key_which_beats_the_class(tmp_path, heard):
    class Late(Noted):
        priority = Priority.LOW

    made = runner(tmp_path, train_cfg={"max_epochs": 1})
    made.register_hook(Late("class"))
    made.register_hook({"type": Noted, "title": "normal"})
    made.register_hook({"type": Late, "title": "key", "priority": "HIGH"}, name="key")
    made.register_hook(
        {"type": Late, "title": "argument", "priority": "LOWEST"}, priority=20, name="argument"
    )
    made.train()
    assert [one.split()[0] for one in heard] == ["argument", "key", "normal", "class"]


@pytest.mark.covers("H1")
def test_a_hook_may_come_when_the_engines_are_there(tmp_path, heard):
    made = runner(tmp_path, train_cfg={"max_epochs": 1})
    made.trainer  # noqa: B018
    made.register_hook(Noted("late"))
    made.train()
    assert heard == ["late of train"]


@pytest.mark.covers("H2")
def test_what_a_handler_asks_for_by_name_is_offered(tmp_path):
    class Wants(Handler):
        def __init__(self, runner, model, folder, evaluator):
            self.given = runner, model, folder, evaluator

        def started(self, engine):
            pass

    made = runner(tmp_path, custom_hooks=[{"type": Wants}])
    given = made.trainer.handlers["wants"].given
    assert given == (made, made.model, made.folder / "wants", made.validator)


@pytest.mark.covers("H3")
@pytest.mark.parametrize(
    ("hooks", "said"),
    [
        ([5], r"custom_hooks\[0\]: is no instance of Handler or Hook"),
        ([Noted], r"custom_hooks\[0\]: is no instance of Handler or Hook"),
        ([{"title": "x"}], r"custom_hooks\[0\]: is no instance .*, nor a mapping with type"),
        ([{"type": Noted, "on": "vall"}], r"custom_hooks\[0\]\.on: the engines are .*'val'"),
        ([{"type": Noted, "titel": 3}], r"custom_hooks\[0\]\.titel: .*'title'"),
        ({"type": Noted}, r"custom_hooks: is a list of hooks"),
        (iter([Noted()]), r"custom_hooks: is a list of hooks"),
    ],
)
def test_wrong_custom_hooks_are_refused(tmp_path, hooks, said):
    with pytest.raises(ConfigError, match=said):
        runner(tmp_path, custom_hooks=hooks)
    with pytest.raises(TypeError, match="a hook is an instance of Handler or Hook"):
        runner(tmp_path).register_hook(5)


@pytest.mark.covers("B5")
def test_early_stopping_looks_when_there_was_a_validation(tmp_path):
    hook = {"type": "EarlyStoppingHook", "monitor": "mse", "min_delta": 99.0, "patience": 2}
    cfg = {"max_epochs": 20, "val_interval": 2, "min_epochs": 9}
    made = runner(tmp_path, custom_hooks=[hook], train_cfg=cfg)
    made.train()
    assert made.epoch == 9
    assert made.trainer.state.reason == Reason.TERMINATED
    stopping = made.trainer.handlers["early_stopping"]
    assert isinstance(stopping, EarlyStopping)
    assert stopping.metric == "val_mse"
    wrong = runner(tmp_path, custom_hooks=[EarlyStoppingHook("mes", rule="less")])
    with pytest.raises(KeyError, match=r"val_mes.*'val_mse'"):
        wrong.train()


@pytest.mark.covers("B3")
@pytest.mark.parametrize("by_epoch", [True, False])
def test_early_stopping_looks_when_a_phase_has_validated(tmp_path, by_epoch):
    hook = {"type": "EarlyStoppingHook", "monitor": "mse", "min_delta": 99.0, "patience": 2}
    limit = {"max_epochs": 20} if by_epoch else {"max_iters": 20}
    cfg = {**limit, "by_epoch": by_epoch, "workflow": [("train", 2), ("val", 1)]}
    made = runner(tmp_path, custom_hooks=[hook], train_cfg=cfg)
    made.train()
    assert (made.epoch if by_epoch else made.iter) == 6


# ---------------------------------------------------------------------- points


def everything():
    """A hook that has all points, and notes each as it comes by."""
    lines = []

    def noting(name):
        def method(self):
            lines.append(name)

        method.__qualname__ = f"Everything.{name}"
        return method

    names = [*POINTS, *CALLS, *KEEPING]
    return type("Everything", (Hook,), {name: noting(name) for name in names})(), lines


VAL_EPOCH = """
before_val before_valid on_validation_start
before_val_epoch before_epoch before_running_epoch on_validation_epoch_start
before_val_iter before_iter before_running_batch on_validation_batch_start
after_val_iter after_iter after_running_batch on_validation_batch_end
after_val_epoch after_epoch after_running_epoch on_validation_epoch_end
after_val after_valid on_validation_end
"""
TRAIN_ITER = """
before_train_iter before_iter before_running_batch on_train_batch_start
on_before_backward
on_after_backward
on_before_optimizer_step
on_before_zero_grad
after_train_iter after_iter after_running_batch on_train_batch_end
"""
EPOCH = f"""
before_train_epoch before_epoch before_running_epoch on_train_epoch_start
{TRAIN_ITER}
{VAL_EPOCH}
after_train_epoch after_epoch after_running_epoch on_train_epoch_end
before_save_checkpoint on_save_checkpoint
"""
TRAINING = f"""
setup before_run
before_fit on_fit_start
before_save_checkpoint on_save_checkpoint
before_train on_train_start
{EPOCH}
{EPOCH}
after_train on_train_end
after_fit on_fit_end
after_run teardown
"""


def grouped(lines, template):
    """The lines, those at one event sorted as in the template: nobody says their order."""
    found, position = [], 0
    for row in template.split("\n"):
        names = row.split()
        found += sorted(lines[position : position + len(names)], key=names.index)
        position += len(names)
    return found + lines[position:]


@pytest.mark.covers("A11")
def test_the_order_of_all_points_of_two_epochs(tmp_path):
    hook, lines = everything()
    made = runner(
        tmp_path,
        custom_hooks=[hook],
        train_cfg={"limit_batches": 1},
        val_cfg={"limit_batches": 1},
    )
    made.train()
    assert grouped(lines, TRAINING) == TRAINING.split()


@pytest.mark.covers("A11")
@pytest.mark.parametrize(("role", "word"), [("test", "test"), ("predict", "predict")])
def test_the_points_of_other_calls(tmp_path, role, word):
    hook, lines = everything()
    made = runner(
        tmp_path,
        custom_hooks=[hook],
        test_dataloader=loader(2),
        test_evaluator={"mse": made_metric()},
    )
    getattr(made, role)()
    expected = f"""
    setup before_run
    before_{role} on_{word}_start
    before_{role}_epoch before_epoch before_running_epoch on_{word}_epoch_start
    before_{role}_iter before_iter before_running_batch on_{word}_batch_start
    after_{role}_iter after_iter after_running_batch on_{word}_batch_end
    after_{role}_epoch after_epoch after_running_epoch on_{word}_epoch_end
    after_{role} on_{word}_end
    after_run teardown
    """
    assert grouped(lines, expected) == expected.split()


def made_metric():
    from ignite.metrics import MeanSquaredError

    return MeanSquaredError()


@pytest.mark.covers("A11")
def test_every_point_hands_over_what_the_table_says(tmp_path):
    told = {}

    def noting(name):
        def method(self, **values):
            told[name] = values

        return method

    methods = {name: noting(name) for name in [*POINTS, *CALLS, *KEEPING]}
    hook = type("Asks", (Hook,), methods)()
    made = runner(
        tmp_path,
        custom_hooks=[hook],
        val_dataloader={"few": loader(2), "more": loader(4)},
        test_dataloader=loader(2),
        test_evaluator={"mse": made_metric()},
    )
    made.train()
    made.test()
    made.predict()
    made.trainer.add_event_handler(Events.STARTED, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.train()
    runner(tmp_path, custom_hooks=[hook], resume=True, **two_loaders()).val()
    runner(tmp_path, custom_hooks=[hook], resume=True, **two_loaders()).train()
    assert told.keys() == {*POINTS, *CALLS, *KEEPING}
    for name, values in told.items():
        if name in POINTS:
            assert tuple(values) == offered_at(POINTS[name]), name
    assert told["on_exception"]["exception"].__class__ is ZeroDivisionError
    last = told["on_validation_batch_end"]
    assert (last["batch_idx"], last["dataloader_idx"], last["stage"]) == (1, 1, "val")
    assert last["outputs"][1] is last["batch"][1] is last["data_batch"][1]
    assert told["after_val_epoch"]["metrics"].keys() == {"mse"}
    step = told["on_before_optimizer_step"]
    assert step["optimizer"] is step["optimization"].optimizer
    assert torch.is_tensor(told["on_before_backward"]["loss"])
    assert told["setup"]["stage"] == "train"
    made = runner(tmp_path, custom_hooks=[hook], val_cfg={"limit_batches": 1}, **two_loaders())
    made.val()
    assert told["on_validation_batch_end"]["dataloader_idx"] == 1


def two_loaders():
    return {"val_dataloader": {"few": loader(2), "more": loader(4)}}


@pytest.mark.covers("A11")
def test_hooks_of_one_point_run_by_priority(tmp_path):
    order = []

    def hook(title, level):
        def after_train_epoch(self):
            order.append(title)

        def custom(self):
            order.append(f"custom {title}")

        members = {"after_train_epoch": after_train_epoch, "custom": custom, "priority": level}
        return type(title, (Hook,), members)()

    hooks = [hook("Third", "LOW"), hook("First", 5), hook("Second", "NORMAL")]
    made = runner(tmp_path, custom_hooks=hooks, train_cfg={"max_epochs": 1})
    made.train()
    made.call_hook("custom")
    titles = ["First", "Second", "Third"]
    assert order == [*titles, *(f"custom {one}" for one in titles)]
    own = [one for one in made.hooks if type(one).__name__ in titles]
    assert [type(one).__name__ for one in own] == titles


@pytest.mark.covers("B6")
def test_any_name_can_be_called_and_is_an_event(tmp_path):
    told = []

    class Own(Hook):
        def halfway(self, runner, share, note="none"):
            told.append((runner.iter, share, note))

    made = runner(tmp_path, custom_hooks=[Own()])
    made.bus.signal("halfway").connect(lambda sender, share: told.append(share))
    made.call_hook("halfway", share=0.5)
    assert told == [(0, 0.5, "none"), 0.5]
    made.call_hook("nobody_listens", x=1)
    with pytest.raises(HandlerError, match=r"Own.halfway asks for 'share', but this call hands"):
        made.call_hook("halfway", part=0.5)


@pytest.mark.covers("A11")
@pytest.mark.parametrize(
    ("name", "parameters", "said"),
    [
        ("after_train_iter", "outptus", r"asks for 'outptus', but .*hands over .*outputs"),
        ("before_run", "stage", r"asks for 'stage', but point 'before_run' hands over runner"),
        ("before_save_checkpoint", "state", r"asks for 'state'.*checkpoint"),
        ("after_trainepoch", "runner", r"named as a point.*'after_train_epoch'"),
        ("on_sanity_check_start", "runner", r"named as a point of a run's life, but there is no"),
        ("on_train_batch_ends", "runner", r"'on_train_batch_end'"),
        ("befor_run", "", r"Did you mean 'before_run'"),
    ],
)
def test_what_would_fail_later_is_refused_when_a_hook_is_registered(
    tmp_path, name, parameters, said
):
    space: dict = {}
    exec(f"def {name}(self, {parameters}): pass", space)
    hook = type("Wrong", (Hook,), {name: space[name]})()
    with pytest.raises(HandlerError, match=said):
        runner(tmp_path, custom_hooks=[hook])


@pytest.mark.covers("A11")
def test_what_a_method_returns_is_refused(tmp_path):
    class Returns(Hook):
        def after_train_iter(self):
            return "skip"

        def own(self):
            return 1

    made = runner(tmp_path, custom_hooks=[Returns()])
    with pytest.raises(TypeError, match=r"Returns.after_train_iter returned 'skip'"):
        made.train()
    with pytest.raises(TypeError, match=r"Returns.own returned 1"):
        made.call_hook("own")


@pytest.mark.covers("A11")
def test_a_point_that_the_engine_does_not_fire_is_refused(tmp_path):
    class Backward(Hook):
        def on_after_backward(self):
            pass

    cfg = {"step": lambda engine, batch: None}
    with pytest.raises(HandlerError, match=r"on_after_backward is BACKWARD_COMPLETED, which"):
        runner(tmp_path, custom_hooks=[Backward()], train_cfg=cfg).train()


@pytest.mark.covers("A11")
def test_hooks_hear_that_they_are_registered(tmp_path):
    given = []

    class Registered(Hook):
        def on_register(self, runner):
            given.append(runner)

    made = runner(tmp_path, custom_hooks=[Registered()])
    made.train()
    assert given == [made]


class Best(Hook):
    lowest = 99.0

    def __init__(self):
        self.epochs = 0

    def after_val_epoch(self, metrics):
        self.lowest = min(self.lowest, metrics["mse"])

    def before_save_checkpoint(self, runner, checkpoint):
        checkpoint["lowest"] = self.lowest

    def after_load_checkpoint(self, runner, checkpoint):
        self.lowest = checkpoint["lowest"]

    def after_train_epoch(self):
        self.epochs += 1

    def state_dict(self):
        return {"epochs": self.epochs}

    def load_state_dict(self, state):
        self.epochs = state["epochs"]


@pytest.mark.covers("A11")
def test_what_hooks_keep_comes_back_with_a_checkpoint(tmp_path):
    first = Best()
    runner(tmp_path, custom_hooks=[first]).train()
    assert (first.epochs, first.lowest < 99) == (2, True)
    second = Best()
    made = runner(tmp_path, custom_hooks=[second], resume=True)
    made.train()
    assert (second.epochs, second.lowest) == (first.epochs, first.lowest)
    assert made.iter == 8


@pytest.mark.covers("A11")
def test_two_hooks_of_one_name_are_refused(tmp_path):
    with pytest.raises(HandlerError, match=r"there is a hook named 'best' already.*set name="):
        runner(tmp_path, custom_hooks=[Best(), Best()])
    other = Best()
    other.name = "other"
    runner(tmp_path, custom_hooks=[Best(), other]).train()


@pytest.mark.covers("H2")
def test_averaging_and_profiling_have_mmengines_names(tmp_path):
    hooks = [{"type": "EMAHook", "decay": 0.5}, {"type": "ProfilerHook"}]
    made = runner(tmp_path, custom_hooks=hooks)
    assert {"EMA", "Profiler"} <= {type(one).__name__ for one in made.trainer.handlers.values()}


class Awaited(Hook):
    async def after_train_epoch(self):
        pass


class Yielding(Hook):
    def before_save_checkpoint(self, checkpoint):
        yield checkpoint


class Called(Hook):
    async def setup(self):
        pass


@pytest.mark.covers("H2")
@pytest.mark.parametrize(
    ("kind", "said"),
    [
        (Awaited, r"Awaited.after_train_epoch is an async function.*the point 'after_train_epoch'"),
        (Yielding, "Yielding.before_save_checkpoint is a generator function"),
        (Called, "Called.setup is an async function"),
    ],
)
def test_methods_that_would_run_nothing_are_refused(tmp_path, kind, said):
    with pytest.raises(HandlerError, match=said):
        runner(tmp_path, custom_hooks=[kind()])


@pytest.mark.covers("H2")
def test_a_method_that_is_no_point_may_be_a_generator(tmp_path):
    class Helped(Hook):
        def pairs(self):
            yield 1, 2

    assert isinstance(runner(tmp_path, custom_hooks=[Helped()]).hooks[-1], CheckpointHook)
