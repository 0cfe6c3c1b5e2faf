"""Measures what a GPU would be asked to do, on the fake one, and prints it as JSON; with --tables, as tables.

    python tests/fakegpu/measure.py [--tables [--names]] [--depth 12] [--clips 4] [--methods loki aim ...]

starts itself anew with the fake GPU before its eyes. Host milliseconds are this machine's, of processor time, and only
in the tables; the driver's own, some microseconds a start, are not among them.
"""

import argparse
import gc
import json
import os
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from statistics import median
from types import SimpleNamespace
from typing import Any
from unittest.mock import patch

if "libfake.so" not in os.environ.get("LD_PRELOAD", ""):
    from build import CannotBuild, environment

    try:
        os.execve(sys.executable, [sys.executable, *sys.argv], {**environment(), "FAKE_GPUS": "2"})
    except CannotBuild as reason:
        sys.exit(f"no fake GPU here: {reason}")

import operations
import torch
from counters import count_asking, counted, counts, each, names

from videoadapt import builders
from videoadapt.adapters.slots.loki import LoKi
from videoadapt.benchmarks import gpu
from videoadapt.benchmarks.peers import Aim
from videoadapt.config import Config
from videoadapt.data.datasets import Sample, TestSample
from videoadapt.engine import distributed
from videoadapt.engine.cost import training_step
from videoadapt.engine.distributed import Ranks
from videoadapt.engine.train import train
from videoadapt.workflows.methods import METHODS

FIRST, SECOND = torch.device("cuda", 0), torch.device("cuda", 1)
WARM, MEASURED = 3, 4  # steps
FRAMES = 8


def _everywhere(spec: dict, zero: dict | None = None) -> dict[str, Any]:
    """A tuner on every linear layer, whose start on ``time.proj`` is zero."""
    space = {"qkv": spec, "proj": spec}
    return {"linears": {"time": {"qkv": spec, "proj": zero or spec}, "space": space, "mlp": {"fc1": spec, "fc2": spec}}}


