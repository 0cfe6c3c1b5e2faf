"""Animated WebP, PNG and AVIF are videos; pictures that Pillow warns of, or needs a plugin for."""

import sys
import types
import warnings

import av
import numpy as np
import pytest
from conftest import number_or_none, numbered_frames, read_number
from PIL import Image, ImageDraw

from videoadapt.data.windows import Window
from videoadapt.video import VideoReadError, open_video
from videoadapt.video.cache import VideoCache
from videoadapt.video.inspection import inspect_video
from videoadapt.video.media import is_still, kind_of
from videoadapt.video.store import Folder
from videoadapt.workflows import write_annotated

COUNT, MILLISECONDS = 24, [40, 100, 40, 200, 40, 40] * 4
BEGINS = np.cumsum([0, *MILLISECONDS[:-1]]) / 1000
SAVED = {
    "a.webp": {"lossless": True},
    "a.png": {},
    "A.APNG": {"format": "PNG"},
    "a.avif": {"quality": 90, "speed": 10},
    "webp without a suffix": {"format": "WEBP", "lossless": True},
}


def _animation(path, **options):
    first, *rest = [Image.fromarray(frame) for frame in numbered_frames(COUNT)]
    first.save(path, save_all=True, append_images=rest, **{"duration": MILLISECONDS, **options})
    return path


@pytest.fixture(scope="module")
def animations(tmp_path_factory):
    folder = tmp_path_factory.mktemp("animations")
    for name, options in SAVED.items():
        _animation(folder / name, **options)
    return folder


@pytest.mark.parametrize("name", SAVED)
def test_an_animation_is_a_video(animations, name):
    path = animations / name
    assert kind_of(path) == "animation" and not is_still(path)
    with open_video(path, "decord") as video:
        assert (video.backend, video.num_frames) == ("pillow", COUNT)
        assert [read_number(frame) for frame in video.frames([7, 3, 3, 23, 0])] == [7, 3, 3, 23, 0]
        assert [read_number(frame) for frame in video.frames(range(COUNT))] == list(range(COUNT))
        np.testing.assert_allclose(video.times, BEGINS, atol=1e-6)
        assert video.fps == pytest.approx(COUNT / sum(MILLISECONDS) * 1000)
        with pytest.raises(IndexError):
            video.frames([COUNT])


def test_frames_are_composed_as_ffmpeg_composes_them(tmp_path):
    """Parts of frames, drawn over the one before, which is then kept, cleared or restored."""
    frames = [Image.new("RGBA", (64, 48), (0, 90, 200, 255)) for _ in range(8)]
    for number, frame in enumerate(frames):
        ImageDraw.Draw(frame).ellipse([6 * number, 8, 6 * number + 14, 30], fill=(255, 30 * number, 0, 255))
    options = {"save_all": True, "append_images": frames[1:], "duration": 50, "disposal": [0, 2, 1, 0, 2, 0, 1, 0]}
    frames[0].save(tmp_path / "a.png", blend=[0, 1, 0, 1, 0, 1, 0, 1], **options)
    with av.open(str(tmp_path / "a.png")) as file:
        expected = [frame.to_ndarray(format="rgba")[..., :3] for frame in file.decode(video=0)]
    with open_video(tmp_path / "a.png") as video:
        np.testing.assert_array_equal(video.frames(range(8)), expected)


def test_a_picture_for_programs_without_animation_is_no_frame(tmp_path):
    _animation(tmp_path / "a.png", default_image=True, duration=MILLISECONDS[1:])
    with open_video(tmp_path / "a.png") as video:
        assert [read_number(frame) for frame in video.frames(range(video.num_frames))] == list(range(1, COUNT))


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.avif"])
def test_one_frame_is_a_picture_and_no_duration_a_tenth_of_a_second(tmp_path, name):
    Image.fromarray(numbered_frames(6)[5]).save(tmp_path / name)
    assert is_still(tmp_path / name)
    with open_video(tmp_path / name) as video:
        assert (video.num_frames, video.fps, *video.times) == (1, 0, 0) and read_number(video.frames([0])[0]) == 5
    if name != "a.avif":  # which has to have one
        _animation(tmp_path / name, duration=0)
        with open_video(tmp_path / name) as video:
            np.testing.assert_allclose(video.times, np.arange(COUNT) / 10)


