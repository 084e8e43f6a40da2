"""Checkpoints of every format still load, to the bit."""

from __future__ import annotations

import math

import pytest
import torch

from footplate.engine.checkpoints.store import CheckpointStore
from footplate.engine.checkpoints.tensor_file import weights_of
from tests.contracts.checkpoints import HERE, manifest, network, state, trained

KEPT = ["format_1", "format_1_full"]


def same(one: object, other: object) -> bool:
    """Whether nested values have the same types and bits."""
    if type(one) is not type(other):
        return False
    if isinstance(one, torch.Tensor):
        return one.dtype == other.dtype and torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other


@pytest.mark.covers("G7")
@pytest.mark.parametrize("kept", KEPT)
def test_a_checkpoint_of_every_format_loads(kept):
    store, model = CheckpointStore(HERE), network()
    assert not store.load_weights(HERE / kept, model)
    assert same(weights_of(model), weights_of(trained()))
    assert model.tied.weight is model.first.weight
    assert same(store.load_state(HERE / kept), state())


def test_the_first_manifest_has_what_it_lacks_by_default():
    read = CheckpointStore(HERE).manifest(HERE / "format_1")
    assert (read.run, read.iteration, read.epoch, read.score) == ("contract", 7, 2, 0.75)
    assert read.exact
    assert math.isnan(read.metrics["loss"])
    assert (read.seed, read.error, read.config, read.machine) == (None, None, {}, {})
    assert read.versions.keys() == {"python", "torch"}


def test_a_full_manifest_says_all_of_it():
    read, written = CheckpointStore(HERE).manifest(HERE / "format_1_full"), manifest()
    for name in ("exact", "left_out", "error", "seed", "config", "meta", "score"):
        assert getattr(read, name) == getattr(written, name), name
    assert read.versions.keys() == written.versions.keys()
    assert read.machine.keys() == written.machine.keys()
