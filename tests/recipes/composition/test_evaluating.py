"""Evaluation: several loaders and evaluators, precision, averaged weights, loops of one's own."""

from __future__ import annotations

import pytest
import torch
from ignite.metrics import MeanSquaredError
from torch import nn

from footplate.engine.errors import StateError
from footplate.engine.events import Events
from footplate.engine.step.base_metric import BaseMetric
from footplate.handlers.progress_bar import ProgressBar
from footplate.recipes.composition.evaluators import Evaluator
from footplate.recipes.composition.hook import Hook
from footplate.recipes.composition.loops import BaseLoop
from footplate.recipes.config.problems import ConfigError
from tests.recipes.composition.tools import MSE, Line, loader, runner, same, weights


class Share(BaseMetric):
    """How many of the batches' samples there are, and of how many."""

    def process(self, data_batch, data_samples):
        self.results.append(len(data_batch[0]))

    def compute_metrics(self, results):
        return {"samples": float(sum(results)), "batches": float(len(results))}


@pytest.mark.covers("E5")
@pytest.mark.parametrize("kind", [dict, list])
def test_several_loaders_by_name(tmp_path, kind):
    few, more = loader(2), loader(6)
    several = {"few": few, "more": more} if kind is dict else [few, more]
    names = ("few", "more") if kind is dict else ("0", "1")
    made = runner(
        tmp_path,
        val_dataloader=several,
        val_evaluator=[MeanSquaredError(), Share()],
        test_dataloader=several,
        test_evaluator=[Share()],
    )
    made.train()
    metrics = made.trainer.state.metrics
    assert {name: metrics[f"val_{name}_samples"] for name in names} == dict(
        zip(names, (2.0, 6.0), strict=True)
    )
    assert f"val_{names[0]}_mean_squared_error" in metrics
    assert made.val()[f"{names[1]}_batches"] == 3.0
    assert made.test() == {
        f"{names[0]}_samples": 2.0,
        f"{names[0]}_batches": 1.0,
        f"{names[1]}_samples": 6.0,
        f"{names[1]}_batches": 3.0,
    }


@pytest.mark.covers("E5")
@pytest.mark.parametrize(
    ("given", "names"),
    [
        ({"type": "MeanSquaredError"}, {"mean_squared_error"}),
        (
            [{"type": "MeanSquaredError"}, {"type": "MeanAbsoluteError"}],
            {"mean_squared_error", "mean_absolute_error"},
        ),
        ([{"type": "MeanSquaredError"}] * 2, {"mean_squared_error", "mean_squared_error_2"}),
        ({"a": {"type": "MeanSquaredError"}, "b": MeanSquaredError()}, {"a", "b"}),
        ({"metrics": {"type": "MeanSquaredError"}}, {"mean_squared_error"}),
        ({"type": "Evaluator", "metrics": [{"type": "MeanSquaredError"}]}, {"mean_squared_error"}),
        (Evaluator({"a": MeanSquaredError()}), {"a"}),
        ({"type": Share}, {"samples", "batches"}),
    ],
    ids=["metric", "metrics", "twice", "named", "under metrics", "built", "object", "several"],
)
def test_evaluators_in_every_form(tmp_path, given, names):
    assert runner(tmp_path, val_evaluator=given).val().keys() == names


@pytest.mark.covers("H3")
@pytest.mark.parametrize(
    ("given", "said"),
    [
        ({"type": "MeanSquarredError"}, r"val_evaluator\.type: .*'MeanSquaredError'"),
        ([MSE], r"val_evaluator\[0\]"),
        ([MeanSquaredError], r"val_evaluator\[0\]: .*is a class; give an instance"),
        ({"a": 5}, r"val_evaluator\.a"),
        ({"metrics": [{"type": "Share"}]}, r"val_evaluator\.metrics\[0\]\.type"),
        ({"type": "MeanSquaredError", "devise": "cpu"}, r"val_evaluator\.devise: .*'device'"),
    ],
)
def test_wrong_evaluators_are_refused(tmp_path, given, said):
    with pytest.raises(ConfigError, match=said):
        runner(tmp_path, val_evaluator=given)


