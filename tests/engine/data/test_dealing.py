"""The rest of a pass, shared out among another number of processes: no sample is lost."""

from collections import Counter

import pytest
import torch
from hypothesis import example, given, settings
from hypothesis import strategies as st
from torch.utils.data import DataLoader, DistributedSampler

from footplate import Engine, Events
from footplate.engine.combined import combined
from footplate.engine.data.in_memory import InMemoryLoader
from footplate.engine.data.order import ordered_loader
from footplate.engine.limited import limited
from footplate.handlers.sampler_seed import SamplerSeed

EPOCHS = 2


def run_of(state, loader, at=None):
    """A process of a run: epochs and samples of its batches, and its state where it is cut."""
    taken = []
    engine = Engine(lambda engine, batch: taken.append((engine.state.epoch, batch.tolist())))
    if at is not None:
        engine.add_event_handler(Events.ITERATION_COMPLETED(once=at), engine.interrupt)
    engine.attach(SamplerSeed())
    if state is not None:
        engine.load_state_dict(state)
        engine.source.moved = True
    engine.run(loader, max_epochs=EPOCHS)
    return taken, engine.state_dict()


def runs(size, batch, cuts, worlds, make):
    """The batches of all processes of runs, each of which is cut and goes on in the next."""
    taken, state = [], None
    for world, at in zip(worlds, [*cuts, None], strict=True):
        told = [run_of(state, make(size, batch, rank, world), at) for rank in range(world)]
        taken.append([batches for batches, _ in told])
        state = told[0][1]
        if state["footplate"]["next"] == "NOTHING":  # it came to its end before the cut
            break
    return taken


def ordered(even):
    return lambda size, batch, rank, world: ordered_loader(
        range(size), batch, shuffle=True, seed=3, rank=rank, world_size=world, even=even
    )


def distributed(size, batch, rank, world):
    sampler = DistributedSampler(range(size), world, rank, seed=3)
    return DataLoader(range(size), batch, sampler=sampler)


def in_memory(size, batch, rank, world):
    options = {"shuffle": True, "seed": 3, "rank": rank, "world_size": world}
    return InMemoryLoader(torch.arange(size), batch, **options)


def of_several(size, batch, rank, world):
    # Of different lengths, so that what is left of each is counted from another batch.
    given = size, batch, rank, world
    several = combined([in_memory(*given), ordered(even=True)(size + 9, *given[1:])])
    several.together = lambda batches: next(iter(batches.values()))
    return several


def plain(size, batch, rank, world):
    """What a runner makes of ``DataLoader(shuffle=True)``, by one process and by several."""
    if world == 1:
        return DataLoader(range(size), batch, shuffle=True)
    return ordered(even=True)(size, batch, rank, world)


class Unsized:
    """Data of which each process has a part, and that don't say how long they are."""

    def __init__(self, size, batch, rank, world):
        self.batches = torch.arange(rank, size, world).split(batch)

    def __iter__(self):
        yield from self.batches


def longest(*given):
    several = combined([in_memory(*given), in_memory(*given)], "max_size_cycle")
    several.together = lambda batches: batches[0]
    return several


@pytest.mark.covers("I4")
@pytest.mark.parametrize(
    "make",
    [ordered(even=True), distributed, in_memory, of_several],
    ids=["ours", "torch", "memory", "several"],
)
@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(1, 40),
    batch=st.integers(1, 5),
    worlds=st.lists(st.integers(1, 4), min_size=2, max_size=3),
    data=st.data(),
)
def test_every_sample_of_a_pass_comes_once(make, size, batch, worlds, data):
    length = len(make(size, batch, 0, worlds[0]))
    first = data.draw(st.integers(1, 2 * length - 1) if length > 1 else st.just(1))
    cuts = [first, *(first + data.draw(st.integers(1, 3)) for _ in worlds[2:])]
    cuts = cuts[: len(worlds) - 1]
    seen = Counter()
    for ranks in runs(size, batch, cuts, worlds, make):
        for batches in ranks:
            seen.update((epoch, one) for epoch, batch in batches for one in batch)
    for epoch in range(1, EPOCHS + 1):
        assert all(seen[epoch, one] for one in range(size)), "a sample is lost"
        doubled = sum(seen[epoch, one] - 1 for one in range(size))
        assert doubled < max(worlds), "samples come twice, but for those that fill up"


