"""The commands that run something: train, val, test and predict."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Annotated, Any

import typer
from rich.console import Console as Terminal
from rich.table import Table

from ...engine.placement.launching import leave
from ...engine.placement.ranks import is_first
from ...engine.stream.scalars import readable, scalars_of
from .choosing import Choice, Config, Overrides, Safe, objects_for, resolved
from .outcome import Traceback, outcome
from .processes import Processes, run_in

__all__ = ["predict", "run_test", "train", "val"]

Run = Annotated[
    str,
    typer.Argument(
        metavar="RUN", help="The folder of a run, a checkpoint, a YAML file or a recipe's name."
    ),
]
Which = Annotated[
    str, typer.Option("--checkpoint", help="Of a run's checkpoints: last, best, or a name.")
]


def train(
    config: Config,
    overrides: Overrides = None,
    resume: Annotated[
        bool, typer.Option("--resume", help="Go on with the newest checkpoint of the experiment.")
    ] = False,
    nproc: Annotated[
        int, typer.Option("--nproc", min=1, help="Processes to train in, on each machine.")
    ] = 1,
    nodes: Annotated[
        int, typer.Option(min=1, help="Machines; the command is given on each of them.")
    ] = 1,
    master: Annotated[
        str, typer.Option(metavar="HOST[:PORT]", help="Of several machines, where they meet.")
    ] = "",
    restarts: Annotated[
        int, typer.Option(min=0, help="How often to start again, and go on, after a failure.")
    ] = 0,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Check and build everything, and train nothing.")
    ] = False,
    safe: Safe = False,
    traceback: Traceback = False,
) -> None:
    """Train by a configuration, a file or a recipe's.

    Kill it at any moment; with --resume it goes on to the same bits.

    For example:

      footplate train image_classification

      footplate train my.yaml train_cfg.max_epochs=5 optim_wrapper.optimizer.lr=1e-3

      FOOTPLATE__RANDOMNESS__SEED=7 footplate train my.yaml --resume

      footplate train my.yaml --nproc 8 --restarts 3
    """
    processes = Processes(each=nproc, nodes=nodes, master=master, restarts=restarts)
    changes = [*(overrides or ()), *(["resume=true"] if resume else [])]
    with outcome("train", traceback=traceback):
        choice = resolved(config, changes, safe=safe)
        if dry_run:
            _plan(choice, processes)
        elif processes.are_several:
            flags = {"--safe": safe, "--traceback": traceback}
            given = [name for name, is_given in flags.items() if is_given]
            if choice.config.values.get("launcher", "auto") != "auto":  # it is this command
                changes.append("launcher=auto")
            raise typer.Exit(run_in(processes, ["train", config, *changes, *given]))
        else:
            _train(choice)


def _plan(choice: Choice, processes: Processes) -> None:
    """Show what would be done."""
    from .plan import show_plan

    if processes.are_several:
        say("footplate train: --dry-run starts no other processes.", err=True)
    show_plan(choice)


def _train(choice: Choice) -> None:
    """Train in this process, and with the others if it was launched with any."""
    from ..runner import Runner

    runner = Runner.from_cfg(launched(choice.config.values), objects=choice.objects)
    runner.train()
    say(f"The run's files are in {runner.folder.resolve()}")
    leave()


def val(
    run: Run,
    overrides: Overrides = None,
    checkpoint: Which = "last",
    safe: Safe = False,
    traceback: Traceback = False,
) -> None:
    """Validate a run's weights, or those that a configuration loads.

    For example:

      footplate val runs/image_classification/20261127_101500 --checkpoint best

      footplate val my.yaml load_from=weights.safetensors
    """
    with outcome("val", traceback=traceback):
        runner = _runner("val", run, overrides, checkpoint, safe=safe)
        show_metrics("validation", runner.val())
        leave()


def run_test(
    run: Run,
    overrides: Overrides = None,
    checkpoint: Which = "last",
    safe: Safe = False,
    traceback: Traceback = False,
) -> None:
    """Test a run's weights, or those that a configuration loads.

    For example:

      footplate test runs/image_classification/20261127_101500 --checkpoint best

      footplate test my.yaml load_from=weights.safetensors
    """
    with outcome("test", traceback=traceback):
        runner = _runner("test", run, overrides, checkpoint, safe=safe)
        show_metrics("test", runner.test())
        leave()


def predict(
    run: Run,
    overrides: Overrides = None,
    input: Annotated[
        Path | None, typer.Option(help="Samples: .npy, .npz, .csv, .pt or .safetensors.")
    ] = None,
    output: Annotated[
        Path | None, typer.Option("--output", "-o", help="Predictions: .npy, .csv, .jsonl or .pt.")
    ] = None,
    batch_size: Annotated[int, typer.Option(min=1, help="Samples at a time.")] = 64,
    checkpoint: Which = "last",
    safe: Safe = False,
    traceback: Traceback = False,
) -> None:
    """Predict with a run's weights, of samples in a file or of the run's own data.

    For example:

      footplate predict runs/image_classification/20261127_101500 --input images.npy

      footplate predict RUN --input table.csv --output predictions.csv --checkpoint best
    """
    from .samples import check_output, read_samples, write_predictions

    with outcome("predict", traceback=traceback):
        if output is not None:
            check_output(output)
        runner = _runner("predict", run, overrides, checkpoint, safe=safe)
        data = None if input is None else read_samples(input, batch_size)
        predictions = runner.predict(data)
        path = output or runner.folder / "predictions.npy"
        several = predictions if isinstance(predictions, dict) else {"": predictions}
        for name, one in several.items() if is_first() else ():  # a file for each loader
            named = f"{path.stem}_{name}".replace("/", "_")
            file = path.with_stem(named) if name else path
            typer.echo(f"{write_predictions(one, file)} predictions are in {file}")
        leave()


def show_metrics(title: str, metrics: dict[str, Any]) -> None:
    """Print metrics as a table; of what is no single number only the shape.

    Of several processes the first prints it.
    """
    if not is_first():
        return
    numbers = scalars_of(metrics)
    table = Table(title=title, show_header=False)
    for name, value in metrics.items():
        shape = " x ".join(map(str, getattr(value, "shape", ())))
        table.add_row(name, readable(numbers[name]) if name in numbers else shape or str(value))
    Terminal().print(table)


def launched(values: Mapping[str, Any]) -> dict[str, Any]:
    """A configuration that joins other processes, if it was launched with some; it may say how."""
    return {"launcher": "auto", **values}


def say(text: str, *, err: bool = False) -> None:
    """Print a line, once for all processes."""
    if is_first():
        typer.echo(text, err=err)


def _runner(
    command: str, run: str, overrides: list[str] | None, checkpoint: str, *, safe: bool
) -> Any:
    """The runner of a run, by its checkpoint; or of a configuration."""
    from ..runner import Runner

    if Path(run).is_dir():
        changed = {"overrides": tuple(overrides or ())}
        return Runner.from_checkpoint(run, checkpoint, objects=objects_for(safe=safe), **changed)
    choice = resolved(run, overrides, safe=safe)
    runner = Runner.from_cfg(launched(choice.config.values), objects=choice.objects)
    if runner.given["load_from"] is None and runner.to_resume is None:
        say(
            f"footplate {command}: {run} loads no weights, so these are the ones that the model "
            f"begins with; give the folder of a run, or load_from=weights.safetensors.",
            err=True,
        )
    return runner
