"""The zoo: every kind of file through every decoder comes out right, or is refused in one line. Nothing hangs."""

import gc
import logging
import os
import random
import resource
import signal
from pathlib import Path

import av
import numpy as np
import pytest
from conftest import encode, numbered_frames, read_number
from fuzz_decoders import run, write_mutants
from zoo import BROKEN, COUNT, WHOLE

from videoadapt.data import decode
from videoadapt.data.decode import BACKENDS, VideoReadError, decord, open_video, require_backend
from videoadapt.errors import UserError


def _skip_unloadable(backend):
    try:
        require_backend(backend)
    except UserError as error:
        return pytest.mark.skip(reason=str(error))
    return ()


DECODERS = [pytest.param(name, marks=_skip_unloadable(name)) for name in BACKENDS]


@pytest.fixture(scope="module")
def zoo(tmp_path_factory):
    folder = tmp_path_factory.mktemp("zoo")
    return {name: make(folder / f"kind {number}") for number, (name, (make, _)) in enumerate(WHOLE.items())}


@pytest.mark.parametrize("backend", DECODERS)
@pytest.mark.parametrize("kind", WHOLE)
def test_every_frame_of_every_kind_is_the_right_one(zoo, kind, backend):
    expected = list(WHOLE[kind][1])
    with open_video(zoo[kind], backend) as video:
        assert video.num_frames == len(expected) and video.fps > 0
        whole = video.frames(range(video.num_frames))
    assert [read_number(frame) for frame in whole] == expected
    draw = random.Random(0)
    for _ in range(4):
        with open_video(zoo[kind], backend) as video:
            for _ in range(3):
                wanted = [draw.randrange(len(expected)) for _ in range(draw.randint(1, 6))]
                assert np.array_equal(video.frames(wanted), whole[wanted]), wanted


@pytest.mark.parametrize("kind", ["h264 open GOP", "hevc open GOP", "h264 intra refresh", "mpeg4 B-frames avi"])
def test_decord_does_not_get_what_it_misreads(zoo, kind, caplog):
    with caplog.at_level(logging.WARNING), open_video(zoo[kind], "decord") as video:
        assert video.backend == "pyav"
    assert f"{zoo[kind]}: decord would misread its 60 frames; read with pyav" in caplog.text


