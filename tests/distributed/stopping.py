"""A training run of several processes that is told to stop, or fails; one process of it.

    python -m tests.distributed.stopping FOLDER [--case CASE] [--resume] [--epochs N] …

It prints a line for each iteration, and at its end a line with what came out.
"""

from __future__ import annotations

import argparse
import json
import os
import signal
import sys
import time
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F

from footplate import Engine, Events, Signalled
from footplate.engine.placement.agreement import agreement_of
from footplate.engine.placement.launching import join
from footplate.engine.placement.ranks import rank, world_size
from footplate.engine.placement.replicated import Replicated
from footplate.engine.step.training import training_step
from footplate.handlers.limits import MaxTime
from footplate.handlers.requeue import Requeue
from footplate.handlers.scalars import Scalars
from footplate.handlers.stop_together import StopTogether

BATCHES, FAULTY, AT = 40, 1, 12


class Run:
    """What is trained, and where it is saved."""

    def __init__(self, options: argparse.Namespace) -> None:
        self.options = options
        self.file = Path(options.folder) / f"rank{rank()}.pt"
        torch.manual_seed(3)
        placement = Replicated("cpu")
        self.model = placement.place(nn.Linear(4, 1))
        self.optimizer = torch.optim.SGD(self.model.parameters(), lr=0.05, momentum=0.9)
        step = training_step(self.model, self.optimizer, F.mse_loss, placement=placement)
        self.trainer = Engine(step, name="train")
        self.counts, self.before = counted(), {}
        first = Events.EXCEPTION_RAISED  # and so before all that handlers do about it
        self.trainer.add_event_handler(first, self.note, priority="HIGHEST")
        self.trainer.attach(Scalars(Events.ITERATION_COMPLETED(every=5)))
        self.trainer.attach(StopTogether(grace=options.grace, signals=(signal.SIGTERM,)))
        self.trainer.attach(Requeue())
        self.trainer.add_event_handler(Events.ITERATION_COMPLETED, self.pause)
        self.trainer.add_event_handler(Events.SAFE_POINT, self.save, priority="VERY_LOW")
        if options.case == "limit" and rank() == FAULTY:
            self.trainer.attach(MaxTime(options.seconds_in_all))
        elif options.case == "limit":
            self.trainer.attach(MaxTime(1000))
        if options.case == "evaluates":
            evaluator = Engine(lambda engine, batch: time.sleep(0.05), name="val")
            rare = Events.ITERATION_COMPLETED(once=AT)
            self.trainer.add_event_handler(rare, lambda: self.evaluated(evaluator))

    def note(self, engine: Engine, exception: BaseException) -> None:
        self.before = dict(self.counts)

    def data(self) -> list[tuple[torch.Tensor, torch.Tensor]]:
        generator = torch.Generator().manual_seed(rank())
        x = torch.randn(BATCHES, 3, 4, generator=generator)
        return [(one, one.sum(1, keepdim=True)) for one in x]

    def pause(self, engine: Engine) -> None:
        say("iteration", engine.state.iteration)
        time.sleep(self.options.pause * (1 + rank()))
        if rank() == FAULTY and engine.state.iteration == AT:
            fault(self.options.case)

    def evaluated(self, evaluator: Engine) -> None:
        """Each process has another number of batches, and all wait for each other at the end."""
        say("evaluates", 0)
        evaluator.run(range(10 + 5 * rank()))
        torch.distributed.barrier()
        say("evaluated", evaluator.state.iteration)

    def save(self, engine: Engine) -> None:
        stopped = engine.state.reason == "signalled"
        if stopped or engine.state.iteration % 10 == 0:
            state = {
                "engine": engine.state_dict(),
                "model": self.model.state_dict(),
                "optimizer": self.optimizer.state_dict(),
            }
            torch.save(state, self.file)
        if stopped:
            say("saved", engine.state.iteration)

    def resume(self) -> None:
        state = torch.load(self.file, weights_only=True)
        self.trainer.load_state_dict(state["engine"])
        self.model.load_state_dict(state["model"])
        self.optimizer.load_state_dict(state["optimizer"])


def fault(case: str) -> None:
    """What one of the processes suffers."""
    if case == "raises":
        raise ValueError("the labels of rank 1 are wrong")
    if case == "killed":
        os.kill(os.getpid(), signal.SIGKILL)
    if case == "sleeps":
        time.sleep(1000)
    if case == "stopped":
        os.kill(os.getpid(), signal.SIGSTOP)


def say(what: str, value: Any) -> None:
    """A line for the test to read, in one piece, as others write to the same pipe."""
    sys.stdout.write(json.dumps([what, value]) + "\n")
    sys.stdout.flush()


def counted() -> dict[str, int]:
    """How often each collective is called from now on, counted around the real ones."""
    counts: dict[str, int] = {}
    if world_size() == 1:
        return counts

    def around(name: str, real: Any) -> Any:
        def call(*args: Any, **kwargs: Any) -> Any:
            counts[name] = counts.get(name, 0) + 1
            return real(*args, **kwargs)

        return call

    for name in ("all_reduce", "all_gather_object", "broadcast_object_list", "gather_object"):
        real = getattr(torch.distributed, name)
        setattr(torch.distributed, name, around(name, real))
    return counts


def main() -> None:
    """Train, and say what became of it."""
    parser = argparse.ArgumentParser()
    parser.add_argument("folder")
    parser.add_argument("--case", default="")
    parser.add_argument("--resume", action="store_true")
    parser.add_argument("--epochs", type=int, default=2)
    parser.add_argument("--pause", type=float, default=0.0)
    parser.add_argument("--grace", type=float, default=3.0)
    parser.add_argument("--timeout", type=float, default=30.0)
    parser.add_argument("--seconds-in-all", type=float, default=1.0)
    options = parser.parse_args()
    join("pytorch", timeout=options.timeout)
    run = Run(options)
    if options.resume:
        run.resume()
    code = 0
    try:
        state = run.trainer.run(run.data(), max_epochs=options.epochs)
        say("reason", str(state.reason))
    except Signalled as stop:
        code = 128 + stop.signum
    except KeyboardInterrupt:
        code = 130
    except BaseException:
        say("collectives", [run.before, run.counts])
        raise
    weights = run.model.state_dict()
    say("weights", {name: one.tolist() for name, one in weights.items()})
    say("iterations", run.trainer.state.iteration)
    if world_size() > 1:
        say("meetings", agreement_of(run.trainer).meetings)
    sys.stdout.flush()
    os._exit(code)  # threads that libraries leave behind may end an interpreter with an abort


if __name__ == "__main__":
    main()
