"""What ``train_cfg`` says: how long, validated when, on which data, with which step."""

from __future__ import annotations

import datetime
import gc

import pytest
import torch
from ignite.metrics import MeanSquaredError
from torch import nn

from footplate.engine.errors import DataError
from footplate.engine.events import Events
from footplate.engine.state import Reason
from footplate.recipes.composition.options import TrainCfg
from footplate.recipes.config.problems import ConfigError
from footplate.recipes.runner import Runner
from tests.recipes.composition.tools import MSE, Line, Numbers, loader, runner, same, weights


def validated(made):
    """Behind which iterations a run was validated."""
    behind = []
    made.validator.add_event_handler(Events.STARTED, lambda: behind.append(made.iter))
    made.train()
    return behind


# ---------------------------------------------------------------------- when to validate


@pytest.mark.covers("B1")
@pytest.mark.parametrize(
    ("cfg", "behind"),
    [
        ({"max_epochs": 3}, [4, 8, 12]),
        ({"max_epochs": 5, "val_interval": 2}, [8, 16, 20]),
        ({"max_epochs": 5, "val_interval": 2, "val_begin": 3}, [16, 20]),
        ({"max_epochs": 6, "val_interval": 3, "dynamic_intervals": [[5, 1]]}, [12, 16, 20, 24]),
        ({"max_epochs": 2, "val_interval": 0.25}, [1, 2, 3, 4, 5, 6, 7, 8]),
        ({"max_epochs": 2, "val_interval": "50%"}, [2, 4, 6, 8]),
    ],
)
def test_validation_by_epoch(tmp_path, cfg, behind):
    assert validated(runner(tmp_path, train_cfg=cfg)) == behind


@pytest.mark.covers("B2")
@pytest.mark.parametrize(
    ("cfg", "behind"),
    [
        ({"max_iters": 7, "val_interval": 3}, [3, 6, 7]),
        ({"max_iters": 9, "val_interval": 3, "val_begin": 5}, [6, 9]),
        ({"max_iters": 8, "val_interval": 4, "dynamic_intervals": [[6, 1]]}, [4, 5, 6, 7, 8]),
        ({"max_iters": 6, "val_interval": "50%"}, [2, 4, 6]),
    ],
)
@pytest.mark.parametrize("how", [{"by_epoch": False}, {"type": "IterBasedTrainLoop"}])
def test_validation_by_iteration(tmp_path, cfg, behind, how):
    made = runner(tmp_path, train_cfg={**how, **cfg})
    assert validated(made) == behind
    assert type(made.train_loop).__name__ == "IterBasedTrainLoop"
    assert made.iter == cfg["max_iters"]


@pytest.mark.covers("B4")
@pytest.mark.parametrize(
    ("cfg", "behind"),
    [
        ({"val_iters": 3}, [3, 4, 7, 8]),
        ({"val_iters": 3, "across_epochs": True}, [3, 4, 6, 8]),
        ({"val_iters": "50%", "val_interval": 2}, [2, 4, 6, 8]),
    ],
)
def test_validation_by_epoch_and_by_iteration_at_once(tmp_path, cfg, behind):
    assert list(dict.fromkeys(validated(runner(tmp_path, train_cfg=cfg)))) == behind


@pytest.mark.covers("B3")
@pytest.mark.parametrize(
    ("cfg", "turns"),
    [
        ({"max_epochs": 3, "workflow": [("train", 2), ("val", 1)]}, "ttttttttvvttttvv"),
        ({"max_epochs": 1, "workflow": [["val", 1], ["train", 1]]}, "vvtttt"),
        ({"max_iters": 3, "by_epoch": False, "workflow": [("train", 2), ("val", 1)]}, "ttvtv"),
    ],
)
def test_phases_take_turns(tmp_path, cfg, turns):
    made, taken = runner(tmp_path, train_cfg=cfg), []
    for engine in (made.trainer, made.validator):
        engine.add_event_handler(Events.ITERATION_STARTED, lambda e: taken.append(e.name[0]))
    made.train()
    assert "".join(taken) == turns
    assert "val_mse" in made.trainer.state.metrics


@pytest.mark.covers("B3")
def test_a_workflow_validates_on_one_loader(tmp_path):
    cfg = {"workflow": [("train", 1), ("val", 1)]}
    made = runner(tmp_path, train_cfg=cfg, val_dataloader={"a": loader(2), "b": loader(2)})
    with pytest.raises(ValueError, match="a workflow validates on one loader, given a, b"):
        made.train()
    without = runner(tmp_path, train_cfg=cfg, val_dataloader=None, val_evaluator=None)
    with pytest.raises(ValueError, match="needs val_dataloader"):
        without.train()


