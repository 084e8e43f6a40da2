"""Reinforcement learning: an actor and a critic that learn to balance gymnasium's CartPole.

A script to copy. The data of the trainer are episodes: whoever asks for a batch has some played,
side by side, by the policy as it is by then. From there on it is a training like any other: a loss,
an optimizer, a validation after every epoch, which plays 100 episodes without drawing lots, a
checkpoint of the best, an end when it is good enough. Kill it at any moment, and ``--resume`` goes
on from the last checkpoint, with the episodes that would have come.

    python -m footplate.recipes.reinforcement_learning --help
"""

from __future__ import annotations

from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any

import torch
import typer
from ignite.metrics import Average
from torch import Tensor, nn
from torch.nn import functional as F

from footplate import Engine, Events
from footplate.engine.data.episodes import Episodes, Played
from footplate.engine.random import seed_all
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.training import training_step
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.console import Console
from footplate.handlers.curves import Curves
from footplate.handlers.early_stopping import EarlyStopping
from footplate.handlers.environment import Environment
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.jsonl import JSONL
from footplate.handlers.metrics import Metrics
from footplate.handlers.progress_bar import ProgressBar
from footplate.handlers.report import Report
from footplate.handlers.run_record import RunRecord
from footplate.handlers.scalars import Scalars
from footplate.handlers.timer import Timer
from footplate.recipes.commands.script import figures, say, script_run
from footplate.recipes.composition.hook import Hook

GAME = "CartPole-v1"
DISCOUNT, SMOOTHING = 0.99, 0.95  # gamma and lambda of the advantages
Steps = dict[str, Tensor]  # of shape (N, T)


class ActorCritic(nn.Module):
    """Scores of two actions, (…, 2), and a value, (…), of what is observed, (…, 4)."""

    def __init__(self, width: int = 64) -> None:
        super().__init__()

        def network(outputs: int) -> nn.Sequential:
            hidden = nn.Sequential(nn.Linear(4, width), nn.Tanh(), nn.Linear(width, width))
            return nn.Sequential(hidden, nn.Tanh(), nn.Linear(width, outputs))

        self.actor, self.critic = network(2), network(1)

    def forward(self, observed: Tensor) -> tuple[Tensor, Tensor]:
        """Scores and values."""
        return self.actor(observed), self.critic(observed).squeeze(-1)

    def draw(self, observed: Tensor, generator: torch.Generator) -> Tensor:
        """Actions by lot, the likelier the higher their scores."""
        chances = self.actor(observed).softmax(-1)
        return torch.multinomial(chances, 1, generator=generator).squeeze(-1)

    def choose(self, observed: Tensor, generator: torch.Generator) -> Tensor:
        """The actions of the highest scores."""
        return self.actor(observed).argmax(-1)  # type: ignore[no-any-return]


def advantages(values: Tensor, steps: Steps) -> Tensor:
    """By how much each step went better than its value had said, (N, T), of values (N, T + 1).

    By Schulman et al., "High-Dimensional Continuous Control Using Generalized Advantage
    Estimation" (2016). Rewards are scaled so that values stay below one.
    """
    ahead = DISCOUNT * values[:, 1:] * ~steps["terminated"]
    surprises = (1 - DISCOUNT) * steps["reward"] + ahead - values[:, :-1]
    found = torch.zeros_like(values)
    for t in reversed(range(surprises.shape[1])):
        better = surprises[:, t] + DISCOUNT * SMOOTHING * found[:, t + 1]
        found[:, t] = steps["on"][:, t] * better
    return found[:, :-1]


def actor_critic_loss(told: tuple[Tensor, Tensor], steps: Steps) -> dict[str, Tensor]:
    """What is trained on, and parts of it, as means over the steps of all episodes."""
    on, scores, values = steps["on"], told[0][:, :-1], told[1][:, :-1]
    better = advantages(told[1].detach(), steps)
    log_p = scores[on].log_softmax(-1)
    done = log_p.gather(-1, steps["action"][on].unsqueeze(-1)).squeeze(-1)
    actor = -(done * (better[on] - better[on].mean()) / (better[on].std() + 1e-8)).mean()
    critic = F.mse_loss(values[on], (values.detach() + better)[on])
    entropy = -(log_p.exp() * log_p).sum(-1).mean()
    parts = {"critic": critic, "entropy": entropy, "return": returns(steps).mean()}
    return {"loss": actor + 50 * critic - 0.01 * entropy, **parts}


