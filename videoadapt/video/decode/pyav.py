"""PyAV with an index of its own: one pass over the packets finds every frame without decoding any."""

from collections.abc import Iterator
from pathlib import Path

import av
import numpy as np
from av.video.frame import PictureType
from av.video.reformatter import VideoReformatter
from av.video.stream import VideoStream

from videoadapt.video.decode.bitstream import Start
from videoadapt.video.decode.common import (
    DamagedError,
    Deadline,
    Indices,
    RecountedError,
    VideoReadError,
    checked,
    reason,
)
from videoadapt.video.decode.harm import Harm
from videoadapt.video.decode.index import INDEXED, Begin, Index, Pass, Shown, index_packets, index_pass
from videoadapt.video.decode.orientation import UPRIGHT, Symmetry, matrix_of, symmetry, turned
from videoadapt.video.decode.packets import PacketSource
from videoadapt.video.decode.streams import Margins

_SKIPPABLE = {"h264", "hevc", "mpeg4", "mpeg2video"}  # decoders that leave out one frame and no other
# Codecs without bits that we read, whose frames tell the decoder that they refer to no other.
_TELLING = {"h263", "h263p", "flv1", "msmpeg4v1", "msmpeg4v2", "msmpeg4v3", "wmv1", "wmv2", "wmv3", "vc1", "theora"}
_Decoded = Iterator[tuple[int, av.VideoFrame | None]]  # frames with their numbers; None for a damaged one
_passes: dict[tuple, Pass] = {}  # by file: the next epoch needs them again
_KEPT_PASSES = 500
_CLOCK = 2000  # frames a second: more is the tick of a clock


