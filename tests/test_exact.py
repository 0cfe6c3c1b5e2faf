"""Every frame, however it is asked for, against one pass over the file: what ``check --exact`` does for a user."""

import numpy as np
import pytest
from conftest import encode, numbered_frames
from odd_files import ODD
from zoo import WHOLE

from videoadapt.video import BACKENDS
from videoadapt.video.decode.pyav import PyavVideo
from videoadapt.video.exact import Comparison, compare_with_full_pass
from videoadapt.video.inspection import inspect_video

# ``test_odd_files`` has all the odd ones.
KINDS = {name: make for name, (make, _) in WHOLE.items()} | {name: ODD[name] for name in list(ODD)[::4]}


@pytest.mark.parametrize("kind", KINDS)
def test_frames_in_any_order_are_those_of_a_full_pass(kind, tmp_path):
    path = KINDS[kind](tmp_path / "x")
    found = compare_with_full_pass(path, "pyav")
    assert not found.different and not found.damaged and found.frames >= (1 if kind == "one frame" else 20)


class _OneOff(PyavVideo):
    """Gives the frame before once it has jumped."""

    def frames(self, indices):
        wanted = np.asarray(indices)
        return super().frames(wanted - (wanted > 30) * (self._position < 0))


class _Short(PyavVideo):
    num_frames = 59


class _Grey(PyavVideo):
    def frames(self, indices):
        return super().frames(indices) // 2


@pytest.mark.parametrize(
    ("reader", "told"),
    [
        (_OneOff, "frame 59, read backwards, has the pixels of frame 58"),
        (_Short, "59 frames, where a full pass shows 60"),
        (_Grey, "frame 0, read in order, has the pixels of no frame of the file"),
    ],
)
def test_the_first_frame_that_differs_is_named(reader, told, tmp_path, monkeypatch):
    encode(tmp_path / "x.mp4", numbered_frames(60), "libx264", crf="12")
    monkeypatch.setitem(BACKENDS, "pyav", reader)
    finding = inspect_video(str(tmp_path), "x.mp4", exact=True)
    assert (finding.status, finding.detail) == ("different", told)


def test_damaged_frames_are_damaged_and_not_different(tmp_path):
    path = encode(tmp_path / "x.mp4", numbered_frames(60), "libx264", gop=20, crf="12", preset="veryfast")
    content = bytearray(path.read_bytes())
    place = len(content) * 2 // 3
    content[place : place + 40] = bytes(40)
    path.write_bytes(content)
    found = compare_with_full_pass(path, "pyav")
    assert isinstance(found, Comparison) and not found.different and 0 < len(found.damaged) < 21


def test_a_folder_is_checked_without_a_list(tool, tmp_path, caplog):
    (tmp_path / "v").mkdir()
    encode(tmp_path / "v" / "a.mp4", numbered_frames(12), "libx264")
    ODD["dropped frames: avi"](tmp_path / "v" / "b")
    (tmp_path / "v" / "notes.txt").write_text("x")
    code, out, _ = tool("check", tmp_path / "v", "--exact", "--all", "--workers", "1")
    assert code == 0 and "| odd    |      1 |" in out and "| ok     |      1 |" in out
    assert "neither video nor picture: .txt 1" in caplog.text
    report = (tmp_path / "v.report.csv").read_text().splitlines()
    assert [line.split(",")[:2] for line in report[1:]] == [["a.mp4", "ok"], ["b.avi", "odd"]]
    assert "60 packets for 56 frames" in report[2]
    code, _, err = tool("check", tmp_path / "v", "--root", tmp_path)
    assert code == 2 and "is a folder, not a list" in err
