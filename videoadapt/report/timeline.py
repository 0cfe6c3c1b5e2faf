"""What a long video shows, and when."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from matplotlib import colormaps
from matplotlib.figure import Figure

from videoadapt.report.fonts import fonts_for, plain

_LINES = 6  # classes that get a colour


def draw_timeline(path: Path, seconds: np.ndarray, shares: np.ndarray, classes: Sequence[str], title: str) -> None:
    """The share of the likeliest classes over time, and a band with the first of them for each window.

    Args:
        path: of the PNG to write.
        seconds: (n 2) begin and end of each window.
        shares: (n k) probabilities.
        classes: k names.
    """
    winners = shares.argmax(1)
    wins = np.bincount(winners, minlength=len(classes))
    chosen = np.lexsort((-shares.max(0), -wins))[: min(_LINES, len(classes))]
    colours = {int(number): colormaps["tab10"](place) for place, number in enumerate(chosen)}
    names = [classes[number] for number in colours]
    with fonts_for(title, *names):  # axes know their fonts from the beginning
        figure = Figure(figsize=(11, 3.6), layout="constrained")
        lines, band = figure.subplots(2, 1, sharex=True, height_ratios=[5, 1])
    middles = seconds.mean(1)
    for number, colour in colours.items():
        lines.plot(middles, 100 * shares[:, number], color=colour, lw=1.8, marker="o", ms=3)
    lines.set(ylabel="probability (%)", ylim=(0, 103), title=plain(title))
    with fonts_for(*names):
        key = [plain(name) for name in names]
        lines.legend(lines.get_lines(), key, loc="center left", bbox_to_anchor=(1, 0.5), frameon=False, fontsize=9)
    for (begin, end), winner in zip(_strips(seconds), winners, strict=True):
        band.axvspan(begin, end, color=colours.get(int(winner), (0.8, 0.8, 0.8)), lw=0)
    band.set(xlabel="seconds", yticks=[], xlim=(seconds[0, 0], max(seconds[-1, 1], seconds[0, 0] + 1e-3)))
    band.set_ylabel("likeliest", rotation=0, ha="right", va="center")
    for axes in (lines, band):
        axes.spines[["top", "right"]].set_visible(False)
    figure.savefig(path, dpi=110, format="png")


def _strips(seconds: np.ndarray) -> np.ndarray:
    """Each window's own stretch (n 2): where neighbours overlap, they meet in the middle."""
    borders = (seconds[:-1].mean(1) + seconds[1:].mean(1)) / 2
    return np.stack([np.append(seconds[0, 0], borders), np.append(borders, seconds[-1, 1])], axis=1)
