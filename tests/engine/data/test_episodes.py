"""Episodes, played by a policy when they are asked for."""

from __future__ import annotations

import pytest
import torch

from footplate import Engine, Events
from footplate.engine.data.episodes import Episodes
from footplate.engine.nested import samples_in
from footplate.handlers.checkpoint import Checkpoint

gymnasium = pytest.importorskip("gymnasium")


def by_lot(observed: torch.Tensor, generator: torch.Generator) -> torch.Tensor:
    return torch.randint(0, 2, observed.shape[:1], generator=generator)


def episodes(**options) -> Episodes:
    return Episodes("CartPole-v1", 3, 4, **{"act": by_lot, **options})


def same(one, other) -> bool:
    return torch.equal(one[0], other[0]) and all(
        torch.equal(one[1][name], other[1][name]) for name in one[1]
    )


def test_a_batch_is_whole_episodes():
    observed, steps = next(iter(episodes()))
    length = observed.shape[1] - 1
    assert samples_in((observed, steps)) == 3  # whoever counts, or takes means, counts episodes
    assert {name: tuple(one.shape) for name, one in steps.items()} == dict.fromkeys(
        ("action", "reward", "on", "terminated"), (3, length)
    )
    assert steps["on"].any(0).all()  # the longest is as long as the batch
    for number in range(3):
        steps_of_it = int(steps["on"][number].sum())
        assert steps["on"][number, :steps_of_it].all()
        assert steps["reward"][number].tolist() == [1.0] * steps_of_it + [0.0] * (
            length - steps_of_it
        )
        ended = steps["terminated"][number, :steps_of_it].tolist()
        assert ended == [False] * (steps_of_it - 1) + [True]
        angle = observed[number, steps_of_it, 2].abs()
        assert angle > 0.2  # what is observed last is the fall, not another beginning


def test_an_end_by_the_clock_is_told_from_a_failure():
    _, steps = next(iter(episodes(max_episode_steps=5)))
    assert steps["on"].shape == (3, 5)
    assert not steps["terminated"].any()


def test_an_environment_without_a_vector_of_its_own_is_played():
    observed, steps = next(iter(Episodes("MountainCar-v0", 2, act=by_lot, max_episode_steps=7)))
    assert observed.shape == (2, 8, 2)
    assert steps["reward"].sum(1).tolist() == [-7.0, -7.0]


def test_batches_follow_from_seed_pass_and_place():
    first, again = episodes(), episodes()
    passes = [list(first), list(first)]
    for one, other in zip(passes[0] + passes[1], [*again, *again], strict=True):
        assert same(one, other)
    assert not any(map(same, passes[0], passes[1]))
    assert not same(passes[0][0], passes[0][1])
    assert not same(passes[0][0], next(iter(episodes(seed="val 0"))))


@pytest.mark.covers("K4")
def test_a_run_goes_on_with_the_episodes_of_its_policy(tmp_path):
    def trained(folder, *, resume: bool, stops: bool) -> tuple[torch.nn.Module, list]:
        torch.manual_seed(0)
        model, seen = torch.nn.Linear(4, 1), []

        def act(observed, generator):
            lots = torch.rand(len(observed), generator=generator)
            return (model(observed).squeeze(1).sigmoid() > lots).long()

        def step(engine, batch):  # moves the weights by what was played
            seen.append(batch)
            with torch.no_grad():
                model.weight += 0.1 * batch[0].mean((0, 1))

        trainer = Engine(step, name="train")
        every = Events.ITERATION_COMPLETED(every=5)
        checkpoint = trainer.attach(Checkpoint(folder, model, when=every))
        if stops:
            trainer.add_event_handler(Events.ITERATION_STARTED(once=7), lambda: 1 / 0)
        if resume:
            assert checkpoint.resume(trainer).name == "00000005"
        trainer.run(episodes(act=act), max_epochs=3)
        return model, seen

    whole, all_of_them = trained(tmp_path / "whole", resume=False, stops=False)
    with pytest.raises(ZeroDivisionError):
        trained(tmp_path / "cut", resume=False, stops=True)
    resumed, rest = trained(tmp_path / "cut", resume=True, stops=False)
    assert len(rest) == 7
    assert all(map(same, rest, all_of_them[5:]))
    assert torch.equal(resumed.weight, whole.weight)


def test_a_pass_that_was_cut_begins_again():
    data = episodes()
    first = next(data.begin())
    data.rewind()
    assert same(first, next(data.begin()))


def test_no_gradients_are_kept():
    model = torch.nn.Linear(4, 2)
    observed, steps = next(iter(episodes(act=lambda seen, _: model(seen).argmax(1))))
    assert not observed.requires_grad
    assert steps["action"].grad_fn is None


def test_a_policy_is_needed():
    with pytest.raises(RuntimeError, match="give act=, or set it"):
        next(iter(episodes(act=None)))


@pytest.mark.parametrize("numbers", [(0, 1), (1, 0), (1.5, 1)])
def test_numbers_of_episodes_are_whole(numbers):
    with pytest.raises((TypeError, ValueError), match=r"at_once|batches"):
        Episodes("CartPole-v1", *numbers)


def test_no_module_is_imported_by_a_name():
    with pytest.raises(ValueError, match="import the module that registers it"):
        Episodes("antigravity:CartPole-v1", 1)


def test_an_environment_that_shows_several_things_is_refused_unless_they_are_made_one():
    with pytest.raises(TypeError, match=r"'Blackjack-v1' shows Tuple.*FlattenObservation"):
        Episodes("Blackjack-v1", 1, act=by_lot)
    one = Episodes("Blackjack-v1", 2, act=by_lot, wrappers=[gymnasium.wrappers.FlattenObservation])
    assert next(iter(one))[0].shape[::2] == (2, 45)


@pytest.mark.parametrize("mode", ["SameStep", "Disabled"])
def test_a_vector_that_hides_the_ends_of_episodes_is_refused(mode):
    with pytest.raises(ValueError, match=r"AutoresetMode\.NEXT_STEP, gymnasium's default"):
        episodes(vectorization_mode="sync", vector_kwargs={"autoreset_mode": mode})


def test_what_is_seen_by_the_clocks_end_is_what_the_step_led_to():
    observed, steps = next(iter(episodes(max_episode_steps=5)))
    place, speed = observed[:, :, 0], observed[:, :, 1]  # it moves for 0.02 s, to the very last
    torch.testing.assert_close(place[:, 1:], place[:, :-1] + 0.02 * speed[:, :-1])
    assert steps["on"].all()
