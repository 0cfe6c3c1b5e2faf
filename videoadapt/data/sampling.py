"""Which frames: pure functions from the length of a video to frame indices, int64 (clips, clip_len).

``rng=None`` is the deterministic test form. Given a numpy generator, they draw the random training form.
"""

from typing import Literal

import numpy as np
from numpy.random import Generator

Spacing = Literal["endpoints", "centers"]
OutOfRange = Literal["loop", "repeat_last"]


def dense_indices(
    num_frames: int,
    clip_len: int,
    stride: int,
    clips: int = 1,
    spacing: Spacing = "endpoints",
    out_of_range: OutOfRange = "loop",
    rng: Generator | None = None,
) -> np.ndarray:
    """``clip_len`` frames, ``stride`` apart, from ``clips`` places of the video.

    Test places: ``endpoints`` spreads them from the first to the last possible one (mmaction2 1.x; a single clip is
    the middle one); ``centers`` puts them into the middle of ``clips`` equal parts (mmaction2 0.x, AIM). Training
    draws each place from its part. Frames past the end start over (``loop``) or repeat the last one::

        endpoints  |[==]-----[==]-----[==]|        centers  |--[==]---[==]---[==]--|
    """
    _check(num_frames, clip_len, clips)
    starts: np.ndarray | list[int]
    if rng is not None:
        starts = _random_starts(num_frames, clip_len * stride, clips, rng)
    elif spacing == "endpoints":
        room = max(num_frames - (clip_len - 1) * stride - 1, 0)
        starts = [room // 2] if clips == 1 else [round(k * room / (clips - 1)) for k in range(clips)]
    else:
        part = max(num_frames - clip_len * stride + 1, 0) / clips
        starts = [int(k * part + part / 2) for k in range(clips)]
    indices = np.asarray(starts, dtype=np.int64)[:, None] + stride * np.arange(clip_len)
    return indices % num_frames if out_of_range == "loop" else np.minimum(indices, num_frames - 1)


def segment_indices(num_frames: int, clip_len: int, clips: int = 1, rng: Generator | None = None) -> np.ndarray:
    """One frame from each of ``clip_len`` equal segments of the whole video (TSN, AIM's ``frame_uniform``).

    Segment i covers frames round(i s) to round((i+1) s) with s = (num_frames - 1) / clip_len. A test clip takes the
    middles; several take ``clips`` evenly spaced frames of each segment (mmaction2's UniformSample). Training draws
    one frame a segment, both ends included.
    """
    _check(num_frames, clip_len, clips)
    size = (num_frames - 1) / clip_len
    edges = np.array([round(size * i) for i in range(clip_len + 1)], dtype=np.int64)
    first, last = edges[:-1], edges[1:]
    if rng is not None:
        return rng.integers(first, last, size=(clips, clip_len), endpoint=True)
    if clips == 1:
        return ((first + last) // 2)[None]
    return np.stack([first + int(size / (clips + 1) * (k + 1)) for k in range(clips)])


def _random_starts(num_frames: int, span: int, clips: int, rng: Generator) -> np.ndarray:
    room = num_frames - span + 1
    part = room // clips if room > 0 else 0
    if part > 0:
        return np.arange(clips) * part + rng.integers(part, size=clips)
    return np.sort(rng.integers(max(room, 1), size=clips))


def _check(num_frames: int, clip_len: int, clips: int) -> None:
    if num_frames < 1 or clip_len < 1 or clips < 1:
        raise ValueError(f"no indices for {num_frames} frames, clip length {clip_len}, {clips} clips")
