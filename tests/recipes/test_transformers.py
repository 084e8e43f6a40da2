"""Models of transformers run unmodified, and as their own trainer and a plain loop train them."""

from __future__ import annotations

import shutil
from operator import itemgetter

import pytest
import torch
from ignite.metrics import Accuracy, Average
from safetensors.torch import load_file
from torch.utils.data import DataLoader

from footplate.engine.events import Events
from footplate.engine.step.groups import default_optimizer
from footplate.engine.step.model_output import ModelOutput
from footplate.handlers.lr_schedule import LRSchedule
from footplate.recipes.runner import Runner

transformers = pytest.importorskip("transformers")
torchmetrics = pytest.importorskip("torchmetrics")

from tests.recipes.transformers_task import (  # noqa: E402 - where transformers is there
    BATCH,
    LENGTH,
    Rows,
    classifier,
    configured,
    data,
    models,
    texts,
    trained_losses,
)

pytestmark = [
    pytest.mark.covers("C3"),
    # of accelerate's own
    pytest.mark.filterwarnings("ignore:.*pin_memory:UserWarning"),
]


def same(one, other):
    pairs = zip(one.state_dict().items(), other.state_dict().items(), strict=True)
    return all(a == b and torch.equal(x, y) for (a, x), (b, y) in pairs)


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
@pytest.mark.parametrize("name", models)
def test_each_kind_of_model_learns(tmp_path, name, precision):
    kind = {"type": "AmpOptimWrapper", "dtype": "bfloat16"} if precision == "bf16" else {}
    made = Runner(
        **configured(
            tmp_path,
            name,
            train_cfg={"max_epochs": 4},
            optim_wrapper={"optimizer": {"type": "AdamW", "lr": 3e-3}, **kind},
        )
    )
    losses = trained_losses(made)
    assert isinstance(made.model, transformers.PreTrainedModel)
    assert sum(losses[-15:]) < 0.95 * sum(losses[:15])
    assert all(one.dtype is torch.float32 for one in made.model.parameters())


def test_training_reports_losses_and_lets_go_of_the_logits(tmp_path):
    made = Runner(**configured(tmp_path, train_cfg={"max_iters": 1}))
    made.train()
    assert list(made.trainer.state.output) == ["loss"]


@pytest.mark.covers("E1", "E2")
def test_an_evaluation_gives_metrics_their_pair_and_the_loss(tmp_path):
    val = {"dataset": texts(40), "batch_size": 10}
    metrics = {
        "accuracy": Accuracy(),
        "recall": torchmetrics.Recall(task="multiclass", num_classes=2, average="macro"),
        "loss": Average(itemgetter("loss")),
    }
    made = Runner(**configured(tmp_path, val_dataloader=val, val_evaluator=metrics))
    made.train()
    told = made.val()
    with torch.no_grad():
        logits, losses = [], []
        for at in range(0, 40, 10):
            rows = [{**texts(40)[one]} for one in range(at, at + 10)]
            batch = torch.utils.data.default_collate(rows)
            batch.pop("number")
            answer = made.model.eval()(**batch)
            logits.append(answer.logits)
            losses.append(answer.loss)
    right = (torch.cat(logits).argmax(1) == torch.arange(40) % 2).float()
    assert told["accuracy"] == pytest.approx(right.mean().item())
    assert told["recall"] == pytest.approx((right[::2].mean() + right[1::2].mean()).item() / 2)
    assert told["loss"] == pytest.approx(torch.stack(losses).mean().item())


@pytest.mark.parametrize("name", ["classifier", "language_model", "image_classifier"])
def test_a_prediction_needs_no_labels(tmp_path, name):
    made = Runner(**configured(tmp_path, name, train_cfg={"max_iters": 1}))
    made.train()
    rows = data[name]()
    del rows.columns["labels"]
    logits = made.predict(DataLoader(rows, 50))
    assert logits.shape[0] == len(rows)
    batch = {key: one[-3:] for key, one in rows.columns.items() if key != "number"}
    with torch.no_grad():
        expected = made.model.eval()(**batch).logits
    torch.testing.assert_close(logits[-3:], expected)


def test_a_text_can_be_generated_in_the_place_of_logits(tmp_path):
    class Generated(ModelOutput):
        def predict(self, engine, batch):
            return self.model.generate(batch["input_ids"], max_length=LENGTH, do_sample=False)

    made = Runner(**configured(tmp_path, "language_model", train_cfg={"max_iters": 1}))
    made.train()
    again = Runner(
        **configured(
            tmp_path,
            "language_model",
            model=made.model,
            predict_cfg={"contract": Generated(made.model)},
        )
    )
    prompts = data["language_model"]().columns["input_ids"][:2, :20]
    generated = again.predict([{"input_ids": prompts}])
    assert generated.shape == (2, LENGTH)
    assert torch.equal(generated[:, :20], prompts)


