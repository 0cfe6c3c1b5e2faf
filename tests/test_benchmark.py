"""The benchmark's form; its figures are for people to look at."""

import json

import pytest
from conftest import encode, numbered_frames

from videoadapt.benchmarks import decode
from videoadapt.data.decode import open_video
from videoadapt.engine.cost import interleaved


@pytest.fixture
def clip(tmp_path):
    return encode(tmp_path / "clip.mp4", numbered_frames(30, 64, 80), "libx264", b_frames=2, preset="ultrafast")


def test_decode_prints_rows_of_both_sides(tool, clip):
    code, out, err = tool("benchmark.py", "decode", "--video", clip, "--rounds", "1", "--json")
    assert code == 0, err
    result = json.loads(out)
    assert result["machine"]["cores"] >= 1 and result["machine"]["threads"] == 1
    against = {row["against"] for row in result["rows"]}
    assert against >= {"PyAV, every frame to rgb", "PyAV, one forward pass", "decord alone", "data.decoder=decord"}
    assert against >= {"one decode for each view", "FFmpeg's scaler", "the original"}
    for row in result["rows"]:
        assert row["time_ratio"] > 0 and row["memory_ratio"] > 0 and row["name"].split("[")[0] != row["against"]


def test_the_table_names_the_machine(tool, clip):
    code, out, _ = tool("benchmark.py", "decode", "--video", clip, "--rounds", "1")
    assert code == 0 and out.startswith("machine: processor ") and "| views[8x3x3]" in out


def test_the_videos_made_for_it_are_what_they_say(tmp_path):
    with open_video(decode.write_clip(tmp_path / "a.mp4", 96, 128, gop=10, frames=25)) as video:
        assert video.num_frames == 25 and video.fps == 30
        assert video.frames([0, 24]).shape == (2, 96, 128, 3)


def test_sides_take_turns_after_a_call_to_warm_up():
    calls = []
    times = interleaved({name: lambda name=name: calls.append(name) for name in "ab"}, rounds=2)
    assert calls == ["a", "b"] * 3
    assert all(seconds.least <= seconds.median <= seconds.most for seconds in times.values())


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["decode", "--rounds", "0"], "--rounds: 0 is below 1"),
        (["decode", "--threads", "0"], "--threads: 0 is below 1"),
        (["cook"], "invalid choice: 'cook'"),
        (["decode", "--video", "nowhere.mp4"], "nowhere.mp4: no such video"),
    ],
)
def test_a_wrong_call_is_one_line(tool, arguments, message):
    code, _, err = tool("benchmark.py", *arguments)
    assert code == 2 and message in err
