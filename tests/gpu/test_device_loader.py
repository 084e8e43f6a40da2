"""On a real GPU: batches arrive whole, one ahead, and errors come at their own batch."""

from __future__ import annotations

import time

import pytest
import torch
from torch.nn.utils.rnn import pack_sequence
from torch.utils.data import DataLoader, Dataset

from footplate import Engine, Events
from footplate.engine.data.device import DeviceLoader, move
from footplate.engine.step.events import StepEvents

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="needs a GPU with CUDA")

SIZE = 1 << 20


class Numbers(Dataset):
    """Each item is full of its own index; one of them fails."""

    def __init__(self, length: int, broken: int | None = None) -> None:
        self.length = length
        self.broken = broken

    def __len__(self) -> int:
        return self.length

    def __getitem__(self, index: int) -> dict:
        if index == self.broken:
            raise OSError(f"sample {index} is broken")
        return {"x": torch.full((SIZE,), float(index)), "name": str(index)}


def loader(workers: int = 2, pin: bool = False, **options) -> DataLoader:
    data = Numbers(options.pop("length", 12), options.pop("broken", None))
    return DataLoader(data, batch_size=None, num_workers=workers, pin_memory=pin, **options)


@pytest.mark.parametrize("pin", [False, True])
@pytest.mark.parametrize("ahead", [None, True, False])
def test_batches_arrive_whole_while_the_gpu_is_busy(pin, ahead):
    heavy = torch.randn(2048, 2048, device="cuda")
    sums = []
    for batch in DeviceLoader(loader(pin=pin), "cuda", ahead=ahead):
        assert batch["x"].is_cuda
        for _ in range(20):  # so that the copy ahead runs while these do
            heavy = torch.tanh(heavy @ heavy)
        sums.append((batch["name"], batch["x"].min(), batch["x"].max()))
        del batch  # its memory is free to be used for another, which must not overtake
    assert [name for name, _, _ in sums] == [str(n) for n in range(12)]
    assert [(low.item(), high.item()) for _, low, high in sums] == [(n, n) for n in range(12)]


def test_memory_is_not_reused_under_the_work_that_reads_it():
    """The work on a batch is queued behind much else when the batch is let go."""
    heavy, sums = torch.randn(4096, 4096, device="cuda"), []
    for number, batch in enumerate(DeviceLoader(loader(length=40), "cuda")):
        for _ in range(5):
            heavy = torch.tanh(heavy @ heavy)
        sums.append((batch["x"] - number).abs().max())
        del batch
    assert torch.stack(sums).max().item() == 0


@pytest.mark.parametrize("ahead", [True, False])
@pytest.mark.parametrize("workers", [0, 2])
def test_an_error_in_the_data_comes_at_its_own_batch(ahead, workers):
    seen, batches = [], DeviceLoader(loader(workers, broken=3), "cuda", ahead=ahead)
    with pytest.raises(OSError, match="sample 3 is broken"):
        seen.extend(batch["x"][0].item() for batch in batches)
    assert seen == [0, 1, 2]


def test_what_moves_itself_arrives():
    packed = pack_sequence([torch.ones(3), torch.ones(1)])
    [moved] = DeviceLoader([packed], "cuda", ahead=True)
    assert moved.data.is_cuda
    assert move(moved, "cpu").data.tolist() == packed.data.tolist()


def test_only_data_of_worker_processes_go_ahead_by_default():
    taken = []

    def iterate(workers: int, **options) -> int:
        class Data:
            num_workers = workers

            def __iter__(self):
                return (taken.append(n) or torch.tensor(n) for n in range(5))

        taken.clear()
        next(iter(DeviceLoader(Data(), "cuda", **options)))
        return len(taken)

    assert iterate(2) == 2
    assert iterate(0) == 1
    assert iterate(0, ahead=True) == 2
    assert iterate(2, transfer=lambda batch, device: batch.to(device)) == 1
    engine = Engine(lambda engine, batch: None)
    assert iterate(2, engine=engine) == 2
    engine.register_events(*StepEvents)
    engine.on(StepEvents.TRANSFER_STARTED)(lambda: None)
    assert iterate(2, engine=engine) == 1


def test_a_resumed_run_goes_on_with_the_right_batches():
    def make() -> tuple[Engine, list]:
        seen: list = []
        return Engine(lambda engine, batch: seen.append(batch["x"].mean().item())), seen

    first, begun = make()
    first.on(Events.ITERATION_COMPLETED(once=5))(lambda e: e.interrupt())
    first.run(DeviceLoader(loader(), "cuda"))
    second, rest = make()
    second.load_state_dict(first.state_dict())
    second.run(DeviceLoader(loader(), "cuda"))
    assert begun + rest == list(range(12))


def test_how_much_of_the_copying_is_hidden(capsys):
    """Prints seconds with and without going ahead; a figure to look at, not to assert on."""
    heavy = torch.randn(4096, 4096, device="cuda")

    # in pinned memory already, so that the copy is all that there is to hide
    ready = [torch.ones(1 << 26).pin_memory() for _ in range(2)] * 10

    def seconds(ahead: bool) -> float:
        torch.cuda.synchronize()
        start = time.perf_counter()
        for batch in DeviceLoader(ready, "cuda", ahead=ahead):
            work = heavy
            for _ in range(10):
                work = torch.tanh(work @ heavy)
            (work.sum() + batch.sum()).item()
        return time.perf_counter() - start

    seconds(True)
    inline, hidden = seconds(False), seconds(True)
    with capsys.disabled():
        print(f"\n20 batches of 256 MiB: {inline:.3f} s in line, {hidden:.3f} s one ahead")
