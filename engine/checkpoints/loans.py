"""Weights on loan: parameters that hold other values for a while, such as an average."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import torch

__all__ = ["lend", "refuse_lent", "take_back"]

_LOAN = "_footplate_loan"


class _Loan:
    """The mark of a tensor that is lent; what is copied or unpickled of it is ``None``."""

    def __init__(self, borrower: object) -> None:
        self.borrower = borrower

    def __reduce__(self) -> tuple[Any, tuple[()]]:
        return type(None), ()


def lend(tensors: Iterable[torch.Tensor], borrower: object) -> None:
    """Mark parameters that hold other values for a while, such as an average.

    The mark lies on the tensors, so that it is seen whichever way a model holds them. As long as
    it is there, weights of a model that has one of them are neither saved nor loaded. The first
    borrower's mark stays until :func:`take_back` is called with the same one.
    """
    for one in tensors:
        if getattr(one, _LOAN, None) is None:
            setattr(one, _LOAN, _Loan(borrower))


def take_back(tensors: Iterable[torch.Tensor], borrower: object) -> None:
    """Take the mark of :func:`lend` away, where it is this borrower's."""
    for one in tensors:
        loan = getattr(one, _LOAN, None)
        if loan is not None and loan.borrower is borrower:
            delattr(one, _LOAN)


def refuse_lent(model: torch.nn.Module, doing: str) -> None:
    """Refuse a model that has a parameter on loan.

    Args:
        model: the model.
        doing: what can't be done with it meanwhile: ``"saved"``, ``"loaded"``.

    Raises:
        RuntimeError: naming the first of such parameters.
    """
    for name, one in model.named_parameters():
        if getattr(one, _LOAN, None) is not None:
            raise RuntimeError(
                f"{name!r} of the model holds an averaged weight in place of the trained one, so "
                f"the model can't be {doing}; leave applied(), or let the evaluator's run end, "
                f"before. If neither goes on, call restore() of what averages."
            )
