"""Methods that Lightning 1.x had: a module of that time is trained as it was written."""

from __future__ import annotations

import asyncio
import copy
import email
import inspect
import re
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from sklearn.metrics import accuracy_score, f1_score
from torch.optim import AdamW

pytest.importorskip("lightning")
pytest.importorskip("transformers")
pytest.importorskip("datasets")

import datasets
from lightning.pytorch import Callback, LightningDataModule, LightningModule
from transformers import (
    AutoModelForSequenceClassification,
    BertConfig,
    get_linear_schedule_with_warmup,
)

from footplate.recipes.runner import Runner

pytestmark = pytest.mark.covers("C4")

QUIET = {"logger": None, "report": None, "runtime_info": None, "checkpoint": None}
WORDS, LENGTH = 512, 24


class Metric:
    """What ``datasets.load_metric("glue")`` gave, of scikit-learn's functions."""

    def compute(self, predictions: Any, references: Any) -> dict[str, float]:
        return {
            "accuracy": float(accuracy_score(references, predictions)),
            "f1": float(f1_score(references, predictions)),
        }


class GLUETransformer(LightningModule):
    """The module of the time, with a model that is drawn in the place of one that is fetched."""

    def __init__(
        self,
        config: Any,
        num_labels: int,
        task_name: str,
        learning_rate: float = 2e-3,
        adam_epsilon: float = 1e-8,
        warmup_steps: int = 2,
        weight_decay: float = 0.01,
        eval_splits: list[str] | None = None,
        **kwargs: Any,
    ) -> None:
        super().__init__()
        self.save_hyperparameters(ignore="config")
        self.config = config
        self.model = AutoModelForSequenceClassification.from_config(config)
        self.metric = Metric()

    def forward(self, **inputs):
        return self.model(**inputs)

    def training_step(self, batch, batch_idx):
        outputs = self(**batch)
        loss = outputs[0]
        return loss

    def validation_step(self, batch, batch_idx, dataloader_idx=0):
        outputs = self(**batch)
        val_loss, logits = outputs[:2]

        if self.hparams.num_labels > 1:
            preds = torch.argmax(logits, axis=1)
        elif self.hparams.num_labels == 1:
            preds = logits.squeeze()

        labels = batch["labels"]

        return {"loss": val_loss, "preds": preds, "labels": labels}

    def validation_epoch_end(self, outputs):
        if self.hparams.task_name == "mnli":
            for i, output in enumerate(outputs):
                # matched or mismatched
                split = self.hparams.eval_splits[i].split("_")[-1]
                preds = torch.cat([x["preds"] for x in output]).detach().cpu().numpy()
                labels = torch.cat([x["labels"] for x in output]).detach().cpu().numpy()
                loss = torch.stack([x["loss"] for x in output]).mean()
                self.log(f"val_loss_{split}", loss, prog_bar=True)
                split_metrics = {
                    f"{k}_{split}": v
                    for k, v in self.metric.compute(predictions=preds, references=labels).items()
                }
                self.log_dict(split_metrics, prog_bar=True)
            return loss

        preds = torch.cat([x["preds"] for x in outputs]).detach().cpu().numpy()
        labels = torch.cat([x["labels"] for x in outputs]).detach().cpu().numpy()
        loss = torch.stack([x["loss"] for x in outputs]).mean()
        self.log("val_loss", loss, prog_bar=True)
        self.log_dict(self.metric.compute(predictions=preds, references=labels), prog_bar=True)

    def configure_optimizers(self):
        """Prepare optimizer and schedule (linear warmup and decay)"""
        model = self.model
        no_decay = ["bias", "LayerNorm.weight"]
        optimizer_grouped_parameters = [
            {
                "params": [
                    p for n, p in model.named_parameters() if not any(nd in n for nd in no_decay)
                ],
                "weight_decay": self.hparams.weight_decay,
            },
            {
                "params": [
                    p for n, p in model.named_parameters() if any(nd in n for nd in no_decay)
                ],
                "weight_decay": 0.0,
            },
        ]
        optimizer = AdamW(
            optimizer_grouped_parameters,
            lr=self.hparams.learning_rate,
            eps=self.hparams.adam_epsilon,
        )

        scheduler = get_linear_schedule_with_warmup(
            optimizer,
            num_warmup_steps=self.hparams.warmup_steps,
            num_training_steps=self.trainer.estimated_stepping_batches,
        )
        scheduler = {"scheduler": scheduler, "interval": "step", "frequency": 1}
        return [optimizer], [scheduler]


