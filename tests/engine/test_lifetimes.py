"""How long things live: with the last name, or at the next collection, and never longer."""

import gc
import subprocess
import sys
import weakref

import pytest

from footplate import Bus, Engine, Events, Handler

pytestmark = pytest.mark.usefixtures("no_collector")


class Model:
    """Stands for a model: something large that a step and handlers refer to."""

    def __init__(self):
        self.seen = 0

    def see(self):
        self.seen += 1

    def hear(self, sender):
        self.seen += 1

    def __call__(self, engine, batch):
        return batch


class Counter(Handler):
    def __init__(self, model):
        self.model = model

    def on_register(self, engine):
        engine.register_events("COUNTED")

    def iteration_completed(self, engine):
        self.model.see()
        engine.fire_event("COUNTED")

    def after_train_iter(self, engine, outputs):
        self.model.see()

    def exception_raised(self, engine, exception):
        self.model.see()

    def state_dict(self):
        return {"seen": self.model.seen}

    def load_state_dict(self, state):
        self.model.seen = state["seen"]


def plain(engine, model):
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), model.see)


def with_class_handlers(engine, model):
    engine.attach(Counter(model))


def with_any_receivers(engine, model):
    for signal in engine.bus.values():
        signal.connect(lambda sender, **payload: None)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda engine: model.see())


def with_blinker_receivers(engine, model):
    engine.bus.signal("EPOCH_COMPLETED").connect(lambda sender: model.see(), sender=engine)
    engine.bus.signal("STARTED").connect(model.hear, weak=True)


def with_nested_evaluation(engine, model):
    evaluator = Engine(model, bus=engine.bus, name="val")
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([1, 2]))


def with_removed_handlers(engine, model):
    engine.add_event_handler(Events.STARTED, engine.interrupt).remove()
    engine.detach(engine.attach(Counter(model)))


def with_a_saved_state(engine, model):
    engine.load_state_dict({"epoch_length": 2, "iteration": 1, "max_epochs": 2})
    engine.add_event_handler(Events.SAFE_POINT, lambda engine: engine.state_dict())


def run(engine, batches):
    engine.run(batches, max_epochs=2)


def run_until_raised(engine, batches):
    engine.add_event_handler(Events.ITERATION_COMPLETED(every=2), lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run(batches, max_epochs=2)


def run_until_the_data_raise(engine, batches):
    with pytest.raises(ZeroDivisionError):
        engine.run(1 / (2 - number) for number in range(4))


def run_until_terminated(engine, batches):
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda engine: engine.terminate())
    engine.run(batches)


def run_until_interrupted(engine, batches):
    engine.add_event_handler(Events.ITERATION_COMPLETED(once=2), lambda engine: engine.interrupt())
    engine.run(batches, max_epochs=2)


def run_with_failing_closed(engine, batches):
    engine.add_event_handler(Events.CLOSED, lambda: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        engine.run(batches)


def run_with_failures_everywhere(engine, batches):
    for event in (Events.EXCEPTION_RAISED, Events.CLOSED, Events.CLOSED):
        engine.add_event_handler(event, lambda: 1 / 0)
    with pytest.raises(ExceptionGroup):
        engine.run(batches)
    run_until_raised(engine, batches)


def never_run(engine, batches):
    pass


EQUIPPED = [
    plain,
    with_class_handlers,
    with_any_receivers,
    with_blinker_receivers,
    with_nested_evaluation,
    with_removed_handlers,
    with_a_saved_state,
]
ENDED = [
    run,
    run_until_raised,
    run_until_the_data_raise,
    run_until_terminated,
    run_until_interrupted,
    run_with_failing_closed,
    run_with_failures_everywhere,
    never_run,
]


def leftovers(bus):
    """The events for which a bus still knows a channel of some sender."""
    return [name for name, signal in bus.items() if len(signal._channels) or signal._kept]


@pytest.mark.filterwarnings("ignore:the run goes on behind batch:RuntimeWarning")
@pytest.mark.covers("A3", "A9")
@pytest.mark.parametrize("end", ENDED, ids=lambda end: end.__name__)
@pytest.mark.parametrize("equip", EQUIPPED, ids=lambda equip: equip.__name__)
def test_an_engine_that_nobody_refers_to_dies_with_its_last_name(equip, end):
    bus, model = Bus(), Model()
    engine = Engine(model, bus=bus, name="train")
    equip(engine, model)
    end(engine, [[1], [2], [3]])
    gone = [weakref.ref(thing) for thing in (engine, model, engine.state)]

    del engine, model

    assert [ref() for ref in gone] == [None] * 3
    assert leftovers(bus) == []
    assert any(signal.receivers for signal in bus.values()) == (equip is with_any_receivers)


@pytest.mark.covers("A3")
@pytest.mark.parametrize("weak", [False, True])
def test_a_bus_and_those_who_hear_everybody_die_with_its_last_name(weak):
    engine, model = Engine(Model()), Model()
    engine.bus.signal("STARTED").connect(model.hear, weak=weak)
    engine.bus.signal("STARTED").connect(model.hear, sender="somebody", weak=weak)
    engine.run([1])
    assert model.seen == 1
    gone = [weakref.ref(thing) for thing in (model, engine.bus, *engine.bus.values())]

    del engine, model

    assert {ref() for ref in gone} == {None}


def refer_by_function(engine):
    engine.add_event_handler(Events.STARTED, lambda: engine.state)


def refer_by_method(engine):
    engine.add_event_handler(Events.EPOCH_COMPLETED, engine.fire_event, Events.OPENED)


def refer_by_argument(engine):
    engine.add_event_handler(Events.STARTED, lambda given: None, engine)


def refer_by_receiver(engine):
    engine.bus.signal("STARTED").connect(lambda sender: engine.state, sender=engine)


def refer_by_class_handler(engine):
    handler = Counter(Model())
    handler.engine = engine
    engine.attach(handler)


def refer_by_each_other(engine):
    evaluator = Engine(lambda engine, batch: None, bus=engine.bus)
    engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: evaluator.run([1]))
    evaluator.add_event_handler(Events.EPOCH_COMPLETED, lambda: engine.state.epoch)


