"""What a training step costs beyond the same loop written out in PyTorch.

Both train in one process, in turns of short rounds, so that whatever else the machine does hits
both alike. The figure is the median of the differences, or ratios, of neighbouring rounds.
"""

import statistics
import sys

import torch
from torch import nn
from torch.nn import functional as F

from .timing import Row, python, seconds, show

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


def compare(task):
    """Medians over the rounds: microseconds a step of the plain loop, and what ours adds.

    Returns:
        of the plain loop; of the step with its events over that; of the same with scalars and
        guard over that.
    """
    torch.set_num_threads(1)
    loops = plain(*task()), ours(*task()), ours(*task(), guarded=True)
    rounds, steps = [], len(task()[-1])
    for number in range(ROUNDS + 3):
        took = {run: seconds(run) for run in (loops if number % 2 else loops[::-1])}
        rounds.append([took[run] / steps * 1e6 for run in loops])
    measured = rounds[3:]  # behind the warm-up
    raw = statistics.median(first for first, _, _ in measured)
    return [raw, *(statistics.median(r[i] - r[0] for r in measured) for i in (1, 2))]


def rows(name, raw, step, guarded, *, most_step, most_guarded):
    """The rows of one task; without a target in microseconds, the step has one in percent."""
    yield Row(f"{name}: a plain loop", raw, "µs a step")
    yield Row("  the step with its events: more than that", step, "µs", most_step)
    yield Row("  the same", step / raw * 100, "%", None if most_step else 1.0)
    yield Row("  with scalars and guard", guarded / raw * 100, "%", most_guarded)


def main():
    linear_took, digits_took = (
        [float(number) for number in python("-m", __name__, task).split()]
        for task in ("linear", "digits")
    )
    show(
        "a training step over a plain loop",
        [
            *rows("16 to 1", *linear_took, most_step=5.0, most_guarded=10.0),
            *rows("CNN on digits", *digits_took, most_step=None, most_guarded=None),
        ],
    )


if __name__ == "__main__":
    print(*compare({"linear": linear, "digits": digits}[sys.argv[1]]))
