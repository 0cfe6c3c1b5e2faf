"""Videos to frames: exact indices, only the frames that are asked for. A picture is a video of one frame."""

import os
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Literal

import numpy as np

from videoadapt.errors import UserError
from videoadapt.video.decode import decord, torchcodec
from videoadapt.video.decode.common import DamagedError, Deadline, Indices, Reader, VideoReadError, tell
from videoadapt.video.decode.decord import DecordVideo
from videoadapt.video.decode.picture import Picture
from videoadapt.video.decode.pyav import PyavVideo
from videoadapt.video.decode.torchcodec import TorchcodecVideo
from videoadapt.video.media import kind_of

__all__ = ["BACKENDS", "Backend", "Reader", "VideoReadError", "is_available", "open_video", "require_backend"]

Backend = Literal["pyav", "decord", "torchcodec"]
BACKENDS: dict[Backend, Callable[[Path, Deadline], Reader]] = {
    "pyav": PyavVideo,
    "decord": DecordVideo,
    "torchcodec": TorchcodecVideo,
}
# What reads a file that the one before cannot. decord never stands in: unguarded by PyAV's index it can hang.
_CHAINS: dict[Backend, tuple[Backend, ...]] = {
    "pyav": ("pyav", "torchcodec"),
    "decord": ("decord", "pyav", "torchcodec"),
    "torchcodec": ("torchcodec", "pyav"),
}
_PLAYLISTS = (b"#EXTM3U", b"ffconcat", b"<?xml", b"<MPD", b"v=0", b"[playlist]", b"[Reference]")


def open_video(
    path: str | os.PathLike, backend: Backend = "pyav", time_limit: float | None = None
) -> "Video | Picture":
    """A context manager with ``num_frames``, ``fps`` and ``frames(indices)`` -> uint8 rgb (t h w c).

    ``frames`` keeps order and repeats. Frame i is the i-th displayed frame: discarded pre-roll of edit lists does
    not count, rotation metadata is applied. A file that ``backend`` cannot read, or would misread, goes to the next
    decoder, and the log says so; ``video.backend`` tells which one read it. A picture file is a video of one frame,
    an animated one of several, whatever the backend. Open it where it is used: a handle does not survive a fork.

    Args:
        time_limit: seconds that a decoder may take to open the file, and for each call; PyAV looks at it between
            packets, torchcodec between calls, decord's process is ended.

    Raises VideoReadError for whatever no decoder can read.
    """
    path = Path(path)
    try:
        if not path.is_file():
            raise VideoReadError(f"{path}: {'not a file' if path.exists() else 'no such video'}")
    except OSError as error:
        raise VideoReadError(f"{path}: cannot be looked up ({error.strerror})") from None
    if kind_of(path) in {"picture", "animation"}:
        return Picture(path, Deadline(path, time_limit))
    if _is_playlist(path):
        raise VideoReadError(f"{path}: not a video but a playlist, which would have other files opened")
    if backend not in BACKENDS:
        raise UserError(f"decoder '{backend}': choose from: {', '.join(BACKENDS)}")
    return Video(path, backend, time_limit)


def _is_playlist(path: Path) -> bool:
    try:
        with path.open("rb") as file:
            return file.read(512).lstrip(b"\xef\xbb\xbf\r\n\t ").startswith(_PLAYLISTS)
    except OSError as error:
        raise VideoReadError(f"{path}: cannot be read ({error.strerror})") from None


class Video:
    """A video behind the decoder that can read it."""

    def __init__(self, path: Path, backend: Backend, time_limit: float | None) -> None:
        self.path, self._deadline = path, Deadline(path, time_limit)
        self._left = [name for name in _CHAINS[backend] if name == backend or is_available(name)]
        self._errors: dict[str, VideoReadError] = {}
        self._reader = self._open_next()

    @property
    def backend(self) -> str:
        return self._reader.backend

    @property
    def num_frames(self) -> int:
        return self._reader.num_frames

    @property
    def fps(self) -> float:
        return self._reader.fps

    @property
    def times(self) -> np.ndarray:
        """When each frame is shown, in seconds after the first (n,); evenly spaced where only the rate is known."""
        known = getattr(self._reader, "times", None)
        return np.arange(self.num_frames) / (self.fps or 1.0) if known is None else known

    def frames(self, indices: Indices) -> np.ndarray:
        """The frames at ``indices``, order and repeats kept: uint8 rgb (t h w c)."""
        while True:
            self._deadline.restart()
            try:
                return self._reader.frames(indices)
            except VideoReadError as error:
                if self.backend == "pyav":  # it opened the file and found it damaged: others would not notice
                    raise
                self._errors[self.backend] = error
                count = self.num_frames
                self._reader.__exit__(None, None, None)
                self._reader = self._open_next()
                if self.num_frames != count:  # the indices were drawn for another count
                    raise

    def _open_next(self) -> Reader:
        while self._left:
            name = self._left.pop(0)
            self._deadline.restart()
            try:
                reader = BACKENDS[name](self.path, self._deadline)
            except DamagedError:
                raise
            except VideoReadError as error:
                self._errors[name] = error
                continue
            if self._errors:
                tell(f"{next(reversed(self._errors.values()))}; read with {name}")
            return reader
        raise self._errors["pyav"] from None

    def __enter__(self) -> "Video":
        return self

    def __exit__(self, *exception: object) -> None:
        self._reader.__exit__(*exception)


def require_backend(backend: Backend) -> None:
    """A UserError if the decoder cannot be loaded here; in the main process, before any worker needs it."""
    {"pyav": lambda: None, "decord": decord.require, "torchcodec": torchcodec.load}[backend]()


@cache
def is_available(backend: Backend) -> bool:
    """Whether it can be loaded here."""
    try:
        require_backend(backend)
    except UserError:
        return False
    return True