class Seeded(transformers.TrainerCallback):
    """Begins with the random numbers that the others begin with."""

    def on_train_begin(self, args, state, control, **others):
        torch.manual_seed(11)


def trained_by_transformers(folder, model, batches, optimizer=None, **more):
    """The losses of a ``Trainer``."""
    losses = []

    class Trainer(transformers.Trainer):
        def get_train_dataloader(self):
            return DataLoader(batches, batch_size=None)

        def training_step(self, *args, **kwargs):
            loss = super().training_step(*args, **kwargs)
            losses.append(loss.item())
            return loss

    options = transformers.TrainingArguments(
        str(folder),
        num_train_epochs=1,
        max_grad_norm=0.5,
        report_to=[],
        save_strategy="no",
        logging_strategy="no",
        use_cpu=True,
        disable_tqdm=True,
        **{"lr_scheduler_type": "constant", **more},
    )
    Trainer(
        model, options, train_dataset=batches, optimizers=(optimizer, None), callbacks=[Seeded()]
    ).train()
    return losses


def by_a_plain_loop(model, batches):
    """The losses of a loop written out."""
    optimizer = torch.optim.AdamW(model.parameters(), 3e-3)
    torch.manual_seed(11)
    model.train()
    losses = []
    for batch in DataLoader(batches, batch_size=None):
        loss = model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        optimizer.zero_grad()
        losses.append(loss.item())
    return losses


def thirty_batches(name):
    columns = {key: one for key, one in data[name]().columns.items() if key != "number"}
    batches = [
        {key: one[at : at + BATCH] for key, one in columns.items()} for at in range(0, 120, BATCH)
    ]
    return batches * 2


def made_model(name):
    torch.manual_seed(3)
    return classifier(dropout=0.1) if name == "classifier" else models[name]()


@pytest.mark.parametrize("name", ["classifier", "image_classifier"])
def test_thirty_steps_are_those_of_its_own_trainer_and_of_a_plain_loop(tmp_path, name):
    pytest.importorskip("accelerate")
    batches = thirty_batches(name)
    model = made_model(name)
    made = Runner(
        **configured(
            tmp_path,
            name,
            model=model,
            train_dataloader=DataLoader(batches, batch_size=None),
            train_cfg={"max_epochs": 1},
            optim_wrapper={
                "optimizer": torch.optim.AdamW(model.parameters(), 3e-3),
                "clip_grad": {"max_norm": 0.5},
            },
        )
    )
    made.trainer.add_event_handler(Events.STARTED, lambda: torch.manual_seed(11))
    ours, theirs = trained_losses(made), made_model(name)
    assert len(ours) == 30
    adam = torch.optim.AdamW(theirs.parameters(), 3e-3)
    assert ours == trained_by_transformers(tmp_path / "theirs", theirs, batches, adam)
    assert same(model, theirs)
    plain = made_model(name)
    assert ours == by_a_plain_loop(plain, batches)
    assert same(model, plain)


@pytest.mark.covers("K5")
def test_decay_of_two_groups_and_a_linear_warm_up_are_those_of_its_own_trainer(tmp_path):
    pytest.importorskip("accelerate")
    batches, model = thirty_batches("classifier"), made_model("classifier")
    optimizer = default_optimizer(model, lr=3e-3, weight_decay=0.1)
    assert [group["weight_decay"] for group in optimizer.param_groups] == [0.1, 0.0]
    schedule = transformers.get_linear_schedule_with_warmup(optimizer, 6, 30)
    made = Runner(
        **configured(
            tmp_path,
            model=model,
            train_dataloader=DataLoader(batches, batch_size=None),
            train_cfg={"max_epochs": 1},
            optim_wrapper={"optimizer": optimizer, "clip_grad": {"max_norm": 0.5}},
            custom_hooks=[LRSchedule(schedule, "step")],
        )
    )
    made.trainer.add_event_handler(Events.STARTED, lambda: torch.manual_seed(11))
    ours, theirs = trained_losses(made), made_model("classifier")
    assert ours == trained_by_transformers(
        tmp_path / "theirs",
        theirs,
        batches,
        learning_rate=3e-3,
        weight_decay=0.1,
        optim="adamw_torch",
        lr_scheduler_type="linear",
        warmup_steps=6,
    )
    assert same(model, theirs)


