"""Language model: a small GPT on the source text of Python's own standard library.

A script to copy. It trains by iterations, with warm-up and a cosine schedule by optimizer step,
no weight decay on biases and norms, clipped gradients, and an average of the weights that is
validated, kept, and sampled from at the end. Kill it at any moment, and ``--resume`` goes on from
the last checkpoint.

    python -m footplate.recipes.language_model --help
"""

from __future__ import annotations

import math
import signal
import sysconfig
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from ignite.metrics import Loss
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR

from footplate import Engine, Events, Signalled
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.intervals import interval
from footplate.engine.random import seed_all
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.groups import default_optimizer
from footplate.engine.step.training import training_step
from footplate.engine.step.warm_up import warm_up
from footplate.handlers.averaging import EMA
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.console import Console
from footplate.handlers.curves import Curves
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.gradient_norms import GradientNorms
from footplate.handlers.jsonl import JSONL
from footplate.handlers.lr_schedule import LRSchedule
from footplate.handlers.metrics import Metrics
from footplate.handlers.non_finite import StopOnNonFinite
from footplate.handlers.progress_bar import ProgressBar
from footplate.handlers.report import Report
from footplate.handlers.run_record import RunRecord
from footplate.handlers.scalars import Scalars
from footplate.handlers.timer import Timer

VOCABULARY = 128  # ASCII; anything else becomes 0


def standard_library(most: int = 2_000_000) -> str:
    """The source of the standard library's modules, in the order of their names."""
    texts, size = [], 0
    for file in sorted(Path(sysconfig.get_paths()["stdlib"]).glob("*.py")):
        texts.append(file.read_text(encoding="utf-8", errors="replace"))
        size += len(texts[-1])
        if size > most:
            break
    return "\n".join(texts)[:most]


def encoded(text: str) -> Tensor:
    """Characters as numbers, int64 of shape (len(text),)."""
    return torch.tensor([ord(c) if ord(c) < VOCABULARY else 0 for c in text])


def windows(tokens: Tensor, length: int) -> tuple[Tensor, Tensor]:
    """Pieces of a text, and the same pieces one character later; both of shape (N, length)."""
    if len(tokens) <= length:
        raise ValueError(f"the text has {len(tokens)} characters; it needs over {length}.")
    end = (len(tokens) - 1) // length * length
    return tokens[:end].view(-1, length), tokens[1 : end + 1].view(-1, length)


def pieces(part: Literal["train", "val"], length: int = 64) -> tuple[Tensor, Tensor]:
    """Pieces of the first nine tenths of the standard library, or of the rest."""
    tokens = encoded(standard_library())
    end = round(0.9 * len(tokens))
    return windows(tokens[:end] if part == "train" else tokens[end:], length)


class Block(nn.Module):
    """Attention over the past, and a perceptron, each added to what comes in; (B, T, D)."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """What comes out, of the same shape."""
        q, k, v = self.qkv(self.norm_1(x)).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        seen = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True
        )
        x = x + self.out(seen.transpose(1, 2).flatten(-2))
        return x + self.mlp(self.norm_2(x))  # type: ignore[no-any-return]


class GPT(nn.Module):
    """Scores of the next character, (B, T, 128), from characters, int64 of shape (B, T)."""

    def __init__(self, length: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.length = length
        self.tokens, self.places = nn.Embedding(VOCABULARY, width), nn.Embedding(length, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY)

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        places = torch.arange(x.shape[1], device=x.device)
        hidden = self.blocks(self.tokens(x) + self.places(places))
        return self.head(self.norm(hidden))  # type: ignore[no-any-return]

    @torch.no_grad()
    def sample(self, prompt: str, count: int, generator: torch.Generator) -> str:
        """The prompt, continued by so many characters."""
        tokens = encoded(prompt)[None]
        for _ in range(count):
            scores = self(tokens[:, -self.length :])[0, -1]
            drawn = torch.multinomial(scores.softmax(0), 1, generator=generator)
            tokens = torch.cat([tokens, drawn[None]], 1)
        return "".join(map(chr, tokens[0].tolist()))


def next_character_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy in nats a character."""
    return F.cross_entropy(scores.flatten(0, 1), targets.flatten())


