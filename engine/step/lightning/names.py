"""Names of the scalar stream, each of which stands for values of one origin alone."""

from __future__ import annotations

from ...stream.file_sink import COLUMNS

__all__ = ["is_taken", "stream_name"]

_GAUGES = ("lr", "time", "data_time", "samples/s", "eta", "memory")
_OF_SEVERAL = ("lr/", "time/")  # those of further groups, optimizers and blocks


def is_taken(name: str) -> bool:
    """Whether the run itself has numbers, or a column of its files, by this name.

    It is so wherever the name is logged, and whatever is attached, so that names don't change from
    one call of a runner to another.

    Example:
        >>> [is_taken(name) for name in ("lr", "lr/1", "epoch", "loss", "lr_encoder")]
        [True, True, True, False, False]
    """
    return name in COLUMNS or name in _GAUGES or name.startswith(_OF_SEVERAL)


def stream_name(name: str, role: str, origin: str, claimed: dict[str, str]) -> str:
    """What a value goes by in the stream: its own name, if that is free, else a fuller one.

    Args:
        name: what the module calls it.
        role: what the engine does that it is logged in.
        origin: where it comes from.
        claimed: the origins by name, of what was named before; it is told of this one.

    Example:
        >>> claimed = {"loss": "output"}
        >>> [stream_name(one, "train", "step", claimed) for one in ("error", "loss", "lr")]
        ['error', 'train_loss', 'train_lr']
    """
    fuller = f"{role}_{name}"
    for candidate in (name, fuller, f"{fuller}_{origin}"):
        if not is_taken(candidate) and claimed.setdefault(candidate, origin) == origin:
            return candidate
    return name
