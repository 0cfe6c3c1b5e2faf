"""Text on frames."""

from functools import lru_cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont

from videoadapt.report.fonts import drawable, font_runs, load_font

Line = tuple[tuple[ImageFont.FreeTypeFont, str], ...]


def captioned(frame: np.ndarray, text: str) -> np.ndarray:
    """A copy of a frame (h w 3) uint8 with a dark band at the bottom and one line of text in it."""
    height, width = frame.shape[:2]
    size, line = _fitted(text, height, width)
    image = Image.fromarray(frame)
    canvas = ImageDraw.Draw(image, "RGBA")
    top, left = height - round(1.7 * size), float(round(0.02 * width))
    canvas.rectangle([0, top, width, height], fill=(0, 0, 0, 165))
    for font, piece in line:
        canvas.text((left, top + 1.2 * size), piece, font=font, fill=(255, 255, 255, 255), anchor="ls")
        left += font.getlength(piece)
    return np.asarray(image)


@lru_cache(maxsize=16)
def _fitted(text: str, height: int, width: int) -> tuple[int, Line]:
    """A size in pixels, and the line in it, cut where even the smallest is too long."""
    text, size = drawable(" ".join(text.split())), max(height // 16, 9)
    while _length(line := _line(text, size)) > width * 0.96 and size > 6:
        size -= 1
    while len(text) > 1 and _length(line) > width * 0.96:
        text = text.removesuffix("…")[:-1] + "…"
        line = _line(text, size)
    return size, line


def _line(text: str, size: int) -> Line:
    return tuple((load_font(path, size), piece) for path, piece in font_runs(text))


def _length(line: Line) -> float:
    return sum(font.getlength(piece) for font, piece in line)