# ---------------------------------------------------------------------- how long


@pytest.mark.covers("B5")
def test_a_run_ends_by_optimizer_steps(tmp_path):
    wrapper = {"optimizer": {"type": "SGD", "lr": 0.1}, "accumulative_counts": 2}
    made = runner(tmp_path, optim_wrapper=wrapper, train_cfg={"max_epochs": None, "max_steps": 3})
    made.train()
    assert (made.iter, made.trainer.state.reason) == (6, Reason.TERMINATED)


@pytest.mark.covers("B5")
@pytest.mark.parametrize(
    ("time", "seconds"),
    [
        ("00:00:00:01", 1.0),
        (0.2, 0.2),
        ({"milliseconds": 200}, 0.2),
        (datetime.timedelta(milliseconds=200), 0.2),
    ],
)
def test_a_run_ends_by_the_clock(tmp_path, time, seconds):
    made = runner(tmp_path, train_cfg={"max_epochs": None, "max_time": time, "val_interval": 99})
    made.train()
    assert made.trainer.state.reason == Reason.TERMINATED
    assert 0.8 * seconds < made.trainer.state.times["COMPLETED"] < seconds + 5


@pytest.mark.covers("B5")
@pytest.mark.parametrize(
    ("least", "iters"),
    [({}, 0), ({"min_epochs": 2}, 8), ({"min_iters": 3}, 3), ({"min_steps": 5}, 5)],
)
def test_time_ends_no_run_that_has_not_done_its_least(tmp_path, least, iters):
    cfg = {"max_epochs": 9, "max_time": 1e-9, **least}
    made = runner(tmp_path, train_cfg=cfg)
    made.train()
    assert made.iter == iters


@pytest.mark.covers("B5")
def test_without_a_limit_it_is_one_epoch(tmp_path):
    made = runner(tmp_path, train_cfg={"max_epochs": None})
    made.train()
    assert (made.epoch, made.iter) == (1, 4)


# ---------------------------------------------------------------------- on which data


@pytest.mark.covers("B5")
@pytest.mark.parametrize("amount", [2, "50%", 0.5])
def test_limited_batches(tmp_path, amount):
    train = loader(shuffle=True)
    made = runner(
        tmp_path,
        train_dataloader=train,
        train_cfg={"limit_batches": amount},
        val_cfg={"limit_batches": 1},
    )
    made.train()
    assert (made.epoch, made.iter) == (2, 4)
    first, second = train["dataset"].asked[:4], train["dataset"].asked[4:]
    assert sorted(first) != sorted(second)
    assert made.validator.state.epoch_length == 1


@pytest.mark.covers("B5")
def test_overfitted_batches_stay_the_same(tmp_path):
    train, seen = loader(shuffle=True), []
    made = runner(tmp_path, train_dataloader=train, train_cfg={"overfit_batches": 2})
    made.trainer.add_event_handler(
        Events.ITERATION_STARTED, lambda e: seen.append(e.state.batch[0].flatten().tolist())
    )
    made.train()
    assert seen[:2] == seen[2:]
    assert len(train["dataset"].asked) == 4


@pytest.mark.covers("B5")
@pytest.mark.parametrize(("run", "batches"), [(True, 1), (3, 3)])
def test_a_trial_takes_few_batches_of_everything_and_leaves_nothing(tmp_path, run, batches):
    made = runner(
        tmp_path / "work_dirs",
        train_cfg={"fast_dev_run": run, "max_epochs": 50, "val_begin": 9, "epoch_length": 100},
        val_dataloader=loader(8),
        default_hooks={"checkpoint": {"save_best": "mse"}, "report": {}},
    )
    made.train()
    assert (made.epoch, made.iter) == (1, batches)
    assert made.validator.state.iteration == batches
    assert list((made.folder / "checkpoints").iterdir())  # all of it is tried out
    assert not (tmp_path / "work_dirs").exists()
    folder = made.folder
    made.val()
    del made
    gc.collect()
    assert not folder.exists()


@pytest.mark.covers("B5")
def test_a_trial_does_not_go_on_from_a_checkpoint(tmp_path):
    first = runner(tmp_path)
    first.train()
    trial = runner(tmp_path, resume=True, train_cfg={"fast_dev_run": True})
    before = len(list(first.folder.rglob("*")))
    trial.train()
    assert trial.iter == 1
    assert len(list(first.folder.rglob("*"))) == before
    assert not same(weights(trial.model), weights(Line()))


