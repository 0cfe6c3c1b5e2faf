"""Pictures of runs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import numpy as np


def read_metrics(path: Path) -> list[dict]:
    """The lines of a ``metrics.jsonl``."""
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def draw_comparison(
    path: Path,
    clips: Mapping[str, Sequence[np.ndarray]],
    curves: Mapping[str, list[dict]],
    top1: Mapping[str, float],
) -> None:
    """Frames of each class, the training loss of each run and its test accuracy, side by side.

    Args:
        path: of the PNG to write.
        clips: class name to frames (h w 3) uint8.
        curves: run name to the lines of its ``metrics.jsonl``.
        top1: run name to percent.
    """
    figure = plt.figure(figsize=(13, 4.6), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, width_ratios=[1.25, 1, 1])
    _draw_clips(left, clips)
    colours = dict(zip(top1, plt.get_cmap("viridis")(np.linspace(0.1, 0.85, len(top1))), strict=True))
    axes = middle.subplots()
    for name, lines in curves.items():
        axes.plot([line["epoch"] for line in lines], [line["loss"] for line in lines], color=colours[name], label=name)
    axes.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    axes.legend(fontsize=8)
    axes = right.subplots()
    bars = axes.barh(list(top1), list(top1.values()), color=list(colours.values()))
    axes.bar_label(bars, fmt="%.1f", padding=3)
    axes.invert_yaxis()
    axes.set(xlabel="top-1 on held-out videos (%)", xlim=(0, 112))
    for spine in ("top", "right"):
        axes.spines[spine].set_visible(False)
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _draw_clips(figure, clips: Mapping[str, Sequence[np.ndarray]]) -> None:
    columns = max(len(frames) for frames in clips.values())
    grid = figure.subplots(len(clips), columns, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for row, (name, frames) in zip(grid, clips.items(), strict=True):
        for axes, frame in zip(row, frames, strict=True):
            axes.imshow(frame)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
