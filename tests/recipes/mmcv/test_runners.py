"""Runners of MMCV's kind: what they are told, what they say, and what they refuse."""

# ruff: noqa: C408 - configurations are written as MMCV's users write them

from __future__ import annotations

import json
import logging

import pytest
import torch
from torch import nn
from torch.utils.data import DataLoader, TensorDataset

import footplate.recipes.mmcv as mmcv
from footplate.engine.errors import StateError
from footplate.handlers.limits import MaxSteps
from tests.recipes.mmcv.scenarios import Judged, Judging, Net, Stepping, _loader, process


def made(kind=mmcv.EpochBasedRunner, limit=3, model=None, **options):
    torch.manual_seed(0)
    model = Stepping() if model is None else model
    optimizer = torch.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
    name = "max_epochs" if issubclass(kind, mmcv.EpochBasedRunner) else "max_iters"
    return kind(model, **{"optimizer": optimizer, name: limit, **options})


def trained(runner, **hooks):
    runner.register_training_hooks(
        hooks.pop("lr_config", dict(policy="fixed")), hooks.pop("optimizer_config", {}), **hooks
    )
    runner.run([_loader(5)], [("train", 1)])
    return runner


# ---------------------------------------------------------------------- facts


def test_the_runner_says_what_it_is(tmp_path):
    runner = made(work_dir=str(tmp_path / "new"), meta=dict(seed=0))
    assert (runner.model_name, runner.rank, runner.world_size) == ("Stepping", 0, 1)
    assert (runner.epoch, runner.iter, runner.inner_iter) == (0, 0, 0)
    assert (runner.max_epochs, runner.max_iters, runner.meta) == (3, None, {"seed": 0})
    assert runner.work_dir == str(tmp_path / "new")
    assert (tmp_path / "new").is_dir()
    assert isinstance(runner.logger, logging.Logger)
    trained(runner)
    assert (runner.epoch, runner.iter, runner.max_iters, runner.mode) == (3, 15, 15, "train")
    assert runner.outputs["num_samples"] == 2
    assert runner.current_lr() == [0.1]
    assert runner.current_momentum() == [0.9]


def test_a_finished_run_is_not_begun_anew_but_goes_on_with_a_larger_limit():
    runner, seen = made(), []
    runner.register_hook(mmcv.ClosureHook("after_iter", lambda one: seen.append(one.iter)))
    trained(runner)
    runner.run([_loader(5)], [("train", 1)])
    assert seen == list(range(15))
    runner.run([_loader(5)], [("train", 1)], max_epochs=4)
    assert seen == list(range(20))
    assert (runner.epoch, runner.iter) == (4, 20)


def test_one_epoch_or_one_iteration_is_trained_or_validated_by_hand():
    runner = made(limit=9)
    runner.register_optimizer_hook({})
    runner.train(_loader(5))
    runner.val(_loader(3))
    runner.train(_loader(5))
    assert (runner.epoch, runner.iter, runner.max_iters) == (2, 10, 45)
    assert runner.validator.state.metrics["loss"] > 0
    runner = made(mmcv.IterBasedRunner, 9)
    runner.register_optimizer_hook({})
    batches = mmcv.IterLoader(_loader(2))
    for _ in range(3):
        runner.train(batches)
    runner.val(mmcv.IterLoader(_loader(2)))
    assert runner.iter == 3


def test_keywords_of_run_reach_the_model():
    class Told(Stepping):
        def train_step(self, data, optimizer, temperature):
            self.temperature = temperature
            return self.answer(data)

    runner = made(model=Told())
    runner.run([_loader(2)], [("train", 1)], temperature=0.5)
    assert runner.model.temperature == 0.5


def test_a_batch_processor_is_called_in_the_models_place():
    runner = trained(made(model=Net(), batch_processor=process))
    assert runner.iter == 15


def test_hooks_are_listed_by_stage():
    runner = made()
    runner.register_training_hooks(
        dict(policy="fixed"), {}, custom_hooks_config=mmcv.ClosureHook("after_run", print)
    )
    info = runner.get_hook_info()
    assert "before_run:\n(VERY_HIGH   ) FixedLrUpdaterHook" in info
    assert info.index("after_train_iter") < info.index("after_run")
    assert [hook.priority for hook in runner.hooks] == [10, 40, 50, 70]


