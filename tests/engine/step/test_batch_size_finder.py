"""A search for a batch size ends where memory does.

That it leaves no trace is shown in test_lr_finder.py, for both searches.
"""

from __future__ import annotations

import json
import math
import os
import subprocess
import sys
import textwrap
import time
import weakref

import numpy as np
import pytest
import torch
from matplotlib.figure import Figure
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from footplate import Engine
from footplate.engine.errors import DataError
from footplate.engine.step.batch_size_finder import find_batch_size
from footplate.engine.step.training import training_step
from tests.engine.pictures import BLUE, has_color

CPU = "[enforce fail at alloc_cpu.cpp:127] DefaultCPUAllocator: can't allocate memory: you tried"


class Limited(nn.Module):
    """A model that refuses batches over a size, and remembers what it was asked."""

    def __init__(self, most, error=None):
        super().__init__()
        self.layer = nn.Linear(1, 1)
        self.most, self.error = most, error or RuntimeError(CPU)

    def forward(self, x):
        SEEN.append(len(x))
        if len(x) > self.most:
            raise self.error
        return self.layer(x)


SEEN: list[int] = []


@pytest.fixture(autouse=True)
def _nothing_seen():
    SEEN.clear()


def trainer_of(model, **options):
    adam = torch.optim.Adam(model.parameters(), lr=0.1)
    return Engine(training_step(model, adam, F.mse_loss, **options), name="train")


def any_size(size):
    return [(torch.ones(size, 1), torch.ones(size, 1))]


def loaders(length, **options):
    data = TensorDataset(torch.ones(length, 1), torch.ones(length, 1))
    return lambda size: DataLoader(data, size, **options)


def outcomes(search):
    return {one.size: one.outcome for one in search.tried}


@pytest.mark.covers("D5")
def test_it_doubles_and_then_halves_the_way():
    search = find_batch_size(trainer_of(Limited(21)), any_size)
    assert search.size == 21
    assert [*dict.fromkeys(SEEN)] == [2, 4, 8, 16, 32, 24, 20, 22, 21]
    assert [one.size for one in search.tried] == [2, 4, 8, 16, 20, 21, 22, 24, 32]
    assert {one.size for one in search.tried if one.fits} == {2, 4, 8, 16, 20, 21}
    assert {one.error for one in search.tried if not one.fits} == {CPU}
    assert [one.seconds_per_sample for one in search.tried if not one.fits] == [None] * 3
    assert all(0 < one.seconds_per_sample < 1 for one in search.tried if one.fits)
    assert (
        repr(search)
        == str(search)
        == (
            "<BatchSizeSearch: largest batch size that fits: 21; fits: 2, 4, 8, 16, 20, 21; "
            "out of memory: 22, 24, 32>"
        )
    )


@pytest.mark.parametrize("most", [2, 3, 4, 7, 8, 9, 30])
def test_it_is_exact(most):
    assert find_batch_size(trainer_of(Limited(most)), any_size, steps=1).size == most


@pytest.mark.parametrize(
    ("options", "size", "tried"),
    [
        ({"growth": "double"}, 16, [2, 4, 8, 16, 32]),
        ({"growth": "double", "start": 7}, 14, [7, 14, 28]),
        ({"most": 12}, 12, [2, 4, 8, 12]),
        ({"most": 2}, 2, [2]),
        ({"start": 21}, 21, [21, 22, 23, 26, 31, 42]),
    ],
)
def test_start_bound_and_growth_can_be_chosen(options, size, tried):
    search = find_batch_size(trainer_of(Limited(21)), any_size, **options)
    assert (search.size, [one.size for one in search.tried]) == (size, tried)


@pytest.mark.parametrize(
    "error",
    [
        torch.OutOfMemoryError("CUDA out of memory. Tried to allocate 20.00 MiB."),
        RuntimeError("MPS backend out of memory (MPS allocated: 1 GB)"),
        RuntimeError("DefaultCPUAllocator: not enough memory: you tried to allocate 5 bytes."),
        RuntimeError("CUDA error: CUBLAS_STATUS_ALLOC_FAILED when calling `cublasCreate(handle)`"),
        RuntimeError("std::bad_alloc"),
        np._core._exceptions._ArrayMemoryError((5,), np.dtype("f8")),
        MemoryError(),
        OSError(12, "Cannot allocate memory"),
    ],
    ids=str,
)
def test_memory_is_refused_in_many_ways(error):
    search = find_batch_size(trainer_of(Limited(5, error)), any_size)
    assert search.size == 5
    assert outcomes(search)[6] == "out of memory"


