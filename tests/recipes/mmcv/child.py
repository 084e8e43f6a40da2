"""A training with MMCV's words that may kill itself: ``python -m tests.recipes.mmcv.child``."""

# ruff: noqa: C408 - configurations are written as MMCV's users write them

from __future__ import annotations

import argparse
import os
import pathlib
import signal
import sys

import torch
from torch.utils.data import DataLoader

import footplate.recipes.mmcv as mmcv
from tests.recipes.mmcv.scenarios import Judged, Judging, _loader


class Diary(mmcv.Hook):
    """Writes down what each iteration was like, and kills the process behind one of them."""

    def __init__(self, path, kill_at):
        self.path, self.kill_at = path, kill_at
        self.seen = 0.0

    def after_train_iter(self, runner):
        self.seen += runner.outputs["log_vars"]["loss"]
        rates = runner.current_lr()[0], runner.current_momentum()[0]
        means = {k: list(v)[-3:] for k, v in runner.log_buffer.val_history.items() if "ti" not in k}
        with self.path.open("a") as file:
            loss = runner.outputs["log_vars"]["loss"]
            print(
                runner.epoch,
                runner.iter,
                runner.inner_iter,
                loss,
                *rates,
                self.seen,
                means,
                file=file,
            )
        if runner.iter == self.kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    def state_dict(self):
        return {"seen": self.seen}

    def load_state_dict(self, state):
        self.seen = state["seen"]


class Freezing(mmcv.Hook):
    """Has a part of the model evaluate, which only the beginning of an epoch does."""

    def before_train_epoch(self, runner):
        if runner.epoch == 1:
            runner.model.layers[2].eval()


def main(folder, unit, kill_at, resume):
    torch.manual_seed(5)
    torch.set_num_threads(1)
    model = Judging()
    optimizer = mmcv.build_optimizer(model, dict(type="SGD", lr=0.1, momentum=0.9))
    runner = mmcv.build_runner(
        dict(type="EpochBasedRunner", max_epochs=4)
        if unit == "epoch"
        else dict(type="IterBasedRunner", max_iters=28),
        dict(model=model, optimizer=optimizer, work_dir=str(folder)),
    )
    runner.register_training_hooks(
        dict(policy="CosineAnnealing", min_lr=0.0, warmup="linear", warmup_iters=12),
        dict(
            type="GradientCumulativeOptimizerHook", cumulative_iters=3, grad_clip=dict(max_norm=1)
        ),
        dict(interval=1, by_epoch=False, max_keep_ckpts=3),
        momentum_config=dict(policy="cyclic", cyclic_times=2),
        log_config=dict(interval=3, hooks=[dict(type="TextLoggerHook")]),
    )
    x, y = _loader(3, 4).dataset.tensors
    evaluation = dict(start=1, interval=2, by_epoch=unit == "epoch", save_best="loss")
    runner.register_hook(mmcv.EvalHook(DataLoader(Judged(x, y), 2), **evaluation), "LOW")
    runner.register_hook(mmcv.EMAHook(momentum=0.05))
    runner.register_hook(Freezing())
    runner.register_hook(Diary(folder / "diary.txt", kill_at), "LOWEST")
    if resume:
        runner.resume(str(folder))
    workflow = [("train", 2), ("val", 1)] if unit == "epoch" else [("train", 5), ("val", 2)]
    runner.run([_loader(7, 1, shuffle=True), _loader(3, 2)], workflow)
    torch.save([model.state_dict(), optimizer.state_dict()], folder / "end.pt")


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("unit")
    parser.add_argument("--kill-at", type=int, default=-1)
    parser.add_argument("--resume", action="store_true")
    options = parser.parse_args()
    sys.exit(main(options.folder, options.unit, options.kill_at, options.resume))