def test_the_calls_of_a_hook_are_those_of_its_name(capsys):
    runner = made()
    runner.register_hook(mmcv.ClosureHook("before_val_iter", lambda runner: print("called")))
    runner.call_hook("before_val_iter")
    assert capsys.readouterr().out == "called\n"


def test_handlers_of_footplate_attach_to_the_engines():
    runner = made()
    runner.register_optimizer_hook({})
    runner.settle()
    runner.trainer.attach(MaxSteps(7))
    runner.run([_loader(5)], [("train", 1)])
    assert runner.iter == 7


# ---------------------------------------------------------------------- policies and optimizers


def test_a_policy_of_ones_own_is_found_by_its_name():
    @mmcv.HOOKS.register_module(force=True)
    class ShrunkLrUpdaterHook(mmcv.LrUpdaterHook):
        def get_lr(self, runner, base_lr):
            return base_lr / 2**runner.epoch

    assert trained(made(), lr_config=dict(policy="shrunk")).current_lr() == [0.1 / 4]


def test_an_optimizer_hook_of_ones_own_steps_by_itself():
    class Own(mmcv.OptimizerHook):
        def __init__(self):
            self.steps = 0

        def after_train_iter(self, runner):
            runner.optimizer.zero_grad()
            runner.outputs["loss"].backward()
            runner.optimizer.step()
            self.steps += 1

    own = Own()
    weights = Stepping().layers[0].weight
    runner = trained(made(), optimizer_config=own)
    assert own.steps == 15
    same = trained(made())
    assert torch.equal(runner.model.layers[0].weight, same.model.layers[0].weight)
    assert not torch.equal(runner.model.layers[0].weight, weights)


@pytest.mark.parametrize(
    ("loss_scale", "scale"),
    [(64.0, 64.0), (dict(init_scale=32.0, growth_interval=5), 256.0)],
)
def test_half_precision_scales_losses(loss_scale, scale):
    class Single(Stepping):
        def train_step(self, data, optimizer):
            self.dtype = self.layers(data[0]).dtype
            return self.answer(data)

    model = Single().float()
    generator = torch.Generator().manual_seed(0)
    x = torch.randn(10, 6, generator=generator)
    loader = DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 2)
    runner = made(model=model)
    runner.register_training_hooks(None, dict(type="Fp16OptimizerHook", loss_scale=loss_scale))
    runner.run([loader], [("train", 1)])
    (optimization,) = runner.optimizations.values()
    assert model.dtype == torch.float16
    assert optimization.scaler.get_scale() == scale


def test_a_dynamic_scale_falls_where_gradients_overflow():
    model = Stepping().float()
    x = torch.randn(10, 6)
    runner = made(model=model)
    runner.register_training_hooks(None, dict(type="Fp16OptimizerHook", loss_scale="dynamic"))
    runner.run([DataLoader(TensorDataset(x, x.sum(1, keepdim=True) * 100), 2)], [("train", 1)])
    (optimization,) = runner.optimizations.values()
    assert 0 < optimization.scaler.get_scale() < 65536


def test_accumulation_in_half_precision_steps_each_few_iterations():
    model = Stepping().float()
    x = torch.randn(14, 6)
    runner = made(model=model, limit=1)
    runner.register_training_hooks(
        None, dict(type="GradientCumulativeFp16OptimizerHook", cumulative_iters=3)
    )
    steps = []
    runner.settle()
    runner.trainer.add_event_handler("OPTIMIZER_STEPPED", lambda engine: steps.append(runner.iter))
    runner.run([DataLoader(TensorDataset(x, x.sum(1, keepdim=True)), 2)], [("train", 1)])
    assert steps == [2, 5, 6]


# ---------------------------------------------------------------------- logs


