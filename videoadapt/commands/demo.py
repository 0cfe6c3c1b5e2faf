"""Make videos, adapt an image model to them and test it, in minutes.

Each row of the table is one run of 'videoadapt train' and one of 'videoadapt test'. The rows are Table 4 of the LoKi
paper in small, after a frozen model and a control that adds a temporal embedding alone. --full runs all five rows.
"""

import argparse
import time
from pathlib import Path

from videoadapt.commands import dispatch
from videoadapt.commands.common import add_overrides
from videoadapt.report.text import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("--full", action="store_true", help="all five rows instead of (1), (2) and (5)")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR", help="runs/demo by default")
    parser.add_argument("--train-per-class", type=int, default=72, metavar="N", help="videos to train on (72)")
    parser.add_argument("--val-per-class", type=int, default=25, metavar="N", help="videos to test on (25)")
    parser.add_argument("--seed", type=int, default=0, help="of videos and training (0)")
    add_overrides(parser, "for every row, e.g. optim.epochs=2")


def run(args: argparse.Namespace) -> None:
    from videoadapt.workflows import demo

    started, rows = time.monotonic(), [row for row in demo.ROWS if row.short or args.full]
    # A mistake in what they change is found before the videos are made.
    changes = {row: demo.row_overrides(row, args.out, args.seed, args.overrides) for row in rows}
    data = demo.make_videos(args.out, args.train_per_class, args.val_per_class, args.seed)
    count = 8 * args.train_per_class, 8 * args.val_per_class
    print(f"{count[0]} + {count[1]} videos written to {data}", flush=True)
    for row, overrides in changes.items():
        print(f"\n{row.name}", flush=True)
        dispatch(["train", demo.CONFIG, *overrides])
        checkpoint = args.out / row.run / demo.CHECKPOINT
        dispatch(["test", demo.CONFIG, "--checkpoint", str(checkpoint), *overrides])
    results = {row.name: demo.row_result(row, args.out) for row in rows}
    lines = [(name, f"{r['trainable']:,}", r["views"], f"{r['top1']:.1f}") for name, r in results.items()]
    print("\n" + table(["", "trainable", "views", "top-1 (%)"], lines))
    picture = demo.draw_rows(args.out, results, rows)
    print(f"\n{picture} shows it; {time.monotonic() - started:.0f} s in all")
    checkpoint, video = args.out / "loki" / "best.safetensors", data / "videos" / "val_0000.mp4"
    print(f"Next: videoadapt predict {checkpoint} {video}")
