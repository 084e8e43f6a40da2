"""Values become bytes by an extension, and the same values again."""

from __future__ import annotations

import io
import pickle

import numpy as np
import pytest
import torch

from footplate.engine.data.by_extension import decoded, encoded


@pytest.mark.parametrize(
    ("extension", "value"),
    [
        ("txt", "größer\n"),
        ("json", {"box": [1, 2.5], "name": None}),
        ("cls", 7),
        ("meta.json", [1]),
        ("jpg", b"\xff\xd8"),
        ("pkl", b"whatever"),
    ],
)
def test_plain_values_come_back(extension, value):
    assert decoded(extension, encoded(extension, value)) == value


@pytest.mark.parametrize("extension", ["npy", "seg.npy"])
def test_arrays_come_back(extension):
    array = np.arange(6, dtype=np.int16).reshape(2, 3)
    back = decoded(extension, encoded(extension, array))
    assert back.dtype == array.dtype
    assert (back == array).all()


def test_tensors_come_back():
    back = decoded("pt", encoded("pt", {"x": torch.ones(2, 3), "name": "a"}))
    assert torch.equal(back["x"], torch.ones(2, 3))
    assert back["name"] == "a"


def test_a_decoder_of_the_users_comes_first():
    assert decoded("json", b"[1]", {"json": len}) == 3
    assert decoded("meta.json", b"[1]", {"meta.json": len}) == 3
    assert encoded("x", 3, {"x": lambda value: b"." * value}) == b"..."


class Evil:
    def __reduce__(self):
        return (exec, ("raise SystemExit('run')",))


def test_what_is_read_runs_no_code():
    file = io.BytesIO()
    np.save(file, np.array([Evil()], dtype=object), allow_pickle=True)
    with pytest.raises(ValueError, match="allow_pickle"):
        decoded("npy", file.getvalue())
    file = io.BytesIO()
    torch.save(Evil(), file)
    with pytest.raises(pickle.UnpicklingError):
        decoded("pt", file.getvalue())
    with pytest.raises(ValueError, match="allow_pickle"):
        encoded("npy", np.array([Evil()], dtype=object))


def test_a_value_of_no_known_form_is_refused():
    with pytest.raises(TypeError, match=r"a int is to be written as \.jpg.*encoders=\{'jpg': …\}"):
        encoded("jpg", 7)
