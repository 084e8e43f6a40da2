"""Lightning's hooks, called in Lightning's own order: golden files that its Trainer has written."""

from __future__ import annotations

import json
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch

pytest.importorskip("lightning")

from lightning.pytorch import Callback, LightningModule

from footplate.recipes.runner import Runner
from tests.golden.lightning.make_orders import FOLDER, golden
from tests.golden.lightning.scenarios import SCENARIOS, Failure, Play, Scenario

pytestmark = [pytest.mark.covers("C4"), pytest.mark.covers("A11")]

CALLS = {"fit": "train", "validate": "val", "test": "test", "predict": "predict"}
QUIET = {"logger": None, "report": None, "runtime_info": None, "checkpoint": None}


class Deviation(NamedTuple):
    """What is otherwise here, on purpose.

    Attributes:
        what: as docs/lightning.md says it.
        scenarios: where it shows; all, if none is named.
        theirs: what it makes of Lightning's order.
        ours: and of ours.
    """

    what: str
    scenarios: tuple[str, ...]
    theirs: Callable[[list[str]], list[str]] = list
    ours: Callable[[list[str]], list[str]] = list


def _without(*words: str) -> Callable[[list[str]], list[str]]:
    return lambda lines: [one for one in lines if not any(word in one for word in words)]


def _loaded_last(lines: list[str]) -> list[str]:
    """Optimizers are made before anything is loaded, and data are loaded behind callbacks."""
    late, early = "data load_state_dict", "module configure_optimizers"
    rest = [one for one in lines if one not in (late, early)]
    first = rest.index("module on_load_checkpoint")
    last = rest.index("checkpoint load_state_dict")
    return [*rest[:first], early, *rest[first : last + 1], late, *rest[last + 1 :]]


def _torn_down(lines: list[str]) -> list[str]:
    return [
        *lines,
        *(f"{one} teardown fit" for one in ("data", "callback", "checkpoint", "module")),
    ]


DEVIATIONS = (
    Deviation(
        "Loaders are asked for when a call begins.",
        (),
        _without("_dataloader"),
        _without("_dataloader"),
    ),
    Deviation(
        "A run that goes on is loaded when all of it is made: behind `configure_optimizers`.",
        ("resumed",),
        _loaded_last,
    ),
    Deviation(
        "Hooks of saving are called as a run opens, and when it is saved, between two iterations.",
        ("resumed",),
        ours=_without(" state_dict", "on_save_checkpoint"),
    ),
    Deviation(
        "`teardown` is called behind an error, too.",
        ("failed",),
        _torn_down,
    ),
)


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_hooks_are_called_in_lightnings_order(scenario, tmp_path):
    theirs = json.loads((FOLDER / f"{scenario}.json").read_text())["order"]
    ours = order_of(scenario, tmp_path)
    for one in DEVIATIONS:
        if not one.scenarios or scenario.name in one.scenarios:
            theirs, ours = one.theirs(theirs), one.ours(ours)
    assert ours == theirs


@pytest.mark.parametrize("scenario", SCENARIOS, ids=str)
def test_the_golden_orders_are_what_lightning_does(scenario):
    assert (FOLDER / f"{scenario}.json").read_text() == golden(scenario)


def test_the_page_names_each_deviation():
    page = (Path(__file__).parents[2] / "docs" / "lightning.md").read_text()
    assert [one.what for one in DEVIATIONS if f"| {one.what} |" not in page] == []


def test_every_golden_order_is_compared():
    assert {path.stem for path in FOLDER.glob("*.json")} == {one.name for one in SCENARIOS}


def order_of(scenario: Scenario, folder: Any) -> list[str]:
    """What a runner calls."""
    play = Play(scenario)
    if scenario.resumes:
        hooks = {**QUIET, "checkpoint": {}}
        _runner(play, folder, train_cfg={"max_epochs": 1}, default_hooks=hooks).train()
        play.lines.clear()
        runner = _runner(play, folder, default_hooks=hooks, resume=True)
    else:
        runner = _runner(play, folder)
    with suppress(Failure):
        getattr(runner, CALLS[scenario.call])()
    return play.lines


def _runner(play: Play, folder: Any, **options: Any) -> Runner:
    call = CALLS[play.scenario.call]
    given = {f"{call}_dataloader": play.data, "default_hooks": QUIET, "visualizer": False}
    given = {**given, **play.scenario.runner, **options}
    return Runner(
        play.module, folder, experiment_name="run", custom_hooks=list(play.callbacks), **given
    )


# ---------------------------------------------------------------------- what hooks bring about


class Line(LightningModule):
    """A layer; its tests add what they are about."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.seen: list[Any] = []

    def training_step(self, batch, batch_idx):
        return self.layer(batch).square().mean()

    def validation_step(self, batch, batch_idx):
        self.seen.append(self.training)

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


BATCHES = [torch.ones(2, 2) * n for n in range(3)]


def _run_of(module: Any, folder: Any, **options: Any) -> Runner:
    given = {"train_dataloader": BATCHES, "default_hooks": QUIET, "visualizer": False}
    return Runner(module, folder, **{**given, **options})


def test_what_hooks_put_into_a_checkpoint_is_there_when_the_run_goes_on(tmp_path):
    class Keeps(Line):
        def on_save_checkpoint(self, checkpoint):
            assert checkpoint["epoch"] == self.trainer.current_epoch
            assert checkpoint["state_dict"].keys() == {"layer.weight", "layer.bias"}
            checkpoint["mine"] = {"numbers": torch.arange(3)}

        def on_load_checkpoint(self, checkpoint):
            self.seen.append(checkpoint["mine"]["numbers"].tolist())

    options = {"default_hooks": {**QUIET, "checkpoint": {}}, "experiment_name": "run"}
    _run_of(Keeps(), tmp_path, **options).train()
    runner = _run_of(Keeps(), tmp_path, train_cfg={"max_epochs": 2}, resume=True, **options)
    runner.train()
    assert runner.model.seen == [[0, 1, 2]]


class _Regroups(Callback):
    """Makes the optimizer's groups anew when a run begins."""

    def __init__(self, lr: float) -> None:
        self.lr = lr

    def on_fit_start(self, trainer, pl_module):
        (optimizer,) = trainer.optimizers
        optimizer.param_groups = [dict(one, lr=self.lr) for one in optimizer.param_groups]


