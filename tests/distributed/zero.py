"""Models that DeepSpeed trains, called in each process, and in one alone without it."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from footplate import Engine
from footplate.engine.checkpoints.tensor_file import read_weights, write_weights
from footplate.engine.data.order import ordered_loader
from footplate.engine.errors import StateError
from footplate.engine.placement.placement import Placement
from footplate.engine.placement.ranks import rank, world_size
from footplate.engine.step.clipping import ClipNorm
from footplate.engine.step.evaluation import evaluation_step
from footplate.engine.step.training import training_step

GLOBAL_BATCH = 8


def placement(stage: int, **config: Any) -> Any:
    """DeepSpeed where there are several processes, and else one process as it always was."""
    if world_size() == 1:
        return Placement("cpu")
    warnings.filterwarnings("ignore", category=FutureWarning)  # torch's, of what DeepSpeed calls
    import deepspeed.ops

    from footplate.engine.placement.deepspeed import DeepSpeed

    # an operator for inference, which would be compiled here for minutes
    deepspeed.ops.__compatible_ops__["deepspeed_shm_comm"] = False
    zero = {"stage": stage, "stage3_param_persistence_threshold": 10}
    return DeepSpeed("cpu", config={"zero_optimization": zero, **config})


class Network(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.first, self.norm = nn.Linear(6, 9), nn.LayerNorm(9)
        self.second = nn.Linear(9, 1)

    def forward(self, x: Tensor) -> Tensor:
        return self.second(self.norm(self.first(x)).tanh())


def data(size: int = 48) -> list[tuple[Tensor, Tensor]]:
    generator = torch.Generator().manual_seed(1)
    x = torch.randn(size, 6, generator=generator)
    return [*zip(x, x.sum(1, keepdim=True).sin(), strict=True)]


def loader() -> Any:
    options = {"shuffle": True, "seed": 5, "rank": rank(), "world_size": world_size()}
    return ordered_loader(data(), GLOBAL_BATCH // world_size(), **options)


def made() -> nn.Module:
    torch.manual_seed(3 + rank())  # the first one's weights count
    return Network()


def adamw(model: nn.Module) -> torch.optim.Optimizer:
    return torch.optim.AdamW(model.parameters(), lr=0.02)


def weights(place: Any, model: nn.Module) -> list[float]:
    if world_size() == 1:
        return torch.cat([one.detach().reshape(-1) for one in model.parameters()]).tolist()
    with place.whole(model):
        return torch.cat([one.detach().reshape(-1) for one in model.parameters()]).tolist()


def run(
    place: Any,
    model: nn.Module,
    step: Any,
    *,
    iterations: int = 22,
    halving: bool = True,
) -> dict[str, Any]:
    trainer, steps, norms, losses = Engine(step, name="train"), [], [], []
    optimization = step.optimizations["optimization"]

    @trainer.on("OPTIMIZER_STEPPED")
    def note(engine: Engine) -> None:
        steps.append(1)
        norms.append(0.0 if optimization.norm is None else float(optimization.norm))
        if halving and len(steps) == 5:  # as a schedule would
            optimization.optimizer.param_groups[0]["lr"] /= 2

    @trainer.on("ITERATION_COMPLETED")
    def note_loss(engine: Engine) -> None:
        losses.append(engine.state.output["loss"].item())

    trainer.run(loader(), max_iters=iterations)
    answers: list[float] = []
    evaluator = Engine(evaluation_step(model, F.mse_loss), name="val")
    evaluator.add_event_handler(
        "ITERATION_COMPLETED",
        lambda engine: answers.extend(engine.state.output[0].reshape(-1).tolist()),
    )
    x, y = zip(*data(3), strict=True)
    evaluator.run([(torch.stack(x), torch.stack(y))])
    told = {"weights": weights(place, model), "losses": losses, "answers": answers}
    return {**told, "steps": len(steps), "norms": norms}


def trained(stage: int, case: str) -> dict[str, Any]:
    """Weights, losses, norms and answers of a short run over a batch of eight in all."""
    return CASES[case](stage)


def _ran(stage: int, **options: Any) -> dict[str, Any]:
    place = placement(stage)
    model = place.place(made())
    return run(
        place, model, training_step(model, adamw(model), F.mse_loss, placement=place, **options)
    )


def _with_its_own_optimizer(stage: int) -> dict[str, Any]:
    told = {"type": "AdamW", "params": {"lr": 0.02, "weight_decay": 0.01, "torch_adam": True}}
    place = placement(stage, optimizer=told)
    model = place.place(made())
    optimizer = adamw(model) if world_size() == 1 else place.optimizer(model)
    return run(place, model, training_step(model, optimizer, F.mse_loss, placement=place))


CASES: dict[str, Callable[[int], dict[str, Any]]] = {
    "plain": _ran,
    "accumulated, ragged, and clipped": functools.partial(_ran, accumulate=4, clip=ClipNorm(0.3)),
    "weighed": functools.partial(_ran, accumulate=2, weigh=lambda batch: len(batch[0])),
    "its own optimizer": _with_its_own_optimizer,
}


def resumed(stage: int, folder: str) -> dict[str, Any]:
    """A run that is saved and gone on with by another model, and one in one go."""
    told = {}
    for name, parts in {"once": (12,), "twice": (6, 6)}.items():
        for number, iterations in enumerate(parts):
            place = placement(stage, bf16={"enabled": True} if stage == 2 else {"enabled": False})
            model = place.place(made())
            step = training_step(model, adamw(model), _loss, placement=place)
            file, state = Path(folder) / "model.safetensors", Path(folder) / f"{rank()}.pt"
            if number:
                with place.whole(model):
                    read_weights(model, file)
                place.load_state_dict(torch.load(state, weights_only=True))
            trainer = Engine(step)
            batches = [*loader()] * 3
            trainer.run(batches[6 * number : 6 * number + iterations], max_epochs=1)
            with place.whole(model):
                if rank() == 0:
                    write_weights(model, file)
            torch.save(place.state_dict(), state)
            told[name] = weights(place, model)
    return told


def _loss(y_pred: Tensor, y: Tensor) -> Tensor:
    return F.mse_loss(y_pred.float(), y)


def loaded(stage: int) -> list[list[float]]:
    """Weights that were loaded behind the making of the step are those that are trained."""
    place = placement(stage)
    model = place.place(made())
    step = training_step(
        model, torch.optim.SGD(model.parameters(), lr=0.0), F.mse_loss, placement=place
    )
    with place.whole(model), torch.no_grad():
        for one in model.parameters():
            one.fill_(0.25)
    Engine(step).run(loader(), max_iters=2)
    return sorted(set(weights(place, model)))


def refused() -> dict[str, str]:
    """What is said of what contradicts itself, or can't be."""

    def said(make: Callable[[], Any]) -> str:
        try:
            make()
        except (ValueError, StateError, RuntimeError) as error:
            return str(error)
        return "nothing"

    def step(config: dict[str, Any] | None = None, **options: Any) -> Any:
        place = placement(2, **(config or {}))
        model = place.place(made())
        step = training_step(model, adamw(model), F.mse_loss, placement=place, **options)
        return place, Engine(step)

    def saved_within_a_window() -> None:
        place, trainer = step(accumulate=4)
        trainer.add_event_handler("ITERATION_COMPLETED", place.state_dict)
        trainer.run(loader(), max_iters=3)

    def vetoed() -> None:
        _, trainer = step()
        trainer.add_event_handler("GRADIENTS_READY", lambda optimization: optimization.veto())
        trainer.run(loader(), max_iters=3)

    adam = {"optimizer": {"type": "AdamW", "params": {"lr": 0.1, "torch_adam": True}}}
    return {
        "two optimizers": said(lambda: step(adam)),
        "two clippings": said(lambda: step({"gradient_clipping": 1.0}, clip=ClipNorm(1.0))),
        "clipping by a function": said(lambda: step(clip=lambda parameters: None)),
        "fp16": said(lambda: step(precision="fp16")),
        "saved within a window": said(saved_within_a_window),
        "vetoed": said(vetoed),
    }
