"""A training step computes what a plain loop of PyTorch computes, to the bit."""

from __future__ import annotations

import copy
import itertools
import json

import pytest
import torch
from torch import nn
from torch.nn import functional as F
from torch.profiler import ProfilerActivity, profile

from footplate import Engine
from footplate.engine.step.accumulation import Accumulation
from footplate.engine.step.clipping import ClipNorm, ClipValue
from footplate.engine.step.training import training_step

STEPS = 50
OPTIMIZERS = {
    "sgd": lambda p: torch.optim.SGD(p, lr=0.05, momentum=0.9),
    "adam": lambda p: torch.optim.Adam(p, lr=0.01),
    "adamw": lambda p: torch.optim.AdamW(p, lr=0.01, weight_decay=0.1),
}
CLIPS = {"none": None, "norm": ClipNorm(0.5), "value": ClipValue(0.05)}

pytestmark = pytest.mark.usefixtures("one_thread")


def network(dtype=torch.float32):
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(16, 32), nn.ReLU(), nn.Dropout(0.1), nn.Linear(32, 4)).to(dtype)


def batches(count, dtype=torch.float32, size=8):
    torch.manual_seed(1)
    return [
        (torch.randn(size, 16, dtype=dtype), torch.randint(0, 4, (size,))) for _ in range(count)
    ]


def plain_loop(model, optimizer, data, *, accumulate, bf16, clip):
    """The same training written out: gradients are summed, then divided once."""
    torch.manual_seed(2)
    model.train()
    for number, (x, y) in enumerate(data, 1):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            loss = F.cross_entropy(model(x), y)
        loss.backward()
        if number % accumulate == 0 or number == len(data):
            held = (number - 1) % accumulate + 1
            if held > 1:
                for one in model.parameters():
                    one.grad.div_(held)
            if clip == "norm":
                nn.utils.clip_grad_norm_(model.parameters(), 0.5)
            elif clip == "value":
                nn.utils.clip_grad_value_(model.parameters(), 0.05)
            optimizer.step()
            optimizer.zero_grad()


@pytest.mark.covers("C1")
@pytest.mark.covers("C7")
@pytest.mark.covers("C8")
@pytest.mark.covers("C9")
@pytest.mark.parametrize("clip", CLIPS)
@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_weights_are_those_of_a_plain_loop_to_the_bit(kind, accumulate, precision, clip):
    model = network()
    expected = copy.deepcopy(model)
    data = batches(STEPS * accumulate - 1)  # the last window is ragged where there is one
    plain_loop(
        expected,
        OPTIMIZERS[kind](expected.parameters()),
        data,
        accumulate=accumulate,
        bf16=precision == "bf16",
        clip=clip,
    )
    step = training_step(
        model,
        OPTIMIZERS[kind](model.parameters()),
        F.cross_entropy,
        precision=precision,
        accumulate=accumulate,
        clip=CLIPS[clip],
    )
    torch.manual_seed(2)
    trainer = Engine(step, name="train")
    trainer.run(data)
    assert trainer.state.get_event_attrib_value("OPTIMIZER_STEPPED") == STEPS - (accumulate == 1)
    for one, other in zip(model.parameters(), expected.parameters(), strict=True):
        assert torch.equal(one, other)


@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_accumulation_is_the_quotient_of_the_loss_to_rounding(kind):
    """Against the form that divides each loss by the window's size, in float64."""
    model, window = network(torch.float64), 3
    model[2].p = 0.0
    expected = copy.deepcopy(model)
    optimizer = OPTIMIZERS[kind](expected.parameters())
    data = batches(STEPS * window, torch.float64)
    for number, (x, y) in enumerate(data, 1):
        (F.cross_entropy(expected(x), y) / window).backward()
        if number % window == 0:
            optimizer.step()
            optimizer.zero_grad()
    step = training_step(
        model, OPTIMIZERS[kind](model.parameters()), F.cross_entropy, accumulate=window
    )
    Engine(step).run(data)
    for one, other in zip(model.parameters(), expected.parameters(), strict=True):
        torch.testing.assert_close(one, other, rtol=1e-6, atol=1e-9)


@pytest.mark.parametrize("at_epoch_end", ["flush", "carry"])
def test_reported_losses_are_those_of_the_batches(at_epoch_end):
    model = network()
    model[2].p = 0.0
    data = batches(4)
    accumulate = Accumulation(10, at_epoch_end=at_epoch_end)
    step = training_step(
        model, OPTIMIZERS["sgd"](model.parameters()), F.cross_entropy, accumulate=accumulate
    )
    expected = [F.cross_entropy(model(x), y).item() for x, y in data]
    trainer, seen = Engine(step), []
    trainer.on("ITERATION_COMPLETED")(lambda e: seen.append(e.state.output["loss"].item()))
    trainer.run(data)
    assert seen == expected


def peak(train, folder):
    """The most bytes that tensors held at once, as the profiler counts them."""
    trace = folder / "trace.json"
    with profile(activities=[ProfilerActivity.CPU], profile_memory=True) as profiler:
        train()
    profiler.export_chrome_trace(str(trace))
    events = json.loads(trace.read_text())["traceEvents"]
    changes = [(e["ts"], e["args"]["Bytes"]) for e in events if e.get("name") == "[memory]"]
    assert changes
    return max(itertools.accumulate(change for _, change in sorted(changes)))


@pytest.mark.parametrize("accumulate", [1, 3])
@pytest.mark.parametrize("kind", OPTIMIZERS)
def test_the_peak_of_memory_is_that_of_a_plain_loop(kind, accumulate, tmp_path):
    data = batches(6, size=256)

    def made():
        model = nn.Sequential(nn.Linear(16, 128), nn.ReLU(), nn.Linear(128, 4))
        return model, OPTIMIZERS[kind](model.parameters())

    def plain():
        model, optimizer = made()
        plain_loop(model, optimizer, data, accumulate=accumulate, bf16=False, clip="none")

    def ours():
        model, optimizer = made()
        step = training_step(model, optimizer, F.cross_entropy, accumulate=accumulate)
        Engine(step).run(data)

    assert peak(ours, tmp_path) <= 1.01 * peak(plain, tmp_path)