@pytest.mark.covers("I4")
@settings(max_examples=40, deadline=None)
@given(
    size=st.integers(2, 40), batch=st.integers(1, 3), at=st.integers(1, 6), world=st.integers(1, 3)
)
@example(size=5, batch=1, at=1, world=2)
def test_without_filling_up_each_comes_exactly_once(size, batch, at, world):
    at = min(at, max(1, -(-size // batch) - 1))
    seen = Counter()
    for ranks in runs(size, batch, [at], [1, world], ordered(even=False)):
        for batches in ranks:
            seen.update((epoch, one) for epoch, batch in batches for one in batch)
    assert seen == Counter((epoch, one) for epoch in range(1, EPOCHS + 1) for one in range(size))


def test_the_epochs_that_follow_are_as_long_as_a_pass_is_now():
    (before,), others = runs(24, 2, [5], [1, 3], ordered(even=True))
    assert len(before) == 5
    lengths = [Counter(epoch for epoch, _ in batches) for batches in others]
    assert lengths == [{1: 3, 2: 4}] * 3  # 14 samples are left of 24


@pytest.mark.covers("I4")
@settings(max_examples=60, deadline=None)
@given(
    size=st.integers(4, 40),
    worlds=st.tuples(st.integers(1, 3), st.integers(1, 3)),
    amount=st.sampled_from([1, 2, 3, 5, "30%", "80%"]),
    data=st.data(),
)
def test_a_limit_holds_and_no_sample_comes_twice(size, worlds, amount, data):
    def make(*given):
        return limited(in_memory(*given), amount)

    lengths = [len(make(size, 2, 0, world)) for world in worlds]
    at = data.draw(st.integers(1, lengths[0]))
    seen = Counter()
    _, others = told = runs(size, 2, [at], worlds, make)
    for ranks in told:
        for batches in ranks:
            seen.update((epoch, one) for epoch, batch in batches for one in batch)
    assert sum(seen[1, one] > 1 for one in range(size)) < max(worlds)
    for batches in others:
        taken = Counter(epoch for epoch, _ in batches)
        assert taken[2] == lengths[1]
        assert taken[1] <= lengths[1]
        assert at < lengths[0] or worlds[0] == worlds[1] or not taken[1]


@pytest.mark.covers("I4")
@pytest.mark.parametrize("make", [plain, longest, Unsized], ids=["plain", "longest", "unsized"])
@pytest.mark.parametrize(("worlds", "at"), [((1, 2), 10), ((2, 1), 3), ((2, 1), 9), ((1, 3), 16)])
@pytest.mark.filterwarnings("ignore:the run was saved over a loader")
def test_else_the_pass_is_begun_anew(make, worlds, at):
    lengths = [sum(1 for _ in make(24, 2, 0, world)) for world in worlds]
    with pytest.warns(RuntimeWarning, match="the pass under way is left and a new one begun"):
        _, others = runs(24, 2, [at], worlds, make)
    epoch = 1 + at // lengths[0]
    for batches in others:
        assert Counter(one for one, _ in batches) == dict.fromkeys(
            range(epoch, EPOCHS + 1), lengths[1]
        )
    for one in range(epoch, EPOCHS + 1):
        taken = [sample for ranks in others for e, batch in ranks for sample in batch if e == one]
        assert sorted(taken) == list(range(24)), "a sample is lost"


@pytest.mark.parametrize("make", [plain, longest])
@pytest.mark.parametrize("worlds", [(1, 2), (2, 1)])
@pytest.mark.filterwarnings("error:.*can't be shared out")
@pytest.mark.filterwarnings("ignore:the run was saved over a loader")
def test_a_pass_that_is_over_is_not_begun_anew(make, worlds):
    before, after = (sum(1 for _ in make(24, 2, 0, world)) for world in worlds)
    _, others = runs(24, 2, [before], worlds, make)
    assert [Counter(epoch for epoch, _ in one) for one in others] == [{2: after}] * worlds[1]
