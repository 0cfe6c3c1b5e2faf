"""The sound of a video, on its way into a copy with other pictures."""

import io
import logging
from collections.abc import Iterator
from contextlib import contextmanager
from fractions import Fraction
from itertools import chain
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer, OutputContainer

from videoadapt.video.decode.common import reason
from videoadapt.video.decode.pyav import PyavVideo

_LEAD_IN = 0.1  # seconds: what encoders put before the first sample, and players leave out
_SLIP = 0.5  # seconds by which times may fall back without having begun anew
_REORDERED = 16  # packets among which the first frame is, where frames are counted
_TICKS = 90_000  # a second, where the sample rate is not known
log = logging.getLogger(__name__)


class Sound:
    """An audio stream that is copied as it is: each packet at its distance from the first picture.

    Attributes:
        lead: seconds by which it begins before the first picture, which must be shown so much later in the copy.
    """

    def __init__(self, path: Path, file: InputContainer, output: OutputContainer, stream: AudioStream) -> None:
        self.path, self._output, self._copy = path, output, output.add_stream_from_template(stream)
        self._tick = Fraction(1, stream.codec_context.sample_rate or _TICKS)
        packets, before = _timed(file, stream, _first_picture(path)), []
        for pair in packets:
            before.append(pair)
            if not pair[1].is_discard:
                break
        begin = before[-1][0] if before else 0.0
        self.lead = -begin if begin < -_LEAD_IN else 0.0
        self._packets = chain((pair for pair in before if pair[0] >= begin - _LEAD_IN), packets)
        self._next = next(self._packets, None)

    def copy_until(self, seconds: float) -> None:
        """What begins before so many seconds after the first picture and has not been copied yet."""
        at = seconds
        try:
            while self._next and self._next[0] < seconds:
                at, packet = self._next
                packet.duration = round((packet.duration or 0) * packet.time_base / self._tick)
                packet.pts = packet.dts = round((at + self.lead) / self._tick)
                packet.time_base, packet.stream = self._tick, self._copy
                self._output.mux(packet)
                self._next = next(self._packets, None)
        except (av.FFmpegError, ValueError) as error:
            log.warning("%s: its sound is copied up to second %.0f alone (%s)", self.path, at, reason(error))
            self._next = None


@contextmanager
def copied_sound(path: Path | None, output: OutputContainer) -> Iterator[Sound | None]:
    """The best audio stream of a file, added to ``output``; None if there is none that it takes, as the log says."""
    if path is None:
        yield None
        return
    try:
        file = av.open(f"file:{path}", metadata_errors="ignore")
    except (av.FFmpegError, ValueError):  # an animation
        yield None
        return
    with file:
        yield _sound(path, file, output)


def _sound(path: Path, file: InputContainer, output: OutputContainer) -> Sound | None:
    stream = file.streams.best("audio", related=file.streams.best("video"))
    if not isinstance(stream, AudioStream):
        return None
    try:
        if stream.codec_context is None:
            raise ValueError("FFmpeg does not know its codec")
        _try(stream, output.format.name)
        return Sound(path, file, output, stream)
    except (av.FFmpegError, ValueError) as error:
        log.warning("%s: its sound is not copied (%s)", path, reason(error))
        return None


def _try(stream: AudioStream, container: str) -> None:
    """An error if the container has no place for it; with another file, since one that has failed is of no more use."""
    with av.open(io.BytesIO(), "w", format=container) as trial:
        trial.add_stream_from_template(stream)
        trial.start_encoding()


def _timed(file: InputContainer, stream: AudioStream, begin: float) -> Iterator[tuple[float, av.Packet]]:
    """Packets and when each begins, in seconds after ``begin``: one after the other, however their times run.

    Of what the file does not let be heard, only that before the first sound comes along.
    """
    base, last, shift = float(stream.time_base or 0), -1e9, 0.0
    end: float | None = None
    for packet in file.demux(stream):
        if not packet.size or (packet.is_discard and end is not None):
            continue
        time = packet.dts if packet.pts is None else packet.pts
        at = (end or 0.0) if time is None else time * base - begin + shift
        if end is not None and at < end - _SLIP:  # recordings joined end to end
            at, shift = end, shift + end - at
        at = max(at, last + 1e-4)
        if not packet.is_discard:
            last, end = at, at + (packet.duration or 0) * base
        yield at, packet


def _first_picture(path: Path) -> float:
    """When the first frame is shown, in seconds of the file's own clock."""
    with PyavVideo(path) as video:
        index, base = video.index, float(video.stream.time_base or 0)
        if index.timed:
            return next(time for time in index.numbers if time is not None) * base
        times: list[int] = []
        for mark in index.marks[:_REORDERED]:
            time = mark.dts if mark.pts is None else mark.pts
            if time is not None and not (mark.hidden or mark.torn) and time >= (index.first or time):
                times.append(time)
        return min(times, default=0) * base
