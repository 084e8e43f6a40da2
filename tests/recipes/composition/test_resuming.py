"""Going on: from the newest, the best, a path; in the same folder, to the same bits."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections import Counter

import pytest
import torch
import yaml
from ignite.metrics import MeanSquaredError
from torch import nn

from footplate.engine.checkpoints.manifest import Manifest
from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.errors import StateError
from footplate.engine.events import Events
from footplate.engine.stream.journal import Journal
from footplate.recipes.composition.folders import seed_in
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.runner import Runner
from tests.architecture.library import ROOT
from tests.recipes.composition import killed_run
from tests.recipes.composition.tools import Line, loader, runner, same, weights


def child(*arguments, code=None):
    """A run in a process that begins with nothing."""
    program = ["-m", "tests.recipes.composition.killed_run"] if code is None else ["-c", code]
    return subprocess.run(
        [sys.executable, *program, *map(str, arguments)],
        check=False,
        cwd=ROOT,
        env={**os.environ, "OMP_NUM_THREADS": "1"},
        capture_output=True,
        text=True,
        timeout=120,
    )


def told(finished):
    assert finished.returncode == 0, finished.stderr
    return json.loads(finished.stdout.splitlines()[-1])


@pytest.mark.covers("G6")
def test_a_killed_run_goes_on_in_its_folder_to_the_same_bits(tmp_path):
    whole = told(child(tmp_path / "whole"))
    assert child(tmp_path / "cut", 13).returncode == -signal.SIGKILL
    assert child(tmp_path / "cut", 26).returncode == -signal.SIGKILL
    cut = told(child(tmp_path / "cut"))
    for name in ("weights", "average", "metrics", "iter"):
        assert cut[name] == whole[name], name
    (folder,) = (tmp_path / "cut" / "killed").iterdir()
    assert str(folder) == cut["folder"]
    lines = Journal.read(folder / "scalars.jsonl")
    assert [line["step"] for line in lines if line["on"] == "iteration"] == list(range(3, 31, 3))
    steps = Counter((line["on"], line["step"]) for line in lines)
    assert max(steps.values()) == 1
    steps = steps_of_events(folder / "tensorboard")
    assert steps == sorted({*range(3, 31, 3), 10, 20})  # at the ends of epochs, too
    log = (folder / "run.log").read_text()
    assert log.count("the run goes on from") == 2
    sessions = json.loads((folder / "run.json").read_text())["sessions"]
    assert [one["iteration"] for one in sessions] == [0, 10, 21]  # of every seventh, and the best
    names = {one.name for one in folder.iterdir()}
    assert {"config.yaml", "checkpoints", "report.html", "environment.json"} <= names
    assert not any(".1." in name for name in names)


def steps_of_events(folder):
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    events = EventAccumulator(str(folder))
    events.Reload()
    tags = [tag for tag in events.Tags()["scalars"] if tag.endswith("loss")]
    return [one.step for one in events.Scalars(tags[0])]


@pytest.mark.covers("G6", "H5")
def test_a_killed_run_without_a_seed_goes_on_with_the_one_that_was_drawn(tmp_path):
    assert child(tmp_path, 13, "seedless").returncode == -signal.SIGKILL
    (folder,) = (tmp_path / "killed").iterdir()
    drawn = yaml.safe_load((folder / "config.yaml").read_text())["randomness"]["seed"]
    cut = told(child(tmp_path, "", "seedless"))
    assert (cut["iter"], cut["seed"], cut["folder"]) == (30, drawn, str(folder))
    assert [one.name for one in folder.glob("config*")] == ["config.yaml"]


@pytest.mark.covers("H5", "H7")
@pytest.mark.parametrize("by_hand", [False, True])
def test_a_run_without_a_seed_is_rebuilt_with_the_one_that_was_drawn(tmp_path, by_hand):
    cut = killed_run.runner(str(tmp_path), randomness=None)
    cut.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=14), cut.trainer.interrupt)
    cut.train()
    if by_hand:
        again = killed_run.runner(str(tmp_path), randomness={"deterministic": False})
        again.train_dataloader  # noqa: B018 - it was made with another seed
        again.resume(cut.folder)
    else:
        again = Runner.from_checkpoint(cut.folder)
    again.train()
    assert (again.iter, again.seed) == (30, cut.seed)
    assert again.cfg["randomness"]["seed"] == cut.seed == cut.cfg["randomness"]["seed"]
    assert again.checkpoint.config["randomness"]["seed"] == cut.seed


@pytest.mark.covers("G6")
def test_a_seed_of_a_checkpoint_without_a_configuration_is_taken_too(tmp_path):
    store = CheckpointStore(tmp_path)
    manifest = Manifest(run="r", iteration=1, epoch=1, seed=11)
    assert seed_in(store.save({}, {}, manifest), tmp_path) == 11
    manifest = Manifest(run="r", iteration=2, epoch=1, seed=2**40)
    assert seed_in(store.save({}, {}, manifest), tmp_path) is None


@pytest.mark.covers("G6")
def test_a_run_without_a_name_goes_on_with_none_of_an_experiment(tmp_path):
    unnamed = runner(tmp_path)
    unnamed.train()
    runner(tmp_path, experiment_name="other").train()
    assert runner(tmp_path, resume=True).folder == unnamed.folder
    runner(tmp_path / "new", experiment_name="other").train()
    assert runner(tmp_path / "new", resume=True).to_resume is None


@pytest.mark.covers("H7")
def test_a_run_of_a_nested_experiment_stays_in_its_folder(tmp_path):
    made = killed_run.runner(str(tmp_path), experiment_name="some/deep/name")
    made.train()
    again = Runner.from_checkpoint(made.folder)
    assert (again.work_dir, again.folder) == (tmp_path, made.folder)
    assert runner(tmp_path, experiment_name="some", resume=True).to_resume is None


@pytest.mark.covers("H1")
@pytest.mark.parametrize("name", ["../up", "a/../../b", "/absolute", "."])
def test_an_experiment_stays_in_its_work_dir(tmp_path, name):
    with pytest.raises(ConfigError, match="experiment_name: is the name of a folder within"):
        runner(tmp_path, experiment_name=name)


@pytest.mark.covers("G6")
def test_hooks_may_be_added_and_taken_away_before_a_run_goes_on(tmp_path):
    ema, custom = {"type": "EMA", "decay": 0.5}, {"custom_hooks": [{"type": "EMA", "decay": 0.5}]}
    runner(tmp_path / "a").train()
    added = runner(tmp_path / "a", resume=True, train_cfg={"max_epochs": 3}, **custom)
    with pytest.warns(RuntimeWarning, match="has no state of the hook 'ema', which begins anew"):
        added.train()
    assert added.iter == 12
    assert "begins anew" in (added.folder / "run.log").read_text()
    gone = runner(tmp_path / "a", resume=True, train_cfg={"max_epochs": 4})
    with pytest.warns(RuntimeWarning, match="a state of 'ema', but there is no such hook"):
        gone.train()
    assert gone.iter == 16
    runner(tmp_path / "b", default_hooks={"ema": ema}).train()
    again = runner(tmp_path / "b", train_cfg={"max_epochs": 3})
    with pytest.raises(StateError, match=r"handlers: no handler for 'ema'\. Attach"):
        again.resume(tmp_path / "b")
    again.resume(tmp_path / "b", without=["ema"])
    again.train()
    assert again.iter == 12


@pytest.mark.covers("G6")
def test_a_schedule_that_is_added_or_taken_away_is_an_error(tmp_path):
    schedule = {"type": "StepLR", "step_size": 1}
    runner(tmp_path / "a", param_scheduler=schedule).train()
    with pytest.raises(StateError, match="no handler for 'lr_schedule'"):
        runner(tmp_path / "a", resume=True).train()
    runner(tmp_path / "b").train()
    with pytest.raises(StateError, match="no state for 'lr_schedule'"):
        runner(tmp_path / "b", resume=True, param_scheduler=schedule).train()


@pytest.mark.covers("G6")
def test_a_schedule_of_another_kind_does_not_go_on(tmp_path):
    runner(tmp_path, param_scheduler={"type": "StepLR", "step_size": 1}).train()
    again = runner(tmp_path, resume=True, param_scheduler={"type": "CosineAnnealingLR"})
    with pytest.raises(StateError, match="scheduler of StepLR, and this one is of CosineAnn"):
        again.train()


@pytest.mark.covers("G6")
@pytest.mark.parametrize("more", [{}, {"begin": 1}])
def test_a_schedule_whose_run_becomes_longer_says_so(tmp_path, more):
    def made(**changes):
        return runner(tmp_path, param_scheduler={"type": "CosineAnnealingLR", **more}, **changes)

    made().train()
    made(resume=True).train()  # without a warning, which would be an error
    longer = made(resume=True, train_cfg={"max_epochs": 4})
    old, new = (1, 3) if more else (2, 4)
    said = f"goes on with T_max={old}, as it was saved, and not with T_max={new}"
    with pytest.warns(RuntimeWarning, match=said):
        longer.train()


def changed(lr, factor, norm=1.0):
    return {
        "optim_wrapper": {
            "optimizer": {"type": "SGD", "lr": lr},
            "clip_grad": {"max_norm": norm},
        },
        "param_scheduler": [{"type": "ConstantLR", "factor": factor, "total_iters": 9}],
    }


@pytest.mark.covers("G6")
@pytest.mark.parametrize("by_hand", [False, True])
def test_options_that_a_checkpoint_does_not_heed_are_told_and_noted_as_they_are(tmp_path, by_hand):
    runner(tmp_path, **changed(0.125, 0.5)).train()
    again = runner(
        tmp_path, resume=not by_hand, train_cfg={"max_epochs": 3}, **changed(0.5, 0.25, 2.0)
    )
    said = (
        r"goes on with optim_wrapper\.optimizer\.lr=0\.125 and not 0\.5, "
        r"param_scheduler\[0\]\.factor=0\.5 and not 0\.25, as optimizers and schedules are what "
        r".*00000008 has of them, .* load_from=path"
    )
    with pytest.warns(RuntimeWarning, match=said):
        again.resume(tmp_path) if by_hand else again.train()
    again.train()  # which goes on, or is over
    assert again.optim_wrapper.optimizer.param_groups[0]["lr"] == 0.125 * 0.5
    record = json.loads((again.folder / "run.json").read_text())
    written = yaml.safe_load((again.folder / "config.yaml").read_text())
    for config in (again.cfg, again.checkpoint.config, written, record["config"]):
        noted = {name: config[name] for name in ("optim_wrapper", "param_scheduler")}
        assert noted == changed(0.125, 0.5, 2.0)  # clipping is as it is said now
    runner(tmp_path, resume=True, train_cfg={"max_epochs": 4}, **changed(0.125, 0.5)).train()


@pytest.mark.covers("G6")
def test_what_does_not_go_on_is_as_it_is_said(tmp_path):
    runner(tmp_path, **changed(0.125, 0.5)).train()
    again = runner(tmp_path, train_cfg={"max_epochs": 3}, **changed(0.5, 0.25))
    again.resume(tmp_path, resume_optimizer=False, resume_param_scheduler=False)
    again.train()
    assert again.cfg["optim_wrapper"]["optimizer"]["lr"] == 0.5


@pytest.mark.covers("G6")
def test_a_run_that_does_not_go_on_leaves_the_configuration_that_was(tmp_path):
    def made(seed, **changes):
        return runner(
            tmp_path,
            train_dataloader=loader(shuffle=True),
            randomness={"seed": seed},
            train_cfg={"max_epochs": 4},
            **changes,
        )

    first = made(1)
    first.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=6), first.trainer.interrupt)
    first.train()
    files = {path: path.read_text() for path in first.folder.glob("config*")}
    with pytest.raises(StateError, match="seed 1, this one has seed 2"):
        made(2, resume=True).train()
    assert {path: path.read_text() for path in first.folder.glob("config*")} == files


@pytest.mark.covers("G6")
def test_there_is_nothing_to_go_on_from_at_first(tmp_path):
    made = runner(tmp_path, resume=True, experiment_name="new")
    assert made.to_resume is None
    made.train()
    assert made.iter == 8


@pytest.mark.covers("G6")
def test_the_newest_of_all_runs_of_the_experiment_is_taken(tmp_path):
    def made(name="a", **changes):
        return runner(tmp_path, experiment_name=name, **changes)

    made().train()
    second = made(train_cfg={"max_epochs": 3})
    second.train()
    made("b").train()
    again = made(resume=True, train_cfg={"max_epochs": 5})
    assert again.folder == second.folder
    again.train()
    assert (again.epoch, again.iter) == (5, 20)
    rows = Journal.read(again.folder / "scalars.jsonl")
    epochs = [row["step"] for row in rows if row["on"] == "epoch" and row["engine"] == "train"]
    assert epochs == sorted(set(epochs))
    assert sorted(one.name for one in again.folder.glob("config*.yaml")) == [
        "config.1.yaml",
        "config.yaml",
    ]
    assert len(list((tmp_path / "a").iterdir())) == 2


@pytest.mark.covers("G6")
def test_a_run_that_is_over_is_not_trained_further(tmp_path):
    first = runner(tmp_path)
    first.train()
    again = runner(tmp_path, resume=True)
    again.train()
    assert again.iter == 8
    assert same(weights(again.model), weights(first.model))


@pytest.mark.covers("G6")
@pytest.mark.parametrize(
    ("limit", "value", "told"),
    [
        ("max_epochs", 1, r"goes on stands at epoch 2, given 1\. Give a larger limit"),
        ("max_iters", 20, r"goes on counts by max_epochs, given 20\. Give max_epochs"),
    ],
)
def test_a_limit_that_a_run_does_not_stand_before_is_refused(tmp_path, limit, value, told):
    runner(tmp_path).train()
    again = runner(tmp_path, resume=True, train_cfg={limit: value})
    with pytest.raises(ConfigError, match=f"^train_cfg.{limit}: the run that {told}"):
        again.train()


@pytest.fixture
def trained(tmp_path):
    """A run with a best checkpoint that is not the last."""
    made = runner(
        tmp_path,
        default_hooks={"checkpoint": {"save_best": "mse", "rule": "greater", "max_keep_ckpts": 9}},
        train_cfg={"max_epochs": 3},
    )
    made.train()
    return made


def checkpoint(made, name):
    return made.folder / "checkpoints" / name


def state_of(path, model):
    from footplate.engine.checkpoints.store import CheckpointStore

    CheckpointStore(path.parent).load_weights(path, model)
    return weights(model)


@pytest.mark.covers("G6")
@pytest.mark.parametrize(
    ("resume", "iteration"), [("best", 4), ("last", 12), ("path", 8), ("folder", 12)]
)
def test_which_checkpoint_to_go_on_from(tmp_path, trained, resume, iteration):
    paths = {"path": str(checkpoint(trained, "00000008")), "folder": trained.folder}
    made = runner(tmp_path, resume=paths.get(resume, resume), train_cfg={"max_epochs": 4})
    assert made.to_resume.name == f"{iteration:08}"
    begun = []
    made.trainer.add_event_handler(Events.OPENED, lambda e: begun.append(e.state.iteration))
    made.train()
    assert begun == [iteration]
    assert (made.iter, made.folder) == (16, trained.folder)


@pytest.mark.covers("G6")
def test_resume_with_load_from_goes_on_from_there(tmp_path, trained):
    path = checkpoint(trained, "00000008")
    elsewhere = tmp_path / "elsewhere"
    made = runner(elsewhere, load_from=path, resume=True, train_cfg={"max_epochs": 4})
    assert made.to_resume.name == "00000008"
    begun = []
    made.trainer.add_event_handler(Events.OPENED, lambda e: begun.append(e.state.iteration))
    made.train()
    assert begun == [8]
    assert made.iter == 16
    assert elsewhere in made.folder.parents


@pytest.mark.covers("G6")
def test_load_from_alone_takes_the_weights(tmp_path, trained):
    path = checkpoint(trained, "00000008")
    made = runner(tmp_path, load_from=str(path))
    seen = []
    made.trainer.add_event_handler(Events.STARTED, lambda: seen.append(weights(made.model)))
    made.train()
    assert same(seen[0], state_of(path, Line()))
    assert (made.iter, made.folder != trained.folder) == (8, True)


@pytest.mark.covers("G6")
def test_what_is_not_there_is_an_error_at_every_call(tmp_path):
    made = runner(tmp_path, load_from=tmp_path / "nothing.pth")
    for _ in range(2):
        with pytest.raises(FileNotFoundError):
            made.val()
    made = runner(tmp_path, resume=tmp_path / "nothing")
    with pytest.raises(StateError, match="there is no checkpoint"):
        made.train()


@pytest.mark.covers("G6")
@pytest.mark.parametrize("call", ["val", "test"])
@pytest.mark.parametrize("how", ["load_from", "resume", "path"])
def test_evaluation_takes_the_weights_too(tmp_path, trained, call, how):
    path = checkpoint(trained, "00000008")
    given = {"load_from": {"load_from": path}, "resume": {"resume": True}, "path": {"resume": path}}
    more = {"test_dataloader": loader(4), "test_evaluator": {"mse": MeanSquaredError()}}
    made = runner(tmp_path, **given[how], **more)
    found = getattr(made, call)()
    expected = checkpoint(trained, "00000012") if how == "resume" else path
    model = Line()
    state_of(expected, model)
    assert same(weights(made.model), weights(model))
    assert found["mse"] == pytest.approx(float(error_of(model)))
    assert "trainer" not in vars(made)


def error_of(model):
    x = torch.arange(4).reshape(4, 1) / 4
    with torch.no_grad():
        return nn.functional.mse_loss(model(x), 2 * x + 1)


@pytest.mark.covers("G6")
def test_training_behind_an_evaluation_goes_on_all_the_same(tmp_path, trained):
    made = runner(tmp_path, resume=True, train_cfg={"max_epochs": 4})
    made.val()
    made.train()
    assert made.iter == 16
    whole = runner(tmp_path / "whole", train_cfg={"max_epochs": 4})
    whole.train()
    assert same(weights(made.model), weights(whole.model))
    trained_again = weights(made.model)
    made.val()
    assert same(weights(made.model), trained_again)


@pytest.mark.covers("G1", "G6")
def test_saving_and_resuming_by_hand(tmp_path):
    made = runner(tmp_path, train_cfg={"max_epochs": 4})
    made.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=6), made.trainer.interrupt)
    made.train()
    path = made.save_checkpoint("by_hand", meta={"why": "a test"})
    assert (path.name, path.parent.parent) == ("by_hand", made.folder)
    assert Manifest.from_json((path / "manifest.json").read_text()).meta == {"why": "a test"}
    made.train()
    again = runner(tmp_path, train_cfg={"max_epochs": 4})
    assert again.resume(path) == path
    assert again.folder == made.folder
    again.train()
    assert again.iter == 16
    assert same(weights(again.model), weights(made.model))


@pytest.mark.covers("G6")
def test_resuming_without_optimizer_and_schedule(tmp_path):
    def made():
        wrapper = {"optimizer": {"type": "SGD", "lr": 0.1, "momentum": 0.9}}
        schedule = {"type": "StepLR", "step_size": 1, "gamma": 0.1}
        return runner(tmp_path, optim_wrapper=wrapper, param_scheduler=schedule)

    first = made()
    first.train()
    path = checkpoint(first, "00000008")
    again = made()
    again.resume(path, resume_optimizer=False, resume_param_scheduler=False)
    assert again.optim_wrapper.optimizer.state_dict()["state"] == {}
    assert again.optim_wrapper.optimizer.param_groups[0]["lr"] == 0.1
    whole = made()
    whole.resume(path)
    assert whole.optim_wrapper.optimizer.param_groups[0]["lr"] == pytest.approx(0.001)


@pytest.mark.covers("G1", "G6")
def test_loading_weights_by_hand(tmp_path, trained):
    given = {f"module.{name}": one for name, one in weights(trained.model).items()}
    torch.save(given, tmp_path / "weights.pth")
    made = runner(tmp_path, load_from=checkpoint(trained, "00000004"))
    report = made.load_checkpoint(tmp_path / "weights.pth", revise_keys=[(r"^module\.", "")])
    assert not report
    made.val()
    assert same(weights(made.model), weights(trained.model))


@pytest.mark.covers("G6")
def test_checkpoints_elsewhere_are_found_there(tmp_path):
    hooks = {"checkpoint": {"out_dir": str(tmp_path / "elsewhere")}}
    runner(tmp_path / "runs", default_hooks=hooks).train()
    assert (tmp_path / "elsewhere" / "00000008").is_dir()
    again = runner(tmp_path / "runs", default_hooks=hooks, resume=True, train_cfg={"max_epochs": 3})
    again.train()
    assert again.iter == 12


@pytest.mark.covers("C3")
def test_a_model_initializes_itself_once_and_not_when_it_goes_on(tmp_path):
    calls = []

    class Own(Line):
        def init_weights(self):
            calls.append(1)

    made = runner(tmp_path, model=Own())
    made.val()
    assert calls == []
    made.train()
    assert calls == [1]
    path = checkpoint(made, "00000008")
    runner(tmp_path, model=Own(), resume=True).train()
    assert calls == [1]
    runner(tmp_path, model=Own(), load_from=path).train()
    assert calls == [1, 1]  # weights are loaded over it


# ---------------------------------------------------------------------- from a checkpoint alone


FRESH = """
import json, sys
from footplate.recipes.runner import Runner
made = Runner.from_checkpoint(sys.argv[1])
print(json.dumps({**made.test(), "folder": str(made.folder), "trained": made.iter}))
"""


@pytest.mark.covers("H7")
@pytest.mark.usefixtures("one_thread")  # as the child has it
def test_a_run_is_rebuilt_from_its_checkpoint_alone(tmp_path):
    made = killed_run.runner(str(tmp_path))
    made.train()
    expected = made.test()
    config = (made.folder / "config.yaml").read_text()
    for path in (checkpoint(made, "00000030"), made.folder):
        found = told(child(path, code=FRESH))
        assert found == {**expected, "folder": str(made.folder), "trained": 0}
    assert (made.folder / "config.yaml").read_text() == config
    assert not list(made.folder.glob("*.1.*"))


@pytest.mark.covers("H7")
def test_a_rebuilt_run_goes_on_with_its_training(tmp_path):
    killed_run.runner(str(tmp_path / "whole")).train()
    cut = killed_run.runner(str(tmp_path / "cut"))
    cut.trainer.add_event_handler(Events.ITERATION_COMPLETED(once=14), cut.trainer.interrupt)
    cut.train()
    again = Runner.from_checkpoint(cut.folder)
    again.train()
    assert (again.iter, again.folder) == (30, cut.folder)
    longer = Runner.from_checkpoint(cut.folder, overrides=["train_cfg.max_epochs=4"])
    with pytest.warns(RuntimeWarning, match="with T_max=30, as it was saved"):
        longer.train()
    assert longer.iter == 40


@pytest.mark.covers("H7")
def test_instances_that_no_file_can_hold_are_asked_for(tmp_path, trained):
    path = checkpoint(trained, "00000012")
    with pytest.raises(
        ConfigError, match="it was an instance in the run that wrote this; give one"
    ):
        Runner.from_checkpoint(path)
    made = Runner.from_checkpoint(
        path,
        model=Line(),
        train_dataloader=None,
        val_dataloader=loader(4),
        val_evaluator={"mse": MeanSquaredError()},
        train_cfg=None,
    )
    assert made.val() == trained.val()


@pytest.mark.covers("H7")
def test_a_runner_of_ones_own_is_rebuilt_as_such(tmp_path):
    from footplate.recipes.config.registry import RUNNERS

    @RUNNERS.register_module()
    class Counted(Runner):
        pass

    try:
        made = killed_run.runner(str(tmp_path), runner_type="Counted")
        made.train()
        again = Runner.from_checkpoint(made.folder)
        assert type(again) is type(made) is Counted
    finally:
        RUNNERS._registered.pop("Counted")


@pytest.mark.covers("H7")
def test_the_configuration_that_is_kept_holds_changes_and_more(tmp_path):
    made = killed_run.runner(str(tmp_path), cfg={"project": "lines"})
    assert made.cfg["cfg"] == {"project": "lines"}
    changed = Runner.from_cfg(made.cfg, overrides=["train_cfg.max_epochs=9"], log_level="DEBUG")
    assert changed.cfg["train_cfg"]["max_epochs"] == 9
    assert changed.cfg["log_level"] == "DEBUG"
