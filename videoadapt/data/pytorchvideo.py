"""For pytorchvideo's users: its clip samplers and its samples, with our decoding.

pytorchvideo's own transforms do not import with a current torchvision and are not needed here.
"""

import logging
import math
from collections.abc import Callable, Sequence
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import torch
from pytorchvideo.data import LabeledVideoDataset
from pytorchvideo.data.clip_sampling import ClipSampler
from pytorchvideo.data.video import Video
from torch import Tensor
from torch.utils.data import RandomSampler, Sampler

from videoadapt.data.lists import Record
from videoadapt.video import Backend, VideoReadError, is_uneven, open_video

log = logging.getLogger(__name__)


def labeled_videos(
    records: Sequence[Record],
    clip_sampler: ClipSampler,
    *,
    root: str = ".",
    video_sampler: type[Sampler] = RandomSampler,
    transform: Callable[[dict], dict] | None = None,
    num_frames: int | None = None,
    backend: Backend = "pyav",
    time_limit: float | None = 60.0,
) -> LabeledVideoDataset:
    """pytorchvideo's data set of clips, read by ``open_video``.

    Yields dicts as its training loops expect them: ``video`` float32 (c t h w) in 0..255, ``label``, ``video_name``,
    ``video_index``, ``clip_index``, ``aug_index``. A video that cannot be read is named in the log and passed over.

    Args:
        records: of ``read_list``.
        num_frames: decode that many frames of a clip, evenly spaced as by UniformTemporalSubsample; all by default.
    """
    paths = [(str(Path(root, record.path)), {"label": record.label}) for record in records]
    videos = LabeledVideoDataset(paths, clip_sampler, video_sampler, transform, decode_audio=False)
    videos.video_path_handler = _Handler(num_frames, backend, time_limit)
    return videos


class _Handler:
    """Opens what pytorchvideo asks for."""

    def __init__(self, num_frames: int | None, backend: Backend, time_limit: float | None) -> None:
        self.num_frames, self.backend, self.time_limit = num_frames, backend, time_limit

    def video_from_path(self, path: str, **_: Any) -> "ClipVideo":
        try:
            return ClipVideo(path, self.num_frames, self.backend, self.time_limit)
        except VideoReadError as error:
            log.warning("unreadable, passed over: %s", error)
            raise


class ClipVideo(Video):
    """A video whose clips are asked for in seconds: frame i is shown at its display time, or else at i / fps."""

    def __init__(self, path: str, num_frames: int | None, backend: Backend, time_limit: float | None) -> None:
        self._video, self._path, self._num_frames = open_video(path, backend, time_limit), Path(path), num_frames
        rate = Fraction(self._video.fps or 1)
        self._rate = rate.limit_denominator(1001) or rate
        self._uneven = is_uneven(self._video.times)

    @property
    def name(self) -> str:
        return self._path.name

    @property
    def duration(self) -> Fraction:
        """Seconds."""
        if self._uneven:
            return Fraction(self._video.times[-1] + np.median(np.diff(self._video.times))).limit_denominator(10**6)
        return self._video.num_frames / self._rate

    def get_clip(self, start_sec: float | Fraction, end_sec: float | Fraction) -> dict[str, Tensor | None]:
        """The frames shown from ``start_sec`` until before ``end_sec``; None if there are none or they are damaged."""
        first, last = self._number(start_sec), self._number(min(end_sec, self.duration))
        if first >= last:
            return {"video": None, "audio": None}
        indices = np.arange(first, last)
        if self._num_frames is not None:
            indices = indices[torch.linspace(0, len(indices) - 1, self._num_frames).long().numpy()]
        try:
            frames = torch.from_numpy(self._video.frames(indices))
        except VideoReadError as error:
            log.warning("unreadable, passed over: %s", error)
            return {"video": None, "audio": None}
        return {"video": frames.permute(3, 0, 1, 2).float(), "audio": None}

    def _number(self, seconds: float | Fraction) -> int:
        """Of the first frame that is shown then or later."""
        if self._uneven:
            return int(np.searchsorted(self._video.times, float(seconds) - 1e-6))
        return max(math.ceil(seconds * self._rate), 0)

    def close(self) -> None:
        self._video.__exit__(None, None, None)