@pytest.mark.covers("E5")
@pytest.mark.parametrize(
    ("cfg", "dtype"),
    [
        ({}, torch.float32),
        ({"fp16": True}, torch.float16),
        ({"precision": "bf16"}, torch.bfloat16),
        ({"fp16": True, "precision": "bf16"}, torch.bfloat16),
    ],
)
@pytest.mark.parametrize("call", ["val", "test", "predict"])
def test_evaluation_in_half_precision(tmp_path, call, cfg, dtype):
    seen = []

    class Told(Line):
        def forward(self, x):
            outputs = super().forward(x)
            seen.append((outputs.dtype, self.training, torch.is_grad_enabled()))
            return outputs.float()

    made = runner(
        tmp_path,
        model=Told(),
        test_dataloader=loader(2),
        test_evaluator={"mse": MeanSquaredError()},
        **{f"{call}_cfg": cfg},
    )
    getattr(made, call)()
    assert set(seen) == {(dtype, False, False)}
    assert made.model.training
    assert torch.is_grad_enabled()


@pytest.mark.covers("H3")
@pytest.mark.parametrize(
    ("cfg", "said"),
    [
        ({"fp16": True, "precision": "fp32"}, r"val_cfg\.precision: is 'fp32', but fp16=True"),
        ({"fp61": True}, r"val_cfg\.fp61: .*'fp16'"),
        ({"type": "ValLop"}, r"val_cfg\.type: .*'ValLoop'"),
        ({"limit_batches": 0}, r"val_cfg\.limit_batches"),
        ({"loss": "torch.nn.MSELoss"}, r"val_cfg\.loss: .* the class MSELoss; write MSELoss\(\)"),
        ({"step": print, "engine": 3}, r"val_cfg\.engine"),
    ],
)
def test_wrong_options_are_refused(tmp_path, cfg, said):
    with pytest.raises(ConfigError, match=said):
        runner(tmp_path, val_cfg=cfg)


# ---------------------------------------------------------------------- averaged weights


def averaging(folder, **changes):
    return runner(
        folder,
        custom_hooks=[{"type": "EMA", "decay": 0.9}],
        val_cfg={"averaged": "ema"},
        test_cfg={"averaged": "ema"},
        predict_cfg={"averaged": "ema"},
        test_dataloader=changes.pop("test_dataloader", loader(4)),
        test_evaluator={"mse": MeanSquaredError()},
        **changes,
    )


@pytest.mark.covers("C12")
def test_averaged_weights_are_evaluated(tmp_path):
    made = averaging(tmp_path)
    made.train()
    own = weights(made.model)
    ema = made.trainer.handlers["ema"]
    with ema.applied():
        x = torch.arange(4).reshape(4, 1) / 4
        answers = made.model(x).detach()
    expected = float(MSE(answers, 2 * x + 1))
    assert made.trainer.state.metrics["val_mse"] == pytest.approx(expected)
    assert made.val()["mse"] == made.test()["mse"] == pytest.approx(expected)
    torch.testing.assert_close(made.predict(), answers)
    assert same(weights(made.model), own)
    assert float(MSE(made.model(x), 2 * x + 1).detach()) != pytest.approx(expected)


@pytest.mark.covers("C12")
@pytest.mark.parametrize("how", ["resume", "load_from"])
@pytest.mark.parametrize("call", ["val", "test"])
def test_averaged_weights_are_evaluated_without_training(tmp_path, how, call):
    first = averaging(tmp_path)
    first.train()
    given = {"resume": True}
    if how == "load_from":
        given = {"load_from": first.folder / "checkpoints" / "00000008"}
    again = averaging(tmp_path, **given)
    assert getattr(again, call)() == getattr(first, call)()
    assert "trainer" not in vars(again)


