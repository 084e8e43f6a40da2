"""Which checkpoints of a run are kept, and what a run may go on without."""

from __future__ import annotations

import warnings

import pytest
import torch
from torch.utils.data import DataLoader, TensorDataset

import footplate.recipes.mmcv as mmcv
from footplate.engine.data.order import ordered_loader
from footplate.engine.errors import StateError
from tests.recipes.mmcv.scenarios import Judged, Judging
from tests.recipes.mmcv.test_runners import _loader, made

TEXT = {"interval": 2, "hooks": [{"type": "TextLoggerHook"}]}


def names(folder):
    return [int(path.name) for path in sorted((folder / "checkpoints").iterdir())]


class Scored(Judged):
    """Says of each evaluation what it was told to."""

    def evaluate(self, results, logger=None):
        return {"acc": self.scores.pop(0)}


def judged(folder, scores, *, limit, by_epoch=True, checkpoint=None, resume=False):
    """Train with a score behind each epoch of 3 iterations, or behind each iteration."""
    kind = mmcv.EpochBasedRunner if by_epoch else mmcv.IterBasedRunner
    runner = made(kind, limit, Judging(), work_dir=str(folder))
    runner.register_training_hooks({"policy": "fixed"}, {}, checkpoint)
    data = Scored(*_loader(3, 4).dataset.tensors)
    data.scores = list(scores)
    evaluation = mmcv.EvalHook(DataLoader(data, 2), by_epoch=by_epoch, save_best="acc")
    runner.register_hook(evaluation, "LOW")
    if resume:
        runner.resume(str(folder))
    runner.run([_loader(3)], [("train", 1)])
    return names(folder)


@pytest.mark.covers("C2")
@pytest.mark.parametrize(
    ("checkpoint", "expected"),
    [
        (None, [9]),  # the third epoch alone was the best, and none is due
        ({"interval": 4}, [9, 12, 18]),  # 18 is the end of the run
        ({"interval": 2}, [6, 9, 12, 18]),
        ({"interval": 2, "max_keep_ckpts": 1}, [9, 18]),
        ({"interval": 2, "max_keep_ckpts": 2, "save_last": False}, [9, 12, 18]),
    ],
)
def test_one_best_is_kept_besides_those_that_were_due(tmp_path, checkpoint, expected):
    assert judged(tmp_path, [0.1, 0.5, 0.9, 0.3, 0.2, 0.6], limit=6, checkpoint=checkpoint) == (
        expected
    )


def test_by_iterations_one_best_is_kept(tmp_path):
    checkpoint = {"interval": 3, "save_last": False}
    scores = [0.1, 0.2, 0.3, 0.4, 0.5, 0.4, 0.4]
    assert judged(tmp_path, scores, limit=7, by_epoch=False, checkpoint=checkpoint) == [3, 5, 6]


def test_a_run_that_goes_on_keeps_the_best_of_both_parts(tmp_path):
    checkpoint = {"interval": 2}
    assert judged(tmp_path, [0.1, 0.2, 0.9, 0.3], limit=4, checkpoint=checkpoint) == [6, 9, 12]
    assert judged(tmp_path, [0.8, 0.8], limit=6, checkpoint=checkpoint, resume=True) == (
        [6, 9, 12, 18]
    )
    assert judged(tmp_path, [1.0, 0.5], limit=8, checkpoint=checkpoint, resume=True) == (
        [6, 12, 18, 21, 24]
    )


# ---------------------------------------------------------------------- going on


def registered(folder, limit, log_config=None, **options):
    runner = made(limit=limit, work_dir=str(folder), **options)
    runner.register_training_hooks({"policy": "fixed"}, {}, {"interval": 1}, log_config=log_config)
    return runner