@pytest.mark.covers("B5")
@pytest.mark.parametrize(
    "cfg", [{"workflow": [("train", 1), ("val", 1)]}, {"max_iters": 9, "by_epoch": False}]
)
def test_a_trial_by_turns_and_by_iteration(tmp_path, cfg):
    made = runner(tmp_path, train_cfg={"fast_dev_run": 2, **cfg})
    made.train()
    assert (made.iter, "val_mse" in made.trainer.state.metrics) == (2, True)


@pytest.mark.covers("B5")
def test_the_first_batches_of_validation_are_tried_before_training(tmp_path):
    stages, made = [], runner(tmp_path, train_cfg={"sanity_check": 1, "max_epochs": 1})
    made.validator.add_event_handler(
        Events.ITERATION_STARTED, lambda e: stages.append(e.state.stage)
    )
    made.train()
    assert stages == ["sanity_check", "val", "val"]
    several = {"few": loader(2, 1), "more": loader(4, 1)}
    made, stages = runner(tmp_path, train_cfg={"sanity_check": 2}, val_dataloader=several), []
    made.validator.add_event_handler(
        Events.ITERATION_STARTED, lambda e: stages.append(e.state.stage)
    )
    made.train()
    assert stages[:5] == ["sanity_check"] * 4 + ["val"]


@pytest.mark.covers("B5")
def test_data_are_made_anew(tmp_path):
    Numbers.made = []
    made = runner(
        tmp_path,
        train_dataloader={"dataset": {"type": Numbers, "size": 4}, "batch_size": 2},
        train_cfg={"max_epochs": 5, "reload_every": 2},
    )
    made.train()
    assert Numbers.made.count("numbers") == 3
    with pytest.raises(
        ConfigError, match=r"train_cfg\.reload_every: a loader that is made already"
    ):
        runner(tmp_path, train_dataloader=[1], train_cfg={"reload_every": 2})


@pytest.mark.covers("B5")
@pytest.mark.parametrize(
    ("mode", "iters", "kind"),
    [("min_size", 2, dict), ("max_size_cycle", 4, dict), ("min_size", 2, list)],
)
def test_several_training_loaders(tmp_path, mode, iters, kind):
    seen = []

    def loss(engine, batch):
        seen.append(batch)

    given = {"few": loader(4), "more": loader(8)}
    made = runner(
        tmp_path,
        train_dataloader=given if kind is dict else list(given.values()),
        train_cfg={"step": loss, "combine": mode, "max_epochs": 1},
    )
    made.train()
    assert len(seen) == iters
    assert type(seen[0]) is kind
    parts = seen[0].values() if kind is dict else seen[0]
    assert all(len(x) == 2 for x, _ in parts)


@pytest.mark.covers("B5")
def test_epochs_of_another_length_than_a_pass(tmp_path):
    made = runner(tmp_path, train_cfg={"epoch_length": 3, "max_epochs": 3})
    made.train()
    assert (made.epoch, made.iter) == (3, 9)


@pytest.mark.covers("B5")
def test_no_data_are_an_error(tmp_path):
    with pytest.raises(DataError):
        runner(tmp_path, train_dataloader=[]).train()


# ---------------------------------------------------------------------- with which step


@pytest.mark.covers("C3")
def test_a_loss_and_a_contract(tmp_path):
    class Both(nn.Module):
        def __init__(self):
            super().__init__()
            self.line = Line()

        def train_step(self, batch):
            x, y = batch
            return {"loss": MSE(self.line(x), y)}

    made = runner(
        tmp_path,
        model=Both(),
        train_cfg={"loss": None, "contract": "step_methods"},
        val_dataloader=None,
        val_evaluator=None,
    )
    made.train()
    plain = runner(tmp_path)
    plain.train()
    assert same(weights(made.model.line), weights(plain.model))


