"""Anomaly detection: where in the forward pass a bad gradient comes from."""

from __future__ import annotations

import torch

from ..engine.engine import Engine
from ..engine.handler import Handler

__all__ = ["DetectAnomaly"]


class DetectAnomaly(Handler):
    """Has autograd name the operation whose backward failed or gave NaN, for each run.

    It makes training several times slower; attach it to look for an error.

    Args:
        check_nan: whether a NaN in a gradient is an error, besides what fails by itself.

    Example:
        >>> from footplate import Engine
        >>> def step(engine, batch):
        ...     x = torch.tensor(-1.0, requires_grad=True)
        ...     (x.sqrt() * 0).backward()
        >>> trainer = Engine(step)
        >>> anomaly = trainer.attach(DetectAnomaly())
        >>> import warnings
        >>> with warnings.catch_warnings():
        ...     warnings.simplefilter("ignore")  # autograd says where the operation was called
        ...     try:
        ...         _ = trainer.run([0])
        ...     except RuntimeError as error:
        ...         print(error)
        Function 'SqrtBackward0' returned nan values in its 0th output.

    Source: :func:`torch.autograd.set_detect_anomaly`.
    """

    for_one_engine = True

    def __init__(self, *, check_nan: bool = True) -> None:
        self.check_nan = check_nan
        self._before = (False, True)

    def opened(self, engine: Engine) -> None:
        """Turn it on."""
        self._before = (torch.is_anomaly_enabled(), torch.is_anomaly_check_nan_enabled())
        torch.autograd.set_detect_anomaly(True, self.check_nan)

    def closed(self, engine: Engine) -> None:
        """Leave it as it was found."""
        torch.autograd.set_detect_anomaly(*self._before)
