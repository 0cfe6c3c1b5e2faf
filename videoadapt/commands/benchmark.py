"""Measure adapters, models, views, decoders and a GPU against peers.

Both sides of every row are timed in one process, in turns, after one call to warm up. A ratio below 1 means that ours
is faster or needs less memory.

adapters: LoKi against the Adapter and against recursive splines; KARST against building its weight; on --tokens tokens
model:    training steps of ViT-B/16 against AIM's own block, checkpointing, merged inference; or two configs:
          videoadapt benchmark model --compare A.yaml B.yaml
views:    a test with several views from one pass over each video, against a pass for each view
decode:   our reader against PyAV, decord and torchcodec alone, and cached copies against originals
gpu:      training steps on a GPU, ViT-B/16 and L/14: as a user sees them, and what the program and the GPU do alone
"""

import argparse
import json
from pathlib import Path

from videoadapt.errors import UserError
from videoadapt.report.text import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("what", choices=["adapters", "model", "views", "decode", "gpu"])
    parser.add_argument("--json", action="store_true", help="machine and rows as one JSON object")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; decoders work on the CPU (auto)")
    parser.add_argument("--threads", type=int, default=1, help="of torch; decoders have one (1)")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each side after one to warm up (5)")
    help = "of models and adapters; auto is bf16 on a GPU that has it in hardware, fp32 elsewhere (auto)"
    parser.add_argument("--precision", choices=["auto", "fp32", "bf16", "fp16"], default="auto", help=help)
    parser.add_argument("--tokens", type=int, default=6304, help="adapters: 4 clips of 8 frames by default")
    parser.add_argument("--clips", type=int, default=1, help="model: in a batch (1)")
    parser.add_argument("--frames", type=int, default=8, help="model: of a clip (8)")
    parser.add_argument("--only", choices=["steps", "forwards", "merged"], help="model: this part alone")
    parser.add_argument("--compare", nargs=2, metavar="CONFIG", help="model: these two instead, the second as the peer")
    parser.add_argument("--quick", action="store_true", help="gpu: ViT-B/16 with 4 clips of 8 frames alone")
    parser.add_argument("--video", type=Path, metavar="FILE", help="views, decode: instead of videos made on the spot")


def run(args: argparse.Namespace) -> None:
    for option, least in {"threads": 1, "rounds": 1, "tokens": 8, "clips": 1, "frames": 1}.items():
        if getattr(args, option) < least:
            raise UserError(f"--{option}: {getattr(args, option)} is below {least}")
    if args.compare and args.what != "model":
        raise UserError(f"--compare: is for model, not for {args.what}")
    from videoadapt.benchmarks.machine import machine
    from videoadapt.benchmarks.suite import Options, measure, settled

    chosen = {key: value for key, value in vars(args).items() if key not in {"what", "json"}}
    options = settled(Options(**chosen))
    rows = measure(args.what, options)
    facts = {**machine(), "precision": options.precision}
    if args.json:
        print(json.dumps({"machine": facts, "rows": rows}, indent=2))
    elif args.what == "gpu":
        show_gpu(rows, facts)
    else:
        _show(rows, facts)


def show_gpu(rows: list[dict], facts: dict) -> None:
    """The table of gpu, whose columns are its own."""
    from videoadapt.benchmarks.gpu import AIM, EPOCHS, VIDEOS

    _show_machine(facts)
    header = ["step", "of", "wall ms", "host ms", "GPU ms", "wall against AIM's", "clips/s", "peak GB", "hours"]
    lines = []
    for row in rows:
        if row["fits"]:
            times = ("-" if row[key] is None else f"{1000 * row[key]:.1f}" for key in ("wall", "host", "gpu"))
            rest = row["ratio"] or "-", row["clips_per_second"], f"{row['memory'] / 1e9:.1f}", row["hours"]
            lines.append([row["name"], row["size"], *times, *rest])
        else:
            lines.append([row["name"], row["size"], "out of memory", *["-"] * 6])
    print(table(header, lines))
    print(f"\nhours: of {EPOCHS} epochs of {VIDEOS:,} videos, as of Kinetics-400; AIM's: {AIM} of the same size")


def _show_machine(facts: dict) -> None:
    print("machine: " + ", ".join(f"{key} {value}" for key, value in facts.items() if value is not None) + "\n")


def _show(rows: list[dict], facts: dict) -> None:
    _show_machine(facts)
    header = ["ours", "against", "ms", "against", "time ratio", "MB", "against", "memory ratio"]
    lines = [
        [
            row["name"],
            row["against"],
            *(f"{1000 * row[key][0]:.1f}" for key in ("seconds", "against_seconds")),
            row["time_ratio"],
            *("" if row[key] is None else f"{row[key] / 1e6:.2f}" for key in ("bytes", "against_bytes")),
            "" if row["memory_ratio"] is None else row["memory_ratio"],
        ]
        for row in rows
    ]
    if any("video" in row for row in rows):
        header, lines = ["video", *header], [[row["video"], *line] for row, line in zip(rows, lines, strict=True)]
    print(table(header, lines))
