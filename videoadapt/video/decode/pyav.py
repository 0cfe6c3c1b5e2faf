"""PyAV with an index of its own: one pass over the packets finds every frame without decoding any."""

from bisect import bisect_right
from collections.abc import Generator, Iterator
from contextlib import closing
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np
from av.bitstream import BitStreamFilterContext
from av.stream import Disposition

from videoadapt.video.decode.common import Deadline, Indices, VideoReadError, checked, reason

# FFmpeg's names of formats. In raw streams times are made up, and a seek leads anywhere.
_INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"}
_RAW = {"h264", "hevc", "vvc", "obu", "mjpeg", "m4v", "mpegvideo", "h261", "h263", "vc1", "dirac", "cavsvideo"}
_IDR_UNITS = {"h264": "5", "hevc": "19-20"}  # NAL unit types
_SKIPPABLE = {"h264", "hevc", "mpeg4", "mpeg2video"}  # decoders that leave out one frame and no other
_Decoded = Iterator[tuple[int, av.VideoFrame | None]]  # frames with their numbers; None for a damaged one


class _Mark(NamedTuple):
    """What the index needs of a packet."""

    pts: int | None
    dts: int | None
    key: bool
    hidden: bool
    torn: bool


class PyavVideo:
    """A video whose frame i is the i-th displayed one, found by its display time and not by counting.

    Discarded pre-roll of edit lists, what precedes the first key frame, and torn packets do not count; rotation
    metadata is applied.

    Attributes:
        timed: whether every frame has a display time; if not, frames are counted from the start of the file.
        stream: PyAV's stream, for what else is to be known of it.
        torn: packets that the file holds only in part.
        hidden: packets that are decoded but not shown, such as an edit list's pre-roll.
    """

    backend = "pyav"

    def __init__(self, path: Path, deadline: Deadline | None = None) -> None:
        self.path, self._deadline = path, deadline or Deadline(path, None)
        self._open()
        try:
            self._build_index()
        except VideoReadError:
            self._container.close()
            raise
        except (av.FFmpegError, ValueError) as error:
            self._container.close()
            raise VideoReadError(f"{path}: no readable video stream ({reason(error)})") from None
        self.fps = float(self.stream.average_rate or self.stream.guessed_rate or 0)
        self._position = -1  # nothing decoded yet
        self._decoded: _Decoded | None = None
        self._size: tuple[int, ...] | None = None

    def _open(self) -> None:
        try:
            self._container = av.open(f"file:{self.path}", metadata_errors="ignore")
        except (av.FFmpegError, ValueError) as error:
            raise VideoReadError(f"{self.path}: not a readable video ({reason(error)})") from None
        streams = moving_streams(self._container)
        if not streams or streams[0].codec_context is None:
            self._container.close()
            why = "FFmpeg does not know its codec" if streams else "it has none"
            raise VideoReadError(f"{self.path}: no readable video stream ({why})")
        self.stream = streams[0]
        self.stream.thread_count = 1  # parallelism comes from the loader's workers
        self._format, self._codec = self._container.format.name, self.stream.codec_context.name

    def _build_index(self) -> None:
        marks = [_Mark(p.pts, p.dts, p.is_keyframe, p.is_discard, p.is_corrupt) for p in self._packets()]
        first = self._first_key(marks)
        whole = [mark for mark in marks if not mark.torn and not _precedes(mark, first)]
        shown = [mark for mark in whole if not mark.hidden]
        if not shown:
            raise ValueError("it holds no frames")
        self.num_frames, self.torn = len(shown), sum(mark.torn for mark in marks)
        self.hidden = len(whole) - len(shown)
        self._start = min((mark.dts for mark in marks if mark.dts is not None), default=0)
        times = sorted({mark.pts for mark in shown if mark.pts is not None})
        # AVI and what is copied from it have no display times: with B-frames, FFmpeg's guesses are wrong.
        guessed = self.stream.codec_context.has_b_frames and (
            self._format == "avi" or all(mark.pts == mark.dts for mark in shown)
        )
        self.timed = len(times) == len(shown) and not guessed and self._format not in _RAW
        keys = {mark.pts for mark in shown if mark.key}
        # Packets and frames without a time, None, are looked up too.
        self._number: dict[int | None, int] = {time: n for n, time in enumerate(times)} if self.timed else {}
        self._order = {mark.pts: place for place, mark in enumerate(marks)} if self.timed else {}
        self._keys = [(n, time) for n, time in enumerate(times) if time in keys] if self.timed else []

    def _first_key(self, marks: list[_Mark]) -> int | None:
        """When what can be decoded begins; a file with an index that does not begin with a key frame is damaged."""
        keys = (mark.pts for mark in marks if mark.key and mark.pts is not None)
        return next(keys, None) if self._format not in _INDEXED or (marks and marks[0].key) else None

    def is_plain(self) -> bool:
        """Whether other decoders read it right: one stream, an indexed format, all timed, none torn, closed GOPs."""
        alone = len(moving_streams(self._container)) == 1
        return alone and self.timed and not self.torn and self._format in _INDEXED and self._starts_anew()

    def _starts_anew(self) -> bool:
        """Whether nothing after a key frame refers to what is before it; then a decoder may begin at any of them."""
        if len(self._keys) < 2:
            return True
        if self._codec not in _IDR_UNITS:
            return not self.stream.codec_context.has_b_frames
        try:
            keep_idr = BitStreamFilterContext(f"filter_units=pass_types={_IDR_UNITS[self._codec]}", self.stream)
            self._rewind(self._start)
            return all(keep_idr.filter(packet) for packet in self._packets() if packet.is_keyframe)
        except av.FFmpegError:  # damaged
            return False

    def oddities(self) -> list[str]:
        """What is unusual about the file, though it is read right here."""
        context, gaps = self.stream.codec_context, np.diff(list(self._number))
        facts = {
            f"{self.torn} torn packets": self.torn,
            "frames without display times": not self.timed,
            "hidden frames before or between the shown ones": self.hidden,
            "variable frame rate": len(gaps) and gaps.max() > 1.5 * max(np.median(gaps), 1),
            f"odd size {context.width}x{context.height}": context.width % 2 or context.height % 2,
            f"pixel format {context.pix_fmt}": context.pix_fmt not in {"yuv420p", "yuvj420p"},
        }
        return [fact for fact, holds in facts.items() if holds]

    @property
    def times(self) -> np.ndarray | None:
        """When each frame is shown, in seconds after the first; None if the file does not tell."""
        if not self.timed:
            return None
        marks = np.fromiter(self._number, dtype=np.float64)
        return (marks - marks[0]) * float(self.stream.time_base)  # type: ignore[arg-type]  # a stream with times has one

    def frames(self, indices: Indices) -> np.ndarray:
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
        for image in images.values():
            self._size = self._size or image.shape
            if image.shape != self._size:
                sizes = " and ".join(f"{width}x{height}" for height, width, _ in (self._size, image.shape))
                raise VideoReadError(f"{self.path}: its frames change their size, {sizes}")
        return np.stack([images[number] for number in wanted])

    def _forward(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """The wanted frames with their numbers; jumps to a key frame only where that skips frames."""
        self._wanted, self._last = set(wanted), wanted[-1]
        for run in self._runs(wanted):
            for target in run:
                if self._decoded is None or self._position >= target or self._key(target)[0] > self._position + 1:
                    self._to_feed: set[int | None] | None = None if run[-1] == self._last else set(run)
                    self._decoded = self._decode_from(self._key(target)[1])
                frame = self._reach(target, self._decoded)
                if frame is None:  # a container may lead past the key frame: from the very start, leaving nothing out
                    self._last, self._to_feed = -1, None
                    self._decoded = self._decode_from(self._start)
                    frame = self._reach(target, self._decoded)
                if frame is None:
                    raise VideoReadError(f"{self.path}: frame {target} of {self.num_frames} is damaged")
                yield target, frame

    def _runs(self, wanted: list[int]) -> Iterator[list[int]]:
        """The wanted frames, parted where a jump to a key frame skips some."""
        begin = 0
        for place in range(1, len(wanted)):
            if self._key(wanted[place])[0] > wanted[place - 1] + 1:
                yield wanted[begin:place]
                begin = place
        yield wanted[begin:]

    def _key(self, target: int) -> tuple[int, int]:
        """Number and time of the key frame to decode a frame from."""
        place = bisect_right(self._keys, (target, float("inf"))) - 1
        return self._keys[place] if place > 0 else (0, self._start)

    def _reach(self, target: int, decoded: _Decoded) -> av.VideoFrame | None:
        """Decode up to ``target``; None if it does not come out whole."""
        self._position, frame = next((pair for pair in decoded if pair[0] >= target), (self.num_frames, None))
        return frame if self._position == target else None

    def _decode_from(self, time: int) -> _Decoded:
        """Frames with their numbers; None for one whose data, or those it refers to, the decoder found damaged."""
        self._rewind(time)
        count, harm = 0, None  # the place in decoding order of the last damage
        with closing(self._packets()) as packets:
            for packet in self._feed(packets):
                place = self._order.get(packet.pts, 0) if packet else 0
                try:
                    if packet and packet.is_corrupt:
                        harm = place
                    frames = self._decode(packet)
                except av.InvalidDataError:
                    harm = place
                    continue
                for frame in frames:
                    place = self._order.get(frame.pts, 0)
                    if self.timed and harm is not None and frame.key_frame and place > harm:
                        harm = None
                    harm = place if frame.is_corrupt else harm
                    number = self._number.get(frame.pts) if self.timed else count
                    count += 1
                    if number is not None:
                        yield number, frame if harm is None or place < harm else None

    def _feed(self, packets: Iterator[av.Packet]) -> Iterator[av.Packet | None]:
        """What goes into the decoder: with all wanted packets of a run inside, it is flushed instead of fed more."""
        for packet in packets:
            yield packet
            if self._to_feed is not None:
                self._to_feed.discard(self._number.get(packet.pts))
                if not self._to_feed:
                    break
        yield None

    def _decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """What comes out when the packet goes in.

        Of frames that are not wanted, those to which no other refers are left out: half of what x264 makes. Frames
        past the last wanted one may be wanted by the next call.
        """
        if packet and self._codec in _SKIPPABLE:
            number = self._number.get(packet.pts, self.num_frames)
            passed_over = number < self._last and number not in self._wanted
            self.stream.codec_context.skip_frame = "NONREF" if passed_over else "DEFAULT"
        return self.stream.decode(packet)

    def _packets(self) -> Generator[av.Packet, None, None]:
        """The packets of the stream; the empty one that flushes a decoder is left out."""
        for packet in self._container.demux(self.stream):
            self._deadline.left()
            if packet.size:
                yield packet

    def _rewind(self, time: int) -> None:
        """To a key frame's time, or the start."""
        if self._format in _RAW:
            self._container.close()
            self._open()
        else:
            self._container.seek(time, stream=self.stream)

    def __enter__(self) -> "PyavVideo":
        return self

    def __exit__(self, *_: object) -> None:
        self._decoded = None  # before its container: PyAV crashes when a demuxer outlives that
        self._container.close()


def moving_streams(container: av.container.InputContainer) -> list[av.VideoStream]:
    """The video streams that are not cover pictures; these, if there is nothing else."""
    streams = container.streams.video
    return [s for s in streams if not s.disposition & Disposition.attached_pic] or list(streams)


def _precedes(mark: _Mark, first: int | None) -> bool:
    """Whether a frame is shown before the first key frame, and so cannot be decoded."""
    return first is not None and mark.pts is not None and mark.pts < first


def _to_rgb(frame: av.VideoFrame) -> np.ndarray:
    image = frame.to_ndarray(format="rgb24")
    return np.rot90(image, frame.rotation // 90) if frame.rotation else image