def bits(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy in bits a character."""
    return next_character_loss(scores, targets) / math.log(2)


def train(
    text: str,
    folder: Path,
    *,
    iterations: int,
    batch_size: int,
    length: int,
    width: int,
    lr: float,
    seed: int,
    resume: bool,
) -> tuple[Engine, GPT, EMA]:
    """Train, and return the engine, the model, and the average of its weights."""
    seed_all(seed)
    tokens = encoded(text)
    end = round(0.9 * len(tokens))
    data, held_out = windows(tokens[:end], length), windows(tokens[end:], length)
    loader = InMemoryLoader(data, batch_size, shuffle=True, seed=seed, drop_last=True)
    model = GPT(length, width, depth=4, heads=4)
    optimizer = default_optimizer(model, lr, weight_decay=0.1)
    ramp = max(iterations // 10, 1)
    cosine = CosineAnnealingLR(optimizer, max(iterations - ramp, 1), eta_min=lr / 10)

    evaluator = Engine(evaluation_step(model), name="val")
    evaluator.attach(Metrics({"bits": Loss(bits)}))
    step = training_step(model, optimizer, next_character_loss, clip=ClipNorm(1.0))
    trainer = Engine(step, name="train")
    often = Events.ITERATION_COMPLETED(interval(max(iterations // 10, 1)))
    ema = trainer.attach(EMA(model, decay=0.99, warm_up=True))
    ema.evaluate_with(evaluator)
    trainer.attach(Scalars(often))
    trainer.attach(StopOnNonFinite(folder / "checkpoints"))
    trainer.attach(Evaluation(evaluator, InMemoryLoader(held_out, 64), often))
    trainer.attach(LRSchedule(warm_up(cosine, ramp, start=0.1), "step"))
    trainer.attach(GradientNorms(model, groups=None))
    trainer.attach(Timer())
    trainer.attach(Console())
    trainer.attach(JSONL(folder / "scalars.jsonl"))
    record = RunRecord(folder, name="Language model")
    for engine in (trainer, evaluator):
        engine.attach(record)
    trainer.attach(ProgressBar(metrics=["loss", "val_bits"]))
    trainer.attach(Curves(folder / "curves.png", optimizer=optimizer, when=often))
    checkpoint = trainer.attach(Checkpoint(folder / "checkpoints", model, when=often))
    trainer.attach(Report(folder))
    if resume:
        print(f"resuming from {checkpoint.resume(trainer) or 'the start: no checkpoint yet'}")
    trainer.run(loader, max_iters=iterations)
    return trainer, model, ema


def main(
    text: Annotated[
        Path | None, typer.Option(help="A text to learn; the standard library by default.")
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where the run's files go.")] = Path(
        "runs/language_model"
    ),
    iterations: Annotated[int, typer.Option(min=1, help="Batches to train on.")] = 1000,
    batch_size: Annotated[int, typer.Option(min=1, help="Pieces of text in a batch.")] = 16,
    length: Annotated[int, typer.Option(min=2, help="Characters in a piece.")] = 64,
    width: Annotated[int, typer.Option(min=4, help="Numbers that stand for a character.")] = 96,
    lr: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = 2e-3,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="For data and weights.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the run there.")] = False,
) -> None:
    """Train a small GPT on the source text of Python's standard library."""
    if width % 4:
        raise typer.BadParameter(f"--width is shared by 4 heads, so 4 divides it; given {width}.")
    try:
        trainer, model, ema = train(
            standard_library() if text is None else text.read_text(encoding="utf-8"),
            folder,
            iterations=iterations,
            batch_size=batch_size,
            length=length,
            width=width,
            lr=lr,
            seed=seed,
            resume=resume,
        )
    except (KeyboardInterrupt, Signalled) as stop:
        print(f"stopped; --resume goes on with the last checkpoint in {folder.resolve()}")
        number = stop.signum if isinstance(stop, Signalled) else signal.SIGINT
        raise typer.Exit(128 + number) from None
    with ema.applied():
        print(model.sample("def ", 300, torch.Generator().manual_seed(seed)))
    print(f"\nvalidation: {trainer.state.metrics['val_bits']:.3f} bits a character")
    print(f"The run's files are in {folder.resolve()}")


if __name__ == "__main__":
    typer.run(main)
