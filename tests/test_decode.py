"""Pixels, sizes, names and pictures; ``test_zoo`` has which frame is which."""

import numpy as np
import pytest
from conftest import encode, numbered_frames, read_number
from PIL import Image

from videoadapt.video import VideoReadError, open_video

COUNT = 60
FILES = {
    "h264 lossless mp4": ("a.mp4", "libx264", {"qp": "0", "preset": "ultrafast"}),
    "h264 B-frames mp4": ("b.mp4", "libx264", {"b_frames": 3, "crf": "12"}),
    "vp9 webm": ("f.webm", "libvpx-vp9", {"gop": 20, "crf": "20", "cpu-used": "8", "deadline": "realtime"}),
    "mpeg4 avi": ("g.avi", "mpeg4", {"qscale": "2"}),
}


@pytest.fixture(scope="module")
def files(tmp_path_factory):
    root = tmp_path_factory.mktemp("zoo")
    frames = numbered_frames(COUNT)
    return {name: encode(root / file, frames, codec, **options) for name, (file, codec, options) in FILES.items()}


def test_lossless_pixels_survive_up_to_chroma(files):
    with open_video(files["h264 lossless mp4"]) as video:
        difference = video.frames(range(COUNT)).astype(int) - np.stack(numbered_frames(COUNT))
    assert abs(difference).max() <= 2


def test_both_decoders_give_the_same_pixels(files):
    for name in ("h264 B-frames mp4", "vp9 webm", "mpeg4 avi"):
        with open_video(files[name], "pyav") as a, open_video(files[name], "decord") as b:
            assert b.backend == "decord"
            assert np.array_equal(a.frames([5, 40]), b.frames([5, 40]))


@pytest.mark.parametrize("size", [(40, 48), (34, 50), (256, 340), (240, 426)])
def test_both_decoders_read_any_size(tmp_path, size):
    encode(tmp_path / "x.mp4", numbered_frames(4, *size), "libx264", crf="8", preset="ultrafast")
    with open_video(tmp_path / "x.mp4", "pyav") as a, open_video(tmp_path / "x.mp4", "decord") as b:
        assert np.array_equal(a.frames([2, 0]), b.frames([2, 0]))
        assert [read_number(frame) for frame in a.frames([2, 0])] == [2, 0]


@pytest.mark.parametrize("backend", ["pyav", "decord"])
@pytest.mark.parametrize(
    "name", ["-starts with dash.mp4", "per%03dcent.mp4", "sha#rp, comma.mp4", "co:lon.mp4", "ü.mp4"]
)
def test_awkward_file_names(tmp_path, name, backend):
    encode(tmp_path / name, numbered_frames(4), "libx264", preset="ultrafast")
    with open_video(tmp_path / name, backend) as video:
        assert read_number(video.frames([3])[0]) == 3


@pytest.mark.parametrize("indices", [[], [-1], [4]])
def test_indices_out_of_range_are_refused(tmp_path, indices):
    encode(tmp_path / "x.mp4", numbered_frames(4), "libx264", preset="ultrafast")
    with open_video(tmp_path / "x.mp4") as video, pytest.raises(IndexError, match="must lie in 0..3"):
        video.frames(indices)


# --- pictures


@pytest.mark.parametrize("suffix", ["png", "bmp", "webp", "tif", "PNG"])
@pytest.mark.parametrize("backend", ["pyav", "decord"])
def test_a_picture_is_a_video_of_one_frame(suffix, backend, tmp_path):
    pixels = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    Image.fromarray(pixels).save(tmp_path / f"a #1.{suffix}", **({"lossless": True} if suffix == "webp" else {}))
    with open_video(tmp_path / f"a #1.{suffix}", backend) as picture:
        assert picture.num_frames == 1
        assert (picture.frames([0, 0]) == pixels).all()
        with pytest.raises(IndexError):
            picture.frames([1])


def test_pictures_of_every_mode_come_out_upright_and_rgb(tmp_path):
    grey = Image.fromarray(np.arange(12, dtype=np.uint8).reshape(3, 4) * 20)
    for mode in ("L", "P", "RGBA", "CMYK", "1"):
        grey.convert(mode).save(tmp_path / f"{mode}.{'tif' if mode == 'CMYK' else 'png'}")
    for path in tmp_path.iterdir():
        with open_video(path) as picture:
            assert picture.frames([0]).shape == (1, 3, 4, 3)
    exif = Image.Exif()
    exif[0x0112] = 6  # turn by 90 degrees to see it upright
    grey.convert("RGB").save(tmp_path / "turned.jpg", exif=exif)
    with open_video(tmp_path / "turned.jpg") as picture:
        assert picture.frames([0]).shape == (1, 4, 3, 3)


def test_sixteen_bits_keep_their_grey(tmp_path):
    deep = np.linspace(0, 65535, 256).astype(np.uint16).reshape(16, 16)
    Image.fromarray(deep).save(tmp_path / "deep.png")
    with open_video(tmp_path / "deep.png") as picture:
        assert picture.frames([0])[0, ..., 1].ravel().tolist() == list(range(256))
    Image.fromarray(np.linspace(0, 1, 16, dtype=np.float32).reshape(4, 4)).save(tmp_path / "float.tif")
    with pytest.raises(VideoReadError, match="float.tif: .*mode F have no agreed range"):
        open_video(tmp_path / "float.tif")


@pytest.mark.parametrize("content", [b"", b"garbage", "half"])
def test_an_unreadable_picture_is_one_error(content, tmp_path):
    path = tmp_path / "a.png"
    Image.new("RGB", (64, 64), "red").save(path)
    path.write_bytes(path.read_bytes()[:60] if content == "half" else content)
    with pytest.raises(VideoReadError, match="a.png: not a readable picture"):
        open_video(path)
