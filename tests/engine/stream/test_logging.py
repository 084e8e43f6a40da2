"""Models log without an engine at hand, to the one that runs."""

from __future__ import annotations

import threading

import pytest
import torch

import footplate
from footplate import Engine
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.scalars import Scalars


def model(batch: torch.Tensor) -> None:
    footplate.log("mean", batch.mean())
    footplate.log("over_the_epoch", batch.mean(), on="epoch", weight=1)


def made(name: str) -> Engine:
    engine = Engine(lambda engine, batch: model(batch), name=name)
    engine.attach(Scalars())
    return engine


def batches(*values: float) -> list[torch.Tensor]:
    return [torch.full((2,), value) for value in values]


@pytest.mark.covers("F6")
def test_a_model_logs_to_the_engine_that_runs_it() -> None:
    trainer, evaluator = made("train"), made("val")
    trainer.attach(Evaluation(evaluator, batches(7.0)))
    model(torch.ones(2))  # outside of any run it goes nowhere
    trainer.run(batches(1.0, 3.0))
    assert trainer.history["mean"].values == [(1, 1.0), (2, 3.0)]
    assert trainer.state.metrics["over_the_epoch"] == 2.0
    assert evaluator.state.metrics["over_the_epoch"] == 7.0
    model(torch.full((2,), 9.0))
    assert trainer.history["mean"].values == [(1, 1.0), (2, 3.0)]


@pytest.mark.covers("F6")
def test_runs_in_several_threads_have_each_its_own() -> None:
    engines = [made(f"train {number}") for number in range(4)]
    begin = threading.Barrier(len(engines))

    def run(engine: Engine, value: float) -> None:
        begin.wait()
        engine.run(batches(*[value] * 50))

    threads = [
        threading.Thread(target=run, args=(engine, float(number)))
        for number, engine in enumerate(engines)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    for number, engine in enumerate(engines):
        assert {value for _, value in engine.history["mean"].values} == {float(number)}
