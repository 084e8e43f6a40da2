"""One reading of whole numbers, wherever a count is asked for."""

from fractions import Fraction

import numpy as np
import pytest
import torch

from footplate.engine.amount import Amount
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.data.order import Order
from footplate.engine.engine import Engine
from footplate.engine.intervals import batches, interval
from footplate.engine.limited import limited
from footplate.engine.minimum import Minimum
from footplate.engine.step.accumulation import Accumulation
from footplate.engine.step.turns import by_frequency
from footplate.engine.step.warm_up import warm_up
from footplate.engine.whole import whole
from footplate.engine.workflow import Workflow
from footplate.handlers.limits import MaxSteps

pytestmark = pytest.mark.covers("B5")


@pytest.mark.parametrize("two", [2, 2.0, np.int64(2), np.uint8(2), np.float32(2), Fraction(2)])
def test_the_type_decides_nothing(two):
    assert whole("n", two) == 2
    assert type(whole("n", two)) is int


def test_numbers_beyond_floats_are_numbers():
    assert whole("n", 10**400) == 10**400


@pytest.mark.parametrize("one", [True, np.True_, "1", None, [1], 1 + 0j, float("nan")])
def test_what_is_no_whole_number_is_refused(one):
    with pytest.raises(ValueError, match=r"^n is a whole number from 1 on, given .*[^;]*$"):
        whole("n", one)


@pytest.mark.parametrize(
    ("value", "least"), [(0, 1), (-1, 0), (-0.5, 0), (1.5, 2), (np.int64(0), 1)]
)
def test_what_is_below_the_least_is_refused(value, least):
    with pytest.raises(ValueError, match=f"^n is a whole number from {least} on, given [^;]*$"):
        whole("n", value, least=least)
    assert whole("n", least, least=least) == least


@pytest.mark.parametrize("infinity", [float("inf"), -float("inf")])
def test_there_is_no_end_without_one(infinity):
    with pytest.raises(ValueError, match=rf"given {infinity}\.$"):
        whole("n", infinity)


def test_an_error_says_what_to_do():
    with pytest.raises(ValueError, match=r"given 1\.5; give 1 or 2\.$"):
        whole("n", 1.5)
    with pytest.raises(ValueError, match=r"given 0\.25; where fractions are taken, .* '25%'\.$"):
        whole("n", 0.25, least=0)


def idle():
    return Engine(lambda engine, batch: None)


def workflow(n=1):
    return Workflow([("train", n)], {"train": idle()})


TAKERS = {
    "Engine.run: max_epochs": lambda n: counted_run(max_epochs=n),
    "Engine.run: max_iters": lambda n: counted_run(max_iters=n),
    "Engine.run: epoch_length": lambda n: counted_run(epoch_length=n),
    "Workflow": lambda n: [phase.n for phase in workflow(n).phases],
    "Workflow.run": lambda n: workflow().run([[0]], max_epochs=n).epoch,
    "interval": lambda n: repr(interval(n)),
    "interval: begin": lambda n: repr(interval(3, n)),
    "interval: dynamic": lambda n: repr(interval(3, dynamic=[(n, n)])),
    "batches": lambda n: repr(batches(n)),
    "limited": lambda n: list(limited(range(5), n)),
    "Amount": lambda n: str(Amount.of(n)),
    "Minimum": lambda n: repr(Minimum(epochs=n, iters=n, steps=n)),
    "MaxSteps": lambda n: repr(MaxSteps(n).steps),
    "Accumulation": lambda n: repr(Accumulation(n).sizes),
    "Order": lambda n: shuffled(n).indices(n).tolist(),
    "InMemoryLoader": lambda n: [one.tolist() for one in InMemoryLoader(torch.arange(5), n)],
    "by_frequency": lambda n: [*map(by_frequency(d=n, g=1), range(5))],
    "warm_up": lambda n: repr(warm_up(torch.optim.SGD([torch.zeros(1)], 1.0), n).steps),
}


def shuffled(n):
    order = Order(n + n, shuffle=True, seed=n, world_size=n)
    assert {type(order.size), type(order.seed), type(order.world_size)} == {int}
    return order


def counted_run(**limits):
    engine = idle()
    engine.run([0], **limits)
    return engine.state.epoch, engine.state.iteration, repr(engine.state_dict()["epoch_length"])


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("two", [2.0, np.int64(2), np.float64(2)])
def test_two_is_two_wherever_it_is_given(taker, two):
    assert TAKERS[taker](two) == TAKERS[taker](2)


@pytest.mark.parametrize("taker", TAKERS)
@pytest.mark.parametrize("one", [True, 1.5, -1, "two"])
def test_what_is_no_count_is_refused_wherever_it_is_given(taker, one):
    with pytest.raises((TypeError, ValueError), match=r"given|write"):
        TAKERS[taker](one)


def test_the_epochs_of_an_accumulation_are_counts():
    assert repr(Accumulation({1: 5, 2.0: 4}).sizes) == "{1: 5, 2: 4}"
