"""Raw loops in several processes: what a test calls in each, and a script that is signalled.

python -m tests.distributed.raw_loop FOLDER
"""

from __future__ import annotations

import contextlib
import io
import runpy
import sys
from pathlib import Path
from typing import Any

import torch
from torch import nn
from torch.nn import functional as F
from torch.utils.data import DataLoader, TensorDataset

from footplate.engine.errors import LaunchError
from footplate.engine.placement.ranks import rank, world_size
from footplate.engine.placement.sharded import Sharded
from footplate.engine.step.clipping import ClipNorm
from footplate.recipes.raw_loop import RawLoop, setup

SAMPLES, TOGETHER = 56, 8  # in all, and in the batches of all processes together
OPTIONS: dict[str, dict[str, Any]] = {
    "window": {"accumulate": 3},
    "clip": {"clip": ClipNorm(0.1)},
    "half": {"precision": "bf16"},
    "weighed": {"accumulate": 2},
    "skipped": {"accumulate": 2},
}
OUT_OF_STEP = ("leaves out an update", "ends amid an epoch")
CASES = ("called", "by itself", "evaluating", "twice", "frozen", "shards", *OPTIONS)


def data() -> TensorDataset:
    """The same samples in all processes."""
    generator = torch.Generator().manual_seed(4)
    x = torch.randn(SAMPLES, 3, generator=generator)
    return TensorDataset(x, x.sum(1, keepdim=True).tanh())


