"""Frames to H.264 files."""

import logging
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from videoadapt.errors import UserError

_TICKS = 90_000  # a second, for frames with times of their own
log = logging.getLogger(__name__)


def write_video(
    path: Path,
    frames: Iterable[np.ndarray],
    fps: float,
    *,
    times: Sequence[float] | np.ndarray | None = None,
    sound_of: Path | None = None,
    container: str | None = None,
) -> None:
    """Encode rgb frames (h w 3) uint8 as H.264, yuv420p.

    With a constant quantiser: x264's rate control does not give the same bytes every time. Of an odd height or width
    the last row or column is left out, since yuv420p has none for it.

    Args:
        times: seconds after the first at which each frame is shown, instead of ``fps`` of them a second.
        sound_of: a file whose first audio stream is copied, as it is, if the container takes it.
        container: its format; what the suffix of ``path`` names by default.
    """
    frames = iter(frames)
    first = next(frames)
    if min(first.shape[:2]) < 2:
        raise UserError(f"frames of {first.shape[1]}x{first.shape[0]} are too small for H.264")
    with av.open(f"file:{path}", "w", format=container or path.suffix.removeprefix(".")) as output:
        rate = Fraction(fps).limit_denominator(65_535)
        stream = output.add_stream("libx264", rate=rate, options={"qp": "20", "preset": "veryfast"})
        stream.height, stream.width = (side - side % 2 for side in first.shape[:2])
        stream.pix_fmt, stream.thread_count = "yuv420p", 1
        if times is not None:
            stream.codec_context.time_base = Fraction(1, _TICKS)
        if sound_of is not None:
            _copy_sound(output, sound_of)
        for number, image in enumerate(chain([first], frames)):
            even = np.ascontiguousarray(image[: stream.height, : stream.width])
            frame = av.VideoFrame.from_ndarray(even, format="rgb24")
            if times is not None:
                frame.pts, frame.time_base = round(times[number] * _TICKS), Fraction(1, _TICKS)
            output.mux(stream.encode(frame))
        output.mux(stream.encode(None))


def _copy_sound(output: av.container.OutputContainer, path: Path) -> None:
    try:
        with av.open(f"file:{path}") as source:
            if not source.streams.audio:
                return
            stream = output.add_stream_from_template(source.streams.audio[0])
            for packet in source.demux(source.streams.audio[0]):
                if packet.dts is not None:
                    packet.stream = stream
                    output.mux(packet)
    except (av.FFmpegError, ValueError) as error:
        log.warning("%s: its sound is not copied (%s)", path, str(error).splitlines()[0])
