"""Prediction: whole files, sliding windows, annotated copies, and the one line for every mistake."""

import json
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import encode, numbered_frames, read_number, tiny
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image

import videoadapt
from videoadapt.builders import build_model, file_reading
from videoadapt.data.sampling import segment_indices
from videoadapt.data.transforms import TestTransform
from videoadapt.data.views import Views
from videoadapt.data.windows import Window, sliding_windows, window_samples
from videoadapt.errors import UserError
from videoadapt.report.caption import captioned
from videoadapt.report.timeline import draw_timeline
from videoadapt.video import open_video
from videoadapt.video.encode import write_video
from videoadapt.video.reader import VideoReader
from videoadapt.workflows import classify_files, media_files, own_names, write_annotated

TestTransform.__test__ = False


@pytest.mark.parametrize(
    ("count", "length", "step", "windows"),
    [
        (10, 4, 2, [(0, 4), (2, 6), (4, 8), (6, 10)]),
        (11, 4, 4, [(0, 4), (4, 8), (7, 11)]),  # the last one ends with the video
        (3, 4, 2, [(0, 3)]),
        (4, 4, 9, [(0, 4)]),
        (9, 2, 5, [(0, 2), (5, 7), (7, 9)]),
        (1, 1, 1, [(0, 1)]),
    ],
)
def test_windows_slide_over_the_whole_video(count, length, step, windows):
    assert sliding_windows(count, length, step) == windows


@given(st.integers(1, 300), st.integers(1, 60), st.integers(1, 60))
def test_windows_lie_in_the_video_and_reach_both_ends(count, length, step):
    windows = sliding_windows(count, length, step)
    assert windows[0].start == 0 and windows[-1].stop == count
    assert all(0 <= w.start < w.stop <= count and w.stop - w.start == min(length, count) for w in windows)
    assert len(set(windows)) == len(windows)


def test_a_window_is_read_as_a_video_of_its_own(tmp_path):
    path = encode(tmp_path / "numbers.mp4", numbered_frames(120), "libx264", qp="0")
    indices = lambda count: segment_indices(count, 4, 2)  # noqa: E731
    windows = sliding_windows(120, 20, 10)  # more than are read together
    with open_video(path) as video:
        reader, transform = VideoReader(".", short_side=48), TestTransform(48, 48, 3)
        samples = list(window_samples(video, windows, reader, indices, transform))
    for number, (sample, window) in enumerate(zip(samples, windows, strict=True)):
        assert sample.index == number
        for clip, places in zip(indices(20), sample.clips, strict=True):
            shown = sample.frames[places].permute(0, 2, 3, 1).numpy()
            assert [read_number(frame) for frame in shown] == (clip + window.start).tolist()


# --- the program


@pytest.fixture(scope="module")
def checkpoint(demo):
    return demo / "loki" / "best.safetensors"


def _videos(demo, *numbers):
    return [demo / "data" / "videos" / f"val_{number:04d}.mp4" for number in numbers]


def test_answers_are_those_of_a_test(demo, checkpoint, tool, tmp_path):
    out = tmp_path / "sub" / "answers.json"
    code, printed, err = tool("predict", checkpoint, *_videos(demo, *range(8)), "--top", "8", "--json", out)
    assert code == 0, err
    answers = json.loads(out.read_text())
    stored = np.load(demo / "loki" / "predictions.npz")
    names = (demo / "data" / "classes.txt").read_text().splitlines()
    for answer, scores in zip(answers, stored["scores"], strict=True):
        shares = {row["label"]: row["probability"] for row in answer["predictions"]}
        np.testing.assert_allclose([shares[label] for label in range(8)], scores, atol=5e-6)
        assert [row["class"] for row in answer["predictions"]] == [names[label] for label in shares]
        assert sorted(shares.values(), reverse=True) == list(shares.values())
    best = answers[0]["predictions"][0]
    assert f"| {best['class']}" in printed and f"{100 * best['probability']:.1f} |" in printed


def test_from_python_it_is_the_same(demo, checkpoint):
    model = videoadapt.load_checkpoint(checkpoint)
    (path,) = _videos(demo, 3)
    answers = videoadapt.classify(model, path, top=3)
    assert len(answers) == 3 and answers[0].name == model.classes[answers[0].label]
    assert answers[0].probability == max(dict(classify_files(model, [path]))[str(path)])
    with pytest.raises(ValueError, match="no such video"):
        videoadapt.classify(model, "missing.mp4")


