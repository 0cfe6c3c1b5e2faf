"""The drawn figures of the documentation, docs/views.png and docs/block.png: python docs/figures.py

The frames and crops of views.png are those that the project's own sampling functions return.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Circle, FancyBboxPatch, Rectangle

from videoadapt.data.sampling import dense_indices, segment_indices
from videoadapt.data.transforms import crop_corners

HERE = Path(__file__).parent
INK, SOFT, RULE, PALE = "#222222", "#666666", "#c4c4c4", "#f6f6f4"
CLIPS = ("#33689e", "#d0742a", "#3f8f5b")  # first, second and third clip, or crop
FROZEN, SITE, SLOT = ("#dde5ee", "#7d93ab"), ("#d3ebd6", "#3f8f5b"), ("#fbdcb8", "#d0742a")  # fill and edge
PLUS = ("white", INK)
LEFT = 0.26  # where a branch begins
NUM_FRAMES, CLIP_LEN = 64, 8


def main() -> None:
    draw_views(HERE / "views.png")
    draw_block(HERE / "block.png")


class Row(NamedTuple):
    """One way to choose frames."""

    name: str
    detail: str
    indices: np.ndarray  # (clips, clip_len)
    numbered: bool = False  # whether the order of the frames is not that of time


def rows() -> list[Row]:
    def dense(stride: int, clips: int, **options) -> np.ndarray:
        return dense_indices(NUM_FRAMES, CLIP_LEN, stride, clips, **options)

    return [
        Row("segment, 1 clip", "middle of each segment", segment_indices(NUM_FRAMES, CLIP_LEN)),
        Row("segment, 3 clips", "evenly spaced in each", segment_indices(NUM_FRAMES, CLIP_LEN, 3)),
        Row("dense, 1 clip", "stride 4, endpoints", dense(4, 1)),
        Row("dense, 3 clips", "stride 4, endpoints", dense(4, 3)),
        Row("dense, 3 clips", "stride 4, centers", dense(4, 3, spacing="centers")),
        Row("longer than the video", "stride 12, loop", dense(12, 1), True),
        Row("longer than the video", "stride 12, repeat_last", dense(12, 1, out_of_range="repeat_last"), True),
    ]


def draw_views(path: Path) -> None:
    """Frames of each row along the time of one video, and the crops of two frames."""
    figure = Figure(figsize=(8, 4.9))
    _draw_times(figure.add_axes((0.215, 0.085, 0.50, 0.845)))
    _draw_crops(figure.add_axes((0.755, 0.54, 0.235, 0.39)), 224, 398, "3 crops, landscape")
    _draw_crops(figure.add_axes((0.755, 0.035, 0.235, 0.49)), 398, 224, "3 crops, portrait")
    figure.savefig(path, dpi=150)


def _draw_times(axes: Axes) -> None:
    place = 0.0
    for row in rows():
        height = 0.5 * (len(row.indices) - 1)
        if row.name.startswith("segment"):
            _draw_segments(axes, place - 0.32, place + height + 0.32)
        for clip, frames in enumerate(row.indices):
            _draw_clip(axes, place + 0.5 * clip, frames, CLIPS[clip], row.numbered)
        middle = place + height / 2
        axes.text(-3, middle - 0.02, row.name, ha="right", va="bottom", fontsize=8.5, color=INK)
        axes.text(-3, middle + 0.06, row.detail, ha="right", va="top", fontsize=7.5, color=SOFT)
        place += height + 1.12
    axes.set(xlim=(-1.5, NUM_FRAMES + 0.5), ylim=(place - 0.5, -0.55), yticks=[])
    axes.set_xticks([0, 16, 32, 48, 63])
    axes.tick_params(labelsize=7.5, colors=SOFT, length=3)
    axes.set_title("8 frames a clip from a video of 64 frames", fontsize=9, loc="left", color=INK)
    axes.set_xlabel("frame", fontsize=8, color=SOFT, labelpad=1)
    axes.spines[["top", "right", "left"]].set_visible(False)
    axes.spines["bottom"].set(color=RULE, bounds=(0, NUM_FRAMES - 1))


def _draw_segments(axes: Axes, top: float, bottom: float) -> None:
    """The segments, as ``segment_indices`` defines them."""
    edges = np.round(np.arange(CLIP_LEN + 1) * (NUM_FRAMES - 1) / CLIP_LEN)
    axes.vlines(edges, top, bottom, color=RULE, lw=0.8, ls=(0, (3, 2)), zorder=0)


def _draw_clip(axes: Axes, height: float, frames: np.ndarray, colour: str, numbered: bool) -> None:
    axes.plot([0, NUM_FRAMES - 1], [height, height], color=RULE, lw=1.0, zorder=1)
    axes.plot(frames, [height] * len(frames), "o", ms=6, color=colour, mec="white", mew=0.7, zorder=3, clip_on=False)
    if numbered:
        for frame in np.unique(frames):
            order = ", ".join(str(place + 1) for place in np.flatnonzero(frames == frame))
            place = {"ha": "left", "x": frame - 0.6} if "," in order else {"ha": "center", "x": frame}
            axes.text(**place, y=height - 0.17, s=order, va="bottom", fontsize=7, color=SOFT)


def _draw_crops(axes: Axes, height: int, width: int, title: str) -> None:
    """The frame, its crops as brackets beside it, and the centre crop filled."""
    size, landscape = min(height, width), width > height
    corners = crop_corners(height, width, size, 3)
    (top, left), names = crop_corners(height, width, size, 1)[0], ("left", "centre", "right")
    names = names if landscape else ("top", "centre", "bottom")
    axes.add_patch(Rectangle((0, 0), width, height, fc=PALE, ec=SOFT, lw=1.0))
    axes.add_patch(Rectangle((left, top), size, size, fc=CLIPS[1], ec="none", alpha=0.25))
    axes.text(left + size / 2, top + size / 2, "1 crop", ha="center", va="center", fontsize=8, color=INK)
    for number, ((y, x), name) in enumerate(zip(corners, names, strict=True)):
        begin, away = (x if landscape else y), (-24 - 36 * number if landscape else width + 24 + 36 * number)
        ends, side = [begin, begin + size], [away, away]
        axes.plot(*((ends, side) if landscape else (side, ends)), color=CLIPS[number], lw=2.2, solid_capstyle="butt")
        where = (begin + size / 2, away - 4) if landscape else (away + 5, begin + size / 2)
        options = {"va": "bottom"} if landscape else {"va": "center", "rotation": 270}
        axes.text(*where, name, fontsize=7.5, color=CLIPS[number], ha="center" if landscape else "left", **options)
    axes.set(xlim=(-6, width + (8 if landscape else 135)), ylim=(height + 8, -150 if landscape else -8))
    axes.set_aspect("equal", anchor="NW")
    axes.set_axis_off()
    axes.set_title(title, fontsize=9, loc="left", color=INK)


class Sketch:
    """Boxes, sums and arrows, in inches."""

    def __init__(self, width: float, height: float) -> None:
        self.figure = Figure(figsize=(width, height))
        self.axes = self.figure.add_axes((0, 0, 1, 1))
        self.axes.set(xlim=(0, width), ylim=(0, height))
        self.axes.set_axis_off()

    def box(self, x: float, y: float, text: str, colours: tuple[str, str], width: float = 0.86) -> None:
        shape = FancyBboxPatch((x - width / 2 + 0.05, y - 0.12), width - 0.1, 0.24, "round,pad=0.05", zorder=3)
        shape.set(facecolor=colours[0], edgecolor=colours[1], linewidth=1.1)
        self.axes.add_patch(shape)
        self.text(x, y - 0.005, text, ha="center", va="center", fontsize=8, zorder=4)

    def text(self, x: float, y: float, text: str, **options) -> None:
        self.axes.text(x, y, text, **{"color": INK, "fontsize": 8, **options})

    def plus(self, x: float, y: float) -> None:
        self.axes.add_patch(Circle((x, y), 0.095, fc="white", ec=INK, lw=1.1, zorder=3))
        for dx, dy in ((0.052, 0), (0, 0.052)):
            self.axes.plot([x - dx, x + dx], [y - dy, y + dy], color=INK, lw=1.1, zorder=4)

    def path(self, *points: tuple[float, float], arrow: bool = True) -> None:
        lines = points[:-1] if arrow else points
        self.axes.plot(*zip(*lines, strict=True), color=INK, lw=1.1, zorder=1, solid_joinstyle="miter")
        if arrow:
            style = {"arrowstyle": "-|>,head_width=0.16,head_length=0.32", "color": INK, "lw": 1.1}
            self.axes.annotate("", points[-1], points[-2], arrowprops={**style, "shrinkA": 0, "shrinkB": 0}, zorder=2)

    def beside(self, begin: float, end: float, y: float, level: float, box: float, text: str) -> None:
        """A slot in a path of its own, from the line ``y`` at ``begin`` to the sum at ``end``."""
        near = y + np.sign(level - y) * 0.095
        self.path((begin, y), (begin, level), (box - 0.43, level))
        self.path((box + 0.43, level), (end, level), (end, near))
        self.box(box, level, text, SLOT)

    def branch(self, y: float, line: Sequence[tuple[float, str]]) -> None:
        """The boxes on the line of a branch, with a sum at the right end; an arrow into each."""
        right = LEFT
        for x, text in line:
            kind = SITE if "." in text else SLOT if "_" in text else PLUS if text == "+" else FROZEN
            half = 0.095 if kind is PLUS else 0.36 if text.startswith("norm") else 0.43
            self.path((right, y), (x - half, y))
            if kind is PLUS:
                self.plus(x, y)
            else:
                self.box(x, y, text, kind, 2 * half)
            right = x + half

    def band(self, top: float, bottom: float, name: str, formula: str) -> None:
        shape = FancyBboxPatch((0.1, bottom), 7.8, top - bottom, "round,pad=0.04", fc=PALE, ec="none", zorder=0)
        self.axes.add_patch(shape)
        self.text(0.42, top - 0.03, name, va="top", fontsize=10, fontweight="bold")
        self.text(1.05, top - 0.05, formula, va="top", fontsize=7.7, color=SOFT, family="monospace")


def draw_block(path: Path) -> None:
    """The space-time block: formulas of docs/methods.md, names of the configs."""
    sketch = Sketch(8, 6.17)
    time, space, mlp = 5.21, 2.99, 1.15  # heights of the branches' lines
    _draw_time(sketch, time)
    _draw_space(sketch, space)
    _draw_mlp(sketch, mlp)
    for above, below in ((time, space), (space, mlp)):
        gap = above - 0.84
        sketch.path((7.195, above), (7.74, above), (7.74, gap), (LEFT, gap), (LEFT, below), arrow=False)
    sketch.path((7.195, mlp), (7.66, mlp))
    for x, y in ((0.17, time), (7.74, mlp)):
        sketch.text(x, y, "x", ha="center", va="center", fontsize=9, style="italic")
    _draw_legend(sketch, 0.18)
    sketch.figure.savefig(path, dpi=150)


def _draw_time(sketch: Sketch, y: float) -> None:
    formula = "x = x + time_out( attn( y + time_in(y) ) ),  y = norm1(x), along the frames"
    sketch.band(y + 0.86, y - 0.7, "time", formula)
    line = (0.93, "norm1"), (2.39, "+"), (3.06, "time.qkv"), (4.07, "attention"), (5.08, "time.proj")
    sketch.branch(y, (*line, (6.12, "time_out"), (7.1, "+")))
    sketch.path((0.42, y), (0.42, y + 0.42), (7.1, y + 0.42), (7.1, y + 0.095))
    sketch.beside(1.39, 2.39, y, y - 0.45, 1.89, "time_in")
    sketch.text(1.39, y + 0.06, "y", ha="center", va="bottom", style="italic")


def _draw_space(sketch: Sketch, y: float) -> None:
    formula = "x = x + space_in(x);  z = norm1(x);  a = attn(z);  x = x + a + space_out(a) + space_side(z)"
    sketch.band(y + 1.24, y - 0.7, "space", formula)
    line = (1.42, "+"), (2.05, "norm1"), (3.06, "space.qkv"), (4.07, "attention"), (5.08, "space.proj"), (6.64, "+")
    sketch.branch(y, (*line, (7.1, "+")))
    sketch.path((1.6, y), (1.6, y + 0.82), (7.1, y + 0.82), (7.1, y + 0.095))
    sketch.beside(0.4, 1.42, y, y - 0.45, 0.91, "space_in")
    sketch.beside(5.6, 6.64, y, y + 0.42, 6.12, "space_out")
    sketch.beside(2.51, 7.1, y, y - 0.45, 4.07, "space_side")
    sketch.text(2.51, y + 0.06, "z", ha="center", va="bottom", style="italic")
    sketch.text(5.6, y - 0.06, "a", ha="center", va="top", style="italic")


def _draw_mlp(sketch: Sketch, y: float) -> None:
    sketch.band(y + 0.86, y - 0.7, "mlp", "x = x + mlp_in(x);  z = norm2(x);  x = x + mlp(z) + mlp_side(z)")
    line = (1.42, "+"), (2.05, "norm2"), (3.06, "mlp.fc1"), (4.07, "activation"), (5.08, "mlp.fc2"), (7.1, "+")
    sketch.branch(y, line)
    sketch.path((1.6, y), (1.6, y + 0.42), (7.1, y + 0.42), (7.1, y + 0.095))
    sketch.beside(0.4, 1.42, y, y - 0.45, 0.91, "mlp_in")
    sketch.beside(2.51, 7.1, y, y - 0.45, 4.07, "mlp_side")
    sketch.text(2.51, y + 0.06, "z", ha="center", va="bottom", style="italic")


def _draw_legend(sketch: Sketch, y: float) -> None:
    texts = "frozen", "frozen linear, site of a tuner", "slot for an adapter"
    for x, (fill, edge), text in zip((0.3, 1.35, 3.85), (FROZEN, SITE, SLOT), texts, strict=True):
        sketch.axes.add_patch(Rectangle((x, y - 0.075), 0.24, 0.15, fc=fill, ec=edge, lw=1.1))
        sketch.text(x + 0.34, y - 0.01, text, va="center")
    sketch.plus(5.75, y)
    sketch.text(5.94, y - 0.01, "sum", va="center")


if __name__ == "__main__":
    main()
