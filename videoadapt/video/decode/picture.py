"""Picture files as videos, through Pillow: one frame, or those of an animation."""

import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cached_property
from importlib import import_module
from pathlib import Path

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from videoadapt.video.decode.common import Deadline, Indices, VideoReadError, checked, reason

_ANIMATED = {"PNG", "WEBP", "AVIF"}  # other files of several pictures hold views, pages or sizes of one
_UNTOLD = 0.1  # seconds of a frame whose duration is 0, as browsers have it
_PLUGINS = {  # of Pillow: module and package, by suffix
    **dict.fromkeys([".heic", ".heif", ".hif"], ("pillow_heif", "pillow-heif")),
    ".jxl": ("pillow_jxl", "pillow-jxl-plugin"),
}


class Picture:
    """An image file as a video: upright as its EXIF data says, rgb whatever its mode.

    A picture is one frame. An animation (WebP, PNG, AVIF) has those that a browser shows, composed, at their times; the
    still picture that a PNG may have for programs without animation is none of them.
    """

    backend = "pillow"

    def __init__(self, path: Path, deadline: Deadline | None = None) -> None:
        self.path, self._deadline = path, deadline or Deadline(path, None)
        with self._reading():
            self._image = _opened(path)
            moves = self._image.format in _ANIMATED
            self._begin = int(moves and bool(getattr(self._image, "default_image", False)))
            self.num_frames = max(getattr(self._image, "n_frames", 1) - self._begin, 1) if moves else 1
            self._still = None if self.num_frames > 1 else self._shown(0)
        if self._still is not None:
            self._image.close()

    @property
    def fps(self) -> float:
        """On average; 0 of a picture."""
        return 0.0 if self._still is not None else self.num_frames / sum(self._durations)

    @property
    def times(self) -> np.ndarray:
        """When each frame is shown, in seconds after the first (n,)."""
        return np.zeros(1) if self._still is not None else np.cumsum([0.0, *self._durations[:-1]])

    def frames(self, indices: Indices) -> np.ndarray:
        """As any reader; of a picture every index is 0."""
        wanted = checked(indices, self, self.path)
        if self._still is not None:
            return np.stack([self._still] * len(wanted))
        self._deadline.restart()
        with self._reading():
            images = {number: self._shown(number) for number in sorted(set(wanted))}
        return np.stack([images[number] for number in wanted])

    @cached_property
    def _durations(self) -> list[float]:
        """Of each frame, in seconds; only a pass over all of them tells."""
        found = []
        with self._reading():
            for number in range(self.num_frames):
                self._seek(number)
                found.append(self._image.info.get("duration", 0) / 1000 or _UNTOLD)
        return found

    def _shown(self, number: int) -> np.ndarray:
        self._seek(number)
        return np.asarray(_eight_bit(ImageOps.exif_transpose(self._image)).convert("RGB"))

    def _seek(self, number: int) -> None:
        self._deadline.left()
        if self._begin + number < self._image.tell():  # Pillow loses count of an APNG's chunks when it goes back
            self._image.close()
            self._image = _opened(self.path)
        self._image.seek(self._begin + number)
        self._image.load()

    @contextmanager
    def _reading(self) -> Iterator[None]:
        """Pillow's errors as ours; its warnings, of large pictures and odd metadata, stop nobody."""
        try:
            with warnings.catch_warnings():
                warnings.simplefilter("ignore")
                yield
        except VideoReadError:
            raise
        except Exception as error:  # a damaged file can lead Pillow into any
            raise VideoReadError(f"{self.path}: not a readable picture ({reason(error)})") from None

    def __enter__(self) -> "Picture":
        return self

    def __exit__(self, *_: object) -> None:
        self._image.close()


def _opened(path: Path) -> Image.Image:
    """A plugin for Pillow is loaded if the picture needs one."""
    try:
        return Image.open(path)
    except UnidentifiedImageError:
        module, package = _PLUGINS.get(path.suffix.lower(), ("", ""))
        if not module:
            raise
    try:
        plugin = import_module(module)
    except ImportError:
        raise ValueError(f"Pillow needs a plugin for {path.suffix.lower()}: pip install {package}") from None
    getattr(plugin, "register_heif_opener", lambda: None)()  # the other one registers itself
    return Image.open(path)


def _eight_bit(image: Image.Image) -> Image.Image:
    """Pillow's own conversion of deeper pictures clips them to white."""
    if image.mode.startswith("I;16"):
        return Image.fromarray((np.asarray(image) // 257).astype(np.uint8))
    if image.mode in {"I", "F"}:
        raise ValueError(f"pixels of mode {image.mode} have no agreed range; store 8 or 16 bits")
    return image
