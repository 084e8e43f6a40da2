"""Bags of words as what a model has to beat."""

from __future__ import annotations

import random

import pytest

from footplate.recipes.baselines.bags_of_words import told_by_words

pytest.importorskip("sklearn")


def texts(count, order, seed):
    """Words in random order, and a label that is a word of them or the order of two."""
    draw = random.Random(seed)
    found, labels = [], []
    for _ in range(count):
        label = draw.choice("ab")
        words = [draw.choice("uvwxyz") for _ in range(8)]
        pair = ["left", "right"] if label == "a" else ["right", "left"]
        for word in pair if order else [label]:
            words.insert(draw.randrange(9), word) if not order else words.append(word)
        found.append(" ".join(words))
        labels.append(label)
    return found, labels


@pytest.mark.parametrize("order", [False, True])
def test_words_and_their_order_within_three_are_told(order):
    parts = [texts(80, order, seed) for seed in range(3)]
    accuracy, f1 = told_by_words(*parts)
    assert min(accuracy, f1) > 0.95


def test_what_words_do_not_say_is_not_told():
    train, val, test = (texts(80, False, seed) for seed in range(3))
    shuffled = random.Random(5).sample(train[1], k=80)
    accuracy, _ = told_by_words((train[0], shuffled), val, test)
    assert accuracy < 0.9


def test_the_strength_is_chosen_by_the_validation_part():
    parts = [texts(80, False, seed) for seed in range(3)]
    assert told_by_words(*parts, strengths=[1e-9, 10]) == told_by_words(*parts, strengths=[10])
