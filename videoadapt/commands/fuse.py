"""Fuse the tests of several models or views on the same videos.

The command takes the weighted mean of the scores, for ensembles, several frame rates or several views. It prints the
accuracy of each test and of all together, and writes predictions.npz and results.json into DIR.
"""

import argparse
import math

from videoadapt.errors import UserError
from videoadapt.report.text import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help = "of 'videoadapt test'"
    parser.add_argument("predictions", nargs="+", metavar="PREDICTIONS.npz", help=help)
    parser.add_argument("--weights", metavar="A,B,...", help="one for each file; all the same by default")
    parser.add_argument("--out", default="runs/fused", metavar="DIR", help="runs/fused by default")


def run(args: argparse.Namespace) -> None:
    names = args.predictions
    weights = _weights(args.weights, len(names))
    from videoadapt.workflows import fuse_tests

    accuracies = fuse_tests(names, weights, args.out)
    shown = [*(f"{weight:g}" for weight in weights), ""]
    rows = [
        (name, weight, *(f"{value:.2f}" for value in found.values()))
        for (name, found), weight in zip(accuracies, shown, strict=True)
    ]
    print(table(["predictions", "weight", "top-1", "top-5", "mean class"], rows))


def _weights(text: str | None, count: int) -> list[float]:
    try:
        weights = [1.0] * count if text is None else [float(part) for part in text.split(",")]
    except ValueError:
        raise UserError(f"--weights {text}: numbers with commas between them, e.g. 1,0.5") from None
    if len(weights) != count or not all(0 <= weight < math.inf for weight in weights) or not sum(weights):
        raise UserError(f"--weights {text}: as many as files ({count}), none below 0 and not all 0")
    return weights
