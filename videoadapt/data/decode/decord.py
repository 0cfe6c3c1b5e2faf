"""decord, for the files whose length it reads right."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from videoadapt.data.decode.common import Deadline, VideoReadError, checked, reason
from videoadapt.data.decode.pyav import PyavVideo
from videoadapt.errors import UserError


class DecordVideo:
    """decord hangs for ever on some trimmed files and miscounts others (AVI with B-frames, transport streams).

    So it only gets MP4, Matroska, WebM and AVI files that are ``plain`` and on whose length it agrees with the
    container's packets.
    """

    backend = "decord"

    def __init__(self, path: Path, deadline: Deadline | None = None) -> None:
        decord = load()
        self.path = path
        with PyavVideo(path, deadline) as index:
            self.fps = index.fps
            if not index.plain:
                raise VideoReadError(f"{path}: decord would miscount its {index.num_frames} frames")
        try:
            self._reader = decord.VideoReader(str(path), num_threads=1)
        except Exception as error:  # decord's own error has no public base class
            raise VideoReadError(f"{path}: decord cannot open it ({reason(error)})") from None
        self.num_frames = len(self._reader)
        if self.num_frames != index.num_frames:
            raise VideoReadError(f"{path}: decord would miscount its {index.num_frames} frames")

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """As any reader."""
        wanted = checked(indices, self, self.path)
        try:
            return self._reader.get_batch(wanted).asnumpy()
        except Exception as error:
            raise VideoReadError(f"{self.path}: decord cannot decode it ({reason(error)})") from None

    def __enter__(self) -> "DecordVideo":
        return self

    def __exit__(self, *_) -> None:
        self._reader = None  # decord decodes ahead in the background as long as a reader lives


def load():
    """The library; UserError where it does not load."""
    try:
        import decord
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(f"data.decoder: decord cannot be loaded here ({reason(error)}); use pyav") from None
    decord.logging.set_level(decord.logging.QUIET)  # its errors are raised as well
    return decord
