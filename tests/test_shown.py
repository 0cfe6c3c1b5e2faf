"""What a player shows of a file: which of its streams, cut to which part, lying which way."""

import logging
import math
import struct
from pathlib import Path

import av
import numpy as np
import pytest
from av.bitstream import BitStreamFilterContext
from conftest import encode, numbered_frames, read_number

from videoadapt.video import BACKENDS, is_available, open_video
from videoadapt.video.decode.common import tell

DECODERS = [name for name in BACKENDS if is_available(name)]
_GREY = np.random.default_rng(1).integers(0, 255, (4, 6, 3)).astype(np.uint8)
PICTURE = np.kron(_GREY, np.ones((16, 16, 1), np.uint8))  # (64 96 3), without symmetry


@pytest.fixture(scope="module")
def lying(tmp_path_factory):
    """A video of six equal pictures, and how it comes out."""
    path = tmp_path_factory.mktemp("lying") / "x.mp4"
    encode(path, [PICTURE] * 6, "libx264", pix_fmt="yuv444p", crf="4")
    with open_video(path) as video:
        return path, video.frames([0])[0]


def _with_matrix(source: Path, target: Path, *matrix: float) -> Path:
    """``a b c d`` of the track header's matrix, which sends (x, y) to (ax + cy, bx + dy)."""
    content = bytearray(source.read_bytes())
    place = content.index(b"tkhd") + 4 + 40  # of a version 0 header, 16.16 and 2.30 fixed point
    a, b, c, d = (round(value * 65536) for value in matrix)
    content[place : place + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    target.write_bytes(content)
    return target


def _turn(degrees: float, scale: float = 1.0) -> tuple[float, ...]:
    cosine, sine = (scale * f(math.radians(degrees)) for f in (math.cos, math.sin))
    return cosine, sine, -sine, cosine


WAYS = {  # the eight symmetries, as a matrix and as what numpy makes of the picture
    "as it is": ((1, 0, 0, 1), lambda p: p),
    "a quarter to the right": ((0, 1, -1, 0), lambda p: np.rot90(p, -1)),
    "upside down": ((-1, 0, 0, -1), lambda p: np.rot90(p, 2)),
    "a quarter to the left": ((0, -1, 1, 0), np.rot90),
    "left for right": ((-1, 0, 0, 1), lambda p: p[:, ::-1]),
    "top for bottom": ((1, 0, 0, -1), lambda p: p[::-1]),
    "over the diagonal": ((0, 1, 1, 0), lambda p: p.swapaxes(0, 1)),
    "over the other diagonal": ((0, -1, -1, 0), lambda p: np.rot90(p, 2).swapaxes(0, 1)),
    "three degrees off": (_turn(3), lambda p: p),
    "44 degrees off": (_turn(44), lambda p: p),
    "46 degrees off": (_turn(46), lambda p: np.rot90(p, -1)),
    "182 degrees": (_turn(182), lambda p: np.rot90(p, 2)),
    "enlarged, 268 degrees": (_turn(268, 3.0), np.rot90),
    "a mirror, two degrees off": (
        (-math.cos(0.03), math.sin(0.03), math.sin(0.03), math.cos(0.03)),
        lambda p: p[:, ::-1],
    ),
    "nothing": ((0, 0, 0, 0), lambda p: p),
    "onto a line": ((1, 1, 1, 1), lambda p: p),
    "onto an axis": ((0, 0, 0, -1), lambda p: p),
}


@pytest.mark.parametrize("way", WAYS)
def test_a_picture_lies_as_its_matrix_says(lying, way, tmp_path):
    source, picture = lying
    matrix, expected = WAYS[way]
    path = _with_matrix(source, tmp_path / "x.mp4", *matrix)
    for backend in DECODERS:
        with open_video(path, backend) as video:
            assert np.array_equal(video.frames([5])[0], expected(picture)), backend
            assert np.array_equal(video.frames([2])[0], expected(picture)), backend


def _filtered(source: Path, target: Path, name: str, only_first: bool = False) -> Path:
    with av.open(str(source)) as old, av.open(str(target), "w") as new:
        stream = old.streams.video[0]
        change = BitStreamFilterContext(name, stream)
        copy = new.add_stream_from_template(stream)
        for number, packet in enumerate(old.demux(stream)):
            for made in (
                [packet] if only_first and number and packet.size else change.filter(packet if packet.size else None)
            ):
                made.stream = copy
                new.mux(made)
    return target


@pytest.mark.parametrize("suffix", [".mkv", ".mp4", ".mov"])
def test_an_orientation_told_once_in_the_bitstream_holds_for_every_frame(suffix, tmp_path):
    """In its SEI, of the first picture; here there are three groups of pictures."""
    source = encode(tmp_path / "s.mp4", [PICTURE] * 36, "libx264", pix_fmt="yuv444p", crf="4")
    path = _filtered(source, tmp_path / f"x{suffix}", "h264_metadata=display_orientation=insert:rotate=90", True)
    with open_video(source) as video:
        expected = np.rot90(video.frames([30])[0])
    for backend in DECODERS:
        for number in (30, 0, 13):
            with open_video(path, backend) as video:
                assert video.frames([number]).shape == (1, *expected.shape), backend
        with open_video(path, backend) as video:
            assert np.array_equal(video.frames([30])[0], expected)


def _with_aperture(source: Path, target: Path, width: int, height: int) -> Path:
    """An MP4 whose clean aperture is the middle of the picture."""
    content = bytearray(source.read_bytes())
    place = content.index(b"avcC") - 4
    content[place:place] = struct.pack(">I4s8i", 40, b"clap", width, 1, height, 1, 0, 1, 0, 1)
    for name in (b"stsd", b"stbl", b"minf", b"mdia", b"trak", b"moov"):
        begin = content.index(name) - 4
        content[begin : begin + 4] = struct.pack(">I", struct.unpack(">I", content[begin : begin + 4])[0] + 40)
    entry = content.index(b"stsd") + 12
    content[entry : entry + 4] = struct.pack(">I", struct.unpack(">I", content[entry : entry + 4])[0] + 40)
    target.write_bytes(content)
    return target


@pytest.mark.parametrize("turn", ["as it is", "a quarter to the right", "top for bottom"])
def test_what_the_container_cuts_off_is_not_shown(lying, turn, tmp_path):
    """First cut, then turned; also in a copy to Matroska, whose PixelCrop says the same."""
    source, picture = lying
    matrix, way = WAYS[turn]
    path = _with_aperture(_with_matrix(source, tmp_path / "s.mp4", *matrix), tmp_path / "x.mp4", 80, 32)
    with av.open(str(path)) as old, av.open(str(tmp_path / "x.mkv"), "w") as new:
        copy = new.add_stream_from_template(old.streams.video[0])
        for packet in old.demux(old.streams.video[0]):
            if packet.size:
                packet.stream = copy
                new.mux(packet)
    for suffix in (".mp4", ".mkv"):
        for backend in DECODERS:
            with open_video(tmp_path / f"x{suffix}", backend) as video:
                assert np.array_equal(video.frames([3])[0], way(picture[16:48, 8:88])), (suffix, backend)


# --- streams


def _joined(target: Path, parts: list[Path], default: int | None = None) -> Path:
    opened = [av.open(str(part)) for part in parts]
    with av.open(str(target), "w") as new:
        copies = [new.add_stream_from_template(file.streams.video[0]) for file in opened]
        for number, copy in enumerate(copies):
            if default is not None:
                copy.disposition = av.stream.Disposition.default if number == default else 0
        packets = [(p, n) for n, file in enumerate(opened) for p in file.demux(file.streams.video[0]) if p.size]
        for packet, number in sorted(packets, key=lambda pair: float(pair[0].dts * pair[0].time_base)):
            packet.stream = copies[number]
            new.mux(packet)
    for file in opened:
        file.close()
    return target


def _switched_off(path: Path, track: int) -> Path:
    content, place = bytearray(path.read_bytes()), 0
    for _ in range(track + 1):
        place = content.index(b"tkhd", place) + 4
    content[place + 1 : place + 4] = bytes(3)
    path.write_bytes(content)
    return path


@pytest.fixture(scope="module")
def parts(tmp_path_factory):
    folder = tmp_path_factory.mktemp("parts")
    frames = numbered_frames(30)
    sizes = {"big": (48, 64), "middle": (36, 48), "small": (16, 32)}
    made = {
        name: encode(
            folder / f"{name}.mp4",
            frames if name == "big" else [255 - image for image in numbered_frames(30, *size)],
            "libx264",
            crf="12",
            b_frames=2,
        )
        for name, size in sizes.items()
    }
    huge = np.full((240, 320, 3), 200, np.uint8)
    made["still"] = encode(folder / "still.mkv", [huge], "mjpeg", pix_fmt="yuvj420p")
    return made


CHOICES = {  # which streams in which order, which is marked as default, which is switched off; which is read
    "preview first.mp4": (["small", "big"], None, None, "big"),
    "preview in the middle.mkv": (["middle", "small", "big"], 2, None, "big"),
    "the default one.mkv": (["big", "middle"], 1, None, "middle"),
    "the default one is a preview.mkv": (["big", "small"], 1, None, "big"),
    "none is default.mkv": (["middle", "big"], None, None, "big"),
    "a still before.mkv": (["still", "big"], None, None, "big"),
    "a still, by default.mkv": (["still", "big"], 0, None, "big"),
    "switched off.mp4": (["big", "middle"], None, 0, "middle"),
    "switched off, last.mp4": (["middle", "big"], None, 1, "middle"),
    "ts.ts": (["small", "big"], None, None, "big"),
}


@pytest.mark.parametrize("name", CHOICES)
def test_of_several_streams_the_one_that_a_player_shows_is_read(parts, name, tmp_path, caplog):
    streams, default, off, chosen = CHOICES[name]
    path = _joined(tmp_path / name, [parts[stream] for stream in streams], default)
    path = path if off is None else _switched_off(path, off)
    with open_video(parts[chosen]) as video:
        shape = video.frames([0]).shape[1:]
    tell.cache_clear()
    for backend in DECODERS:
        with caplog.at_level(logging.WARNING), open_video(path, backend) as video:
            frames = video.frames(range(video.num_frames))
        assert frames.shape == (30, *shape), backend
        assert [read_number(frame if chosen == "big" else 255 - frame) for frame in frames] == list(range(30)), backend
    said = f"{path}: it has {len(streams)} video streams; read is number {streams.index(chosen)}, {shape[1]}x{shape[0]}"
    assert said in caplog.text