@pytest.mark.covers("K5")
def test_windows_that_weigh_tokens_are_those_of_its_own_trainer(tmp_path):
    """To the rounding: that one divides each sum of losses, and ours their total."""
    pytest.importorskip("accelerate")
    batches = thirty_batches("language_model")
    for number, batch in enumerate(batches):
        batch["labels"] = batch["labels"].clone()
        batch["labels"][:, LENGTH - number % 7 * 3 :] = -100  # padding
    model, theirs = made_model("language_model"), made_model("language_model")
    made = Runner(
        **configured(
            tmp_path,
            model=model,
            train_dataloader=DataLoader(batches, batch_size=None),
            train_cfg={
                "max_epochs": 1,
                "weigh": lambda batch: (batch["labels"][:, 1:] != -100).sum(),
            },
            optim_wrapper={
                "optimizer": torch.optim.AdamW(model.parameters(), 3e-3),
                "accumulative_counts": 2,
                "clip_grad": {"max_norm": 0.5},
            },
        )
    )
    made.trainer.add_event_handler(Events.STARTED, lambda: torch.manual_seed(11))
    made.train()
    adamw = torch.optim.AdamW(theirs.parameters(), 3e-3)
    trained_by_transformers(
        tmp_path / "theirs", theirs, batches, adamw, gradient_accumulation_steps=2
    )
    for ours, its in zip(model.parameters(), theirs.parameters(), strict=True):
        torch.testing.assert_close(ours, its, rtol=0, atol=5e-5)


@pytest.mark.covers("G4")
def test_a_run_resumes_amid_an_epoch_with_its_dropout(tmp_path):
    def made(folder, **changes):
        checkpoint = {"interval": 22, "by_epoch": False}
        hooks = {**configured(folder)["default_hooks"], "checkpoint": checkpoint}
        model = classifier(dropout=0.2)
        return Runner(**configured(folder, model=model, default_hooks=hooks, **changes))

    whole = made(tmp_path / "whole")
    losses = trained_losses(whole)
    cut = made(tmp_path / "cut")
    cut.trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=22), lambda engine: engine.interrupt()
    )
    first = trained_losses(cut)
    rest = made(tmp_path / "cut", resume=str(cut.folder))
    assert first + trained_losses(rest) == losses
    assert len(first) == 22
    assert same(whole.model, rest.model)


@pytest.mark.covers("G8")
@pytest.mark.parametrize("name", ["classifier", "language_model"])
def test_the_weights_go_to_transformers_and_come_from_there(tmp_path, name):
    hooks = {**configured(tmp_path)["default_hooks"], "checkpoint": {}}
    arguments = configured(tmp_path, name, default_hooks=hooks, train_cfg={"max_epochs": 1})
    made = Runner(**arguments)
    made.train()
    (saved,) = (made.folder / "checkpoints").iterdir()
    folder = tmp_path / "for transformers"
    made.model.config.save_pretrained(folder)
    shutil.copy(saved / "model.safetensors", folder)
    assert same(type(made.model).from_pretrained(folder), made.model)

    made.model.save_pretrained(tmp_path / "of transformers")
    file = tmp_path / "of transformers" / "model.safetensors"
    ours, theirs = load_file(saved / "model.safetensors"), load_file(file)
    tied = {"lm_head.weight", "transformer.wte.weight"}  # one tensor, which each names once
    assert ours.keys() - tied == theirs.keys() - tied
    again = Runner(**configured(tmp_path, name, load_from=str(file)))
    again.predict([{key: one[None] for key, one in data[name]()[0].items()}])
    assert same(again.model, made.model)


@pytest.mark.parametrize("way", ["theirs", "ours"])
def test_recomputed_activations_change_nothing(tmp_path, way):
    plain = trained_losses(Runner(**configured(tmp_path, train_cfg={"max_iters": 8})))
    model = configured(tmp_path)["model"]
    options = {"max_iters": 8}
    if way == "theirs":
        model.activation_checkpointing_enable()
    else:
        options["recompute"] = "bert.encoder.layer.*"
    assert trained_losses(Runner(**configured(tmp_path, model=model, train_cfg=options))) == plain


def test_a_batch_of_a_tokenizer_goes_to_the_model_as_it_is(tmp_path):
    rows = texts(16)
    batch = transformers.BatchEncoding(
        {name: one[:8] for name, one in rows.columns.items() if name != "number"}
    )
    one = Runner(**configured(tmp_path, train_dataloader=[batch], train_cfg={"max_iters": 1}))
    plain = Runner(
        **configured(tmp_path, train_dataloader=[dict(batch)], train_cfg={"max_iters": 1})
    )
    assert trained_losses(one) == trained_losses(plain)


def test_labels_of_another_name_are_an_error_that_says_so(tmp_path):
    columns = texts().columns
    rows = Rows(input_ids=columns["input_ids"], label=columns["labels"])
    made = Runner(**configured(tmp_path, train_dataloader={"dataset": rows, "batch_size": 8}))
    with pytest.raises(ValueError, match="does not take label; rename the labels"):
        made.train()