class PyavVideo:
    """A video whose frame i is the i-th displayed one, found by its display time and not by counting.

    Discarded pre-roll of edit lists, what precedes the first key frame, torn packets and packets without a picture do
    not count; the container's cropping and the display matrix are applied.

    Decoding begins at packets that are starts by their own bits. A file whose packets are not one frame each is decoded
    once as a whole, and its frames are those that came out.
    """

    backend = "pyav"

    def __init__(self, path: Path, deadline: Deadline | None = None) -> None:
        self.path, deadline = path, deadline or Deadline(path, None)
        self.source = PacketSource(path, deadline)
        # One for all frames, without threads: a forked worker would wait for them, and each would cost its start.
        self._to_rgb = VideoReformatter()
        self._position = -1  # nothing decoded yet
        self._decoded: _Decoded | None = None
        self._size: tuple[int, ...] | None = None
        self._wanted: set[int] = set()
        self._last = -1
        self._to_feed: set[int | None] | None = None
        self._way: Symmetry = UPRIGHT
        state = path.stat()
        self._file = (str(path.absolute()), state.st_size, state.st_mtime_ns)
        try:
            marks = self.source.marks()
            self.index = index_packets(marks, self.source.format, bool(self.stream.codec_context.has_b_frames))
            if not self.index.plain or self._file in _passes:
                self.index = self._by_pass()
            if any(mark.look.turned for mark in marks) and (frame := self._first_frame()):
                self._way = symmetry(frame) or UPRIGHT
        except VideoReadError:
            self.source.close()
            raise
        except (av.FFmpegError, ValueError) as error:
            self.source.close()
            raise DamagedError(f"{path}: no readable video stream ({reason(error)})") from None

    @property
    def stream(self) -> VideoStream:
        """PyAV's stream, for what else is to be known of it."""
        return self.source.stream

    @property
    def num_frames(self) -> int:
        return self.index.num_frames

    @property
    def fps(self) -> float:
        """Frames a second, on average; 0 if nothing tells."""
        rates = (float(rate) for rate in (self.stream.average_rate, self.stream.guessed_rate) if rate)
        stated = next((rate for rate in rates if rate < _CLOCK), 0.0)
        if (times := self.times) is None or not times[-1:].any():
            return stated
        measured = (len(times) - 1) / times[-1]  # a rate may count fields, or be the container's clock
        return stated if 2 / 3 < stated / measured < 3 / 2 else float(measured)

    @property
    def times(self) -> np.ndarray | None:
        """When each frame is shown, in seconds after the first; None if the file does not tell."""
        if not self.index.timed:
            return None
        marks = np.fromiter(self.index.numbers, dtype=np.float64)
        return (marks - marks[0]) * float(self.stream.time_base)  # type: ignore[arg-type]  # a stream with times has one

    @property
    def margins(self) -> Margins | None:
        """What the container cuts off: left, right, top, bottom, in pixels."""
        return self.source.margins

    def is_plain(self) -> bool:
        """Whether other decoders read it right: an indexed format, every packet a whole shown frame with a time of its
        own, flags and bits that agree on where decoding may begin, nothing to turn or cut.
        """
        index, source = self.index, self.source
        whole = index.plain and index.timed and not index.torn and not index.hidden
        if not whole or source.format not in INDEXED or len(source.container.streams.video) > 1 or source.margins:
            return False
        if any(mark.look.turned for mark in index.marks) or not index.marks[0].key or not self.flags_hold():
            return False
        matrix = matrix_of(frame) if (frame := self._first_frame()) else None
        return matrix is None or matrix.tolist() == [65_536, 0, 0, 65_536]

    def flags_hold(self) -> bool:
        """Whether decoding may begin at every packet that the file marks as key: other decoders go by that."""
        enough = Start.CLOSED if self.stream.codec_context.has_b_frames else Start.OPEN
        starts = {time for mark in self.index.marks if mark.look.start >= enough for time in (mark.pts, mark.dts)}
        listed = {entry.timestamp for entry in self.stream.index_entries if entry.is_keyframe}
        return listed <= starts and all(mark.pts in starts for mark in self.index.marks if mark.key)

    def frames(self, indices: Indices) -> np.ndarray:
        """The frames at ``indices``, uint8 rgb (t h w c); those between are decoded only where they must be.

        A call with later indices goes on where the one before stopped.
        """
        wanted = checked(indices, self, self.path)
        try:
            images = {number: self.shown(frame) for number, frame in self._forward(sorted(set(wanted)))}
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

    def shown(self, frame: av.VideoFrame) -> np.ndarray:
        """A frame as a player shows it: cut, then turned; rgb (h w c)."""
        image = self._to_rgb.reformat(frame, format="rgb24", threads=1).to_ndarray()
        if self.source.margins:
            left, right, top, bottom = self.source.margins
            image = image[top : image.shape[0] - bottom, left : image.shape[1] - right]
            if not image.size:
                raise ValueError("its container cuts everything off")
        return turned(image, symmetry(frame) or self._way)

    def _first_frame(self) -> av.VideoFrame | None:
        """As it comes out: a bitstream may tell an orientation there alone."""
        return next((frame for frame, _ in self._decode_from(Begin(0, 0))), None)

    # --- which frame comes from where

    def _forward(self, wanted: list[int]) -> Iterator[tuple[int, av.VideoFrame]]:
        """The wanted frames with their numbers; jumps to a key frame only where that skips frames."""
        self._wanted, self._last = set(wanted), wanted[-1]
        for run in self._runs(wanted):
            for target in run:
                begin = self.index.begin_for(target)
                if self._decoded is None or self._position >= target or begin.number > self._position + 1:
                    self._to_feed = None if run[-1] == self._last else set(run)
                    self._decoded = self._numbered(begin)
                frame = self._reach(target, self._decoded)
                if frame is None:  # a container may lead past the key frame: from the very start, leaving nothing out
                    frame = self._reach_from_start(target)
                yield target, frame

    def _reach_from_start(self, target: int) -> av.VideoFrame:
        self._last, self._to_feed = -1, None
        self._decoded = self._numbered(Begin(0, 0), afresh=True)
        if frame := self._reach(target, self._decoded):
            self.index.distrust()
            return frame
        self._decoded = None
        if self.index.plain and not self.index.agrees_with(shown := self._by_pass()):
            raise RecountedError(f"{self.path}: its {self.num_frames} packets show {shown.num_frames} frames")
        raise VideoReadError(f"{self.path}: frame {target} of {self.num_frames} is damaged")

    def _runs(self, wanted: list[int]) -> Iterator[list[int]]:
        """The wanted frames, parted where a jump to a key frame skips some."""
        begin = 0
        for place in range(1, len(wanted)):
            if self.index.begin_for(wanted[place]).number > wanted[place - 1] + 1:
                yield wanted[begin:place]
                begin = place
        yield wanted[begin:]

    def _reach(self, target: int, decoded: _Decoded) -> av.VideoFrame | None:
        """Decode up to ``target``; None if it does not come out whole."""
        self._position, frame = next((pair for pair in decoded if pair[0] >= target), (self.num_frames, None))
        return frame if self._position == target else None

    def _numbered(self, begin: Begin, *, afresh: bool = False) -> _Decoded:
        """Frames with their numbers from there on."""
        index, count = self.index, -self.index.leading
        for frame, intact in self._decode_from(begin, afresh=afresh):
            number = index.numbers.get(frame.pts, -1) if index.timed else count
            count += 1
            if number >= 0:
                yield number, frame if intact else None

    # --- decoding

    def _by_pass(self) -> Index:
        result = self._pass()
        if not any(frame.intact for frame in result.shown):
            raise DamagedError(f"{self.path}: none of its frames can be decoded")
        return index_pass(self.index, result, self.source.format)

    def _pass(self) -> Pass:
        """The whole file decoded once, and remembered."""
        result = _passes.pop(self._file, None) or self._decode_whole()
        _passes[self._file] = result  # the last one again
        if len(_passes) > _KEPT_PASSES:
            _passes.pop(next(iter(_passes)), None)
        return result

    def _decode_whole(self) -> Pass:
        shown, intra = [], set()
        lost: list[int | None] = []
        for frame, intact in self._decode_from(Begin(0, 0), lost, afresh=True):
            shown.append(Shown(frame.pts, intact))
            if self.source.codec in _TELLING and frame.key_frame and frame.pict_type == PictureType.I:
                intra.add(frame.pts)
        return Pass(shown, lost, frozenset(intra))

    def _decode_from(
        self, begin: Begin, lost: list[int | None] | None = None, *, afresh: bool = False
    ) -> Iterator[tuple[av.VideoFrame, bool]]:
        """Frames, and whether each is intact: its data, and all that it refers to, are there and whole.

        ``lost`` takes the times of packets that are pictures within damage, whether something comes of them or not.
        """
        places, harm = self.index.places, Harm(self.index, begin)
        for place, packet in self._feed(begin, afresh):
            try:
                if packet and self.index.marks[place].torn:
                    harm.at(place)
                frames = self._decode(packet)
            except av.InvalidDataError:
                if packet and self.index.marks[place].look.pictures == 0:  # nothing was to come out of it
                    continue
                harm.at(place)
                frames = []
            if lost is not None and packet and harm.is_spreading and self.index.marks[place].look.pictures != 0:
                lost.append(packet.pts)
            for frame in frames:
                yield frame, harm.spares(frame, places.get(frame.pts, place))

    def _feed(self, begin: Begin, afresh: bool) -> Iterator[tuple[int, av.Packet | None]]:
        """What goes into the decoder: with all wanted packets of a run inside, it is flushed instead of fed more."""
        to_feed = self._to_feed if self.index.plain else None
        place = begin.place
        for place, packet in self.source.packets_from(begin.place, self.index, afresh=afresh) or ():
            if place >= len(self.index.marks):  # after a seek, a damaged file may fall into other packets
                break
            yield place, packet
            if to_feed is not None:
                to_feed.discard(self.index.numbers.get(packet.pts))
                if not to_feed:
                    break
        yield min(place, len(self.index.marks) - 1), None

    def _decode(self, packet: av.Packet | None) -> list[av.VideoFrame]:
        """What comes out when the packet goes in.

        Of frames that are not wanted, those to which no other refers are left out: half of what x264 makes. Frames
        past the last wanted one may be wanted by the next call.
        """
        if packet and self.index.plain and self.source.codec in _SKIPPABLE:
            number = self.index.numbers.get(packet.pts, self.num_frames)
            passed_over = number < self._last and number not in self._wanted
            self.stream.codec_context.skip_frame = "NONREF" if passed_over else "DEFAULT"
        return self.stream.decode(packet)

    def __enter__(self) -> "PyavVideo":
        return self

    def __exit__(self, *_: object) -> None:
        self._decoded = None
        self.source.close()
