"""What samples in tar shards cost beside plain reading of them, and to take up a pass over them.

10,000 samples of 4 KiB and a label, in shards of 1000, which lie in the system's cache.
"""

import statistics
import tarfile
import tempfile
from pathlib import Path

import torch

from .timing import Row, in_turns, seconds, show

SAMPLES, PER_SHARD, ROUNDS = 10_000, 1_000, 5


def plain(shards):
    """Microseconds a sample to read all of them as they lie, by tarfile, and decode nothing."""

    def walk():
        for shard in shards:
            with tarfile.open(shard) as tar:
                for member in tar:
                    tar.extractfile(member).read()

    return seconds(walk) / SAMPLES * 1e6


def ours(data, **order):
    """Microseconds a sample to read all of them in an order."""
    from footplate.engine.data.order import ordered_loader

    def walk():
        for _ in ordered_loader(data, 64, collate_fn=len, **order):
            pass

    return seconds(walk) / SAMPLES * 1e6


def taking_up(shards, samples):
    """Milliseconds until the next batch is there, behind so many samples of as many again."""
    from footplate.engine.data.order import OrderSampler
    from footplate.engine.data.shard_order import ShardOrder
    from footplate.engine.data.tar_shards import TarShards
    from footplate.engine.passes import passes_over

    lengths = (PER_SHARD,) * (2 * samples // PER_SHARD)
    sampler = OrderSampler(ShardOrder(2 * samples, lengths=lengths, shuffle=True))
    loader = torch.utils.data.DataLoader(_Repeated(TarShards(shards)), 64, sampler=sampler)
    passes = passes_over(loader)
    next(passes.begin())
    return statistics.median(seconds(lambda: next(passes.go_on(samples // 64))) for _ in range(5))


class _Repeated(torch.utils.data.Dataset):
    """More samples than there are."""

    def __init__(self, data):
        self.data = data

    def __getitem__(self, index):
        return self.data[index % len(self.data)]


def main():
    from footplate.engine.data.tar_shards import TarShards
    from footplate.engine.data.tar_writing import write_shards

    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        samples = ({"bin": bytes(4096), "cls": n} for n in range(SAMPLES))
        shards = write_shards(samples, Path(folder) / "shards", PER_SHARD)
        data = TarShards(shards)
        ways = {
            "plain": lambda: plain(shards),
            "in order": lambda: ours(data),
            "shuffled": lambda: ours(data, shuffle=True),
        }
        took = in_turns(lambda way: ways[way](), ways, ROUNDS)
        begun = statistics.median(seconds(TarShards, shards) for _ in range(ROUNDS))
        show(
            "data in shards",
            [
                Row("a sample by tarfile, one after the other", took["plain"], "µs"),
                Row("  by TarShards, in order, decoded", took["in order"], "µs"),
                Row("  shuffled", took["shuffled"], "µs", took["plain"]),
                Row("a shard opened for its length", begun / len(shards) * 1e6, "µs"),
                Row("a pass taken up behind 10⁵ samples", taking_up(shards, 10**5) * 1e3, "ms"),
                Row("  behind 10⁶", taking_up(shards, 10**6) * 1e3, "ms", 1000),
            ],
        )


if __name__ == "__main__":
    main()