class Docstrings(LightningDataModule):
    """Lines of the documentation of two packages: which of them is it?"""

    def __init__(self, splits: tuple[str, ...] = ("validation",)) -> None:
        super().__init__()
        self.splits = splits

    def setup(self, stage: str) -> None:
        lines = [(line, 0) for line in _lines(email)] + [(line, 1) for line in _lines(asyncio)]
        numbers = [[1 + hash_of(word) for word in line.split()][:LENGTH] for line, _ in lines]
        made = datasets.Dataset.from_dict(
            {
                "input_ids": [one + [0] * (LENGTH - len(one)) for one in numbers],
                "attention_mask": [[1] * len(one) + [0] * (LENGTH - len(one)) for one in numbers],
                "labels": [label for _, label in lines],
            }
        )
        self.dataset = made.with_format("torch").train_test_split(0.3, seed=1)

    def train_dataloader(self) -> Any:
        return torch.utils.data.DataLoader(self.dataset["train"], batch_size=16)

    def val_dataloader(self) -> Any:
        loaders = [
            torch.utils.data.DataLoader(self.dataset["test"].shard(len(self.splits), n), 16)
            for n in range(len(self.splits))
        ]
        return loaders if len(loaders) > 1 else loaders[0]


def hash_of(word: str) -> int:
    return sum(ord(letter) * 31**place for place, letter in enumerate(word[:8])) % (WORDS - 1)


def _lines(package: Any) -> list[str]:
    """Lines that somebody has written about a package."""
    found: list[str] = []
    for _, module in inspect.getmembers(package, inspect.ismodule):
        for _, one in inspect.getmembers(module, inspect.isclass):
            found += re.findall(r"\w[^\n]{30,}", one.__doc__ or "")
    return sorted(set(found))[:120]


def _config() -> Any:
    return BertConfig(
        vocab_size=WORDS,
        hidden_size=16,
        num_hidden_layers=1,
        num_attention_heads=2,
        intermediate_size=16,
        max_position_embeddings=LENGTH,
        hidden_dropout_prob=0.0,
        attention_probs_dropout_prob=0.0,
        num_labels=2,
    )


def _runner(module: Any, folder: Any, data: Any, **options: Any) -> Runner:
    given = {"default_hooks": QUIET, "visualizer": False, "train_cfg": {"max_epochs": 2}}
    return Runner(module, folder, train_dataloader=data, **{**given, **options})


def test_the_glue_module_of_the_time_is_trained_as_by_hand(tmp_path):
    torch.manual_seed(1)
    module = GLUETransformer(_config(), num_labels=2, task_name="mrpc")
    other = copy.deepcopy(module)
    runner = _runner(module, tmp_path, Docstrings(), train_cfg={"max_epochs": 3})
    runner.train()
    expected = _trained_by_hand(other, epochs=3)
    assert runner.trainer.state.metrics == pytest.approx(expected, rel=1e-6)
    for name, value in other.state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name


def _trained_by_hand(module: GLUETransformer, epochs: int) -> dict[str, float]:
    """What a plain loop makes of the module; returns what it measures in the end."""
    data = Docstrings()
    data.setup("fit")
    loader, by_epoch = data.train_dataloader(), []
    module.trainer = SimpleNamespace(estimated_stepping_batches=epochs * len(loader))
    [optimizer], [scheduler] = module.configure_optimizers()
    for _ in range(epochs):
        module.train()
        for batch in loader:
            optimizer.zero_grad()
            module.training_step(batch, 0).backward()
            optimizer.step()
            scheduler["scheduler"].step()
        module.eval()
        with torch.no_grad():
            by_epoch.append([module.validation_step(one, 0) for one in data.val_dataloader()])
    last = {name: [one[name] for one in by_epoch[-1]] for name in ("loss", "preds", "labels")}
    measured = Metric().compute(torch.cat(last["preds"]), torch.cat(last["labels"]))
    return {"val_loss": float(torch.stack(last["loss"]).mean()), **measured}


