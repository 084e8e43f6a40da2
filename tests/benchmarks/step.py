"""What a training step costs beyond the same loop written out in PyTorch.

Both train in one process, in turns of short rounds, so that whatever else the machine does hits
both alike. The figure is the median of the differences, or ratios, of neighbouring rounds.
"""

import statistics
import sys
import time

import torch
from torch import nn
from torch.nn import functional as F

from .timing import Row, in_a_process, show

ROUNDS = 60


def linear():
    """16 inputs and one output: all that is measured is overhead."""
    torch.manual_seed(0)
    model = nn.Linear(16, 1)
    data = [(torch.randn(8, 16), torch.randn(8, 1))] * 500
    return model, torch.optim.SGD(model.parameters(), lr=1e-3), F.mse_loss, data


def digits():
    """The network and the batches of the image-classification recipe."""
    from footplate.recipes.image_classification import network

    torch.manual_seed(0)
    model = network(0.2)
    data = [(torch.randn(64, 1, 8, 8), torch.randint(0, 10, (64,)))] * 10
    return model, torch.optim.AdamW(model.parameters(), lr=1e-3), F.cross_entropy, data


def plain(model, optimizer, loss_of, data):
    """The loop that a training step stands for."""
    model.train()

    def run():
        for x, y in data:
            loss = loss_of(model(x), y)
            loss.backward()
            optimizer.step()
            optimizer.zero_grad()
            loss.detach()

    return run


def ours(model, optimizer, loss_of, data, *, guarded=False):
    """The same by an engine; with scalar stream and guard, as a run has them."""
    from footplate import Engine
    from footplate.engine.step.training import training_step
    from footplate.handlers.non_finite import StopOnNonFinite
    from footplate.handlers.scalars import Scalars

    trainer = Engine(training_step(model, optimizer, loss_of), name="train")
    if guarded:
        trainer.attach(Scalars())
        trainer.attach(StopOnNonFinite())

    def run():
        trainer.state.max_epochs = None
        trainer.run(data)

    return run


def compare(task, *, guarded=False):
    """Seconds of both, round by round."""
    torch.set_num_threads(1)
    loops = plain(*task()), ours(*task(), guarded=guarded)
    pairs = []
    for number in range(ROUNDS + 3):
        took = []
        for run in loops if number % 2 else loops[::-1]:
            begun = time.perf_counter()
            run()
            took.append(time.perf_counter() - begun)
        pairs.append(took if number % 2 else took[::-1])
    return pairs[3:], len(task()[-1])


def microseconds(task, **options):
    pairs, steps = compare(task, **options)
    return statistics.median(mine - raw for raw, mine in pairs) / steps * 1e6


def percent(task, **options):
    pairs, _ = compare(task, **options)
    return (statistics.median(mine / raw for raw, mine in pairs) - 1) * 100


def linear_raw():
    pairs, steps = compare(linear)
    return statistics.median(raw for raw, _ in pairs) / steps * 1e6


def linear_step():
    return microseconds(linear)


def linear_guarded():
    return percent(linear, guarded=True)


def linear_alone():
    return percent(linear)


def digits_step():
    return percent(digits)


def digits_guarded():
    return percent(digits, guarded=True)


def main():
    measure = in_a_process(__name__)
    rows = [
        Row("16 to 1, a plain loop", measure("linear_raw"), "µs a step"),
        Row("  the step with its events: more than that", measure("linear_step"), "µs", 5.0),
        Row("  the same", measure("linear_alone"), "%"),
        Row("  with scalars and guard", measure("linear_guarded"), "%", 10.0),
        Row("CNN on digits, the step with its events", measure("digits_step"), "%", 1.0),
        Row("  with scalars and guard", measure("digits_guarded"), "%", 1.0),
    ]
    show("a training step over a plain loop", rows)


if __name__ == "__main__":
    print(globals()[sys.argv[1]]())
