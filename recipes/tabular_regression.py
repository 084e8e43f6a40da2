"""Tabular regression: small networks on scikit-learn's diabetes table, by cross-validation.

A script to copy. An engine whose data are the folds trains one network after the other, each with
an engine of its own: side by side in it are members that share nothing but their batches, with
averaged weights and strong decay, and the mean of what they say is the prediction. In the end each
network is tested on the patients that it has not seen, beside ridge regression on the same folds.
A run chooses nothing by these patients. Kill it at any moment, and ``--resume`` goes on in the
midst of the fold that it stood in, and trains none again.

    python -m footplate.recipes.tabular_regression --help
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from ignite.metrics import RootMeanSquaredError
from ignite.metrics.regression.r2_score import R2Score
from rich.table import Table
from torch import Tensor, nn
from torch.optim.lr_scheduler import CosineAnnealingLR

from footplate import Engine, Events
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.optional import required
from footplate.engine.random import seed_all
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.groups import default_optimizer
from footplate.engine.step.training import training_step
from footplate.handlers.averaging import EMA
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.console import Console
from footplate.handlers.curves import Curves
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.jsonl import JSONL
from footplate.handlers.lr_schedule import LRSchedule
from footplate.handlers.metrics import Metrics
from footplate.handlers.report import Report
from footplate.handlers.run_record import RunRecord
from footplate.handlers.scalars import Scalars
from footplate.recipes.commands.script import say, script_run

Samples = tuple[Tensor, Tensor]
Part = Literal["train", "test"]


def part(name: Part, fold: int = 0, folds: int = 5, cutting: int = 0) -> Samples:
    """The patients that a fold is trained on, or the others.

    Returns:
        what is known of them, float32 of shape (N, 10), and how the disease went on, (N,).
    """
    with required("sklearn", "the diabetes table", extra="recipes"):
        from sklearn.datasets import load_diabetes
        from sklearn.model_selection import KFold

    x, y = load_diabetes(return_X_y=True, scaled=False)
    cut = list(KFold(folds, shuffle=True, random_state=cutting).split(x))
    rows = cut[fold][("train", "test").index(name)]
    return torch.from_numpy(x[rows]).float(), torch.from_numpy(y[rows]).float()


class Members(nn.Module):
    """What each of K networks says in training, (B, K), and its mean in evaluation, (B,).

    Each is a line and a bent part of ``width`` hidden units. What they see, (B, inputs), is
    brought to mean 0 and deviation 1, and what they say back, as the samples for training have it.
    """

    x_scale: Tensor
    y_scale: Tensor

    def __init__(self, train: Samples, members: int, width: int) -> None:
        super().__init__()
        for name, values in zip("xy", train, strict=True):
            self.register_buffer(f"{name}_scale", torch.stack([values.mean(0), values.std(0)]))
        inputs = train[0].shape[1]
        self.line, self.hidden = nn.Linear(inputs, members), nn.Linear(inputs, members * width)
        self.bent = nn.Conv1d(members * width, members, kernel_size=1, groups=members)

    def forward(self, x: Tensor) -> Tensor:
        """The predictions."""
        x = (x - self.x_scale[0]) / self.x_scale[1]
        bent = self.bent(self.hidden(x).relu().unsqueeze(-1)).squeeze(-1)
        y: Tensor = (self.line(x) + bent) * self.y_scale[1] + self.y_scale[0]
        return y if self.training else y.mean(1)


def network(members: int, width: int, **cut: int) -> Members:
    """The network of a fold, which is named as for :func:`part`."""
    return Members(part("train", **cut), members, width)


def squared_error(predicted: Tensor, y: Tensor) -> Tensor:
    """The mean over samples and members."""
    return (predicted - y.unsqueeze(-1)).square().mean()


def rmse(predicted: Tensor, y: Tensor) -> float:
    """The root of the mean squared error."""
    return (predicted - y).square().mean().sqrt().item()


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is made with; kept in its folder, so that it is resumed with the same."""

    folds: int
    cutting: int
    epochs: int
    members: int
    width: int
    lr: float
    weight_decay: float
    seed: int


def train_fold(model: Members, train: Samples, test: Samples, options: Options, at: Path) -> None:
    """Train a network, from where it stands, and leave it with its averaged weights."""
    loader = InMemoryLoader(train, 32, shuffle=True, seed=options.seed)
    optimizer = default_optimizer(model, options.lr, weight_decay=options.weight_decay)
    schedule = CosineAnnealingLR(optimizer, options.epochs * len(loader))
    trainer = Engine(training_step(model, optimizer, squared_error), name="train")
    evaluator = Engine(evaluation_step(model), name="val")
    evaluator.attach(Metrics({"rmse": RootMeanSquaredError()}))
    ema = trainer.attach(EMA(model, decay=0.99, warm_up=True))
    ema.evaluate_with(evaluator)
    trainer.attach(Scalars())
    trainer.attach(Evaluation(evaluator, InMemoryLoader(test, 256)))
    trainer.attach(LRSchedule(schedule, "iteration"))
    trainer.attach(JSONL(at / "scalars.jsonl"))
    trainer.attach(Curves(at / "curves.png"))
    record = RunRecord(at, name=at.name, config=asdict(options))
    for engine in (trainer, evaluator):
        engine.attach(record)
    trainer.attach(Checkpoint(at / "checkpoints", model)).resume(trainer)
    trainer.run(loader, max_epochs=options.epochs)
    model.load_state_dict(ema.model_state_dict())


