"""H.264 and HEVC: what a packet says of itself, by its NAL units (7.3 of both standards)."""

from collections.abc import Iterator

from videoadapt.video.decode.bitstream import INTER, NOTHING, UNKNOWN, Bits, Look, Start

# The first byte of an H.264 slice that begins a picture holds first_mb_in_slice = 0 and the slice's type.
_I_SLICES = frozenset({*range(0xB0, 0xC0), *range(0x94, 0x98), 0x88, 0x8A})
_WITHOUT_PICTURE = frozenset({8, 9, 10, 11, 12, 13, 15})  # parameters, delimiters, ends, filler
_LONG = 4096  # bytes of a NAL unit that tells of the pictures
_RECOVERY_POINT, _ORIENTATION = 6, 47  # payloads of SEI


def _units(data: bytes, length: int) -> Iterator[int]:
    """Where the NAL units begin: each after its ``length`` bytes of length, or after start codes if that is 0."""
    place = 0
    if length:
        while place + length < len(data):
            yield place + length
            place += length + int.from_bytes(data[place : place + length], "big")
        return
    while (place := data.find(b"\0\0\1", place) + 3) > 2 and place < len(data):
        yield place


def _payload(data: bytes, begin: int, size: int = 96) -> bytes:
    """The head of a NAL unit without the bytes that keep start codes out of it."""
    return data[begin : begin + size].replace(b"\0\0\3", b"\0\0")


def _messages(payload: bytes) -> Iterator[tuple[int, bytes]]:
    """Type and content of the SEI messages, whose heads lie within ``payload``."""
    place = 0
    while place + 1 < len(payload) and payload[place] != 0x80:
        numbers = []
        for _ in ("type", "size"):
            number = 0
            while place < len(payload) - 1 and payload[place] == 0xFF:
                number, place = number + 255, place + 1
            numbers.append(number + payload[place])
            place = min(place + 1, len(payload) - 1)
        yield numbers[0], payload[place : place + numbers[1]]
        place += numbers[1]


class H264:
    """H.264: only an IDR picture is a start that nothing leans back over. Field pairs need a decoder to count them."""

    def __init__(self, extradata: bytes) -> None:
        self._length = (extradata[4] & 3) + 1 if len(extradata) > 6 and extradata[0] == 1 else 0
        self._fields: tuple[int, int] | None = None  # bits of colour plane and frame number, where fields may come
        for place in _parameter_sets(extradata) if self._length else _units(extradata, 0):
            if extradata[place] & 31 == 7:
                self._learn(_payload(extradata, place + 1, _LONG))

    def __call__(self, data: bytes) -> Look:
        # Most packets are one slice that is not intra: this is all that is to be known of it.
        begins = self._length == 4 and self._fields is None and len(data) > 5 and data[4] & 31 == 1 and data[5] >= 0x80
        if begins and data[5] not in _I_SLICES and int.from_bytes(data[:4], "big") == len(data) - 4:
            return INTER
        return self._look(data)

    def _look(self, data: bytes) -> Look:
        slices, fields, strange, idr, recovery, turned = [], False, False, False, False, False
        stray = self._length == 4 and data[:4] == b"\0\0\0\1" and int.from_bytes(data[5:9], "big") > len(data)
        for place in _units(data, 0 if stray else self._length):  # start codes in spite of the header: FFmpeg's rule
            kind = data[place] & 31
            if kind in {1, 5}:
                slices.append(place + 1)
                idr |= kind == 5
                fields = fields or (self._fields is not None and self._is_field(data, place + 1))
            elif kind == 7:
                self._learn(_payload(data, place + 1, _LONG))
            elif kind == 6:
                for message, content in _messages(_payload(data, place + 1, _LONG)):
                    turned |= message == _ORIENTATION
                    recovery |= message == _RECOVERY_POINT and Bits(content).golomb() > 0
            else:
                strange |= kind not in _WITHOUT_PICTURE
        if not slices:
            return UNKNOWN if strange else NOTHING._replace(turned=turned)
        intra = all(_is_intra_slice(data, place) for place in (slices[:1] if fields else slices))
        start = Start.CLOSED if idr else Start.INTRA if intra else Start.GRADUAL if recovery else Start.NONE
        pictures = sum(data[place : place + 1] >= b"\x80" for place in slices)  # begins with first_mb_in_slice = 0
        return Look(start, 1 if pictures == 1 and not fields else None, turned, not pictures)

    def _is_field(self, data: bytes, place: int) -> bool:
        assert self._fields
        bits = Bits(_payload(data, place, 16))
        for _ in ("first macroblock", "type", "parameters"):
            bits.golomb()
        bits.read(sum(self._fields))
        return bool(bits.read(1))

    def _learn(self, parameters: bytes) -> None:
        """Whether the sequence may hold fields (7.3.2.1.1)."""
        bits, profile, planes = Bits(parameters, 24), parameters[0] if parameters else 0, 0
        bits.golomb()
        if profile in {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 144, 244}:
            planes = _skip_high_profile(bits)
        frame_number = bits.golomb() + 4
        order = bits.golomb()
        if order == 0:
            bits.golomb()
        elif order == 1:
            bits.read(1), bits.signed(), bits.signed()
            for _ in range(min(bits.golomb(), 255)):
                bits.signed()
        bits.golomb(), bits.read(1), bits.golomb(), bits.golomb()
        self._fields = None if bits.read(1) else (2 * planes, frame_number)