def test_log_vars_reach_the_buffer_and_the_stream(tmp_path, capsys):
    runner = made(work_dir=str(tmp_path))
    log = dict(interval=2, hooks=[dict(type="TextLoggerHook"), dict(type="TensorboardLoggerHook")])
    runner.register_training_hooks(
        dict(policy="step", step=[1]), dict(grad_clip=dict(max_norm=1)), log_config=log
    )
    runner.run([_loader(5), _loader(2)], [("train", 1), ("val", 1)])
    lines = [json.loads(line) for line in (tmp_path / "scalars.jsonl").read_text().splitlines()]
    first = lines[0]
    assert (first["step"], first["lr"]) == (2, 0.1)
    assert {"loss", "grad_norm", "time", "data_time"} <= first.keys()
    assert [line["step"] for line in lines if line["on"] == "iteration"] == [2, 4, 7, 9, 12, 14]
    at_end = [line for line in lines if line["on"] == "epoch"]
    assert all("val_loss" in line and "loss_epoch" in line for line in at_end)
    assert "train [1/3][2/5]" in capsys.readouterr().out
    assert (tmp_path / "run.log").is_file()
    assert next((tmp_path / "tf_logs").iterdir()).name.startswith("events")
    assert len(runner.log_buffer.val_history["loss"]) == 15 + 6  # nobody clears it


def test_means_are_weighted_by_num_samples(tmp_path):
    runner = made(work_dir=str(tmp_path), limit=1)
    losses, data = [], _loader(5).dataset
    runner.register_hook(
        mmcv.ClosureHook(
            "after_iter",
            lambda one: losses.append((one.outputs["loss"].item(), one.outputs["num_samples"])),
        )
    )
    log = dict(interval=9, hooks=[dict(type="TextLoggerHook")])
    runner.register_training_hooks(None, {}, log_config=log)
    runner.run([DataLoader(data, 4)], [("train", 1)])
    assert [count for _, count in losses] == [4, 4, 2]
    expected = sum(loss * count for loss, count in losses) / 10
    line = json.loads((tmp_path / "scalars.jsonl").read_text().splitlines()[-1])
    assert line["loss"] == pytest.approx(expected, rel=1e-12)


def test_loggers_log_at_one_interval(tmp_path):
    runner = made(work_dir=str(tmp_path))
    hooks = [dict(type="TextLoggerHook"), dict(type="TensorboardLoggerHook", interval=5)]
    runner.register_logger_hooks(dict(interval=2, hooks=hooks))
    with pytest.raises(ValueError, match="all sinks have one interval"):
        runner.run([_loader(5)], [("train", 1)])


# ---------------------------------------------------------------------- checkpoints


def test_the_best_checkpoint_is_kept_by_what_the_data_set_says(tmp_path):
    x, y = _loader(3, 4).dataset.tensors
    runner = made(model=Judging(), work_dir=str(tmp_path), limit=5)
    runner.register_training_hooks(dict(policy="fixed"), {}, dict(interval=1, max_keep_ckpts=1))
    scores = []

    class Reading(mmcv.EvalHook):
        def evaluate(self, runner, results):
            scores.append(len(scores) % 3)  # 0 1 2 0 1
            runner.log_buffer.output["top1_acc"] = scores[-1]
            return scores[-1]

    runner.register_hook(
        Reading(DataLoader(Judged(x, y), 2), save_best="auto", rule="greater"), "LOW"
    )
    runner.run([_loader(4)], [("train", 1)])
    kept = sorted(path.name for path in (tmp_path / "checkpoints").iterdir())
    assert kept == ["00000012", "00000020"]
    assert runner.trainer.state.metrics["eval_top1_acc"] == 1


def test_less_is_better_where_the_name_of_the_first_number_says_so(tmp_path):
    class Lossy(Judged):
        def evaluate(self, results, logger=None):
            self.calls = getattr(self, "calls", 0) + 1
            return {"loss_of_all": float(self.calls)}

    x, y = _loader(3, 4).dataset.tensors
    runner = made(model=Judging(), work_dir=str(tmp_path))
    runner.register_hook(mmcv.EvalHook(DataLoader(Lossy(x, y), 2), save_best="auto"), "LOW")
    trained(runner)
    kept = [path.name for path in (tmp_path / "checkpoints").iterdir()]
    assert kept == ["00000005"]  # the first, as it only gets worse


