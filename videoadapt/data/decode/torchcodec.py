"""torchcodec, where it is installed (``pip install torchcodec`` and FFmpeg's libraries)."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from videoadapt.data.decode.common import Deadline, VideoReadError, checked, reason
from videoadapt.data.decode.pyav import PyavVideo
from videoadapt.errors import UserError


class TorchcodecVideo:
    """torchcodec with exact seeking, guarded like decord: AVI with B-frames and transport streams come out wrong."""

    backend = "torchcodec"

    def __init__(self, path: Path, deadline: Deadline | None = None) -> None:
        decoder = load()
        self.path, self._deadline = path, deadline or Deadline(path, None)
        try:
            self._decoder = decoder(path, seek_mode="exact", dimension_order="NHWC", num_ffmpeg_threads=1)
        except Exception as error:  # RuntimeError, ValueError and what libtorch throws
            raise VideoReadError(f"{path}: torchcodec cannot open it ({reason(error)})") from None
        self.num_frames = len(self._decoder)
        self.fps = float(self._decoder.metadata.average_fps or 0)
        agrees = self._agrees()
        self._deadline.left()
        if not agrees:
            raise VideoReadError(f"{path}: torchcodec would misread its frames")

    def _agrees(self) -> bool:
        try:
            with PyavVideo(self.path, self._deadline) as index:
                return index.is_plain() and index.num_frames == self.num_frames
        except VideoReadError:
            return self.num_frames > 0  # what PyAV cannot read has no other witness

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """As any reader."""
        wanted = checked(indices, self, self.path)
        self._deadline.left()
        try:
            return self._decoder.get_frames_at(wanted).data.numpy()
        except Exception as error:
            raise VideoReadError(f"{self.path}: torchcodec cannot decode it ({reason(error)})") from None

    def __enter__(self) -> "TorchcodecVideo":
        return self

    def __exit__(self, *_) -> None:
        self._decoder = None


def load():
    """The decoder's class; UserError where the library, or FFmpeg below it, does not load."""
    try:
        from torchcodec.decoders import VideoDecoder
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(f"data.decoder: torchcodec cannot be loaded here ({reason(error)}); use pyav") from None
    return VideoDecoder
