"""What a packet says of itself, whatever its container claims: whether decoding may begin at it, how many pictures it
shows. Read from the first bits of its pictures, without decoding.

MPEG-2 (H.262) 6.2.3, MPEG-4 part 2 6.2.5, RFC 6386 9.1 (VP8), the uncompressed headers of VP9 and AV1; ``nal`` has
H.264 and HEVC.
"""

from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple


class Start(IntEnum):
    """How well decoding may begin at a packet."""

    NONE = 0
    GRADUAL = 1  # some frames later, as it says: at the head of a file, where there is nothing better
    INTRA = 2  # at the head of a file or after damage, likewise
    OPEN = 3  # what is shown before it may be wrong, what is shown after it is right
    CLOSED = 4  # nothing that follows refers to what is before


class Look(NamedTuple):
    """What is in a packet.

    Attributes:
        pictures: 0, 1, or None where only a decoder can tell.
        turned: it carries an orientation of its own.
        goes_on: with the picture of the packet before.
    """

    start: Start
    pictures: int | None
    turned: bool = False
    goes_on: bool = False


Looker = Callable[[bytes], Look]
UNKNOWN, NOTHING, INTER = Look(Start.NONE, None), Look(Start.NONE, 0), Look(Start.NONE, 1)


class Bits:
    """Reads numbers of a few bits."""

    def __init__(self, data: bytes, place: int = 0) -> None:
        self._value, self._left = int.from_bytes(data, "big"), 8 * len(data)
        self.read(place)

    def read(self, count: int) -> int:
        """``count`` bits; zeros after the end."""
        self._left -= count
        return (self._value >> self._left if self._left >= 0 else 0) & ((1 << count) - 1)

    def golomb(self) -> int:
        """ue(v)."""
        zeros = 0
        while self._left > 0 and not self.read(1):
            zeros += 1
        return (1 << zeros) - 1 + self.read(zeros)

    def signed(self) -> int:
        """se(v)."""
        value = self.golomb()
        return (value + 1) // 2 if value % 2 else -value // 2


def _mpeg12(data: bytes) -> Look:
    """MPEG-1 and MPEG-2: P and B refer to the two pictures before and after, so that any I begins anew."""
    place, pictures, fields, first = -1, 0, 0, 0
    while (place := data.find(b"\0\0\1\0", place + 1)) >= 0 and place + 5 < len(data):
        first = first or data[place + 5] >> 3 & 7
        extension = data.find(b"\0\0\1\xb5", place + 4, place + 64)
        whole = extension < 0 or extension + 6 >= len(data) or data[extension + 6] & 3 == 3
        pictures, fields = pictures + whole, fields + (not whole)
    shown = pictures + fields // 2 if fields % 2 == 0 else None
    return Look(Start.OPEN if first == 1 else Start.NONE, 1 if shown == 1 else None)


class Mpeg4:
    """MPEG-4 part 2: a VOP that is not coded shows nothing; some packets hold two ("packed bitstream")."""

    def __init__(self, extradata: bytes) -> None:
        self._time_bits = 0
        self._learn(extradata)

    def __call__(self, data: bytes) -> Look:
        place = data.find(b"\0\0\1\xb6")
        if place < 0 or place + 4 >= len(data):
            return UNKNOWN
        if place:
            self._learn(data[:place])
        if data.find(b"\0\0\1\xb6", place + 4) >= 0:
            single = False
        elif data[place + 4] & 0x20 or self._time_bits > 40:
            single = self._is_coded(data[place + 4 : place + 16])
        else:  # as nearly always, within the second of the picture before
            head = int.from_bytes(data[place + 4 : place + 12].ljust(8, b"\0"), "big")
            single = bool(self._time_bits and head >> (58 - self._time_bits) & 1)
        if single and data[place + 4] >> 6:
            return INTER
        return Look(Start.NONE if data[place + 4] >> 6 else Start.OPEN, 1 if single else None)

    def _is_coded(self, picture: bytes) -> bool:
        bits = Bits(picture, 2)
        for _ in range(60):
            if not bits.read(1):
                break
        bits.read(1 + self._time_bits + 1)
        return bool(self._time_bits and bits.read(1))

    def _learn(self, headers: bytes) -> None:
        """How many bits a time takes (6.2.3)."""
        place = headers.find(b"\0\0\1")
        while place >= 0 and not 0x20 <= headers[place + 3 : place + 4].ljust(1)[0] < 0x30:
            place = headers.find(b"\0\0\1", place + 3)
        if place < 0:
            return
        bits = Bits(headers[place + 4 : place + 64], 9)
        version = bits.read(7) >> 3 if bits.read(1) else 1
        if bits.read(4) == 15:  # pixels of an aspect of their own
            bits.read(16)
        if bits.read(1):
            bits.read(3)
            bits.read(79 if bits.read(1) else 0)
        if bits.read(2) == 3 and version != 1:
            bits.read(4)
        bits.read(1)
        self._time_bits = max((bits.read(16) - 1).bit_length(), 1)


def _vp8(data: bytes) -> Look:
    return Look(Start.NONE if data[0] & 1 else Start.CLOSED, data[0] >> 4 & 1)


def _vp9(data: bytes) -> Look:
    """VP9: a packet may be a superframe of hidden frames and a shown one."""
    starts, shown = [], 0
    for place in _vp9_frames(data):
        bits = Bits(data[place : place + 2])
        profile = bits.read(4) & 3
        bits.read(profile == 3)
        if bits.read(1):  # shows one that is there already
            starts.append(False)
            shown += 1
        else:
            starts.append(not bits.read(1))
            shown += bits.read(1)
    return Look(Start.CLOSED if starts and starts[0] else Start.NONE, shown if shown < 2 else None)


def _vp9_frames(data: bytes) -> list[int]:
    mark, places = data[-1], [0]
    count, width = (mark & 7) + 1, (mark >> 3 & 3) + 1
    size = 2 + count * width
    if mark & 0xE0 == 0xC0 and len(data) >= size and data[-size] == mark:
        for number in range(count - 1):
            begin = len(data) - size + 1 + number * width
            places.append(places[-1] + int.from_bytes(data[begin : begin + width], "little"))
    return places


def _av1(data: bytes) -> Look:
    """AV1: a temporal unit shows one frame."""
    place, key, shown, seen = 0, False, 0, False
    while place < len(data):
        head = data[place]
        kind, begin = head >> 3 & 15, place + 1 + (head >> 2 & 1)
        size, begin = _leb128(data, begin) if head & 2 else (len(data) - begin, begin)
        if kind in {3, 6} and begin < len(data):  # frame header, frame
            bits = Bits(data[begin : begin + 1])
            existing, type_, visible = bits.read(1), bits.read(2), bits.read(1)
            key = key or (not seen and not existing and type_ == 0 and visible == 1)
            shown, seen = shown + (existing or visible), True
        place = begin + size
    return Look(Start.CLOSED if key else Start.NONE, 1 if shown == 1 else None)


def _leb128(data: bytes, place: int) -> tuple[int, int]:
    value = shift = 0
    while place < len(data) and shift < 56:
        value |= (data[place] & 127) << shift
        place, shift = place + 1, shift + 7
        if data[place - 1] < 128:
            break
    return value, place


LOOKERS: dict[str, Looker] = {
    "mpeg1video": _mpeg12,
    "mpeg2video": _mpeg12,
    "vp8": _vp8,
    "vp9": _vp9,
    "av1": _av1,
}
