"""Accuracies in percent, from labels (n,) and scores (n k)."""

import numpy as np

ACCURACIES = ("top1", "top5", "mean_class_accuracy")


def top_k_accuracy(label: np.ndarray, scores: np.ndarray, k: int) -> float:
    """Share of rows whose label is among the k highest scores; equal scores rank by class number.

    A label whose own score is -inf or NaN is never among them, however few classes there are.
    """
    best = np.argsort(-np.nan_to_num(scores, nan=-np.inf), axis=1, kind="stable")[:, :k]
    hits = (best == label[:, None]).any(1) & np.isfinite(scores[np.arange(len(label)), label])
    return 100 * float(hits.mean())


def per_class_accuracy(label: np.ndarray, scores: np.ndarray) -> list[dict[str, float | int | None]]:
    """Top-1 and number of videos of every class; None where a class has no video."""
    rows = []
    for number in range(scores.shape[1]):
        mine = label == number
        accuracy = top_k_accuracy(label[mine], scores[mine], 1) if mine.any() else None
        rows.append({"class": number, "num_videos": int(mine.sum()), "top1": accuracy})
    return rows


def summary(label: np.ndarray, scores: np.ndarray) -> dict:
    """``top1``, ``top5``, ``mean_class_accuracy`` (over the classes that occur), ``num_videos`` and ``per_class``."""
    per_class = per_class_accuracy(label, scores)
    return {
        "top1": top_k_accuracy(label, scores, 1),
        "top5": top_k_accuracy(label, scores, 5),
        "mean_class_accuracy": float(np.mean([row["top1"] for row in per_class if row["num_videos"]])),
        "num_videos": len(label),
        "per_class": per_class,
    }
