"""What a batch costs of data in memory, a sample of its own randomness, a pass to be taken up.

The loaders take turns, pass by pass, so that whatever else the machine does hits both alike. The
figures are medians over the rounds.
"""

import statistics

import torch
from torch.utils.data import DataLoader, Dataset, TensorDataset

from .timing import Row, in_turns, seconds, show

BATCH_SIZE = 64
ROUNDS = 200


class Index(Dataset):
    """The cheapest samples there are."""

    def __len__(self):
        return 1024

    def __getitem__(self, index):
        return index


def digits():
    """As many images and labels as the digits have for training."""
    return torch.rand(1257, 1, 8, 8), torch.randint(0, 10, (1257,))


def walk(loader):
    """Take all batches, and keep none."""
    for _ in loader:
        pass


def batches():
    """The microseconds of a batch: of a DataLoader, and of ours."""
    from footplate.engine.data.in_memory import InMemoryLoader

    data = digits()
    theirs = DataLoader(TensorDataset(*data), BATCH_SIZE, shuffle=True)
    ours = InMemoryLoader(data, BATCH_SIZE, shuffle=True)
    took = in_turns(lambda one: seconds(walk, one), [theirs, ours], ROUNDS)
    return [took[one] / len(one) * 1e6 for one in (theirs, ours)]


def samples(batch_size):
    """What the randomness of a sample adds, in microseconds."""
    from footplate.engine.data.order import ordered_loader

    loaders = [
        ordered_loader(Index(), batch_size, sample_rng=sample_rng, collate_fn=len)
        for sample_rng in (False, True)
    ]
    plain, seeded = in_turns(lambda one: seconds(walk, one), loaders, ROUNDS // 10).values()
    return (seeded - plain) / len(Index()) * 1e6


def taking_up():
    """Milliseconds until a batch in the midst of a pass over a million samples is there."""
    from footplate.engine.data.in_memory import InMemoryLoader

    loader = InMemoryLoader(torch.rand(10**6, 16), BATCH_SIZE, shuffle=True)
    passes = loader.make_passes()
    next(passes.begin())
    middle = len(loader) // 2
    return statistics.median(seconds(lambda: next(passes.go_on(middle))) for _ in range(20)) * 1e3


def skipping():
    """Microseconds an index that a stock, shuffled DataLoader takes to stand where it stood."""
    from footplate.engine.passes import passes_over

    passes, batch = passes_over(DataLoader(range(10**6), BATCH_SIZE, shuffle=True)), 15_000
    next(passes.begin())
    took = statistics.median(seconds(lambda: next(passes.go_on(batch))) for _ in range(5))
    return took / (batch * BATCH_SIZE) * 1e6


def main():
    torch.set_num_threads(1)
    theirs, ours = batches()
    show(
        "data in memory",
        [
            Row("a batch of 64 digits by DataLoader(TensorDataset)", theirs, "µs"),
            Row("  by InMemoryLoader", ours, "µs"),
            Row("  the ratio", theirs / ours, "x", 10, at_least=True),
            Row("a pass over 10⁶ samples taken up in the midst", taking_up(), "ms", 1000),
            Row("an index that a stock DataLoader skips", skipping(), "µs", 0.3),
            Row("sample_rng: more a sample, in batches of 64", samples(BATCH_SIZE), "µs", 500),
            Row("  in batches of 1", samples(1), "µs", 500),
        ],
    )


if __name__ == "__main__":
    main()
