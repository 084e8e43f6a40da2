"""What processes that join each other see of it."""

from __future__ import annotations

import os
import sys
from typing import Any

import torch

from footplate.engine.errors import LaunchError
from footplate.engine.placement import ranks
from footplate.engine.placement.disagreement import agree_or_raise
from footplate.engine.placement.launching import join, leave

__all__ = ["agreement", "joined", "main"]


def joined(launcher: str) -> dict[str, Any]:
    """Join by a launcher, look around, and leave."""
    import ignite.distributed as idist

    made = join(launcher, timeout=60)
    again = join(launcher)
    seen = {
        "made": made,
        "again": again,
        "rank": ranks.rank(),
        "world": ranks.world_size(),
        "local": ranks.local_rank(),
        "torch": [os.environ["RANK"], os.environ["LOCAL_RANK"]],
        "backend": torch.distributed.get_backend(),
        "ignite": [idist.get_rank(), idist.get_world_size(), idist.get_local_rank()],
        "gathered": ranks.gathered(ranks.rank()),
    }
    ranks.barrier()
    leave()
    return {**seen, "left": not torch.distributed.is_initialized(), "alone": ranks.world_size()}


def agreement(differs: bool) -> str:
    """What processes say that agree, or do not."""
    mine = ranks.rank() if differs else 0
    try:
        agree_or_raise({"seed": 7, "train_cfg.max_epochs": 3 + mine})
    except LaunchError as error:
        return str(error)
    return ""


def left_by_others() -> bool:
    """Whether leave() leaves a group alone that it has not made."""
    leave()
    return torch.distributed.is_initialized()


def main() -> None:
    """Print what is seen, for launchers that hand no result back."""
    import json

    told = json.dumps(joined(sys.argv[1]))
    os.write(1, f"seen {told}\n".encode())  # at once, as others print, too


if __name__ == "__main__":
    main()
