"""The pictures of the house and of the loop show what the code says."""

from __future__ import annotations

import runpy
from collections import Counter
from typing import Any
from xml.etree import ElementTree

import pytest

from footplate.engine.engine import Engine
from footplate.engine.events import Events
from tests.architecture.library import FILES, ROOT

DOCS = ROOT / "docs"
HOUSE = runpy.run_path(str(DOCS / "house.py"))  # not imported: no module stays
LOOP = runpy.run_path(str(DOCS / "loop_picture.py"))


@pytest.fixture(scope="module")
def rooms() -> dict[tuple[str, str], Any]:
    return HOUSE["ROOMS"]["rooms"]()


@pytest.mark.parametrize(
    ("script", "page"), [("house.py", "architecture.md"), ("loop_picture.py", "events.md")]
)
def test_the_picture_is_as_the_code_draws_it(script: str, page: str) -> None:
    drawing = HOUSE if script == "house.py" else LOOP
    text = drawing["FILE"].read_text()
    assert text == drawing["picture"](), f"run: python docs/{script}"
    ElementTree.fromstring(text)
    assert f":file: {drawing['FILE'].name}" in (DOCS / page).read_text()


def test_every_file_is_in_a_room(rooms: dict[tuple[str, str], Any]) -> None:
    files = [file for file in FILES.values() if file.name != "__init__.py"]
    assert sum(room.files for room in rooms.values()) == len(files)


def test_every_room_of_the_engine_stands_on_the_core(rooms: dict[tuple[str, str], Any]) -> None:
    others = [room for key, room in rooms.items() if key[0] == "engine" and key[1] != "core"]
    assert [room.name for room in others if not room.takes["engine", "core"]] == []


def test_no_picture_is_drawn_of_an_import_upwards(rooms: dict[tuple[str, str], Any]) -> None:
    edges = dict.fromkeys(HOUSE["FLOORS"], (0, 0))
    turned = dict(rooms)
    turned["engine", "step"] = type(rooms["engine", "step"])(
        "engine", "step", takes=Counter({("handlers", "files"): 1})
    )
    HOUSE["_stairs"](rooms, edges)
    with pytest.raises(ValueError, match="engine/ imports handlers/"):
        HOUSE["_stairs"](turned, edges)


def test_the_loop_is_read_in_the_order_of_the_events() -> None:
    rows = [entry.what for entry in LOOP["in_order"]() if entry.what in Events]
    last = [name for number, name in enumerate(rows) if name not in rows[number + 1 :]]
    assert last == [str(event) for event in Events]


def test_a_run_comes_by_the_rows_in_their_order() -> None:
    """Going down the rows, and back up where a loop begins again, tells all of a run."""
    fired = []
    engine = Engine(lambda engine, batch: None)
    for event in Events:
        engine.bus.signal(event).connect(
            lambda sender, **_: fired.append(sender.last_event_name), weak=False
        )
    engine.run([1, 2], max_epochs=1)
    usual = LOOP["in_every_run"]() - {"DATALOADER_STOP_ITERATION"}
    rows = [entry for entry in LOOP["in_order"]() if entry.what in usual]
    by_depth = {depth: [one.what for one in rows if one.depth == depth] for depth in range(3)}
    opened, epoch, iteration = by_depth[0], by_depth[1], by_depth[2]
    last = iteration[:-1]  # SAFE_POINT of the last iteration comes behind EPOCH_COMPLETED
    assert fired == [*opened[:2], epoch[0], *iteration, *last, *epoch[1:], *opened[2:]]