def test_a_file_as_mmcvs_is_written_and_gone_on_from(tmp_path):
    def runner():
        one = made(limit=4)
        one.register_training_hooks(dict(policy="exp", gamma=0.5), {})
        return one

    def save(running):
        if running.epoch == 1:
            running.save_checkpoint(str(tmp_path), meta=dict(note="halfway"))

    whole = runner()
    whole.register_hook(mmcv.ClosureHook("after_train_epoch", save), "VERY_LOW")
    torch.manual_seed(1)
    whole.run([_loader(5)], [("train", 1)])
    loaded = torch.load(tmp_path / "latest.pth", weights_only=True)
    assert (tmp_path / "latest.pth").resolve().name == "epoch_2.pth"
    assert loaded.keys() == {"meta", "state_dict", "optimizer"}
    assert (loaded["meta"]["epoch"], loaded["meta"]["iter"]) == (2, 10)
    other = runner()
    other.resume(str(tmp_path / "latest.pth"))
    assert (other.epoch, other.iter, other.meta["note"]) == (2, 10, "halfway")
    seen = []
    other.register_hook(
        mmcv.ClosureHook("after_train_iter", lambda one: seen.append((one.epoch, one.iter)))
    )
    other.run([_loader(5)], [("train", 1)])
    assert seen[0] == (2, 10)
    assert len(seen) == 10
    assert other.current_lr() == [0.1 * 0.5**3]


def test_a_file_as_mmcvs_is_gone_on_from_by_iterations(tmp_path):
    runner = made(mmcv.IterBasedRunner, 6)
    runner.register_training_hooks(dict(policy="fixed"), {})
    runner.run([_loader(4)], [("train", 1)])
    runner.save_checkpoint(str(tmp_path), filename_tmpl="{}.pth", create_symlink=False)
    other = made(mmcv.IterBasedRunner, 9)
    other.register_training_hooks(dict(policy="fixed"), {})
    other.resume(str(tmp_path / "7.pth"), resume_optimizer=False)
    other.run([_loader(4)], [("train", 1)])
    assert (runner.iter, other.iter, other.epoch) == (6, 9, 1)


def test_weights_of_mmcv_load_with_other_names(tmp_path):
    runner, path = made(), str(tmp_path / "weights.pth")
    wrapped = {f"module.net.{name}": value + 1 for name, value in runner.model.state_dict().items()}
    torch.save({"meta": {"mmcv_version": "1.7.2"}, "state_dict": wrapped}, path)
    report = runner.load_checkpoint(path, revise_keys=[(r"^module\.", ""), (r"^net\.", "")])
    assert not report.missing
    assert torch.equal(runner.model.layers[0].bias, wrapped["module.net.layers.0.bias"])
    with pytest.raises(StateError, match="missing"):
        runner.load_checkpoint(path, strict=True)


def test_what_is_wrapped_around_a_model_is_taken_away(tmp_path):
    class Wrapped(nn.DataParallel):
        def train_step(self, data, optimizer):
            return self.module.train_step(data, optimizer)

    runner = trained(made(model=Wrapped(Stepping()), work_dir=str(tmp_path)))
    assert runner.model_name == "Stepping"
    runner.save_checkpoint(str(tmp_path))
    other = made(model=Stepping())
    assert not other.load_checkpoint(str(tmp_path / "latest.pth"), strict=True).missing


def test_what_is_no_checkpoint_is_refused(tmp_path):
    runner = made()
    with pytest.raises(StateError, match="holds no whole, exact checkpoint"):
        runner.resume(str(tmp_path))
    torch.save(runner.model.state_dict(), tmp_path / "bare.pth")
    with pytest.raises(StateError, match="load its weights alone"):
        runner.resume(str(tmp_path / "bare.pth"))
    with pytest.raises(TypeError, match="map_location is a device"):
        runner.load_checkpoint(str(tmp_path / "bare.pth"), map_location=lambda storage, _: storage)


def test_other_hooks_than_were_saved_are_refused(tmp_path):
    class Stateful(mmcv.Hook):
        def state_dict(self):
            return {"seen": 1}

        def load_state_dict(self, state):
            raise AssertionError

    runner = made(work_dir=str(tmp_path))
    trained(runner, checkpoint_config=dict(interval=1))
    other = made(work_dir=str(tmp_path))
    other.register_training_hooks(dict(policy="fixed"), {}, dict(interval=1))
    other.register_hook(Stateful())
    with pytest.raises(StateError, match=r"hooks \[\], and the runner \['Stateful'\]"):
        other.resume(str(tmp_path))


