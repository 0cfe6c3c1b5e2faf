"""Pictures of runs."""

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.axes import Axes
from matplotlib.figure import Figure, SubFigure


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
    figure = Figure(figsize=(13, 4.6), layout="constrained")
    left, middle, right = figure.subfigures(1, 3, squeeze=False, width_ratios=[1.15, 1, 1])[0]
    colours = dict(zip(top1, colormaps["viridis"](np.linspace(0.1, 0.85, len(top1))), strict=True))
    _draw_clips(left, clips)
    _draw_losses(middle.subplots(), curves, colours)
    _draw_bars(right.subplots(), top1, colours)
    figure.savefig(path, dpi=110)


def _draw_losses(axes: Axes, curves: Mapping[str, list[dict]], colours: Mapping) -> None:
    """One point an epoch: the mean of the losses logged in it."""
    for name, lines in curves.items():
        epochs = np.ceil([line["epoch"] for line in lines])
        losses = np.array([line["loss"] for line in lines])
        points = np.unique(epochs)
        axes.plot(points, [losses[epochs == e].mean() for e in points], color=colours[name], lw=2)
    axes.set(xlabel="epoch", ylabel="training loss", ylim=(0, None))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_bars(axes: Axes, top1: Mapping[str, float], colours: Mapping) -> None:
    bars = axes.barh(range(len(top1)), list(top1.values()), height=0.5, color=[colours[name] for name in top1])
    axes.bar_label(bars, fmt="%.1f", padding=3)
    for place, name in enumerate(top1):
        axes.text(0, place - 0.32, name, va="bottom")
    axes.set(xlabel="top-1 on held-out videos (%)", xlim=(0, 110), yticks=[], ylim=(len(top1) - 0.6, -0.7))
    axes.spines[["top", "right"]].set_visible(False)


def _draw_clips(figure: SubFigure, clips: Mapping[str, Sequence[np.ndarray]]) -> None:
    columns = max(len(frames) for frames in clips.values())
    grid = figure.subplots(len(clips), columns, gridspec_kw={"wspace": 0.03, "hspace": 0.03})
    for row, (name, frames) in zip(grid, clips.items(), strict=True):
        for axes, frame in zip(row, frames, strict=True):
            axes.imshow(frame)
            axes.set(xticks=[], yticks=[])
        row[0].set_ylabel(name, rotation=0, ha="right", va="center", fontsize=8)
