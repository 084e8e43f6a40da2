"""Every metric of pytorch-ignite measures the same on our engine as on its own."""

from __future__ import annotations

from importlib.util import find_spec

import pytest
from ignite.engine import Events

from tests.handlers.ignite.metric_probes import PROBES, Probe
from tests.handlers.ignite.names import metrics
from tests.handlers.ignite.verdicts import METRICS, NO_PART, UNTRIED, WORKS, by_name
from tests.handlers.ignite.worlds import IGNITE, OURS, World, shown

pytestmark = [
    pytest.mark.covers("A12", "E1"),
    # of metrics that pytorch-ignite calls experimental, and of classes that a short batch lacks
    pytest.mark.filterwarnings("ignore::UserWarning:ignite"),
    pytest.mark.filterwarnings("ignore::UserWarning:sklearn"),
    pytest.mark.filterwarnings("ignore::RuntimeWarning"),
]


VERDICTS = by_name(METRICS)


def named(how: str) -> list[str]:
    return [name for name, one in VERDICTS.items() if one.how == how]


def measured(world: World, probe: Probe) -> str:
    """All metrics behind each iteration and each epoch of two passes over the outputs."""
    engine, seen = world.engine(lambda engine, output: output), []
    probe.make().attach(engine, "measured")

    def look(engine):
        found = engine.state.metrics
        seen.append({name: one for name, one in found.items() if not str(name).endswith("/s")})

    engine.add_event_handler(Events.ITERATION_COMPLETED | Events.EPOCH_COMPLETED, look)
    engine.run(probe.outputs, max_epochs=2)
    return shown(seen)


def test_every_metric_has_a_verdict_and_no_other():
    assert set(VERDICTS) == set(metrics())


@pytest.mark.parametrize("name", named(WORKS))
def test_what_works_measures_the_same(name):
    theirs = measured(IGNITE, PROBES[name])
    assert "measured" in theirs
    assert measured(OURS, PROBES[name]) == theirs


@pytest.mark.parametrize("name", named(UNTRIED))
def test_what_is_not_tried_lacks_a_package(name):
    needs = VERDICTS[name].needs
    if find_spec(needs) is None:
        made = PROBES[name].make if name in PROBES else metrics()[name]
        with pytest.raises(ImportError, match=needs):
            made()
    elif name in PROBES:  # where it is there, it is tried
        assert measured(OURS, PROBES[name]) == measured(IGNITE, PROBES[name])


@pytest.mark.parametrize("name", named(NO_PART))
def test_what_is_no_part_of_a_run_cannot_be_attached(name):
    assert not hasattr(metrics()[name], "attach")