SECTIONS: dict[str, dict[str, Any]] = {
    **{name: METHODS[name](768, True) for name in ("aim", "loki", "karst", "lora")},
    "fact": _everywhere({"kind": "fact"}, {"kind": "fact", "rst": "channel"}),
    "ssf": {**_everywhere({"kind": "ssf"}), "slots": {"time_out": {"kind": "adapter", "widths": [192]}}},
    "convpass": {"slots": {"space_side": {"kind": "convpass"}, "mlp_side": {"kind": "convpass"}}},
    "full": {"unfreeze": ["all"]},
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tables", action="store_true")
    parser.add_argument("--depth", type=int, default=2, help="blocks of the ViT-B/16 (2)")
    parser.add_argument("--clips", type=int, default=2, help="in a batch (2)")
    parser.add_argument("--names", action="store_true", help="with --tables: what a step of the last method starts")
    parser.add_argument("--methods", nargs="+", choices=SECTIONS, default=list(SECTIONS))
    args = parser.parse_args()
    torch.set_num_threads(1)
    distributed.start("cuda:0")  # among others, no attention of cuDNN, which asks its library for plans
    count_asking()
    found = {
        "kernels": _has_kernels(),
        "steps": {name: step(SECTIONS[name], args.depth, args.clips, args.tables) for name in args.methods},
        "peer": peer(args.depth, args.clips),
        "graph": step(SECTIONS["loki"], args.depth, args.clips, args.tables, compile="graph"),
        "module": module(),
        "tests": {views: tested(*map(int, views.split("x")), args.depth) for views in ("8x1x1", "8x3x3")},
        "elsewhere": elsewhere(),
        "known": operations.known(),
        "benchmark": benchmark(),
    }
    print(_tables(found) if args.tables else json.dumps(found))
    if args.names:
        print(*(f"{number:5} {name[:150]}" for name, number in found["steps"][args.methods[-1]]["names"]), sep="\n")
    sys.stdout.flush()
    os._exit(0)  # threads of autograd outlive the program


def step(section: dict[str, Any], depth: int, clips: int, timed: bool = False, **run: Any) -> dict[str, Any]:
    """A step of the training loop in bf16, as counts, with the peak of memory; host time and names if ``timed``."""
    gc.collect()
    torch.cuda.reset_peak_memory_stats()
    config = _config(section, depth, clips, **run)
    learner = builders.build_learner(config, builders.build_model(config.model, FIRST), len(_Batches([])), Ranks(FIRST))
    batches = _Batches([_sample(i) for i in range(clips)])
    with tempfile.TemporaryDirectory() as path:
        folder = SimpleNamespace(path=Path(path), save=lambda *_: None)
        recipe = builders.build_recipe(config)
        train(learner, batches, folder, recipe=recipe, ranks=Ranks(FIRST), evaluate=lambda _: {"top1": 0.0})
    seen = batches.moments[-1].seen - batches.moments[0].seen
    times = [1000 * (b.at - a.at) for a, b in zip(batches.moments, batches.moments[1:], strict=False)]
    peak = round(torch.cuda.max_memory_allocated() / 1e6)
    found = {**each(seen, MEASURED), "peak_mb": peak}
    if timed:
        found |= {
            "host_ms": round(median(times), 1),
            "names": Counter(names(*(moment.seen for moment in batches.moments[-2:]))).most_common(),
        }
    return found


def peer(depth: int, clips: int) -> dict[str, float]:
    """AIM's own block, whose step ends without a look at its outcome, on clips that are there."""
    model = Aim(frames=FRAMES, width=192, depth=depth).to(FIRST)
    once = training_step(model, torch.zeros(clips, 3, FRAMES, 224, 224, device=FIRST), "bf16")
    seen, times = each(counted(once)), []
    torch.cuda.reset_peak_memory_stats()
    for _ in range(MEASURED):
        begun = time.process_time()
        once()
        times.append(1000 * (time.process_time() - begun))
    peak = round(torch.cuda.max_memory_allocated() / 1e6)
    return {**seen, "peak_mb": peak, "host_ms": round(median(times), 1)}


class _Batches:
    """Stands for the loader: the same batch at every step, and notes what was counted before each."""

    def __init__(self, samples: list[Sample]) -> None:
        self.samples, self.dataset, self.batch_sampler = samples, range(1000), self
        self.moments: list[SimpleNamespace] = []

    def seek(self, epoch: int, batch: int) -> None:
        pass

    def __len__(self) -> int:
        return WARM + MEASURED + 1

    def __iter__(self) -> Iterator[list[Sample]]:
        for number in range(len(self)):
            if number >= WARM:
                self.moments.append(SimpleNamespace(seen=counts(), at=time.process_time()))
            yield self.samples


def module() -> dict[str, float]:
    """LoKi alone on the tokens of four clips, forward and backward."""
    loki = LoKi(768, widths=[48, 97, 48]).to(FIRST)
    x = torch.zeros(32, 197, 768, device=FIRST, requires_grad=True)

    def once() -> None:
        loki.zero_grad()
        x.grad = None
        with torch.autocast("cuda", torch.bfloat16):
            y = loki(x)
        y.backward(torch.empty_like(y))

    return each(counted(once))


def tested(frames: int, clips: int, crops: int, depth: int) -> dict[str, float]:
    """A video of a test in bf16, of sixteen."""
    config = _config(SECTIONS["loki"], depth, 8)
    model = builders.build_model(config.model, FIRST)
    evaluate = builders.build_evaluator(config, Ranks(FIRST))
    videos = [_test_sample(i, frames, clips, crops) for i in range(16)]
    return each(counted(lambda: evaluate(model, iter(videos), len(videos))), len(videos))


def elsewhere() -> dict[str, float]:
    """A model on the second GPU, while the first is the current one."""
    config = _config(SECTIONS["loki"], 1, 2)
    model = builders.build_model(config.model, SECOND)
    pixels = torch.zeros(2, 3, FRAMES, 224, 224, dtype=torch.uint8, device=SECOND)

    def once() -> None:
        with torch.autocast("cuda", torch.bfloat16):
            model(pixels).sum().backward()

    return each(counted(once))


def benchmark() -> list[dict[str, Any]]:
    """The rows of 'videoadapt benchmark gpu' for a small model, on a GPU with room for the first few."""
    small = {"embed_dim": 64, "depth": 1, "num_heads": 1, "patch_size": 8, "img_size": 32}
    size = gpu.Size("small", "vit_base_patch16_clip_quickgelu_224", 64, frames=2, clips=2, depth=1, patch=8)
    bench = gpu.GpuBench(FIRST, "bf16", 1, small)
    rows = bench.rows([size])
    with tempfile.TemporaryDirectory() as folder, patch.object(gpu, "write_clip", partial(gpu.write_clip, frames=8)):
        rows.append(bench.fed(size, Path(folder), workers=0))
    os.environ["FAKE_BYTES"] = "1000000"
    return [*rows, bench.rows([size])[0]]


def _config(section: dict[str, Any], depth: int, batch: int, **run: Any) -> Config:
    backbone = {"backbone": "vit_base_patch16_clip_quickgelu_224", "backbone_options": {"depth": depth}}
    model = {**backbone, "pretrained": "none", "num_frames": FRAMES, "num_classes": 48, **section}
    optim = {"epochs": 1, "batch_size": batch, "clip_grad": 1.0, "label_smoothing": 0.1}
    raw = {"model": model, "data": {"num_classes": 48}, "optim": optim}
    raw["run"] = {"precision": "bf16", "log_every": 1000, **run}
    return Config.model_validate(raw)


def _sample(index: int) -> Sample:
    views = torch.zeros(1, 3, FRAMES, 224, 224, dtype=torch.uint8).pin_memory()
    return Sample(index, index % 48, views, path=f"video {index}")


def _test_sample(index: int, frames: int, clips: int, crops: int) -> TestSample:
    pictures = torch.zeros(clips * frames, 3, 224, 224 + 40 * (crops - 1), dtype=torch.uint8).pin_memory()
    rows = tuple(torch.arange(k * frames, (k + 1) * frames) for k in range(clips))
    windows = tuple((slice(0, 224), slice(left, left + 224)) for left in range(0, 40 * crops, 40))
    return TestSample(index, 0, pictures, rows, windows, decoder="pyav")


def _has_kernels() -> bool:
    from videoadapt.gpu import has_kernels

    return has_kernels(torch.zeros(1, device=FIRST))


def _named(found: dict[str, Any]) -> dict[str, dict[str, float]]:
    return {"AIM's own block": found["peer"], **found["steps"], "loki, run.compile: graph": found["graph"]}


def _tables(found: dict[str, Any]) -> str:
    columns = ("starts", "waits", "idle_waits", "up_pageable", "host_ms", "peak_mb")
    lines = ["| a training step | " + " | ".join(columns) + " |", "|---|" + "--:|" * len(columns)]
    lines += [f"| {name} | " + " | ".join(f"{row[c]:g}" for c in columns) + " |" for name, row in _named(found).items()]
    lines += ["", "| LoKi alone, forward and backward | starts |", "|---|--:|", f"| | {found['module']['starts']:g} |"]
    columns = ("starts", "waits", "up", "up_pageable", "down")
    lines += ["", "| a tested video | " + " | ".join(columns) + " |", "|---|" + "--:|" * len(columns)]
    lines += [
        f"| {name} | " + " | ".join(f"{row[c]:.4g}" for c in columns) + " |" for name, row in found["tests"].items()
    ]
    return "\n".join(lines)


if __name__ == "__main__":
    main()
