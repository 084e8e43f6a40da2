"""Every key, type and value of four real configurations, made wrong in some way.

What is wrong is refused where it stands, with the right name if it is near one; what is not
refused means what it meant.
"""

from __future__ import annotations

import copy
import difflib
from collections.abc import Iterator
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from footplate.recipes.commands.choosing import recipes
from footplate.recipes.composition.settings import problems_in
from footplate.recipes.config.layers import load
from footplate.recipes.config.objects import Objects

NAMES = [
    "image_classification",
    "image_classification_averaged",
    "language_model",
    "text_classification",
]
CONFIGS = {name: load(recipes()[name], environment={}).values for name in NAMES}
OBJECTS = Objects()

Path = tuple[str | int, ...]

NAMED_BY_THE_USER = {"val_evaluator", "test_evaluator"}  # metrics have any names
ANYTHING = {"train_dataloader.data", "val_dataloader.data", "test_dataloader.data"}


def paths_of(value: Any, at: Path = ()) -> Iterator[Path]:
    """The paths of all that is in a configuration."""
    if at:
        yield at
    if isinstance(value, (dict, list)):
        for key, one in value.items() if isinstance(value, dict) else enumerate(value):
            yield from paths_of(one, (*at, key))


def written(path: Path) -> str:
    text = ""
    for step in path:
        text += f"[{step}]" if isinstance(step, int) else f".{step}"
    return text.removeprefix(".")


def inside(config: Any, path: Path) -> Any:
    for step in path:
        config = config[step]
    return config


def with_value(config: Any, path: Path, value: Any) -> Any:
    changed = copy.deepcopy(config)
    inside(changed, path[:-1])[path[-1]] = value
    return changed


def with_key(config: Any, path: Path, key: str) -> Any:
    changed = copy.deepcopy(config)
    parent = inside(changed, path[:-1])
    renamed = {key if name == path[-1] else name: one for name, one in parent.items()}
    parent.clear()
    parent.update(renamed)
    return changed


def told(config: Any) -> list[Any]:
    return problems_in({"model": None, **config}, OBJECTS)


PLACES = [(name, path) for name, config in CONFIGS.items() for path in paths_of(config)]
KEYS = [
    (name, path)
    for name, path in PLACES
    if isinstance(path[-1], str)
    and path[-1] != "type"
    and written(path[:-1]) not in NAMED_BY_THE_USER
]


@pytest.mark.parametrize("name", NAMES)
def test_they_are_right_as_they_are(name):
    assert told(CONFIGS[name]) == []


@pytest.mark.covers("H3")
@settings(max_examples=250, deadline=None)
@given(place=st.sampled_from(KEYS), at=st.integers(0, 30), letter=st.sampled_from("aeiqxz_"))
def test_a_slip_in_a_key_is_told_with_the_right_name(place, at, letter):
    name, path = place
    config, right = CONFIGS[name], str(path[-1])
    wrong = right[: at % (len(right) + 1)] + letter + right[at % (len(right) + 1) :]
    if wrong in inside(config, path[:-1]):
        return
    problems = told(with_key(config, path, wrong))
    where = written((*path[:-1], wrong))
    (own,) = [one for one in problems if one.path == where]
    siblings = set(inside(config, path[:-1])) - {right}
    nearer = difflib.get_close_matches(wrong, [right, *siblings], 1)
    if nearer == [right]:
        assert repr(right) in str(own)


@pytest.mark.covers("H3")
@settings(max_examples=400, deadline=None)
@given(
    place=st.sampled_from(PLACES),
    wrong=st.sampled_from(["~ nonsense ~", -3.25, {"nonsense": 1}, ["nonsense", 2], True]),
)
def test_a_value_of_another_type_is_refused_where_it_stands(place, wrong):
    name, path = place
    where, right = written(path), inside(CONFIGS[name], path)
    if where in ANYTHING or is_right(wrong, right, where):
        return
    problems = told(with_value(CONFIGS[name], path, wrong))
    about_it = [one for one in problems if one.path.startswith(where) or where.startswith(one.path)]
    assert about_it, f"{where} was {right!r}, and {wrong!r} is taken"


def is_right(wrong: Any, right: Any, where: str) -> bool:
    """Whether the other value is of the same type, or means something there, too."""
    if isinstance(wrong, bool):
        return isinstance(right, bool) or where.endswith((".clip_grad", "visualizer"))
    if isinstance(wrong, float):  # another number; its range is for the constructor to say
        return isinstance(right, (int, float)) and not isinstance(right, bool)
    if isinstance(wrong, list):  # data may be a list of batches
        return where.endswith("_dataloader")
    if isinstance(wrong, str):  # names of folders, of images, too
        folder = where in ("work_dir", "experiment_name") or where.endswith("_dataloader.data.data")
        return isinstance(right, str) and folder
    return False


TYPES = [(name, path) for name, path in PLACES if path[-1] == "type"]


@pytest.mark.covers("H3")
@settings(max_examples=120, deadline=None)
@given(place=st.sampled_from(TYPES), at=st.integers(0, 60), letter=st.sampled_from("aqz"))
def test_a_slip_in_a_type_is_told_with_the_nearest_and_the_candidates(place, at, letter):
    name, path = place
    right = inside(CONFIGS[name], path)
    last = right.rpartition(".")[2]
    spot = len(right) - len(last) + at % (len(last) + 1)
    wrong = right[:spot] + letter + right[spot:]
    problems = told(with_value(CONFIGS[name], path, wrong))
    (own,) = [one for one in problems if one.path == written(path)]
    assert "Did you mean" in str(own)
    assert last in str(own)


@pytest.mark.covers("H3")
@pytest.mark.parametrize("name", NAMES)
def test_everything_wrong_is_told_at_once(name):
    config = copy.deepcopy(CONFIGS[name])
    keys = [path for one, path in KEYS if one == name and path[0] != "model"]
    leaves = [path for path in keys if not isinstance(inside(config, path), (dict, list))]
    for path in leaves:
        parent = inside(config, path[:-1])
        parent[f"{path[-1]}zzz"] = parent.pop(path[-1])
    paths = {one.path for one in told(config)}
    assert {f"{written(path)}zzz" for path in leaves} <= paths
