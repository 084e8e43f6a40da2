"""Tables and streams of the datasets library: batches, epochs, and going on where a run stood."""

from __future__ import annotations

import io
import os
from itertools import chain

import pytest
import torch
from torch.utils.data import DataLoader

from footplate import Engine
from footplate.engine.data.tables import forgets_its_buffer
from footplate.engine.events import Events
from footplate.handlers.sampler_seed import SamplerSeed

os.environ.setdefault("HF_DATASETS_OFFLINE", "1")  # nothing is looked for elsewhere
datasets = pytest.importorskip("datasets")
stateful = pytest.importorskip("torchdata.stateful_dataloader")

pytestmark = [
    pytest.mark.covers("C3", "G4"),
    # of torchdata's own
    pytest.mark.filterwarnings("ignore:'set_vital' is deprecated:UserWarning"),
]
ROWS = 22


def table(**columns):
    numbers = range(ROWS)
    return datasets.Dataset.from_dict(
        {"x": [[float(n), 1.0] for n in numbers], "number": list(numbers), **columns}
    )


def stream(**shuffling):
    made = table().to_iterable_dataset(num_shards=4)
    return made.shuffle(seed=1, **shuffling) if shuffling else made


SETS = {
    "table": lambda: table().with_format("torch"),
    "stream": stream,
    "stream, shards in another order": lambda: stream(buffer_size=1),
    "shuffled stream": lambda: stream(buffer_size=5),
    "two shuffled streams": lambda: datasets.concatenate_datasets([stream(buffer_size=5)] * 2),
    "mapped stream": lambda: stream(buffer_size=5).map(lambda row: {"twice": 2 * row["number"]}),
}
LOADERS = {
    "torch": DataLoader,
    "torchdata": stateful.StatefulDataLoader,
}


def run(loader, *, until=None, state=None):
    """The numbers of two epochs' rows by batch, and the state where the run was cut."""
    engine = Engine(lambda engine, batch: list(map(int, batch["number"])), name="train")
    engine.attach(SamplerSeed())
    seen, saved = [], io.BytesIO()
    engine.add_event_handler(
        Events.ITERATION_COMPLETED, lambda engine: seen.append(engine.state.output)
    )

    @engine.on(Events.SAFE_POINT)
    def cut(engine):
        if engine.state.iteration == until:
            torch.save(engine.state_dict(), saved)
            engine.interrupt()

    if state is not None:
        state.seek(0)
        engine.load_state_dict(torch.load(state, weights_only=True))
    torch.manual_seed(0)
    engine.run(loader, max_epochs=2)
    return seen, saved


@pytest.mark.filterwarnings("ignore:the run goes on behind batch .* can't be told:RuntimeWarning")
@pytest.mark.parametrize("until", [2, 8])
@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("loader", LOADERS)
@pytest.mark.parametrize("kind", ["table", "stream", "shuffled stream"])
def test_a_run_goes_on_amid_a_pass(kind, loader, workers, until):
    def made():
        return LOADERS[loader](SETS[kind](), 4, num_workers=workers)

    whole, _ = run(made())
    first, state = run(made(), until=until)
    rest, _ = run(made(), state=state)
    assert first + rest == whole
    assert sorted(chain(*whole)) == sorted([*range(ROWS)] * 2)


@pytest.mark.filterwarnings("ignore:the run goes on behind batch .* can't be told:RuntimeWarning")
@pytest.mark.parametrize("kind", [*SETS][2:])
def test_a_shuffled_stream_loses_no_row_of_its_buffer(kind):
    whole, _ = run(DataLoader(SETS[kind](), 4))
    first, state = run(DataLoader(SETS[kind](), 4), until=3)
    rest, _ = run(DataLoader(SETS[kind](), 4), state=state)
    assert first + rest == whole


def test_each_pass_of_a_shuffled_stream_has_another_order():
    seen, _ = run(DataLoader(stream(buffer_size=5), 4))
    first, second = seen[:6], seen[6:]
    assert sorted(chain(*first)) == sorted(chain(*second))
    assert first != second


def test_what_walks_again_says_so():
    first, state = run(DataLoader(stream(buffer_size=5), 4), until=2)
    with pytest.warns(RuntimeWarning, match="first 2 batches are fetched again"):
        run(DataLoader(stream(buffer_size=5), 4), state=state)
    assert first


@pytest.mark.parametrize("kind", SETS)
def test_which_streams_forget_their_buffer(kind):
    made = SETS[kind]()
    expected = kind in ("shuffled stream", "two shuffled streams", "mapped stream")
    assert forgets_its_buffer(made) == forgets_its_buffer(DataLoader(made, 4)) == expected


def test_a_batch_is_a_mapping_of_columns():
    batch = next(iter(DataLoader(table(name=list("ab") * 11).with_format("torch"), 3)))
    assert torch.equal(batch["x"], torch.tensor([[0.0, 1.0], [1.0, 1.0], [2.0, 1.0]]))
    assert batch["name"] == ["a", "b", "a"]