def test_an_average_of_the_weights_is_saved_and_gone_on_with(tmp_path):
    def runner(limit):
        one = made(work_dir=str(tmp_path / str(limit)), limit=limit)
        one.register_training_hooks(dict(policy="fixed"), {}, dict(interval=1))
        one.register_hook(mmcv.EMAHook(momentum=0.1))
        return one

    whole, half = runner(4), runner(2)
    for one in (whole, half):
        torch.manual_seed(1)
        one.run([_loader(5)], [("train", 1)])
    other = runner(4)
    other.resume(str(tmp_path / "2"))
    other.run([_loader(5)], [("train", 1)])
    for one, same in zip(
        other.model.state_dict().values(), whole.model.state_dict().values(), strict=True
    ):
        assert torch.equal(one, same)


# ---------------------------------------------------------------------- errors


def test_a_run_goes_on_behind_an_error():
    runner, seen, failed = made(), [], []

    def fail(engine):
        if engine.state.iteration == 8 and not failed:
            failed.append(engine.state.iteration)
            raise OSError("no space")

    runner.register_hook(mmcv.ClosureHook("after_iter", lambda one: seen.append(one.iter)))
    runner.trainer.add_event_handler("ITERATION_COMPLETED", fail, priority="LOWEST")
    with pytest.raises(OSError, match="no space"):
        trained(runner)
    assert (runner.epoch, runner.iter, runner.inner_iter) == (1, 7, 2)
    runner.run([_loader(5)], [("train", 1)])
    assert seen == [*range(8), 7, *range(8, 15)]
    assert (runner.epoch, runner.iter) == (3, 15)


@pytest.mark.parametrize(
    ("kind", "text"),
    [
        ("DistEvalHook", "val_evaluator"),
        ("PaviLoggerHook", "a sink is a class"),
        ("ProfilerHook", "handlers.profiler"),
        ("WandbLoggerHook", "handlers.wandb"),
    ],
)
def test_hooks_that_are_not_here_are_refused_by_name(kind, text):
    with pytest.raises(NotImplementedError, match=f"{kind} is not here.*{text}"):
        made().register_hook_from_cfg(dict(type=kind))


@pytest.mark.parametrize(
    ("config", "error", "text"),
    [
        (dict(lr_config=dict(policy="setp")), KeyError, "Did you mean 'Step'|Step"),
        (dict(lr_config=dict(step=[1])), KeyError, "has 'policy'"),
        (dict(lr_config=dict(policy="step", step=0)), ValueError, "whole number above 0"),
        (dict(lr_config=dict(policy="fixed", warmup="linaer")), ValueError, "linear"),
        (dict(lr_config=dict(policy="fixed", warmup="exp")), ValueError, "warmup_iters"),
        (dict(lr_config=dict(policy="CosineAnnealing")), ValueError, "min_lr or min_lr_ratio"),
        (dict(lr_config=dict(policy="cyclic", by_epoch=True)), ValueError, "counts iterations"),
        (dict(lr_config=dict(policy="cyclic", target_ratio=3)), ValueError, "target_ratio"),
        (dict(lr_config=dict(policy="OneCycle", max_lr=1.0, pct_start=2.0)), ValueError, "pct"),
        (
            dict(lr_config=dict(policy="OneCycle", max_lr=1.0, anneal_strategy="cosine")),
            ValueError,
            "'cos'",
        ),
        (
            dict(lr_config=dict(policy="CosineRestart", periods=[1, 2], min_lr=0.0)),
            ValueError,
            "one weight for each",
        ),
        (dict(optimizer_config=dict(type="OptimizerHok")), KeyError, "OptimizerHook"),
        (dict(optimizer_config=dict(detect_anomalous_params=True)), NotImplementedError, "detect"),
        (
            dict(optimizer_config=dict(type="Fp16OptimizerHook", loss_scale="x")),
            ValueError,
            "loss_s",
        ),
        (dict(checkpoint_config=dict(save_optimizer=False)), NotImplementedError, "save_optimizer"),
        (dict(checkpoint_config=dict(filename_tmpl="{}.pth")), NotImplementedError, "filename_tm"),
        (dict(checkpoint_config=dict(intervall=2)), TypeError, "interval"),
    ],
)
def test_configurations_are_checked(config, error, text):
    with pytest.raises(error, match=text):
        made().register_training_hooks(**{"lr_config": None, **config})


