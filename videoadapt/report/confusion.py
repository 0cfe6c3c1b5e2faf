"""Who is taken for whom, and which videos went worst and best."""

from typing import NamedTuple

import numpy as np


class Pair(NamedTuple):
    """Videos of one class that were taken for another."""

    label: int
    answer: int
    count: int  # type: ignore[assignment]  # hides the method of tuples
    of: int  # videos of the class


class Judged(NamedTuple):
    """One video and what was made of it."""

    row: int  # of the predictions
    label: int
    answer: int
    label_share: float  # of the true class in the scores, in percent
    answer_share: float


def confusion(label: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Counts (k k): rows are true classes, columns answers. Here and below, scores are finite."""
    counts = np.zeros((scores.shape[1],) * 2, dtype=np.int64)
    np.add.at(counts, (label, scores.argmax(1)), 1)
    return counts


def confused_pairs(counts: np.ndarray, most: int) -> list[Pair]:
    """The off-diagonal cells with the most videos; of equal ones the larger share of its class first."""
    rows, columns = np.nonzero(counts)
    totals = counts.sum(1)
    pairs = [
        Pair(int(r), int(c), int(counts[r, c]), int(totals[r])) for r, c in zip(rows, columns, strict=True) if r != c
    ]
    return sorted(pairs, key=lambda pair: (-pair.count, pair.of))[:most]


def worst_and_best(label: np.ndarray, scores: np.ndarray, most: int) -> tuple[list[Judged], list[Judged]]:
    """The wrong answers that were surest against the true class, and the right ones that were surest."""
    shares = _shares(scores)
    rows, answer = np.arange(len(label)), scores.argmax(1)
    margin = shares[rows, answer] - shares[rows, label]
    wrong = sorted(rows[answer != label], key=lambda row: -margin[row])[:most]
    right = sorted(rows[answer == label], key=lambda row: -shares[row, label[row]])[:most]

    def judged(row: int) -> Judged:
        mine, given = int(label[row]), int(answer[row])
        return Judged(int(row), mine, given, 100 * float(shares[row, mine]), 100 * float(shares[row, given]))

    return [judged(row) for row in wrong], [judged(row) for row in right]


def _shares(scores: np.ndarray) -> np.ndarray:
    """Probabilities as they are; of logits the softmax."""
    if (scores >= 0).all() and np.allclose(scores.sum(1), 1, atol=1e-3):
        return scores
    exp = np.exp(scores - scores.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)