@pytest.mark.parametrize("name", ["a.webp", "a.png", "a.avif"])
@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_torn_animation_shows_no_wrong_frame(animations, tmp_path, name, share):
    content = (animations / name).read_bytes()
    (tmp_path / name).write_bytes(content[: int(share * len(content))])
    try:
        with open_video(tmp_path / name) as video:
            shown = [number_or_none(video, number) for number in range(video.num_frames)]
    except VideoReadError as error:
        assert "not a readable picture" in str(error) and "\n" not in str(error)
    else:
        assert None in shown and all(number in {None, place} for place, number in enumerate(shown))


def test_its_copy_with_labels_moves_and_keeps_its_times(animations, tmp_path):
    write_annotated(animations / "a.webp", tmp_path / "copy.mp4", [(Window(0, COUNT), "x")])
    with open_video(tmp_path / "copy.mp4") as copy:
        np.testing.assert_allclose(copy.times, BEGINS, atol=2e-3)
        assert read_number(copy.frames([20])[0]) == 20


def test_a_check_takes_it_for_a_video(animations):
    found = inspect_video(str(animations), "a.webp", whole=True)
    assert (found.status, found.detail, found.frames) == ("odd", "an animated picture", COUNT)
    assert inspect_video(str(animations), "A.APNG", min_frames=30).status == "short"


def test_pictures_are_not_cached_whatever_their_names(animations, tmp_path):
    Image.new("RGB", (64, 48)).save(tmp_path / "still", "PNG")
    cache = VideoCache(tmp_path / "cache")
    for root, name in ((tmp_path, "still"), (animations, "a.webp")):
        with cache(Folder(str(root)), name) as path:
            assert path == root / name
    with cache(Folder(str(animations)), "webp without a suffix") as path, open_video(path) as video:
        assert path.parent == tmp_path / "cache" and read_number(video.frames([20])[0]) == 20


# --- pictures


def test_a_picture_that_pillow_warns_of_is_read_whatever_becomes_of_warnings(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 2000)  # Pillow warns beyond that, and refuses beyond the double
    Image.new("L", (64, 48)).save(tmp_path / "large.png")
    odd = Image.new("P", (8, 8))
    odd.info["transparency"] = bytes(256)
    odd.save(tmp_path / "odd.png", transparency=bytes(256))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        for name in ("large.png", "odd.png"):
            with open_video(tmp_path / name) as video:
                assert video.frames([0]).shape[-1] == 3


def test_what_is_too_large_even_so_is_one_line(tmp_path, monkeypatch):
    monkeypatch.setattr(Image, "MAX_IMAGE_PIXELS", 1000)
    Image.new("L", (64, 48)).save(tmp_path / "a.png")
    with pytest.raises(VideoReadError, match=r"a.png: not a readable picture \(Image size \(3072 pixels\) exceeds"):
        open_video(tmp_path / "a.png")


def test_a_picture_that_needs_a_plugin_names_it_and_is_read_with_it(tmp_path, monkeypatch):
    (tmp_path / "a.HEIC").write_bytes(b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(99))
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    with pytest.raises(VideoReadError, match=r"a.HEIC: .*Pillow needs a plugin for .heic: pip install pillow-heif"):
        open_video(tmp_path / "a.HEIC")
    plugin, registered = types.ModuleType("pillow_heif"), []
    plugin.register_heif_opener = lambda: registered.append(None)
    monkeypatch.setitem(sys.modules, "pillow_heif", plugin)
    with pytest.raises(VideoReadError, match="cannot identify image file"):
        open_video(tmp_path / "a.HEIC")
    assert registered
