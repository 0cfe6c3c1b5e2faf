"""Attention maps over pictures, and between frames."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from textwrap import fill

import numpy as np
from matplotlib.figure import Figure

from videoadapt.report.fonts import fonts_for, plain

Cells = Sequence[tuple[np.ndarray, np.ndarray | None]]  # picture (h w 3) uint8, and a map over it (rows columns)


def draw_maps(path: Path, lines: Sequence[tuple[str, Cells]], columns: Sequence[str], title: str) -> None:
    """A grid of pictures, maps over them as heat, each map from its least to its greatest value.

    Args:
        path: of the PNG to write.
        lines: name and cells of each line.
        columns: a heading for each cell of a line.
    """
    figure = Figure(figsize=(1.6 * len(columns) + 1.2, 1.6 * len(lines) + 0.7), layout="constrained")
    with fonts_for(title, *columns, *(name for name, _ in lines)):  # axes know their fonts from the beginning
        grid = figure.subplots(len(lines), len(columns), squeeze=False, gridspec_kw={"wspace": 0.02, "hspace": 0.02})
        figure.suptitle(plain(title), fontsize=10)
        for axes_line, (name, _) in zip(grid, lines, strict=True):
            axes_line[0].set_ylabel(plain(name), rotation=0, ha="right", va="center", fontsize=9)
        for axes, heading in zip(grid[0], columns, strict=True):
            axes.set_title(plain(heading), fontsize=9)
    for axes_line, (_, cells) in zip(grid, lines, strict=True):
        for axes, (picture, heat) in zip(axes_line, cells, strict=False):
            height, width = picture.shape[:2]
            axes.imshow(picture)
            if heat is not None:
                axes.imshow(heat, cmap="jet", alpha=0.5, interpolation="bicubic", extent=(0, width, height, 0))
        for axes in axes_line:
            axes.set(xticks=[], yticks=[])
            axes.spines[:].set_visible(False)
    figure.savefig(path, dpi=110, format="png")


def draw_time(path: Path, maps: Mapping[str, np.ndarray], title: str) -> None:
    """Which frames look at which, a square for each model (t t): rows look at columns, in percent."""
    figure = Figure(figsize=(3.4 * len(maps) + 0.6, 4.2), layout="constrained")
    lines = [fill(line, 46 * len(maps)) for line in title.splitlines()]
    with fonts_for(title, *maps):
        figure.suptitle(plain("\n".join(lines)), fontsize=10)
        row = figure.subplots(1, len(maps), squeeze=False)[0]
    everything = 100 * np.concatenate([weights.ravel() for weights in maps.values()])
    for axes, (name, weights) in zip(row, maps.items(), strict=True):
        shown = axes.imshow(100 * weights, cmap="viridis", vmin=everything.min(), vmax=everything.max())
        ticks = range(0, len(weights), max(len(weights) // 8, 1))
        axes.set(xlabel="frame looked at", ylabel="frame", xticks=ticks, yticks=ticks)
        axes.set_title(plain(name), fontsize=9)
        figure.colorbar(shown, ax=axes, shrink=0.75, label="%")
    figure.savefig(path, dpi=110, format="png")
