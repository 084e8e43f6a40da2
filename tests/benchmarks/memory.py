"""How much a process grows over a million iterations with five handlers."""

import sys

import psutil

from .overhead import equip, five, step
from .timing import Row, in_a_process, in_turns, show

WARM_UP = 200_000
ITERATIONS = 1_000_000
ROUNDS = 3


def growth(engine, events):
    """Mebibytes from the end of the warm-up to the end of the run."""
    sizes = []
    equip(engine, five(events)).add_event_handler(
        events.ITERATION_COMPLETED(event_filter=lambda _, n: n in (WARM_UP, WARM_UP + ITERATIONS)),
        lambda: sizes.append(psutil.Process().memory_info().rss),
    )
    engine.run(range(WARM_UP + ITERATIONS))
    return (sizes[1] - sizes[0]) / 2**20


def ours():
    from footplate import Engine, Events

    return growth(Engine(step), Events)


def ignite():
    from ignite.engine import Engine, Events

    return growth(Engine(step), Events)


def main():
    grown = in_turns(in_a_process(__name__), ["ours", "ignite"], ROUNDS)
    rows = [
        Row("footplate", grown["ours"], "MiB", 1),
        Row("pytorch-ignite", grown["ignite"], "MiB"),
    ]
    show("growth over a million iterations", rows)


if __name__ == "__main__":
    print(globals()[sys.argv[1]]())
