"""Language model: a small GPT on the source text of Python's own standard library.

A script to copy. It trains by iterations, with warm-up and a cosine schedule by optimizer step,
no weight decay on biases and norms, clipped gradients, and an average of the weights that is
validated, kept, and sampled from at the end. Beside its bits a character it tells those of a bigram
and of a 5-gram, which have counted in the same text. Kill it at any moment, and ``--resume`` goes
on from the last checkpoint. Several processes train as one where torchrun launches them.

    python -m footplate.recipes.language_model --help
    torchrun --nproc-per-node 2 language_model.py
"""

from __future__ import annotations

import math
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Literal

import torch
import typer
from ignite.metrics import Loss
from torch import Tensor, nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import CosineAnnealingLR

from footplate import Engine, Events
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.data.sharding import sharded
from footplate.engine.data.text import characters, standard_library, windows
from footplate.engine.intervals import interval
from footplate.engine.placement.launching import join, leave
from footplate.engine.placement.ranks import is_first
from footplate.engine.placement.replicated import Replicated
from footplate.engine.random import seed_all
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.groups import NoDecay, parameter_groups
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
from footplate.handlers.stop_together import StopTogether
from footplate.handlers.timer import Timer
from footplate.recipes.baselines.n_grams import n_gram_bits
from footplate.recipes.commands.script import say, script_run

VOCABULARY = 128  # ASCII; anything else becomes 0


def parts(text: str) -> tuple[Tensor, Tensor]:
    """The first nine tenths of a text, to learn, and the rest, to be tested with, as numbers."""
    tokens, end = characters(text, VOCABULARY), round(0.9 * len(text))
    return tokens[:end], tokens[end:]


def pieces(part: Literal["train", "val"], length: int = 128) -> tuple[Tensor, Tensor]:
    """Pieces of a part of the standard library, for a configuration to name."""
    return windows(parts(standard_library())[("train", "val").index(part)], length)


class Block(nn.Module):
    """Attention over the past, and a perceptron, each added to what comes in; (B, T, D).

    What attends has seen its neighbours, by a convolution over the last four characters.
    """

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm_1, self.norm_2 = nn.LayerNorm(width), nn.LayerNorm(width)
        self.near = nn.Conv1d(width, width, kernel_size=4, groups=width)
        self.qkv, self.out = nn.Linear(width, 3 * width), nn.Linear(width, width)
        self.mlp = nn.Sequential(
            nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width)
        )

    def forward(self, x: Tensor) -> Tensor:
        """What comes out, of the same shape."""
        own = self.norm_1(x)
        own = own + self.near(F.pad(own.mT, (3, 0))).mT
        q, k, v = self.qkv(own).unflatten(-1, (3, self.heads, -1)).unbind(-3)
        seen = F.scaled_dot_product_attention(
            q.transpose(1, 2), k.transpose(1, 2), v.transpose(1, 2), is_causal=True
        )
        x = x + self.out(seen.transpose(1, 2).flatten(-2))
        return x + self.mlp(self.norm_2(x))  # type: ignore[no-any-return]


class GPT(nn.Module):
    """Scores of the next character, (B, T, 128), from characters, int64 of shape (B, T).

    Other than in a plain GPT, a character stands for the pair that it makes with the one before,
    too, besides itself and its place.
    """

    def __init__(self, length: int, width: int, depth: int, heads: int) -> None:
        super().__init__()
        self.length = length
        self.tokens, self.places = nn.Embedding(VOCABULARY, width), nn.Embedding(length, width)
        self.pairs = nn.Embedding(VOCABULARY**2, width)
        self.blocks = nn.Sequential(*(Block(width, heads) for _ in range(depth)))
        self.norm, self.head = nn.LayerNorm(width), nn.Linear(width, VOCABULARY, bias=False)
        for one in (self.tokens, self.places, self.pairs):
            nn.init.normal_(one.weight, std=0.02)

    def forward(self, x: Tensor) -> Tensor:
        """The scores."""
        places = torch.arange(x.shape[1], device=x.device)
        pairs = x + VOCABULARY * F.pad(x[:, :-1], (1, 0))
        hidden = self.tokens(x) + self.pairs(pairs) + self.places(places)
        return self.head(self.norm(self.blocks(hidden)))  # type: ignore[no-any-return]

    @torch.no_grad()
    def sample(self, prompt: str, count: int, generator: torch.Generator) -> str:
        """The prompt, continued by so many characters."""
        device = self.head.weight.device
        tokens = characters(prompt, VOCABULARY)[None].to(device)
        for _ in range(count):
            scores = self(tokens[:, -self.length :])[0, -1].cpu()  # where the generator is
            drawn = torch.multinomial(scores.softmax(0), 1, generator=generator)
            tokens = torch.cat([tokens, drawn[None].to(device)], 1)
        return "".join(map(chr, tokens[0].tolist()))