@pytest.mark.covers("C12")
def test_weights_without_an_average_are_not_taken_for_one(tmp_path):
    torch.save(Line().state_dict(), tmp_path / "weights.pth")
    made = averaging(tmp_path, load_from=tmp_path / "weights.pth")
    with pytest.raises(StateError, match=r"holds no state of 'ema'.*leave averaged='ema' out"):
        made.val()


@pytest.mark.covers("C12")
def test_of_several_averages_one_is_named(tmp_path):
    hooks = {"slow": {"type": "EMA", "decay": 0.99}, "fast": {"type": "EMA", "decay": 0.1}}
    made = runner(tmp_path, default_hooks=hooks, val_cfg={"averaged": "fast"})
    made.train()
    found = {}
    for name in hooks:
        with made.trainer.handlers[name].applied():
            x = torch.arange(4).reshape(4, 1) / 4
            found[name] = float(MSE(made.model(x).detach(), 2 * x + 1))
    assert made.trainer.state.metrics["val_mse"] == pytest.approx(found["fast"])
    assert found["slow"] > found["fast"]


@pytest.mark.covers("C12")
def test_an_average_that_is_not_there_is_named(tmp_path):
    with pytest.raises(ConfigError, match=r"val_cfg\.averaged: no hook of this name averages"):
        runner(tmp_path, val_cfg={"averaged": "checkpoint"}, custom_hooks=[])
    with pytest.raises(ConfigError, match=r"test_cfg\.averaged: .*'ema'"):
        runner(tmp_path, test_cfg={"averaged": "emma"}, custom_hooks=[{"type": "EMA"}])
    late = runner(tmp_path, val_cfg={"averaged": "ema"}, custom_hooks=[ProgressBar()])
    with pytest.raises(ValueError, match=r"averaged='ema' names no hook that averages weights"):
        late.train()


# ---------------------------------------------------------------------- loops of one's own


class OwnLoop(BaseLoop):
    def run(self):
        self.runner.call_hook("before_val_epoch")
        outputs = [self.run_iter(n, batch) for n, batch in enumerate(self.dataloader)]
        return {**self.evaluator.evaluate(), "outputs": float(len(outputs))}


@pytest.mark.covers("B6")
def test_a_loop_of_ones_own_validates_within_training_and_alone(tmp_path):
    made = runner(tmp_path, val_cfg={"type": OwnLoop})
    stages = []

    @made.bus.signal(Events.ITERATION_STARTED).connect
    def note(engine):
        stages.append((engine.state.call, engine.state.stage))

    made.train()
    assert made.trainer.state.metrics["val_outputs"] == 2.0
    assert ("train", "val") in stages
    stages.clear()
    assert made.val() == {"mse": made.trainer.state.metrics["val_mse"], "outputs": 2.0}
    assert stages == [("val", "val")]
    assert made.model.training


@pytest.mark.covers("B6")
def test_a_training_loop_of_ones_own(tmp_path):
    class Twice(BaseLoop):
        engine_name = "trainer"

        def __init__(self, runner, dataloader, times):
            super().__init__(runner, dataloader)
            self.times = times

        def run(self):
            for _ in range(self.times):
                self.runner.trainer.run(self.dataloader, max_epochs=1)
            return self.runner.model

    made = runner(tmp_path, train_cfg={"type": Twice, "times": 2, "max_epochs": 7})
    epochs = []
    made.trainer.add_event_handler(Events.EPOCH_COMPLETED, lambda e: epochs.append(e.state.epoch))
    made.train()
    assert epochs == [1, 1]
    assert made.max_epochs == 1
    with pytest.raises(ConfigError, match=r"train_cfg\.tims: neither Twice nor .*'times'"):
        runner(tmp_path, train_cfg={"type": Twice, "tims": 2})


