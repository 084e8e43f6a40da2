"""What an iteration costs beyond the step: ours, and pytorch-ignite's, over a bare ``for``."""

import sys

from .timing import Row, in_a_process, in_turns, seconds, show

ITERATIONS = 50_000
RUNS = 5  # in a process
ROUNDS = 7  # processes
MORE = 10  # further handlers, so that the cost of one stands out from the noise


def step(engine, batch):
    return None


def handle(engine):
    return None


def loop(batches):
    for batch in batches:
        step(None, batch)


def ours(*handlers):
    from footplate import Engine

    return microseconds(equip(Engine(step), handlers).run)


def theirs(*handlers):
    from ignite.engine import Engine

    return microseconds(equip(Engine(step), handlers).run)


def equip(engine, handlers):
    for event in handlers:
        engine.add_event_handler(event, handle)
    return engine


def microseconds(run):
    """An iteration's share of the fastest of some runs, after one to warm up."""
    run(range(ITERATIONS // 10))
    return min(seconds(run, range(ITERATIONS)) for _ in range(RUNS)) / ITERATIONS * 1e6


def five(events):
    completed = events.ITERATION_COMPLETED
    return events.ITERATION_STARTED, completed, completed, completed(every=10), completed(every=100)


def bare():
    return microseconds(loop)


def none():
    return ours()


def handlers():
    from footplate import Events

    return ours(*five(Events))


def more_handlers():
    from footplate import Events

    return ours(*five(Events), *[Events.ITERATION_COMPLETED] * MORE)


def more_filters():
    from footplate import Events

    return ours(*five(Events), *[Events.ITERATION_COMPLETED(every=10**9)] * MORE)


def ignite_none():
    return theirs()


def ignite_handlers():
    from ignite.engine import Events

    return theirs(*five(Events))


VARIANTS = [bare, none, handlers, more_handlers, more_filters, ignite_none, ignite_handlers]


def main():
    names = [variant.__name__ for variant in VARIANTS]
    took = in_turns(in_a_process(__name__), names, ROUNDS)
    over = {name: value - took["bare"] for name, value in took.items()}
    further = (took["more_handlers"] - took["handlers"]) / MORE
    refused = (took["more_filters"] - took["handlers"]) / MORE
    rows = [
        Row("a bare for that calls the step", took["bare"], "µs"),
        Row("engine without handlers: more than that", over["none"], "µs", 1.0),
        Row("engine with five handlers: more than that", over["handlers"], "µs", 3.0),
        Row("a further handler", further, "µs", 0.2),
        Row("a filter that says no", refused, "µs", 0.15),
        Row("pytorch-ignite without handlers", over["ignite_none"], "µs"),
        Row("pytorch-ignite with five handlers", over["ignite_handlers"], "µs"),
        Row(
            "its overhead over ours, no handlers", over["ignite_none"] / over["none"], "x", 8, True
        ),
        Row(
            "its overhead over ours, five handlers",
            over["ignite_handlers"] / over["handlers"],
            "x",
            8,
            True,
        ),
    ]
    show("overhead of an iteration", rows)


if __name__ == "__main__":
    print(globals()[sys.argv[1]]())
