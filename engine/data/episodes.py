"""Episodes of gymnasium: batches that a policy plays when they are asked for."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping
from typing import Any

import torch
from torch import Generator, Tensor

from ..optional import required
from ..whole import whole

__all__ = ["Act", "Episodes", "Played"]

Act = Callable[[Tensor, Generator], Tensor]
"""A policy: what is done, (N, …), where that is observed, (N, …), with lots drawn if need be."""

Played = tuple[Tensor, dict[str, Tensor]]
"""What was observed, (N, T + 1, …), and what came of each of T steps by name, (N, T, …)."""


class Episodes:
    """Batches of whole episodes, side by side, each played by a policy as it is by then.

    In a batch are what was observed, (N, T + 1, …), where T are the steps of the longest of N
    episodes, and by name of each step, (N, T, …): the ``"action"``; the ``"reward"``; whether the
    episode was still ``"on"``; and whether the step ``"terminated"`` it, as the clock does not.
    What stands behind the end of an episode means nothing, and its rewards are 0.

    All that is drawn for a batch follows from seed, pass and place, and nothing is under way
    between two batches. So a run goes on with the episodes that it would have had, though neither
    environments nor their random numbers are saved: the weights, which the policy goes by, are
    saved in any case. It holds where the engine fetches a batch when its turn has come, which is
    so unless the data are wrapped.

    An episode lasts until the environment ends it. One without a limit of time, which most
    registered names have, may last for ever: give ``max_episode_steps``.

    Args:
        environment: a registered name, ``"CartPole-v1"`` say, of gymnasium.
        at_once: the episodes of a batch, N.
        batches: the batches of a pass.
        act: the policy, called without gradients, with tensors of the CPU, of which batches are;
            it may be set before the first batch instead.
        seed: a number or a text that all draws follow from.
        options: for the environment.

    Attributes:
        act: the policy.
        passes: how many passes were begun.
        environments: gymnasium's vector of environments.

    Raises:
        ImportError: if gymnasium is not installed.
        TypeError: for an environment that shows several things at once, in a dict or a tuple.
        ValueError: for a name with a module in it, for numbers below 1, and for a vector that
            shows the begin of the next episode in place of the end of the one before.
        RuntimeError: when a batch is asked for and there is no policy.

    Example:
        >>> def always_left(observed, generator):
        ...     return torch.zeros(len(observed), dtype=torch.long)
        >>> observed, steps = next(iter(Episodes("CartPole-v1", 3, act=always_left)))
        >>> observed.shape, steps["reward"].shape
        (torch.Size([3, 11, 4]), torch.Size([3, 10]))
        >>> steps["reward"].sum(1)
        tensor([ 8.,  9., 10.])
    """

    def __init__(
        self,
        environment: str,
        at_once: int,
        batches: int = 1,
        *,
        act: Act | None = None,
        seed: int | str = 0,
        **options: Any,
    ) -> None:
        at_once, self.batches = whole("at_once", at_once), whole("batches", batches)
        if ":" in environment:  # a configuration can't have code imported by a name
            raise ValueError(
                f"environment= is a registered name, given {environment!r}; import the module that "
                f"registers it, and give what stands behind the colon."
            )
        with required("gymnasium", "playing episodes"):
            import gymnasium
        self.environments = gymnasium.make_vec(environment, num_envs=at_once, **options)
        self._check(environment)
        self.act = act
        self.seed = seed
        self.passes = 0

    def __len__(self) -> int:
        return self.batches

    def __iter__(self) -> Iterator[Played]:
        return self.begin()

    def make_passes(self) -> Episodes:
        """Passes over them for an engine: they know themselves in which one they are."""
        return self

    def begin(self) -> Iterator[Played]:
        """Begin a new pass."""
        self.passes += 1
        return self.go_on(0)

    def go_on(self, position: int) -> Iterator[Played]:
        """Take up the pass that was begun last, or loaded, behind so many batches."""
        return (self._played(f"{self.passes} {place}") for place in range(position, self.batches))

    def rewind(self) -> None:
        """Stand as before the pass that was begun last."""
        self.passes -= 1

    def state_dict(self) -> dict[str, Any]:
        """How many passes were begun."""
        return {"passes": self.passes}

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        """Stand in the last of so many passes."""
        self.passes = state["passes"]

    def _check(self, environment: str) -> None:
        """Refuse an environment whose episodes would be wrong, or fail in the midst of a run."""
        from gymnasium.vector import AutoresetMode

        seen = self.environments.single_observation_space
        if seen.shape is None:
            raise TypeError(
                f"{environment!r} shows {seen}, not one array; give wrappers= one that makes an "
                f"array of it, as gymnasium.wrappers.FlattenObservation."
            )
        mode = self.environments.metadata.get("autoreset_mode")
        if mode is not AutoresetMode.NEXT_STEP:
            raise ValueError(
                f"episodes are seen to their end if environments begin anew in the next step, "
                f"AutoresetMode.NEXT_STEP, gymnasium's default; those of {environment!r} have "
                f"{mode}."
            )

    @torch.no_grad()
    def _played(self, place: str) -> Played:
        """Episodes up to the end of the longest, with what is drawn for a place."""
        if self.act is None:
            raise RuntimeError("episodes are played by a policy; give act=, or set it.")
        seed = random.Random(f"{self.seed} {place}").getrandbits(62)
        lots = Generator().manual_seed(seed)
        observed = [torch.from_numpy(self.environments.reset(seed=seed)[0])]
        on = torch.ones(self.environments.num_envs, dtype=torch.bool)
        steps = []
        while on.any():
            action = self.act(observed[-1], lots).cpu()
            # An environment whose episode is over begins another, which nobody looks at.
            now, *told, _ = self.environments.step(action.numpy())
            reward, terminated, truncated = map(torch.from_numpy, told)
            steps.append((action, on * reward.float(), on, terminated))
            observed.append(torch.from_numpy(now))
            on = on & ~terminated & ~truncated
        columns = (torch.stack(column, 1) for column in zip(*steps, strict=True))
        names = ("action", "reward", "on", "terminated")
        return torch.stack(observed, 1), dict(zip(names, columns, strict=True))
