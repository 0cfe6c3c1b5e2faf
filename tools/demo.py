"""The whole way on one machine: make videos, adapt a frozen image model, test it multi-view, compare.

python tools/demo.py [--full] [--out DIR]

Runs tools/train.py and tools/test.py themselves, once for each row of the table. The rows are the small sibling of
LoKi's Table 4; the control shows what the temporal embedding alone can do. --full runs all five.
"""

import json
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from videoadapt import cli
from videoadapt.demo.motions import CLASSES, write_motion_videos
from videoadapt.engine.checkpoint import read_checkpoint
from videoadapt.report.curves import draw_comparison, read_metrics
from videoadapt.video import open_video

TOOLS = Path(__file__).parent
CONFIG = TOOLS.parent / "configs" / "demo" / "loki_mini_8f.yaml"


@dataclass(frozen=True)
class Row:
    name: str
    run: str  # the folder of its run
    overrides: tuple[str, ...]  # of CONFIG, which is the last row itself
    short: bool = True  # part of the short demo


_HEAD = ("model.slots={}", "optim.lr=2e-2")
ROWS = (
    Row("(1) frozen + head", "head", (*_HEAD, "model.temporal_embedding=false")),
    Row("(2) control: + temporal embedding", "control", _HEAD),
    Row("(3) + Space LoKi", "space", ("model.slots.time_out=null", "model.slots.mlp_side=null"), short=False),
    Row("(4) + Time LoKi", "time", ("model.slots.mlp_side=null",), short=False),
    Row("(5) + MLP LoKi", "loki", ()),
)


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("--full", action="store_true", help="all five rows instead of (1), (2) and (5)")
    parser.add_argument("--out", type=Path, default=Path("runs/demo"), metavar="DIR")
    parser.add_argument("--train-per-class", type=int, default=72, metavar="N")
    parser.add_argument("--val-per-class", type=int, default=25, metavar="N")
    parser.add_argument("--seed", type=int, default=0, help="of videos and training")
    parser.add_argument("overrides", nargs="*", metavar="key=value", help="for every row, e.g. optim.epochs=2")
    args = parser.parse_args()
    started = time.monotonic()
    data = args.out / "data"
    write_motion_videos(data, args.train_per_class, args.val_per_class, args.seed)
    print(f"{args.train_per_class * 8} + {args.val_per_class * 8} videos written to {data}", flush=True)
    shared = [f"data.{key}={data / name}" for key, name in _FILES.items()] + [f"run.seed={args.seed}", *args.overrides]
    rows = [row for row in ROWS if row.short or args.full]
    results = {row.name: run_row(row, args.out / row.run, shared) for row in rows}
    print()
    header = ["", "trainable", "views", "top-1 (%)"]
    print(cli.table(header, [(n, f"{r['trainable']:,}", r["views"], f"{r['top1']:.1f}") for n, r in results.items()]))
    draw_comparison(
        args.out / "demo.png",
        {name: _frames(data / "videos" / f"val_{label:04d}.mp4") for label, name in enumerate(CLASSES)},
        {row.name: read_metrics(args.out / row.run / "metrics.jsonl") for row in rows},
        {name: result["top1"] for name, result in results.items()},
    )
    print(f"\n{args.out / 'demo.png'} shows it; {time.monotonic() - started:.0f} s in all")


_FILES = {"train": "train.csv", "val": "val.csv", "classes": "classes.txt", "root": ""}


def run_row(row: Row, out_dir: Path, shared: list[str]) -> dict:
    """Train and test one row by the programs themselves; its results and number of trainable parameters."""
    print(f"\n{row.name}", flush=True)
    overrides = [*row.overrides, *shared, f"run.out_dir={out_dir}", "run.overwrite=true"]
    checkpoint = out_dir / "last.safetensors"
    for program, arguments in (("train.py", []), ("test.py", ["--checkpoint", str(checkpoint)])):
        command = [sys.executable, str(TOOLS / program), str(CONFIG), *arguments, *overrides]
        if code := subprocess.run(command).returncode:
            sys.exit(code)
    results = json.loads((out_dir / "results.json").read_text(encoding="utf-8"))
    return {**results, "trainable": sum(tensor.numel() for tensor in read_checkpoint(checkpoint)[0].values())}


def _frames(path: Path) -> list:
    with open_video(path) as video:
        return list(video.frames([0, 7, 15, 23]))


if __name__ == "__main__":
    cli.run(main)
