"""torchcodec, where it is installed (``pip install torchcodec`` and FFmpeg's libraries)."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from videoadapt.errors import UserError
from videoadapt.video.decode.common import DamagedError, Deadline, Indices, VideoReadError, checked, reason
from videoadapt.video.decode.pyav import PyavVideo


class TorchcodecVideo:
    """torchcodec with exact seeking, guarded like decord: AVI with B-frames and transport streams come out wrong."""

    backend = "torchcodec"

    def __init__(self, path: Path, deadline: Deadline | None = None) -> None:
        decoder = load()
        self.path, self._deadline = path, deadline or Deadline(path, None)
        self.times: np.ndarray | None = None
        count, stream = self._counted()
        options = {"seek_mode": "exact", "dimension_order": "NHWC", "num_ffmpeg_threads": 1, "stream_index": stream}
        try:
            self._decoder = decoder(path, **options)
        except Exception as error:  # RuntimeError, ValueError and what libtorch throws
            raise VideoReadError(f"{path}: torchcodec cannot open it ({reason(error)})") from None
        self.num_frames = len(self._decoder)
        self.fps = float(self._decoder.metadata.average_fps or 0)
        if self.num_frames != (count or self.num_frames) or not self.num_frames:
            raise VideoReadError(f"{path}: torchcodec would misread its {count} frames")
        self._deadline.left()

    def _counted(self) -> tuple[int | None, int | None]:
        """Number of frames and index of the stream; None where PyAV, the only witness, cannot read the file."""
        try:
            index = PyavVideo(self.path, self._deadline)
        except DamagedError:
            raise
        except VideoReadError:
            self._deadline.left()
            return None, None
        with index:
            if not index.is_plain():
                raise VideoReadError(f"{self.path}: torchcodec would misread its {index.num_frames} frames")
            self.times = index.times
            return index.num_frames, index.stream.index

    def frames(self, indices: Indices) -> np.ndarray:
        """As any reader."""
        wanted = checked(indices, self, self.path)
        self._deadline.left()
        try:
            return self._decoder.get_frames_at(wanted).data.numpy()
        except Exception as error:
            raise VideoReadError(f"{self.path}: torchcodec cannot decode it ({reason(error)})") from None

    def __enter__(self) -> "TorchcodecVideo":
        return self

    def __exit__(self, *_: object) -> None:
        self._decoder = None


def load() -> Callable[..., Any]:
    """The decoder's class; UserError where the library, or FFmpeg below it, does not load."""
    try:
        from torchcodec.decoders import VideoDecoder  # type: ignore[attr-defined, unused-ignore]  # names no exports
    except (ImportError, OSError, RuntimeError) as error:
        raise UserError(f"data.decoder: torchcodec cannot be loaded here ({reason(error)}); use pyav") from None
    return VideoDecoder
