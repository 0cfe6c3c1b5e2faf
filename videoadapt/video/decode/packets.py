"""The packets of a file's video: all of them, or from a place on."""

from collections.abc import Callable, Generator, Iterator
from itertools import chain, pairwise
from pathlib import Path

import av

from videoadapt.video.decode.bitstream import LOOKERS, UNKNOWN, Look, Looker, Mpeg4, Start
from videoadapt.video.decode.common import DamagedError, Deadline, VideoReadError, reason, tell
from videoadapt.video.decode.index import INDEXED, RAW, Index, Mark
from videoadapt.video.decode.nal import H264, Hevc
from videoadapt.video.decode.streams import Margins, choose_stream, cropping, rivals

_WITH_HEADERS: dict[str, Callable[[bytes], Looker]] = {"h264": H264, "hevc": Hevc, "mpeg4": Mpeg4}
_TO_THE_END = {"probesize": str(2**31 - 1), "analyzeduration": str(2**31 - 1)}  # bytes, microseconds
_GAP = 10  # usual steps of decoding times: more is a joint
_CLOSED = Look(Start.CLOSED, 1)
_KEY = Look(Start.INTRA, None)  # as the container says: nothing to jump to


class _LateStreamError(DamagedError):
    """PyAV fails at packets of a stream that begins in the middle, unless FFmpeg has looked for it before."""