@pytest.mark.covers("A3")
@pytest.mark.parametrize(
    "refer",
    [
        refer_by_function,
        refer_by_method,
        refer_by_argument,
        refer_by_receiver,
        refer_by_class_handler,
        refer_by_each_other,
    ],
    ids=lambda refer: refer.__name__,
)
def test_handlers_that_hold_their_engine_die_with_it_at_the_next_collection(refer):
    bus, model = Bus(), Model()
    bus.signal("STARTED").connect(lambda sender: None)
    engine = Engine(model, bus=bus, name="train")
    refer(engine)
    engine.run([1, 2])
    gone = [weakref.ref(engine), weakref.ref(model)]

    del engine, model
    assert None not in [ref() for ref in gone]
    gc.collect()

    assert [ref() for ref in gone] == [None, None]
    assert leftovers(bus) == []


@pytest.mark.covers("A3", "A8")
def test_an_engine_lives_on_in_the_exception_that_it_raised_and_no_longer():
    engine = Engine(lambda engine, batch: 1 / 0)
    gone = weakref.ref(engine)
    with pytest.raises(ZeroDivisionError) as caught:
        engine.run([1])
    del engine
    assert gone() is not None
    del caught
    assert gone() is None


@pytest.mark.covers("A1")
def test_a_batch_and_an_output_live_no_longer_than_the_next_iteration():
    class Thing: ...

    def things(name):
        for _ in range(4):
            thing = Thing()
            made[name].append(weakref.ref(thing))
            yield thing
            del thing

    made = {"batch": [], "output": []}
    outputs = things("output")
    engine = Engine(lambda engine, batch: next(outputs))
    alive = []

    @engine.on(Events.ITERATION_COMPLETED)
    def count(engine):
        alive.append([sum(ref() is not None for ref in refs) for refs in made.values()])

    engine.run(things("batch"), epoch_length=4)
    assert alive == [[1, 1]] * 4


GROWTH = """
import psutil
from footplate import Engine, Events

engine = Engine(lambda engine, batch: None)
engine.add_event_handler(Events.ITERATION_STARTED, lambda engine: None)
engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: None)
engine.add_event_handler(Events.ITERATION_COMPLETED, lambda engine: None)
engine.add_event_handler(Events.ITERATION_COMPLETED(every=10), lambda engine: None)
engine.add_event_handler(Events.ITERATION_COMPLETED(every=100), lambda engine: None)
rss = psutil.Process().memory_info
sizes = []
engine.add_event_handler(Events.EPOCH_COMPLETED, lambda: sizes.append(rss().rss))
engine.run(max_epochs=12, epoch_length=100_000)
print(sizes[-1] - sizes[1])
"""


@pytest.mark.covers("A1")
def test_a_million_iterations_with_five_handlers_grow_the_process_by_less_than_a_mebibyte():
    done = subprocess.run(
        [sys.executable, "-c", GROWTH], capture_output=True, text=True, timeout=300, check=True
    )
    assert int(done.stdout) < 2**20
