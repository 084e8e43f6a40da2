"""Contenders that take turns in fresh processes; one that fails stands aside, and others go on."""

import statistics
import sys

from ..timing import all_in_turns
from .fresh import measured


def in_turns(measure, names, rounds, **options):
    """Medians over the rounds.

    Args:
        measure: the module of ``measures``.
        names: of the contenders.
        rounds: how often each is measured.
        options: for the measure's ``alone``.

    Returns:
        by contender the figures that the measure has; or ``error``, what it failed with.
    """
    failed = {}

    def one(name):
        if name not in failed:
            print(f"  {measure} {name}", file=sys.stderr, flush=True)
            try:
                return measured(measure, name, **options)
            except Exception as error:  # whatever a contender may raise
                failed[name] = {"error": f"{error}"}
        return None

    seen = all_in_turns(one, names, rounds)
    return {name: failed.get(name) or medians(each) for name, each in seen.items()}


def medians(rounds):
    """Of each figure the median."""
    return {name: statistics.median(one[name] for one in rounds) for name in rounds[0]}
