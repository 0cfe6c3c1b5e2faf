"""What ``videoadapt benchmark`` measures, by name."""

import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import torch
from tqdm import tqdm

from videoadapt.benchmarks import decode
from videoadapt.benchmarks.adapters import AdapterBench
from videoadapt.benchmarks.gpu import SIZES, GpuBench
from videoadapt.benchmarks.models import ModelBench
from videoadapt.benchmarks.views import ViewBench
from videoadapt.builders import model_input
from videoadapt.config import load_config
from videoadapt.data.views import Views
from videoadapt.engine import distributed
from videoadapt.engine.precision import chosen_precision, set_arithmetic
from videoadapt.errors import UserError

_PARTS = ("steps", "forwards", "merged")  # of model
_CLIPS = {
    "340x256_gop250.mp4": (256, 340, 250),
    "340x256_gop12.mp4": (256, 340, 12),
    "640x480_gop250.mp4": (480, 640, 250),
}
Rows = list[dict[str, Any]]


@dataclass(frozen=True)
class Options:
    """How to measure, and what of it."""

    rounds: int = 5  # calls of each side after one to warm up
    device: str = "auto"
    threads: int = 1  # of torch
    precision: str = "auto"
    tokens: int = 6304  # adapters
    clips: int = 1  # model: in a batch
    frames: int = 8  # model: of a clip
    only: str | None = None  # model: this part alone
    compare: tuple[str, str] | None = None  # model: two configs instead
    video: Path | None = None  # views, decode: instead of videos made on the spot
    quick: bool = False  # gpu: the first size alone, and nothing from the loader


def settled(options: Options) -> Options:
    """The options with the precision that auto stands for on the device."""
    device = distributed.pick_device(options.device, "--device")
    return replace(options, precision=chosen_precision(options.precision, device))


def measure(what: str, options: Options) -> Rows:
    """Rows of ``adapters``, ``model``, ``views``, ``decode`` or ``gpu``: both sides timed in this process, in turns."""
    torch.set_num_threads(options.threads)
    options = settled(options)
    device = distributed.start(options.device).device
    set_arithmetic(device)
    with tempfile.TemporaryDirectory() as folder:
        jobs = {"adapters": _adapters, "model": _model, "views": _views, "decode": _decode, "gpu": _gpu}
        return jobs[what](options, device, Path(folder))


def _adapters(options: Options, device: torch.device, _: Path) -> Rows:
    bench = AdapterBench(options.tokens, device, options.precision)
    return [row for measure in (bench.slots, bench.compiled, bench.karst) for row in measure(options.rounds)]


def _model(options: Options, device: torch.device, _: Path) -> Rows:
    if options.compare:
        return _compare(options.compare, options, device)
    bench = ModelBench(torch.randn(options.clips, 3, options.frames, 224, 224, device=device), options.precision)
    parts = [options.only] if options.only else _PARTS
    return [row for part in parts for row in getattr(bench, part)(options.rounds)]


def _compare(configs: tuple[str, str], options: Options, device: torch.device) -> Rows:
    sections = {name: load_config(name).model for name in configs}
    shapes = {(section.num_frames or 1, model_input(section)["image_size"]) for section in sections.values()}
    if len(sections) < 2 or len(shapes) > 1:
        raise UserError("--compare: takes two configs of the same model.num_frames and image size")
    ((frames, side),) = shapes
    return ModelBench(torch.randn(options.clips, 3, frames, side, side, device=device), options.precision).compare(
        sections, options.rounds
    )


def _views(options: Options, device: torch.device, folder: Path) -> Rows:
    views, videos = Views(8, 3, 3), _videos(options, folder)
    reading = ViewBench(videos, views, 224).reading(options.rounds)
    return reading + ViewBench(videos, views, 64).scoring(options.rounds, device)


def _decode(options: Options, _: torch.device, folder: Path) -> Rows:
    rows = []
    for path in tqdm(_videos(options, folder), desc="measuring"):
        rows += decode.backend_rows(path, 8, options.rounds)
        rows += decode.resize_rows(path, 224, 8, options.rounds)
        rows += decode.cache_rows(path, folder / "cache", 8, options.rounds)
    return rows


def _gpu(options: Options, device: torch.device, folder: Path) -> Rows:
    if device.type != "cuda":
        why = "torch sees none" if options.device == "auto" else f"--device is {options.device}"
        raise UserError(f"gpu: needs a GPU, and {why}; 'videoadapt benchmark model' measures on a CPU too")
    bench = GpuBench(device, options.precision, options.rounds)
    if options.quick:
        return bench.rows(SIZES[:1])
    return [*bench.rows(SIZES), bench.fed(SIZES[1], folder)]


def _videos(options: Options, folder: Path) -> list[Path]:
    if options.video:
        return [options.video]
    return [decode.write_clip(folder / name, *size) for name, size in tqdm(_CLIPS.items(), desc="writing videos")]
