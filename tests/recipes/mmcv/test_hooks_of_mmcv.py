"""What hooks made for MMCV do to a runner and with it."""

from __future__ import annotations

import pytest
import torch
from torch import nn

import footplate.recipes.mmcv as mmcv
from tests.recipes.mmcv.test_runners import _loader, made, trained


def when(stage, function):
    return mmcv.ClosureHook(stage, function)


@pytest.mark.parametrize(
    ("kind", "name", "stage", "expected"),
    [
        (mmcv.EpochBasedRunner, "_max_epochs", "after_train_epoch", (2, 10)),
        (mmcv.EpochBasedRunner, "_max_epochs", "after_train_iter", (2, 10)),
        (mmcv.IterBasedRunner, "_max_iters", "after_train_iter", (0, 2)),
    ],
)
def test_a_hook_ends_the_run_by_moving_its_limit(kind, name, stage, expected):
    runner = made(kind, 6)

    def end(one):
        if (one.epoch if name == "_max_epochs" else one.iter) == 1:
            setattr(one, name, 2)

    runner.register_hook(when(stage, end))
    trained(runner)
    assert (runner.epoch, runner.iter) == expected
    assert getattr(runner, name) == getattr(runner, name.removeprefix("_")) == 2
    runner.run([_loader(5)], [("train", 1)])  # which has come to its end
    assert (runner.epoch, runner.iter) == expected


def test_a_hook_moves_the_limit_before_the_run():
    runner = made(limit=2)
    runner.register_hook(when("before_run", lambda one: setattr(one, "_max_epochs", 4)))
    assert trained(runner).epoch == 4


def test_counts_are_read_by_mmcvs_own_names_and_not_set():
    runner, seen = made(limit=2), []
    runner.register_hook(
        when("after_train_iter", lambda one: seen.append((one._epoch, one._iter, one._inner_iter)))
    )
    trained(runner)
    assert seen == [(number // 5, number, number % 5) for number in range(10)]
    for name in ("_epoch", "_iter", "_inner_iter"):
        with pytest.raises(AttributeError, match=r"runner\.trainer\.terminate\(\)"):
            setattr(runner, name, 3)


def test_an_optimizer_hook_of_ones_own_clips_by_its_method():
    class Own(mmcv.OptimizerHook):
        def after_train_iter(self, runner):
            runner.optimizer.zero_grad()
            runner.outputs["loss"].backward()
            norm = self.clip_grads(runner.model.parameters())
            runner.log_buffer.update({"grad_norm": float(norm)}, runner.outputs["num_samples"])
            runner.optimizer.step()

    options = {"grad_clip": {"max_norm": 0.5, "norm_type": 2}}
    runner = trained(made(), optimizer_config=Own(**options))
    same = trained(made(), optimizer_config=options)
    plain = trained(made())
    weights = [one.model.layers[0].weight for one in (runner, same, plain)]
    assert torch.equal(weights[0], weights[1])
    assert not torch.equal(weights[0], weights[2])
    norms = [one.log_buffer.val_history["grad_norm"] for one in (runner, same)]
    assert list(norms[0]) == list(norms[1])


def test_what_can_not_be_clipped_is_left_or_refused():
    frozen = nn.Parameter(torch.zeros(2), requires_grad=False)
    hook = mmcv.OptimizerHook(grad_clip={"max_norm": 1.0})
    assert hook.clip_grads([frozen, nn.Parameter(torch.zeros(2))]) is None
    with pytest.raises(ValueError, match="has no grad_clip"):
        mmcv.OptimizerHook().clip_grads([frozen])
