"""Data: the loaders of a runner, or what a data module has in their place."""

from __future__ import annotations

from functools import cached_property
from typing import Any

from ...engine.data.even import even
from ...engine.data.module import DataModuleLoaders, is_data_module
from ...engine.engine import Engine
from ...engine.samplers import parts_of
from ...engine.source import length_of
from ..config.registry import DATA_LOADERS
from .builders import Builders
from .loaders import by_name, makes_data_module

__all__ = ["Data"]

_OF_LOADERS = (
    "train_dataloader",
    "val_dataloader",
    "test_dataloader",
    "predict_dataloader",
    "val_data",
    "test_data",
    "_batches",
    "train_loop",
    "val_loop",
    "test_loop",
)
_NEEDS = {
    "train": ["train_dataloader"],
    "val": ["val_dataloader"],
    "test": ["test_dataloader"],
    "predict": ["predict_dataloader", "test_dataloader"],
}


class Data(Builders):
    """The data of a runner, each made when it is first needed."""

    @cached_property
    def train_dataloader(self) -> Any:
        """The training data."""
        return self.loader("train")

    @cached_property
    def val_dataloader(self) -> Any:
        """The validation data."""
        return self.loader("val")

    @cached_property
    def test_dataloader(self) -> Any:
        """The test data."""
        return self.loader("test")

    @cached_property
    def predict_dataloader(self) -> Any:
        """What is predicted of; the test data, if there is nothing else."""
        return self.loader("predict" if self.has_loader("predict") else "test", call="predict")

    @cached_property
    def val_data(self) -> Any:
        """The validation data as the engine runs over them; several by name."""
        return self.guest.together(self.evaluation_data(self.val_dataloader, self.settings.val))

    @cached_property
    def test_data(self) -> Any:
        """The test data as the engine runs over them; several by name."""
        return self.guest.together(self.evaluation_data(self.test_dataloader, self.settings.test))

    @property
    def one_val_loader(self) -> Any:
        """The validation data of a workflow.

        Raises:
            ValueError: for several loaders.
        """
        if (several := by_name(self.val_data)) is not None:
            raise ValueError(
                f"a workflow validates on one loader, given {', '.join(several)} in "
                f"val_dataloader; leave workflow= out to validate on all of them."
            )
        return self.val_data

    def called(self, argument: str) -> str:
        """How messages name an argument; another constructor has other names for some."""
        return argument

    def has_loader(self, name: str) -> bool:
        """Whether there is a loader for a call, ``"val"`` say."""
        if self._module is None:
            return self.given[f"{name}_dataloader"] is not None
        return self._module.has(name)

    def loader(self, name: str, *, call: str = "") -> Any:
        """The loader for a call, ``"train"`` say.

        Args:
            name: whose it is.
            call: what needs it, if that is another.

        Raises:
            ValueError: if none was given; it says which argument is missing.
        """
        if not self.has_loader(name):
            needs, call = [*map(self.called, _NEEDS[call or name])], call or name
            where = "" if self._module is None else ", or a data module that has it"
            raise ValueError(
                f"{call}() needs {' or '.join(needs)}, which the runner was not given; give it: "
                f"Runner(…, {needs[0]}=…){where}."
            )
        given = (
            self.given[f"{name}_dataloader"] if self._module is None else self._module.loader(name)
        )
        return self.build_dataloader(given, name=f"{name}_dataloader")

    def batches_in_epoch(self) -> int | None:
        """Batches in a pass over the training data; ``None`` where they don't tell."""
        return self._batches if self.has_loader("train") else None

    @cached_property
    def _batches(self) -> int | None:
        """Found out once, as several processes have to find it out together."""
        return length_of(even(self.training_data(self.train_dataloader)))

    def dataloader_idx(self, engine: Engine) -> int:
        """Which of several loaders an engine runs over, counted from 0."""
        several = by_name(vars(self).get(f"{engine.name}_dataloader")) or {}
        parts = list(parts_of(engine.state.dataloader)) if several else []  # it may be wrapped
        found = (n for n, one in enumerate(several.values()) if any(one is part for part in parts))
        return next(found, 0)

    @property
    def data_module(self) -> Any:
        """What brings the loaders; ``None`` if they were given themselves."""
        return None if self._module is None else self._module.module

    def set_up_data(self, stage: str) -> None:
        """Set a data module up for a stage before a loader is asked for.

        Args:
            stage: as it knows it: ``"fit"``, ``"validate"``, ``"test"`` or ``"predict"``.
        """
        if self._module is not None:
            self._module.set_up(stage)

    @property
    def also_saved(self) -> dict[str, Any]:
        """What is saved with a run besides the model and the train engine."""
        module = self._module
        keeps = module is not None and hasattr(module.module, "state_dict")
        return {"data_module": module} if keeps else {}

    def let_go_of_data(self) -> None:
        """Tear a data module down, and forget what it has made; it makes it anew."""
        if self._module is not None:
            self.forget_data()
            self._module.teardown()

    def forget_data(self) -> None:
        """Forget the loaders, and the loops over them; they are made anew when they are needed."""
        for name in _OF_LOADERS:
            vars(self).pop(name, None)

    def _reloaded(self) -> Any:
        given = self.given["train_dataloader"]
        if self._module is not None:
            given = self._module.loader("train", anew=True)
        return even(self.training_data(self.build_dataloader(given, name="train_dataloader")))

    @cached_property
    def _module(self) -> DataModuleLoaders | None:
        """The data module, if one was given in the place of a loader, or the model is one."""
        for name in [name for name in self.given if name.endswith("_dataloader")]:
            module = self.given[name]
            if makes_data_module(module, self.objects):
                module = self.objects.build(module, DATA_LOADERS, path=name, seed=self.seed)
            if is_data_module(module):
                return DataModuleLoaders(module)
        own = self.guest.data_module()
        return None if own is None else DataModuleLoaders(own)
