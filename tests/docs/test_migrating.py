"""The pages about moving over name every argument, theirs and ours, and ours are there."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from dataclasses import fields, is_dataclass
from pathlib import Path
from typing import Any, NamedTuple

import pytest
import torch
from ignite.metrics import Accuracy

from footplate.handlers.metrics import Metrics
from footplate.recipes.composition import bundles, optimizers
from footplate.recipes.composition.options import (
    AutoScaleLR,
    EnvCfg,
    EvalCfg,
    LogProcessorCfg,
    Randomness,
    TrainCfg,
)
from footplate.recipes.config.registry import HOOKS, LOOPS
from footplate.recipes.runner import Runner

pytestmark = pytest.mark.covers("H1")

PAGES = Path(__file__).resolve().parents[2] / "docs" / "migrating"
RUNNER = {
    name
    for name, one in inspect.signature(Runner).parameters.items()
    if one.kind is not one.VAR_KEYWORD
}
GROUPS = {
    "train_cfg": TrainCfg,
    "val_cfg": EvalCfg,
    "test_cfg": EvalCfg,
    "predict_cfg": EvalCfg,
    "env_cfg": EnvCfg,
    "randomness": Randomness,
    "auto_scale_lr": AutoScaleLR,
    "log_processor": LogProcessorCfg,
}
WRAPPERS = (optimizers.optim_wrapper, optimizers.amp_optim_wrapper)
OF_WRAPPERS = {name for one in WRAPPERS for name in inspect.signature(one).parameters}

MMENGINE = re.findall(
    r"\S+",
    """
    model work_dir train_dataloader val_dataloader test_dataloader train_cfg val_cfg test_cfg
    auto_scale_lr optim_wrapper param_scheduler val_evaluator test_evaluator default_hooks
    custom_hooks data_preprocessor load_from resume launcher env_cfg log_processor log_level
    visualizer default_scope randomness experiment_name cfg
    """,
)
MMCV = re.findall(
    r"\S+",
    """
    model batch_processor optimizer work_dir logger meta max_iters max_epochs
    lr_config optimizer_config.grad_clip checkpoint_config.interval log_config.interval
    momentum_config timer_config custom_hooks_config
    """,
)
TRAINER = re.findall(
    r"\S+",
    """
    accelerator strategy devices num_nodes precision logger callbacks fast_dev_run max_epochs
    min_epochs max_steps min_steps max_time limit_train_batches limit_val_batches
    limit_test_batches limit_predict_batches overfit_batches val_check_interval
    check_val_every_n_epoch num_sanity_val_steps log_every_n_steps enable_checkpointing
    enable_progress_bar enable_model_summary accumulate_grad_batches gradient_clip_val
    gradient_clip_algorithm deterministic benchmark inference_mode use_distributed_sampler
    profiler detect_anomaly barebones plugins sync_batchnorm reload_dataloaders_every_n_epochs
    default_root_dir enable_autolog_hparams model_registry
    """,
)
FABRIC = re.findall(
    r"\S+", "accelerator strategy devices num_nodes precision plugins callbacks loggers"
)
WALL_E = re.findall(
    r"\S+",
    """
    model epochs train_data_loader valid_data_loader test_data_loader train_loop valid_loop
    test_loop train_evaluator valid_evaluator test_evaluator optimizer cfg
    """,
)


BATCHES = [(torch.zeros(2, 3), torch.zeros(2, dtype=torch.long))] * 3


class Row(NamedTuple):
    page: str
    section: str
    theirs: str
    ours: str
    cells: tuple[str, ...]

    @property
    def where(self) -> str:
        return f"{self.page}: {self.theirs or self.ours}"


def rows(page: str) -> Iterator[Row]:
    """The rows of a page's tables; ``ours`` is the column that is headed Footplate."""
    head: list[str] = []
    section = ""
    for line in (PAGES / page).read_text().splitlines():
        if not line.startswith("|"):
            head = []
            section = line[3:] if line.startswith("## ") else section
            continue
        cells = [cell.strip() for cell in re.split(r"(?<!\\)\|", line)[1:-1]]
        if not head:
            head = cells
        elif not re.fullmatch(r"[|\- ]+", line):
            assert len(cells) == len(head), line
            ours = cells[head.index("Footplate")] if "Footplate" in head else ""
            theirs = "" if head[0] == "Footplate" else cells[0]
            yield Row(page, section, theirs, ours, tuple(cells))


def spans(cell: str) -> list[str]:
    """What stands in code."""
    return re.findall(r"`([^`]+)`", cell)


ALL = [row for page in sorted(PAGES.glob("*.md")) for row in rows(page.name)]
OURS = {span for row in ALL for span in spans(row.ours)}
FRAGMENTS = {
    row: ", ".join(found)
    for row in ALL
    if (found := [one for one in spans(row.ours) if one.partition("=")[0] in RUNNER and "=" in one])
}
"""By row, what is written there as arguments of the Runner."""


