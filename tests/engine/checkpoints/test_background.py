"""Saving in the background: the copy, and the thread."""

from __future__ import annotations

import subprocess
import sys
import threading
import time

import pytest
import torch

from footplate.engine.checkpoints.background import BackgroundSave, HostCopy
from footplate.engine.checkpoints.plain import tensors_of


def kinds() -> dict[str, torch.Tensor]:
    whole = torch.arange(12.0)
    return {
        "scalar": torch.tensor(3),
        "empty": torch.zeros(2, 0),
        "short": torch.ones(3, dtype=torch.bfloat16),
        "bool": torch.tensor([True, False]),
        "channels_last": torch.randn(2, 3, 4, 4).to(memory_format=torch.channels_last),
        "turned": whole.view(3, 4).t(),
        "half": whole[:6],
        "part": torch.arange(100.0)[10:20:2],
        "spread": torch.ones(1).expand(5),
        "conjugate": torch.tensor([1 + 2j, 3j]).conj(),
        "negative": torch.tensor([1 + 2j]).conj().imag,
        "sparse": torch.eye(3).to_sparse(),
        "graph": torch.ones(2, requires_grad=True) * 2,
        "large": torch.randn(5 * 2**20),
    }


@pytest.mark.covers("G3")
def test_a_copy_has_the_values_of_its_moment():
    tree = {"tensors": kinds(), "more": [1, ("text", None)]}
    expected = {name: value.detach().clone() for name, value in tree["tensors"].items()}
    copy = HostCopy()
    for _ in range(2):
        copied = copy.of(tree)
    for value in tensors_of(tree):
        value.detach().zero_() if value.layout is torch.strided and not value.is_neg() else None
    assert copied["more"] == [1, ("text", None)]
    for name, value in copied["tensors"].items():
        assert value.dtype == expected[name].dtype, name
        assert torch.equal(value.to_dense(), expected[name].to_dense()), name
        assert not value.requires_grad


def test_what_shares_memory_shares_it_in_the_copy():
    weight, flat = torch.ones(4), torch.arange(6.0)
    copied = HostCopy().of({"a": weight, "b": [weight.view(2, 2)], "c": (flat[:3], flat[3:]), "d": flat})  # fmt: skip  # noqa: E501
    copied["a"].zero_()
    assert copied["b"][0].sum() == 0
    copied["d"].zero_()
    assert [one.sum() for one in copied["c"]] == [0, 0]
    assert weight.sum() == 4


def test_memory_is_used_again():
    copy, tree = HostCopy(), {"a": torch.randn(1000), "b": torch.randn(1000), "c": torch.ones(7)}
    places = [{one.data_ptr() for one in copy.of(tree).values()} for _ in range(3)]
    assert places[0] == places[1] == places[2]
    assert len(places[0]) == 3


def test_memory_that_is_used_no_longer_is_let_go():
    copy = HostCopy()
    copy.of(torch.ones(1000))
    copy.of(torch.ones(10))
    assert [size for size, _ in copy._buffers] == [40]


def test_no_thread_is_left_by_a_copy():
    before = threading.active_count()
    HostCopy().of(torch.randn(10**7))
    assert threading.active_count() == before


@pytest.mark.covers("G3")
def test_training_goes_on_meanwhile():
    saving, release, done = BackgroundSave(), threading.Event(), []
    saving.start(lambda: (release.wait(10), done.append(1)))
    assert done == []
    release.set()
    saving.wait()
    assert done == [1]


def test_one_save_waits_for_the_one_before():
    saving, seen = BackgroundSave(), []
    for number in range(3):
        saving.start(lambda number=number: (time.sleep(0.02), seen.append(number)))
    saving.wait()
    assert seen == [0, 1, 2]


@pytest.mark.covers("G3")
def test_an_error_is_raised_once_where_it_is_asked_for():
    saving, error = BackgroundSave(), OSError(28, "No space left on device")

    def fail() -> None:
        raise error

    saving.start(fail)
    saving.wait()
    with pytest.raises(OSError, match="No space left") as caught:
        saving.check()
    assert caught.value is error
    saving.check()


def test_an_error_is_not_lost_to_the_next_save():
    saving, seen = BackgroundSave(), []
    saving.start(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        saving.start(lambda: seen.append(1))
    assert seen == []
    saving.start(lambda: seen.append(1))
    saving.wait()
    saving.check()
    assert seen == [1]


def test_no_thread_is_left_by_a_save():
    saving, before = BackgroundSave(), threading.active_count()
    saving.start(lambda: None)
    saving.wait()
    assert threading.active_count() == before


AT_THE_END = """
import sys, time, torch
from footplate.engine.checkpoints.background import BackgroundSave
from footplate.engine.checkpoints.manifest import Manifest
from footplate.engine.checkpoints.store import CheckpointStore
store, weights = CheckpointStore(sys.argv[1]), {"w": torch.zeros(2**23)}
def save():
    time.sleep(0.3)  # the main thread is at its end by now
    store.save(weights, {}, Manifest(run="r", iteration=1, epoch=1))
BackgroundSave().start(save)
"""


@pytest.mark.covers("G3")
def test_a_save_is_finished_when_the_interpreter_ends(tmp_path):
    from footplate.engine.checkpoints.store import CheckpointStore

    process = subprocess.run(
        [sys.executable, "-c", AT_THE_END, str(tmp_path)],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (process.returncode, process.stderr) == (0, "")
    store = CheckpointStore(tmp_path)
    [(path, _)] = store
    store.verify(path, digests=True)
