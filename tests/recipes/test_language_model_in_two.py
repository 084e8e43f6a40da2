"""The language model in two processes, replicated and in shards."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.recipes.two_processes import (
    command,
    killed_behind_a_checkpoint,
    printed,
    script,
    weights,
)

pytestmark = pytest.mark.covers("K2")

TEXT = str(Path(__file__).resolve().parents[2] / "LICENSE")
SHORT = f"--iterations 60 --length 16 --batch-size 4 --width 32 --text {TEXT}"
SCRIPT = [*script("language_model"), *SHORT.split()]
LESS = """
    train_cfg.max_iters=20 train_cfg.val_interval=10 default_hooks.checkpoint.interval=10
    default_hooks.logger.interval=10 default_hooks.report=null param_scheduler=null
    model.length=16 model.width=32 train_dataloader.batch_size=32
"""
ALONE = command("language_model", *LESS.split())
BATCH = "train_dataloader.batch_size=16"  # of each of two processes
WAYS = {"ddp": (), "fsdp": ("model_wrapper_cfg={type: fsdp, modules: [Block]}",)}


@pytest.mark.slow
def test_the_script_runs_and_resumes_in_two_processes_as_one(tmp_path):
    whole, broken = tmp_path / "whole", tmp_path / "broken"
    out = printed(SCRIPT, whole)
    assert out.count("The run's files are in") == out.count("bits a character;") == 1
    killed_behind_a_checkpoint(SCRIPT, broken)
    out = printed([*script("language_model"), "--resume"], broken)
    assert out.count("resuming from") == 1
    assert weights(broken) == weights(whole)


@pytest.mark.slow
@pytest.mark.parametrize("way", WAYS)
def test_two_processes_reach_what_one_does_and_resume_to_the_same_weights(tmp_path, way):
    one, whole, broken = (tmp_path / name for name in ("one", "whole", "broken"))
    run = [*ALONE, "--nproc", "2", *WAYS[way], BATCH]
    # they share a batch of 32 as one process has it, in another order
    reached = [
        float(re.findall(r"val_bits ([\d.]+)", printed(command, folder))[-1])
        for command, folder in ((ALONE, one), (run, whole))
    ]
    assert reached[1] == pytest.approx(reached[0], abs=0.1)
    assert max(reached) < 5
    killed_behind_a_checkpoint(run, broken)
    printed([*run, "--resume"], broken)
    assert weights(broken) == weights(whole)
