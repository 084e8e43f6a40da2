"""Samples of what was predicted: pictures with the mistakes first, or numbers against the truth."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

from .line_chart import HEIGHT, WIDTH
from .markup import Markup, style, tag
from .run import Run
from .scales import Scale
from .wording import NOTHING, number, percent, plain

__all__ = ["predictions"]

_RIGHT = 24  # shown besides the mistakes
_WRONG = 48


def predictions(run: Run) -> Markup | None:
    """What engines predicted when they last evaluated."""
    classes = run.record.get("classes")
    names = [plain(one) for one in classes] if isinstance(classes, list) else []
    parts = []
    for engine, told in run.predictions.items():
        if not isinstance(told, Mapping):
            continue
        if told.get("kind") == "numbers":
            parts.append(_scatter(engine, told))
        elif told.get("kind") == "classes":
            parts.append(_grid(engine, told, names))
    parts = [part for part in parts if part is not None]
    return tag("div", parts, class_="stack") if parts else None


# ---------------------------------------------------------------------- classes


def _grid(engine: str, told: Mapping[str, Any], names: Sequence[str]) -> Markup | None:
    samples = [one for one in told.get("samples", []) if isinstance(one, Mapping)]
    wrong = [one for one in samples if one.get("predicted") != one.get("actual")]
    right = [one for one in samples if one.get("predicted") == one.get("actual")]
    wrong.sort(key=lambda one: -_confidence(one))  # the most certain mistake first
    if not samples:
        return None
    shown = [*wrong[:_WRONG], *right[:_RIGHT]]
    looked_at, mistakes = told.get("looked_at", len(samples)), told.get("mistakes", len(wrong))
    share = f", {percent(mistakes / looked_at)}" if mistakes and looked_at else ""
    hint = f"{_plural(mistakes, 'mistake')} in {looked_at} samples{share} · epoch {told['epoch']}"
    filters = [
        tag("button", label, type="button", data_show=kind, aria_pressed=str(kind == "all").lower())
        for kind, label in (("all", "all"), ("wrong", "mistakes"), ("right", "right"))
    ]
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", engine),
            tag("span", hint, class_="hint"),
            tag("span", filters, class_="filters") if wrong and right else None,
        ),
        tag("ul", [_sample(one, names) for one in shown], class_="samples"),
        class_="panel predictions",
    )


def _sample(one: Mapping[str, Any], names: Sequence[str]) -> Markup:
    predicted, actual = (_class(one.get(key), names) for key in ("predicted", "actual"))
    right = one.get("predicted") == one.get("actual")
    picture = str(one.get("image", ""))
    words = f"predicted {predicted}, which is right" if right else f"predicted {predicted}"
    words = words if right else f"{words}, but it is {actual}"
    confidence = _confidence(one)
    return tag(
        "li",
        tag("img", src=picture, alt=words)
        if picture.startswith("data:image/png;base64,")
        else None,
        tag(
            "p",
            tag("b", predicted),
            None if right else tag("span", "not ", actual),
            class_="told",
        ),
        tag(
            "i",
            class_="confidence",
            title=f"confidence {percent(confidence)}",
            style=style(v=confidence),
        )
        if "confidence" in one
        else None,
        class_="sample right" if right else "sample wrong",
    )


def _class(value: Any, names: Sequence[str]) -> str:
    return names[value] if isinstance(value, int) and 0 <= value < len(names) else plain(value)


def _confidence(one: Mapping[str, Any]) -> float:
    value = one.get("confidence")
    return float(value) if isinstance(value, (int, float)) and math.isfinite(value) else 0.0


# ---------------------------------------------------------------------- numbers


def _scatter(engine: str, told: Mapping[str, Any]) -> Markup | None:
    pairs = [(float(one[0]), float(one[1])) for one in told.get("pairs", []) if _is_pair(one)]
    if len(pairs) < 2:
        return None
    values = [value for pair in pairs for value in pair]
    low, high = min(values), max(values)
    pad = 0.05 * (high - low) or 1.0
    scale = Scale(low - pad, high + pad)
    dots = "".join(f"M{_place(scale, y)} {HEIGHT * 2 - _place(scale, p)}h0" for p, y in pairs)
    ticks = scale.ticks()
    return tag(
        "figure",
        tag(
            "figcaption",
            tag("h3", engine),
            tag("span", f"{len(pairs)} samples · epoch {told.get('epoch')}", class_="hint"),
        ),
        tag(
            "div",
            tag("div", _drawing(scale, dots, len(pairs)), _labels(ticks, scale), class_="scatter"),
            tag("div", _facts(pairs), class_="aside"),
            class_="beside",
        ),
        class_="panel",
    )


def _drawing(scale: Scale, dots: str, count: int) -> Markup:
    side = WIDTH
    rules = [
        (f"M0 {side - _place(scale, v)}H{side}", f"M{_place(scale, v)} 0V{side}")
        for v, _ in scale.ticks()
    ]
    return tag(
        "svg",
        tag("title", f"{count} predictions, from bottom to top, against truth, left to right"),
        [tag("path", d=across + up, class_="grid") for across, up in rules],
        tag("path", d=f"M0 {side}L{side} 0", class_="ideal"),
        tag("g", tag("path", d=dots, class_="dots"), class_="c1"),
        viewBox=f"0 0 {side} {side}",
        preserveAspectRatio="none",
        role="img",
    )


def _labels(ticks: Sequence[tuple[float, str]], scale: Scale) -> list[Markup]:
    at = [(text, style(at=scale.position(value))) for value, text in ticks]
    labels = [tag("span", text, style=place) for text, place in at]
    return [
        tag("div", labels, class_="y", aria_hidden="true"),
        tag("div", labels, class_="x", aria_hidden="true"),
        tag("p", "truth", class_="across"),
        tag("p", "predicted", class_="up"),
    ]


def _facts(pairs: Sequence[tuple[float, float]]) -> Markup:
    errors = [p - y for p, y in pairs]
    count, mean = len(pairs), sum(y for _, y in pairs) / len(pairs)
    squares, spread = sum(e * e for e in errors), sum((y - mean) ** 2 for _, y in pairs)
    facts = [
        ("R²", number(round(1 - squares / spread, 4)) if spread else NOTHING),
        ("root mean square error", number(math.sqrt(squares / count))),
        ("mean absolute error", number(sum(map(abs, errors)) / count)),
        ("mean error", number(sum(errors) / count)),
    ]
    rows = [tag("div", tag("dt", name), tag("dd", value)) for name, value in facts]
    return tag("dl", rows, class_="few")


def _place(scale: Scale, value: float) -> int:
    return round(WIDTH * scale.position(value))


def _is_pair(one: Any) -> bool:
    return (
        isinstance(one, list)
        and len(one) == 2
        and all(isinstance(v, (int, float)) and math.isfinite(v) for v in one)
    )


def _plural(count: Any, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
