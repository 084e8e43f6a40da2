"""The name of a metric tells whether less of it is better, where nobody says."""

from __future__ import annotations

from typing import Literal

import pytest

from footplate.engine.better import mode_of, told_by_name


@pytest.mark.parametrize(
    ("metric", "told"),
    [
        ("val_loss", "less"),
        ("trainLoss", "less"),
        ("wer", "less"),
        ("FID50", "less"),
        ("val_accuracy", "greater"),
        ("valacc", "greater"),
        ("coco/AP50", "greater"),
        ("top5", "greater"),
        ("score", None),
        ("lossless", None),
        ("", None),
    ],
)
def test_words_of_a_name_tell(metric: str, told: Literal["less", "greater"] | None) -> None:
    assert told_by_name(metric) == told
    assert mode_of(metric, None) == ("min" if told == "less" else "max")
    assert (mode_of(metric, "max"), mode_of(metric, "min")) == ("max", "min")


def test_another_mode_is_refused() -> None:
    with pytest.raises(ValueError, match="mode is 'max' or 'min', given 'less'"):
        mode_of("loss", "less")  # type: ignore[arg-type]
