"""Whatever a container claims, a frame is what one pass over the file shows in its place."""

import random

import pytest
from conftest import number_or_none, read_number
from odd_files import LATER, ODD, full_pass
from zoo import COUNT

from videoadapt.video import BACKENDS, is_available, open_video

DECODERS = [name for name in BACKENDS if is_available(name)]


@pytest.mark.parametrize("kind", ODD)
def test_every_frame_of_an_odd_file_is_that_of_a_full_pass(kind, tmp_path):
    path = ODD[kind](tmp_path / "x")
    expected = [read_number(frame) for frame in full_pass(path)]
    expected = expected if kind != "slices apart" else list(range(COUNT))  # FFmpeg takes each for a picture
    assert len(set(expected)) >= 30, "the file itself"
    for backend in DECODERS:
        with open_video(path, backend) as video:
            assert video.num_frames == len(expected), backend
            assert [read_number(frame) for frame in video.frames(range(len(expected)))] == expected, backend
        draw = random.Random(0)
        for number in draw.sample(range(len(expected)), 12):
            with open_video(path, backend) as video:
                assert number_or_none(video, number) == expected[number], (backend, number)
        with open_video(path, backend) as video:
            for number in (len(expected) - 1, 20, 21, 7, 29, 0, 28):
                assert number_or_none(video, number) == expected[number], (backend, number)


@pytest.mark.parametrize("kind", LATER)
def test_a_file_begins_at_its_first_key_frame(kind, tmp_path):
    """What is before it refers to what is not there: FFmpeg invents some of it, without an error."""
    path = LATER[kind](tmp_path / "x")
    for backend in DECODERS:
        with open_video(path, backend) as video:
            assert [read_number(frame) for frame in video.frames(range(video.num_frames))] == [*range(12, COUNT)]
        with open_video(path, backend) as video:
            assert [number_or_none(video, number) for number in (40, 3, 0)] == [52, 15, 12]
