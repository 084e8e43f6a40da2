"""CheckpointHook: what ``checkpoint_config`` says."""

from __future__ import annotations

from typing import Any

from ...engine.errors import nearest
from .hook import HOOKS, Hook

__all__ = ["CheckpointHook"]

_REFUSED = {
    "filename_tmpl": "a checkpoint is a folder, named by its iteration",
    "file_client_args": "out_dir may be a folder of a mounted file system",
    "meta": "give meta to the runner",
}


@HOOKS.register_module()
class CheckpointHook(Hook):
    """Has the run saved, so that it goes on to the bit, whatever ends it.

    What is saved is a folder in ``work_dir/checkpoints``, by
    :class:`~footplate.handlers.checkpoint.Checkpoint`; besides, when a signal ends the run.

    Args:
        interval: behind how many epochs or iterations; -1 for none of these.
        by_epoch: which of them.
        save_optimizer: ``True``; a run without its optimizer could not go on.
        out_dir: a folder in which there is one of the name of ``work_dir`` for them.
        max_keep_ckpts: how many of the latest are kept, besides the best of an ``EvalHook``; -1
            for all.
        save_last: whether the end of the run is saved in any case.
        sync_buffer, create_symlink: accepted, and nothing else: there is one process, and the
            newest checkpoint is found without a link.
        others: those of MMCV's that are not here, each refused with what to do instead.

    Raises:
        NotImplementedError: for options of MMCV's that are not here.
        TypeError: for what is no option.

    Example:
        >>> import os, tempfile, torch
        >>> from footplate.recipes.mmcv.runners import EpochBasedRunner
        >>> class Line(torch.nn.Linear):
        ...     def train_step(self, data, optimizer):
        ...         loss = self(data).square().mean()
        ...         return {"loss": loss, "log_vars": {"loss": loss.item()}, "num_samples": 4}
        >>> line = Line(1, 1)
        >>> sgd = torch.optim.SGD(line.parameters(), lr=0.1)
        >>> folder = tempfile.mkdtemp()
        >>> runner = EpochBasedRunner(line, optimizer=sgd, work_dir=folder, max_epochs=3)
        >>> runner.register_training_hooks(
        ...     lr_config=None,
        ...     optimizer_config={},
        ...     checkpoint_config=dict(interval=1, max_keep_ckpts=2),
        ... )
        >>> runner.run([[torch.ones(4, 1)] * 10], workflow=[("train", 1)])
        >>> sorted(name for name in os.listdir(f"{folder}/checkpoints") if name.isdigit())
        ['00000020', '00000030']
    """

    def __init__(
        self,
        interval: int = -1,
        by_epoch: bool = True,
        save_optimizer: bool = True,
        out_dir: str | None = None,
        max_keep_ckpts: int = -1,
        save_last: bool = True,
        sync_buffer: bool = False,
        create_symlink: bool = True,
        **others: Any,
    ) -> None:
        for name, value in others.items():
            if name not in _REFUSED:
                known = ("interval", "by_epoch", "out_dir", "max_keep_ckpts", "save_last")
                raise TypeError(f"CheckpointHook has no option {name!r}.{nearest(name, known)}")
            if value is not None:
                raise NotImplementedError(
                    f"CheckpointHook({name}=…) is not here: {_REFUSED[name]}."
                )
        if not save_optimizer:
            raise NotImplementedError(
                "save_optimizer=False is not here: a run goes on from any of its checkpoints. For "
                "a file without it call runner.save_checkpoint(out_dir, save_optimizer=False)."
            )
        self.interval, self.by_epoch, self.save_last = interval, by_epoch, save_last
        self.out_dir, self.max_keep_ckpts = out_dir, max_keep_ckpts