def test_several_splits_come_as_a_list_of_each(tmp_path):
    splits = ("validation_matched", "validation_mismatched")
    module = GLUETransformer(_config(), num_labels=2, task_name="mnli", eval_splits=list(splits))
    runner = _runner(module, tmp_path, Docstrings(splits), train_cfg={"max_epochs": 1})
    runner.train()
    assert {"accuracy_matched", "f1_mismatched"} <= runner.trainer.state.metrics.keys()


class Linear(LightningModule):
    """A layer; its tests add what they are about."""

    def __init__(self) -> None:
        super().__init__()
        self.layer = torch.nn.Linear(2, 1)
        self.seen: list[Any] = []

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


BATCHES = [torch.ones(2, 2) * n for n in range(3)]


def test_training_epoch_end_has_all_outputs(tmp_path):
    class Module(Linear):
        def training_step(self, batch, batch_idx):
            return {"loss": self.layer(batch).mean(), "number": batch_idx}

        def training_epoch_end(self, outputs):
            self.seen.append([one["number"] for one in outputs])
            assert all(not one["loss"].requires_grad for one in outputs)

        def on_train_epoch_end(self):
            self.seen.append("end")

    runner = _runner(Module(), tmp_path, BATCHES)
    runner.train()
    assert runner.model.seen == [[0, 1, 2], "end"] * 2


def test_training_epoch_end_has_those_of_an_epoch_that_a_limit_has_cut(tmp_path):
    class Module(Linear):
        def training_step(self, batch, batch_idx):
            return self.layer(batch).mean()

        def training_epoch_end(self, outputs):
            self.seen.append((self.current_epoch, len(outputs)))

    runner = _runner(Module(), tmp_path, BATCHES, train_cfg={"max_steps": 5})
    runner.train()
    assert runner.model.seen == [(0, 3), (1, 2)]


def test_outputs_of_a_validation_behind_an_epoch_that_was_cut_are_all_there(tmp_path):
    class Module(Linear):
        def on_train_batch_start(self, batch, batch_idx):
            return -1 if batch_idx else None

        def training_step(self, batch, batch_idx):
            return self.layer(batch).mean()

        def training_epoch_end(self, outputs):
            self.seen.append(len(outputs))

        def validation_step(self, batch, batch_idx):
            return batch_idx

        def validation_epoch_end(self, outputs):
            self.seen.append(outputs)

    runner = _runner(Module(), tmp_path, BATCHES, val_dataloader=BATCHES)
    runner.train()
    assert runner.model.seen == [[0, 1, 2], 1] * 2


def test_outputs_of_an_epoch_that_was_left_are_there_when_it_goes_on(tmp_path):
    class Module(Linear):
        def training_step(self, batch, batch_idx):
            return {"loss": self.layer(batch).mean(), "number": batch_idx}

        def training_epoch_end(self, outputs):
            self.seen.append([one["number"] for one in outputs])

    hooks = {**QUIET, "checkpoint": {"interval": 1, "by_epoch": False}}
    for iters in (5, 6):
        runner = _runner(
            Module(),
            tmp_path,
            BATCHES,
            train_cfg={"max_iters": iters},
            default_hooks=hooks,
            experiment_name="run",
            resume=iters == 6,
        )
        runner.train()
    assert runner.model.seen == [[0, 1, 2]]


def test_pretrain_routines_are_told_callbacks_first(tmp_path):
    class Module(Linear):
        def training_step(self, batch, batch_idx):
            return self.layer(batch).mean()

        def on_fit_start(self):
            self.seen.append("fit")

        def on_pretrain_routine_start(self):
            self.seen.append("module")

        def on_pretrain_routine_end(self):
            self.seen.append("end")

    class Early(Callback):
        def on_pretrain_routine_start(self, trainer, pl_module):
            pl_module.seen.append("callback")

    runner = _runner(Module(), tmp_path, BATCHES, custom_hooks=[Early()])
    runner.train()
    assert runner.model.seen == ["fit", "callback", "module", "end"]


