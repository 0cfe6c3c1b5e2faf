"""Long videos in sliding windows, each a sample of its own; what neighbours share is decoded once."""

from collections.abc import Callable, Iterator, Sequence
from itertools import islice
from typing import NamedTuple

import numpy as np
import torch

from videoadapt.data.datasets import TestSample
from videoadapt.data.transforms import TestTransform
from videoadapt.video import Reader
from videoadapt.video.reader import FrameNumbers, VideoReader, distinct_frames, joined, read_pieces, take

_TOGETHER = 8  # windows read in one go


class Window(NamedTuple):
    """Frames ``start`` to ``stop``, the last one not included."""

    start: int
    stop: int


def sliding_windows(num_frames: int, length: int, step: int) -> list[Window]:
    """Windows of ``length`` frames, ``step`` apart; the last one ends with the video. A short video is one window."""
    starts = list(range(0, max(num_frames - length, 0) + 1, step))
    if starts[-1] + length < num_frames:
        starts.append(num_frames - length)
    return [Window(start, min(start + length, num_frames)) for start in starts]


def windows_in_time(times: np.ndarray, seconds: float, step: float) -> list[Window]:
    """Windows of the frames that are shown within ``seconds``, ``step`` apart, at a variable frame rate.

    A window begins with the frame that is shown when it begins; where the same frames are shown throughout several, it
    is one.

    Args:
        times: when each frame is shown, in seconds (n,).
    """
    end = times[-1] + (np.median(np.diff(times)) if len(times) > 1 else 0)
    begins = np.arange(0, max(end - seconds, 0) + 1e-9, step)
    if begins[-1] + seconds < end - 1e-9:
        begins = np.append(begins, end - seconds)
    starts = np.searchsorted(times, begins + 1e-6, side="right") - 1
    stops = np.maximum(np.searchsorted(times, begins + seconds - 1e-6), starts + 1)
    return [Window(start, stop) for start, stop in dict.fromkeys(zip(starts.tolist(), stops.tolist(), strict=True))]


def window_samples(
    video: Reader,
    windows: Sequence[Window],
    reader: VideoReader,
    indices: Callable[[int], FrameNumbers],
    transform: TestTransform,
) -> Iterator[TestSample]:
    """A sample for each window, in order, as if it were a video; a few at a time stand in memory."""
    numbered = enumerate(windows)
    while together := list(islice(numbered, _TOGETHER)):
        clips = [[clip + w.start for clip in indices(w.stop - w.start)] for _, w in together]
        distinct, places = distinct_frames([clip for each in clips for clip in each])
        frames, crops = transform.cut(joined(read_pieces(video, distinct, reader.short_side)))
        rest = iter(places)
        for (number, _), each in zip(together, clips, strict=True):
            own, rows = distinct_frames([clip.numpy() for clip in islice(rest, len(each))])
            yield TestSample(number, 0, take(frames, torch.from_numpy(own)), rows, crops, decoder=video.backend)
