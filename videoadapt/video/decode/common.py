"""What every decoder shares: its errors and the limits of a call."""

import logging
import time
from collections.abc import Callable, Sequence
from functools import cache, wraps
from pathlib import Path
from typing import ParamSpec, Protocol, TypeVar

import numpy as np

from videoadapt.errors import UserError

log = logging.getLogger("videoadapt.video.decode")
P = ParamSpec("P")
T = TypeVar("T")
Indices = Sequence[int] | np.ndarray  # of frames


class VideoReadError(UserError):
    """A file that cannot be opened, indexed or decoded; the message names the file and the cause."""


class DamagedError(VideoReadError):
    """PyAV opened the file and found it damaged: another decoder would show what it invents, or crash."""


class RecountedError(VideoReadError):
    """Decoding showed that the file has another number of frames, which it has when it is opened again."""


def read_anew(read: Callable[P, T]) -> Callable[P, T]:
    """For a function that opens a file and reads it: once more, with the frames that decoding showed it to have."""

    @wraps(read)
    def reading(*args: P.args, **options: P.kwargs) -> T:
        try:
            return read(*args, **options)
        except RecountedError:
            return read(*args, **options)

    return reading


class Reader(Protocol):
    """An open video; a context manager. It lives where it is used: a handle does not survive a fork."""

    @property
    def backend(self) -> str: ...

    @property
    def num_frames(self) -> int: ...

    @property
    def fps(self) -> float: ...

    def frames(self, indices: Indices) -> np.ndarray:
        """The frames at ``indices``, order and repeats kept: uint8 rgb (t h w c)."""

    def __enter__(self) -> "Reader": ...

    def __exit__(self, *_: object) -> None: ...


class Deadline:
    """The time left for one decoder to open a file, or for one call; ``seconds=None`` is no limit."""

    def __init__(self, path: Path, seconds: float | None) -> None:
        self.path, self.seconds = path, seconds
        self.restart()

    def restart(self) -> None:
        self._end = None if self.seconds is None else time.monotonic() + self.seconds

    def left(self) -> float | None:
        """Seconds; VideoReadError if there are none."""
        if self._end is None:
            return None
        if (left := self._end - time.monotonic()) <= 0:
            raise VideoReadError(f"{self.path}: reading took longer than the limit of {self.seconds:g} s")
        return left


def is_uneven(times: np.ndarray) -> bool:
    """Whether frames are shown at a variable rate: some for much longer than usual."""
    gaps = np.diff(times)
    return len(gaps) > 0 and bool(gaps.max() > 1.5 * np.median(gaps))


@cache
def tell(message: str) -> None:
    """Once in the life of a process, though the file is read in every epoch."""
    log.warning(message)


def checked(indices: Indices, video: Reader, path: Path) -> list[int]:
    """``indices`` as integers; IndexError where one is no frame of the video."""
    wanted = np.asarray(indices, dtype=np.int64).tolist()
    if not wanted or min(wanted) < 0 or max(wanted) >= video.num_frames:
        raise IndexError(f"{path}: frame indices must lie in 0..{video.num_frames - 1}")
    return wanted


def reason(error: Exception) -> str:
    """The first line of what a library says about its error."""
    text = str(getattr(error, "strerror", None) or error).strip()
    return (text.splitlines() or [type(error).__name__])[0]