@pytest.mark.parametrize("backend", DECODERS)
@pytest.mark.parametrize("kind", WHOLE)
def test_a_file_cut_short_gives_what_is_left_of_it(zoo, kind, backend, tmp_path):
    """The last frame left may be one that others should precede: then the file holds it in that place."""
    content, expected = zoo[kind].read_bytes(), list(WHOLE[kind][1])
    torn = tmp_path / f"torn{zoo[kind].suffix}"
    for tenth in range(10):
        torn.write_bytes(content[: len(content) * tenth // 10])
        try:
            with open_video(torn, backend) as video:
                for number in range(video.num_frames - 1):
                    shown = _number_or_none(video, number)
                    assert shown in {expected[number], None}, (tenth, number)
                last = _number_or_none(video, video.num_frames - 1)
                assert last is None or kind == "gif" or last in expected[video.num_frames - 1 :], tenth
        except VideoReadError as error:
            assert str(torn) in str(error) and "\n" not in str(error)


def _number_or_none(video, number):
    try:
        return read_number(video.frames([number])[0])
    except VideoReadError as error:
        assert "\n" not in str(error)
        return None


@pytest.mark.parametrize("backend", DECODERS)
@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_video_is_one_error(kind, backend, tmp_path):
    make, message = BROKEN[kind]
    path = tmp_path / "x.mp4"
    make(path)
    with pytest.raises(VideoReadError, match=message) as caught, open_video(path, backend) as video:
        video.frames(range(video.num_frames))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


def test_damaged_files_neither_crash_nor_hang_a_decoder(tmp_path):
    """The short form of ``python tests/fuzz_decoders.py``."""
    backends = [param.values[0] for param in DECODERS if not param.marks]
    outcomes, failures = run(write_mutants(tmp_path, 150, seed=1), backends, workers=2)
    assert not failures
    for backend in backends:
        assert outcomes[backend, "read"] > 20 and outcomes[backend, "refused"] > 20


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


def test_frames_that_change_their_size_are_refused(tmp_path):
    for number, size in enumerate([(48, 64), (64, 96)]):
        encode(tmp_path / f"{number}.ts", numbered_frames(12, *size), "mpeg2video", qscale="2")
    both = tmp_path / "both.ts"
    both.write_bytes((tmp_path / "0.ts").read_bytes() + (tmp_path / "1.ts").read_bytes())
    with pytest.raises(VideoReadError, match="change their size|damaged"), open_video(both) as video:
        video.frames(range(video.num_frames))


# --- the chain of decoders


class _Picky:
    """A decoder that reads nothing, or fails at the frames."""

    backend, num_frames, fps = "picky", COUNT, 25.0

    def __init__(self, path, deadline, opens=True):
        if not opens:
            raise VideoReadError(f"{path}: picky does not open it")
        self.path = path

    def frames(self, indices):
        raise VideoReadError(f"{self.path}: picky does not decode it")

    def __exit__(self, *_):
        pass


@pytest.mark.parametrize(("opens", "word"), [(True, "decode"), (False, "open")])
def test_what_one_decoder_cannot_read_goes_to_the_next(zoo, opens, word, monkeypatch, caplog):
    picky = lambda path, deadline: _Picky(path, deadline, opens)  # noqa: E731
    monkeypatch.setitem(BACKENDS, "decord", picky)
    with open_video(zoo["h264 mov"], "decord") as video:
        assert [read_number(frame) for frame in video.frames([3, 50])] == [3, 50]
        assert video.backend == "pyav"
    assert f"picky does not {word} it; read with pyav" in caplog.text


def test_a_stand_in_that_counts_other_frames_is_not_asked(zoo, monkeypatch):
    monkeypatch.setitem(BACKENDS, "decord", _Picky)
    monkeypatch.setattr(_Picky, "num_frames", COUNT + 1)
    with open_video(zoo["h264 mov"], "decord") as video, pytest.raises(VideoReadError, match="picky does not decode"):
        video.frames([3])


def test_the_last_resort_reads_what_pyav_cannot(zoo, monkeypatch, caplog):
    def refuse(path, deadline):
        raise VideoReadError(f"{path}: pyav does not open it")

    monkeypatch.setitem(BACKENDS, "torchcodec", BACKENDS["pyav"])
    monkeypatch.setitem(BACKENDS, "pyav", refuse)
    monkeypatch.setattr(decode, "_loads", lambda name: True)
    with open_video(zoo["h264 mov"]) as video:
        assert read_number(video.frames([7])[0]) == 7
    assert "pyav does not open it; read with torchcodec" in caplog.text
    monkeypatch.setitem(BACKENDS, "torchcodec", refuse)
    with pytest.raises(VideoReadError, match="pyav does not open it"):
        open_video(zoo["h264 mov"])


# --- time, memory, processes


@pytest.mark.parametrize("backend", DECODERS)
def test_a_file_has_a_time_limit(zoo, backend):
    with pytest.raises(VideoReadError, match=r"took longer than the limit of 1e-09 s"):
        open_video(zoo["h264 mov"], backend, time_limit=1e-9)


@pytest.mark.parametrize(("harm", "why"), [(signal.SIGSTOP, "took longer than"), (signal.SIGKILL, "crashed")])
def test_a_decord_that_hangs_or_dies_costs_one_file(zoo, harm, why, caplog):
    path = zoo["h264 mov"]
    with open_video(path, "decord", time_limit=2.0) as video:
        assert video.backend == "decord"
        os.kill(decord._process()._process.pid, harm)
        assert [read_number(frame) for frame in video.frames([3, 50])] == [3, 50]
        assert video.backend == "pyav"
    assert why in caplog.text
    with open_video(path, "decord") as video:
        assert read_number(video.frames([9])[0]) == 9 and video.backend == "decord"


@pytest.mark.parametrize("backend", DECODERS)
def test_thousands_of_files_leave_nothing_behind(zoo, backend):
    good, bad = zoo["h264 B-frames mp4"], zoo["h264 mov"].with_name("bad.mp4")
    bad.write_bytes(good.read_bytes()[:3000])
    logging.disable(logging.WARNING)

    def use(times):
        for number in range(times):
            with open_video(good, backend) as video:
                video.frames([number % COUNT])
            with pytest.raises(VideoReadError):
                open_video(bad, backend)
        gc.collect()
        return len(list(Path("/proc/self/fd").iterdir())), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    try:
        (files, before), (files_after, after) = use(100), use(1000)
    finally:
        logging.disable(logging.NOTSET)
    assert files_after <= files
    assert after - before < 30 * 1024  # KiB


def test_a_reader_left_open_is_harmless(zoo):
    for _ in range(30):
        open_video(zoo["h264 mov"]).frames([5])
    gc.collect()


def test_the_zoo_is_large_enough():
    assert len(WHOLE) >= 30 and len(BROKEN) >= 8
