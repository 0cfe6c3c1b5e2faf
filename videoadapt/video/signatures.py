"""What a file's first bytes say of it."""

import re
import struct
from pathlib import Path
from typing import BinaryIO, Literal

_HEAD, _LARGE = 4096, 1 << 24  # bytes: what tells most files, and a large JPEG
# Where videos and pictures begin alike in all their versions; "." stands for any byte.
_VIDEOS = re.compile(
    rb"\x1a\x45\xdf\xa3|RIFF....(?:AVI |AVIX|AMV |CDXA|4XMV)|GIF8[79]a"  # Matroska and WebM, AVI and its kin
    rb"|FLV\x01[^\x04]|\.RMF|NSV[fs]|nut/multimedia|DKIF|YUV4MPEG2 |BBCD\0"  # in FLV 4 is sound alone
    rb"|[FCZ]WS[\x01-\x40]...[\0-\x0f]"  # SWF: its version, and a length within reason
    rb"|\x30\x26\xb2\x75\x8e\x66\xcf\x11|\xb7\xd8\x00\x20\x37\x49\xda\x11"  # ASF, WTV
    rb"|\x06\x0e\x2b\x34\x02\x05\x01\x01\x0d\x01\x02|\0\0\0\0\x01\xbc|\x1f\x07\0[\x3f\xbf]"  # MXF, GXF, DV
    rb"|BIK[b-k]|KB2[a-k]|SMK[24]|....[\x11\x12]\xaf|\x84\x10\xff\xff\xff\xff|DHAV|DAHUA|\xf5\x46\x7a\xbd"
    rb"|\0\0\x01[\xb0\xb3\xba]|\0\0\x01\x0f|\0?\0\0\x01(?:[\x27\x47\x67]|\x09[\x10-\xf0]|[\x40\x42\x46]\x01)"
    rb"|\x12\0\x0a[\x0a-\x0f]|....(?:moov|mdat)|\0...(?:wide|free|skip|pnot)",  # AV1, MOV of old
    re.DOTALL,
)
_PICTURES = re.compile(
    rb"\xff\xd8\xff|\x89PNG\r\n\x1a\n|RIFF....WEBP|II\*\0|MM\0\*|BM....\0\0\0\0|qoif|P[1-6]\s[\d#]"
    rb"|\xff\x4f\xff\x51|\xff\x0a|\0\0\0\x0cJXL ",
    re.DOTALL,
)
_STILL_BRANDS = {b"avif", b"heic", b"heix", b"heim", b"heis", b"mif1", b"mif2", b"miaf", b"1pic", b"jp2 ", b"jpx "}
_SOUND_BRANDS = {b"M4A ", b"M4B ", b"M4P ", b"F4A ", b"F4B ", b"aax ", b"aaxc"}
_RAW_BRANDS = {b"crx "}  # what a camera measured, without a picture
_OGG_VIDEO = (b"\x80theora", b"\x01video\0", b"OVP80", b"BBCD")
_TS_PACKETS, _TS_SIZES = 5, (188, 192, 204)


def recognised(path: Path, named: bool = False) -> Literal["video", "animation", "picture"] | None:
    """What the content is, if it is one of the forms in common use; None also for what is no file.

    ``named`` as a picture, a JPEG is taken for one, without a look at whether others follow it.
    """
    try:
        if not path.is_file():  # a pipe would be waited for
            return None
        with path.open("rb") as file:
            head = file.read(_HEAD)
            if head.startswith(b"\x89PNG"):
                return "animation" if _moves(file) else "picture"
            if head.startswith(b"\xff\xd8\xff") and not named:
                return "video" if _more_follow(file) else "picture"
    except (OSError, ValueError):
        return None
    if head[4:8] == b"ftyp" or head[4:12] == b"jP  \r\n\x87\n":
        return _by_brand(head[8:12] if head[4:8] == b"ftyp" else head[20:24])
    if head.startswith(b"RIFF") and head[8:16] == b"WEBPVP8X":
        return "animation" if head[20:21] and head[20] & 2 else "picture"
    if head.startswith(b"OggS"):
        return "video" if any(mark in head for mark in _OGG_VIDEO) else None
    if _VIDEOS.match(head) or _is_transport_stream(head):
        return "video"
    return "picture" if _PICTURES.match(head) else None


def is_text(path: Path) -> bool:
    """Whether a file begins with something to read, which no video does."""
    try:
        with path.open("rb") as file:
            head = file.read(_HEAD)
    except (OSError, ValueError):
        return False
    return bool(head) and not re.search(rb"[\0-\x08\x0e-\x1a\x1c-\x1f\x7f]", head)


def _by_brand(brand: bytes) -> Literal["video", "animation", "picture"] | None:
    """MP4 and what is built like it."""
    if brand == b"avis":
        return "animation"
    if brand in _STILL_BRANDS:
        return "picture"
    return None if brand in _SOUND_BRANDS | _RAW_BRANDS else "video"


def _moves(file: BinaryIO) -> bool:
    """Whether a PNG has more than one frame, which stands before its first pixels."""
    file.seek(8)
    while len(start := file.read(8)) == 8:
        size, kind = struct.unpack(">I4s", start)
        if kind in {b"acTL", b"IDAT", b"IEND"}:
            return kind == b"acTL" and file.read(4) > b"\0\0\0\x01"
        file.seek(size + 4, 1)
    return False


def _more_follow(file: BinaryIO) -> bool:
    """Whether behind a JPEG is the next, as in a stream of them; a camera's views of one scene (MPO) say so."""
    place = 2
    file.seek(place)
    while len(start := file.read(4)) == 4 and start[0] == 0xFF and start[1] != 0xDA:  # until the pixels begin
        place += 2 + int.from_bytes(start[2:], "big")
        if start[1] == 0xE2 and file.read(4) == b"MPF\0":
            return False
        file.seek(place)
    return b"\xff\xd9\xff\xd8\xff" in file.read(_LARGE)


def _is_transport_stream(head: bytes) -> bool:
    """Whether the sync byte comes again and again, from wherever the recording was cut."""
    return any(
        all(head[start + size * number : start + size * number + 1] == b"\x47" for number in range(_TS_PACKETS))
        for size in _TS_SIZES
        for start in range(size)
    )
