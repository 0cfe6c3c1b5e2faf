"""Measure this machine: python tools/benchmark.py decode [--json] [--threads N] [--video FILE]

Both sides of every row are timed in one process, in turns. decode: our reader against PyAV, decord and torchcodec
alone, all views from one pass against a pass for each, torch's resize against FFmpeg's, cached copies against
originals.
"""

import argparse
import json
import tempfile
from pathlib import Path

import torch
from tqdm import tqdm

from videoadapt import cli
from videoadapt.benchmarks import decode
from videoadapt.benchmarks.machine import machine
from videoadapt.data.views import Views
from videoadapt.errors import UserError

_CLIPS = {
    "340x256_gop250.mp4": (256, 340, 250),
    "340x256_gop12.mp4": (256, 340, 12),
    "640x480_gop250.mp4": (480, 640, 250),
}


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("what", choices=["decode"])
    parser.add_argument("--json", action="store_true", help="machine and rows as one JSON object")
    parser.add_argument("--threads", type=int, default=1, help="of torch, for resizing; decoders have one (1)")
    parser.add_argument("--rounds", type=int, default=7, help="calls of each side after one to warm up (7)")
    parser.add_argument("--video", type=Path, metavar="FILE", help="instead of the videos made on the spot")
    args = parser.parse_args()
    for option in ("threads", "rounds"):
        if getattr(args, option) < 1:
            raise UserError(f"--{option}: {getattr(args, option)} is below 1")
    torch.set_num_threads(args.threads)
    with tempfile.TemporaryDirectory() as folder:
        rows = decode_rows(args, Path(folder))
    if args.json:
        print(json.dumps({"machine": machine(), "rows": rows}, indent=2))
    else:
        _show(rows)


def decode_rows(args: argparse.Namespace, folder: Path) -> list[dict]:
    """Every comparison on every video."""
    if args.video:
        videos = [args.video]
    else:
        videos = [decode.write_clip(folder / name, *size) for name, size in tqdm(_CLIPS.items(), desc="writing videos")]
    rows = []
    for path in tqdm(videos, desc="measuring"):
        rows += decode.backend_rows(path, 8, args.rounds)
        rows += decode.view_rows(path, Views(8, 3, 3), 224, args.rounds)
        rows += decode.resize_rows(path, 224, 8, args.rounds)
        rows += decode.cache_rows(path, folder / "cache", 8, args.rounds)
    return rows


def _show(rows: list[dict]) -> None:
    print("machine: " + ", ".join(f"{key} {value}" for key, value in machine().items()) + "\n")
    header = ["video", "ours", "against", "videos/s", "against", "time ratio", "pixels ratio"]
    keys = ["video", "name", "against", "videos_per_second", "against_videos_per_second", "time_ratio", "memory_ratio"]
    print(cli.table(header, [[row[key] for key in keys] for row in rows]))


if __name__ == "__main__":
    cli.run(main)
