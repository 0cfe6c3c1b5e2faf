"""Which frames a video has, and from which packet each may be decoded: by its packets, or by a pass over it all."""

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
        told: whether the packets' own bits tell of starts and pictures.
        leading: frames that come out before the first whole one, where frames are counted.
        numbers: of the frames, by time, ascending.
        places: of the packets, by time.
        begins: ascending; the file's own start is always the first.
    """

    marks: Sequence[Mark]
    timed: bool
    ordered: bool
    plain: bool
    told: bool
    num_frames: int = 0
    leading: int = 0
    first: int | None = None
    numbers: Numbers = field(default_factory=dict)
    places: Numbers = field(default_factory=dict)
    begins: list[Begin] = field(default_factory=lambda: [Begin(0, 0)])

    def begin_for(self, number: int) -> Begin:
        """Where to decode a frame from."""
        return self.begins[bisect_right(self.begins, (number, len(self.marks))) - 1]

    def agrees_with(self, other: "Index") -> bool:
        """Whether both number the same frames in the same way."""
        return self.num_frames == other.num_frames and (not self.timed or self.numbers == other.numbers)

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
    decoded = [mark.dts for mark in marks if mark.dts is not None]
    ordered = all(earlier <= later for earlier, later in pairwise(decoded))
    told = any(mark.look.pictures is not None for mark in marks)
    first = _first(marks, container, told) if ordered else None
    whole = [mark for mark in marks if not mark.torn and mark.look.pictures != 0 and not _precedes(mark, first)]
    shown = [mark for mark in whole if not mark.hidden]
    if not shown:
        raise ValueError("it holds no frames")
    given = [mark.pts for mark in shown if mark.pts is not None]
    times = sorted(set(given))
    # AVI, ASF and what is copied from them have no display times: with B-frames, FFmpeg's guesses are wrong.
    real = container not in RAW and not (delayed and (container == "avi" or given == times))
    timed = real and ordered and len(times) == len(shown)
    head = next((mark.look.start for mark in marks if mark.look.start), Start.NONE)
    whole_head = head >= Start.INTRA and (timed or marks[0].look.start >= Start.INTRA)
    plain = ordered and whole_head and all(mark.look.pictures is not None for mark in marks)
    index = Index(marks, timed, ordered, plain, told, len(shown), first=first)
    placed = [(mark.pts, place) for place, mark in enumerate(marks) if mark.pts is not None and mark.look.pictures != 0]
    if real and ordered and len(dict(placed)) == len(placed):
        index.places = dict(placed)
    if timed:
        _number(index, times, {mark.pts for mark in marks if mark.look.start >= Start.OPEN})
    return index


def index_pass(packets: Index, result: Pass, container: str) -> Index:
    """What came out of the decoder, and the damaged packets in their places; something whole must have."""
    leading = next(n for n, frame in enumerate(result.shown) if frame.intact)
    damaged_head = container in INDEXED and packets.first is None  # what it lists are frames
    leading = 0 if damaged_head else leading
    torn = {mark.pts for mark in packets.marks if mark.torn} if packets.places else set()
    times = [frame.pts for frame in result.shown[leading:] if frame.intact or frame.pts not in torn]
    known = [time for time in times if time is not None]
    rising = len(known) == len(times) and all(a < b for a, b in pairwise(known))
    counted = max(len(times), sum(frame.intact for frame in result.shown) + len(result.lost))
    timed = bool(packets.places) and rising
    index = Index(packets.marks, timed, packets.ordered, False, packets.told, counted, leading)
    if timed:
        hidden = {mark.pts for mark in packets.marks if mark.hidden} | torn
        index.first = None if damaged_head else known[0]
        lost = {time for time in result.lost if time is not None and (damaged_head or time > known[0])} - hidden
        own = {mark.pts for mark in packets.marks if mark.look.start >= Start.OPEN}
        index.places = packets.places
        _number(index, sorted({*known, *lost}), own | result.intra)
    return index


def _number(index: Index, times: Sequence[int], starts: set[int | None]) -> None:
    index.numbers = {time: number for number, time in enumerate(times)}
    index.num_frames, index.leading = len(times), 0
    begins = (Begin(n, index.places[time]) for n, time in enumerate(times) if n and time in starts)
    index.begins += [begin for begin in begins if begin.place]


def _first(marks: Sequence[Mark], container: str, told: bool) -> int | None:
    """When what can be decoded begins; a file with an index whose head is unlike pictures is damaged there."""
    for mark in marks:
        if mark.look.start and mark.pts is not None:
            return mark.pts
        if container in INDEXED and told and mark.look.pictures is None:
            return None
    return None


def _precedes(mark: Mark, first: int | None) -> bool:
    """Whether a frame is shown before the first one that can be decoded."""
    return first is not None and mark.pts is not None and mark.pts < first
