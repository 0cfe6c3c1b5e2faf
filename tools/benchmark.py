"""Measure this machine: python tools/benchmark.py {adapters,model,views,decode} [--json] [--device D] [--threads N]

Both sides of every row are timed in one process, in turns, after a call to warm up; ratios below 1 are in our favour.

adapters: LoKi against the Adapter and the splines' recursion, KARST against building its weight, on --tokens tokens.
model:    training steps of ViT-B/16 against AIM's own block, checkpointing, merged inference; or of two configs:
          tools/benchmark.py model --compare A.yaml B.yaml
views:    a multi-view test from one pass over each video against a pass for each view.
decode:   our reader against PyAV, decord and torchcodec alone, and cached copies against originals.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from tqdm import tqdm

from videoadapt import cli
from videoadapt.benchmarks import decode
from videoadapt.benchmarks.adapters import AdapterBench
from videoadapt.benchmarks.machine import machine
from videoadapt.benchmarks.models import ModelBench
from videoadapt.benchmarks.views import ViewBench
from videoadapt.builders import model_input
from videoadapt.config import load_config
from videoadapt.data.views import Views
from videoadapt.engine import distributed
from videoadapt.errors import UserError

_PARTS = ("steps", "forwards", "merged")  # of model
_CLIPS = {
    "340x256_gop250.mp4": (256, 340, 250),
    "340x256_gop12.mp4": (256, 340, 12),
    "640x480_gop250.mp4": (480, 640, 250),
}


def main() -> None:
    args = _arguments()
    torch.set_num_threads(args.threads)
    device = distributed.start(args.device).device
    with tempfile.TemporaryDirectory() as folder:
        measure = {"adapters": _adapters, "model": _model, "views": _views, "decode": _decode}[args.what]
        rows = measure(args, device, Path(folder))
    if args.json:
        print(json.dumps({"machine": machine(), "rows": rows}, indent=2))
    else:
        _show(rows)


def _arguments() -> argparse.Namespace:
    parser = cli.Parser(__doc__)
    parser.add_argument("what", choices=["adapters", "model", "views", "decode"])
    parser.add_argument("--json", action="store_true", help="machine and rows as one JSON object")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda or cuda:N; decoders work on the CPU (auto)")
    parser.add_argument("--threads", type=int, default=1, help="of torch; decoders have one (1)")
    parser.add_argument("--rounds", type=int, default=5, help="calls of each side after one to warm up (5)")
    parser.add_argument("--precision", choices=["fp32", "bf16", "fp16"], default="fp32")
    parser.add_argument("--tokens", type=int, default=6304, help="adapters: 4 clips of 8 frames by default")
    parser.add_argument("--clips", type=int, default=1, help="model: in a batch (1)")
    parser.add_argument("--frames", type=int, default=8, help="model: of a clip (8)")
    parser.add_argument("--only", choices=_PARTS, help="model: this part alone")
    parser.add_argument("--compare", nargs=2, metavar="CONFIG", help="model: these two instead, the second as the peer")
    parser.add_argument("--video", type=Path, metavar="FILE", help="views, decode: instead of videos made on the spot")
    args = parser.parse_args()
    for option, least in {"threads": 1, "rounds": 1, "tokens": 8, "clips": 1, "frames": 1}.items():
        if getattr(args, option) < least:
            raise UserError(f"--{option}: {getattr(args, option)} is below {least}")
    if args.compare and args.what != "model":
        raise UserError(f"--compare: is for model, not for {args.what}")
    return args


def _adapters(args: argparse.Namespace, device: torch.device, _: Path) -> list[dict]:
    bench = AdapterBench(args.tokens, device, args.precision)
    return [row for measure in (bench.slots, bench.compiled, bench.karst) for row in measure(args.rounds)]


def _model(args: argparse.Namespace, device: torch.device, _: Path) -> list[dict]:
    if args.compare:
        return _compare(args, device)
    bench = ModelBench(torch.randn(args.clips, 3, args.frames, 224, 224, device=device), args.precision)
    parts = [args.only] if args.only else _PARTS
    return [row for part in parts for row in getattr(bench, part)(args.rounds)]


def _compare(args: argparse.Namespace, device: torch.device) -> list[dict]:
    sections = {name: load_config(name).model for name in args.compare}
    shapes = {(section.num_frames or 1, model_input(section)["image_size"]) for section in sections.values()}
    if len(sections) < 2 or len(shapes) > 1:
        raise UserError("--compare: takes two configs of the same model.num_frames and image size")
    ((frames, side),) = shapes
    return ModelBench(torch.randn(args.clips, 3, frames, side, side, device=device), args.precision).compare(
        sections, args.rounds
    )


def _views(args: argparse.Namespace, device: torch.device, folder: Path) -> list[dict]:
    views, videos = Views(8, 3, 3), _videos(args, folder)
    reading = ViewBench(videos, views, 224).reading(args.rounds)
    return reading + ViewBench(videos, views, 64).scoring(args.rounds, device)


def _decode(args: argparse.Namespace, _: torch.device, folder: Path) -> list[dict]:
    rows = []
    for path in tqdm(_videos(args, folder), desc="measuring"):
        rows += decode.backend_rows(path, 8, args.rounds)
        rows += decode.resize_rows(path, 224, 8, args.rounds)
        rows += decode.cache_rows(path, folder / "cache", 8, args.rounds)
    return rows


def _videos(args: argparse.Namespace, folder: Path) -> list[Path]:
    if args.video:
        return [args.video]
    return [decode.write_clip(folder / name, *size) for name, size in tqdm(_CLIPS.items(), desc="writing videos")]


def _show(rows: list[dict]) -> None:
    print("machine: " + ", ".join(f"{key} {value}" for key, value in machine().items() if value is not None) + "\n")
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
    print(cli.table(header, lines))


if __name__ == "__main__":
    cli.run(main)
