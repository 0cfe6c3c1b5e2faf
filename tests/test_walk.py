"""What shows something is found whatever its name, and what a walk leaves out is counted and named."""

import logging
import pickle
import wave

import av
import numpy as np
import pytest
from conftest import convert
from PIL import Image

from videoadapt.data.annotations import locate
from videoadapt.errors import UserError
from videoadapt.video import open_video
from videoadapt.video.media import kind_in_walk, kind_of
from videoadapt.video.walk import LeftOut, media_below
from videoadapt.workflows import media_files

# FFmpeg's name of the format: codec, and what else the encoder or the container wants.
FORMATS = {
    "mpegts": ("libx264", {}),
    "vob": ("mpeg2video", {}),
    "matroska": ("mpeg4", {}),
    "avi": ("mpeg4", {}),
    "flv": ("flv", {}),
    "asf": ("wmv2", {}),
    "mxf": ("mpeg2video", {}),
    "mov": ("mjpeg", {"pix_fmt": "yuvj420p"}),
    "3gp": ("h263", {"size": (128, 96)}),
    "mjpeg": ("mjpeg", {"pix_fmt": "yuvj420p"}),
    "nut": ("mpeg4", {}),
    "ivf": ("libvpx", {}),
    "swf": ("flv", {}),
    "yuv4mpegpipe": ("wrapped_avframe", {}),
    "dv": ("dvvideo", {"size": (720, 576)}),
    "gif": ("gif", {"pix_fmt": "rgb8"}),
    "h264": ("libx264", {}),
    "hevc": ("libx265", {"options": {"x265-params": "log-level=none"}}),
    "mpeg2video": ("mpeg2video", {}),
    "m4v": ("mpeg4", {}),
    "wtv": ("mpeg2video", {}),
}


def _write(path, kind, codec, size=(64, 48), pix_fmt="yuv420p", options=None):
    with av.open(str(path), "w", format=kind) as file:
        stream = file.add_stream(codec, rate=25, options=options or {})
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = *size, pix_fmt, 1
        for shade in range(0, 200, 40):
            frame = av.VideoFrame.from_ndarray(np.full((size[1], size[0], 3), shade, np.uint8), format="rgb24")
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.fixture(scope="module")
def formats(tmp_path_factory):
    """A file of each format, without a suffix."""
    folder = tmp_path_factory.mktemp("formats")
    for kind, (codec, options) in FORMATS.items():
        _write(folder / kind, kind, codec, **options)
    return folder


@pytest.mark.parametrize("kind", FORMATS)
def test_a_video_is_recognised_by_its_first_bytes(formats, kind):
    assert kind_of(formats / kind) == kind_in_walk(formats / kind) == "video"


def test_so_is_a_recording_that_was_cut_anywhere(formats, tmp_path):
    content = (formats / "mpegts").read_bytes()
    for size, packets in ((188, content), (192, b"".join(bytes(4) + part for part in _parts(content)))):
        for begin in (1, 100, size - 1):
            (tmp_path / "cut").write_bytes(packets[begin:])
            assert kind_of(tmp_path / "cut") == "video", (size, begin)


def _parts(content):
    return [content[begin : begin + 188] for begin in range(0, len(content), 188)]


STILLS = {
    "JPEG": "image",
    "PNG": "image",
    "WEBP": "x.001",
    "TIFF": "image",
    "BMP": "image",
    "JPEG2000": "x",
    "AVIF": "x",
}


@pytest.mark.parametrize("kind", STILLS)
def test_a_picture_is_recognised_without_a_suffix(tmp_path, kind):
    path = tmp_path / STILLS[kind]
    Image.new("RGB", (64, 48), (200, 40, 0)).save(path, kind)
    assert kind_of(path) == kind_in_walk(path) == "picture"
    with open_video(path) as video:
        assert video.backend == "pillow" and abs(video.frames([0])[0, 9, 9].astype(int) - (200, 40, 0)).max() < 9


def test_several_views_of_one_scene_are_a_picture(tmp_path):
    views = [Image.new("RGB", (64, 48), (shade, 0, 0)) for shade in (0, 200)]
    views[0].save(tmp_path / "x", "MPO", save_all=True, append_images=views[1:])
    assert kind_of(tmp_path / "x") == "picture"


def _sound(path):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1), file.setsampwidth(2), file.setframerate(8000)
        file.writeframes(bytes(4000))


NO_MEDIA = {
    "readme": lambda path: path.write_text("The videos are in the other folder."),
    "notes": lambda path: path.write_text("The wide range of clips was filmed in May."),
    "report": lambda path: path.write_text("CWS 0 days since the last one"),
    "empty": lambda path: path.write_bytes(b""),
    "noise.raw9": lambda path: path.write_bytes(np.random.default_rng(0).bytes(9000)),
    "features.p": lambda path: path.write_bytes(pickle.dumps(list(range(9000)))),
    "sound": _sound,
    "index.ts": lambda path: path.write_text("export const fps: number = 25;  // naïve\n"),
    "index.mts": lambda path: path.write_text("export {};"),
    "table.dat": lambda path: path.write_text("1 2 3\n" * 99),
    "go.mod": lambda path: path.write_text("module example.com/x"),
    "x.mp4.part": lambda path: _write(path, "mp4", "mpeg4"),
    "x.mp4~": lambda path: _write(path, "mp4", "mpeg4"),
}


@pytest.mark.parametrize("name", NO_MEDIA)
def test_what_is_neither_is_left_out(tmp_path, name):
    NO_MEDIA[name](tmp_path / name)
    assert kind_in_walk(tmp_path / name) is None
    left_out = LeftOut(tmp_path)
    assert not list(media_below(tmp_path, left_out)) and " 1" in str(left_out)


