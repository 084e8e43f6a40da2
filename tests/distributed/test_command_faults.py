"""The command in several processes, of which one fails: what is read, and that all end."""

from __future__ import annotations

import pytest

from tests.distributed.commanding import BOUND, FAULT, OURS, TORCHRUN, since_saved, train, waited


@pytest.mark.covers("I6")
@pytest.mark.parametrize("rank", [pytest.param(0, marks=pytest.mark.slow), 1])
def test_the_error_of_the_first_that_fails_is_what_is_read(rank, tmp_path):
    done = waited(train(tmp_path, *OURS, "model.fault=raise", f"model.rank={rank}"))
    assert done.code == 1
    assert since_saved(tmp_path, done) < BOUND
    assert done.err.startswith(f"rank {rank} of 2: Traceback (most recent call last):\n")
    assert done.err.count("Traceback") == done.err.count(FAULT) == 1
    assert "closed by peer" not in done.out + done.err


@pytest.mark.slow
@pytest.mark.covers("I6")
def test_torchrun_shows_the_first_error_too(tmp_path):
    done = waited(train(tmp_path, "model.fault=raise", launcher=TORCHRUN))
    assert done.code == 1
    assert since_saved(tmp_path, done) < BOUND
    *_, cause = done.err.partition("Root Cause")
    assert "rank      : 1" in cause
    assert done.out.count(FAULT) + done.err.count(FAULT) == cause.count(FAULT) == 1


@pytest.mark.covers("I6")
def test_a_process_that_is_killed_ends_all(tmp_path):
    done = waited(train(tmp_path, *OURS, "model.fault=kill"))
    assert done.code == 1
    assert since_saved(tmp_path, done) < BOUND
    assert done.err == "rank 1 of 2: it was ended by SIGKILL, and wrote no error\n"


@pytest.mark.covers("I6")
@pytest.mark.parametrize(
    "code",
    [7, pytest.param(143, marks=pytest.mark.slow)],  # the other as if a signal had stopped it
)
def test_a_process_that_ends_without_a_word_is_quoted(code, tmp_path):
    done = waited(train(tmp_path, *OURS, "model.fault=exit", f"model.code={code}"))
    assert done.code == 1
    assert done.err == f"rank 1 of 2: it ended with {code}, and wrote no error\nlast words\n"


@pytest.mark.covers("I6")
def test_where_one_hangs_is_shown(tmp_path):
    hook = "custom_hooks=[{type: StopTogether, grace: 2}]"
    hung = ("model.fault=hang", "env_cfg.dist_cfg.timeout=3", hook)
    done = waited(train(tmp_path, *OURS, *hung))
    assert done.code == 1
    assert "rank 1: process" in done.err
    assert "in _fail" in done.err
    assert "rank 0 of 2: Traceback" in done.err


def test_a_wrong_configuration_is_told_once(tmp_path):
    done = waited(train(tmp_path, *OURS, "optim_wrapper.optimizer.lrr=1"))
    assert done.code == 1
    assert done.err.count("Did you mean 'lr'?") == 1
    assert "Traceback" not in done.err
    assert not (tmp_path / "work_dirs").exists()


def test_data_of_other_lengths_are_told_before_training(tmp_path):
    data = "train_dataloader.dataset.type=tests.distributed.task.OwnLength"
    done = waited(train(tmp_path, *OURS, data))
    assert done.code == 1
    assert "samples to train with: [10] on rank 0; [11] on rank 1" in done.err
    assert "train [" not in done.out
