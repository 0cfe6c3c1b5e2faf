"""Who is taken for whom, and which videos went worst and best."""

from typing import NamedTuple

import numpy as np


class Pair(NamedTuple):
    """Videos of one class that were taken for another."""

    label: int
    answer: int
    count: int
    of: int  # videos of the class


class Judged(NamedTuple):
    """One video and what was made of it."""

    row: int  # of the predictions
    label: int
    answer: int
    label_share: float  # of the true class in the scores, in percent
    answer_share: float


def answers(label: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """The class with the highest score for each row; another than the label where that one's score is -inf."""
    return np.argmax(np.nan_to_num(scores, nan=-np.inf), axis=1)


def confusion(label: np.ndarray, scores: np.ndarray) -> np.ndarray:
    """Counts (k k): rows are true classes, columns answers."""
    counts = np.zeros((scores.shape[1],) * 2, dtype=np.int64)
    np.add.at(counts, (label, answers(label, scores)), 1)
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
    rows, answer = np.arange(len(label)), answers(label, scores)
    margin = shares[rows, answer] - shares[rows, label]
    wrong = sorted(rows[answer != label], key=lambda row: -margin[row])[:most]
    right = sorted(rows[answer == label], key=lambda row: -shares[row, label[row]])[:most]

    def judged(row: int) -> Judged:
        mine, given = int(label[row]), int(answer[row])
        return Judged(int(row), mine, given, 100 * float(shares[row, mine]), 100 * float(shares[row, given]))

    return [judged(row) for row in wrong], [judged(row) for row in right]


def _shares(scores: np.ndarray) -> np.ndarray:
    """Probabilities as they are; of logits the softmax."""
    finite = np.where(np.isfinite(scores), scores, np.where(np.isneginf(scores), -np.inf, 0.0)).astype(np.float64)
    sums = np.where(np.isfinite(finite), finite, 0).sum(1)
    if (np.nan_to_num(finite, neginf=0) >= 0).all() and np.allclose(sums[sums > 0], 1, atol=1e-3):
        return np.nan_to_num(finite, neginf=0)
    exp = np.exp(finite - finite.max(1, keepdims=True))
    return exp / exp.sum(1, keepdims=True)
