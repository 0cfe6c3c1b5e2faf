"""Video files as they occur in the wild: many codecs and containers, odd ones, broken ones."""

import io
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from conftest import encode, numbered_frames
from PIL import Image

COUNT = 60


def _h264(suffix: str = ".mp4", **options) -> Callable[[Path], Path]:
    return lambda path: encode(
        path.with_suffix(suffix), numbered_frames(COUNT), "libx264", **{"crf": "12", "preset": "veryfast", **options}
    )


def _codec(codec: str, suffix: str, size=(48, 64), **options) -> Callable[[Path], Path]:
    return lambda path: encode(path.with_suffix(suffix), numbered_frames(COUNT, *size), codec, **options)


def _flagged(flags: str, **options) -> Callable[[Path], Path]:
    """H.264 in an MP4 written with other ``movflags``."""
    return lambda path: encode(
        path.with_suffix(".mp4"),
        numbered_frames(COUNT),
        "libx264",
        container_options={"movflags": flags},
        crf="12",
        preset="veryfast",
        **options,
    )


def _uneven(path: Path) -> Path:
    """Variable frame rate: frame n is shown at n + n^2 / 20 ticks."""
    path = path.with_suffix(".mp4")
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"crf": "12", "preset": "veryfast"})
        stream.height, stream.width, stream.pix_fmt = 48, 64, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 500)
        stream.codec_context.max_b_frames = 2
        for number, frame in enumerate(numbered_frames(COUNT)):
            picture = av.VideoFrame.from_ndarray(frame, format="rgb24")
            picture.pts, picture.time_base = 20 * number + number * number, Fraction(1, 500)
            container.mux(stream.encode(picture))
        container.mux(stream.encode(None))
    return path


def _remuxed(path: Path, change: Callable, *, first: int = 0, sound: bool = False, cover: bool = False) -> Path:
    """A stream copy with changed times, without its first packets, beside a sound track or a cover picture."""
    source = encode(path.with_suffix(".src.mp4"), numbered_frames(COUNT), "libx264", gop=20, crf="12")
    with av.open(str(source)) as old, av.open(str(path), "w") as new:
        if cover:
            picture = io.BytesIO()
            Image.new("RGB", (32, 32), "red").save(picture, "png")
            art = new.add_stream("png", rate=1)
            art.width = art.height = 32
            art.pix_fmt = "rgb24"
            art.disposition = av.stream.Disposition.attached_pic
        if sound:
            track = new.add_stream("aac", rate=16000)
        copy = new.add_stream_from_template(old.streams.video[0])
        if sound:
            tone = av.AudioFrame.from_ndarray(np.zeros((1, 1024 * 20), np.float32), format="fltp", layout="mono")
            tone.rate = 16000
            new.mux(track.encode(tone))
        packets = [packet for packet in old.demux(old.streams.video[0]) if packet.size][first:]
        if cover:
            new.mux(art.encode(av.VideoFrame.from_ndarray(np.zeros((32, 32, 3), np.uint8), format="rgb24")))
        for packet in packets:
            change(packet)
            packet.stream = copy
            new.mux(packet)
        if sound:
            new.mux(track.encode(None))
    source.unlink()
    return path


def _cut(path: Path) -> Path:
    """Cut at frame 27 without decoding: from the key frame before, an edit list hides what leads up to it."""

    def shift(packet):
        start = 27 * packet.duration
        packet.pts, packet.dts = packet.pts - start, packet.dts - start

    return _remuxed(path.with_suffix(".mp4"), shift, first=20)