def test_windows_make_a_timeline_and_captions(demo, checkpoint, tool, tmp_path):
    command = ["predict", checkpoint, *_videos(demo, 5), "--window", "1", "--step", "0.5", "--annotate"]
    code, printed, err = tool(*command, "--out", tmp_path, "--json", tmp_path / "a.json")
    assert code == 0, err
    (answer,) = json.loads((tmp_path / "a.json").read_text())
    assert [(w["begin"], w["end"]) for w in answer["windows"]] == [(0, 1), (0.5, 1.5), (1, 2)]  # 24 frames
    assert Image.open(tmp_path / "val_0005.timeline.png").size[0] > 800
    assert "| begin (s) | end (s) | likeliest" in printed
    with open_video(tmp_path / "val_0005.annotated.mp4") as copy, open_video(_videos(demo, 5)[0]) as original:
        assert (copy.num_frames, copy.fps) == (original.num_frames, original.fps)
        new, old = copy.frames([3])[0].astype(int), original.frames([3])[0].astype(int)
    assert np.abs(new[:50] - old[:50]).mean() < 4 and np.abs(new[-8:] - old[-8:]).mean() > 25  # a band at the bottom
    model = videoadapt.load_checkpoint(checkpoint)
    line = videoadapt.classify_windows(model, _videos(demo, 5)[0], 1.0, 0.5)
    assert line.windows == [Window(0, 12), Window(6, 18), Window(12, 24)]
    found = [w["predictions"][0]["probability"] for w in answer["windows"]]
    np.testing.assert_allclose(line.probabilities.max(1), found, atol=1e-5)


def test_unreadable_files_are_named_and_cost_the_others_nothing(demo, checkpoint, tool, tmp_path):
    files = [tmp_path / "a broken #1.mp4", *_videos(demo, 0), tmp_path / "empty.mp4", *_videos(demo, 1)]
    files[0].write_bytes(b"no video")
    files[2].write_bytes(b"")
    for more in ([], ["--window", "1"]):
        options = ["--out", tmp_path, "--json", tmp_path / "a.json", *more]
        code, printed, err = tool("predict", checkpoint, *files, *options)
        assert code == 2 and f"2 of 4 files cannot be read: {files[0]}" in err.splitlines()[-1]
        found = json.loads((tmp_path / "a.json").read_text())
        assert ["error" in answer for answer in found] == [True, False, True, False]
        assert printed.count("class") >= 2 and "broken" not in printed  # told once, at the end
        assert f"; {files[2]}: " in err.splitlines()[-1]


def test_pictures_folders_and_globs(demo, checkpoint, tool, tmp_path):
    folder = tmp_path / "with space [1]"
    folder.mkdir()
    Image.new("RGB", (80, 61), "red").save(folder / "a.png")
    Image.new("L", (30, 64)).save(folder / "b.jpg")
    (folder / "notes.txt").write_text("no video")
    files = [folder, tmp_path / "*" / "a.pn?"]
    code, printed, err = tool("predict", checkpoint, *files, "--annotate", "--out", tmp_path)
    assert code == 0, err
    assert printed.count(str(folder)) == 2 and Image.open(tmp_path / "a.annotated.png").size == (80, 61)
    assert media_files([str(folder / "a.png"), str(folder)]) == [folder / "a.png", folder / "b.jpg"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["no.mp4"], "no.mp4: no such file, and no folder or glob with videos or pictures"),
        (["VIDEO", "--top", "0"], "--top 0: name at least one class"),
        (["VIDEO", "--views", "8x2"], "views 8x2: views are frames x clips x crops"),
        (["VIDEO", "--window", "-1"], "windows of -1 s every -0.5 s: both must be more than 0"),
        (["VIDEO", "--window", "0"], "windows of 0 s every 0 s: both must be more than 0"),
        (["VIDEO", "--window", "inf"], "windows of inf s every inf s: both must be more than 0, and finite"),
        (["VIDEO", "--step", "1"], "--step: goes with --window"),
        (["VIDEO", "--views", "8x1x1,8x1x3"], "views 8x1x1,8x1x3: one protocol, please"),
        (["VIDEO", "--json", "."], "--json .: is a folder"),
        ([""], "an empty name: no such file"),
        (["a**b"], "a**b: no such file"),
        (["a" * 300], "aaa: no such file"),
        (["VIDEO", "--device", "tpu!"], "device: no device 'tpu!'; choose from: auto, cpu, cuda, cuda:<number>"),
    ],
)
def test_a_mistake_is_one_line(arguments, message, demo, checkpoint, tool, tmp_path):
    files = [str(_videos(demo, 0)[0]) if text == "VIDEO" else text for text in arguments]
    code, _, err = tool("predict", checkpoint, *files, "--out", tmp_path)
    assert code == 2 and message in err.splitlines()[-1] and "Traceback" not in err
    code, _, err = tool("predict", tmp_path / "no.safetensors", _videos(demo, 0)[0])
    assert code == 2 and "no such checkpoint" in err


# --- copies