@pytest.fixture
def classes(formats, folders):
    """Classes of which some vanished: ``videos`` with what each holds."""
    notes, root, put = folders
    kinds = {"a/0.MTS": "mpegts", "b/0.vob": "vob", "c/clip.001": "avi", "d/0.MOD": "vob", "e/noname": "matroska"}
    for name, kind in kinds.items():
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).write_bytes((formats / kind).read_bytes())
    put(root, {"f/0.xyz": "what is this", "f/1.xyz": "", "f/0.srt": "subtitles", "a/.0.MTS": "", "stray.mp4": ""})
    (root / "g").mkdir()
    return notes, root, put


def test_folders_of_any_videos_are_classes_and_the_rest_is_told(classes, tool, tmp_path, caplog):
    _, root, _ = classes
    code, out, err = tool("lists", "folder", "--videos", root, "--out", tmp_path / "lists", "--val-share", "0.5")
    assert code == 0, err
    assert (tmp_path / "lists" / "classes.txt").read_text().split() == ["a", "b", "c", "d", "e"]
    assert out.count("left out below") == 1
    assert "neither video nor picture: .xyz 2 (first f/0.xyz), hidden 1, .srt 1" in out
    assert "in no class's folder: 1, first stray.mp4" in out
    assert "no videos or pictures in 'f', 'g'; no class comes from there" in caplog.text


def test_in_splits_too(classes, caplog):
    _, root, put = classes
    (root / "train").mkdir()
    for name in "abcdefg":
        (root / name).rename(root / "train" / name)
    (root / "stray.mp4").unlink()
    put(root, {"val/a/1.mp4": "", "val/b/notes.txt": "", "annotations/x.json": ""})
    found, _, annotations = convert("folder", classes, {})
    assert annotations.classes == ["a", "b", "c", "d", "e"] and found["val"] == [("val/a/1.mp4", 0)]
    assert "no videos or pictures in 'annotations', 'train/f', 'train/g', 'val/b';" in caplog.text


def test_nothing_but_the_unknown_is_an_error_that_names_it(folders):
    folders[2](folders[1], {"a/0.xyz": "", "a/.hidden": "", "b/1.xyz": ""})
    with pytest.raises(UserError, match=r"holds no folders of videos .* \.xyz 2 \(first a/0\.xyz\), hidden 1"):
        convert("folder", folders, {})


def test_a_list_finds_them(classes):
    listed = ["a/0.MTS 0", "/far/b/0.mp4 1", "clip.001 2", "d/0 3", "e/noname 4", "f/1.xyz 5", "f/2.xyz 5"]
    found, missing, _ = convert("list", classes, {"train.txt": "\n".join(listed)})
    assert [path for path, _ in found["train"]] == [
        "a/0.MTS",
        "b/0.vob",
        "c/clip.001",
        "d/0.MOD",
        "e/noname",
        "f/1.xyz",
    ]
    assert missing == {"train": [("f/2.xyz", 5)]}


def test_the_summary_of_a_list_tells_what_was_left_out_also_if_files_are_missing(classes, tool, tmp_path):
    (tmp_path / "train.txt").write_text("f/2.xyz 0\n")
    arguments = ["--annotations", tmp_path / "train.txt", "--videos", classes[1], "--out", tmp_path / "lists"]
    code, out, err = tool("lists", "list", *arguments)
    assert code == 2 and "missing files: 1, first f/2.xyz" in err and ".xyz 2 (first f/0.xyz)" in out


def test_a_folder_to_predict_is_walked_in_the_same_way(classes, caplog):
    _, root, _ = classes
    names = [path.relative_to(root).as_posix() for path in media_files([str(root)])]
    assert names == ["a/0.MTS", "b/0.vob", "c/clip.001", "d/0.MOD", "e/noname", "stray.mp4"]
    assert ".xyz 2 (first f/0.xyz), hidden 1, .srt 1" in caplog.text
    caplog.clear()
    assert media_files([str(root / "*")]) == [root / "stray.mp4"]
    assert "folders are passed over: 7, first" in caplog.text
    with pytest.raises(UserError, match=r"no such file, and no folder .*; left out below .*: \.xyz 2"):
        media_files([str(root / "f")])


def test_many_suffixes_are_one_line(folders, caplog):
    caplog.set_level(logging.INFO)
    _, root, put = folders
    put(root, {f"a/{number}.x{number}": "" for number in range(50)} | {"a/0.mp4": "", "a/1.txt": ""})
    media_files([str(root)])
    (line,) = [message for message in caplog.messages if "left out" in message]
    assert "42 more suffixes 42, .txt 1" in line and line.count("first") == 8 and "\n" not in line


def test_a_folder_that_is_linked_twice_is_told(folders):
    _, root, put = folders
    put(root, {"a/0.mp4": ""})
    (root / "b").symlink_to(root / "a")
    left_out = LeftOut(root)
    assert [path.name for path, _ in media_below(root, left_out)] == ["0.mp4"]
    assert "folders linked a second time 1 (first b)" in str(left_out)


def test_a_picture_is_still_not_taken_for_a_video(folders):
    _, root, put = folders
    put(root, {"a/0.avif": "", "a/0.vob": "", "a/1.heic": ""})
    _, missing, annotations = convert("list", folders, {"train.txt": "a/0.mp4 0\na/1.mp4 0\na/0.jpg 0\n"})
    assert missing["train"] == [("a/1.mp4", 0), ("a/0.jpg", 0)]
    assert locate(annotations, root)[0]["train"].found == [("a/0.vob", 0)]
