"""A run whose evaluation comes again when it goes on, for tests of what sinks make of that."""

from __future__ import annotations

import signal

import pytest
import torch

from footplate import Engine, Events
from footplate.engine.stream.media import show
from footplate.handlers.checkpoint import Checkpoint
from footplate.handlers.evaluation import Evaluation
from footplate.handlers.scalars import Scalars

DATA = [1.0, 2.0, 3.0]
WAYS = ("cut", "at the end", "cut, then killed")
"""How it is repeated: a signal cut it, its event was behind the last checkpoint, or both."""

EXPECTED = {
    "cut": [(2, 1.0), (2, 2.0), (2, 3.0), (4, 1.0), (4, 2.0), (4, 3.0)],
    "at the end": [(4, 1.0), (4, 2.0), (4, 3.0)],
}
EXPECTED["cut, then killed"] = EXPECTED["cut"]
"""Step and loss of each row of the evaluator, once."""


def made(folder, sink, *, both, at=Events.EPOCH_COMPLETED, cut_at=None):
    """A trainer and its checkpoint; the sink is the evaluator's, or that of both.

    Args:
        folder: where the checkpoints go.
        sink: the sink.
        both: whether it is the trainer's, too.
        at: when there is an evaluation.
        cut_at: in which iteration of the first evaluation Ctrl-C comes.
    """

    cuts = iter([cut_at])

    def step(engine, batch):
        if cut_at == engine.state.iteration and next(cuts, None):
            signal.raise_signal(signal.SIGINT)
        show(engine, "text", "said", str(batch))
        return {"loss": batch}

    trainer = Engine(lambda engine, batch: {"loss": batch}, name="train")
    evaluator = Engine(step, name="val")
    for engine in (trainer, evaluator) if both else (evaluator,):
        engine.attach(Scalars(Events.ITERATION_COMPLETED(every=1), epoch_suffix=None))
        engine.attach(sink)
    trainer.attach(Evaluation(evaluator, DATA, at))
    return trainer, trainer.attach(Checkpoint(folder, torch.nn.Linear(1, 1)))


def repeat(folder, make_sink, way, *, both, in_process=False):
    """Run as the way says, and go on to the end of the second epoch; return the last sink.

    Args:
        folder: where the checkpoints go.
        make_sink: makes a sink for each process.
        way: one of :data:`WAYS`.
        both: whether the sink is the trainer's, too.
        in_process: whether the cut run goes on in its process.
    """
    at = Events.COMPLETED if way == "at the end" else Events.EPOCH_COMPLETED
    cut_at = None if way == "at the end" else 2
    sink = make_sink()
    trainer, _ = made(folder, sink, both=both, at=at, cut_at=cut_at)
    if cut_at is None:
        trainer.run([5.0, 6.0], max_epochs=2)
    else:
        with pytest.raises(KeyboardInterrupt):
            trainer.run([5.0, 6.0], max_epochs=2)
    if in_process:
        trainer.run()
        return sink
    for last in range(2 if way == "cut, then killed" else 1):
        sink = make_sink()
        trainer, checkpoint = made(folder, sink, both=both, at=at)
        assert checkpoint.resume(trainer) is not None
        if way == "cut, then killed" and not last:  # behind the evaluation, ahead of a checkpoint
            trainer.on(Events.EPOCH_COMPLETED, priority="LOWEST")(lambda: 1 / 0)
            with pytest.raises(ZeroDivisionError):
                trainer.run([5.0, 6.0])
        else:
            trainer.run([5.0, 6.0])
    return sink
