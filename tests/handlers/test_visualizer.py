"""Samples of an evaluation are shown where sinks look, mistakes first."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from ignite.metrics import Accuracy
from matplotlib.image import imread
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from footplate import Engine, Events
from footplate.engine.data.prediction_grid import prediction_grid
from footplate.engine.errors import HandlerError
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.stream.journal import Journal
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.media_folder import MediaFolder
from footplate.handlers.metrics import Metrics
from footplate.handlers.tensorboard import TensorBoard
from footplate.handlers.visualizer import Visualizer, from_pairs

LABELS = torch.arange(12) % 3
IMAGES = torch.rand(12, 1, 8, 8, generator=torch.Generator().manual_seed(0))


class Parrot(torch.nn.Module):
    """Says what the labels are, but for some that it gets wrong; and what an image's number is."""

    def __init__(self, wrong=()):
        super().__init__()
        self.wrong = wrong

    def forward(self, images):
        numbers = [int((one == IMAGES).all(dim=(1, 2, 3)).nonzero()) for one in images]
        said = [int(LABELS[n] + (n in self.wrong)) % 3 for n in numbers]
        return torch.nn.functional.one_hot(torch.tensor(said), 3).float()


class Digits(torch.utils.data.TensorDataset):
    metainfo = {"classes": ("zero", "one", "two")}  # noqa: RUF012


def loader():
    return torch.utils.data.DataLoader(Digits(IMAGES, LABELS), 5)


def evaluator_of(model):
    evaluator = Engine(evaluation_step(model), name="val")
    evaluator.attach(Metrics({"accuracy": Accuracy()}))
    return evaluator


def media(engine):
    seen = []
    engine.on("MEDIA_LOGGED")(lambda e, step, kind, name, value: seen.append((step, kind, value)))
    return seen


def expected(numbers, wrong=(), names=Digits.metainfo["classes"]):
    labels = LABELS[numbers]
    guesses = torch.tensor([(int(LABELS[n]) + (n in wrong)) % 3 for n in numbers])
    return prediction_grid(IMAGES[numbers], guesses, labels, names=names)


@pytest.mark.covers("F10")
@pytest.mark.parametrize(
    ("wrong", "numbers"),
    [((), [0, 1, 2, 3]), ((7, 11), [7, 11, 0, 1]), ((1, 4, 6, 8, 9), [1, 4, 6, 8])],
)
def test_mistakes_come_first_and_the_rest_in_order(wrong, numbers):
    evaluator = evaluator_of(Parrot(wrong))
    evaluator.attach(Visualizer(samples=4))
    seen = media(evaluator)
    evaluator.run(loader())
    ((step, kind, image),) = seen
    assert (step, kind, image.dtype) == (3, "image", np.uint8)
    assert np.array_equal(image, expected(numbers, wrong))


@pytest.mark.covers("F10")
@pytest.mark.covers("E3")
def test_names_of_classes_come_from_the_data_set():
    assert not np.array_equal(expected([0, 1]), expected([0, 1], names=None))


@pytest.mark.covers("F10")
def test_what_an_evaluation_shows_reaches_each_sink_of_the_trainer(tmp_path):
    trainer = Engine(lambda engine, batch: None, name="train")
    evaluator = evaluator_of(Parrot((7,)))
    trainer.attach(Evaluation(evaluator, loader()))
    trainer.attach(Visualizer(evaluator, when=Events.EPOCH_COMPLETED(every=2), samples=4))
    trainer.attach(TensorBoard(tmp_path / "tensorboard"))
    trainer.attach(MediaFolder(tmp_path / "media"))
    trainer.run([0] * 5, max_epochs=4)
    events = EventAccumulator(str(tmp_path / "tensorboard")).Reload()
    assert [one.step for one in events.Images("train/predictions")] == [10, 20]
    lines = Journal.read(tmp_path / "media" / "media.jsonl")
    assert [(line["step"], line["epoch"]) for line in lines] == [(10, 2), (20, 4)]
    image = imread(tmp_path / "media" / lines[0]["file"])[..., :3]
    assert np.array_equal(np.round(image * 255), expected([7, 0, 1, 2], (7,)))


def test_nothing_is_shown_twice_and_nothing_if_nothing_was_evaluated():
    trainer = Engine(lambda engine, batch: None, name="train")
    evaluator = evaluator_of(Parrot())
    trainer.attach(Evaluation(evaluator, loader(), Events.EPOCH_COMPLETED(every=2)))
    trainer.attach(Visualizer(evaluator))
    seen = media(trainer)
    trainer.run([0], max_epochs=5)
    assert [step for step, _, _ in seen] == [2, 4]


