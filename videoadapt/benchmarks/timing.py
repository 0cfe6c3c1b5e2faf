"""Both sides of a comparison in one process, in turns, so that a noisy machine troubles them alike."""

import os
import platform
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from statistics import median
from typing import Any, NamedTuple

import torch


class Seconds(NamedTuple):
    """Of one call, over the rounds."""

    median: float
    least: float
    most: float


def interleaved(sides: Mapping[str, Callable[[], Any]], rounds: int) -> dict[str, Seconds]:
    """Each side once to warm up, then ``rounds`` times, one after the other."""
    times: dict[str, list[float]] = {name: [] for name in sides}
    for number in range(rounds + 1):
        for name, call in sides.items():
            began = time.perf_counter()
            call()
            if number:
                times[name].append(time.perf_counter() - began)
    return {name: Seconds(median(t), min(t), max(t)) for name, t in times.items()}


def machine() -> dict[str, Any]:
    """What the figures were measured on."""
    return {
        "processor": _processor(),
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "python": platform.python_version(),
        "torch": torch.__version__,
    }


def _processor() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
        return next(line.split(":", 1)[1].strip() for line in lines if line.startswith("model name"))
    except (OSError, StopIteration):
        return platform.processor() or platform.machine()