@pytest.mark.parametrize(
    "error",
    [RuntimeError("shapes differ"), OSError(2, "no such file"), ValueError("out of memory"),
     KeyboardInterrupt()],
)  # fmt: skip
def test_any_other_error_reaches_the_caller_untouched(error):
    with pytest.raises(type(error)) as raised:
        find_batch_size(trainer_of(Limited(5, error)), any_size)
    assert raised.value is error
    assert not hasattr(error, "__notes__")


def test_data_that_raise_are_found_out_too():
    def make_batches(size):
        if size > 10:
            raise MemoryError("no room for the data")
        return any_size(size)

    assert find_batch_size(trainer_of(Limited(99)), make_batches).size == 10


@pytest.mark.covers("D5")
@pytest.mark.parametrize(
    ("length", "options", "expected"),
    [
        (13, {}, {2: "fits", 4: "fits", 8: "fits", 13: "fits"}),
        (16, {}, {2: "fits", 4: "fits", 8: "fits", 16: "fits"}),
        (1, {}, {1: "fits"}),
        (5, {"drop_last": True}, {2: "fits", 4: "fits", 5: "fits", 6: "no batch", 8: "no batch"}),
    ],
)
def test_it_ends_with_the_data(length, options, expected):
    search = find_batch_size(trainer_of(Limited(99)), loaders(length, **options))
    assert outcomes(search) == expected
    assert search.size == length


def test_the_end_of_the_data_may_be_too_large():
    search = find_batch_size(trainer_of(Limited(10)), loaders(13))
    assert search.size == 10
    assert outcomes(search)[13] == "out of memory"
    assert max(SEEN) == 13


def test_the_smaller_batch_at_the_end_is_left_out():
    """Of 9 samples 4, 4 and 1: batch norm could do nothing with one."""
    model = nn.Sequential(Limited(99), nn.BatchNorm1d(1))
    search = find_batch_size(trainer_of(model), loaders(9), steps=7, most=4)
    assert search.size == 4
    assert SEEN == [2] * 7 + [4] * 7


@pytest.mark.parametrize(("options", "count"), [({}, 3), ({"accumulate": 5}, 6)])
def test_each_size_makes_an_optimizer_step_and_goes_on(options, count):
    find_batch_size(trainer_of(Limited(99), **options), any_size, most=2)
    assert [2] * count == SEEN


@pytest.mark.usefixtures("no_collector")
def test_what_a_size_took_is_given_back_before_the_next():
    """Activations in a reference cycle."""

    class Cyclic(Limited):
        def forward(self, x):
            if len(x) not in SEEN:
                assert not alive
            cycle = Limited(0)
            cycle.layer.itself = cycle
            alive.add(cycle)
            if len(x) > 5:
                raise RuntimeError(CPU)  # nobody else holds it, and its traceback holds the cycle
            return super().forward(x)

    alive = weakref.WeakSet()
    assert find_batch_size(trainer_of(Cyclic(99)), any_size).size == 5
    assert not alive


def test_the_first_batch_is_not_timed():
    class Slow(Limited):
        def forward(self, x):
            time.sleep(0 if len(x) in SEEN else 0.6)
            return super().forward(x)

    search = find_batch_size(trainer_of(Slow(99)), any_size, most=2)
    assert search.tried[0].seconds_per_sample < 0.05


def test_the_first_size_must_fit():
    with pytest.raises(MemoryError, match=r"not even a batch of 8 fits into memory: \[enforce"):
        find_batch_size(trainer_of(Limited(7)), any_size, start=8)
    with pytest.raises(DataError, match="gave no batch of 2"):
        find_batch_size(trainer_of(Limited(7)), loaders(1, drop_last=True))
    with pytest.raises(DataError, match="one-shot"):
        find_batch_size(trainer_of(Limited(7)), lambda size: iter(any_size(size)))


