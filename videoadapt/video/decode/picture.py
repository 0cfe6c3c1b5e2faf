"""Pictures as videos of one frame, through Pillow."""

from pathlib import Path

import numpy as np
from PIL import Image, ImageOps

from videoadapt.video.decode.common import Indices, VideoReadError, checked, reason


class Picture:
    """An image file as a video of one frame: upright as its EXIF data says, rgb whatever its mode."""

    backend, num_frames, fps, times = "pillow", 1, 0.0, np.zeros(1)

    def __init__(self, path: Path) -> None:
        self.path = path
        try:
            with Image.open(path) as image:
                self._frame = np.asarray(_eight_bit(ImageOps.exif_transpose(image)).convert("RGB"))
        except (OSError, ValueError, SyntaxError, Image.DecompressionBombError) as error:
            raise VideoReadError(f"{path}: not a readable picture ({reason(error)})") from None

    def frames(self, indices: Indices) -> np.ndarray:
        """As any reader; every index is 0."""
        return np.stack([self._frame] * len(checked(indices, self, self.path)))

    def __enter__(self) -> "Picture":
        return self

    def __exit__(self, *_: object) -> None:
        pass


def _eight_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion of deeper pictures clips them to white."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in {"I", "F"}:
        raise ValueError(f"pixels of mode {image.mode} have no agreed range; store 8 or 16 bits")
    return image