class PacketSource:
    """An open file.

    Attributes:
        stream: PyAV's stream; another object after ``packets_from``, which may open the file again.
        codec: FFmpeg's name of the codec.
        format: FFmpeg's name of the container.
        margins: what the container cuts off.
    """

    def __init__(self, path: Path, deadline: Deadline) -> None:
        self.path, self._deadline = path, deadline
        self._chosen: int | None = None
        self._demuxer: Generator[av.Packet, None, None] | None = None
        self._apart = False  # whether packets hold parts of pictures
        self._options: dict[str, str] = {}
        self._open()
        self.codec = self.stream.codec_context.codec.canonical_name
        self.format = self.container.format.name
        self.margins: Margins | None = cropping(path, self.container, self.stream)

    def _open(self) -> None:
        try:
            self.container = av.open(f"file:{self.path}", metadata_errors="ignore", options=self._options)
        except (av.FFmpegError, ValueError) as error:
            raise VideoReadError(f"{self.path}: not a readable video ({reason(error)})") from None
        if self._chosen is None:
            stream = choose_stream(self.path, self.container)
        else:
            stream = self.container.streams[self._chosen]  # type: ignore[assignment]  # it was a video before
        if stream is None:
            why = "FFmpeg does not know its codec" if self.container.streams.video else "it has none"
            self.container.close()
            raise VideoReadError(f"{self.path}: no readable video stream ({why})")
        if self._chosen is None and (others := len(rivals(self.container)) - 1) > 0:
            size = f"{stream.codec_context.width}x{stream.codec_context.height}"
            tell(f"{self.path}: it has {others + 1} video streams; read is number {stream.index}, {size}")
        self.stream, self._chosen = stream, stream.index
        self.stream.thread_count = 1  # parallelism comes from the loader's workers

    def marks(self) -> list[Mark]:
        """Every packet of a file just opened."""
        look = self._looker()
        try:
            marks = [
                Mark(p.pts, p.dts, p.size, p.is_keyframe, p.is_discard, p.is_corrupt, look(p)) for p in self._packets()
            ]
        except _LateStreamError:
            if self._options:
                raise
            self._options = _TO_THE_END
            self._reopen()
            return self.marks()
        if any(mark.look.goes_on for mark in marks) and not self._apart:
            self._apart = True
            self._reopen()
            return self.marks()
        return _without_false_alarms(marks)

    def _looker(self) -> Callable[[av.Packet], Look]:
        """What looks at the packets; where they do not tell, the container's word."""
        context = self.stream.codec_context
        if context.codec.intra_only:
            return lambda packet: _CLOSED
        if self.codec in _WITH_HEADERS:
            look: Looker | None = _WITH_HEADERS[self.codec](context.extradata or b"")
        else:
            look = LOOKERS.get(self.codec)
        return (lambda packet: _KEY if packet.is_keyframe else UNKNOWN) if look is None else lambda p: look(bytes(p))

    def packets_from(self, place: int, index: Index, *, afresh: bool = False) -> Iterator[tuple[int, av.Packet]] | None:
        """The packets from a place on, with their places; None if the container does not lead there."""
        if place == 0:
            # Where frames are counted, a seek that loses a packet would shift them.
            sure = index.ordered and (index.timed or self.format in INDEXED) and self.format not in RAW
            return enumerate(self._from_start(index.marks[0]) if sure and not afresh else self.afresh())
        mark = index.marks[place]
        for time in (mark.pts, mark.dts):  # containers differ in which of them their index holds
            packet, rest = self._sought(time)
            while packet and index.places.get(packet.pts, -1) < place:
                packet = next(rest, None)
            if packet and _is(packet, mark):
                return enumerate(chain([packet], rest), place)
        return None

    def _from_start(self, mark: Mark) -> Iterator[av.Packet]:
        """A seek to the start may fail, or lead past it: then the file is opened again."""
        times = [time for time in (mark.pts, mark.dts) if time is not None]
        first, rest = self._sought(min(times, default=0))
        if first and _is(first, mark) and first.dts == mark.dts:
            return chain([first], rest)
        return self.afresh()

    def afresh(self) -> Iterator[av.Packet]:
        """The packets of the file opened again."""
        self._reopen()
        return self._packets()

    def _reopen(self) -> None:
        self.close()
        self._open()

    def _sought(self, time: int | None) -> tuple[av.Packet | None, Iterator[av.Packet]]:
        """The first packet after a seek, and the rest."""
        if time is None:
            return None, iter(())
        self._stop()
        try:
            self.container.seek(time, stream=self.stream)
        except av.FFmpegError:  # such as SWF, chained Ogg
            return None, iter(())
        packets = self._packets()
        return next(packets, None), packets

    def _packets(self) -> Generator[av.Packet, None, None]:
        self._demuxer = self._together(self._demux()) if self._apart else self._demux()
        return self._demuxer

    def _demux(self) -> Generator[av.Packet, None, None]:
        """The packets of the stream; the empty one that flushes a decoder is left out."""
        try:
            for packet in self.container.demux(self.stream):
                self._deadline.left()
                if packet.size:
                    yield packet
        except IndexError:
            raise _LateStreamError(f"{self.path}: its streams change in the middle of the file") from None

    def _together(self, packets: Iterator[av.Packet]) -> Generator[av.Packet, None, None]:
        """Slices that came in packets of their own, joined to pictures, since FFmpeg takes each packet for one."""
        look, held = self._looker(), next(packets, None)
        for packet in packets:
            if held is not None and packet.pts == held.pts and look(packet).goes_on:
                packet, part = av.Packet(bytes(held) + bytes(packet)), packet
                packet.pts, packet.dts, packet.duration = held.pts, held.dts, held.duration
                packet.time_base, packet.is_keyframe = held.time_base, held.is_keyframe
                packet.is_corrupt, packet.stream = held.is_corrupt or part.is_corrupt, self.stream
            elif held is not None:
                yield held
            held = packet
        if held is not None:
            yield held

    def _stop(self) -> None:
        """PyAV crashes when a demuxer outlives its container."""
        if self._demuxer is not None:
            self._demuxer.close()
            self._demuxer = None

    def close(self) -> None:
        """Whatever is decoded from it ends."""
        self._stop()
        self.container.close()


def _is(packet: av.Packet, mark: Mark) -> bool:
    """After a seek, some containers give a packet another decoding time."""
    return (packet.pts, packet.size) == (mark.pts, mark.size)


def _without_false_alarms(marks: list[Mark]) -> list[Mark]:
    """Where recordings are joined, packets seem to be missing, and FFmpeg takes the last one before for torn."""
    if not any(mark.torn for mark in marks):
        return marks
    steps = sorted(b.dts - a.dts for a, b in pairwise(marks) if a.dts is not None and b.dts is not None)
    usual = steps[len(steps) // 2] if steps else 0
    ends = {
        place - back
        for place, (a, b) in enumerate(pairwise(marks))
        if a.dts is not None and b.dts is not None and not 0 <= b.dts - a.dts <= _GAP * max(usual, 1)
        for back in (0, 1)  # a parser is one packet late
    }
    return [mark._replace(torn=mark.torn and place not in ends) for place, mark in enumerate(marks)]
