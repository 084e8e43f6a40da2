"""wall_e: its runner's calls, and models, callbacks and evaluators that were written for it.

wall_e can't be installed; what its pages say of its classes is written out here as a package.
"""

from __future__ import annotations

import importlib
import sys
import textwrap

import pytest
import torch
from ignite.metrics import Accuracy
from omegaconf import OmegaConf
from torch import nn

from footplate.engine.errors import HandlerError
from footplate.recipes import wall_e
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.runner import Runner

pytestmark = pytest.mark.covers("C2")

QUIET = {"logger": None, "report": None, "checkpoint": None}
PACKAGE = """
import torch
from torch import nn


class BaseModel(nn.Module):
    def train_step(self, batch): ...
    def valid_step(self, batch): ...
    def test_step(self, batch): ...


class BaseCallBack:
    def __init__(self):
        self.runner = None
    def on_register(self): ...
    def on_exception(self, *args, **kwargs): ...
    def before_fit(self): ...
    def after_fit(self): ...
    def before_train(self): ...
    def after_train(self): ...
    def before_running_batch(self): ...
    def after_running_batch(self): ...
    def before_running_epoch(self): ...
    def after_running_epoch(self): ...
    def before_valid(self): ...
    def after_valid(self): ...
    def before_test(self): ...
    def after_test(self): ...
"""
DATA = [(torch.eye(3)[[n % 3]].repeat(4, 1), torch.full((4,), n % 3)) for n in range(6)]


@pytest.fixture
def package(tmp_path, monkeypatch):
    """The classes that a user of wall_e derives from, in a package of its name."""
    folder = tmp_path / "site" / "wall_e"
    folder.mkdir(parents=True)
    (folder / "__init__.py").write_text(textwrap.dedent(PACKAGE))
    monkeypatch.syspath_prepend(str(folder.parent))
    importlib.invalidate_caches()
    yield importlib.import_module("wall_e")
    monkeypatch.delitem(sys.modules, "wall_e")


def model_of(base):
    class Net(base):
        def __init__(self):
            super().__init__()
            torch.manual_seed(0)
            self.net = nn.Linear(3, 3)

        def train_step(self, batch):
            logits = self.net(batch[0])
            loss = nn.functional.cross_entropy(logits, batch[1])
            return {"loss": loss, "y_pred": logits, "y": batch[1]}

        def valid_step(self, batch):
            return self.net(batch[0]), batch[1]

        test_step = valid_step

    return Net()


def journal_of(base, **methods):
    """A callback that notes which of its methods are called, and returns something from each."""
    lines = []
    names = [name for name in vars(base) if name.startswith(("before_", "after_"))]

    def noting(name):
        def method(self):
            lines.append(name)
            return "for nobody"

        return method

    made = type("Journal", (base,), {**{name: noting(name) for name in names}, **methods})()
    return made, lines


def runner(folder, model, **changes):
    data = {f"{name}_data_loader": DATA for name in ("train", "valid", "test")}
    metrics = {f"{name}_evaluator": {"accuracy": Accuracy()} for name in ("valid", "test")}
    return wall_e.Runner(
        model,
        **{
            "epochs": 2,
            **data,
            **metrics,
            "work_dir": folder,
            "default_hooks": QUIET,
            **changes,
        },
    )


EPOCH = ["before_running_epoch", *["before_running_batch", "after_running_batch"] * 6]
EPOCH = [*EPOCH, "after_running_epoch"]
VALID = ["before_valid", *EPOCH, "after_valid"]


@pytest.mark.covers("A11")
def test_a_users_callback_is_called_at_all_points_in_order(tmp_path, package):
    registered = []

    def on_register(self):
        registered.append(self.runner)

    callback, lines = journal_of(package.BaseCallBack, on_register=on_register)
    made = runner(tmp_path, model_of(package.BaseModel), epochs=1)
    made.register_callbacks([callback])
    assert registered == [made]
    made.fit()
    # the validation comes before the epoch's own handlers of the same event
    assert lines == [
        "before_fit",
        "before_train",
        *EPOCH[:-1],
        *VALID,
        "after_running_epoch",
        "after_train",
        "after_fit",
    ]
    lines.clear()
    made.test()
    assert lines == ["before_test", *EPOCH, "after_test"]