@pytest.mark.covers("B6")
def test_a_loop_derived_from_a_default_one_takes_its_options(tmp_path):
    from footplate.recipes.composition.loops import IterBasedTrainLoop

    class Slower(IterBasedTrainLoop):
        def __init__(self, runner, dataloader, pause=0, **options):
            super().__init__(runner, dataloader, **options)
            self.pause = pause

    cfg = {"type": Slower, "pause": 3, "max_iters": 6, "val_interval": 4}
    made = runner(tmp_path, train_cfg=cfg)
    behind = []
    made.validator.add_event_handler(Events.STARTED, lambda: behind.append(made.iter))
    made.train()
    assert (made.train_loop.pause, behind) == (3, [4, 6])
    with pytest.raises(ConfigError, match=r"train_cfg\.val_intervall: .*'val_interval'"):
        runner(tmp_path, train_cfg={**cfg, "val_intervall": 1})


@pytest.mark.covers("E5")
def test_modes_are_put_back_whatever_happens(tmp_path):
    model = nn.Sequential(Line(), nn.Dropout(0.5))
    model[1].eval()
    made = runner(tmp_path, model=model)
    made.validator.add_event_handler(Events.ITERATION_COMPLETED, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        made.val()
    assert [one.training for one in model.modules()] == [True, True, False]


class Telling(BaseLoop):
    """Tells the end of its epoch itself, if it is asked to, as MMEngine's loops do."""

    def __init__(self, runner, dataloader, evaluator, tells=False):
        super().__init__(runner, dataloader, evaluator)
        self.tells = tells

    def run(self):
        if self.tells:
            self.runner.call_hook("before_val_epoch")
        for number, batch in enumerate(self.dataloader):
            self.run_iter(number, batch)
        metrics = self.evaluator.evaluate()
        if self.tells:
            self.runner.call_hook("after_val_epoch", metrics=metrics)
        return metrics


class Heard(Hook):
    def __init__(self):
        self.lines = []

    def before_val(self, stage):
        self.lines.append(("before_val", stage))

    def before_val_epoch(self):
        self.lines.append(("before_val_epoch",))

    def after_val_epoch(self, metrics):
        self.lines.append(("after_val_epoch", *metrics))

    def on_validation_end(self, engine, metrics):
        self.lines.append(("on_validation_end", engine.name, *metrics))


@pytest.mark.covers("B6")
@pytest.mark.parametrize("tells", [False, True])
def test_hooks_hear_of_a_loop_of_ones_own_once(tmp_path, tells):
    heard = Heard()
    cfg = {"type": Telling, "tells": tells}
    made = runner(tmp_path, val_cfg=cfg, custom_hooks=[heard], train_cfg={"max_epochs": 1})
    made.train()
    lines = [
        ("before_val", "val"),
        ("before_val_epoch",),
        ("after_val_epoch", "mse"),
        ("on_validation_end", "val", "mse"),
    ]
    assert heard.lines == lines
    made.val()
    assert heard.lines == 2 * lines


@pytest.mark.covers("B6")
@pytest.mark.parametrize(
    ("train", "val", "batches"),
    [({}, {"limit_batches": 2}, 2), ({}, {}, 3), ({"fast_dev_run": True}, {}, 1)],
)
def test_a_loop_of_ones_own_has_as_much_data_as_is_asked_for(tmp_path, train, val, batches):
    evaluator = {"share": Share()}
    made = runner(
        tmp_path,
        train_cfg=train,
        val_cfg={"type": Telling, **val},
        val_dataloader=loader(6),
        val_evaluator=evaluator,
    )
    assert made.val()["batches"] == batches


@pytest.mark.covers("B6")
def test_metrics_of_a_loop_of_ones_own_know_the_data_set(tmp_path):
    class Told(Share):
        def compute_metrics(self, results):
            return {"classes": float(len(self.dataset_meta["classes"]))}

    data = loader(4)
    data["dataset"].metainfo = {"classes": ("cat", "dog")}
    cfg = {"type": Telling, "limit_batches": 1}
    made = runner(tmp_path, val_cfg=cfg, val_dataloader=data, val_evaluator=[Told()])
    assert made.val() == {"classes": 2.0}
