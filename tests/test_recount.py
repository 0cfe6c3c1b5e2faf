"""Packets that look like frames and never come out: found while decoding, and then the file has the frames it shows."""

import numpy as np
import pytest
from conftest import read_number
from odd_files import leading_after_an_end

from videoadapt.data.windows import Window
from videoadapt.video import VideoReadError, open_video
from videoadapt.video.cache import VideoCache
from videoadapt.video.decode import pyav
from videoadapt.video.exact import compare_with_full_pass
from videoadapt.video.inspection import inspect_video
from videoadapt.video.reader import VideoReader
from videoadapt.video.store import open_store
from videoadapt.workflows import write_annotated

SHOWN = [number for number in range(60) if number not in {22, 23}]


@pytest.fixture
def path(tmp_path):
    pyav._passes.clear()
    return leading_after_an_end(tmp_path / "x")


def _numbers(path, count):
    with open_video(path) as video:
        return [read_number(frame) for frame in video.frames(range(count))]


def test_a_handle_keeps_its_count_and_the_next_one_knows_better(path):
    with open_video(path) as video:
        assert [read_number(frame) for frame in video.frames([0, 21, 50])] == [0, 21, 50]
        with pytest.raises(VideoReadError, match="its 60 packets show 58 frames"):
            video.frames([22])
        assert video.num_frames == 60
    assert _numbers(path, 58) == SHOWN


def test_clips_are_drawn_again(path):
    asked = []
    clips = VideoReader(str(path.parent)).clips(path.name, lambda count: [asked.append(count) or np.arange(count)])
    assert asked == [60, 58]
    assert [read_number(frame.permute(1, 2, 0).numpy()) for frame in clips.frames] == SHOWN


def test_a_check_goes_on_and_tells(path):
    finding = inspect_video(str(path.parent), path.name, whole=True, exact=True)
    assert (finding.status, finding.frames) == ("odd", 58) and "60 packets for 58 frames" in finding.detail


def test_a_comparison_goes_on(path):
    found = compare_with_full_pass(path, "pyav")
    assert (found.frames, found.different, found.damaged) == (58, "", ())


def test_copies_go_on(path, tmp_path):
    with VideoCache(tmp_path / "cache", 64)(open_store(str(path.parent)), path.name) as copy:
        assert copy != path and _numbers(copy, 58) == SHOWN
    pyav._passes.clear()
    write_annotated(path, tmp_path / "copy.mp4", [(Window(0, 58), ".")])
    with open_video(tmp_path / "copy.mp4") as video:
        assert video.num_frames == 58
