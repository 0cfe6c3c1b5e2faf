"""Test a checkpoint with several views of each video.

Views are frames x clips x crops. Several protocols, such as --views 8x1x1,8x3x1,8x3x3, are scored in one pass over the
videos. Without a checkpoint, model.zero_shot=action (or another set of prompt templates) tests CLIP itself on the class
names. Under torchrun, the result is the same. The command prints a table and writes results.json and predictions.npz
(index, label, scores) into run.out_dir, or into the folder of the checkpoint's run if run.out_dir is not set or holds
another run; --report adds the page report.html.
"""

import argparse
from typing import TYPE_CHECKING

from videoadapt.commands.common import add_config
from videoadapt.report.text import table

if TYPE_CHECKING:
    from videoadapt.workflows import Tested

_LONG = 60  # classes; past that the table shows the worst


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_config(parser)
    help = "or folder, or hf://owner/name; not for model.zero_shot"
    parser.add_argument("--checkpoint", metavar="FILE", help=help)
    parser.add_argument("--views", help="32x3x3 or several, 8x1x1,8x3x1,8x3x3; short for test.views")
    parser.add_argument("--report", action="store_true", help="write report.html")


def run(args: argparse.Namespace) -> None:
    from videoadapt.config import load_config

    config = load_config(args.config, args.overrides)
    from videoadapt.workflows import test_config

    # What the command line names is meant, also if something is there.
    named = any(text.partition("=")[0].strip() in {"run", "run.out_dir"} for text in args.overrides)
    tested = test_config(config, args.checkpoint, args.views or (), steps=args.report, replace=named)
    if tested is None:  # another rank tells
        return
    _show(tested)
    if args.report:
        from videoadapt.workflows.reporting import write_report  # slow to import, and needed here alone

        print(f"\n{write_report(tested)} shows it")
    else:
        print(f"\nresults.json and predictions.npz are in {tested.config.run.out_dir}")


def _show(tested: "Tested") -> None:
    results = tested.results
    seen = [row for row in results["per_class"] if row["num_videos"]]
    rows = seen if len(seen) <= _LONG else sorted(seen, key=lambda row: row["top1"])[:20]
    if len(rows) < len(seen):
        print(f"the {len(rows)} worst of {len(seen)} classes (all of them in results.json):")
    lines = [(tested.classes[row["class"]], row["num_videos"], f"{row['top1']:.2f}") for row in rows]
    print(table([f"class, {results['views']}", "videos", "top-1"], lines), end="\n\n")
    counts = [results["num_videos"], results["num_unreadable"]]
    protocols = [[row["views"], *counts, *_accuracies(row, len(tested.classes))] for row in results["protocols"]]
    print(table(["views", "videos", "unreadable", "top-1", "top-5", "mean class"], protocols))


def _accuracies(row: dict, classes: int) -> list[str]:
    """In percent; of five classes and fewer, any answer is among the five likeliest."""
    empty = {"top5"} if classes <= 5 else set()
    return ["-" if key in empty else f"{value:.2f}" for key, value in row.items() if key != "views"]
