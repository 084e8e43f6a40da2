"""A sample of predictions is small, is read once, and never stands in the way of a run."""

from __future__ import annotations

import base64
import io
import json

import pytest
import torch
from PIL import Image

from footplate.engine.data.sample import PredictionSample


class Counted(torch.Tensor):
    """A tensor that counts how often it is brought to the host."""

    reads = 0

    def cpu(self, *args, **options):
        Counted.reads += 1
        return super().cpu(*args, **options)


def told(*pairs, most=256):
    sample = PredictionSample(most)
    for batch, output in pairs:
        sample.add(batch, output)
    return sample.told()


def picture(sample: dict) -> Image.Image:
    return Image.open(io.BytesIO(base64.b64decode(sample["image"].partition(",")[2])))


@pytest.mark.covers("F9")
def test_pictures_are_held_small_and_all_is_read_at_once():
    count = 64
    images = torch.rand(count, 3, 224, 224).as_subclass(Counted)
    scores = torch.randn(count, 10).as_subclass(Counted)
    labels = torch.randint(0, 10, (count,)).as_subclass(Counted)
    sample = PredictionSample(count)
    sample.add((images, labels), (scores, labels))
    tensors = [one for held in sample._held for one in held if one is not None]
    assert sum(one.numel() * one.element_size() for one in tensors) < count * 30_000
    Counted.reads = 0
    found = sample.told()
    assert Counted.reads == 1
    assert max(picture(found["samples"][0]).size) <= 96


@pytest.mark.covers("F9")
def test_the_most_confident_mistakes_and_some_that_are_right_are_told():
    scores = torch.zeros(400, 2)
    scores[:, 0] = torch.linspace(1, 3, 400)
    labels = torch.cat([torch.ones(300), torch.zeros(100)]).long()
    found = told((None, (scores, labels)), most=400)
    wrong = [one["confidence"] for one in found["samples"] if one["predicted"] != one["actual"]]
    assert (found["mistakes"], len(wrong), len(found["samples"])) == (300, 48, 72)
    assert wrong == sorted(wrong, reverse=True)
    assert wrong[0] == pytest.approx(float(scores[299].softmax(0)[0]), abs=1e-3)


def test_pairs_of_another_shape_within_a_pass_are_let_pass():
    labels = torch.tensor([0, 1])
    found = told(
        (None, (torch.eye(2), labels)), (None, (torch.rand(2, 5), labels)), (None, (labels, labels))
    )
    assert (found["kind"], found["looked_at"]) == ("classes", 2)
    assert (
        told((None, (torch.zeros(2, 0), labels)), (None, (torch.zeros(0, 2), labels[:0]))) is None
    )


def test_rows_of_probabilities_are_taken_as_they_are():
    scores = torch.tensor([[0.9, 0.1], [0.25, 0.75]])
    found = told((None, (scores, torch.tensor([0, 1]))))
    assert [one["confidence"] for one in found["samples"]] == [0.9, 0.75]


def test_scores_that_are_no_numbers_predict_nothing():
    scores = torch.tensor([[float("nan"), 1.0], [0.0, 3.0]])
    found = told((None, (scores, torch.tensor([0, 1]))))
    assert found["mistakes"] == 1
    assert found["samples"][0] == {"predicted": None, "actual": 0}
    json.dumps(found, allow_nan=False)


def test_each_picture_goes_from_its_own_black_to_its_own_white():
    images = torch.zeros(2, 1, 2, 2)
    images[0, 0, 0, 0], images[1, 0, 0, 0] = 0.01, 100.0
    found = told(((images,), (torch.eye(2), torch.tensor([0, 1]))))
    assert [picture(one).getextrema() for one in found["samples"]] == [(0, 255), (0, 255)]
