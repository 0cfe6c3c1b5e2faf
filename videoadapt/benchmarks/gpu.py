"""What a training step costs on a GPU: as a user sees it, for the program alone, and for the GPU alone."""

import gc
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch
from torch import nn
from tqdm import tqdm

from videoadapt.benchmarks.decode import write_clip
from videoadapt.benchmarks.peers import Aim
from videoadapt.builders import build_learner, build_model, build_train_loader, model_input
from videoadapt.config import Config
from videoadapt.data.datasets import Sample
from videoadapt.engine.cost import training_step
from videoadapt.engine.distributed import Ranks

VIDEOS, EPOCHS = 240_000, 30  # of a training on Kinetics-400
_LAST = 10  # steps in a row that one round measures
AIM = "AIM's own block"
Step = Callable[[], Any]


class Size(NamedTuple):
    """Of a model and its batch."""

    name: str
    backbone: str
    width: int
    frames: int
    clips: int
    depth: int = 12
    patch: int = 16


_B16, _L14 = "vit_base_patch16_clip_quickgelu_224", "vit_large_patch14_clip_quickgelu_224"
SIZES = [
    Size("ViT-B/16", _B16, 768, frames=8, clips=4),
    Size("ViT-B/16", _B16, 768, frames=8, clips=16),
    Size("ViT-B/16", _B16, 768, frames=32, clips=4),
    Size("ViT-L/14", _L14, 1024, frames=8, clips=8, depth=24, patch=14),
]


class Cost(NamedTuple):
    """Of a step, in seconds, and the most memory that it took, in bytes; None for what could not be measured."""

    wall: float
    host: float | None
    gpu: float | None
    memory: int


