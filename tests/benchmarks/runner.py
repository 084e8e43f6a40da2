"""What a Runner costs: over the same engine composed by hand, and beside MMEngine's.

A linear model, 16 to 1, learns from batches of 8 that lie in a list. All log each ten iterations,
time iterations and seed samplers; nothing is saved or drawn but MMEngine's last checkpoint.
Each runs in fresh processes, in turns, with one thread; what is measured is an iteration of
training over one of the bare loop. Besides: how long a recipe's configuration takes to be checked,
and the command to explain itself.
"""

import contextlib
import io
import logging
import statistics
import sys
import tempfile
import warnings

import torch
from torch.nn import functional as F

from .peers.contenders.mmengine import model_of
from .timing import Row, in_a_process, in_turns, python, seconds, show

ITERATIONS = 4000
EVERY = 10
ROUNDS = 5


def task():
    """The model, its optimizer, and the batches."""
    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = torch.nn.Linear(16, 1)
    batches = [(torch.randn(8, 16), torch.randn(8, 1)) for _ in range(ITERATIONS // 4)]
    return model, torch.optim.SGD(model.parameters(), 0.01), batches


def bare():
    """The loop written out."""
    model, optimizer, batches = task()

    def fit():
        for _ in range(4):
            for x, y in batches:
                loss = F.mse_loss(model(x), y)
                loss.backward()
                optimizer.step()
                optimizer.zero_grad()

    return fit


def by_hand():
    """An engine with the handlers that the runner below has."""
    from footplate import Engine, Events
    from footplate.engine.step.training import training_step
    from footplate.handlers.console import Console
    from footplate.handlers.environment import Environment
    from footplate.handlers.jsonl import JSONL
    from footplate.handlers.run_record import RunRecord
    from footplate.handlers.sampler_seed import SamplerSeed
    from footplate.handlers.scalars import Scalars
    from footplate.handlers.timer import Timer

    folder = tempfile.mkdtemp()
    model, optimizer, batches = task()
    trainer = Engine(training_step(model, optimizer, F.mse_loss), name="train")
    for handler in (
        Environment(),
        RunRecord(folder),
        Timer(),
        SamplerSeed(),
        Scalars(Events.ITERATION_COMPLETED(every=EVERY)),
        Console(),
        JSONL(f"{folder}/scalars.jsonl"),
    ):
        trainer.attach(handler)
    return lambda: trainer.run(batches, max_epochs=4)


def ours():
    """A Runner."""
    from footplate import Runner

    model, optimizer, batches = task()
    runner = Runner(
        model,
        tempfile.mkdtemp(),
        train_dataloader=batches,
        train_cfg={"max_epochs": 4, "loss": F.mse_loss},
        optim_wrapper=optimizer,
        visualizer=False,
        default_hooks={
            "logger": {"interval": EVERY, "progress_bar": False},
            "checkpoint": None,
            "report": None,
        },
    )
    return runner.train


def mmengine():
    """MMEngine's Runner, with its default hooks."""
    from mmengine.runner import Runner

    model, optimizer, batches = task()
    logging.disable(logging.CRITICAL)
    runner = Runner(
        model_of(model, F.mse_loss),
        tempfile.mkdtemp(),
        train_dataloader=torch.utils.data.DataLoader(batches, batch_size=None),
        optim_wrapper={"optimizer": optimizer},
        train_cfg={"by_epoch": True, "max_epochs": 4},
        default_hooks={
            "logger": {"type": "LoggerHook", "interval": EVERY},
            "checkpoint": {"type": "CheckpointHook", "interval": -1},
            "sampler_seed": None,  # which asks for a batch sampler
        },
    )
    return runner.train


def check():
    """A recipe's configuration, checked once before."""
    from footplate.recipes.commands.choosing import recipes
    from footplate.recipes.composition.settings import problems_in
    from footplate.recipes.config.layers import load
    from footplate.recipes.config.objects import Objects

    values, objects = load(recipes()["image_classification"], environment={}).values, Objects()
    problems_in(values, objects)
    return lambda: problems_in(values, objects)


VARIANTS = [bare, by_hand, ours, mmengine]


def main():
    names = [one.__name__ for one in VARIANTS]
    took = in_turns(in_a_process(__name__), names, ROUNDS)
    bare_took = took["bare"] / ITERATIONS * 1e6
    over = {name: (took[name] - took["bare"]) / ITERATIONS * 1e6 for name in names[1:]}
    checked = float(in_a_process(__name__)("check")) * 1e3
    command = [seconds(python, "-m", "footplate.recipes.cli", "--help") for _ in range(ROUNDS)]
    rows = [
        Row("a bare iteration of a linear model", bare_took, "µs"),
        Row("composed by hand: more than that", over["by_hand"], "µs"),
        Row("by a Runner: more than that", over["ours"], "µs"),
        Row("by MMEngine's Runner: more than that", over["mmengine"], "µs"),
        Row("  its overhead over ours", over["mmengine"] / over["ours"], "x"),
        Row("checking a recipe's configuration", checked, "ms"),
        Row("footplate --help", statistics.median(command), "s"),
    ]
    show("the runner", rows)


if __name__ == "__main__":
    warnings.simplefilter("ignore")
    fit = {one.__name__: one for one in (*VARIANTS, check)}[sys.argv[1]]()
    with contextlib.redirect_stdout(io.StringIO()):
        took = seconds(fit)
    print(took)
