"""PyAV with an index of its own: one pass over the packets finds every frame without decoding any."""

from collections.abc import Iterator, Sequence
from contextlib import closing
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.stream import Disposition

from videoadapt.data.decode.common import Deadline, VideoReadError, checked, reason

_INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"}  # FFmpeg's names; in others a seek lands anywhere
_SKIPPABLE = {"h264", "hevc", "mpeg4", "mpeg2video"}  # decoders that leave out one frame and no other
_IDR_UNITS = {"h264": "5", "hevc": "19-20"}  # NAL unit types


class _Mark(NamedTuple):
    """What the index needs of a packet."""

    pts: int | None
    dts: int | None
    key: bool
    hidden: bool
    torn: bool


class PyavVideo:
    """A video whose frame i is the i-th displayed one, found by its display time and not by counting.

    Discarded pre-roll of edit lists and torn packets do not count; rotation metadata is applied.

    Attributes:
        timed: whether every frame has a display time; if not, frames are counted from the start of the file.
        stream: PyAV's stream, for what else is to be known of it.
        torn: packets that the file holds only in part.
        hidden: packets that are decoded but not shown, such as an edit list's pre-roll.
    """

    backend = "pyav"

    def __init__(self, path: Path, deadline: Deadline | None = None) -> None:
        self.path, self._deadline = path, deadline or Deadline(path, None)
        try:
            self._container = av.open(f"file:{path}", metadata_errors="ignore")
        except (av.FFmpegError, ValueError) as error:
            raise VideoReadError(f"{path}: not a readable video ({reason(error)})") from None
        try:
            self.stream = _moving(self._container)
            if self.stream.codec_context is None:
                raise ValueError("FFmpeg does not know its codec")
            self.stream.thread_count = 1  # parallelism comes from the loader's workers
            self._build_index()
            self._position, self._decoded = -1, None  # nothing decoded yet
        except VideoReadError:
            self._container.close()
            raise
        except (av.FFmpegError, ValueError, IndexError) as error:
            self._container.close()
            raise VideoReadError(f"{path}: no readable video stream ({reason(error)})") from None
        self.fps = float(self.stream.average_rate or self.stream.guessed_rate or 0)

    def _build_index(self) -> None:
        marks = [_Mark(p.pts, p.dts, p.is_keyframe, p.is_discard, p.is_corrupt) for p in self._packets()]
        shown = [mark for mark in marks if not mark.hidden and not mark.torn]
        if not shown:
            raise ValueError("it holds no frames")
        self.num_frames, self.torn = len(shown), sum(mark.torn for mark in marks)
        self.hidden = sum(mark.hidden for mark in marks)
        self._start = min((mark.dts for mark in marks if mark.dts is not None), default=0)
        times = sorted({mark.pts for mark in shown if mark.pts is not None})
        # AVI has no display times: with B-frames, FFmpeg's guesses are wrong.
        guessed = self._container.format.name == "avi" and self.stream.codec_context.has_b_frames
        self.timed = len(times) == len(shown) and not guessed
        self._number = {time: number for number, time in enumerate(times)} if self.timed else {}
        self._keys = [(self._number[mark.pts], mark.pts) for mark in shown if mark.key] if self.timed else []

    def is_plain(self) -> bool:
        """Whether other decoders read it right: an indexed format, all frames timed, none torn, closed GOPs."""
        return self.timed and not self.torn and self._container.format.name in _INDEXED and self._starts_anew()

    def _starts_anew(self) -> bool:
        """Whether nothing after a key frame refers to what is before it; then a decoder may begin at any of them."""
        idr = _IDR_UNITS.get(self.stream.codec_context.name)
        if idr is None or len(self._keys) < 2:
            return True
        try:
            keep_idr = BitStreamFilterContext(f"filter_units=pass_types={idr}", self.stream)
            self._container.seek(self._start, stream=self.stream)
            return all(keep_idr.filter(packet) for packet in self._packets() if packet.is_keyframe)
        except av.FFmpegError:  # damaged
            return False

    def oddities(self) -> list[str]:
        """What is unusual about the file, though it is read right here."""
        context, gaps = self.stream.codec_context, np.diff(sorted(self._number))
        facts = {
            f"{self.torn} torn packets": self.torn,
            "frames without display times": not self.timed,
            "hidden frames before or between the shown ones": self.hidden,
            "variable frame rate": len(gaps) and gaps.max() > 1.5 * max(np.median(gaps), 1),
            f"odd size {context.width}x{context.height}": context.width % 2 or context.height % 2,
            f"pixel format {context.pix_fmt}": context.pix_fmt not in {"yuv420p", "yuvj420p"},
        }
        return [fact for fact, holds in facts.items() if holds]

    def _packets(self) -> Iterator[av.Packet]:
        """The packets of the stream; the empty one that flushes a decoder is left out."""
        for packet in self._container.demux(self.stream):
            self._deadline.left()
            if packet.size:
                yield packet

    def frames(self, indices: Sequence[int]) -> np.ndarray:
        """The frames at ``indices``, uint8 rgb (t h w c); those between are decoded only where they must be.

        A call with later indices goes on where the one before stopped.
        """
        wanted = checked(indices, self, self.path)
        try:
            images = {number: _to_rgb(frame) for number, frame in self._forward(sorted(set(wanted)))}
        except VideoReadError:
            raise
        except (av.FFmpegError, ValueError) as error:
            raise VideoReadError(f"{self.path}: decoding failed ({reason(error)})") from None
        if len(sizes := {image.shape[:2] for image in images.values()}) > 1:
            raise VideoReadError(f"{self.path}: its frames change their size, {sorted(sizes)} (height, width)")
        return np.stack([images[number] for number in wanted])

    def _forward(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """The wanted frames with their numbers; jumps to a key frame only where that skips frames."""
        self._wanted, self._last = set(wanted), wanted[-1]
        for target in wanted:
            key, time = max((key for key in self._keys if key[0] <= target), default=(0, self._start))
            if self._decoded is None or self._position >= target or key > self._position + 1:
                self._decoded = self._decode_from(time if key else self._start)
            frame = self._reach(target)
            if frame is None:  # a container may lead past the key frame: from the very start
                self._decoded = self._decode_from(self._start)
                frame = self._reach(target)
            if frame is None:
                raise VideoReadError(f"{self.path}: frame {target} of {self.num_frames} is damaged")
            yield target, frame

    def _reach(self, target: int) -> av.VideoFrame | None:
        """Decode up to ``target``; None if it does not come out whole."""
        self._position, frame = next((pair for pair in self._decoded if pair[0] >= target), (self.num_frames, None))
        return frame if self._position == target else None

    def _decode_from(self, time: int) -> Iterator[tuple[int, av.VideoFrame | None]]:
        """Frames with their numbers; None for one that FFmpeg had to invent, or that refers to such a one."""
        self._container.seek(time, stream=self.stream)
        count, sound = 0, True
        with closing(self._packets()) as packets:
            for packet in chain(packets, [None]):
                if packet and self.stream.codec_context.name in _SKIPPABLE:
                    self.stream.codec_context.skip_frame = "NONREF" if self._passed_over(packet) else "DEFAULT"
                try:
                    sound = sound and not (packet and packet.is_corrupt)
                    frames = self.stream.decode(packet)
                except av.InvalidDataError:
                    sound = False
                    continue
                for frame in frames:
                    sound = (sound or frame.key_frame) and not frame.is_corrupt
                    number = self._number.get(frame.pts) if self.timed else count
                    count += 1
                    if number is not None:
                        yield number, frame if sound else None

    def _passed_over(self, packet: av.Packet) -> bool:
        """Whether its frame is not wanted; those past the last wanted one may be, by the next call.

        Such a frame is decoded only if others refer to it, which half of x264's frames are not.
        """
        number = self._number.get(packet.pts)
        return number is not None and number < self._last and number not in self._wanted

    def __enter__(self) -> "PyavVideo":
        return self

    def __exit__(self, *_) -> None:
        self._decoded = None  # before its container: PyAV crashes when a demuxer outlives that
        self._container.close()


def _moving(container: av.container.InputContainer) -> av.VideoStream:
    """The first video stream that is not a cover picture."""
    streams = container.streams.video
    return next((s for s in streams if not s.disposition & Disposition.attached_pic), streams[0])


def _to_rgb(frame: av.VideoFrame) -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    return np.rot90(image, frame.rotation // 90) if frame.rotation else image
