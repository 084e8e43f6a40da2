"""Bars by rich: one line an engine, nothing where there is no terminal."""

from __future__ import annotations

import io

import pytest
import torch
from rich.console import Console

from footplate import Engine, Events
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.progress_bar import ProgressBar
from footplate.handlers.scalars import Scalars


def bars(terminal: bool) -> tuple[ProgressBar, io.StringIO]:
    out = io.StringIO()
    console = Console(file=out, force_terminal=terminal, width=100)
    return ProgressBar(metrics=["loss"], interval=0, console=console), out


@pytest.mark.covers("F2")
def test_nested_engines_have_lines_of_their_own():
    bar, out = bars(terminal=True)
    trainer = Engine(lambda engine, batch: None, name="train")
    evaluator = Engine(lambda engine, batch: None, name="val")
    trainer.state.metrics["loss"] = 0.5
    for engine in (trainer, evaluator):
        engine.attach(bar)
    trainer.attach(Evaluation(evaluator, range(3)))
    trainer.run(range(4), max_epochs=2)
    shown = out.getvalue()
    for expected in ("train [2/2]", "4/4", "val [1/1]", "3/3", "loss 0.5000"):
        assert expected in shown


@pytest.mark.covers("F2")
def test_it_is_quiet_where_there_is_no_terminal():
    bar, out = bars(terminal=False)
    trainer = Engine(lambda engine, batch: None)
    trainer.attach(bar)
    trainer.run(range(4))
    assert out.getvalue() == ""


@pytest.mark.covers("F2")
def test_a_run_that_raised_leaves_the_terminal_to_the_next():
    bar, out = bars(terminal=True)
    trainer = Engine(lambda engine, batch: 1 // batch)
    trainer.attach(bar)
    for _ in range(2):
        with pytest.raises(ZeroDivisionError):
            trainer.run([1, 0])
    shown, hidden = "\x1b[?25h", "\x1b[?25l"
    assert out.getvalue().rindex(shown) > out.getvalue().rindex(hidden)


@pytest.mark.covers("F2")
def test_a_resumed_run_shows_its_epoch_at_once():
    first = Engine(lambda engine, batch: None)
    first.on(Events.ITERATION_COMPLETED(once=5))(lambda engine: engine.interrupt())
    first.run(range(4), max_epochs=2)
    bar, out = bars(terminal=True)
    second = Engine(lambda engine, batch: None, name="train")
    second.attach(bar)
    second.load_state_dict(first.state_dict())
    second.run(range(4))
    assert "train [2/2]" in out.getvalue()


@pytest.mark.covers("F2")
def test_a_run_by_iterations_has_one_bar_to_its_end():
    bar, out = bars(terminal=True)
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(bar)
    trainer.run(range(4), max_iters=10)
    shown = out.getvalue()
    assert "10/10" in shown
    assert "train [" not in shown


@pytest.mark.covers("F2")
def test_a_plain_line_now_and_then_where_there_is_no_terminal():
    out = io.StringIO()
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(Scalars())
    trainer.on(Events.ITERATION_COMPLETED)(lambda e: e.log("shown", 0.5, bar=True, on="epoch"))
    trainer.attach(ProgressBar(plain=1e-9, console=Console(file=out)))
    trainer.run(range(2), max_epochs=2)
    assert out.getvalue().splitlines() == [
        "train [1/2] 1/2",
        "train [1/2] 2/2",
        "train [2/2] 1/2  shown 0.5000",
        "train [2/2] 2/2  shown 0.5000",
    ]


@pytest.mark.covers("F2")
def test_a_tensor_is_not_read_to_be_drawn():
    bar, out = bars(terminal=True)
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.state.metrics["loss"] = torch.tensor(0.5)
    trainer.attach(bar)
    trainer.run(range(2))
    assert "loss" not in out.getvalue()


@pytest.mark.covers("F2")
@pytest.mark.parametrize("name", ["acc[top1]", "acc[/top1]", "[bold]x"])
def test_names_with_brackets_are_shown_as_they_are(name):
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    trainer = Engine(lambda engine, batch: None, name=name)
    trainer.state.metrics[name] = 0.5
    trainer.attach(ProgressBar([name], interval=0, console=console))
    trainer.run(range(2))
    assert f"{name} [1/1]" in out.getvalue()
    assert f"{name} 0.5000" in out.getvalue()


@pytest.mark.covers("F2")
def test_a_bar_has_its_name_and_its_length_from_the_first():
    out = io.StringIO()
    console = Console(file=out, force_terminal=True, width=100)
    seen = []
    trainer = Engine(lambda engine, batch: seen.append(out.getvalue()), name="train")
    evaluator = Engine(lambda engine, batch: None, name="val")
    bar = ProgressBar(console=console)
    for engine in (trainer, evaluator):
        engine.attach(bar)
    trainer.attach(Evaluation(evaluator, range(3)))
    trainer.run(range(4))
    assert "train [1/1]" in seen[0]  # drawn before the first iteration, which may take long
    assert "0/4" in seen[0]
    assert "/100" not in out.getvalue()


@pytest.mark.covers("F2", "F6")
def test_what_is_not_logged_for_the_bar_stays_out_of_it():
    bar, out = bars(terminal=True)
    trainer = Engine(lambda engine, batch: engine.log("hidden", 1.0), name="train")
    trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=1)))
    trainer.attach(bar)
    trainer.on(Events.ITERATION_COMPLETED)(lambda e: e.log("shown", 0.5, bar=True))
    trainer.run(range(4))
    assert "shown 0.5000" in out.getvalue()
    assert "hidden" not in out.getvalue()
