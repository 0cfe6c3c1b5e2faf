"""The whole way on one machine: make videos, adapt a frozen image model, test it with several views, compare."""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from videoadapt.config import load_config, override
from videoadapt.demo.motions import CLASSES, write_motion_videos
from videoadapt.engine.checkpoint import read_checkpoint
from videoadapt.errors import UserError
from videoadapt.report.curves import draw_comparison, read_metrics
from videoadapt.video import open_video

CONFIG, CHECKPOINT = "demo/loki_mini_8f", "last.safetensors"
_FILES = {"train": "train.csv", "val": "val.csv", "classes": "classes.txt", "root": ""}


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


def make_videos(out: Path, train_per_class: int, val_per_class: int, seed: int) -> Path:
    """The demo's videos and lists, some of each class; their folder."""
    if min(train_per_class, val_per_class) < 1:
        raise UserError("--train-per-class and --val-per-class: at least one video of each class")
    write_motion_videos(out / "data", train_per_class, val_per_class, seed)
    return out / "data"


def row_overrides(row: Row, out: Path, seed: int, overrides: Sequence[str] = ()) -> list[str]:
    """What a row changes in ``CONFIG``; UserError if it cannot be changed so."""
    own = [override(f"data.{key}", str(out / "data" / name)) for key, name in _FILES.items()]
    out_dir = override("run.out_dir", str(out / row.run))
    chosen = [*row.overrides, *own, f"run.seed={seed}", *overrides, out_dir, "run.overwrite=true"]
    load_config(CONFIG, chosen)
    return chosen


def row_result(row: Row, out: Path) -> dict[str, Any]:
    """What the test of a row found, and its number of trainable parameters."""
    results = json.loads((out / row.run / "results.json").read_text(encoding="utf-8"))
    tensors, _ = read_checkpoint(out / row.run / CHECKPOINT)
    return {**results, "trainable": sum(tensor.numel() for tensor in tensors.values())}


def draw_rows(out: Path, results: dict[str, dict[str, Any]], rows: Sequence[Row]) -> Path:
    """One picture: frames of each class, the training losses and the top-1 of each row."""
    picture = out / "demo.png"
    draw_comparison(
        picture,
        {name: _frames(out / "data" / "videos" / f"val_{label:04d}.mp4") for label, name in enumerate(CLASSES)},
        {row.name: read_metrics(out / row.run / "metrics.jsonl") for row in rows},
        {name: result["top1"] for name, result in results.items()},
    )
    return picture


def _frames(path: Path) -> list[np.ndarray]:
    with open_video(path) as video:
        return list(video.frames([0, 7, 15, 23]))
