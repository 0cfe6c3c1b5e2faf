"""Several tests of the same videos as one."""

import json
from collections.abc import Sequence
from pathlib import Path

from videoadapt.atomic import atomically, writable_folder
from videoadapt.engine import metrics
from videoadapt.engine.fusion import Scores, fuse, packed, read_predictions
from videoadapt.errors import UserError


def fuse_tests(names: Sequence[str], weights: Sequence[float], out: str) -> list[tuple[str, dict[str, float]]]:
    """The weighted mean of the scores in predictions.npz files; predictions.npz and results.json of it in ``out``.

    Gives the accuracies in percent of each file, and of ``fused``.
    """
    parts = [read_predictions(name) for name in names]
    fused = fuse(parts, names, weights)
    folder = writable_folder(out, "--out")
    if any((folder / "predictions.npz").resolve() == path.resolve() for path in map(Path, names)):
        raise UserError(f"--out {out}: holds one of the predictions to fuse; name another folder")
    found = {**metrics.summary(fused.label, fused.scores), "unit": "percent", "fusion": fused.fusion}
    found["fused"] = [{"predictions": n, "weight": w} for n, w in zip(names, weights, strict=True)]
    text = json.dumps(found, indent=2)
    atomically(folder / "predictions.npz", lambda path: path.write_bytes(packed(fused)))
    atomically(folder / "results.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))
    return [*((n, _accuracies(part)) for n, part in zip(names, parts, strict=True)), ("fused", _accuracies(fused))]


def _accuracies(scores: Scores) -> dict[str, float]:
    found = metrics.summary(scores.label, scores.scores)
    return {key: found[key] for key in metrics.ACCURACIES}
