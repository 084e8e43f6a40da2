"""Runs that are killed at 200 random moments, and resumed until they end: none may differ.

The runs are those of ``tests/crash``, of all settings in turn; what counts is the phase that a
process was in when it died.
"""

import shutil
import tempfile
from pathlib import Path

from tests.crash.runs import SETTINGS, STRATA, Lanes, at_random

from .timing import Row, show

KILLS, LEAST = 200, 3


def main():
    folder = Path(tempfile.mkdtemp())
    with Lanes() as lanes:
        whole = {setting: lanes.lead(folder / setting, setting) for setting in SETTINGS}
        references = {setting: life.result().result for setting, life in whole.items()}
        deaths, differing = at_random(lanes, folder, references, kills=KILLS, least=LEAST, seed=0)
    others = sorted(deaths.keys() - set(STRATA))
    show(
        "killed at random moments",
        [
            Row("kills", deaths.total(), "", KILLS, at_least=True),
            *(Row(f"  in {phase}", deaths[phase], "", LEAST, at_least=True) for phase in STRATA),
            *(Row(f"  in {phase}", deaths[phase], "") for phase in others),
            Row("runs that ended otherwise", len(differing), "", 0),
        ],
    )
    if differing:
        print("they are in", *differing)
    else:
        shutil.rmtree(folder)


if __name__ == "__main__":
    main()
