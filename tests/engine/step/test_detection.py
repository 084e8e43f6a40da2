"""Detectors: losses in training, what was found in evaluation, images of any size."""

from __future__ import annotations

import pytest
import torch
from torch import nn

from footplate import Engine
from footplate.engine.data.device import move
from footplate.engine.nested import samples_in
from footplate.engine.step.contracts import contract_of
from footplate.engine.step.evaluation import evaluation_step, prediction_step
from footplate.engine.step.training import training_step

pytestmark = pytest.mark.covers("C3")


class Brightest(nn.Module):
    """Finds one bright square on each image: torchvision's calls, in little."""

    def __init__(self):
        super().__init__()
        torch.manual_seed(0)
        self.backbone = nn.Conv2d(1, 4, 3, padding=1)
        self.head = nn.Conv2d(4, 2, 1)

    def forward(self, images, targets=None):
        assert isinstance(images, list)
        maps = [self.head(self.backbone(image[None]).relu())[0] for image in images]
        if not self.training:
            return [self._found(one) for one in maps]
        corners = [target["boxes"][0, :2].long() for target in targets]
        at = [one[0].flatten() for one in maps]
        wanted = [y * one.shape[2] + x for (x, y), one in zip(corners, maps, strict=True)]
        log_odds = [nn.functional.log_softmax(one, 0)[i] for one, i in zip(at, wanted, strict=True)]
        sizes = [one[1].mean() for one in maps]
        targets = [t["boxes"][0, 2] - t["boxes"][0, 0] for t in targets]
        return {
            "classification": -torch.stack(log_odds).mean(),
            "bbox_regression": (torch.stack(sizes) - torch.stack(targets)).abs().mean(),
        }

    def _found(self, one):
        y, x = divmod(one[0].argmax().item(), one.shape[2])
        size = one[1].mean()
        box = torch.stack([torch.tensor(float(x)), torch.tensor(float(y)), x + size, y + size])
        return {"boxes": box[None], "scores": torch.ones(1), "labels": torch.ones(1).long()}


def sample(number):
    """An image of its own size, with a square that begins at a corner of its own."""
    height, width, x, y = 6 + number % 3, 6 + number % 4, number % 4, number % 3
    image = torch.zeros(1, height, width)
    image[:, y : y + 2, x : x + 2] = 1
    box = torch.tensor([[x, y, x + 2.0, y + 2.0]])
    return image, {"boxes": box, "labels": torch.ones(1).long()}


def together(samples):
    return tuple(zip(*samples, strict=True))


def batches(size=24):
    return list(torch.utils.data.DataLoader(list(map(sample, range(size))), 4, collate_fn=together))


def trained(model, data):
    adam = torch.optim.Adam(model.parameters(), 0.02)
    trainer = Engine(training_step(model, adam, contract="detection"), name="train")
    reports = []
    trainer.add_event_handler(
        "ITERATION_COMPLETED", lambda engine: reports.append(engine.state.output)
    )
    trainer.run(data, max_epochs=5)
    return reports


def test_all_losses_are_summed_and_reported():
    model, data = Brightest(), batches()
    reports = trained(model, data)
    assert list(reports[0]) == ["classification", "bbox_regression", "loss"]
    assert reports[0]["loss"] == reports[0]["classification"] + reports[0]["bbox_regression"]
    assert reports[-1]["loss"] < 0.7 * reports[0]["loss"]


def test_it_is_the_loop_of_torchvisions_references():
    plain, data = Brightest(), batches()
    adam, losses = torch.optim.Adam(plain.parameters(), 0.02), []
    for _ in range(5):
        for images, targets in data:
            loss = sum(one for one in plain(list(images), targets).values())
            adam.zero_grad()
            loss.backward()
            adam.step()
            losses.append(loss.detach())
    model = Brightest()
    assert [one["loss"] for one in trained(model, data)] == losses
    assert torch.equal(model.head.weight, plain.head.weight)


