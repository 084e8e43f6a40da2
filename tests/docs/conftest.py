"""What the pages' examples change in this process is put back."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

import footplate.recipes.runner  # noqa: F401  what the library itself registers is there already
from footplate.recipes.config.registry import REGISTRIES


@pytest.fixture(autouse=True)
def nothing_is_left_behind() -> Iterator[None]:
    names = {kind: dict(one._registered) for kind, one in REGISTRIES.items()}
    threads = torch.get_num_threads()
    yield
    torch.set_num_threads(threads)
    for kind, registry in REGISTRIES.items():
        registry._registered = names[kind]
