"""The order of events, compared with files that no line of Footplate had a part in."""

from __future__ import annotations

from pathlib import Path

import pytest

from footplate import Engine, Events
from tests.golden.make_event_orders import golden
from tests.golden.scenarios import (
    GROUPS,
    SCENARIOS,
    WRITTEN_BY_HAND,
    Failure,
    Line,
    Order,
    Play,
    Scenario,
    read,
    write,
)

FOLDER = Path(__file__).parents[1] / "golden"


@pytest.mark.filterwarnings("ignore:the run goes on behind batch:RuntimeWarning")
@pytest.mark.covers("A2")
@pytest.mark.parametrize("scenario", [*SCENARIOS, *WRITTEN_BY_HAND], ids=str)
def test_events_fire_in_the_golden_order(scenario):
    orders = read((FOLDER / f"{scenario.group}.txt").read_text())
    assert write(order_of(scenario)) == orders[scenario.name]


def test_every_golden_order_is_compared():
    written = {
        (path.stem, name) for path in FOLDER.glob("*.txt") for name in read(path.read_text())
    }
    assert written == {(s.group, s.name) for s in (*SCENARIOS, *WRITTEN_BY_HAND)}


@pytest.mark.parametrize("group", GROUPS)
def test_golden_orders_are_what_ignite_and_the_differences_give(group):
    assert (FOLDER / f"{group}.txt").read_text() == golden(group)


def order_of(scenario: Scenario) -> Order:
    """What an engine fires, a call of run() after the other."""
    play, data, calls = Play(scenario), scenario.data(), []
    engine = Engine(play.step)
    engine.register_events(*scenario.custom)
    for event in (*Events, *scenario.custom):

        def note(engine: Engine, *, name: str, **_: object) -> None:
            calls[-1].append(Line(name, engine.state.epoch, engine.state.iteration))

        engine.add_event_handler(event, note, name=str(event))
    play.attach(engine)
    for _ in range(scenario.runs):
        calls.append([])
        try:
            engine.run(data, **scenario.limits)
        except (Failure, RuntimeError):
            assert calls[-1][-2].event == "EXCEPTION_RAISED"
    return calls
