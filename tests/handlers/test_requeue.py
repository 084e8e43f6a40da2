"""Requeue and stopping together, in one process: what they ask for, and what they leave alone."""

import signal

import pytest

from footplate import Engine, Events, Signalled
from footplate.handlers.requeue import Requeue
from footplate.handlers.stop_together import StopTogether


def signalled(trainer, signum):
    """Run an engine that is sent a signal in its second iteration."""
    trainer.add_event_handler(
        Events.ITERATION_COMPLETED(once=2), lambda: signal.raise_signal(signum)
    )
    with pytest.raises(Signalled) as stop:
        trainer.run(range(5))
    assert stop.value.signum == signum
    return trainer.state.iteration


@pytest.mark.covers("I7")
def test_without_a_job_of_slurm_a_run_stops_and_says_that_it_is_not_run_again(monkeypatch):
    monkeypatch.delenv("SLURM_JOB_ID", raising=False)
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(Requeue())
    with pytest.warns(RuntimeWarning, match="not run again: there is no SLURM_JOB_ID"):
        assert signalled(trainer, signal.SIGUSR1) == 2


@pytest.mark.covers("I7")
def test_without_scontrol_it_says_so(monkeypatch, tmp_path):
    monkeypatch.setenv("SLURM_JOB_ID", "9")
    monkeypatch.setenv("PATH", str(tmp_path))
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(Requeue((signal.SIGUSR2,)))
    with pytest.warns(RuntimeWarning, match="not run again: scontrol requeue 9: .*scontrol"):
        assert signalled(trainer, signal.SIGUSR2) == 2


@pytest.mark.covers("I7")
def test_other_ends_of_a_run_ask_for_nothing(recwarn):
    trainer = Engine(lambda engine, batch: None, name="train")
    trainer.attach(Requeue())
    trainer.attach(StopTogether())
    assert trainer.run(range(3)).iteration == 3
    assert signalled(trainer, signal.SIGTERM) == 2
    assert not [one for one in recwarn if "run again" in str(one.message)]


@pytest.mark.covers("I7")
@pytest.mark.parametrize("grace", [0, -1, float("inf"), float("nan")])
def test_a_grace_that_is_none_is_refused(grace):
    with pytest.raises(ValueError, match="finite number of seconds above 0"):
        StopTogether(grace=grace)


@pytest.mark.covers("I7")
def test_one_process_alone_has_all_the_time_it_needs():
    trainer = Engine(lambda engine, batch: None, name="train")
    together = trainer.attach(StopTogether(grace=0.01))
    armed = []
    trainer.add_event_handler(Events.ITERATION_COMPLETED, lambda: armed.append(together.is_armed))
    trainer.run(range(2))
    assert armed == [False, False]
    assert "agreement" not in trainer.handlers
