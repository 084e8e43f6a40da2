"""Every handler of pytorch-ignite does the same on our engine as on its own."""

from __future__ import annotations

import functools
import sys

import pytest

from tests.handlers.ignite import (
    common_probes,
    hosted_probes,
    logging_probes,
    saving_probes,
    schedule_probes,
    timing_probes,
)
from tests.handlers.ignite.names import handlers
from tests.handlers.ignite.verdicts import BRIDGED, HANDLERS, UNTRIED, WORKS, by_name
from tests.handlers.ignite.worlds import BRIDGED as BY_BRIDGE
from tests.handlers.ignite.worlds import IGNITE, OURS, shown

pytestmark = [
    pytest.mark.covers("A12"),
    pytest.mark.filterwarnings("ignore"),  # of the loggers' clients, and what these are made of
]

PROBES = {
    **common_probes.PROBES,
    **saving_probes.PROBES,
    **schedule_probes.PROBES,
    **timing_probes.PROBES,
    **logging_probes.PROBES,
    **hosted_probes.PROBES,
}


VERDICTS = by_name(HANDLERS)


def named(how: str) -> list[str]:
    return [name for name, one in VERDICTS.items() if one.how == how]


@pytest.fixture(scope="module")
def seen(tmp_path_factory):
    """What came of a probe in a world; one that tries several classes runs once."""
    return functools.cache(
        lambda world, probe: shown(probe(world, tmp_path_factory.mktemp(probe.__name__)))
    )


@pytest.fixture(scope="module", autouse=True)
def nothing_is_left_behind():
    yield
    if "mlflow" in sys.modules:
        sys.modules["mlflow"].set_tracking_uri("")


def need(name: str) -> None:
    if VERDICTS[name].needs:
        pytest.importorskip(VERDICTS[name].needs)


def test_every_handler_has_a_verdict_and_no_other():
    assert set(VERDICTS) == set(handlers())


@pytest.mark.parametrize("name", named(WORKS))
def test_what_works_does_the_same(name, seen):
    need(name)
    assert seen(OURS, PROBES[name]) == seen(IGNITE, PROBES[name])


@pytest.mark.parametrize("name", named(BRIDGED))
def test_what_works_by_bridge_does_the_same_there_and_is_refused_without(name, seen, tmp_path):
    need(name)
    with pytest.raises((TypeError, AttributeError), match=r"Engine|engine"):
        PROBES[name](OURS, tmp_path)
    assert seen(BY_BRIDGE, PROBES[name]) == seen(IGNITE, PROBES[name])


@pytest.mark.parametrize("name", named(UNTRIED))
def test_what_is_not_tried_needs_a_package_or_more(name):
    assert VERDICTS[name].needs
    assert VERDICTS[name].why