def next_character_loss(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy in nats a character."""
    return F.cross_entropy(scores.flatten(0, 1), targets.flatten())


def bits(scores: Tensor, targets: Tensor) -> Tensor:
    """Cross entropy in bits a character."""
    return next_character_loss(scores, targets) / math.log(2)


@dataclass(frozen=True, kw_only=True)
class Options:
    """What a run is made with; kept in its folder, so that it is resumed with the same."""

    text: str | None
    iterations: int
    batch_size: int
    length: int
    width: int
    lr: float
    seed: int


def train(text: str, options: Options, folder: Path, *, resume: bool) -> tuple[Engine, GPT, EMA]:
    """Train, and return the engine, the model, and the average of its weights."""
    seed_all(options.seed)
    length, lr, iterations = options.length, options.lr, options.iterations
    data, held_out = (windows(part, length) for part in parts(text))
    size, seed = options.batch_size, options.seed
    batches = InMemoryLoader(data, size, shuffle=True, seed=seed, drop_last=True)
    loader = sharded(batches, evaluates=False)
    val_loader = sharded(InMemoryLoader(held_out, 64), evaluates=True)

    model, placement = GPT(length, options.width, depth=3, heads=4), Replicated()
    placement.place(model)
    groups = parameter_groups(model, NoDecay(), lr=lr, weight_decay=0.1)
    optimizer = torch.optim.AdamW(groups, betas=(0.9, 0.95))
    ramp = max(iterations // 10, 1)
    cosine = CosineAnnealingLR(optimizer, max(iterations - ramp, 1), eta_min=lr / 10)

    evaluator = Engine(evaluation_step(model), name="val")
    evaluator.attach(Metrics({"bits": Loss(bits)}))
    step = training_step(
        model, optimizer, next_character_loss, clip=ClipNorm(1.0), placement=placement
    )
    trainer = Engine(step, name="train")
    often = Events.ITERATION_COMPLETED(interval(max(iterations // 10, 1)))
    ema = trainer.attach(EMA(model, decay=0.99, warm_up=True))
    ema.evaluate_with(evaluator)
    trainer.attach(StopTogether())
    trainer.attach(Scalars(often))
    trainer.attach(StopOnNonFinite(folder / "checkpoints"))
    trainer.attach(Evaluation(evaluator, val_loader, often))
    trainer.attach(LRSchedule(warm_up(cosine, ramp, start=0.1), "step"))
    trainer.attach(GradientNorms(model, groups=None))
    trainer.attach(Timer())
    trainer.attach(Console())
    trainer.attach(JSONL(folder / "scalars.jsonl"))
    record = RunRecord(folder, name="Language model", config=asdict(options))
    for engine in (trainer, evaluator):
        engine.attach(record)
    trainer.attach(ProgressBar(metrics=["loss", "val_bits"]))
    trainer.attach(Curves(folder / "curves.png", optimizer=optimizer, when=often))
    checkpoint = trainer.attach(Checkpoint(folder / "checkpoints", model, when=often))
    trainer.attach(Report(folder))
    if resume:
        say(f"resuming from {checkpoint.resume(trainer) or 'the start: no checkpoint yet'}")
    trainer.run(loader, max_iters=iterations)
    return trainer, model, ema


def sampled(model: GPT, ema: EMA, seed: int) -> str:
    """What the averaged weights write behind ``def ``."""
    with ema.applied():
        return model.sample("def ", 300, torch.Generator().manual_seed(seed))


def main(
    context: typer.Context,
    text: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="By default the standard library."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path(
        "runs/language_model"
    ),
    iterations: Annotated[int, typer.Option(min=1, help="Batches to train on.")] = 2000,
    batch_size: Annotated[int, typer.Option(min=1, help="Pieces of text in a batch.")] = 16,
    length: Annotated[int, typer.Option(min=2, help="Characters in a piece.")] = 128,
    width: Annotated[int, typer.Option(min=4, help="Numbers that stand for a character.")] = 96,
    lr: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = 5e-3,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="For data and weights.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run.")] = False,
) -> None:
    """Train a small GPT on the source text of Python's standard library."""
    if width % 4:
        raise typer.BadParameter(f"--width is shared by 4 heads, so 4 divides it; given {width}.")
    join()
    with script_run(context) as (run, given):
        options = Options(**given)
        file = options.text
        learnt = Path(file).read_text("utf-8", "replace") if file else standard_library()
        trainer, model, ema = train(learnt, options, run, resume=resume)
        if is_first():
            bigram, five = (n_gram_bits(*parts(learnt), order, VOCABULARY) for order in (2, 5))
            say(sampled(model, ema, options.seed))
            reached = f"validation: {trainer.state.metrics['val_bits']:.3f} bits a character"
            say(f"\n{reached}; a bigram needs {bigram:.3f}, a 5-gram {five:.3f}")
    leave()


if __name__ == "__main__":
    typer.run(main)
