"""Files whose containers say other things than their packets: as cameras, recorders and editing programs leave them."""

from collections.abc import Callable, Iterator
from contextlib import suppress
from functools import partial
from pathlib import Path

import av
import numpy as np
from conftest import encode, numbered_frames
from field_coded import field_coded
from zoo import COUNT

Change = Callable[[int, av.Packet], Iterator[tuple[bytes, int | None, int | None, bool]]]
_X264 = {"crf": "12", "preset": "veryfast"}
_X265 = {"x265-params": "log-level=none:bframes=2:keyint=12:min-keyint=12"}
_VP = {"cpu-used": "8", "deadline": "realtime"}
_RECOVERY_POINT = bytes.fromhex("0606018480")  # an SEI: "from here on all is right"


def copied(source: Path, target: Path, change: Change) -> Path:
    """A stream copy; ``change`` yields data, display and decoding time and key flag of what takes a packet's place."""
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        copy = new.add_stream_from_template(stream)
        for number, packet in enumerate(p for p in old.demux(stream) if p.size):
            for data, pts, dts, key in change(number, packet):
                made = av.Packet(data)
                made.pts, made.dts, made.time_base, made.duration = pts, dts, packet.time_base, packet.duration
                made.is_keyframe, made.stream = key, copy
                new.mux(made)
    source.unlink()
    return target


def _source(path: Path, codec: str, suffix: str, **options) -> Path:
    return encode(path.with_suffix(f".source{suffix}"), numbered_frames(COUNT, 64, 64), codec, **options)


def _all_keys(codec: str, source: str, target: str, **options) -> Callable[[Path], Path]:
    """Every packet marked as a key frame, as files without a table of sync samples are."""

    def change(_, packet):
        yield bytes(packet), packet.pts, packet.dts, True

    return lambda path: copied(_source(path, codec, source, **options), path.with_suffix(target), change)


def _false_recovery_points(target: str) -> Callable[[Path], Path]:
    """Every seventh packet of H.264 is marked as a key frame and says that decoding may begin at it."""

    def change(number, packet):
        false = number % 7 == 3
        head = len(_RECOVERY_POINT).to_bytes(4, "big") + _RECOVERY_POINT if false else b""
        yield head + bytes(packet), packet.pts, packet.dts, packet.is_keyframe or false

    return lambda path: copied(
        _source(path, "libx264", ".mkv", b_frames=2, gop=20, **_X264), path.with_suffix(target), change
    )


def _joined(codec: str, suffix: str, parts: int = 2, offset: int = 0, **options) -> Callable[[Path], Path]:
    """Recordings end to end; the first one's times begin ``offset`` seconds later, below 0 every next one's."""

    def make(path: Path) -> Path:
        path, size, content = path.with_suffix(suffix), COUNT // parts, b""
        for part in range(parts):
            frames = numbered_frames(COUNT)[part * size : (part + 1) * size]
            later = {"output_ts_offset": str(part * -offset if offset < 0 else 0 if part else offset)}
            content += encode(path, frames, codec, container_options=later, **options).read_bytes()
        path.write_bytes(content)
        return path

    return make


def _beside(units: dict[int, bytes], codec: str = "libx264", target: str = ".mkv", **options) -> Callable[[Path], Path]:
    """Packets of their own for units without a picture."""

    def change(number, packet):
        if number in units:
            unit = units[number]
            yield len(unit).to_bytes(4, "big") + unit, packet.pts - 7, packet.dts - 7, False
        yield bytes(packet), packet.pts, packet.dts, packet.is_keyframe

    return lambda path: copied(_source(path, codec, ".mkv", **options), path.with_suffix(target), change)


def _slices_apart(path: Path) -> Path:
    """Each packet holds one of the slices of a picture."""

    def change(_, packet):
        data, place = bytes(packet), 0
        while place < len(data):
            size = 4 + int.from_bytes(data[place : place + 4], "big")
            yield data[place : place + size], packet.pts, packet.dts, packet.is_keyframe
            place += size

    source = _source(path, "libx264", ".mkv", slices="4", **_X264)
    return copied(source, path.with_suffix(".mkv"), change)


def _dropped(suffix: str) -> Callable[[Path], Path]:
    """MPEG-4 whose recorder left out frames: VOPs that are not coded, among them the first after a key frame."""

    def change(number, packet):
        if number in {1, 13, 14, 40}:
            yield bytes.fromhex("000001b650cf"), packet.pts, packet.dts, False
        else:
            yield bytes(packet), packet.pts, packet.dts, packet.is_keyframe

    return lambda path: copied(_source(path, "mpeg4", suffix, qscale="2"), path.with_suffix(suffix), change)


