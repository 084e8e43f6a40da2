"""Notes are saved with an engine, wait until they are taken, and are missed by nobody."""

from __future__ import annotations

import pytest

from footplate import Engine
from footplate.engine.notes import Notes


def test_a_note_stays_over_further_saves_until_it_is_taken():
    first, second, third = Notes(), Notes(), Notes()
    first.keep("rows", lambda: 3)
    second.load_state_dict(first.state_dict())
    second.keep("rows", lambda: 0)  # of somebody who has not asked yet where it stands
    third.load_state_dict(second.state_dict())
    assert third.state_dict() == {"rows": 3}
    assert second.take("rows") == 3
    assert second.state_dict() == {"rows": 0}
    assert second.take("rows") is None


def test_what_is_left_goes_before_what_is_told():
    notes = Notes()
    notes.keep("rows", lambda: 9)
    notes.leave("rows", 4)
    assert notes.state_dict() == {"rows": 4}
    assert notes.take("rows") == 4
    assert notes.state_dict() == {"rows": 9}


@pytest.mark.covers("G4")
def test_they_are_saved_with_an_engine_and_forgotten_by_a_run_that_starts_anew():
    first = Engine(lambda engine, batch: engine.interrupt())
    first.notes.keep("rows", lambda: first.state.iteration)
    first.run([0, 0])
    second = Engine(lambda engine, batch: None)
    second.load_state_dict(first.state_dict())
    assert second.state_dict()["footplate"]["notes"] == {"rows": 1}
    second.run([0, 0])
    assert second.notes.take("rows") == 1
    second.load_state_dict(first.state_dict())
    second.state.max_epochs = None
    second.run([0])
    assert second.notes.take("rows") is None


def test_a_state_without_them_is_loaded():
    engine = Engine(lambda engine, batch: engine.interrupt())
    engine.run([0, 0])
    state = engine.state_dict()
    del state["footplate"]["notes"]
    engine.notes.leave("rows", 1)
    engine.load_state_dict(state)
    assert engine.notes.take("rows") is None