TOLD = []


def takes_nothing(self):
    TOLD.append(None)


def takes_the_error(self, error):
    TOLD.append(error)


def takes_anything(self, *args, **kwargs):
    TOLD.extend(args)


@pytest.mark.covers("A11")
@pytest.mark.parametrize("on_exception", [takes_nothing, takes_the_error, takes_anything])
def test_an_error_is_told_once_and_raised(tmp_path, package, on_exception):
    TOLD.clear()
    callback, lines = journal_of(package.BaseCallBack, on_exception=on_exception)

    class Broken(package.BaseModel):
        def __init__(self):
            super().__init__()
            self.net = nn.Linear(3, 3)

        def train_step(self, batch):
            raise ZeroDivisionError("in the step")

    run = runner(tmp_path, Broken(), custom_hooks=[callback])
    with pytest.raises(ZeroDivisionError, match="in the step") as caught:
        run.fit()
    assert [None if on_exception is takes_nothing else caught.value] == TOLD
    assert lines[-1] == "after_fit"


def test_a_method_may_ask_for_what_its_point_hands_over(tmp_path, package):
    seen = []

    def after_valid(self, runner, metrics):
        seen.append((runner.epoch, metrics["accuracy"]))

    callback, _ = journal_of(package.BaseCallBack, after_valid=after_valid)
    made = runner(tmp_path, model_of(package.BaseModel), custom_hooks=[callback])
    made.fit()
    assert [epoch for epoch, _ in seen] == [1, 2]
    assert seen[-1][1] == made.valid()["accuracy"]


def test_what_a_callback_asks_for_and_nobody_has_is_an_error(tmp_path, package):
    def before_fit(self, thing):
        """Never called."""

    callback, _ = journal_of(package.BaseCallBack, before_fit=before_fit)
    with pytest.raises(HandlerError, match="asks for 'thing'"):
        runner(tmp_path, model_of(package.BaseModel), custom_hooks=[callback])


def test_what_is_no_callback_is_refused(tmp_path, package):
    made = runner(tmp_path, model_of(package.BaseModel))
    with pytest.raises(TypeError, match="a hook is an instance of"):
        made.register_callbacks([print])


@pytest.mark.covers("G1")
def test_a_callbacks_state_goes_with_the_run(tmp_path, package):
    class Counter(package.BaseCallBack):
        count = 0

        def after_running_batch(self):
            self.count += 1

        def state_dict(self):
            return {"count": self.count}

        def load_state_dict(self, state):
            self.count = state["count"]

    def made(epochs, **changes):
        hooks = {**QUIET, "checkpoint": {}}
        counter = Counter()
        return counter, runner(
            tmp_path,
            model_of(package.BaseModel),
            epochs=epochs,
            valid_data_loader=None,
            valid_evaluator=None,
            default_hooks=hooks,
            custom_hooks=[counter],
            experiment_name="counted",
            **changes,
        )

    first, run = made(1)
    run.fit()
    second, run = made(2, resume=True)
    run.fit()
    assert (first.count, second.count) == (6, 12)


@pytest.mark.parametrize("ours", [True, False])
def test_it_trains_as_the_runner_itself_does(tmp_path, package, ours):
    model = model_of(wall_e.BaseModel if ours else package.BaseModel)
    run = runner(tmp_path / "a", model)
    assert run.fit() is None
    assert type(run.optim_wrapper.optimizer) is torch.optim.AdamW
    plain = Runner(
        model_of(nn.Module),
        tmp_path / "b",
        train_dataloader=DATA,
        train_cfg={"max_epochs": 2},
        default_hooks=QUIET,
    )
    plain.train()
    assert torch.equal(model.net.weight, plain.model.net.weight)
    assert run.is_main_process


