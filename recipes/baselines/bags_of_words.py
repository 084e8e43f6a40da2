"""Bags of words: how well texts are told apart by counting, which a model has to beat."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from ...engine.optional import required

__all__ = ["told_by_words"]

Labelled = tuple[Sequence[str], Sequence[Any]]

_WORDS = r"<\w+>|\w+|[^\w ]"  # signs and ends of lines count as words, and so does a <mask>


def told_by_words(
    train: Labelled, val: Labelled, test: Labelled, *, strengths: Sequence[float] = (10, 30, 100)
) -> tuple[float, float]:
    """How well TF-IDF with logistic regression, of scikit-learn, tells labels of texts.

    Up to three words in a row count as one. Each fit goes on until it converges, and the strength
    that does best on the validation part is taken.

    Args:
        train: texts and their labels, to learn from.
        val: those to choose the strength by.
        test: those that are told at last.
        strengths: inverse strengths of the regularization to choose from.

    Returns:
        accuracy and macro F1, the mean of the F1 scores of the labels, both from 0 to 1.

    Example:
        >>> texts = ["many thanks", "get lost"] * 5, ["kind", "rude"] * 5
        >>> told_by_words(texts, texts, texts)
        (1.0, 1.0)
    """
    with required("sklearn", "counting words", extra="recipes"):
        from sklearn.feature_extraction.text import TfidfVectorizer
        from sklearn.linear_model import LogisticRegression
        from sklearn.metrics import f1_score

    words = TfidfVectorizer(
        ngram_range=(1, 3), token_pattern=_WORDS, lowercase=False, min_df=2, sublinear_tf=True
    )
    x = words.fit_transform(train[0])
    x_val, x_test = (words.transform(texts) for texts, _ in (val, test))
    models = [LogisticRegression(C=c, max_iter=2000).fit(x, train[1]) for c in strengths]
    best = max(models, key=lambda model: float(model.score(x_val, val[1])))
    f1 = f1_score(test[1], best.predict(x_test), average="macro")
    return float(best.score(x_test, test[1])), float(f1)
