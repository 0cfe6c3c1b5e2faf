"""Several tests of the same videos as one answer."""

import io
from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np

from videoadapt.errors import UserError


class Scores(NamedTuple):
    """A predictions.npz."""

    index: np.ndarray  # type: ignore[assignment]  # (n,) place in the list; hides the method of tuples
    label: np.ndarray  # (n,)
    scores: np.ndarray  # (n k)
    fusion: str  # what was averaged over views: softmax or logits


def packed(scores: Scores) -> bytes:
    """The content of a predictions.npz."""
    file = io.BytesIO()
    np.savez_compressed(file, **scores._asdict())
    return file.getvalue()


def read_predictions(path: str | Path) -> Scores:
    """UserError for what 'videoadapt test' did not write."""
    try:
        with np.load(path, allow_pickle=False) as file:
            fusion = str(file["fusion"]) if "fusion" in file.files else "softmax"
            found = Scores(file["index"], file["label"], file["scores"], fusion)
    except Exception as error:  # zip's, numpy's and the system's
        raise UserError(f"{path}: not a predictions.npz of 'videoadapt test' ({type(error).__name__})") from None
    if found.scores.ndim != 2 or not len(found.index) == len(found.label) == len(found.scores) > 0:
        raise UserError(f"{path}: its index, label and scores do not belong together")
    return found


def fuse(parts: Sequence[Scores], names: Sequence[str], weights: Sequence[float]) -> Scores:
    """The weighted mean of the scores; a video that counts as wrong in one of them (-inf) is wrong.

    Raises UserError unless all are of the same videos with the same labels and classes, fused alike.
    """
    first = parts[0]
    for name, part in zip(names[1:], parts[1:], strict=True):
        if missing := set(first.index.tolist()) ^ set(part.index.tolist()):
            raise UserError(f"{name}: not of the same videos as {names[0]}; video {min(missing)} is in one of them")
        if part.scores.shape != first.scores.shape:
            raise UserError(f"{name}: {part.scores.shape[1]} classes, {names[0]} has {first.scores.shape[1]}")
        if part.fusion != first.fusion:
            raise UserError(f"{name}: scores by {part.fusion}, {names[0]} by {first.fusion}; test with one test.fusion")
    order = [np.argsort(part.index, kind="stable") for part in parts]
    labels = [part.label[rows] for part, rows in zip(parts, order, strict=True)]
    for name, label in zip(names[1:], labels[1:], strict=True):
        if (other := np.flatnonzero(label != labels[0])).size:
            raise UserError(f"{name}: video {first.index[order[0]][other[0]]} has another label than in {names[0]}")
    shares = np.asarray(weights, dtype=np.float64) / np.sum(weights)
    scores = sum(share * part.scores[rows] for share, part, rows in zip(shares, parts, order, strict=True) if share)
    return Scores(first.index[order[0]], labels[0], scores.astype(np.float32), first.fusion)