@dataclass(frozen=True)
class GpuBench:
    """Steps of methods in several sizes.

    Args:
        rounds: of which the median counts.
        options: timm's keywords, to make the models smaller; empty for the sizes' own.
    """

    device: torch.device
    precision: str
    rounds: int = 5
    options: Mapping[str, Any] | None = None

    def rows(self, sizes: list[Size]) -> list[dict[str, Any]]:
        """AIM's own block and our methods, each row with its ratio to AIM's of the same size."""
        jobs = [(size, name) for size in sizes for name in (AIM, *_methods(size.width))]
        found: list[dict[str, Any]] = []
        for size, name in tqdm(jobs, desc="measuring"):
            cost = self._cost(size, name)
            peer = next((row["wall"] for row in found if row["name"] == AIM and row["size"] == _text(size)), None)
            found.append(_row(_text(size), name, size.clips, cost, peer))
        return found

    def fed(self, size: Size, folder: Path, workers: int | str = "auto") -> dict[str, Any]:
        """LoKi, fed by the loader with videos of 340x256: 10 seconds each, in the cache of the file system."""
        names = [write_clip(folder / f"{number}.mp4", 256, 340, gop=250).name for number in range(4)]
        steps = self.rounds * _LAST + 3
        lines = ["path,label", *(f"{names[i % len(names)]},0" for i in range(steps * size.clips))]
        (folder / "list.csv").write_text("\n".join(lines) + "\n")
        config = self._config(size, _methods(size.width)["loki"])
        data = {"train": str(folder / "list.csv"), "root": str(folder), "workers": workers, "sampling": "segment"}
        config = config.model_copy(update={"data": config.data.model_copy(update=data)})
        learner = build_learner(config, build_model(config.model, self.device), steps, Ranks(self.device))
        torch.cuda.reset_peak_memory_stats(self.device)
        step = _late(learner.step([batch]) for batch in build_train_loader(config, Ranks(self.device)))
        for _ in range(3):
            step()
        torch.cuda.synchronize(self.device)
        begun = time.perf_counter()
        for _ in range(steps - 3):
            step()
        torch.cuda.synchronize(self.device)
        wall = (time.perf_counter() - begun) / (steps - 3)
        cost = Cost(wall, None, None, torch.cuda.max_memory_allocated(self.device))
        return _row(_text(size), "loki, fed by the loader", size.clips, cost, None)

    def _cost(self, size: Size, name: str) -> Cost | None:
        """None if the GPU has too little memory."""
        gc.collect()  # what the last one left
        torch.cuda.empty_cache()
        try:
            host = self._host(self._step(size._replace(clips=1), name))
            torch.cuda.reset_peak_memory_stats(self.device)
            step = self._step(size, name)
            for _ in range(3):
                step()
            torch.cuda.synchronize(self.device)
            return Cost(self._wall(step), host, self._gpu(step), torch.cuda.max_memory_allocated(self.device))
        except torch.cuda.OutOfMemoryError:
            return None

    def _wall(self, step: Step) -> float:
        """Of steps in a row, of which the program begins one while the GPU works on another."""
        times = []
        for _ in range(self.rounds):
            begun = time.perf_counter()
            for _ in range(_LAST):
                step()
            torch.cuda.synchronize(self.device)
            times.append((time.perf_counter() - begun) / _LAST)
        return median(times)

    def _host(self, step: Step) -> float:
        """Until the last kernel of a step of one clip is begun: with more, the program would wait for a full queue."""
        times = []
        for _ in range(3 + self.rounds * _LAST):
            torch.cuda.synchronize(self.device)
            begun = time.perf_counter()
            step()
            times.append(time.perf_counter() - begun)
        return median(times[3:])

    def _gpu(self, step: Step) -> float | None:
        """The sum over all kernels and copies, which are never two at a time; None if the profiler sees none."""
        with torch.profiler.profile(activities=[torch.profiler.ProfilerActivity.CUDA]) as profile:
            for _ in range(3):
                step()
            torch.cuda.synchronize(self.device)
        events = [e for e in profile.key_averages() if e.device_type.name == "CUDA"]
        return sum(e.self_device_time_total for e in events) / 3e6 or None

    def _step(self, size: Size, name: str) -> Step:
        """A whole step, clips copied up and the outcome read while the next one is begun; AIM's has its clips there."""
        if name == AIM:
            clips = torch.randn(size.clips, 3, size.frames, self._side(size), self._side(size), device=self.device)
            return training_step(self._aim(size), clips, self.precision)
        config = self._config(size, _methods(size.width)[name])
        learner = build_learner(config, build_model(config.model, self.device).train(), _LAST, Ranks(self.device))
        shape = (1, 3, size.frames, self._side(size), self._side(size))
        views = torch.randint(0, 256, (size.clips, *shape), dtype=torch.uint8).pin_memory()
        samples = [Sample(number, 0, view) for number, view in enumerate(views)]
        return _late(iter(lambda: learner.step([samples]), None))

    def _config(self, size: Size, section: Mapping[str, Any]) -> Config:
        model = {"backbone": size.backbone, "pretrained": "none", "num_frames": size.frames, "num_classes": 400}
        model["backbone_options"] = dict(self.options or {})
        run = {"precision": self.precision, "compile": section.get("compile", "none")}
        changes = {key: value for key, value in section.items() if key != "compile"}
        raw = {"model": {**model, **changes, "unfreeze": ["norm"]}, "optim": {"batch_size": size.clips, "epochs": 1}}
        return Config.model_validate({**raw, "data": {"num_classes": 400}, "run": run})

    def _side(self, size: Size) -> int:
        return model_input(self._config(size, {}).model)["image_size"]

    def _aim(self, size: Size) -> nn.Module:
        names = {"dim": "embed_dim", "depth": "depth", "heads": "num_heads", "patch": "patch_size", "size": "img_size"}
        own = {"dim": size.width, "depth": size.depth, "heads": size.width // 64, "patch": size.patch, "size": 224}
        options = self.options or {}
        sizes = {ours: options.get(theirs, own[ours]) for ours, theirs in names.items()}
        return Aim(frames=size.frames, width=size.width // 4, **sizes).to(self.device)


def _late(steps: Iterator) -> Step:
    """Begins a step, and then reads the outcome of the one before, as a training does."""
    underway: list = []

    def step() -> None:
        underway.append(next(steps))
        if len(underway) > 1:
            underway.pop(0).outcome()

    return step


def _methods(width: int) -> dict[str, dict[str, Any]]:
    """In the sizes of their papers for ViT-B/16, and in proportion."""
    loki = {"kind": "loki", "widths": [width // 16, width // 8 + 1, width // 16]}
    slots = {"slots": {"time_out": loki, "space_out": loki, "mlp_side": {**loki, "scale": 2.0}}}
    karst, ends = {"kind": "karst"}, {"kind": "karst", "rst": "channel"}
    attention = {"qkv": karst, "proj": ends}
    lora = {"qkv": {"kind": "lora"}, "proj": {"kind": "lora"}}
    return {
        "loki": slots,
        "loki, run.compile: graph": {**slots, "compile": "graph"},
        "karst": {"linears": {"time": attention, "space": attention, "mlp": {"fc1": karst, "fc2": ends}}},
        "lora": {"linears": {"time": lora, "space": lora}},
    }


def _text(size: Size) -> str:
    return f"{size.name}, {size.clips} clips of {size.frames} frames"


def _row(size: str, name: str, clips: int, cost: Cost | None, peer: float | None) -> dict[str, Any]:
    if cost is None:
        return {"size": size, "name": name, "fits": False, "wall": None}
    speed = clips / cost.wall
    return {
        "size": size,
        "name": name,
        "fits": True,
        **cost._asdict(),
        "clips_per_second": round(speed, 2),
        "hours": round(VIDEOS * EPOCHS / speed / 3600, 1),
        "ratio": round(cost.wall / peer, 3) if peer else None,
    }
