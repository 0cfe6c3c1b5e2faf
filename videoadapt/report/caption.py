"""Text on frames."""

from functools import cache

import numpy as np
from PIL import Image, ImageDraw, ImageFont


def captioned(frame: np.ndarray, text: str) -> np.ndarray:
    """A copy of a frame (h w 3) uint8 with a dark band at the bottom and one line of text in it."""
    text, (height, width) = " ".join(text.split()), frame.shape[:2]
    size = max(height // 16, 9)
    while (font := _font(size)).getlength(text) > width * 0.96 and size > 6:
        size -= 1
    while len(text) > 1 and font.getlength(text) > width * 0.96:
        text = text.removesuffix("…")[:-1] + "…"
    image = Image.fromarray(frame)
    canvas = ImageDraw.Draw(image, "RGBA")
    top = height - round(1.7 * size)
    canvas.rectangle([0, top, width, height], fill=(0, 0, 0, 165))
    canvas.text((round(0.02 * width), (top + height) / 2), text, font=font, fill=(255, 255, 255, 255), anchor="lm")
    return np.asarray(image)


@cache
def _font(size: int) -> ImageFont.FreeTypeFont:
    from matplotlib.font_manager import findfont  # slow to import, and needed here alone

    return ImageFont.truetype(findfont("DejaVu Sans"), size)
