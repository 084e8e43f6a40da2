"""Models in shards, called in each process, and in one alone without any."""

from __future__ import annotations

import contextlib
import functools
import math
from collections.abc import Callable
from typing import Any

import torch
from torch import Tensor, nn
from torch.distributed.tensor import DTensor
from torch.nn import functional as F

from footplate import Engine
from footplate.engine.data.order import ordered_loader
from footplate.engine.placement.placement import Placement
from footplate.engine.placement.ranks import rank, world_size
from footplate.engine.placement.sharded import Sharded
from footplate.engine.step.clipping import ClipNorm, ClipValue, norm_of
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.precision import Precision
from footplate.engine.step.training import training_step
from footplate.handlers.averaging import EMA
from footplate.handlers.gradient_norms import GradientNorms

GLOBAL_BATCH = 8


class Block(nn.Module):
    """A layer whose rows don't divide by the processes."""

    def __init__(self, width: int = 7) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(width, 5), nn.LayerNorm(5)
        self.second = nn.Linear(5, width)

    def forward(self, x: Tensor) -> Tensor:
        return x + self.second(self.norm(self.first(x)).tanh())


class Network(nn.Module):
    """Blocks between layers that are the model's own, one of a single row."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Linear(6, 7)
        self.blocks = nn.ModuleList([Block(), Block()])
        self.head = nn.Linear(7, 1)
        self.scale = nn.Parameter(torch.ones(1))

    def forward(self, x: Tensor) -> Tensor:
        x = self.stem(x)
        for block in self.blocks:
            x = block(x)
        return self.head(x) * self.scale


class Methods(Network):
    """What uses the model's own parameters outside of forward, too, before it and behind it."""

    def train_step(self, batch: Any, optimizer: Any) -> dict[str, Tensor]:
        scale = self.scale / 2
        return {"loss": F.mse_loss(self(batch[0]) * scale, batch[1]) + self.scale.square().sum()}

    def val_step(self, batch: Any) -> Tensor:
        return self(batch[0]) * self.scale + self.extra(batch[0])

    def extra(self, x: Tensor) -> Tensor:
        return self.head(self.stem(x))


class StepsItself(Network):
    """A model that steps its optimizer."""

    def train_step(self, data: Any, optim_wrapper: Any) -> dict[str, Tensor]:
        with optim_wrapper.optim_context(self):
            loss = F.mse_loss(self(data[0]), data[1])
        optim_wrapper.update_params(loss)
        return {"loss": loss}


def placement(**options: Any) -> Placement:
    """Shards where there are several processes, and else one process as it always was."""
    if world_size() == 1:
        return Placement("cpu")
    return Sharded("cpu", **{"modules": ("Block",), **options})


def data(size: int = 48) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, 6, generator=generator)
    return [*zip(x, x.sum(1, keepdim=True).sin(), strict=True)]