@pytest.mark.covers("C6")
def test_several_optimizers_each_with_its_own_schedule(tmp_path):
    class Pair(nn.Module):
        def __init__(self):
            super().__init__()
            self.one, self.other = Line(), Line()

        def forward(self, x):
            return self.one(x) + self.other(x)

    losses = {
        name: (lambda model, batch: MSE(model(batch[0]), batch[1])) for name in ("one", "other")
    }
    sgd = {"type": "SGD", "lr": 1.0}
    made = runner(
        tmp_path,
        model=Pair(),
        optim_wrapper={"one": {"optimizer": sgd, "clip_grad": 1.0}, "other": {"optimizer": sgd}},
        param_scheduler={
            "one": {"type": "StepLR", "step_size": 1, "gamma": 0.5},
            "other": [{"type": "ExponentialLR", "gamma": 0.9, "by_epoch": False}],
        },
        train_cfg={"loss": losses},
        val_dataloader=None,
        val_evaluator=None,
    )
    made.train()
    lrs = {name: one.optimizer.param_groups[0]["lr"] for name, one in made.optimizations.items()}
    assert lrs == {"one": 0.25, "other": pytest.approx(0.9**8)}
    assert made.optimizations["one"].clip is not None
    assert made.optimizations["other"].clip is None


@pytest.mark.covers("C11")
def test_recomputed_activations_change_nothing_else(tmp_path):
    def trained(**cfg):
        torch.manual_seed(3)
        model = nn.Sequential(nn.Linear(1, 8), nn.ReLU(), nn.Linear(8, 1))
        made = runner(tmp_path, model=model, train_cfg=cfg)
        made.train()
        return weights(made.model)

    assert same(trained(), trained(recompute="0"))
    assert same(trained(), trained(recompute=[nn.Linear]))


@pytest.mark.covers("C10")
@pytest.mark.parametrize("given", [True, {"backend": "eager"}])
def test_a_compiled_model_saves_what_an_eager_one_reads(tmp_path, given):
    made = runner(tmp_path, compile={"backend": "eager"} if given is True else given)
    assert made.model_name == "Line"
    made.train()
    eager = runner(tmp_path, resume=True)
    assert eager.val() == pytest.approx(made.val())


@pytest.mark.covers("H3")
@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        ({"max_epochs": 0}, r"train_cfg\.max_epochs: .*from 1 on"),
        ({"max_epochs": 2, "max_iters": 2}, r"train_cfg\.max_iters: and max_epochs exclude"),
        ({"val_intervall": 1}, r"train_cfg\.val_intervall: .*'val_interval'"),
        ({"val_interval": 1.5}, r"train_cfg\.val_interval"),
        ({"workflow": [("val", 1)]}, r"train_cfg\.workflow: has no phase 'train'"),
        ({"workflow": [("trian", 1)]}, r"train_cfg\.workflow: holds pairs of 'train' or 'val'"),
        ({"workflow": 3}, r"train_cfg\.workflow"),
        ({"dynamic_intervals": [3]}, r"train_cfg\.dynamic_intervals"),
        ({"step": print, "engine": 3}, r"train_cfg\.engine"),
        ({"combine": "max_size"}, r"train_cfg\.combine"),
        ({"type": "IterBasedTrainLop"}, r"train_cfg\.type: .*'IterBasedTrainLoop'"),
        ({"type": "IterBasedTrainLoop", "max_iter": 3}, r"train_cfg\.max_iter: .*'max_iters'"),
        ({"fast_dev_run": -1}, r"train_cfg\.fast_dev_run: .*from 0 on"),
        ({"by_epoch": "yes"}, r"train_cfg\.by_epoch"),
        ({"val_interval": 0}, r"train_cfg\.val_interval: 0 is .* 1, or a fraction of it\.$"),
        (
            {"loss": nn.MSELoss},
            r"train_cfg\.loss: .* class MSELoss; write MSELoss\(\), .* \{type: torch.nn.MSELoss\}",
        ),
        ({"loss": "torch.nn.MSELoss"}, r"train_cfg\.loss: .* the class MSELoss; write MSELoss"),
        ({"loss": {"a": "torch.nn.MSELoss"}}, r"train_cfg\.loss: .* the class MSELoss; write"),
        (5, r"train_cfg: TrainCfg takes its arguments as a mapping"),
    ],
)
def test_wrong_options_are_refused(tmp_path, cfg, said):
    with pytest.raises(ConfigError, match=said):
        Runner(nn.Identity(), tmp_path, train_cfg=cfg)


@pytest.mark.covers("H1")
def test_options_may_be_given_as_an_instance(tmp_path):
    made = Runner(
        Line(),
        tmp_path,
        train_dataloader=loader(),
        train_cfg=TrainCfg(max_epochs=3, loss=MSE),
        test_dataloader=loader(2),
        test_evaluator=MeanSquaredError(),
        default_hooks={"logger": None, "report": None},
    )
    made.train()
    assert made.epoch == 3
