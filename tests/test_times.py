"""Seconds become frames through display times, whatever decoder reads; what ``check`` says of unusual files."""

from fractions import Fraction

import av
import numpy as np
import pytest
import torch
from conftest import encode, numbered_frames, read_number
from odd_files import ODD
from pytorchvideo.data.encoded_video import EncodedVideo

from videoadapt.data.pytorchvideo import ClipVideo
from videoadapt.data.windows import windows_in_time
from videoadapt.video import BACKENDS, is_available, open_video
from videoadapt.video.inspection import inspect_video

DECODERS = [name for name in BACKENDS if is_available(name)]
SHOWN = np.array([20 * n if n < 30 else 600 + 200 * (n - 30) for n in range(60)])  # milliseconds


@pytest.fixture(scope="module")
def uneven(tmp_path_factory):
    """Fifty frames a second, then five, as of a recorded screen."""
    path = tmp_path_factory.mktemp("uneven") / "x.mp4"
    with av.open(str(path), "w") as file:
        stream = file.add_stream("libx264", rate=25, options={"crf": "12"})
        stream.height, stream.width, stream.pix_fmt, stream.thread_count = 48, 64, "yuv420p", 1
        stream.codec_context.time_base, stream.codec_context.max_b_frames = Fraction(1, 1000), 0
        for time, image in zip(SHOWN.tolist(), numbered_frames(60), strict=True):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24")
            frame.pts, frame.time_base = time, Fraction(1, 1000)
            file.mux(stream.encode(frame))
        file.mux(stream.encode(None))
    return path


@pytest.mark.parametrize("backend", DECODERS)
def test_every_decoder_knows_when_a_frame_is_shown(uneven, backend):
    with open_video(uneven, backend) as video:
        assert video.backend == backend
        np.testing.assert_allclose(video.times, SHOWN / 1000, atol=1e-6)


@pytest.mark.parametrize("backend", DECODERS)
def test_clips_in_seconds_are_those_of_pytorchvideo(uneven, backend):
    ours, theirs = ClipVideo(str(uneven), None, backend, None), EncodedVideo.from_path(str(uneven), decode_audio=False)
    assert float(ours.duration) == pytest.approx(6.4, abs=0.21)
    for start, end in ((0, 1), (3, 4), (0.5, 0.7), (5.9, 6.4), (2.05, 2.15)):
        clip, reference = (video.get_clip(start, end)["video"] for video in (ours, theirs))
        expected = [n for n, time in enumerate(SHOWN) if start * 1000 <= time < end * 1000]
        found = [] if clip is None else [read_number(f.permute(1, 2, 0).byte().numpy()) for f in clip.unbind(1)]
        assert found == expected, (start, end)
        assert expected == [] or torch.equal(clip, reference)
    ours.close()
    theirs.close()
    del theirs  # it decodes in threads: a worker forked later, freeing its copy, would wait for them for ever


WINDOWS = {  # times of the frames, seconds, step; the windows
    "even": (range(10), 2, 2, [(0, 2), (2, 4), (4, 6), (6, 8), (8, 10)]),
    "the last one ends with the video": (range(10), 4, 3, [(0, 4), (3, 7), (6, 10)]),
    "a gap": ([0, 1, 2, 8, 9], 2, 2, [(0, 2), (2, 3), (3, 5)]),
    "longer than the video": ([0, 1, 5], 100, 50, [(0, 3)]),
    "one frame": ([0.0], 2, 1, [(0, 1)]),
    "shorter than a frame": ([0, 10, 20], 1, 10, [(0, 1), (1, 2), (2, 3)]),
}


@pytest.mark.parametrize("case", WINDOWS)
def test_a_window_holds_what_is_shown_in_it(case):
    times, seconds, step, expected = WINDOWS[case]
    assert windows_in_time(np.array(list(times), dtype=float), seconds, step)[: len(expected)] == expected


@pytest.mark.parametrize(
    ("kind", "rate"),
    [
        ("not to be sought: raw DV", 25),
        ("joined: HEVC ts", 25),
        ("dropped frames: avi", 25),
        ("no times: H.264 asf", 25),
    ],
)
def test_a_rate_is_that_of_frames_and_not_of_a_clock(kind, rate, tmp_path):
    with open_video(ODD[kind](tmp_path / "x")) as video:
        assert video.fps == pytest.approx(rate, rel=0.08)
        assert len(video.times) == video.num_frames and (np.diff(video.times) > 0).all()


ODDITIES = {  # what is encoded, and what is said
    "pixels that are not square, 16/9: shown as stored": {"size": (48, 64), "options": {"aspect": "16/9"}},
    "HD without a colour tag: read as BT.601, which some players take for BT.709": {"size": (720, 64), "options": {}},
    "variable frame rate": {"kind": "dropped frames: mkv"},
    "60 packets for 56 frames": {"kind": "dropped frames: mp4"},
    "recordings joined end to end: decoding times go back": {"kind": "joined: vob"},
    "key flags at which decoding cannot begin": {"kind": "all keys: HEVC mkv"},
    "frames without display times": {"kind": "no times: H.264 asf"},
}


@pytest.mark.parametrize("told", ODDITIES)
def test_a_check_names_what_is_unusual(told, tmp_path):
    options = ODDITIES[told]
    if "kind" in options:
        path = ODD[options["kind"]](tmp_path / "x")
    else:
        path = encode(tmp_path / "x.mkv", numbered_frames(12, *options["size"]), "libx264", **options["options"])
    finding = inspect_video(str(tmp_path), path.name)
    assert finding.status == "odd" and told in finding.detail.split("; "), finding.detail