def test_step_ends_have_the_last_word(tmp_path):
    class Module(Linear):
        def training_step(self, batch, batch_idx):
            return {"parts": self.layer(batch)}

        def training_step_end(self, outputs):
            return outputs["parts"].mean()

        def validation_step(self, batch, batch_idx):
            return self.layer(batch)

        def validation_step_end(self, outputs):
            return outputs.sum()

        def validation_epoch_end(self, outputs):
            self.seen = [tuple(one.shape) for one in outputs]

    runner = _runner(Module(), tmp_path, BATCHES, val_dataloader=BATCHES)
    runner.train()
    assert runner.model.seen == [()] * 3


class Pair(LightningModule):
    """Two layers that play against each other, as it was written in Lightning 1.x."""

    def __init__(self) -> None:
        super().__init__()
        self.one, self.two = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
        self.seen: list[Any] = []

    def training_step(self, batch, batch_idx, optimizer_idx):
        trained = [name for name, one in self.named_parameters() if one.requires_grad]
        self.seen.append((batch_idx, optimizer_idx, {name[:3] for name in trained}))
        loss = self.two(self.one(batch)).square().mean()
        return -loss if optimizer_idx else loss

    def configure_optimizers(self):
        return [torch.optim.SGD(one.parameters(), lr=0.1) for one in (self.one, self.two)]


def test_each_optimizer_has_its_turn_with_its_own_parameters(tmp_path):
    torch.manual_seed(3)
    module = Pair()
    state = {name: one.clone() for name, one in module.state_dict().items()}
    _runner(module, tmp_path, BATCHES[1:], train_cfg={"max_epochs": 1}).train()
    assert module.seen == [(n, idx, {("one", "two")[idx]}) for n in (0, 1) for idx in (0, 1)]
    assert all(one.requires_grad for one in module.parameters())
    assert _by_hand(state).keys() == module.state_dict().keys()
    for name, value in _by_hand(state).items():
        assert torch.equal(value, module.state_dict()[name]), name


def _by_hand(state: dict[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    one, two = torch.nn.Linear(2, 2), torch.nn.Linear(2, 1)
    whole = torch.nn.ModuleDict({"one": one, "two": two})
    whole.load_state_dict(state)
    optimizers = [torch.optim.SGD(part.parameters(), lr=0.1) for part in (one, two)]
    for batch in BATCHES[1:]:
        for idx, optimizer in enumerate(optimizers):
            loss = two(one(batch)).square().mean()
            whole.zero_grad()
            (-loss if idx else loss).backward()
            optimizer.step()
    return whole.state_dict()


class Recurrent(LightningModule):
    """A recurrent net over long sequences, which are taken apart."""

    truncated_bptt_steps = 2

    def __init__(self) -> None:
        super().__init__()
        self.net = torch.nn.RNN(1, 3, batch_first=True)
        self.out = torch.nn.Linear(3, 1)
        self.seen: list[Any] = []

    def training_step(self, batch, batch_idx, hiddens):
        x, y = batch
        self.seen.append((batch_idx, tuple(x.shape), hiddens is None or hiddens.requires_grad))
        outputs, hiddens = self.net(x, hiddens)
        loss = (self.out(outputs) - y).square().mean()
        return {"loss": loss, "hiddens": hiddens}

    def configure_optimizers(self):
        return torch.optim.SGD(self.parameters(), lr=0.1)


def test_long_sequences_are_trained_in_splits(tmp_path):
    torch.manual_seed(4)
    module = Recurrent()
    state = {name: one.clone() for name, one in module.state_dict().items()}
    batches = [(torch.ones(2, 5, 1) * n, torch.zeros(2, 5, 1)) for n in range(2)]
    _runner(module, tmp_path, batches, train_cfg={"max_epochs": 1}).train()
    shapes = [(2, 2, 1), (2, 2, 1), (2, 1, 1)]
    flags = [True, False, False]
    assert module.seen == [
        (n, shape, flag) for n in (0, 1) for shape, flag in zip(shapes, flags, strict=True)
    ]
    other = Recurrent()
    other.load_state_dict(state)
    sgd = torch.optim.SGD(other.parameters(), lr=0.1)
    for x, y in batches:
        hiddens = None
        for start in (0, 2, 4):
            part = x[:, start : start + 2], y[:, start : start + 2]
            returned = other.training_step(part, 0, hiddens)
            hiddens = returned["hiddens"].detach()
            sgd.zero_grad()
            returned["loss"].backward()
            sgd.step()
    for name, value in other.state_dict().items():
        assert torch.equal(value, module.state_dict()[name]), name
