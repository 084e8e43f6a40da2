"""Curves are kept, resumed and drawn."""

from __future__ import annotations

import struct

import pytest

from footplate import Engine, Events
from footplate.handlers.curves import Curves


def made(curves: Curves) -> Engine:
    engine = Engine(lambda engine, batch: None)
    engine.on(Events.EPOCH_COMPLETED)(
        lambda e: e.state.metrics.update(loss=1 / e.state.epoch, names=["a"])
    )
    engine.attach(curves)
    return engine


def test_a_picture_is_drawn_at_the_end_even_of_a_run_that_raised(tmp_path):
    path = tmp_path / "new" / "curves.png"
    engine = made(Curves(path, panels={"loss": ["loss", "missing"], "nothing": ["other"]}))
    engine.on(Events.EPOCH_STARTED(once=3))(lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run([0], max_epochs=4)
    head = path.read_bytes()[:24]
    assert head.startswith(b"\x89PNG")
    assert struct.unpack(">II", head[16:24]) == (840, 576)


def test_curves_go_on_when_a_run_is_resumed():
    first = Curves()
    saved = []
    engine = made(first)
    engine.on(Events.SAFE_POINT(once=2))(lambda e: saved.append(e.state_dict()))
    engine.run([0], max_epochs=3)

    second = Curves()
    engine = made(second)
    engine.load_state_dict(saved[0])
    engine.run([0])
    assert second.values == first.values == {"loss": [(1, 1.0), (2, 0.5), (3, 1 / 3)]}


def test_a_larger_limit_continues_the_curves():
    curves = Curves()
    engine = made(curves)
    engine.run([0], max_epochs=1)
    engine.run([0], max_epochs=2)
    assert curves.values == {"loss": [(1, 1.0), (2, 0.5)]}


def test_a_new_run_begins_new_curves():
    curves = Curves()
    engine = made(curves)
    engine.run([0, 0])
    engine.run([0])
    assert curves.values == {"loss": [(1, 1.0)]}
