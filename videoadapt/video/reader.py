"""One pass over a video: each wanted frame is decoded once, and brought to its size as it comes."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor

from videoadapt.video.decode import Backend, Reader, Video, open_video
from videoadapt.video.decode.common import Indices, read_anew
from videoadapt.video.decode.picture import Picture
from videoadapt.video.resize import resize_short_side
from videoadapt.video.store import Store, open_store

FrameNumbers = Sequence[np.ndarray] | np.ndarray  # of each clip, int (t)
_PIECE = 8  # frames that stand in memory at their native size


class Clips(NamedTuple):
    """The distinct frames of a video and the clips made of them."""

    frames: Tensor  # (n c h w) uint8, in time order
    rows: tuple[Tensor, ...]  # of each clip, (t): places in ``frames``
    decoder: str


@dataclass
class VideoReader:
    """Reads the clips of one video.

    Args:
        root: where the files are: a store, or what ``open_store`` makes one of.
        short_side: pixels to which the frames are brought; None leaves them as they are.
        time_limit: seconds for one video.
        in_memory: keep every decoded video in this process's memory.
        cache: gives the file to read instead of the store's, see ``VideoCache``.
    """

    root: str | Store
    backend: Backend = "pyav"
    short_side: int | None = None
    time_limit: float | None = None
    in_memory: bool = False
    cache: Callable[[Store, str], AbstractContextManager[Path]] | None = None
    _kept: dict[str, tuple[Tensor, str]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.store = open_store(self.root) if isinstance(self.root, str) else self.root

    @read_anew
    def clips(self, path: str, indices: Callable[[int], FrameNumbers]) -> Clips:
        """The frames of ``indices(num_frames)``, for each clip int (t); VideoReadError if they cannot be read."""
        if path in self._kept:
            frames, decoder = self._kept[path]
            distinct, rows = distinct_frames(indices(len(frames)))
            # always a copy: what a worker sends is moved into shared memory, and all that is kept would end there
            return Clips(frames[distinct], rows, decoder)
        with self.open(path) as video:
            if not self.in_memory:
                distinct, rows = distinct_frames(indices(video.num_frames))
                return Clips(self._read(video, distinct), rows, video.backend)
            self._kept[path] = self._read(video, range(video.num_frames)), video.backend
        return self.clips(path, indices)

    @contextmanager
    def open(self, path: str) -> Iterator[Video | Picture]:
        """The decoder of a file, as ``open_video`` gives it."""
        local = self.cache(self.store, path) if self.cache else self.store.local(path)
        with local as file, open_video(file, self.backend, self.time_limit) as video:
            yield video

    def _read(self, video: Reader, indices: Indices) -> Tensor:
        return joined(read_pieces(video, indices, self.short_side))


def joined(pieces: Iterable[Tensor]) -> Tensor:
    """Them end to end; one alone as it is."""
    first, *others = pieces
    return torch.cat([first, *others]) if others else first


def read_pieces(video: Reader, indices: Indices, short_side: int | None) -> Iterator[Tensor]:
    """The frames of ascending ``indices``, few at a time: (n c h w) uint8 with ``short_side`` pixels if not None."""
    for start in range(0, len(indices), _PIECE):
        frames = np.ascontiguousarray(video.frames(indices[start : start + _PIECE]))
        piece = torch.from_numpy(frames).permute(0, 3, 1, 2)  # channels last in memory: torch resizes those fastest
        yield piece if short_side is None else resize_short_side(piece, short_side)


def take(frames: Tensor, places: Tensor) -> Tensor:
    """``frames[places]`` on any device, for ``places`` (t) on the CPU; no copy if they are all of them, in order."""
    if len(places) == len(frames) and torch.equal(places, torch.arange(len(frames))):
        return frames
    return frames[places.to(frames.device, non_blocking=True)]


def distinct_frames(clips: FrameNumbers) -> tuple[np.ndarray, tuple[Tensor, ...]]:
    """Every frame number of the clips, each int (t), once and ascending, and for each clip the places among them."""
    distinct, places = np.unique(np.concatenate(clips), return_inverse=True)
    return distinct, torch.from_numpy(places.reshape(-1)).split([len(clip) for clip in clips])