def _copied_from_avi(path: Path) -> Path:
    """MPEG-4 with B-frames moved into an MP4: AVI had no display times, so now they are wrong."""
    source = encode(path.with_suffix(".avi"), numbered_frames(COUNT), "mpeg4", b_frames=2, qscale="2")
    with av.open(str(source)) as old, av.open(str(path.with_suffix(".mp4")), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.pts, packet.stream = packet.dts, copy
                new.mux(packet)
    return path.with_suffix(".mp4")


def _cut_open_gop(path: Path) -> Path:
    """A transport stream that begins at a key frame whose leading frames refer to what was cut away."""
    options = {"x265-params": "log-level=none:open-gop=1:keyint=12:min-keyint=12:scenecut=0:bframes=3"}
    source = encode(path.with_suffix(".mp4"), numbered_frames(COUNT), "libx265", b_frames=3, **options)
    with av.open(str(source)) as old, av.open(str(path.with_suffix(".ts")), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        packets = [packet for packet in old.demux(old.streams.video[0]) if packet.size]
        for packet in packets[[n for n, packet in enumerate(packets) if packet.is_keyframe][2] :]:
            packet.stream = copy
            new.mux(packet)
    return path.with_suffix(".ts")


def _late(path: Path) -> Path:
    def shift(packet):
        packet.pts, packet.dts = packet.pts + 10**5, packet.dts + 10**5

    return _remuxed(path.with_suffix(".mkv"), shift)


def _still(path: Path) -> Path:
    return encode(path.with_suffix(".mp4"), numbered_frames(1), "libx264", preset="ultrafast")


WHOLE: dict[str, tuple[Callable[[Path], Path], range]] = {
    "h264 lossless mp4": (_h264(qp="0", preset="ultrafast"), range(COUNT)),
    "h264 B-frames mp4": (_h264(b_frames=3), range(COUNT)),
    "h264 long GOP mkv": (_h264(".mkv", b_frames=3, gop=250), range(COUNT)),
    "h264 B-frames avi": (_h264(".avi", b_frames=3), range(COUNT)),
    "h264 transport stream": (_h264(".ts", b_frames=2), range(COUNT)),
    "h264 mov": (_h264(".mov", b_frames=2), range(COUNT)),
    "h264 flv": (_h264(".flv", b_frames=2), range(COUNT)),
    "h264 3gp": (_h264(".3gp"), range(COUNT)),
    "h264 open GOP": (_h264(b_frames=3, **{"x264-params": "open-gop=1:keyint=12"}), range(COUNT)),
    "h264 intra refresh": (_h264(**{"x264-params": "intra-refresh=1:keyint=12"}), range(COUNT)),
    "h264 10 bit": (_h264(pix_fmt="yuv420p10le"), range(COUNT)),
    "h264 4:2:2": (_h264(pix_fmt="yuv422p"), range(COUNT)),
    "h264 odd size": (
        lambda p: encode(p.with_suffix(".mp4"), numbered_frames(COUNT, 49, 67), "libx264", pix_fmt="yuv444p"),
        range(COUNT),
    ),
    "h264 faststart": (_flagged("faststart", b_frames=2), range(COUNT)),
    "h264 fragmented": (_flagged("frag_keyframe+empty_moov", b_frames=2), range(COUNT)),
    "h264 uneven times": (_uneven, range(COUNT)),
    "h264 cut": (_cut, range(27, COUNT)),
    "h264 late start": (_late, range(COUNT)),
    "h264 with sound": (lambda p: _remuxed(p.with_suffix(".mp4"), lambda packet: None, sound=True), range(COUNT)),
    "h264 with cover": (lambda p: _remuxed(p.with_suffix(".mp4"), lambda packet: None, cover=True), range(COUNT)),
    "one frame": (_still, range(1)),
    "hevc 10 bit": (
        _codec("libx265", ".mp4", pix_fmt="yuv420p10le", **{"x265-params": "log-level=none"}),
        range(COUNT),
    ),
    "hevc open GOP": (
        _codec("libx265", ".mp4", b_frames=3, **{"x265-params": "log-level=none:open-gop=1:keyint=12"}),
        range(COUNT),
    ),
    "av1 mp4": (_codec("libsvtav1", ".mp4", (64, 64), preset="10", crf="10"), range(COUNT)),
    "vp9 webm": (_codec("libvpx-vp9", ".webm", crf="20", **{"cpu-used": "8", "deadline": "realtime"}), range(COUNT)),
    "vp9 hidden frames": (
        _codec("libvpx-vp9", ".webm", crf="10", **{"cpu-used": "4", "auto-alt-ref": "1", "lag-in-frames": "16"}),
        range(COUNT),
    ),
    "vp9 odd size": (
        _codec("libvpx-vp9", ".webm", (49, 67), **{"cpu-used": "8", "deadline": "realtime"}),
        range(COUNT),
    ),
    "vp8 webm": (_codec("libvpx", ".webm", **{"cpu-used": "8", "deadline": "realtime", "b": "1M"}), range(COUNT)),
    "mpeg4 avi": (_codec("mpeg4", ".avi", qscale="2"), range(COUNT)),
    "mpeg4 B-frames avi": (_codec("mpeg4", ".avi", b_frames=2, qscale="2"), range(COUNT)),
    "mpeg4 B-frames mp4": (_codec("mpeg4", ".mp4", b_frames=2, qscale="2"), range(COUNT)),
    "mpeg4 B-frames mkv": (_codec("mpeg4", ".mkv", b_frames=2, qscale="2"), range(COUNT)),
    "mpeg4 copied from avi": (_copied_from_avi, range(COUNT)),
    "mpeg2 B-frames mkv": (_codec("mpeg2video", ".mkv", b_frames=2, qscale="2"), range(COUNT)),
    "mpeg2 stream": (_codec("mpeg2video", ".m2v", b_frames=2, qscale="2"), range(COUNT)),
    "h264 stream": (_h264(".h264", b_frames=2), range(COUNT)),
    "hevc stream": (_codec("libx265", ".hevc", **{"x265-params": "log-level=none"}), range(COUNT)),
    "mjpeg stream": (_codec("mjpeg", ".mjpeg", pix_fmt="yuvj420p", qscale="2"), range(COUNT)),
    "hevc open GOP, cut": (_cut_open_gop, range(24, COUNT)),
    "mpeg2 mpg": (_codec("mpeg2video", ".mpg", b_frames=2, qscale="2"), range(COUNT)),
    "mjpeg avi": (_codec("mjpeg", ".avi", pix_fmt="yuvj420p", qscale="2"), range(COUNT)),
    "wmv": (_codec("wmv2", ".wmv", qscale="2"), range(COUNT)),
    "prores mov": (_codec("prores_ks", ".mov", pix_fmt="yuv422p10le"), range(COUNT)),
    "ffv1 mkv": (_codec("ffv1", ".mkv"), range(COUNT)),
    "gif": (_codec("gif", ".gif", pix_fmt="rgb8"), range(COUNT)),
}


def sound_only(path: Path) -> None:
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def no_frames(path: Path) -> None:
    """A video track without a single picture in it, beside some sound."""
    with av.open(str(path), "w") as container:
        video, sound = container.add_stream("mpeg4", rate=25), container.add_stream("aac", rate=16000)
        video.height, video.width, video.pix_fmt = 48, 64, "yuv420p"
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        container.mux(sound.encode(frame))
        container.mux(sound.encode(None))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "missing": (lambda path: None, "no such video"),
    "directory": (lambda path: path.mkdir(), "not a file"),
    "empty": (lambda path: path.write_bytes(b""), "not a readable video"),
    "text": (lambda path: path.write_bytes(b"this is text\n" * 100), "not a readable video"),
    "garbage": (lambda path: path.write_bytes(np.random.default_rng(0).bytes(50_000)), "not a readable video"),
    "zeros": (lambda path: path.write_bytes(bytes(50_000)), "not a readable video"),
    "web page": (lambda path: path.write_bytes(b"<!DOCTYPE html><html>404</html>"), "not a readable video"),
    "sound only": (sound_only, "no readable video stream"),
    "no frames": (no_frames, "no readable video stream"),
}
