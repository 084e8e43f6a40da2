"""The graph of a model, for TensorBoard."""

from __future__ import annotations

import contextlib
import warnings
from typing import Any

import torch
from torch import nn

from ..random import preserved

__all__ = ["draw_graph"]


def draw_graph(writer: Any, model: nn.Module, example: Any) -> None:
    """Have a writer of event files draw a model's graph.

    The model is traced in evaluation mode. Modes and random number generators are as before.

    Args:
        writer: a ``SummaryWriter`` of tensorboardX or torch.
        model: the model.
        example: an input, or a tuple of several.

    Raises:
        ValueError: if the model can't be traced.
    """
    modes = [(module, module.training) for module in model.modules()]
    try:
        # the tracer of torch is deprecated, and prints errors as well as raising them
        with warnings.catch_warnings(), contextlib.redirect_stdout(None), torch.no_grad():
            warnings.simplefilter("ignore")
            with preserved():
                writer.add_graph(model, example, use_strict_trace=False)
    except Exception as error:
        said = (str(error).strip() or repr(error)).splitlines()[0]
        raise ValueError(
            f"the graph of {type(model).__name__} can't be drawn: torch.jit.trace says {said!r}; "
            f"give an example that forward() takes, or leave graph= out."
        ) from error
    finally:
        for module, training in modes:
            module.training = training