def train(options: Options, folder: Path, *, resume: bool) -> Table:
    """Train and test a network for each fold, and return what came out."""
    cuts = range(options.folds)
    cut = {"folds": options.folds, "cutting": options.cutting}
    parts = [(part("train", fold, **cut), part("test", fold, **cut)) for fold in cuts]
    models = []
    for fold in cuts:
        seed_all(options.seed)
        models.append(network(options.members, options.width, fold=fold, **cut))
    kept = nn.ModuleList(models)

    def one(engine: Engine, fold: int) -> dict[str, float]:
        train_fold(models[fold], *parts[fold], options, folder / f"fold-{fold}")
        return {"rmse": rmse(*tried(engine, fold))}

    @torch.no_grad()
    def tried(engine: Engine, fold: int) -> Samples:
        x, y = parts[fold][1]
        return models[fold].eval()(x), y

    trainer, tester = Engine(one, name="folds"), Engine(tried, name="test")
    tester.attach(Metrics({"rmse": RootMeanSquaredError(), "r2": R2Score()}))
    each = Events.ITERATION_COMPLETED
    trainer.attach(Scalars(each, epoch_suffix=None))
    trainer.attach(Console(names=["rmse"]))
    trainer.attach(JSONL(folder / "scalars.jsonl"))
    record = RunRecord(folder, name="Diabetes", config=asdict(options), predictions=500)
    for engine in (trainer, tester):
        engine.attach(record)
        engine.attach(Report(folder))
    checkpoint = trainer.attach(Checkpoint(folder / "checkpoints", kept, when=each))
    if resume:
        say(f"resuming from {checkpoint.resume(trainer) or 'the start: no fold is done yet'}")
    trainer.run(cuts, max_epochs=1)
    return table(tester.run(cuts).metrics, [tried(tester, fold) for fold in cuts], parts)


def table(
    metrics: dict[str, float], told: list[Samples], parts: list[tuple[Samples, Samples]]
) -> Table:
    """The error on each fold beside that of ridge regression, by the better of two."""
    from sklearn.linear_model import Ridge, RidgeCV
    from sklearn.metrics import r2_score
    from sklearn.pipeline import make_pipeline
    from sklearn.preprocessing import StandardScaler

    def by(ridge: Ridge | RidgeCV) -> list[Samples]:
        model = make_pipeline(StandardScaler(), ridge)
        return [(torch.from_numpy(model.fit(*one).predict(x)), y) for one, (x, y) in parts]

    ridges = by(Ridge()), by(RidgeCV(torch.logspace(-3, 3, 61).numpy()))
    best = min(ridges, key=lambda one: sum(rmse(*fold) for fold in one))
    shown = Table("", "network", "ridge", title="Error on unseen patients")
    for fold, (ours, theirs) in enumerate(zip(told, best, strict=True)):
        shown.add_row(f"fold {fold}", f"{rmse(*ours):.2f}", f"{rmse(*theirs):.2f}")
    means = (sum(rmse(*fold) for fold in one) / len(one) for one in (told, best))
    shown.add_row("mean", *(f"{mean:.2f}" for mean in means))
    predicted, y = map(torch.cat, zip(*best, strict=True))
    shown.add_row("R2 of all", f"{metrics['r2']:.3f}", f"{r2_score(y, predicted):.3f}")
    return shown


def main(
    context: typer.Context,
    folder: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs/diabetes"),
    folds: Annotated[
        int, typer.Option(min=2, max=442, help="Parts that the table is cut into.")
    ] = 5,
    cutting: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="A number to cut it by.")] = 0,
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the data, for a fold.")] = 30,
    members: Annotated[int, typer.Option(min=1, help="Networks side by side.")] = 16,
    width: Annotated[int, typer.Option(min=1, help="Hidden units of each.")] = 16,
    lr: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = 5e-3,
    weight_decay: Annotated[float, typer.Option(min=0, help="Decay of the weights.")] = 1.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="For order, weights.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run.")] = False,
) -> None:
    """Train small networks on scikit-learn's diabetes table, by cross-validation."""
    with script_run(context) as (run, options):
        say(train(Options(**options), run, resume=resume))


if __name__ == "__main__":
    typer.run(main)
