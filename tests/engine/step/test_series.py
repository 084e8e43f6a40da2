"""Series keep values where they are, and read them all at once."""

from __future__ import annotations

import weakref

import pytest
import torch
from torch.utils._python_dispatch import TorchDispatchMode

from footplate.engine.step.series import Series, read_all


def read(series):
    """Pairs of iteration and value."""
    readings = read_all({"it": series}).get("it", [])
    return [(iteration, value) for iteration, value, _ in readings]


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
    assert read(series) == [(number, number / 2) for number in range(count)]
    assert read(series) == []


def test_numbers_and_tensors_of_several_kinds_mix():
    series = Series()
    for number, value in enumerate([1, 0.1, torch.tensor(0.1), torch.tensor([0.1]).double()]):
        series.append(number, value)
    assert dict(read(series)) == pytest.approx({0: 1.0, 1: 0.1, 2: 0.1, 3: 0.1}, rel=1e-7)


@pytest.mark.parametrize("value", [0.1, torch.tensor(0.1, dtype=torch.float64)])
def test_doubles_are_read_as_doubles(value):
    series = Series()
    series.append(1, value)
    assert read(series) == [(1, 0.1)]


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
    assert read(again) == [(number, float(number)) for number in range(71)]


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
    assert read(series) == [(1, 0.0)]


def test_several_series_are_read_by_one_transfer():
    series = {name: Series() for name in "abc"}
    for number in range(70):
        series["a"].append(number, torch.tensor(float(number)))
        series["b"].append(number, torch.tensor(2.0 * number), weight=torch.tensor(3.0))
    with Counting() as counting:
        readings = read_all(series)
    assert readings == {
        "a": [(number, float(number), 1.0) for number in range(70)],
        "b": [(number, 2.0 * number, 3.0) for number in range(70)],
    }
    assert [name for name in counting.names if "local_scalar" in name] == []
    assert sum("cat.default" in name for name in counting.names) == 1


def test_weights_are_saved_and_read_with_the_values():
    series, again = Series(), Series()
    series.append(1, 0.5, 2.0)
    series.append(2, torch.tensor(0.25), torch.tensor(4.0))
    again.load_state_dict(series.state_dict())
    assert read_all({"x": again}) == {"x": [(1, 0.5, 2.0), (2, 0.25, 4.0)]}


@pytest.mark.covers("F5")
@pytest.mark.parametrize("part", [lambda big: big[0, 3], lambda big: big[0, 3].detach()])
@pytest.mark.parametrize("grad", [False, True])
def test_a_part_of_a_large_tensor_does_not_keep_the_whole(part, grad):
    series = Series()
    big = torch.arange(1e6).reshape(1000, 1000).requires_grad_(grad)
    series.append(1, part(big), weight=part(big))
    held = [one for one in series._last[0] if isinstance(one, torch.Tensor)]
    assert [one.untyped_storage().nbytes() for one in held] == [4, 4]
    assert read_all({"it": series}) == {"it": [(1, 3.0, 3.0)]}


@pytest.mark.covers("F5")
@pytest.mark.parametrize(
    "made",
    [
        lambda: torch.nn.Parameter(torch.zeros(())),
        lambda: torch.zeros(3)[1],
        lambda: torch.zeros(()).add_(0.0),
        lambda: torch.zeros(()).add_(0.0).detach(),
    ],
    ids=["parameter", "view", "accumulator", "detached"],
)
def test_what_is_written_to_later_is_logged_as_it_was(made):
    series, value = Series(), made()
    for number in range(130):
        series.append(number, value, weight=value)
        with torch.no_grad():
            value.add_(1.0)
    assert [v for _, v in read(series)] == list(map(float, range(130)))


def test_in_inference_mode_it_is_logged_as_it_was_too():
    series = Series()
    with torch.inference_mode():
        value = torch.zeros(())
        for number in range(70):
            series.append(number, value)
            value.add_(1.0)
    assert [v for _, v in read(series)] == list(map(float, range(70)))


@pytest.mark.covers("F5")
@pytest.mark.parametrize("as_weight", [False, True])
def test_a_fresh_tensor_that_is_written_to_before_it_is_read_is_refused_once(as_weight):
    series, value = Series("temperature"), torch.zeros(())
    series.append(7, *((0.5, value) if as_weight else (value, 1.0)))
    value.add_(1.0)
    with pytest.raises(ValueError, match=r"'temperature' was logged in iteration 7 .*\.clone\(\)"):
        read(series)
    series.append(8, 0.5)
    assert read(series) == [(8, 0.5)]


def test_a_complex_number_is_refused_by_its_name():
    series = Series("phase")
    series.append(1, torch.tensor(1.0))
    series.append(2, torch.tensor(1 + 2j))
    with pytest.raises(TypeError, match="'phase' is complex"):
        read(series)