def made(case: str, **options: Any) -> tuple[nn.Module, RawLoop]:
    """A model that differs from process to process to begin with, and its loop."""
    torch.manual_seed(rank())
    model: nn.Module = nn.Sequential(nn.Linear(3, 6), nn.Tanh(), nn.Linear(6, 1))
    if case == "shards":
        options["placement"] = placement = Sharded("cpu", modules=("Linear",))
        placement.place(model)
    if case == "frozen":
        model[0].requires_grad_(False)  # type: ignore[index]
    optimizer = torch.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)
    loader = DataLoader(data(), TOGETHER // world_size())
    options = {"device": "cpu", **OPTIONS.get(case, {}), **options}
    return model, setup(model, optimizer, loader, **options)


def trained(case: str) -> dict[str, Any]:
    """What a loop comes to in two epochs."""
    torch.manual_seed(0)
    model, loop = made(case)
    steps, losses = 0, []
    for epoch in loop.epochs(2):
        for number, (x, y) in enumerate(loop.batches(), 1):
            if epoch == 2 and case == "frozen":
                model[0].requires_grad_(True)  # type: ignore[index]
            loss = loss_of(case, model, loop, x, y)
            losses.append(float(loop.all_reduce(loss)))
            if case == "skipped" and number in (3, 7):  # the latter would have filled a window
                continue
            weight = 1.0 + number if case == "weighed" else None
            steps += loop.update(loss, weight)
    return {
        "losses": losses,
        "steps": steps,
        "names": list(model.state_dict()),
        "weights": [whole(one).tolist() for one in model.parameters()],
    }


def loss_of(
    case: str, model: nn.Module, loop: RawLoop, x: torch.Tensor, y: torch.Tensor
) -> torch.Tensor:
    """The loss of a batch."""
    call = model if case == "by itself" else loop.model
    model.train(case != "evaluating")
    if case == "twice":
        return (F.mse_loss(call(x), y) + F.mse_loss(call(-x), -y)) / 2
    return F.mse_loss(call(x), y)


def whole(parameter: torch.Tensor) -> torch.Tensor:
    """A parameter that may be in shards."""
    full = getattr(parameter.detach(), "full_tensor", None)
    return full() if full is not None else parameter.detach()


# ---------------------------------------------------------------------- by Fabric's names


def told() -> dict[str, Any]:
    """What the processes tell each other."""
    _, loop = made("called")
    out = io.StringIO()
    with contextlib.redirect_stdout(out):
        loop.print("once")
    loop.barrier()
    gathered = loop.all_gather({"a": torch.full((2,), float(rank())), "b": [rank(), True]})
    moved = loop.to_device({"x": torch.ones(1)})
    try:
        loop.all_gather(torch.ones(1 + rank()))
    except ValueError as error:
        refused = str(error)
    return {
        "printed": out.getvalue(),
        "gathered": [gathered["a"].tolist(), [one.tolist() for one in gathered["b"]]],
        "summed": loop.all_reduce([torch.tensor([True, False]), rank() + 1], "sum")[1],
        "counted": loop.all_reduce(torch.tensor([True, False]), "sum").tolist(),
        "mean": loop.all_reduce(float(rank())),
        "broadcast": loop.broadcast({"from": rank()}),
        "moved": str(moved["x"].device),
        "who": [loop.global_rank, loop.local_rank, loop.world_size, loop.is_global_zero],
        "refused": refused,
    }


def evaluated() -> list[int]:
    """How many samples a process has of each way to evaluate, and all together."""
    model = nn.Linear(3, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    odd = DataLoader(TensorDataset(*(one[:55] for one in data().tensors)), 4)
    loop = setup(model, sgd, DataLoader(data(), 4), odd, device="cpu")
    own = sum(len(x) for x, _ in loop.share_of(odd))
    every = sum(len(x) for x, _ in loop.loaders[1])
    return [every, own, int(loop.all_reduce(own, "sum")), sum(len(x) for x, _ in loop.loaders[0])]


def uneven() -> int:
    """How many batches each takes of data that are its own."""
    model = nn.Linear(1, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    loop = setup(model, sgd, [torch.ones(1, 1)] * (3 + rank()), device="cpu")
    for _ in loop.epochs(1):
        for x in loop.batches():
            loop.update(loop.model(x).sum())
    return loop.iteration


def disagreeing() -> str:
    """What is said of models that differ in shape."""
    model = nn.Linear(1, 1 + rank())
    try:
        setup(model, torch.optim.SGD(model.parameters(), lr=0.1), [1], device="cpu")
    except LaunchError as error:
        return str(error)
    return ""


def by_hand(whose: str) -> list[Any]:
    """What is said of a step by hand, in which weights none was made, and what comes behind."""
    model, loop = made("window")
    before = [one.tolist() for one in model.parameters()]
    said = ""
    for _ in loop.epochs(1):
        for x, _ in loop.batches():
            (model if whose == "model" else loop.model)(x).sum().backward()
            try:
                loop.optimizer.step()
            except RuntimeError as error:
                said = str(error)
            loop.optimizer.zero_grad()
    unchanged = before == [one.tolist() for one in model.parameters()]
    loop.optimizer.step()  # behind the epochs it is their own business
    return [said, unchanged]


def out_of_step(how: str) -> None:
    """Leave out an update in the second process alone, or end it."""
    _, loop = made("called")
    for _ in loop.epochs(1):
        for number, (x, y) in enumerate(loop.batches()):
            if rank() == 1 and number == 1:
                if how == "ends amid an epoch":
                    return
                continue
            loop.update(F.mse_loss(loop.model(x), y))
    loop.all_reduce(1.0)


# ---------------------------------------------------------------------- going on


def went_on(folder: str, case: str, stop: int) -> list[bool]:
    """Whether a loop that was stopped, and taken up by a new one, comes to the same bits."""
    unbroken, _ = run(f"{folder}/unbroken", case, None)
    run(f"{folder}/stopped", case, stop)
    again, at = run(f"{folder}/stopped", case, None)
    return [at == f"{stop:08d}", torch.equal(unbroken, again)]


def run(folder: str, case: str, stop: int | None) -> tuple[torch.Tensor, str | None]:
    """The weights of a loop of three epochs, and where it has begun."""
    model, loop = made(case, checkpoints=folder)
    began = loop.resume()
    for _ in loop.epochs(3):
        for x, y in loop.batches():
            loop.update(F.mse_loss(loop.model(x), y))
            if loop.iteration == stop:
                loop.save()
                return torch.empty(0), None
        loop.save()
    flat = torch.cat([whole(one).flatten() for one in model.parameters()])
    return flat, began and began.name


def seen_by(folder: str, stop: int | None) -> list[int]:
    """Which samples a process sees of two epochs, up to a save, or from there on."""
    model = nn.Linear(1, 1)
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    samples = TensorDataset(torch.arange(26.0)[:, None])
    loader = DataLoader(samples, 2, shuffle=True)
    if stop is not None and rank() == 0:
        Path(folder).mkdir(exist_ok=True)
    loop = setup(model, sgd, loader, device="cpu", checkpoints=folder, resume=True)
    seen: list[int] = []
    for _ in loop.epochs(1):
        for (x,) in loop.batches():
            seen += x.flatten().int().tolist()
            loop.update(loop.model(x).sum() * 0)
            if loop.iteration == stop:
                loop.save()
                return seen
    return seen


# ---------------------------------------------------------------------- a script


def main() -> None:
    """Run the script that is ported, as a launcher would; or one that falls out of step."""
    if sys.argv[1] in OUT_OF_STEP:
        return out_of_step(sys.argv[1])
    path = Path(__file__).parents[1] / "recipes" / "raw_loop_ported.py"
    runpy.run_path(str(path), run_name="__main__")
    return None