def test_hooks_are_hooks_and_are_taken_once():
    runner, hook = made(), mmcv.ClosureHook("after_run", print)
    runner.register_hook(hook)
    with pytest.raises(ValueError, match="has a priority already"):
        runner.register_hook(hook)
    with pytest.raises(TypeError, match=r"runner\.trainer\.attach"):
        runner.register_hook(MaxSteps(1))
    with pytest.raises(ValueError, match="priority 'URGENT'"):
        runner.register_hook(mmcv.ClosureHook("after_run", print), "URGENT")
    with pytest.raises(ValueError, match="after_train_iter"):
        mmcv.ClosureHook("after_trian_iter", print)


@pytest.mark.parametrize(
    ("options", "error", "text"),
    [
        (dict(model=nn.Linear(1, 1)), TypeError, "has no train_step"),
        (dict(batch_processor=process), RuntimeError, "leave one of them out"),
        (dict(model=Net(), batch_processor=3), TypeError, "is a function"),
        (dict(optimizer=3), TypeError, "one of torch"),
        (dict(optimizer={"a": 3}), TypeError, "one of torch"),
        (dict(logger=3), TypeError, "logging.Logger"),
        (dict(meta=3), TypeError, "meta is a dict"),
        (dict(max_iters=3), ValueError, "one of them"),
    ],
)
def test_arguments_are_checked(options, error, text):
    with pytest.raises(error, match=text):
        made(**options)


@pytest.mark.parametrize(
    ("loaders", "workflow", "error", "text"),
    [
        ([_loader(2)], [("tarin", 1)], ValueError, "'train' or 'val'"),
        ([_loader(2)], [("val", 1)], ValueError, "no train phase"),
        ([_loader(2)], [("train", 1), ("val", 1)], ValueError, "2 phases were given 1 loaders"),
        ([iter([1])], [("train", 1)], TypeError, "has no length"),
    ],
)
def test_workflows_are_checked(loaders, workflow, error, text):
    with pytest.raises(error, match=text):
        made().run(loaders, workflow)


def test_a_run_needs_a_limit_and_checkpoints_a_place():
    with pytest.raises(ValueError, match="give max_epochs="):
        made(limit=None).run([_loader(2)], [("train", 1)])
    runner = made()
    runner.register_checkpoint_hook(dict(interval=1))
    with pytest.raises(ValueError, match="give the runner a work_dir"):
        runner.run([_loader(2)], [("train", 1)])


def test_saving_by_epochs_is_refused_where_there_are_none(tmp_path):
    runner = made(mmcv.IterBasedRunner, work_dir=str(tmp_path))
    runner.register_checkpoint_hook(dict(interval=1))
    with pytest.raises(ValueError, match="by_epoch=False"):
        runner.run([_loader(2)], [("train", 1)])


def test_what_would_never_be_called_is_refused():
    with pytest.raises(TypeError, match="overrides train"):
        type("Own", (mmcv.EpochBasedRunner,), {"train": print})
    with pytest.raises(TypeError, match="log would never be called"):
        type("Own", (mmcv.TextLoggerHook,), {"log": print})


@pytest.mark.covers("B6")
def test_an_own_runner_may_say_what_an_iteration_is():
    @mmcv.RUNNERS.register_module(force=True)
    class Twice(mmcv.EpochBasedRunner):
        def run_iter(self, data_batch, train_mode, **kwargs):
            super().run_iter(data_batch, train_mode, **kwargs)
            self.seen = getattr(self, "seen", 0) + 1

    runner = mmcv.build_runner(dict(type="Twice", max_epochs=2), dict(model=Stepping()))
    runner.run([_loader(3)], [("train", 1)])
    assert runner.seen == 6


def test_a_model_that_returns_no_loss_is_told_so():
    class Silent(Stepping):
        def train_step(self, data, optimizer):
            return dict(log_vars={}, num_samples=1)

    class Wrong(Stepping):
        def train_step(self, data, optimizer):
            return torch.zeros(())

    with pytest.raises(ValueError, match="'loss' is a tensor"):
        trained(made(model=Silent()))
    with pytest.raises(TypeError, match="train_step returns a dict"):
        trained(made(model=Wrong()))


def test_an_optimizer_hook_steps_one_optimizer():
    model = Stepping()
    several = {
        name: torch.optim.SGD(model.layers[number].parameters(), lr=0.1)
        for name, number in (("a", 0), ("b", 3))
    }
    with pytest.raises(ValueError, match="the runner has 2"):
        trained(made(model=model, optimizer=several))
