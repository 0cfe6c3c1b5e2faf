"""Frames to H.264 files."""

import math
from collections.abc import Iterable, Sequence
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
import numpy as np

from videoadapt.errors import UserError
from videoadapt.video.sound import copied_sound

_TICKS = 90_000  # a second, for frames with times of their own


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
        sound_of: a file whose sound is copied, at the distance from the first picture that it has there, if the
            container takes it.
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
        with copied_sound(sound_of, output) as sound:
            delay = sound.lead if sound else 0.0
            if exact := times is not None or delay > 0:
                stream.codec_context.time_base = Fraction(1, _TICKS)
            for number, image in enumerate(chain([first], frames)):
                shown = number / float(rate) if times is None else times[number]
                if sound:
                    sound.copy_until(shown)
                even = np.ascontiguousarray(image[: stream.height, : stream.width])
                frame = av.VideoFrame.from_ndarray(even, format="rgb24")
                if exact:
                    frame.pts, frame.time_base = round((delay + shown) * _TICKS), Fraction(1, _TICKS)
                output.mux(stream.encode(frame))
            output.mux(stream.encode(None))
            if sound:
                sound.copy_until(math.inf)