@pytest.mark.parametrize("count", [0, 1, 2])
def test_its_schedulers_are_at_hand(tmp_path, count):
    schedules = [{"type": "StepLR", "step_size": 1}, {"type": "ExponentialLR", "gamma": 0.9}]
    run = runner(tmp_path, model_of(wall_e.BaseModel), param_scheduler=schedules[:count] or None)
    found = run.scheduler if count == 2 else [run.scheduler]
    names = [type(one).__name__ for one in found]
    assert names == [["NoneType"], ["StepLR"], ["StepLR", "ExponentialLR"]][count]


def test_both_triggers_of_validation_work_at_once(tmp_path):
    lines = []

    class Validations(wall_e.BaseCallBack):
        def after_valid(self):
            lines.append(self.runner.iter)

    cfg = OmegaConf.create({"training": {"val_interval": 2, "val_iters": 4}, "lr": 0.1})
    run = runner(tmp_path, model_of(wall_e.BaseModel), cfg=cfg, epochs=4)
    run.register_callbacks([Validations()])
    run.fit()
    assert lines == [4, 10, 12, 16, 22, 24]
    assert run.cfg["cfg"]["lr"] == 0.1


def test_an_unknown_option_of_training_is_an_error_that_names_it(tmp_path):
    with pytest.raises(ConfigError, match="val_intervall"):
        runner(tmp_path, model_of(wall_e.BaseModel), cfg={"training": {"val_intervall": 2}})


def test_a_group_that_is_nearly_training_is_warned_of(tmp_path):
    cfg = {"trainig": {"val_iters": 5}}
    with pytest.warns(UserWarning, match="'trainig'.* Did you mean 'training'"):
        runner(tmp_path, model_of(wall_e.BaseModel), cfg=cfg)


@pytest.mark.parametrize("cfg", [{"training": None, "trainer": {}}, {"data": {"size": 3}}])
def test_other_groups_are_the_users_own(tmp_path, cfg):
    assert runner(tmp_path, model_of(wall_e.BaseModel), cfg=cfg).cfg["cfg"] == cfg


@pytest.mark.parametrize("enable", [True, False])
def test_checkpoints_are_turned_on_and_off(tmp_path, enable):
    run = runner(
        tmp_path,
        model_of(wall_e.BaseModel),
        cfg={"pt": {"enable": enable}},
        default_hooks={"logger": None, "report": None},
    )
    run.fit()
    assert (run.folder / "checkpoints").exists() == enable


class Right:
    """An evaluator that is told where the run stands."""

    runner_state = None

    def process(self, data_batch, data_samples):
        logits, labels = data_samples
        self.results.extend((logits.argmax(1) == labels).tolist())

    def compute_metrics(self, results):
        state = self.runner_state
        assert state.is_main_process
        assert (state.rank, state.world_size, state.device.type) == (0, 1, "cpu")
        return {"right": sum(results) / len(results), "behind": state.epoch, "at": state.iteration}


@pytest.mark.covers("E3")
@pytest.mark.parametrize("several", [True, False])
def test_evaluators_are_given_the_runners_state(tmp_path, several):
    evaluator = Right()
    given = {"right": evaluator} if several else evaluator
    run = runner(tmp_path, model_of(wall_e.BaseModel), valid_evaluator=given)
    assert evaluator.runner_state.model is run.model
    run.fit()
    metrics = run.valid()
    assert (metrics["behind"], metrics["at"]) == (2, 12)


class Heir(Right):
    """One whose base class has the place for the state."""


class Told(Accuracy):
    """One of pytorch-ignite's that has such a place, too."""

    runner_state = None


@pytest.mark.covers("E3")
@pytest.mark.parametrize("kind", [Heir, type("Heir", (Told,), {})])
@pytest.mark.parametrize("role", ["train", "valid", "test"])
def test_the_evaluator_of_each_role_is_given_the_state_through_its_base_class(tmp_path, role, kind):
    evaluator = kind()
    given = {f"{role}_evaluator": {"right": evaluator, "accuracy": Accuracy()}}
    run = runner(tmp_path, model_of(wall_e.BaseModel), **given)
    assert evaluator.runner_state.model is run.model
    assert "runner_state" not in vars(given[f"{role}_evaluator"]["accuracy"])