def returns(steps: Steps) -> Tensor:
    """What each episode has brought, (N,)."""
    return steps["reward"].sum(1)


def score(engine: Engine, batch: Played) -> float:
    """The step of an evaluation: what the episodes have brought on average."""
    return returns(batch[1]).mean().item()


class Play(Hook):
    """Has the model of a configured run play its episodes."""

    def before_run(self, runner: Any) -> None:
        """Draw in training, so that something is found out, and choose in evaluation."""
        runner.train_dataloader.act = runner.model.draw
        runner.val_dataloader.act = runner.model.choose


def evaluator_of(name: str) -> Engine:
    """An engine that measures what episodes bring."""
    evaluator = Engine(score, name=name)
    evaluator.attach(Metrics({"return": Average()}))
    return evaluator


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is made with; kept in its folder, so that it is resumed with the same."""

    epochs: int
    at_once: int
    lr: float
    goal: float
    seed: int


def train(options: Options, folder: Path, *, resume: bool) -> dict[str, str]:
    """Train, test the best weights, and return what came out, as text by name."""
    seed_all(options.seed)
    torch.set_num_threads(1)  # networks as small as this one only wait for more
    model = ActorCritic()
    played = Episodes(GAME, options.at_once, 10, act=model.draw, seed=f"train {options.seed}")
    val, test = (
        Episodes(GAME, 100, act=model.choose, seed=f"{part} {options.seed}")
        for part in ("val", "test")
    )
    optimizer = torch.optim.Adam(model.parameters(), options.lr)
    step = training_step(model, optimizer, actor_critic_loss, clip=ClipNorm(0.5))
    trainer = Engine(step, name="train")
    evaluator, tester = evaluator_of("val"), evaluator_of("test")

    panels = {"return": ["return", "val_return"], "loss": ["loss"], "entropy": ["entropy"]}
    trainer.attach(Scalars(Events.ITERATION_COMPLETED))
    trainer.attach(Timer())
    trainer.attach(Evaluation(evaluator, val))
    trainer.attach(EarlyStopping("val_return", options.epochs, threshold=options.goal))
    trainer.attach(Console(names=["return_epoch", "val_*", "environment"]))
    trainer.attach(ProgressBar(metrics=["return", "val_return"]))
    trainer.attach(JSONL(folder / "scalars.jsonl"))
    trainer.attach(Curves(folder / "curves.png", panels=panels, optimizer=optimizer))
    trainer.attach(Environment(folder / "environment.json"))
    record = RunRecord(folder, name="CartPole", config=asdict(options))
    for engine in (trainer, evaluator, tester):
        engine.attach(record)
    for engine in (trainer, tester):
        engine.attach(Report(folder))
    checkpoint = Checkpoint(folder / "checkpoints", model, best=1, metric="val_return")
    trainer.attach(checkpoint)
    if resume:
        say(f"resuming from {checkpoint.resume(trainer) or 'the start: no checkpoint yet'}")
    trainer.run(played, max_epochs=options.epochs)

    best = checkpoint.load_weights("best")
    reached = tester.run(test).metrics["return"]
    return {
        "mean return of 100 new episodes": f"{reached:.1f}",
        "best validation": f"{best.metrics['val_return']:.1f}, epoch {best.epoch}",
    }


def main(
    context: typer.Context,
    folder: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs/cartpole"),
    epochs: Annotated[int, typer.Option(min=1, help="Most epochs, of 10 batches each.")] = 40,
    at_once: Annotated[int, typer.Option(min=1, help="Episodes in a batch.")] = 16,
    lr: Annotated[float, typer.Option(min=0, help="Learning rate.")] = 1e-2,
    goal: Annotated[float, typer.Option(help="A mean return that ends the run.")] = 475.0,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="For episodes, weights.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run.")] = False,
) -> None:
    """Train an actor and a critic to balance the pole of gymnasium's CartPole."""
    with script_run(context) as (run, options):
        say(figures("CartPole", train(Options(**options), run, resume=resume)))


if __name__ == "__main__":
    typer.run(main)