def _parameter_sets(extradata: bytes) -> Iterator[int]:
    """Where those of an ``avcC`` record begin that tell of a sequence."""
    place = 6
    for _ in range(extradata[5] & 31):
        if place + 2 < len(extradata):
            yield place + 2
        place += 2 + int.from_bytes(extradata[place : place + 2], "big")


def _skip_high_profile(bits: Bits) -> int:
    """What the higher profiles have before the frame number's size; whether colour planes are apart."""
    planes = bits.read(1) if (chroma := bits.golomb()) == 3 else 0
    bits.golomb(), bits.golomb(), bits.read(1)
    if bits.read(1):
        for number in range(12 if chroma == 3 else 8):
            last = following = 8
            for _ in range(16 if number < 6 else 64) if bits.read(1) else ():
                following = (last + bits.signed()) % 256 if following else 0
                last = following or last
    return planes


def _is_intra_slice(data: bytes, place: int) -> bool:
    if data[place : place + 1] >= b"\x80":
        return data[place] in _I_SLICES
    bits = Bits(_payload(data, place, 12))
    bits.golomb()
    return bits.golomb() % 5 in {2, 4}


class Hevc:
    """HEVC: IDR pictures, and CRA and BLA, of which FFmpeg leaves out the leading pictures."""

    def __init__(self, extradata: bytes) -> None:
        self._length = (extradata[21] & 3) + 1 if len(extradata) > 22 and extradata[0] == 1 else 0

    def __call__(self, data: bytes) -> Look:
        slices, pictures, start, turned, strange = 0, 0, Start.NONE, False, False
        for place in _units(data, self._length):
            kind = data[place] >> 1 & 63
            if data[place] & 1 or place + 2 >= len(data) or data[place + 1] >> 3:
                continue  # another layer, such as the second eye's
            if kind < 32:
                slices += 1
                pictures += data[place + 2] >> 7
                if 16 <= kind <= 21:
                    start = Start.CLOSED if kind in {19, 20} else Start.OPEN
            elif kind == 39:
                turned |= any(message == _ORIENTATION for message, _ in _messages(_payload(data, place + 2, _LONG)))
            else:
                strange |= kind > 40
        if not slices:
            return UNKNOWN if strange else NOTHING._replace(turned=turned)
        return Look(start, 1 if pictures == 1 else None, turned, not pictures)