@pytest.mark.covers("E1")
def test_a_train_evaluator_measures_training(tmp_path):
    run = runner(tmp_path, model_of(wall_e.BaseModel), train_evaluator={"trained": Accuracy()})
    run.fit()
    assert 0 <= run.trainer.state.metrics["trained"] <= 1


class Loop:
    """A loop of the user's, which counts its runs."""

    def __init__(self):
        self.runs = 0

    def run(self):
        self.runs += 1
        return {"runs": self.runs}


def test_own_loops_take_the_place_of_the_default_ones(tmp_path):
    train, test = Loop(), Loop()
    run = runner(tmp_path, model_of(wall_e.BaseModel), train_loop=train, test_loop=test)
    run.fit()
    run.test()
    assert (train.runs, test.runs) == (1, 1)


@pytest.mark.parametrize("call", ["fit", "valid", "test"])
def test_own_loops_need_no_loader(tmp_path, call):
    loops = {name: Loop() for name in ("fit", "valid", "test")}
    run = wall_e.Runner(
        model_of(wall_e.BaseModel),
        train_loop=loops["fit"],
        valid_loop=loops["valid"],
        test_loop=loops["test"],
        valid_evaluator=Right(),
        work_dir=tmp_path,
        default_hooks=QUIET,
    )
    told = getattr(run, call)()
    assert {name: one.runs for name, one in loops.items() if one.runs} == {call: 1}
    assert told == (None if call == "fit" else {"runs": 1})


def test_an_own_loop_without_loader_validates_behind_each_epoch(tmp_path):
    valid = Loop()
    given = {"valid_loop": valid, "valid_data_loader": None, "valid_evaluator": None}
    run = runner(tmp_path, model_of(wall_e.BaseModel), epochs=3, **given)
    run.fit()
    assert valid.runs == 3


def test_an_own_loop_of_the_test_is_no_data_to_predict_of(tmp_path):
    given = {"test_loop": Loop(), "test_data_loader": None, "test_evaluator": None}
    run = runner(tmp_path, model_of(wall_e.BaseModel), **given)
    with pytest.raises(ValueError, match="needs predict_dataloader or test_data_loader, which"):
        run.predict()


@pytest.mark.parametrize("name", ["train_dataloader", "val_dataloader", "val_evaluator"])
def test_an_argument_by_its_name_elsewhere_is_refused(tmp_path, name):
    here = {"val_dataloader": "valid_data_loader", "val_evaluator": "valid_evaluator"}
    here = here.get(name, "train_data_loader")
    with pytest.raises(TypeError, match=f"{name}= is {here}= with this Runner"):
        runner(tmp_path, model_of(wall_e.BaseModel), **{name: DATA})


@pytest.mark.parametrize(
    ("gone", "said"),
    [
        ("valid_data_loader", "valid_evaluator, but no valid_data_loader for it"),
        ("valid_evaluator", r"nothing to measure there; give Runner\(…, valid_evaluator="),
    ],
)
def test_half_of_an_evaluation_is_an_error_in_the_words_of_this_constructor(tmp_path, gone, said):
    run = runner(tmp_path, nn.Linear(3, 3), **{gone: None})
    with pytest.raises(ValueError, match=said):
        run.check_measured("val", "valid")


@pytest.mark.parametrize(
    ("call", "needs"),
    [("fit", "train_data_loader"), ("valid", "valid_data_loader"), ("test", "test_data_loader")],
)
def test_a_call_without_data_says_what_is_missing(tmp_path, call, needs):
    run = wall_e.Runner(model_of(wall_e.BaseModel), work_dir=tmp_path, default_hooks=QUIET)
    with pytest.raises(ValueError, match=f"needs {needs}, .*{needs}="):
        getattr(run, call)()


@pytest.mark.parametrize("step", ["train_step", "valid_step", "test_step"])
def test_a_step_that_is_missing_says_so(step):
    with pytest.raises(NotImplementedError, match="_step\\(batch\\) is missing"):
        getattr(wall_e.BaseModel(), step)(None)
