"""Series keep values where they are, and read them all at once."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from footplate.engine.step.series import Series


class Counting(TorchDispatchMode):
    """Counts the operations that torch is asked for."""

    def __init__(self):
        super().__init__()
        self.names = []

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        self.names.append(str(function))
        return function(*args, **(kwargs or {}))


@pytest.mark.parametrize("count", [0, 1, 63, 64, 65, 300])
def test_what_went_in_comes_out_once(count):
    series = Series()
    for number in range(count):
        series.append(number, torch.tensor(number / 2))
    assert len(series) == count
    assert series.read() == [(number, number / 2) for number in range(count)]
    assert series.read() == []


def test_numbers_and_tensors_of_several_kinds_mix():
    series = Series()
    for number, value in enumerate([1, 0.1, torch.tensor(0.1), torch.tensor([0.1]).double()]):
        series.append(number, value)
    assert dict(series.read()) == pytest.approx({0: 1.0, 1: 0.1, 2: 0.1, 3: 0.1}, rel=1e-7)


@pytest.mark.parametrize("value", [0.1, torch.tensor(0.1, dtype=torch.float64)])
def test_doubles_are_read_as_doubles(value):
    series = Series()
    series.append(1, value)
    assert series.read() == [(1, 0.1)]


def test_appending_runs_no_operation_but_a_stack_now_and_then():
    series, values = Series(), [torch.tensor(0.5) for _ in range(63)]
    with Counting() as counting:
        for number, value in enumerate(values):
            series.append(number, value)
    assert counting.names == []
    with Counting() as counting:
        series.append(64, values[0])
    assert [name for name in counting.names if "stack" in name or "cat" in name]


def test_an_unread_series_is_saved(tmp_path):
    series, again = Series(), Series()
    for number in range(70):
        series.append(number, torch.tensor(float(number)))
    torch.save(series.state_dict(), tmp_path / "series.pt")
    again.load_state_dict(torch.load(tmp_path / "series.pt", weights_only=True))
    again.append(70, torch.tensor(70.0))
    assert again.read() == [(number, float(number)) for number in range(71)]


def test_a_graph_does_not_live_until_it_is_read():
    class Saved:
        def __init__(self, tensor):
            self.tensor = tensor

    saved = []

    def pack(tensor):
        box = Saved(tensor)
        saved.append(weakref.ref(box))
        return box

    weight = torch.zeros((), requires_grad=True)
    with torch.autograd.graph.saved_tensors_hooks(pack, lambda box: box.tensor):
        value = weight.cos() * weight
    series = Series()
    series.append(1, value)
    assert saved[0]() is not None
    del value
    assert [box() for box in saved] == [None] * len(saved)
    assert series.read() == [(1, 0.0)]