def test_an_evaluation_gives_what_was_found_and_the_targets():
    model, data = Brightest(), batches(8)
    model.train()
    evaluator = Engine(evaluation_step(model, contract="detection"), name="val")
    found, targets = evaluator.run(data).output
    assert [list(one) for one in found] == [["boxes", "scores", "labels"]] * 4
    assert targets is data[-1][1]
    assert model.training


@pytest.mark.parametrize("with_targets", [True, False])
def test_a_prediction_looks_at_images_alone(with_targets):
    model, (batch, *_) = Brightest(), batches(4)
    given = batch if with_targets else list(batch[0])
    predictor = Engine(prediction_step(model, contract="detection"), name="predict")
    assert len(predictor.run([given]).output) == 4


def test_two_images_are_no_pair_of_images_and_targets():
    images = [sample(0)[0], sample(1)[0]]
    predictor = Engine(prediction_step(Brightest(), contract="detection"), name="predict")
    assert len(predictor.run([images]).output) == 2


def test_images_and_targets_are_moved_and_counted():
    (batch, *_) = batches(4)
    images, targets = move(batch, "meta")
    assert {one.device.type for one in images} == {"meta"}
    assert {one.device.type for target in targets for one in target.values()} == {"meta"}
    assert [one.shape for one in images] == [one.shape for one in batch[0]]
    assert samples_in(batch) == 4


@pytest.mark.parametrize(
    ("batch", "said"),
    [
        (torch.zeros(2, 1, 4, 4), "is \\(images, targets\\), .* given a Tensor"),
        ([torch.zeros(1, 4, 4)] * 2, "give its loader collate_fn"),
    ],
)
def test_a_batch_without_targets_can_not_be_trained_on(batch, said):
    with pytest.raises(TypeError, match=said):
        trained(Brightest(), [batch])


@pytest.mark.parametrize("step", [training_step, evaluation_step])
def test_a_target_for_each_image_is_asked_for(step):
    model = Brightest()
    (images, targets) = batches(4)[0]
    sgd = [torch.optim.SGD(model.parameters(), 0.1)] if step is training_step else []
    engine = Engine(step(model, *sgd, contract="detection"), name="train")
    with pytest.raises(ValueError, match="given 4 images and 3 targets"):
        engine.run([(images, targets[:3])])


@pytest.mark.parametrize("answer", [{}, [{"boxes": 1}], {"loss": 0.5}, {"a": torch.ones(2)}])
def test_an_answer_that_is_no_losses_is_an_error(answer):
    contract = contract_of(Brightest(), None, "detection")
    with pytest.raises(TypeError, match="losses"):
        contract.loss(answer, None)


# ------------------------------------------------------------------ torchvision itself


@pytest.mark.parametrize(
    ("name", "more"),
    [("ssdlite320_mobilenet_v3_large", {}), ("retinanet_resnet50_fpn", {"min_size": 64})],
)
def test_a_detector_of_torchvision_is_known(name, more):
    detection = pytest.importorskip("torchvision").models.detection
    options = {"weights": None, "weights_backbone": None, "num_classes": 3, **more}
    model = getattr(detection, name)(**options)
    assert contract_of(model).name == "detection"
    sgd = torch.optim.SGD(model.parameters(), 1e-4)
    images = torch.rand(3, 64, 72), torch.rand(3, 80, 64)
    targets = [
        {"boxes": torch.tensor([[4.0, 4.0, 30.0, 40.0]]), "labels": torch.tensor([1])}
        for _ in images
    ]
    trainer = Engine(training_step(model, sgd), name="train")
    report = trainer.run([(images, tuple(targets))]).output
    assert report["loss"] == sum(one for key, one in report.items() if key != "loss")
    found, _ = Engine(evaluation_step(model), name="val").run([(images, targets)]).output
    assert [set(one) for one in found] == [{"boxes", "scores", "labels"}] * 2
