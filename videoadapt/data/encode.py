"""Frames to H.264 files."""

from collections.abc import Iterable
from contextlib import suppress
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np


def write_video(
    path: Path, frames: Iterable[np.ndarray], fps: float, *, sound_of: Path | None = None, container: str | None = None
) -> None:
    """Encode rgb frames (h w 3) uint8 as H.264, yuv420p.

    With a constant quantiser: x264's rate control does not give the same bytes every time. Of an odd height or width
    the last row or column is left out, since yuv420p has none for it.

    Args:
        sound_of: a file whose first audio stream is copied, as it is, if the container takes it.
        container: its format; what the suffix of ``path`` names by default.
    """
    frames = iter(frames)
    first = next(frames)
    with av.open(str(path), "w", format=container) as output:
        rate = Fraction(fps).limit_denominator(65_535)
        stream = output.add_stream("libx264", rate=rate, options={"qp": "20", "preset": "veryfast"})
        stream.height, stream.width = (side - side % 2 for side in first.shape[:2])
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        if sound_of is not None:
            _copy_sound(output, sound_of)
        for frame in chain([first], frames):
            even = np.ascontiguousarray(frame[: stream.height, : stream.width])
            output.mux(stream.encode(av.VideoFrame.from_ndarray(even, format="rgb24")))
        output.mux(stream.encode(None))


def _copy_sound(output: av.container.OutputContainer, path: Path) -> None:
    with suppress(av.FFmpegError, ValueError), av.open(str(path)) as source:
        if not source.streams.audio:
            return
        stream = output.add_stream_from_template(source.streams.audio[0])
        for packet in source.demux(source.streams.audio[0]):
            if packet.dts is not None:
                packet.stream = stream
                output.mux(packet)