def loader(batch: int = GLOBAL_BATCH) -> Any:
    options = {"shuffle": True, "seed": 5, "rank": rank(), "world_size": world_size()}
    return ordered_loader(data(), batch // world_size(), **options)


def made(kind: type[nn.Module] = Network) -> nn.Module:
    torch.manual_seed(3 + rank())  # the first one's weights count
    model = kind()
    torch.manual_seed(3)
    return model


def whole(tensor: Tensor) -> list[float]:
    tensor = tensor.detach()
    return (tensor.full_tensor() if isinstance(tensor, DTensor) else tensor).reshape(-1).tolist()


def weights(model: nn.Module) -> list[float]:
    return [value for one in model.state_dict().values() for value in whole(one)]


def trained(case: str) -> dict[str, Any]:
    """The weights, norms and losses of a short run over a batch of eight in all."""
    return CASES[case]()


def _ran(
    kind: type[nn.Module] = Network,
    optimizer: Callable[[Any], Any] = lambda p: torch.optim.SGD(p, lr=0.1, momentum=0.9),
    options: dict[str, Any] | None = None,
    *,
    epochs: int = 4,
    **step: Any,
) -> dict[str, Any]:
    place = placement(**(options or {}))
    model = place.place(made(kind))
    loss = F.mse_loss if kind is Network else None
    process = training_step(model, optimizer(model.parameters()), loss, placement=place, **step)
    trainer, norms, losses, skipped = Engine(process, name="train"), [], [], []
    trainer.attach(GradientNorms(model))
    trainer.add_event_handler("OPTIMIZER_STEP_SKIPPED", lambda: skipped.append(1))

    @trainer.on("OPTIMIZER_STEPPED")
    def note(engine: Engine) -> None:
        norms.append({name: value.item() for name, value in engine.state.metrics.items()})

    @trainer.on("ITERATION_COMPLETED")
    def note_loss(engine: Engine) -> None:
        losses.append(engine.state.output["loss"].item())

    trainer.run(loader(), max_epochs=epochs)
    told = {"weights": weights(model), "norms": norms, "losses": losses, "skipped": len(skipped)}
    return {**told, "kinds": [type(one).__name__ for one in model.parameters()]}


def _clipped(clip: Any) -> dict[str, Any]:
    return _ran(clip=clip, accumulate=2)


CASES: dict[str, Callable[[], dict[str, Any]]] = {
    "plain": _ran,
    "by size": functools.partial(_ran, options={"modules": (), "min_parameters": 40}),
    "the whole as one unit": functools.partial(
        _ran, options={"modules": (), "min_parameters": 9**9}
    ),
    "kept between forward and backward": functools.partial(
        _ran, options={"reshard_after_forward": False}
    ),
    "accumulated": functools.partial(_ran, accumulate=2),
    "ragged": functools.partial(_ran, accumulate=4),
    "clipped": functools.partial(_clipped, ClipNorm(0.05)),
    "clipped by the largest": functools.partial(_clipped, ClipNorm(0.01, math.inf)),
    "clipped by value": functools.partial(_clipped, ClipValue(0.003)),
    "AdamW": functools.partial(_ran, optimizer=lambda p: torch.optim.AdamW(p, lr=0.01)),
    "fused AdamW": functools.partial(
        _ran, optimizer=lambda p: torch.optim.AdamW(p, lr=0.01, fused=True)
    ),
    "weighed": functools.partial(
        _ran, weigh=lambda batch: torch.tensor(len(batch[0])), accumulate=2
    ),
    "exchanged once a window": functools.partial(
        _ran, accumulate=4, clip=ClipNorm(0.05), options={"no_sync": True}
    ),
    "step methods": functools.partial(_ran, Methods),
    "steps itself": functools.partial(_ran, StepsItself),
}


def overflowed() -> dict[str, Any]:
    """One process alone has a gradient that overflows, in a shard that it has alone."""
    place = Sharded("cpu", modules=("Block",))
    model = place.place(made())
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    scaled = Precision("fp16", init_scale=4.0)
    step = training_step(model, sgd, F.mse_loss, placement=place, precision=scaled)
    trainer, skipped, before = Engine(step), [], []
    trainer.add_event_handler("OPTIMIZER_STEP_SKIPPED", lambda reason: skipped.extend([reason]))

    @trainer.on("BACKWARD_COMPLETED")
    def overflow(engine: Engine) -> None:
        before[:] = weights(model)
        local = model.stem.weight.grad.to_local()
        if engine.state.iteration == 1 and rank() == world_size() - 1:
            local[-1, -1] = math.inf

    trainer.run(loader(), max_iters=3)
    scale = step.optimizations["optimization"].scaler.get_scale()
    return {"skipped": skipped, "scale": scale, "moved": before != weights(model)}


def averaged() -> dict[str, Any]:
    """An average of the weights, used in evaluation, and the weights behind it."""
    place = placement()
    model = place.place(made())
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer = Engine(training_step(model, sgd, F.mse_loss, placement=place), name="train")
    average = trainer.attach(EMA(model, 0.8))
    evaluator, outputs = Engine(evaluation_step(model, F.mse_loss), name="val"), []
    average.evaluate_with(evaluator)
    evaluator.add_event_handler(
        "ITERATION_COMPLETED", lambda engine: outputs.extend(engine.state.output[0].tolist())
    )
    x, y = zip(*data(3), strict=True)

    @trainer.on("EPOCH_COMPLETED")
    def evaluate() -> None:
        evaluator.run([(torch.stack(x), torch.stack(y))] * 2)

    trainer.run(loader(), max_epochs=3)
    state = {name: whole(value) for name, value in average.state_dict()["averaged"].items()}
    saved = {name: whole(value) for name, value in average.model_state_dict().items()}
    return {"outputs": outputs, "weights": weights(model), "state": state, "saved": saved}


def evaluated_unevenly() -> list[list[float]]:
    """As many batches as the rank, by a method that uses the model's own parameters."""
    place = Sharded("cpu", modules=("Block",))
    model = place.place(made(Methods))
    evaluator, found = Engine(evaluation_step(model)), []
    batch = torch.stack([x for x, _ in data(4)]), None

    @evaluator.on("ITERATION_COMPLETED")
    def note(engine: Engine) -> None:
        found.append(engine.state.output.reshape(-1).tolist())

    with place.whole(model):
        if rank():
            evaluator.run([batch] * rank())
    assert all(isinstance(one, DTensor) for one in model.parameters())
    evaluator.run([batch])
    assert all(isinstance(one, DTensor) for one in model.parameters())
    return found


def recovered() -> dict[str, Any]:
    """A batch fails in all processes, in the midst of backward; it comes again."""
    place = placement(no_sync=True)
    model = place.place(made())
    sgd = torch.optim.SGD(model.parameters(), lr=0.1)
    trainer, failing = Engine(training_step(model, sgd, F.mse_loss, placement=place)), [True]

    def fail(gradient: Tensor) -> None:
        if trainer.state.iteration == 2 and failing:
            failing.clear()
            raise KeyError("lost")

    def watch(module: nn.Module, args: Any, output: Tensor) -> None:
        output.register_hook(fail)

    model.stem.register_forward_hook(watch)
    if world_size() == 1:
        failing.clear()
    else:
        with contextlib.suppress(KeyError):
            trainer.run(loader(), max_iters=4)
    trainer.run(loader(), max_iters=4)
    return {"weights": weights(model)}


def from_meta() -> dict[str, Any]:
    """A model made without memory, and one of the same layers made with it, in shards."""
    with torch.device("meta"):
        model = nn.Sequential(nn.Linear(6, 8), nn.BatchNorm1d(8), nn.Linear(8, 8), nn.Linear(8, 1))
    torch.manual_seed(9)
    model = Sharded("cpu", modules=("Linear",)).place(model)
    loss = model(torch.ones(4, 6)).sum()
    loss.backward()
    return {"weights": weights(model), "finite": math.isfinite(loss.item())}


def computed_with(options: dict[str, Any]) -> list[str]:
    """The types of the outputs, and of the parameters and their gradients."""
    model = Sharded("cpu", modules=("Block",), **options).place(made())
    output = model(torch.ones(4, 6))
    output.sum().backward()
    one = model.blocks[0].first.weight
    return [str(output.dtype), str(one.dtype), str(one.grad.dtype)]


def norms_of_shards() -> list[float]:
    """Norms of gradients that only the last process has rows of, or that nobody has."""
    model = Sharded("cpu", modules=("Block",)).place(made())
    none = norm_of([*model.parameters()]).item()
    model(torch.ones(4, 6)).sum().backward()
    return [none, *(norm_of([*model.parameters()], p).item() for p in (1.0, 2.0, math.inf))]
