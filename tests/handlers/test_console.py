"""One readable line."""

from __future__ import annotations

import io

import torch

from footplate import Engine, Events
from footplate.handlers.console import Console
from footplate.handlers.evaluation import Evaluation


def test_a_line_says_where_the_run_stands_and_what_was_measured():
    out = io.StringIO()
    sgd = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=0.01)
    engine = Engine(lambda engine, batch: None, name="train")
    engine.state.metrics.update(loss=torch.tensor(0.25), count=3)
    engine.attach(Console(Events.ITERATION_COMPLETED(every=2), optimizer=sgd, stream=out))
    engine.run(range(4), max_iters=4)
    assert out.getvalue().splitlines() == [
        "train  epoch 1  iteration 2/4  lr 1.00e-02  loss 0.2500  count 3",
        "train  epoch 1  iteration 4/4  lr 1.00e-02  loss 0.2500  count 3",
    ]


def test_it_prints_behind_evaluation():
    out = io.StringIO()
    engine, evaluator = (Engine(lambda engine, batch: None) for _ in range(2))
    evaluator.on(Events.EPOCH_COMPLETED)(lambda e: e.state.metrics.update(fresh=7))
    engine.attach(Console(stream=out))
    engine.attach(Evaluation(evaluator, [0]))
    engine.run([0])
    assert out.getvalue() == "engine  epoch 1/1  iteration 1  val_fresh 7\n"
