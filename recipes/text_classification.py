"""Text classification: a small ModernBERT says which keyword is missing in a piece of Python.

A script to copy. Passages are cut from the standard library, with a gap where ``and``, ``if`` or
another of ten keywords stood; whole files are held out. Tokenizer and model are of `transformers`
and made from nothing; biases and norms don't decay, the learning rate rises and falls in straight
lines, and TF-IDF with logistic regression is measured beside. Kill it at any moment, and
``--resume`` goes on from the last checkpoint.

    python -m footplate.recipes.text_classification --help
"""

from __future__ import annotations

import functools
import random
import sysconfig
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Annotated, Any, Literal

import typer
from ignite.metrics import Accuracy, ConfusionMatrix, Fbeta, Loss
from rich.table import Table
from torch import nn
from torch.nn import functional as F
from torch.optim.lr_scheduler import LinearLR
from torch.utils.data import DataLoader, Dataset

from footplate import Engine, Events
from footplate.engine.data.order import ordered_loader
from footplate.engine.data.passages import Passage, gaps_below, parted, passages_in
from footplate.engine.optional import required
from footplate.engine.random import seed_all
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.groups import default_optimizer
from footplate.engine.step.model_output import ModelOutput
from footplate.engine.step.training import training_step
from footplate.engine.step.warm_up import warm_up
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.console import Console
from footplate.handlers.curves import Curves
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.jsonl import JSONL
from footplate.handlers.lr_schedule import LRSchedule
from footplate.handlers.metrics import Metrics
from footplate.handlers.progress_bar import ProgressBar
from footplate.handlers.report import Report
from footplate.handlers.run_record import RunRecord
from footplate.handlers.scalars import Scalars
from footplate.recipes.baselines.bags_of_words import told_by_words
from footplate.recipes.commands.script import say, script_run

KEYWORDS = ("and", "else", "for", "if", "in", "is", "not", "or", "return", "try")
GAP, LENGTH = "<mask>", 128  # tokens, at most
Part = Literal["train", "val", "test"]
PARTS: tuple[Part, ...] = ("train", "val", "test")


def standard_library(most: int = 5000) -> list[Passage]:
    """Gaps in the standard library's files, drawn by lot, at most so many of a keyword."""
    root = sysconfig.get_paths()["stdlib"]
    others = ("test", "tests", "site-packages", "dist-packages")
    found = list(gaps_below(root, KEYWORDS, gap=GAP, but=others))
    random.Random(0).shuffle(found)
    return [one for word in KEYWORDS for one in [p for p in found if p.label == word][:most]]


class Passages(Dataset[dict[str, Any]]):
    """Passages as tokens, with the numbers of their labels."""

    def __init__(self, passages: list[Passage], tokenizer: Any, classes: list[str]) -> None:
        self.texts = [passage.text for passage in passages]
        self.labels = [classes.index(passage.label) for passage in passages]
        self.tokens = tokenizer(self.texts, truncation=True, max_length=LENGTH)["input_ids"]
        self.metainfo = {"classes": classes}

    def __len__(self) -> int:
        return len(self.texts)

    def __getitem__(self, index: int) -> dict[str, Any]:
        return {"input_ids": self.tokens[index], "labels": self.labels[index]}


@functools.cache
def prepared(data: str | None, vocabulary: int, seed: int) -> tuple[Any, dict[Part, Passages]]:
    """A tokenizer, by byte pairs, and passages of 70, 15 and 15 percent of the sources."""
    with required("transformers", "text classification", extra="recipes"):
        from transformers import RobertaTokenizerFast

    passages = standard_library() if data is None else passages_in(data)
    parts = dict(zip(PARTS, parted(passages, 0.7, 0.15, seed=seed), strict=True))
    texts = [passage.text for passage in parts["train"]]
    empty: Any = RobertaTokenizerFast()
    tokenizer = empty.train_new_from_iterator(texts, vocabulary, show_progress=False)
    classes = sorted({passage.label for passage in passages})
    return tokenizer, {name: Passages(own, tokenizer, classes) for name, own in parts.items()}


def loader(
    part: Part, batch_size: int, data: str | None = None, vocabulary: int = 2000, seed: int = 0
) -> DataLoader[Any]:
    """Batches of a part, each as long as its longest passage; those to train on are shuffled."""
    tokenizer, parts = prepared(data, vocabulary, seed)
    from transformers import DataCollatorWithPadding

    padded, shuffle = DataCollatorWithPadding(tokenizer), part == "train"
    return ordered_loader(parts[part], batch_size, shuffle=shuffle, seed=seed, collate_fn=padded)


def network(vocabulary: int, classes: int, width: int, dropout: float = 0.1) -> Any:
    """A small ModernBERT (Warner et al., 2024) with weights drawn at random."""
    with required("transformers", "text classification", extra="recipes"):
        from transformers import ModernBertConfig, ModernBertForSequenceClassification

    special = {"pad": 0, "bos": 2, "cls": 2, "eos": 3, "sep": 3}
    settings: dict[str, Any] = {
        "vocab_size": vocabulary,
        "num_labels": classes,
        "hidden_size": width,
        "intermediate_size": 2 * width,
        "num_hidden_layers": 2,
        "num_attention_heads": width // 32,
        "local_attention": 16,
        "max_position_embeddings": LENGTH,
        "classifier_pooling": "mean",
        "embedding_dropout": dropout,
        "mlp_dropout": dropout,
        **{f"{name}_token_id": number for name, number in special.items()},
    }
    return ModernBertForSequenceClassification(ModernBertConfig(**settings))


