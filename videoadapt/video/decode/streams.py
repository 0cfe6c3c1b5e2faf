"""Which stream of a file is its video, and which part of its pictures is shown."""

from collections import Counter
from contextlib import suppress
from pathlib import Path
from threading import Lock

import av
import av.logging
from av.container import Container, InputContainer
from av.stream import Disposition
from av.video.stream import VideoStream

_UNSEEN = (
    Disposition.attached_pic
    | Disposition.still_image
    | Disposition.timed_thumbnails
    | Disposition.hearing_impaired
    | Disposition.visual_impaired
    | Disposition.dependent
)
_PREVIEW = 4  # a stream of no more than this part of another's area is a preview of it
_MOV = "mov,mp4,m4a,3gp,3g2,mj2"
_CROPPING = {  # FFmpeg's names of the formats that have cropping of their own, and what its presence looks like
    _MOV: (b"clap",),
    "matroska,webm": (b"\x54\xaa", b"\x54\xbb", b"\x54\xcc", b"\x54\xdd"),  # PixelCropBottom, -Top, -Left, -Right
}
_HEAD = 1 << 16  # bytes within which Matroska describes its tracks
_lock = Lock()
Margins = tuple[int, int, int, int]  # left, right, top, bottom, in pixels


def choose_stream(path: Path, container: InputContainer) -> VideoStream | None:
    """Of those that move, neither previews nor switched off, the default one, and else the largest."""
    streams = [stream for stream in container.streams.video if stream.codec_context is not None]
    if len(streams) < 2:
        return streams[0] if streams else None
    packets, off = _packets(container, streams), _switched_off(path, container.format.name)

    def seen(stream: VideoStream) -> tuple[bool, ...]:
        return packets[stream.index] > 1, not stream.disposition & _UNSEEN, stream.id not in off

    best = max(map(seen, streams))
    streams = [stream for stream in streams if seen(stream) == best]
    largest = max(map(_area, streams))
    streams = [stream for stream in streams if _area(stream) in {0, largest} or _PREVIEW * _area(stream) > largest]
    return max(streams, key=lambda stream: (stream.disposition & Disposition.default, _area(stream), -stream.index))


def rivals(container: Container) -> list[VideoStream]:
    """The video streams that are not covers, previews or the like by their own word."""
    return [stream for stream in container.streams.video if not stream.disposition & _UNSEEN]


def _area(stream: VideoStream) -> int:
    return stream.codec_context.width * stream.codec_context.height


def _switched_off(path: Path, kind: str) -> set[int]:
    """The MP4 tracks that take no part in the presentation (ISO/IEC 14496-12, 8.3.2)."""
    content, place, off = _description(path, kind) if kind == _MOV else b"", 0, set()
    while (place := content.find(b"tkhd", place) + 4) > 3 and place + 24 <= len(content):
        version, flags = content[place], int.from_bytes(content[place + 1 : place + 4], "big")
        begin = place + (20 if version else 12)
        if not flags & 3:  # neither enabled nor in the movie; what is in the movie alone is an alternative
            off.add(int.from_bytes(content[begin : begin + 4], "big"))
    return off


def _packets(container: InputContainer, streams: list) -> Counter:
    """How many each stream has: a picture beside a video is one packet, with or without its mark."""
    found: Counter = Counter()
    with suppress(av.FFmpegError, IndexError):  # PyAV fails at a stream that begins later
        for packet in container.demux(streams):
            found[packet.stream.index] += bool(packet.size)
    with suppress(av.FFmpegError):
        container.seek(0)
    return found


def cropping(path: Path, container: InputContainer, stream: VideoStream) -> Margins | None:
    """The margins that the container cuts off, a clean aperture or PixelCrop: left, right, top, bottom."""
    marks = _CROPPING.get(container.format.name)
    if not marks or not any(mark in _description(path, container.format.name) for mark in marks):
        return None
    with _lock:  # FFmpeg tells it in its description alone, whose level of detail is one for the whole process
        level = av.logging.get_level()
        av.logging.set_level(av.logging.INFO)
        try:
            text = container.dumps_format()  # type: ignore[attr-defined]  # it has one
        finally:
            av.logging.set_level(level)
    of_stream = text.partition(f"Stream #0:{stream.index}[")[2] or text.partition(f"Stream #0:{stream.index}")[2]
    _, found, after = of_stream.partition("Stream #0:")[0].partition("Frame Cropping: ")
    if not found:
        return None
    left, right, top, bottom = (int(number) for number in after.split()[0].split("/"))
    return (left, right, top, bottom)


def _description(path: Path, kind: str) -> bytes:
    """The part of a file that describes its tracks."""
    length = path.stat().st_size
    with path.open("rb") as file:
        if kind.startswith("matroska"):
            return file.read(_HEAD)
        while len(head := file.read(8)) == 8:
            size, begin = int.from_bytes(head[:4], "big"), 8
            if size == 1:
                size, begin = int.from_bytes(file.read(8), "big"), 16
            size = min(size or length, length)
            if head[4:] == b"moov":
                return file.read(size)
            if size < begin:
                break
            file.seek(size - begin, 1)
    return b""