def test_a_copy_keeps_size_rate_and_sound(tmp_path):
    source = tmp_path / "with sound.mp4"
    with av.open(str(source), "w") as container:
        video, sound = container.add_stream("libx264", rate=10), container.add_stream("aac", rate=8000)
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        for frame in [np.full((48, 64, 3), 128, np.uint8)] * 20:
            container.mux(video.encode(av.VideoFrame.from_ndarray(frame, format="rgb24")))
        samples = av.AudioFrame.from_ndarray(np.zeros((1, 16_000), np.float32), format="fltp", layout="mono")
        samples.sample_rate = 8000
        container.mux(sound.encode(samples))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    write_annotated(source, tmp_path / "copy.mp4", [(Window(0, 10), "first"), (Window(10, 20), "then")])
    with av.open(str(tmp_path / "copy.mp4")) as copy:
        assert [stream.type for stream in copy.streams] == ["video", "audio"]
        assert copy.duration == pytest.approx(2_000_000, rel=0.1)
    with open_video(tmp_path / "copy.mp4") as copy:
        assert (copy.num_frames, copy.fps) == (20, 10)
        first, then, still = copy.frames([9, 10, 11])[:, -6:]
    changes = [np.abs(a.astype(int) - b).mean() for a, b in ((first, then), (then, still))]
    assert changes[0] > 5 * changes[1]


def test_an_odd_size_loses_a_row_and_a_column(tmp_path):
    write_video(tmp_path / "a.mp4", [np.zeros((47, 63, 3), np.uint8)] * 3, 29.97)
    with open_video(tmp_path / "a.mp4") as video:
        assert video.frames([2]).shape == (1, 46, 62, 3) and video.fps == pytest.approx(29.97, abs=1e-3)


@pytest.mark.parametrize("text", ["jump  93 %", "a very long name " * 20, "日本語 ẞ", ""])
def test_a_caption_fits_whatever_it_says(text):
    frame = np.full((60, 90, 3), 200, np.uint8)
    shown = captioned(frame, text)
    assert shown.shape == frame.shape and (shown[:40] == 200).all() and shown[-5:].mean() < 150
    assert (frame == 200).all()


def test_media_files_of_nothing_are_an_error(tmp_path):
    (tmp_path / "notes.txt").write_text("x")
    for text in (tmp_path, Path("no*thing")):
        with pytest.raises(UserError, match="no such file, and no folder or glob"):
            media_files([str(text)])


def test_names_for_what_is_made_of_files_are_their_own():
    paths = [Path(text) for text in ("x/a.mp4", "y/a.mp4", "a_2.mp4", "a.avi", "b.c.mp4")]
    assert own_names(paths) == ["a", "a_2", "a_2_2", "a_3", "b.c"]


def test_a_checkpoint_that_kept_frames_in_memory_does_not_when_it_predicts(checkpoint, demo):
    config = videoadapt.load_checkpoint(checkpoint).config
    assert config.data.cache_frames
    reader, _, _ = file_reading(config, Views(8))
    list(reader.clips(str(_videos(demo, 0)[0]), lambda count: [np.arange(3)]))
    assert not reader._kept


def test_a_variable_frame_rate_keeps_its_times(checkpoint, tmp_path):
    times = [*range(0, 1000, 100), 4000, 4100]  # milliseconds
    with av.open(str(tmp_path / "phone $1$.mkv"), "w") as container:
        stream = container.add_stream("libx264", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        stream.codec_context.time_base = Fraction(1, 1000)
        for time, image in zip(times, numbered_frames(12), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    source = tmp_path / "phone $1$.mkv"
    with open_video(source) as video:
        np.testing.assert_allclose(video.times, np.array(times) / 1000, atol=2e-3)
    line = videoadapt.classify_windows(videoadapt.load_checkpoint(checkpoint), source, 1, 2)
    assert line.windows == [(0, 10), (9, 10), (9, 12)]  # frame 9 is shown from 0.9 s to 4 s
    np.testing.assert_allclose(line.seconds[:, 0], [0, 0.9, 0.9], atol=2e-3)
    draw_timeline(tmp_path / "t.png", line.seconds, line.probabilities, [f"_win ${k}$" for k in range(8)], source.name)
    write_annotated(source, tmp_path / "copy.mp4", [(Window(0, 12), "a\nb")])
    with open_video(tmp_path / "copy.mp4") as copy:
        np.testing.assert_allclose(copy.times, np.array(times) / 1000, atol=2e-3)
        assert [read_number(frame) for frame in copy.frames(range(10, 12))] == [10, 11]


def test_a_frame_that_h264_cannot_hold_costs_its_copy_alone(checkpoint, tool, tmp_path):
    for name, codec in (("tiny.mkv", "ffv1"), ("good.mkv", "ffv1")):
        side = 1 if name == "tiny.mkv" else 32
        encode(tmp_path / name, [np.zeros((side, side, 3), np.uint8)] * 3, codec, pix_fmt="bgr0")
    files = [tmp_path / "tiny.mkv", tmp_path / "good.mkv"]
    code, _, err = tool("predict", checkpoint, *files, "--annotate", "--out", tmp_path)
    assert code == 2 and "frames of 1x1 are too small for H.264 (its answer stands, the copy was not made)" in err
    assert (tmp_path / "good.annotated.mp4").is_file() and not list(tmp_path.glob(".*"))


def test_a_model_without_a_config_is_an_error():
    with pytest.raises(UserError, match="knows no config and no class names; load_checkpoint and adapt give one"):
        videoadapt.classify(build_model(tiny()), "a.mp4")
