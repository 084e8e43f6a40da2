"""A run that is killed, at any moment, and resumed ends as if nothing had befallen it.

The runs are real processes, which real signals kill. Two go side by side, each forked from a
process that has imported all that takes long; some begin with nothing, as a user's do.
"""

from __future__ import annotations

import json

import pytest

from tests.crash.phases import Kill
from tests.crash.runs import STRATA, Lanes, afresh, at_random

CASES = [
    # killed
    "plain begin:1:SIGKILL",
    "plain fetch:2:SIGKILL fetch:3:SIGKILL",  # before there is a checkpoint
    "plain fetch:9:SIGKILL",
    "plain step:40:SIGKILL",
    "plain backward:22:SIGKILL",
    "plain handlers:31:SIGKILL",
    "plain validation:9:SIGKILL",
    "plain validation:21:SIGKILL",  # while the averaged weights stand in the model
    "plain epoch_end:1:SIGKILL",
    "plain epoch_end:3:SIGKILL",
    "plain end:1:SIGKILL",
    "plain step:14:SIGKILL step:1:SIGKILL validation:2:SIGKILL",
    # stopped by a signal
    "plain fetch:20:SIGTERM",
    "plain backward:35:SIGTERM",
    "plain validation:4:SIGTERM validation:3:SIGTERM",  # in an iteration
    "plain validation:21:SIGTERM",  # at the end of an epoch
    "plain epoch_end:3:SIGTERM",
    "plain save:60:SIGTERM",
    "plain prune:30:SIGTERM",
    "plain end:1:SIGTERM",
    "plain step:20:SIGUSR1 step:5:SIGINT",
    # stopped by an error
    "plain step:20:error",
    "plain handlers:20:error",
    "plain validation:9:error step:9:SIGKILL",
    "plain epoch_end:3:error",
    "plain save:70:error",
    # in the first save
    "plain save:4:SIGKILL save:12:SIGKILL save:17:SIGKILL save:19:SIGKILL",
    # with a scaler of losses
    "fp16 step:30:SIGKILL backward:11:SIGTERM",
    # while a checkpoint is written in the background
    "background save:90:SIGKILL",
    "background prune:20:SIGKILL",
    "background step:30:SIGTERM save:20:SIGTERM",
    "background handlers:30:error validation:9:SIGKILL",
    # with worker processes
    "workers fetch:30:SIGKILL",
    "workers validation:4:SIGTERM",
    "workers handlers:34:error epoch_end:1:SIGKILL",
    "persistent fetch:30:SIGKILL",
    "persistent epoch_end:1:SIGTERM step:3:SIGKILL",
]
EACH_CALL = {
    "each call of a save": ["handlers:6:SIGKILL", *(f"save:{n}:SIGKILL" for n in range(1, 22))],
    "each call of a prune": [f"prune:{n}:SIGKILL" for n in range(1, 10)],
}
AFRESH = "workers fetch:20:SIGKILL validation:21:SIGTERM"
LISTENING = "listening step:20:SIGTERM"


def parsed(case):
    """The name of the setting, and the kills."""
    setting, *kills = case.split()
    return ("plain", EACH_CALL[case]) if case in EACH_CALL else (setting, kills)


@pytest.fixture(scope="module")
def lives(request, tmp_path_factory):
    """Begins lives and gives their futures, each once; those of the parameters at once."""
    folder, begun = tmp_path_factory.mktemp("lives"), {}

    with Lanes() as lanes:

        def lead(case, **options):
            if case not in begun:
                setting, kills = parsed(case)
                place = folder / str(len(begun))
                begun[case] = lanes.lead(place, setting, list(map(Kill.parse, kills)), **options)
            return begun[case]

        own = [
            one for one in request.session.items if getattr(one, "module", None) is request.module
        ]
        parameters = [one.callspec.params for one in own if hasattr(one, "callspec")]
        cases = [one["case"] for one in parameters if "case" in one]
        for case in sorted({parsed(case)[0] for case in cases}) + cases:
            lead(case, **({"run": afresh} if case == AFRESH else {}))
        lead.lanes = lanes
        yield lead


@pytest.mark.covers("G4")
@pytest.mark.covers("G2")
@pytest.mark.covers("I7")
@pytest.mark.parametrize("case", [*CASES, AFRESH, *EACH_CALL])
def test_a_run_that_was_killed_ends_with_the_same_bits(case, lives):
    setting, kills = parsed(case)
    life, reference = lives(case).result(), lives(setting).result()
    assert len(life.deaths) == len(kills)
    assert life.result == reference.result
    assert "passed over" not in life.output
    for reached, resumed in zip(life.reached, life.resumed, strict=True):
        assert resumed >= _saved(reached, in_background=setting == "background")


def _saved(reached, *, in_background):
    """The last of the saves, all four iterations and at an epoch's end, that must be there."""
    saves = [0, *range(4, 25, 4), 25, *range(28, 50, 4), 50]
    begun = [0, 0, *(save for save in saves if save < reached)]
    return begun[-2 if in_background else -1]


@pytest.mark.covers("G2")
@pytest.mark.parametrize("case", EACH_CALL)
def test_what_a_killed_save_or_prune_left_is_taken_away(case, lives):
    checkpoints = lives(case).result().folder / "checkpoints"
    assert sorted(path.name for path in checkpoints.iterdir()) == [
        "00000025",
        "00000048",
        "00000050",
    ]


def test_weights_samples_metrics_and_log_are_what_is_compared(lives):
    result = json.loads(lives("plain").result().result)
    samples = [number for line in result["journal"] for number in line.get("samples", ())]
    assert sorted(samples) == sorted([*range(400), *range(400)])
    assert samples[:400] != samples[400:]
    assert {"val_accuracy", "quick_accuracy", "loss", "running_loss"} <= result["metrics"].keys()
    assert result["weights"] != result["averages"]
    assert result["last"] == 50


def test_workers_and_precision_make_other_runs(lives):
    results = {lives(setting).result().result for setting in ("plain", "workers", "fp16")}
    assert len(results) == 3


def test_a_background_save_changes_nothing(lives):
    assert lives("background").result().result == lives("plain").result().result


@pytest.mark.covers("I7")
@pytest.mark.covers("G1")
def test_a_stopped_run_goes_on_with_the_very_next_iteration(lives):
    between = lives("plain fetch:20:SIGTERM").result()
    assert between.resumed == between.reached == [20]
    within = lives("plain validation:4:SIGTERM validation:3:SIGTERM").result()
    assert within.reached == [6, 6]  # the log stands behind the evaluation of iteration 7
    assert within.resumed == [7, 7]


@pytest.mark.covers("I7")
def test_a_signal_handler_of_the_user_is_called_and_put_back(lives):
    life = lives(LISTENING).result()
    assert "heard SIGTERM" in life.output
    assert "left as it was: True" in life.output


@pytest.mark.covers("G4")
def test_kills_at_random_moments_of_each_phase(lives, tmp_path):
    settings = ("plain", "workers", "background")
    references = {setting: lives(setting).result().result for setting in settings}
    deaths, differing = at_random(lives.lanes, tmp_path, references, kills=20, least=1, seed=4)
    print("\nphase       kills", *(f"{phase:10} {deaths[phase]:6}" for phase in deaths), sep="\n")
    assert differing == []
    assert deaths.total() >= 20
    assert all(deaths[phase] for phase in STRATA)
