"""Charts: written whole, with a legend where something has a name."""

from __future__ import annotations

import pytest
from matplotlib.image import imread

from footplate.engine.data.charts import chart
from tests.engine.pictures import BLUE, has_color


@pytest.mark.covers("D5")
def test_what_was_drawn_is_in_the_picture(tmp_path):
    with chart(tmp_path / "none.png"):
        pass
    with chart(tmp_path / "new" / "some.png") as (panel,):
        panel.plot([1, 2, 3], [3, 1, 2])
    assert not has_color(tmp_path / "none.png", BLUE)
    assert has_color(tmp_path / "new" / "some.png", BLUE)


def test_a_panel_with_names_has_a_legend_and_another_none(tmp_path):
    with chart(tmp_path / "two.png", 2) as (named, nameless):
        named.plot([1, 2], [1, 2], label="loss")
        nameless.plot([1, 2], [1, 2])
    assert [text.get_text() for text in named.get_legend().get_texts()] == ["loss"]
    assert nameless.get_legend() is None
    assert imread(tmp_path / "two.png").shape[:2] == (576, 840)


def test_behind_an_error_nothing_is_written(tmp_path):
    with pytest.raises(ZeroDivisionError), chart(tmp_path / "new" / "none.png"):
        raise ZeroDivisionError
    assert not any(tmp_path.iterdir())