def test_only_as_many_samples_are_held_as_are_shown():
    evaluator, held = evaluator_of(Parrot()), []
    visualizer = evaluator.attach(Visualizer(samples=4))
    evaluator.on(Events.ITERATION_COMPLETED, priority="LOWEST")(
        lambda: held.append(visualizer._held[0].untyped_storage().nbytes())
    )
    evaluator.run(loader())
    assert held == [4 * 64 * 4] * 3


def test_two_may_look_at_one_evaluation_in_ways_of_their_own():
    trainer = Engine(lambda engine, batch: None, name="train")
    evaluator = evaluator_of(Parrot())
    trainer.attach(Evaluation(evaluator, loader()))
    trainer.attach(Visualizer(evaluator))

    def measured(batch, output):
        return batch[0].expand(-1, 3, -1, -1), output[0].max(dim=1).values, batch[0].mean((1, 2, 3))

    trainer.attach(Visualizer(evaluator, name="measured", read=measured, samples=2))
    seen = media(trainer)
    trainer.run([0])
    assert len(seen) == 2
    assert seen[0][2].shape[0] > seen[1][2].shape[0]


@pytest.mark.parametrize("samples", [0, -1, 1.5])
def test_a_number_of_samples_that_is_none_is_refused(samples):
    with pytest.raises(ValueError, match="samples"):
        Visualizer(samples=samples)


def test_a_batch_adds_no_more_to_what_is_held_than_is_shown(monkeypatch):
    joined, cat = [], torch.cat

    def counted(tensors):
        joined.append(sum(len(one) for one in tensors))
        return cat(tensors)

    evaluator = evaluator_of(Parrot((7, 11)))
    evaluator.attach(Visualizer(samples=2))
    seen = media(evaluator)
    monkeypatch.setattr("footplate.handlers.visualizer.torch.cat", counted)
    evaluator.run(loader())
    monkeypatch.undo()
    assert joined == [4] * 6
    assert np.array_equal(seen[0][2], expected([7, 11], (7, 11)))


def test_detached_it_looks_at_the_evaluator_no_longer():
    trainer = Engine(lambda engine, batch: None, name="train")
    evaluator = evaluator_of(Parrot())
    trainer.attach(Evaluation(evaluator, loader()))
    looked = []

    def read(batch, output):
        looked.append(len(batch[0]))
        return from_pairs(batch, output)

    visualizer = trainer.attach(Visualizer(evaluator, read=read))
    seen = media(trainer)
    trainer.detach(visualizer)
    trainer.run([0])
    assert (looked, seen) == ([], [])
    trainer.attach(visualizer)
    trainer.run([0])
    assert (looked, len(seen)) == ([5, 5, 2], 1)


def test_one_is_for_one_engine():
    visualizer = Visualizer(evaluator_of(Parrot()))
    trainer = Engine(lambda engine, batch: None)
    trainer.attach(visualizer)
    with pytest.raises(HandlerError, match="make another one"):
        Engine(lambda engine, batch: None).attach(visualizer)


@pytest.mark.parametrize(
    ("samples", "message"),
    [
        ((torch.rand(2, 8, 8), torch.zeros(2), torch.zeros(2)), r"\(N, C, H, W\).*\(2, 8, 8\)"),
        ((torch.rand(2, 4, 8, 8), torch.zeros(2), torch.zeros(2)), r"C of 1 or 3, given \(2, 4"),
        ((torch.rand(2, 1, 8, 8), torch.zeros(3), torch.zeros(2)), r"predictions .* given \(3,\)"),
        ((torch.rand(2, 1, 8, 8), torch.zeros(2), torch.zeros(2, 5)), r"labels .* given \(2, 5\)"),
    ],
)
def test_what_can_t_be_shown_is_refused_in_its_batch(samples, message):
    evaluator = Engine(lambda engine, batch: None, name="val")
    evaluator.attach(Visualizer(read=lambda batch, output: samples))
    with pytest.raises(ValueError, match=message):
        evaluator.run([0, 1])
    assert evaluator.state.batch == 0
    with pytest.raises(ValueError, match=message):
        prediction_grid(*samples)


def test_images_of_several_sizes_are_refused():
    evaluator = Engine(lambda engine, batch: None, name="val")
    evaluator.attach(
        Visualizer(
            read=lambda size, output: (torch.rand(2, 1, size, 8), torch.zeros(2), torch.zeros(2))
        )
    )
    with pytest.raises(ValueError, match=r"given \(C, H, W\) of \(1, 9, 8\) behind \(1, 8, 8\)"):
        evaluator.run([8, 9])
