"""Image generation: a GAN that draws digits like those that come with scikit-learn.

A script to copy. A generator and a critic, each with its optimizer, train against each other; both
are told a digit's class. What an average of the generator's weights draws stands in the report, and
is judged by the network of the recipe for image classification, and by how much digits of a class
differ. Kill it at any moment, and ``--resume`` goes on from the last checkpoint.

    python -m footplate.recipes.image_generation --help
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim import Adam, AdamW
from torch.optim.lr_scheduler import CosineAnnealingLR

from footplate import Engine, Events
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.intervals import interval
from footplate.engine.random import preserved, seed_all
from footplate.engine.step.base_metric import BaseMetric
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.mmengine.optim_wrapper import OptimWrapperDict
from footplate.engine.step.training import training_step
from footplate.handlers.averaging import EMA
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.console import Console
from footplate.handlers.curves import Curves
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.jsonl import JSONL
from footplate.handlers.lr_schedule import LRSchedule
from footplate.handlers.media_folder import MediaFolder
from footplate.handlers.metrics import Metrics
from footplate.handlers.report import Report
from footplate.handlers.run_record import RunRecord
from footplate.handlers.scalars import Scalars
from footplate.handlers.visualizer import Visualizer
from footplate.recipes.commands.script import say, script_run
from footplate.recipes.image_classification import Samples, digits, network

NOISE = 32  # numbers that a digit is drawn from


class GAN(nn.Module):
    """A generator and a critic, which drive their optimizers in a step of their own.

    The critic compares real digits with drawn ones in pairs, after Jolicoeur-Martineau, "The
    relativistic discriminator" (2018), and pays for scores that are steep at real ones, after
    Mescheder et al., "Which Training Methods for GANs do actually Converge?" (2018).

    Args:
        width: of the networks' layers.
        penalty: what steepness costs. With too little of it all digits of a class become one.
    """

    def __init__(self, width: int = 32, penalty: float = 2.0) -> None:
        super().__init__()
        self.penalty = penalty

        def doubled(inputs: int, outputs: int) -> list[nn.Module]:
            conv = nn.Conv2d(inputs, outputs, kernel_size=3, padding=1, bias=False)
            return [nn.Upsample(scale_factor=2), conv, nn.BatchNorm2d(outputs), nn.ReLU()]

        self.generator = nn.Sequential(  # from noise and a one-hot class, (B, 32 + 10)
            nn.Linear(NOISE + 10, 8 * width),
            nn.Unflatten(1, (2 * width, 2, 2)),
            nn.BatchNorm2d(2 * width),
            nn.ReLU(),
            *doubled(2 * width, width),
            *doubled(width, width // 2),
            nn.Conv2d(width // 2, 1, kernel_size=3, padding=1),
            nn.Sigmoid(),
        )
        self.critic = nn.Sequential(  # to scores of an image as each class, which are its own:
            nn.Conv2d(1, width // 2, kernel_size=3, padding=1),  # so there is no batch norm
            nn.LeakyReLU(0.2),
            nn.Conv2d(width // 2, width, kernel_size=3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Conv2d(width, 2 * width, kernel_size=3, stride=2, padding=1),
            nn.LeakyReLU(0.2),
            nn.Flatten(),
            nn.Linear(8 * width, 2 * width),
            nn.LeakyReLU(0.2),
            nn.Linear(2 * width, 10),
        )

    def forward(self, noise: Tensor, labels: Tensor) -> Tensor:
        """Digits of these classes, (B, 1, 8, 8) from 0 to 1, drawn from noise, (B, 32)."""
        return self.generator(torch.cat([noise, F.one_hot(labels, 10)], 1))  # type: ignore[no-any-return]

    def scores(self, images: Tensor, labels: Tensor) -> Tensor:
        """How real images look as digits of these classes, (B,)."""
        return self.critic(images).gather(1, labels[:, None])[:, 0]  # type: ignore[no-any-return]

    def train_step(self, data: Samples, optim_wrapper: OptimWrapperDict) -> dict[str, Tensor]:
        """Train both on a batch; each loss reaches the weights of its own optimizer alone."""
        images, labels = data[0].detach().requires_grad_(), data[1]
        drawn = self(torch.randn(len(images), NOISE, device=images.device), labels)
        real = self.scores(images, labels)
        slopes = torch.autograd.grad(real.sum(), images, create_graph=True)[0]
        critic_loss = F.softplus(self.scores(drawn.detach(), labels) - real).mean()
        critic_loss = critic_loss + self.penalty / 2 * slopes.square().sum((1, 2, 3)).mean()
        optim_wrapper["critic"].update(critic_loss)

        real = self.scores(images.detach(), labels)
        generator_loss = F.softplus(real - self.scores(drawn, labels)).mean()
        optim_wrapper["generator"].update(generator_loss)
        return {"critic_loss": critic_loss, "generator_loss": generator_loss}

    def val_step(self, data: Samples) -> Samples:
        """Digits drawn from noise, and the classes that were asked for."""
        return self(*data), data[1]


def wishes(count: int, seed: int = 0) -> Samples:
    """What to draw: noise, (count, 32), and classes in turn, int64 (count,)."""
    generator = torch.Generator().manual_seed(seed)
    return torch.randn(count, NOISE, generator=generator), torch.arange(count) % 10


def as_asked(batch: Samples, output: Samples) -> tuple[Tensor, Tensor, Tensor]:
    """Drawn digits and their classes, for a visualizer."""
    return *output, output[1]


def judge(seed: int = 0, epochs: int = 12) -> nn.Module:
    """The network of the recipe for image classification, trained as there."""
    with preserved():
        seed_all(seed)
        loader = InMemoryLoader(digits(seed)[0], 64, shuffle=True, seed=seed)
        model = network(dropout=0.2)
        optimizer = AdamW(model.parameters(), 3e-3, weight_decay=1e-2)
        trainer = Engine(training_step(model, optimizer, F.cross_entropy), name="judge")
        trainer.attach(LRSchedule(CosineAnnealingLR(optimizer, epochs * len(loader)), "iteration"))
        trainer.run(loader, max_epochs=epochs)
    return model.eval()


class Judged(BaseMetric):
    """What drawn digits are worth, as shares of them; and how well the judge does on real ones.

    Args:
        judge: from images to scores of ten classes.
        real: digits that nobody was trained on, and their classes.
    """

    def __init__(self, judge: nn.Module, real: Samples) -> None:
        super().__init__()
        self.judge, self.real = judge, real

    def process(self, data_batch: Any, data_samples: Samples) -> None:
        """Keep digits, and the classes that were asked for."""
        self.results.extend(zip(*data_samples, strict=True))

    @torch.no_grad()
    def compute_metrics(self, results: list[tuple[Tensor, Tensor]]) -> dict[str, Any]:
        """The shares, from 0 to 1, and the variety within a class, which real digits have 1 of."""
        images, labels = (torch.stack(some).cpu() for some in zip(*results, strict=True))
        confidence, seen = self.judge(images).softmax(1).max(1)
        shares = seen.bincount(minlength=10) / len(seen)
        drawn, real = (
            sum(some[classes == one].var(0).sum().item() for one in range(10))
            for some, classes in ((images, labels), self.real)
        )
        right = self.judge(self.real[0]).argmax(1) == self.real[1]
        return {
            "sure": (confidence >= 0.9).double().mean().item(),
            "as_asked": (seen == labels).double().mean().item(),
            "rarest_class": shares.min().item(),
            "commonest_class": shares.max().item(),
            "variety": drawn / real,
            "judge_accuracy": right.double().mean().item(),
            "confusion": (10 * labels + seen).bincount(minlength=100).view(10, 10),
        }


def train(
    folder: Path, *, resume: bool, iterations: int, lr: float, judge_epochs: int, seed: int
) -> dict[str, Any]:
    """Train, and return what digits are worth that the average draws in the end."""
    seed_all(seed)
    real, *unseen = digits(seed)
    images, classes = map(torch.cat, zip(*unseen, strict=True))
    loader = InMemoryLoader(real, 64, shuffle=True, seed=seed, drop_last=True)
    model = GAN()
    adams = {name: Adam(one.parameters(), lr, (0.0, 0.99)) for name, one in model.named_children()}
    judged = Judged(judge(seed, judge_epochs), (images, classes))
    trainer = Engine(training_step(model, adams), name="train")
    evaluator, tester = (Engine(evaluation_step(model), name=name) for name in ("val", "test"))
    often = Events.ITERATION_COMPLETED(interval(max(iterations // 10, 1)))
    ema = trainer.attach(EMA(model, decay=0.99, warm_up=True, optimization="generator"))
    record = trainer.attach(RunRecord(folder, name="Drawn digits", predictions=0))
    for engine in (evaluator, tester):
        engine.attach(record)
        ema.evaluate_with(engine)
        engine.attach(Metrics({"judged": judged}))
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=max(iterations // 40, 1))))
    trainer.attach(Evaluation(evaluator, InMemoryLoader(wishes(500), 500), often))
    trainer.attach(Visualizer(evaluator, when=often, samples=30, name="drawn", read=as_asked))
    trainer.attach(Console(names=["*_loss", "val_*"]))
    trainer.attach(MediaFolder(folder / "media"))
    trainer.attach(JSONL(folder / "scalars.jsonl"))
    trainer.attach(Curves(folder / "curves.png", when=often))
    checkpoint = trainer.attach(Checkpoint(folder / "checkpoints", model, when=often))
    for engine in (trainer, tester):
        engine.attach(Report(folder))
    if resume:
        say(f"resuming from {checkpoint.resume(trainer) or 'the start: no checkpoint yet'}")
    trainer.run(loader, max_iters=iterations)
    return tester.run(InMemoryLoader(wishes(2000, seed=1), 500)).metrics


def main(
    context: typer.Context,
    folder: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs/drawn"),
    iterations: Annotated[int, typer.Option(min=1, help="Batches to train on.")] = 2000,
    lr: Annotated[float, typer.Option(min=0, help="Learning rate of both networks.")] = 1e-3,
    judge_epochs: Annotated[int, typer.Option(min=1, help="Passes that the judge makes.")] = 12,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="For data and weights.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run.")] = False,
) -> None:
    """Train a GAN that draws digits like scikit-learn's."""
    with script_run(context) as (run, options):
        found = train(run, resume=resume, **options)
        say("\n".join(f"{k}: {v:.4f}" for k, v in found.items() if isinstance(v, float)))


if __name__ == "__main__":
    typer.run(main)