@pytest.mark.parametrize("name", sorted(RUNNER))
def test_every_argument_of_the_runner_is_named(name):
    assert any(re.search(rf"\b{name}\b", span) for span in OURS)


@pytest.mark.parametrize("group", ["train_cfg", "val_cfg", *list(GROUPS)[4:]])
def test_every_option_of_a_group_is_named(group):
    assert {f"{group}.{field.name}" for field in fields(GROUPS[group])} <= OURS


def test_every_option_of_the_hooks_and_of_the_optimizer_is_named():
    for name, hook in bundles.DEFAULT_HOOKS.items():
        options = {f"default_hooks.{name}.{one}" for one in _options_of(HOOKS.find(hook["type"]))}
        assert options <= OURS
    named = " ".join(OURS)
    assert [one for one in OF_WRAPPERS if not re.search(rf"\b{one}\b", named)] == []


@pytest.mark.parametrize(
    ("page", "arguments"),
    [
        ("mmengine.md", MMENGINE),
        ("mmcv.md", MMCV),
        ("lightning.md", TRAINER),
        ("lightning.md", FABRIC),
        ("wall_e.md", WALL_E),
    ],
)
def test_every_argument_of_theirs_has_a_row(page, arguments):
    there = {span for row in rows(page) for span in spans(row.theirs)}
    assert [name for name in arguments if name not in there] == []


def test_no_row_leaves_open_what_becomes_of_it():
    assert [row.where for row in ALL if not any(row.cells[1:])] == []


@pytest.mark.parametrize("row", ALL, ids=lambda row: row.where)
def test_what_is_named_of_ours_is_there(row):
    for span in spans(row.ours):
        group, _, option = span.partition(".")
        if re.fullmatch(r"\w+(\.\w+)+", span) is None:
            continue
        if group in GROUPS and option != "type":
            assert option in {field.name for field in fields(GROUPS[group])}, span
        elif group == "optim_wrapper" and option not in ("type", "optimizer", "constructor"):
            assert option in OF_WRAPPERS, span
        elif group == "default_hooks":
            name, _, option = option.partition(".")
            assert name in bundles.DEFAULT_HOOKS, span
            hook = HOOKS.find(bundles.DEFAULT_HOOKS[name]["type"])
            assert not option or option in _options_of(hook), span
        elif group == "footplate":
            _import(span)


@pytest.mark.parametrize("row", FRAGMENTS, ids=lambda row: row.where)
def test_what_is_written_as_arguments_is_taken(row, tmp_path):
    """The constructor takes it, and the train engine is built with it."""
    names = {"Accuracy": Accuracy, "Metrics": Metrics, "Data": _Data}
    given: dict[str, Any] = eval(f"dict({FRAGMENTS[row]})", names)
    sgd = {"type": "SGD", "lr": 0.1, "momentum": 0.9}  # as some schedulers move momentum
    given["optim_wrapper"] = {"optimizer": sgd, **given.get("optim_wrapper", {})}
    given["train_cfg"] = {
        "max_epochs": 12,
        "loss": torch.nn.functional.cross_entropy,
        **given.get("train_cfg", {}),
    }
    if "train_dataloader" not in given:
        given["train_dataloader"] = given["val_dataloader"] = BATCHES
        given["val_evaluator"] = {"accuracy": Accuracy()}
    if (name := given.get("val_cfg", {}).get("averaged")) and "custom_hooks" not in given:
        given["custom_hooks"] = [{"type": name.upper()}]
    if "MLflow" in FRAGMENTS[row]:  # which would look for a database
        given["default_hooks"] = {"logger": None}
    runner = Runner(torch.nn.Linear(3, 2), tmp_path, **given)
    assert runner.trainer.name == "train"
    assert runner.param_schedulers or given.get("param_scheduler") is None


def test_what_keeps_its_name_has_it(tmp_path):
    runner = Runner(torch.nn.Linear(3, 2), tmp_path, BATCHES, BATCHES, BATCHES)
    of_the_runner = [row for row in rows("mmengine.md") if row.section == "Methods and attributes"]
    kept = [span for row in of_the_runner if row.ours == "the same" for span in spans(row.theirs)]
    names = {span.partition("(")[0].removeprefix("Runner.") for span in kept}
    assert len(names) > 40
    assert [name for name in names if not hasattr(runner, name)] == []


def _options_of(hook: Any) -> set[str]:
    return {one.name for one in fields(hook) if one.init} if is_dataclass(hook) else set()


def _import(path: str) -> Any:
    module, _, name = path.rpartition(".")
    return getattr(__import__(module, fromlist=[name]), name)


class _Data:
    def setup(self, stage):
        pass

    def train_dataloader(self):
        return BATCHES


def test_loops_that_are_named_are_there():
    assert all(name in LOOPS for name in ("EpochBasedTrainLoop", "IterBasedTrainLoop", "ValLoop"))
