"""Videos as samples that depend on (seed, epoch, index) alone: not on workers, ranks or what came before."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import numpy as np
import torch
from torch import Tensor
from torch.utils.data import Dataset

from videoadapt.data.lists import Record
from videoadapt.data.transforms import TestTransform
from videoadapt.video import VideoReadError
from videoadapt.video.reader import FrameNumbers, VideoReader

_ATTEMPTS = 10  # at other videos, in place of an unreadable one

ClipIndices = Callable[..., FrameNumbers]  # (num_frames, rng=...)


class Sample(NamedTuple):
    """A training video: its clips, or why there are none."""

    index: int  # type: ignore[assignment]  # hides the method of tuples
    label: int
    views: Tensor | None  # (v c t h w) uint8
    unreadable: tuple[str, ...] = ()  # messages, of this video and of those it replaces
    decoder: str | None = None  # what read it
    path: str = ""  # of the video that was read


class TestSample(NamedTuple):
    """A video to score: each frame that any view shows, once, and which views are made of them; or why there is none.

    A view is ``frames[clip][..., rows, columns]`` for one of ``clips`` and a window ``(rows, columns)``.
    """

    index: int  # type: ignore[assignment]  # as above
    label: int
    frames: Tensor | None = None  # (n c h w) uint8
    clips: Sequence[Tensor] = ()  # of each clip, (t): places in ``frames``
    windows: tuple[tuple[slice, slice], ...] = ()  # of the crops
    unreadable: str | None = None  # message
    decoder: str | None = None  # what read it

    def views(self) -> Tensor:
        """All of them, clip by clip and crop by crop: (v c t h w), if the clips are of one length."""
        views = [
            self.frames[clip][..., rows, columns]  # type: ignore[index]  # of a video that was read
            for clip in self.clips
            for rows, columns in self.windows
        ]
        return torch.stack(views).transpose(1, 2)


class TrainVideos(Dataset):
    """Random clips: ``videos[epoch, index]`` is always the same ``Sample``.

    A video that cannot be read is named in ``Sample.unreadable`` and replaced by another, drawn from the sample's
    own generator.
    """

    def __init__(
        self, records: Sequence[Record], reader: VideoReader, indices: ClipIndices, transform: Callable, seed: int
    ) -> None:
        self.records, self.reader, self.indices, self.transform = records, reader, indices, transform
        self.seed = seed

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, key: tuple[int, int]) -> Sample:
        epoch, index = key
        rng = np.random.default_rng((self.seed, epoch, index))
        unreadable: list[str] = []
        for _ in range(_ATTEMPTS):
            record = self.records[index]
            try:
                frames, rows, decoder = self.reader.clips(record.path, partial(self.indices, rng=rng))
            except VideoReadError as error:
                unreadable.append(str(error))
                index = int(rng.integers(len(self.records)))
                continue
            with torch.random.fork_rng(devices=[]):
                torch.default_generator.manual_seed(int(rng.integers(2**63)))
                clips = [self.transform(frames[clip]) for clip in rows]
            views = torch.stack(clips).transpose(1, 2).contiguous()
            return Sample(key[1], record.label, views, tuple(unreadable), decoder, record.path)
        return Sample(key[1], -1, None, tuple(unreadable))


class TestVideos(Dataset):
    """Every listed video, once, as a ``TestSample``; an unreadable one comes with its message and nothing else."""

    def __init__(
        self, records: Sequence[Record], reader: VideoReader, indices: ClipIndices, transform: TestTransform
    ) -> None:
        self.records, self.reader, self.indices, self.transform = records, reader, indices, transform

    def __len__(self) -> int:
        return len(self.records)

    def __getitem__(self, index: int) -> TestSample:
        record = self.records[index]
        try:
            frames, clips, decoder = self.reader.clips(record.path, self.indices)
        except VideoReadError as error:
            return TestSample(index, record.label, unreadable=str(error))
        frames, windows = self.transform.cut(frames)
        return TestSample(index, record.label, frames, clips, windows, decoder=decoder)
