"""H.264 in which each frame is two field pictures, as camcorders and broadcasters write it; its blocks are raw."""

from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from conftest import numbered_frames
from zoo import COUNT

_SIDE, _MACROBLOCK = 64, 16
_I_PCM = 25


class _Bits:
    """Writes the numbers of a NAL unit."""

    def __init__(self) -> None:
        self._bits: list[int] = []

    def fixed(self, *pairs: tuple[int, int]) -> "_Bits":
        """Pairs of length and value."""
        for length, value in pairs:
            self._bits += [value >> place & 1 for place in reversed(range(length))]
        return self

    def golomb(self, *values: int) -> "_Bits":
        for value in values:
            self.fixed(((value + 1).bit_length() - 1, 0), ((value + 1).bit_length(), value + 1))
        return self

    def samples(self, content: bytes) -> None:
        self._bits += [0] * (-len(self._bits) % 8)
        self._bits += np.unpackbits(np.frombuffer(content, np.uint8)).tolist()

    def unit(self, header: int) -> bytes:
        """With a start code, and without start codes within."""
        bits = [*self._bits, 1]
        payload = np.packbits(np.array(bits + [0] * (-len(bits) % 8), np.uint8)).tobytes()
        safe, zeros = bytearray(), 0
        for byte in payload:
            if zeros >= 2 and byte <= 3:
                safe.append(3)
                zeros = 0
            safe.append(byte)
            zeros = 0 if byte else zeros + 1
        return b"\0\0\0\1" + bytes([header]) + bytes(safe)


def _parameters() -> bytes:
    """Main profile, level 2.1, frames of two fields; then one set for pictures."""
    rows, columns = _SIDE // _MACROBLOCK // 2, _SIDE // _MACROBLOCK
    sequence = _Bits().fixed((8, 77), (8, 0), (8, 21)).golomb(0, 0, 0, 4, 1).fixed((1, 0)).golomb(columns - 1, rows - 1)
    sequence.fixed((1, 0), (1, 0), (1, 1), (1, 0), (1, 0))
    picture = _Bits().golomb(0, 0).fixed((2, 0)).golomb(0, 0, 0).fixed((3, 0)).golomb(0, 0, 0).fixed((3, 0b100))
    return sequence.unit(0x67) + picture.unit(0x68)


def _field(luma: np.ndarray, number: int, *, bottom: bool, idr: bool) -> bytes:
    bits = _Bits().golomb(0, 7, 0).fixed((4, number % 16), (1, 1), (1, bottom))
    if idr:
        bits.golomb(number)
    bits.fixed((8, (2 * number + bottom) % 256), (2 if idr else 1, 0)).golomb(0, 1)
    for row in range(0, _SIDE // 2, _MACROBLOCK):
        for column in range(0, _SIDE, _MACROBLOCK):
            bits.golomb(_I_PCM)
            block = luma[row : row + _MACROBLOCK, column : column + _MACROBLOCK]
            bits.samples(block.tobytes() + bytes([128]) * 128)
    return bits.unit(0x65 if idr else 0x61)


def _fields(bottom_first: bool) -> Iterator[bytes]:
    for number, image in enumerate(numbered_frames(COUNT, _SIDE, _SIDE)):
        luma = np.where(image[..., 0] > 127, 235, 16).astype(np.uint8)
        for bottom in (bottom_first, not bottom_first):
            yield _field(luma[bottom::2], number, bottom=bottom, idr=number == 0 and bottom == bottom_first)


def field_coded(path: Path, suffix: str, *, bottom_first: bool = False) -> Path:
    """A raw stream, or a packet for each field in a container."""
    raw = path.with_suffix(".h264")
    raw.write_bytes(_parameters() + b"".join(_fields(bottom_first)))
    if suffix == ".h264":
        return raw
    with av.open(str(raw)) as old, av.open(str(path.with_suffix(suffix)), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        for number, packet in enumerate(packet for packet in old.demux(video=0) if packet.size):
            packet.pts = packet.dts = 20 * number
            packet.time_base, packet.is_keyframe, packet.stream = Fraction(1, 1000), number == 0, copy
            new.mux(packet)
    raw.unlink()
    return path.with_suffix(suffix)