@pytest.mark.parametrize(
    ("before", "then", "text"),
    [(TEXT, None, "has a state of 'scalars'"), (None, TEXT, "has no state of 'scalars'")],
)
def test_a_run_goes_on_with_other_loggers_and_says_so(tmp_path, before, then, text):
    whole = registered(tmp_path / "whole", 4)
    whole.run([_loader(5)], [("train", 1)])
    registered(tmp_path / "run", 2, before).run([_loader(5)], [("train", 1)])
    runner = registered(tmp_path / "run", 4, then)
    with pytest.warns(RuntimeWarning, match=text):
        runner.resume(str(tmp_path / "run"))
    runner.run([_loader(5)], [("train", 1)])
    assert (runner.epoch, runner.iter) == (4, 20)
    for one, other in zip(runner.model.parameters(), whole.model.parameters(), strict=True):
        assert torch.equal(one, other)


def test_a_run_does_not_go_on_with_other_optimizers(tmp_path):
    registered(tmp_path, 2).run([_loader(5)], [("train", 1)])
    with pytest.raises(StateError, match="no handler for 'optimization'"):
        registered(tmp_path, 4, optimizer=None).resume(str(tmp_path))


# ---------------------------------------------------------------------- several loaders

TWO = [("train", 2), ("train", 1)]


def shuffled(number, generator=None):
    x = torch.arange(8.0, dtype=torch.float64).repeat(6, 1).T + 100 * number
    return DataLoader(TensorDataset(x, x[:, :1]), 2, shuffle=True, generator=generator)


def ordered(number):
    return ordered_loader(shuffled(number).dataset, 2, shuffle=True, seed=number)


def batches_of(folder, kind, loaders, *, limit, resume=False):
    """What was trained on, and the text of warnings."""
    runner, seen = made(kind, limit, work_dir=str(folder)), []
    runner.register_training_hooks(
        None, {}, {"interval": 3, "by_epoch": False, "max_keep_ckpts": 1, "save_last": False}
    )
    note = lambda one: seen.append(one.data_batch[0][:, 0].tolist())  # noqa: E731
    runner.register_hook(mmcv.ClosureHook("before_train_iter", note))
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        if resume:
            runner.resume(str(folder))
        runner.run(loaders, TWO)
    return seen, [str(one.message) for one in caught if "in turns" in str(one.message)]


@pytest.mark.parametrize("kind", [mmcv.IterBasedRunner, mmcv.EpochBasedRunner])
def test_several_loaders_that_shuffle_are_warned_about(tmp_path, kind):
    generators = [torch.Generator().manual_seed(number) for number in range(2)]
    loaders = [shuffled(number, generator) for number, generator in enumerate(generators)]
    _, warned = batches_of(tmp_path, kind, loaders, limit=2)
    assert len(warned) == 1
    assert "2 loaders are trained on in turns" in warned[0]


@pytest.mark.parametrize(
    ("kind", "make"),
    [
        (mmcv.IterBasedRunner, ordered),
        (mmcv.EpochBasedRunner, ordered),
        (mmcv.EpochBasedRunner, shuffled),  # by torch's generator, each pass within its epoch
        (mmcv.IterBasedRunner, lambda number: DataLoader(shuffled(number).dataset, 2)),
    ],
)
def test_several_loaders_go_on_to_the_bit_where_nothing_is_warned_about(tmp_path, kind, make):
    limit, short = (14, 10) if kind is mmcv.IterBasedRunner else (6, 4)
    loaders = lambda: [make(number) for number in range(2)]  # noqa: E731
    whole, warned = batches_of(tmp_path / "whole", kind, loaders(), limit=limit)
    assert not warned
    part, _ = batches_of(tmp_path / "run", kind, loaders(), limit=short)
    (saved,) = names(tmp_path / "run")
    rest, warned = batches_of(tmp_path / "run", kind, loaders(), limit=limit, resume=True)
    assert not warned
    assert part == whole[: len(part)]
    assert rest == whole[saved:]


def test_one_loader_that_shuffles_is_not_warned_about(tmp_path):
    runner = registered(tmp_path, 2)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        runner.run([shuffled(0), shuffled(1)], [("train", 1), ("val", 1)])
