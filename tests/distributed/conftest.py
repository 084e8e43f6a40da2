"""Worlds of processes, which are started when they are asked for first, and then stay."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest

from tests.distributed.launching import Ranks

MOST = 4


@pytest.fixture(scope="session")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[[int], Ranks]]:
    """The processes of a world of so many, up to four; new ones behind a call that hung or killed
    them. All worlds are made up of the same processes, as each takes seconds to import."""
    started: list[Ranks] = []

    def of(size: int) -> Ranks:
        if not started or any(one.poll() is not None for one in started[-1].processes):
            folder = tmp_path_factory.mktemp("world")
            started.append(Ranks(MOST, folder, seconds=120, behind=10))
            started[-1].call("tests.distributed.evaluating:world_size")  # takes in the libraries
            started[-1].seconds = 20
        return started[-1].as_many_as(size)

    yield of
    for ranks in started:
        ranks.close()


@pytest.fixture(scope="module")
def world_size() -> int:
    """How many processes :func:`ranks` has; a module with another world says so."""
    return 2


@pytest.fixture(scope="module")
def ranks(world_size: int, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Ranks]:
    """The processes of a module's own world."""
    with Ranks(world_size, tmp_path_factory.mktemp("ranks")) as started:
        yield started