def _hidden_vp8(path: Path) -> Path:
    """Alternate reference frames, which VP8 has in packets of their own."""
    options = {"auto-alt-ref": "1", "lag-in-frames": "16", "arnr-maxframes": "5", "b": "300k", "cpu-used": "4"}
    return encode(path.with_suffix(".webm"), numbered_frames(COUNT), "libvpx", gop=60, **options)


def _sound_joins_in(path: Path) -> Path:
    """Two transport streams end to end, of which the second has sound."""
    content = b""
    for part, sound in enumerate((False, True)):
        with av.open(str(path.with_suffix(".ts")), "w") as file:
            video = file.add_stream("libx264", rate=25, options=_X264)
            video.height, video.width, video.pix_fmt, video.thread_count = 64, 64, "yuv420p", 1
            audio = file.add_stream("aac", rate=16000) if sound else None
            for image in numbered_frames(COUNT, 64, 64)[30 * part : 30 * part + 30]:
                file.mux(video.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
            file.mux(video.encode(None))
            if audio is not None:
                tone = av.AudioFrame.from_ndarray(np.zeros((1, 20480), np.float32), format="fltp", layout="mono")
                tone.rate = 16000
                file.mux([*audio.encode(tone), *audio.encode(None)])
        content += path.with_suffix(".ts").read_bytes()
    path.with_suffix(".ts").write_bytes(content)
    return path.with_suffix(".ts")


def leading_after_an_end(path: Path) -> Path:
    """After the end of a sequence, HEVC's leading pictures refer to nothing: FFmpeg passes them over in silence."""

    def change(number, packet):
        end = b"\0\0\0\2\x48\1" if number == 24 else b""
        yield end + bytes(packet), packet.pts, packet.dts, packet.is_keyframe

    options = {"x265-params": "log-level=none:open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3"}
    return copied(_source(path, "libx265", ".mkv", b_frames=3, **options), path.with_suffix(".mkv"), change)


def _later_start(codec: str, source: str, target: str, first: int = 5, **options) -> Callable[[Path], Path]:
    """The first packets are not in the file, the key frame among them."""

    def change(number, packet):
        if number >= first:
            yield bytes(packet), packet.pts, packet.dts, packet.is_keyframe

    return lambda path: copied(_source(path, codec, source, **options), path.with_suffix(target), change)


def _two_at_a_time(path: Path) -> Path:
    """Every other frame has the time of the one before."""

    def change(_, packet):
        yield bytes(packet), packet.pts - packet.pts % 80, packet.dts - packet.dts % 80, packet.is_keyframe

    return copied(_source(path, "libx264", ".mkv", **_X264), path.with_suffix(".mkv"), change)


def _fragments(path: Path) -> Path:
    """A fragmented MP4 in which every fragment is one frame that claims to be a key frame."""
    source = _source(path, "libx264", ".mkv", b_frames=2, **_X264)
    flags = {"movflags": "frag_every_frame+empty_moov+default_base_moof"}
    with av.open(str(source)) as old, av.open(str(path.with_suffix(".mp4")), "w", container_options=flags) as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream, packet.is_keyframe = copy, True
                new.mux(packet)
    return path.with_suffix(".mp4")


def _made(codec: str, suffix: str, size: tuple[int, int] = (64, 64), **options) -> Callable[[Path], Path]:
    return lambda path: encode(path.with_suffix(suffix), numbered_frames(COUNT, *size), codec, **options)


_REFRESH = {"x264-params": "intra-refresh=1:keyint=20:bframes=0", **_X264}


def _packed(path: Path) -> Path:
    """DivX's "packed bitstream": a reference and the B-frame before it in one packet, a placeholder in the next."""
    packets: list[bytes] = []

    def change(number, packet):
        packets.append(bytes(packet))
        yield bytes(packet), packet.pts, packet.dts, packet.is_keyframe

    copied(_source(path, "mpeg4", ".avi", b_frames=1, qscale="2"), path.with_suffix(".avi"), change)
    return path.with_suffix(".avi")


ODD: dict[str, Callable[[Path], Path]] = {
    "all keys: MPEG-2 mkv": _all_keys("mpeg2video", ".mkv", ".mkv", b_frames=2, qscale="2"),
    "all keys: MPEG-2 mp4": _all_keys("mpeg2video", ".mkv", ".mp4", b_frames=2, qscale="2"),
    "all keys: MS-MPEG-4 mkv": _all_keys("msmpeg4", ".avi", ".mkv", qscale="2"),
    "all keys: MS-MPEG-4 avi": _all_keys("msmpeg4", ".avi", ".avi", qscale="2"),
    "all keys: FLV1": _all_keys("flv", ".flv", ".flv", qscale="2"),
    "all keys: WMV2 asf": _all_keys("wmv2", ".asf", ".asf", qscale="2"),
    "all keys: MPEG-4 with B-frames mp4": _all_keys("mpeg4", ".mp4", ".mp4", b_frames=2, qscale="2"),
    "all keys: HEVC mkv": _all_keys("libx265", ".mkv", ".mkv", **_X265),
    "all keys: VP8 mkv": _all_keys("libvpx", ".webm", ".mkv", **_VP),
    "all keys: VP9 mp4": _all_keys("libvpx-vp9", ".webm", ".mp4", **_VP),
    "all keys: H.264 ts": _all_keys("libx264", ".mkv", ".ts", b_frames=2, **_X264),
    "false recovery points: mkv": _false_recovery_points(".mkv"),
    "false recovery points: mp4": _false_recovery_points(".mp4"),
    "false recovery points: mov": _false_recovery_points(".mov"),
    "joined: HEVC ts": _joined("libx265", ".ts", offset=5, **_X265),
    "joined: three MPEG-2 ts": _joined("mpeg2video", ".ts", 3, b_frames=2, qscale="2"),
    "joined: flv": _joined("libx264", ".flv", b_frames=2, **_X264),
    "joined: three webm": _joined("libvpx", ".webm", 3, **_VP),
    "joined: VP9 webm": _joined("libvpx-vp9", ".webm", **_VP),
    "joined: vob": _joined("mpeg2video", ".vob", offset=20, b_frames=2, qscale="2"),
    "without a picture: filler and delimiter": _beside({9: b"\x0c\xff\x80", 30: b"\x09\xf0"}, b_frames=2, **_X264),
    "without a picture: HEVC SEI": _beside({5: bytes.fromhex("4e010504aabbccdd80")}, "libx265", **_X265),
    "without a picture: mp4": _beside({2: b"\x09\xf0", 3: b"\x0c\xff\xff\x80"}, target=".mp4", **_X264),
    "slices apart": _slices_apart,
    "dropped frames: avi": _dropped(".avi"),
    "dropped frames: mp4": _dropped(".mp4"),
    "dropped frames: mkv": _dropped(".mkv"),
    "hidden frames: VP8": _hidden_vp8,
    "packed bitstream": _packed,
    "field pairs: raw": partial(field_coded, suffix=".h264"),
    "field pairs: mp4": partial(field_coded, suffix=".mp4"),
    "field pairs: ts": partial(field_coded, suffix=".ts"),
    "field pairs, bottom first: mkv": partial(field_coded, suffix=".mkv", bottom_first=True),
    "all keys: fragments": _fragments,
    "joined: the second with sound": _sound_joins_in,
    "joined: later and later": _joined("libx264", ".ts", 3, offset=-10, b_frames=2, **_X264),
    "joined: program stream of H.264": _joined("libx264", ".mpg", offset=7, b_frames=2, **_X264),
    "two frames a time": _two_at_a_time,
    "no times: H.264 asf": _made("libx264", ".asf", b_frames=2, **_X264),
    "no key flags: swf": _made("flv", ".swf", qscale="2"),
    "not to be sought: raw DV": _made("dvvideo", ".dv", (576, 720)),
    "frames that change a part: apng": _made("apng", ".apng", pix_fmt="rgb24"),
    "frames that change a part: Cinepak": _made("cinepak", ".avi", pix_fmt="rgb24"),
    "gradual refresh, cut": _later_start("libx264", ".mkv", ".ts", 13, **_REFRESH),
}
LATER: dict[str, Callable[[Path], Path]] = {  # the first key frame is number 12
    "H.264 ts": _later_start("libx264", ".mkv", ".ts", **_X264),
    "H.264 mkv": _later_start("libx264", ".mkv", ".mkv", **_X264),
    "H.264 mp4": _later_start("libx264", ".mkv", ".mp4", **_X264),
    "HEVC mkv": _later_start("libx265", ".mkv", ".mkv", **_X265),
    "MPEG-2 ts": _later_start("mpeg2video", ".mkv", ".ts", b_frames=2, qscale="2"),
    "MPEG-4 mp4": _later_start("mpeg4", ".mp4", ".mp4", qscale="2"),
    "MPEG-4 avi": _later_start("mpeg4", ".avi", ".avi", qscale="2"),
    "VP8 webm": _later_start("libvpx", ".webm", ".webm", **_VP),
    "VP9 webm": _later_start("libvpx-vp9", ".webm", ".webm", **_VP),
    "WMV asf": _later_start("wmv2", ".asf", ".asf", qscale="2"),
}


def full_pass(path: Path) -> list[np.ndarray]:
    """Every frame in the order in which FFmpeg shows it, rgb: no index, no seek."""
    frames = []
    with av.open(str(path), options={"probesize": "50000000", "analyzeduration": "50000000"}) as file:
        for packet in file.demux(file.streams.best("video")):
            with suppress(av.InvalidDataError):  # a packet without a picture is one for FFmpeg
                frames += [frame.to_ndarray(format="rgb24") for frame in packet.decode()]
    return frames
