"""A small classifier of transformers, by its own ``Trainer``, by a runner, and by a loop.

Two layers of BERT with weights drawn at random learn from sequences of 16 numbers, in batches of 8
of a stock loader, with AdamW and gradients clipped at norm 1. Either system logs each 500
iterations, and saves nothing. Each function trains for so many iterations, what it needs to begin
with included.
"""

import itertools
import tempfile

import torch
from torch.utils.data import DataLoader

LR = 1e-3
EVERY = 500


def task():
    """The model, its optimizer, and the samples."""
    import transformers

    torch.set_num_threads(1)
    torch.manual_seed(0)
    transformers.logging.set_verbosity_error()
    config = transformers.BertConfig(
        vocab_size=128,
        hidden_size=32,
        num_hidden_layers=2,
        num_attention_heads=2,
        intermediate_size=64,
    )
    model = transformers.BertForSequenceClassification(config)
    codes, labels = torch.randint(128, (512, 16)), torch.randint(2, (512,))
    samples = [
        {"input_ids": one, "labels": label} for one, label in zip(codes, labels, strict=True)
    ]
    return model, torch.optim.AdamW(model.parameters(), LR), samples


def bare(iterations):
    """By the loop written out, which never reads the loss."""
    model, optimizer, samples = task()
    loader = DataLoader(samples, 8, shuffle=True)
    endless = itertools.chain.from_iterable(itertools.repeat(loader))
    model.train()
    for batch in itertools.islice(endless, iterations):
        model(**batch).loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        optimizer.zero_grad()


def peer(iterations):
    """By transformers' ``Trainer``."""
    import transformers

    model, optimizer, samples = task()
    options = transformers.TrainingArguments(
        tempfile.mkdtemp(),
        max_steps=iterations,
        per_device_train_batch_size=8,
        lr_scheduler_type="constant",
        logging_steps=EVERY,
        save_strategy="no",
        report_to=[],
        use_cpu=True,
        disable_tqdm=True,
    )
    transformers.Trainer(
        model, options, train_dataset=samples, optimizers=(optimizer, None)
    ).train()


def ours(iterations):
    """By a runner."""
    from footplate import Runner

    model, optimizer, samples = task()
    Runner(
        model,
        tempfile.mkdtemp(),
        train_dataloader=DataLoader(samples, 8, shuffle=True),
        train_cfg={"max_iters": iterations},
        optim_wrapper={"optimizer": optimizer, "clip_grad": {"max_norm": 1.0}},
        visualizer=False,
        default_hooks={
            "logger": {"interval": EVERY, "progress_bar": False},
            "checkpoint": None,
            "report": None,
        },
    ).train()
