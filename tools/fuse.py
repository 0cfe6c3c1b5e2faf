"""Fuse tests of the same videos: python tools/fuse.py PREDICTIONS.npz PREDICTIONS.npz ... [--weights 1,0.5] [--out DIR]

The weighted mean of the scores, for ensembles, several frame rates or views. Prints the accuracy of each and of all
together, and writes predictions.npz and results.json into DIR.
"""

import json
import math
from pathlib import Path

from videoadapt import cli
from videoadapt.atomic import atomically, writable_folder
from videoadapt.engine import metrics
from videoadapt.engine.fusion import Scores, fuse, packed, read_predictions
from videoadapt.errors import UserError


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("predictions", nargs="+", metavar="PREDICTIONS.npz", help="of tools/test.py")
    parser.add_argument("--weights", metavar="A,B,...", help="one for each file; all the same by default")
    parser.add_argument("--out", default="runs/fused", metavar="DIR", help="runs/fused by default")
    args = parser.parse_args()
    names = args.predictions
    weights = _weights(args.weights, len(names))
    parts = [read_predictions(name) for name in names]
    fused = fuse(parts, names, weights)
    out = writable_folder(args.out, "--out")
    if any((out / "predictions.npz").resolve() == Path(name).resolve() for name in names):
        raise UserError(f"--out {out}: holds one of the predictions to fuse; name another folder")
    rows = [(n, f"{w:g}", *_accuracies(part)) for n, w, part in zip(names, weights, parts, strict=True)]
    rows.append(("fused", "", *_accuracies(fused)))
    print(cli.table(["predictions", "weight", "top-1", "top-5", "mean class"], rows))
    found = {**metrics.summary(fused.label, fused.scores), "unit": "percent", "fusion": fused.fusion}
    found["fused"] = [{"predictions": n, "weight": w} for n, w in zip(names, weights, strict=True)]
    text = json.dumps(found, indent=2)
    atomically(out / "predictions.npz", lambda path: path.write_bytes(packed(fused)))
    atomically(out / "results.json", lambda path: path.write_text(text + "\n", encoding="utf-8"))


def _weights(text: str | None, count: int) -> list[float]:
    try:
        weights = [1.0] * count if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--weights {text}: numbers with commas between them, e.g. 1,0.5") from None
    if len(weights) != count or not all(0 <= weight < math.inf for weight in weights) or not sum(weights):
        raise UserError(f"--weights {text}: as many as files ({count}), none below 0 and not all 0")
    return weights


def _accuracies(scores: Scores) -> list[str]:
    found = metrics.summary(scores.label, scores.scores)
    return [f"{found[key]:.2f}" for key in metrics.ACCURACIES]


if __name__ == "__main__":
    cli.run(main)