def test_what_a_batch_holds_can_be_said():
    class Graphs:
        def __init__(self, size):
            self.count = size

    net = nn.Linear(1, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = {"optimization": lambda net, batch: net(torch.ones(batch.count, 1)).sum()}
    trainer = Engine(training_step(net, {"optimization": sgd}, losses), name="train")
    options = {"most": 6, "samples": lambda batch: batch.count}
    assert find_batch_size(trainer, lambda size: [Graphs(size)], **options).size == 6
    with pytest.raises(TypeError, match="Graphs has no tensor or array to tell its size by; say"):
        find_batch_size(trainer, lambda size: [Graphs(size)])


def test_a_size_is_told_by_the_first_tensor_or_array():
    net = nn.Linear(1, 1)
    sgd = torch.optim.SGD(net.parameters(), lr=0.1)
    losses = {"optimization": lambda net, batch: net(torch.tensor(batch["x"])).sum()}
    trainer = Engine(training_step(net, {"optimization": sgd}, losses), name="train")

    def make_batches(size):
        x = np.ones((min(size, 5), 1), dtype=np.float32)
        return [{"name": "a", "number": np.float32(3), "x": x}]

    assert find_batch_size(trainer, make_batches).size == 5


@pytest.mark.covers("D5")
def test_the_plot_shows_speed_and_what_is_too_large(tmp_path):
    search = find_batch_size(trainer_of(Limited(5)), any_size)
    search.plot(tmp_path / "new" / "sizes.png")
    assert has_color(tmp_path / "new" / "sizes.png", BLUE)
    axis = Figure().subplots()
    search._draw(axis)
    assert axis.get_title(loc="left") == "largest batch size that fits: 5"
    assert list(axis.lines[0].get_xdata()) == [2, 4, 5]
    speeds = [1 / one.seconds_per_sample for one in search.tried if one.fits]
    assert list(axis.lines[0].get_ydata()) == speeds
    assert [line.get_xdata()[0] for line in axis.lines[1:]] == [6, 8]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ({"start": 0}, "start and steps are at least 1"),
        ({"steps": 0}, "start and steps are at least 1"),
        ({"start": 8, "most": 4}, "most at least start; given start=8, steps=3, most=4"),
        ({"start": 1.5}, "start is a whole number, given 1.5"),
        ({"most": math.inf}, "most is a whole number, given inf"),
        ({"growth": "bisekt"}, r"Did you mean 'bisect'\?"),
    ],
)
def test_options_that_make_no_sense_are_refused(options, said):
    with pytest.raises(ValueError, match=said):
        find_batch_size(trainer_of(Limited(5)), any_size, **options)


def test_what_makes_no_batches_is_refused():
    with pytest.raises(TypeError, match="make_batches takes a size and gives batches"):
        find_batch_size(trainer_of(Limited(5)), loaders(5)(2))
    with pytest.raises(ValueError, match="asked for batches of 2 samples, and gave one of 8"):
        find_batch_size(trainer_of(Limited(9)), lambda size: any_size(8))
    with pytest.raises(TypeError, match="int can't be iterated over"):
        find_batch_size(trainer_of(Limited(9)), lambda size: size)


REAL = """
    import json, resource, torch
    from torch import nn
    from footplate import Engine
    from footplate.engine.step.batch_size_finder import find_batch_size
    from footplate.engine.step.training import training_step

    torch.set_num_threads(1)
    torch.manual_seed(0)
    model = nn.Sequential(nn.Linear(1 << 16, 8), nn.Dropout(0.5), nn.Linear(8, 1 << 16))
    adam = torch.optim.Adam(model.parameters(), lr=0.01)
    trainer = Engine(training_step(model, adam, nn.functional.mse_loss), name="train")

    def make_batches(size):
        x = torch.rand(size, 1 << 16)
        return [(x, x)]

    def taken():
        return int(open("/proc/self/statm").read().split()[0]) * resource.getpagesize()

    def bits():
        gradients = [one.grad for one in model.parameters()]
        entries = [e for one in adam.state.values() for e in one.values()]
        state = [one.detach().numpy().tobytes() for one in (*model.state_dict().values(), *entries)]
        return hash((*state, len(entries), str(gradients), torch.get_rng_state().numpy().tobytes()))

    trainer.run(make_batches(4))
    room = 150 << 20
    limit = taken() + room
    resource.setrlimit(resource.RLIMIT_AS, (limit, limit))
    before = bits()
    search = find_batch_size(trainer, make_batches, steps=2)
    same, began = bits() == before, taken()
    again = find_batch_size(trainer, make_batches, steps=2)  # in the memory that was given back
    grown = taken() - began
    trainer.run(make_batches(search.size - 4), max_epochs=2)  # fits indeed
    try:
        trainer.run(make_batches(2 * search.size), max_epochs=3)
        refused = None
    except RuntimeError as error:
        refused = str(error)
    errors = [one.error for one in search.tried if not one.fits]
    print(json.dumps([search.size, again.size, same, grown, errors, refused]))
"""


@pytest.mark.covers("D5")
@pytest.mark.skipif(sys.platform != "linux", reason="limits and measures its address space")
def test_memory_that_is_really_refused():
    """A sample is 256 KiB, and training keeps several of them; 150 MiB may be taken."""
    malloc = {"MALLOC_MMAP_THRESHOLD_": "65536", "MALLOC_ARENA_MAX": "1"}  # keeps nothing back
    done = subprocess.run(
        [sys.executable, "-c", textwrap.dedent(REAL)],
        env=os.environ | malloc,
        capture_output=True,
        text=True,
        check=True,
    )
    size, again, same, grown, errors, refused = json.loads(done.stdout)
    assert 32 < size < 1200
    assert same
    assert abs(again - size) <= 8
    assert grown < 8 << 20
    assert errors
    assert all("can't allocate memory" in one for one in errors)
    assert "can't allocate memory" in refused
