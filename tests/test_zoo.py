"""The zoo: every kind of file through every decoder comes out right, or is refused in one line. Nothing hangs."""

import gc
import json
import logging
import random
import resource
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
from conftest import encode, number_or_none, numbered_frames, read_number
from zoo import BROKEN, COUNT, WHOLE

from videoadapt.errors import UserError
from videoadapt.video import decode
from videoadapt.video.decode import BACKENDS, VideoReadError, decord, open_video, require_backend
from videoadapt.video.decode.common import tell


def _skip_unloadable(backend):
    try:
        require_backend(backend)
    except UserError as error:
        return pytest.mark.skip(reason=str(error))
    return ()


DECODERS = [pytest.param(name, marks=_skip_unloadable(name)) for name in BACKENDS]


@pytest.fixture(autouse=True)
def told_nothing():
    """Warnings come once in the life of a process."""
    tell.cache_clear()


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
    """Of the last ones left, some may have lost the B-frames before them: the file shows them in their place."""
    content, expected = zoo[kind].read_bytes(), list(WHOLE[kind][1])
    torn = tmp_path / f"torn{zoo[kind].suffix}"
    for tenth in range(10):
        torn.write_bytes(content[: len(content) * tenth // 10])
        try:
            with open_video(torn, backend) as video:
                count = video.num_frames
                shown = [number_or_none(video, number) for number in range(count)]
        except VideoReadError as error:
            assert str(torn) in str(error) and "\n" not in str(error)
            continue
        for number, found in enumerate(shown[:-1]):
            late = 4 if number >= count - 5 else 0
            assert found is None or found in expected[number : number + 1 + late], (tenth, number)
        assert shown[-1] is None or kind == "gif" or shown[-1] in expected[count - 1 :], tenth


@pytest.mark.parametrize("backend", DECODERS)
@pytest.mark.parametrize("kind", BROKEN)
def test_what_is_no_video_is_one_error(kind, backend, tmp_path):
    make, message = BROKEN[kind]
    path = tmp_path / "x.mp4"
    make(path)
    with pytest.raises(VideoReadError, match=message) as caught, open_video(path, backend) as video:
        video.frames(range(video.num_frames))
    assert str(path) in str(caught.value) and "\n" not in str(caught.value)


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
    monkeypatch.setattr(decode, "is_available", lambda name: True)
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


HARM = {  # what a decord may do in the middle of its work: busy with Python's lock held, gone, gone half way
    "hangs": ("while True: pass", "it took longer than the limit"),
    "dies": ("import os; os.abort()", "it crashed"),
    "dies half way": ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "it crashed"),
}


@pytest.fixture
def harmful(tmp_path, monkeypatch):
    """Put another decord in the way of the process, which fails at its frames; ours is back afterwards."""

    def install(deed, half_way):
        (tmp_path / "decord").mkdir()
        (tmp_path / "decord" / "__init__.py").write_text(
            "import numpy, sys\n"
            "class logging: QUIET, set_level = 0, staticmethod(lambda level: None)\n"
            "class Pixels(numpy.ndarray):\n"
            "    @property\n"
            "    def data(self):\n"
            f"        {deed}\n"
            "class VideoReader:\n"
            f"    def __init__(self, *_, **__): pass\n    def __len__(self): return {COUNT}\n"
            "    def asnumpy(self): return numpy.zeros((2, 48, 64, 3), numpy.uint8).view(Pixels)\n"
            f"    def get_batch(self, _):\n        {'return self' if half_way else deed}\n"
        )
        monkeypatch.setenv("PYTHONPATH", str(tmp_path))
        monkeypatch.setattr(decord, "_running", None)

    return install


@pytest.mark.parametrize("deed", HARM)
def test_a_decord_that_hangs_or_dies_costs_a_detour(zoo, deed, harmful, caplog):
    code, why = HARM[deed]
    harmful(code, deed == "dies half way")
    with open_video(zoo["h264 mov"], "decord", time_limit=1.0) as video:
        assert video.backend == "decord"
        assert [read_number(frame) for frame in video.frames([3, 50])] == [3, 50]
        assert video.backend == "pyav"
    assert why in caplog.text


def test_an_interrupted_answer_is_not_taken_for_the_next(zoo, monkeypatch):
    path = zoo["h264 mov"]
    plain = json.loads

    def interrupt(text):
        monkeypatch.setattr(json, "loads", plain)
        raise KeyboardInterrupt

    with open_video(path, "decord") as video:
        monkeypatch.setattr(json, "loads", interrupt)
        with pytest.raises(KeyboardInterrupt):
            video.frames([50, 10])
    with open_video(path, "decord") as video:
        assert [read_number(frame) for frame in video.frames([5, 6])] == [5, 6]


def test_threads_share_decord_in_turns(zoo):
    def read(number):
        with open_video(zoo["h264 mov"], "decord") as video:
            return video.backend, read_number(video.frames([number])[0])

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(read, range(40))) == [("decord", number) for number in range(40)]


def test_a_relative_path_means_this_process_s_folder(zoo, tmp_path, monkeypatch):
    for number in (0, 1):
        (tmp_path / f"{number}").mkdir()
        encode(
            tmp_path / f"{number}" / "x.mp4", numbered_frames(20)[::-1] if number else numbered_frames(20), "libx264"
        )
        monkeypatch.chdir(tmp_path / f"{number}")
        with open_video("x.mp4", "decord") as video:
            assert video.backend == "decord" and read_number(video.frames([0])[0]) == (19 if number else 0)


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
        pages = int(Path("/proc/self/statm").read_text().split()[1])
        return len(list(Path("/proc/self/fd").iterdir())), pages * resource.getpagesize()

    try:
        (files, before), (files_after, after) = use(100), use(1000)
    finally:
        logging.disable(logging.NOTSET)
    assert files_after <= files
    assert after - before < 30 * 2**20


def test_a_reader_left_open_is_harmless(zoo):
    for _ in range(30):
        open_video(zoo["h264 mov"]).frames([5])
    gc.collect()


def test_the_zoo_is_large_enough():
    assert len(WHOLE) >= 30 and len(BROKEN) >= 8
