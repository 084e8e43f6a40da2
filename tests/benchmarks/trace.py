"""What a trace costs each call of a handler while it is on, and a timer each iteration."""

import sys

from .overhead import ITERATIONS, MORE, equip, five, microseconds, step
from .timing import Row, in_a_process, in_turns, show

ROUNDS = 5  # processes


def engine(*handlers):
    from footplate import Engine

    return equip(Engine(step), handlers)


def summed(*handlers):
    """With room for few spans, so that nearly all are added up alone."""
    from footplate.handlers.trace import Trace

    made = engine(*handlers)
    made.attach(Trace(max_spans=ITERATIONS))
    return microseconds(made.run)


def kept(*handlers):
    """With every span kept one by one."""
    from footplate.handlers.trace import Trace

    made = engine(*handlers)
    made.attach(Trace(max_spans=100 * ITERATIONS))
    return microseconds(made.run)


def handlers():
    from footplate import Events

    return five(Events)


def more_handlers():
    from footplate import Events

    return [*five(Events), *[Events.ITERATION_COMPLETED] * MORE]


def plain_none():
    return microseconds(engine().run)


def traced_none():
    return kept()


def plain_five():
    return microseconds(engine(*handlers()).run)


def traced_five():
    return kept(*handlers())


def plain_more():
    return microseconds(engine(*more_handlers()).run)


def traced_more():
    return kept(*more_handlers())


def summed_more():
    return summed(*more_handlers())


def detached_five():
    from footplate.handlers.trace import Trace

    made = engine(*handlers())
    made.detach(made.attach(Trace()))
    return microseconds(made.run)


def timed():
    from footplate.handlers.timer import Timer

    made = engine()
    made.attach(Timer())
    return microseconds(made.run)


def nested(trace=None):
    """A run of one batch within a handler, over and over."""
    from footplate import Engine, Events

    outer, inner = Engine(step), Engine(step)

    @outer.on(Events.ITERATION_COMPLETED)
    def evaluate(engine):
        inner.state.max_epochs = None
        inner.run([0])

    if trace is not None:
        outer.attach(trace)
    return microseconds(lambda batches: outer.run(batches[: len(batches) // 100])) * 100


def plain_nested():
    return nested()


def traced_nested():
    from footplate.handlers.trace import Trace

    return nested(Trace())


VARIANTS = [
    plain_none,
    traced_none,
    plain_five,
    traced_five,
    plain_more,
    traced_more,
    summed_more,
    detached_five,
    timed,
    plain_nested,
    traced_nested,
]


def main():
    names = [variant.__name__ for variant in VARIANTS]
    took = in_turns(in_a_process(__name__), names, ROUNDS)
    none = took["traced_none"] - took["plain_none"]
    calls = 3.11  # in an iteration: three, and two that are filtered
    one_of_five = (took["traced_five"] - took["plain_five"] - none) / calls
    further = took["traced_more"] - took["traced_five"] - took["plain_more"] + took["plain_five"]
    summed = took["summed_more"] - took["plain_more"] - (took["traced_five"] - took["plain_five"])
    rows = [
        Row("an iteration without handlers: a trace adds", none, "µs"),
        Row("a call of one of five handlers, with its event: it adds", one_of_five, "µs", 2),
        Row("a call of a further handler: it adds", further / MORE, "µs", 2),
        Row("the same, where spans are no longer kept", summed / MORE, "µs", 2),
        Row(
            "a run of a nested engine: it adds", took["traced_nested"] - took["plain_nested"], "µs"
        ),
        Row(
            "five handlers, the trace detached again: it adds",
            took["detached_five"] - took["plain_five"],
            "µs",
        ),
        Row("a timer: an iteration", took["timed"] - took["plain_none"], "µs", 1),
    ]
    show("what looking costs", rows)


if __name__ == "__main__":
    print(globals()[sys.argv[1]]())