def evaluator_of(model: nn.Module, name: str, classes: int) -> Engine:
    """An engine that scores batches, and measures what is right and what is taken for what."""
    contract = ModelOutput(model, output=lambda batch, answer: (answer.logits, batch["labels"]))
    evaluator = Engine(evaluation_step(model, contract=contract), name=name)
    measured = {"accuracy": Accuracy(), "macro_f1": Fbeta(1), "loss": Loss(F.cross_entropy)}
    evaluator.attach(Metrics({**measured, "confusion": ConfusionMatrix(classes)}))
    return evaluator


@dataclass(frozen=True)
class Options:
    """What a run is made with; kept in its folder, so that it is resumed with the same."""

    data: str | None
    epochs: int
    batch_size: int
    width: int
    lr: float
    weight_decay: float
    seed: int

    @property
    def title(self) -> str:
        """What its report and table are headed by."""
        return "Missing keywords" if self.data is None else Path(self.data).stem


def train(options: Options, folder: Path, *, resume: bool) -> list[tuple[str, float, float]]:
    """Train, test the best weights and TF-IDF; return names, accuracies and macro F1."""
    seed_all(options.seed)
    tokenizer, parts = prepared(options.data, 2000, options.seed)
    size, data = options.batch_size, options.data
    loaders = {part: loader(part, size, data, seed=options.seed) for part in PARTS}
    classes = parts["train"].metainfo["classes"]
    model = network(len(tokenizer), len(classes), options.width)
    optimizer = default_optimizer(model, options.lr, options.weight_decay)
    steps = options.epochs * len(loaders["train"])
    ramp = max(steps // 10, 1)
    falling = LinearLR(optimizer, 1.0, end_factor=0.0, total_iters=max(steps - ramp, 1))

    trainer = Engine(training_step(model, optimizer, clip=ClipNorm(1.0)), name="train")
    val, test = (evaluator_of(model, name, len(classes)) for name in ("val", "test"))
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=10)))
    trainer.attach(Evaluation(val, loaders["val"]))
    trainer.attach(LRSchedule(warm_up(falling, ramp), "step"))
    trainer.attach(Console(names=["loss_epoch", "val_*"]))
    trainer.attach(ProgressBar(metrics=["loss", "val_accuracy"]))
    trainer.attach(JSONL(folder / "scalars.jsonl"))
    trainer.attach(Curves(folder / "curves.png", optimizer=optimizer))
    record = RunRecord(folder, name=options.title, config=asdict(options))
    for engine in (trainer, val, test):
        engine.attach(record)
    for engine in (trainer, test):
        engine.attach(Report(folder))
    kept = Checkpoint(folder / "checkpoints", model, best=1, metric="val_accuracy")
    checkpoint = trainer.attach(kept)
    if resume:
        say(f"resuming from {checkpoint.resume(trainer) or 'the start: no checkpoint yet'}")
    trainer.run(loaders["train"], max_epochs=options.epochs)

    checkpoint.load_weights("best")
    model.save_pretrained(folder / "model")
    tokenizer.save_pretrained(folder / "model")
    measured = test.run(loaders["test"]).metrics
    counted = told_by_words(*((part.texts, part.labels) for part in parts.values()))
    return [
        ("this model", measured["accuracy"], measured["macro_f1"]),
        ("TF-IDF, logistic regression", *counted),
    ]


def main(
    context: typer.Context,
    data: Annotated[
        Path | None,
        typer.Option(exists=True, dir_okay=False, help="A CSV file of texts and labels."),
    ] = None,
    folder: Annotated[Path, typer.Option(help="Where runs are kept.")] = Path("runs/text"),
    epochs: Annotated[int, typer.Option(min=1, help="Passes over the training data.")] = 3,
    batch_size: Annotated[int, typer.Option(min=1, help="Passages in a batch.")] = 32,
    width: Annotated[int, typer.Option(min=32, help="Numbers that stand for a token.")] = 64,
    lr: Annotated[float, typer.Option(min=0, help="Highest learning rate.")] = 3e-3,
    weight_decay: Annotated[float, typer.Option(min=0, help="Decay of the weights.")] = 0.05,
    seed: Annotated[int, typer.Option(min=0, max=2**32 - 1, help="For data and weights.")] = 0,
    resume: Annotated[bool, typer.Option("--resume", help="Go on with the last run.")] = False,
) -> None:
    """Train a small ModernBERT to say which keyword is missing in a piece of Python."""
    if width % 32:
        raise typer.BadParameter(f"--width is shared by heads of 32, given {width}.")
    with script_run(context) as (run, given):
        options = Options(**given)
        table = Table("", "accuracy", "macro F1", title=options.title)
        for name, accuracy, f1 in train(options, run, resume=resume):
            table.add_row(name, f"{accuracy:.1%}", f"{f1:.1%}")
        say(table)


if __name__ == "__main__":
    typer.run(main)