def test_groups_that_a_run_goes_on_with_outlive_the_hooks_of_its_start(tmp_path):
    options = {"default_hooks": {**QUIET, "checkpoint": {}}, "experiment_name": "run"}
    _run_of(Line(), tmp_path, custom_hooks=[_Regroups(0.5)], **options).train()
    runner = _run_of(
        Line(),
        tmp_path,
        train_cfg={"max_epochs": 2},
        resume=True,
        custom_hooks=[_Regroups(9.0)],
        **options,
    )
    runner.train()
    (optimizer,) = runner.model.trainer.optimizers
    assert [group["lr"] for group in optimizer.param_groups] == [0.5]


def test_the_loss_behind_a_batch_is_its_share_of_the_window_as_in_lightning(tmp_path):
    class Returning(Line):
        def training_step(self, batch, batch_idx):
            loss = super().training_step(batch, batch_idx)
            return {"loss": loss, "whole": loss.detach()}

        def on_train_batch_end(self, outputs, batch, batch_idx):
            self.seen.append({name: float(one) for name, one in outputs.items()})

    module = Returning()
    _run_of(module, tmp_path, optim_wrapper={"accumulative_counts": 2}).train()
    assert [one["loss"] for one in module.seen] == [one["whole"] / 2 for one in module.seen]


def test_layers_may_be_made_by_configure_model(tmp_path):
    class Late(Line):
        def __init__(self):
            super().__init__()
            self.more = None

        def setup(self, stage):
            self.width = 3

        def configure_model(self):
            self.seen.append("configured")
            if self.more is None:
                self.more = torch.nn.Linear(1, self.width)

        def training_step(self, batch, batch_idx):
            return self.more(self.layer(batch)).square().mean()

    runner = _run_of(Late(), tmp_path)
    assert runner.trainer.name == "train"  # somebody looks at it first, and all of it is there
    before = runner.model.more.weight.clone()
    runner.train()
    assert runner.model.seen == ["configured"]
    assert not torch.equal(runner.model.more.weight, before)


def test_layers_that_are_made_late_are_refused_where_models_are_spread(tmp_path):
    class Late(Line):
        def configure_sharded_model(self):
            self.seen.append("configured")

    runner = _run_of(Late(), tmp_path)
    assert runner.train().seen == ["configured"]
    runner.placement.in_step = True  # as that of FSDP says, which needs several processes
    with pytest.raises(TypeError, match=r"Late.configure_sharded_model\(\) makes layers when"):
        runner.train()


def test_a_module_may_set_the_modes_of_its_parts_itself(tmp_path):
    class Stays(Line):
        def on_validation_model_eval(self):
            self.layer.eval()

        def on_validation_model_train(self):
            self.seen.append("over")

    runner = _run_of(Stays(), tmp_path, val_dataloader=BATCHES[:1])
    runner.train()
    assert runner.model.seen == [True, "over"]
    assert runner.model.layer.training


def test_gradients_are_let_go_before_a_validation(tmp_path):
    class Looks(Line):
        def validation_step(self, batch, batch_idx):
            self.seen.append(self.layer.weight.grad)

    runner = _run_of(Looks(), tmp_path, val_dataloader=BATCHES[:1])
    runner.train()
    assert runner.model.seen == [None]


def test_gradients_that_are_gathered_outlive_a_validation(tmp_path):
    trained = []
    for val_iters in (1, None):
        torch.manual_seed(5)
        options = {} if val_iters is None else {"val_dataloader": BATCHES[:1]}
        runner = _run_of(
            Line(),
            tmp_path,
            train_cfg={"max_epochs": 1, "val_iters": val_iters},
            optim_wrapper={"accumulative_counts": 2},
            **options,
        )
        trained.append(runner.train().layer.weight)
    assert torch.equal(*trained)


def test_an_error_of_a_hook_is_told_and_raised(tmp_path):
    seen = []

    class Fails(Callback):
        def on_validation_end(self, trainer, pl_module):
            raise Failure("in a callback")

        def on_exception(self, trainer, pl_module, exception):
            seen.append((str(exception), trainer.state.fn.value))

    runner = _run_of(Line(), tmp_path, val_dataloader=BATCHES[:1], custom_hooks=[Fails()])
    with pytest.raises(Failure, match="in a callback"):
        runner.train()
    assert seen == [("in a callback", "fit")]


def test_an_epoch_that_is_left_is_validated(tmp_path):
    class Leaves(Line):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx else None

    runner = _run_of(Leaves(), tmp_path, val_dataloader=BATCHES[:1], train_cfg={"max_epochs": 2})
    runner.train()
    assert runner.model.seen == [False, False]
    assert runner.model.trainer.global_step == 2
