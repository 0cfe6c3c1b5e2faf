"""Damaged videos: no decoder crashes or hangs, and no frame is shown that was made up."""

from fractions import Fraction

import av
import numpy as np
import pytest
from conftest import encode, number_or_none, numbered_frames, read_number
from fuzz_decoders import run, write_mutants
from zoo import COUNT

from videoadapt.video import BACKENDS, VideoReadError, is_available, open_video


def test_damaged_files_neither_crash_nor_hang_a_decoder(tmp_path):
    """The short form of ``python tests/fuzz_decoders.py``."""
    backends = [name for name in BACKENDS if is_available(name)]
    outcomes, failures = run(write_mutants(tmp_path, 150, seed=1), backends, workers=2, exact=False)
    assert not failures
    for backend in backends:
        assert outcomes[backend, "read"] > 20 and outcomes[backend, "refused"] > 20


def _with_packet(path, number, change):
    """The file with the data of its packet ``number`` (in decoding order) changed."""
    with av.open(str(path)) as container:
        packets = [(packet.pos, packet.size) for packet in container.demux(video=0) if packet.size]
    content = bytearray(path.read_bytes())
    start, size = packets[number]
    content[start : start + size] = change(size)
    path.write_bytes(content)
    return path


@pytest.mark.parametrize("number", [0, 20, 21, 23, 30, 41])
def test_after_damage_nothing_is_shown_until_the_next_key_frame(tmp_path, number):
    """Packet 20 and 40 are key frames; with three B-frames they come out later than they go in."""
    whole = encode(tmp_path / "x.mp4", numbered_frames(COUNT), "libx264", b_frames=3, gop=20, crf="12", bf="3")
    path = _with_packet(whole, number, lambda size: b"\xff" * size)
    with open_video(path) as video:
        shown = [number_or_none(video, index) for index in range(COUNT)]
    assert all(index == found for index, found in enumerate(shown) if found is not None)
    assert shown.count(None) < 21 and None not in shown[: max(number - 5, 0)]


def test_a_count_never_recovers_from_damage(tmp_path):
    whole = encode(tmp_path / "x.avi", numbered_frames(COUNT), "mpeg4", b_frames=2, qscale="2")
    with open_video(_with_packet(whole, 20, lambda size: b"\xff" * size)) as video:
        shown = [number_or_none(video, index) for index in range(video.num_frames)]
    assert all(index == found for index, found in enumerate(shown) if found is not None)
    assert shown[:15] == list(range(15)) and shown[-1] is None


def test_a_damaged_frame_is_refused_and_the_next_key_frame_is_not(tmp_path):
    path = encode(tmp_path / "x.mp4", numbered_frames(COUNT), "libx264", gop=20, crf="12", preset="veryfast")
    with av.open(str(path)) as container:
        places = {packet.pts: (packet.pos, packet.size) for packet in container.demux(video=0) if packet.size}
    content = bytearray(path.read_bytes())
    start, size = places[sorted(places)[25]]
    content[start + size // 4 : start + size] = np.random.default_rng(0).bytes(size - size // 4)
    path.write_bytes(content)
    with open_video(path) as video:
        assert [read_number(frame) for frame in video.frames([0, 19, 24, 40, 59])] == [0, 19, 24, 40, 59]
        with pytest.raises(VideoReadError, match="frame 30 of 60 is damaged"):
            video.frames([10, 30])


@pytest.mark.parametrize("piece", [1, 8, 24])
def test_frames_that_change_their_size_are_refused(tmp_path, piece):
    path = tmp_path / "x.webm"
    with av.open(str(path), "w") as container:
        streams = [container.add_stream("libvpx", rate=25, options={"cpu-used": "8", "deadline": "realtime"})]
        streams[0].width, streams[0].height, streams[0].pix_fmt = 64, 48, "yuv420p"
        other = av.CodecContext.create("libvpx", "w")
        other.width, other.height, other.pix_fmt, other.time_base = 64, 96, "yuv420p", Fraction(1, 25)
        streams[0].thread_count = other.thread_count = 1  # several can wait for each other without end
        for number, size in enumerate([48] * 16 + [96] * 8):
            frame = av.VideoFrame.from_ndarray(np.full((size, 64, 3), 9 * number, np.uint8), format="rgb24")
            frame.pts, frame.time_base = number, Fraction(1, 25)
            for packet in (streams[0] if size == 48 else other).encode(frame):
                packet.stream = streams[0]
                container.mux(packet)
    with open_video(path) as video:
        assert video.frames(range(16)).shape == (16, 48, 64, 3)
        with pytest.raises(VideoReadError, match="its frames change their size, 64x48 and 64x96"):
            for start in range(0, 24, piece):
                video.frames(range(start, start + piece))
