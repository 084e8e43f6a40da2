"""Small models of transformers with weights drawn at random, and real text and images for them."""

from __future__ import annotations

import argparse
import inspect
import statistics
from typing import Any

import torch
import transformers
from sklearn.datasets import load_digits
from torch.utils.data import Dataset

from footplate import Runner

__all__ = ["LENGTH", "Rows", "classifier", "configured", "data", "models", "trained_losses"]

LENGTH = 24
BATCH = 8
_CHARACTERS = 128
_SIZES = {"hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2}


class Rows(Dataset[dict[str, torch.Tensor]]):
    """Columns of tensors, by row."""

    def __init__(self, **columns: torch.Tensor) -> None:
        self.columns = columns

    def __getitem__(self, index: int) -> dict[str, torch.Tensor]:
        return {name: one[index] for name, one in self.columns.items()}

    def __len__(self) -> int:
        return len(next(iter(self.columns.values())))


def _pieces(module: Any, size: int) -> list[str]:
    """Pieces of what a module of the standard library says of itself."""
    said = " ".join(inspect.getdoc(one) or "" for one in vars(module).values() if callable(one))
    text = " ".join(f"{module.__doc__} {said}".split())
    return [text[at : at + LENGTH] for at in range(0, LENGTH * size, LENGTH)]


def texts(size: int = 120) -> Rows:
    """Pieces of text, and which of two modules each is of."""
    both = [_pieces(one, size // 2) for one in (argparse, statistics)]
    pieces = [piece for pair in zip(*both, strict=True) for piece in pair]
    codes = torch.tensor([[min(ord(one), _CHARACTERS - 1) for one in piece] for piece in pieces])
    return Rows(
        input_ids=codes,
        attention_mask=torch.ones_like(codes),
        labels=torch.arange(size) % 2,
        number=torch.arange(size),  # which no model asks for
    )


def next_characters() -> Rows:
    """Pieces of text that say themselves what comes next."""
    columns = texts().columns
    return Rows(input_ids=columns["input_ids"], labels=columns["input_ids"])


def images() -> Rows:
    """Handwritten digits."""
    digits = load_digits()
    pixels = torch.tensor(digits.images[:120], dtype=torch.float32) / 16
    return Rows(pixel_values=pixels[:, None], labels=torch.tensor(digits.target[:120]))


def classifier(dropout: float = 0.0) -> transformers.PreTrainedModel:
    """An encoder that says of which module a text is."""
    config = transformers.BertConfig(
        vocab_size=_CHARACTERS,
        intermediate_size=32,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=dropout,
        attention_probs_dropout_prob=dropout,
        **_SIZES,
    )
    return transformers.BertForSequenceClassification(config)


def language_model() -> transformers.PreTrainedModel:
    """A decoder that says which character comes next."""
    config = transformers.GPT2Config(
        vocab_size=_CHARACTERS, n_positions=LENGTH, n_embd=16, n_layer=2, n_head=2
    )
    return transformers.GPT2LMHeadModel(config)


def translator() -> transformers.PreTrainedModel:
    """An encoder and a decoder, which says its text again."""
    config = transformers.T5Config(
        vocab_size=_CHARACTERS, d_model=16, d_kv=8, d_ff=32, num_layers=1, num_heads=2
    )
    config.decoder_start_token_id = 0
    return transformers.T5ForConditionalGeneration(config)


def image_classifier() -> transformers.PreTrainedModel:
    """A vision transformer for digits."""
    config = transformers.ViTConfig(
        image_size=8,
        patch_size=4,
        num_channels=1,
        intermediate_size=32,
        num_labels=10,
        **_SIZES,
    )
    return transformers.ViTForImageClassification(config)


models = {
    "classifier": classifier,
    "language_model": language_model,
    "translator": translator,
    "image_classifier": image_classifier,
}
data = {
    "classifier": texts,
    "language_model": next_characters,
    "translator": next_characters,
    "image_classifier": images,
}


def configured(folder: Any, name: str = "classifier", **changes: Any) -> dict[str, Any]:
    """The arguments of a runner that trains for two epochs of fifteen batches."""
    torch.manual_seed(3)
    arguments = {
        "model": models[name]() if "model" not in changes else None,
        "work_dir": folder,
        "train_dataloader": {"dataset": data[name](), "batch_size": BATCH, "shuffle": True},
        "train_cfg": {"max_epochs": 2},
        "optim_wrapper": {"optimizer": {"type": "AdamW", "lr": 3e-3}},
        "randomness": {"seed": 5},
        "visualizer": False,
        "default_hooks": {
            "logger": {"console": False, "progress_bar": False},
            "report": None,
            "checkpoint": None,
        },
    }
    return {**arguments, **changes}


def trained_losses(runner: Runner) -> list[float]:
    """The losses of a runner's training, which is run."""
    losses: list[float] = []
    runner.trainer.add_event_handler(
        "ITERATION_COMPLETED", lambda engine: losses.append(engine.state.output["loss"].item())
    )
    runner.train()
    return losses
