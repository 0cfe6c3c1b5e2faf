"""Which frames a video has, and from which packet each may be decoded: by its packets, or by a pass over it all."""

import math
from bisect import bisect_right
from collections.abc import Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import NamedTuple

from videoadapt.video.decode.bitstream import Look, Start

# FFmpeg's names of formats. In raw streams times are made up.
INDEXED = {"mov,mp4,m4a,3gp,3g2,mj2", "matroska,webm", "avi"}
RAW = {"h264", "hevc", "vvc", "obu", "mjpeg", "m4v", "mpegvideo", "h261", "h263", "vc1", "dirac", "cavsvideo", "dv"}
Numbers = dict[int | None, int]  # packets and frames without a time, None, are looked up too


class Mark(NamedTuple):
    """A packet."""

    pts: int | None
    dts: int | None
    size: int
    key: bool  # as the container says
    hidden: bool  # decoded but not shown
    torn: bool  # the file holds it only in part
    look: Look


class Begin(NamedTuple):
    """Where decoding may begin: the first frame that comes out right, and the packet's place in the file."""

    number: int
    place: int


class Shown(NamedTuple):
    """A frame that came out of the decoder."""

    pts: int | None
    intact: bool


@dataclass(frozen=True)
class Pass:
    """What a decoder made of the whole file."""

    shown: Sequence[Shown]
    lost: Sequence[int | None] = ()  # times of packets within damage, whose frames may not have come out
    intra: frozenset[int | None] = frozenset()  # times of frames that refer to no other


@dataclass
class Index:
    """The frames of a video in the order of display.

    A time is the key of a frame where every frame has one of its own and decoding times never go back; elsewhere
    frames are counted from the start of the file.

    Attributes:
        timed: whether times are keys.
        ordered: whether decoding times never go back, as they do where recordings are joined end to end.
        plain: whether every packet is one frame or none, by its own bits.
        first: when what can be decoded begins, if frames before that are left out.
        leading: frames that come out before the first whole one, where frames are counted.
        numbers: of the frames, by time, ascending.
        places: of the packets, by time.
        begins: ascending; the file's own start is always the first.
    """

    marks: Sequence[Mark]
    timed: bool
    ordered: bool
    plain: bool
    num_frames: int = 0
    leading: int = 0
    first: int | None = None
    numbers: Numbers = field(default_factory=dict)
    places: Numbers = field(default_factory=dict)
    begins: list[Begin] = field(default_factory=lambda: [Begin(0, 0)])

    def begin_for(self, number: int) -> Begin:
        """Where to decode a frame from."""
        return self.begins[bisect_right(self.begins, (number, len(self.marks))) - 1]

    def distrust(self) -> None:
        """Begin nowhere but at the start."""
        del self.begins[1:]

    @property
    def torn(self) -> int:
        return sum(mark.torn for mark in self.marks)

    @property
    def hidden(self) -> int:
        return sum(mark.hidden and not mark.torn for mark in self.marks)


def index_packets(marks: Sequence[Mark], container: str, delayed: bool) -> Index:
    """Every packet a frame; ``delayed``: the decoder puts frames into another order. ValueError if there is none."""
    times = [mark.dts for mark in marks if mark.dts is not None]
    ordered = all(earlier <= later for earlier, later in pairwise(times))
    first = _first(marks, container) if ordered else None
    whole = [mark for mark in marks if not mark.torn and mark.look.pictures != 0 and not _precedes(mark, first)]
    shown = [mark for mark in whole if not mark.hidden]
    # AVI and what is copied from it have no display times: with B-frames, FFmpeg's guesses are wrong.
    guessed = delayed and (container == "avi" or all(mark.pts == mark.dts for mark in shown))
    times = sorted({mark.pts for mark in shown if mark.pts is not None})
    timed = len(times) == len(shown) and not guessed and container not in RAW and ordered
    plain = (
        ordered and all(mark.look.pictures is not None for mark in marks) and (timed or not marks or _starts(marks[0]))
    )
    index = Index(marks, timed, ordered, plain, len(shown), first=first)
    if not shown:
        raise ValueError("it holds no frames")
    if ordered and not guessed and container not in RAW:
        index.places = {mark.pts: place for place, mark in enumerate(marks)}
    if timed:
        _number(index, times, {mark.pts for mark in marks if mark.look.start >= Start.OPEN})
    return index


def index_pass(packets: Index, result: Pass, container: str) -> Index:
    """What came out of the decoder, and the damaged packets in their places. ValueError if nothing whole did."""
    leading = next((n for n, frame in enumerate(result.shown) if frame.intact), None)
    if leading is None:
        raise ValueError("none of its frames can be decoded")
    if container in INDEXED and packets.first is None:  # damaged at its head: what it lists are frames
        leading = 0
    torn = {mark.pts for mark in packets.marks if mark.torn} if packets.places else set()
    times = [frame.pts for frame in result.shown[leading:] if frame.intact or frame.pts not in torn]
    known = [time for time in times if time is not None]
    rising = len(known) == len(times) and all(a < b for a, b in pairwise(known))
    counted = max(len(times), sum(frame.intact for frame in result.shown) + len(result.lost))
    index = Index(packets.marks, bool(packets.places) and rising, packets.ordered, False, counted, leading)
    if index.timed:
        hidden = {mark.pts for mark in packets.marks if mark.hidden} | torn
        begin = -math.inf if container in INDEXED and packets.first is None else known[0]
        lost = {time for time in result.lost if time is not None and time > begin} - hidden
        own = {mark.pts for mark in packets.marks if mark.look.start >= Start.OPEN}
        index.places = packets.places
        _number(index, sorted({*known, *lost}), own | result.intra)
    return index


def _number(index: Index, times: Sequence[int], starts: set[int | None]) -> None:
    index.numbers = {time: number for number, time in enumerate(times)}
    index.num_frames, index.leading = len(times), 0
    begins = (Begin(n, index.places[time]) for n, time in enumerate(times) if n and time in starts)
    index.begins += [begin for begin in begins if begin.place]


def _starts(mark: Mark) -> bool:
    return mark.look.start >= Start.INTRA


def _first(marks: Sequence[Mark], container: str) -> int | None:
    """When what can be decoded begins; a file with an index that does not begin with a key frame is damaged."""
    if container in INDEXED and not (marks and _starts(marks[0])):
        return None
    return next((mark.pts for mark in marks if _starts(mark) and mark.pts is not None), None)


def _precedes(mark: Mark, first: int | None) -> bool:
    """Whether a frame is shown before the first one that can be decoded."""
    return first is not None and mark.pts is not None and mark.pts < first
