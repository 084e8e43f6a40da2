"""What processes know of each other, and hand to each other."""

from __future__ import annotations

import pytest
import torch

from footplate.engine.placement import ranks
from tests.engine.placement.launching import called_in_processes

HERE = "tests.engine.placement.test_ranks"


def test_one_alone_is_the_first():
    assert (ranks.rank(), ranks.world_size(), ranks.is_first()) == (0, 1, True)
    assert ranks.gathered("mine") == ranks.collected("mine") == ["mine"]
    assert ranks.from_first(lambda: 3) == 3


def refused(make, **options):
    try:
        ranks.from_first(make, **options)
    except Exception as error:
        return f"{type(error).__name__}: {error}"
    return "nothing"


def no_results():
    raise ValueError("no results")


def each_process_sees():
    own = {"rank": ranks.rank()}
    return {
        "who": [ranks.rank(), ranks.world_size(), ranks.is_first()],
        "gathered": ranks.gathered(own),
        "collected": ranks.collected(own),
        "first": ranks.from_first(lambda: f"made by {ranks.rank()}"),
        "failure": refused(no_results),
        "not to be sent": refused(lambda: no_results.__get__(lambda: None)),
        "by gpu": refused(lambda: 0, by="gpu"),
        "again": ranks.gathered("still here"),
    }


@pytest.fixture(scope="module")
def told(tmp_path_factory):
    folder = tmp_path_factory.mktemp("processes")
    return called_in_processes(f"{HERE}:each_process_sees", folder)


@pytest.mark.covers("E3")
def test_two_processes_hand_to_each_other(told):
    both = [{"rank": 0}, {"rank": 1}]
    first, second = told
    assert (first["who"], second["who"]) == ([0, 2, True], [1, 2, False])
    assert first["gathered"] == second["gathered"] == first["collected"] == both
    assert second["collected"] is None
    assert first["first"] == second["first"] == "made by 0"


def test_what_fails_on_the_first_leaves_nobody_waiting(told):
    first, second = told
    assert first["failure"] == "ValueError: no results"
    assert second["failure"] == (
        "RuntimeError: the first process failed with ValueError: no results"
    )
    assert "nothing" not in (first["not to be sent"], second["not to be sent"])
    assert second["not to be sent"].startswith("RuntimeError: the first process failed with")
    assert first["again"] == second["again"] == ["still here"] * 2


@pytest.mark.skipif(torch.cuda.is_available(), reason="needs a machine without CUDA")
def test_what_cannot_travel_by_gpu_says_so(told):
    assert [one["by gpu"] for one in told] == [
        "ValueError: values travel by 'gpu' where there is CUDA; let them travel by 'cpu'."
    ] * 2


@pytest.mark.parametrize("function", [ranks.collected, ranks.from_first])
def test_another_way_is_refused(function):
    with pytest.raises(ValueError, match="by 'cpu' or 'gpu', given 'npu'"):
        function(lambda: None, by="npu")
