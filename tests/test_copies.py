"""Copies with labels: their sound lies to the picture as in the original, and they keep its rate."""

from fractions import Fraction

import av
import numpy as np
import pytest
from conftest import numbered_frames, read_number

from videoadapt.data.windows import Window
from videoadapt.video import open_video
from videoadapt.workflows import write_annotated

RATE = 16_000


def _tone(count, loud_at):
    sound = np.zeros(count, np.float32)
    sound[loud_at : loud_at + RATE // 8] = np.sin(np.arange(len(sound[loud_at : loud_at + RATE // 8])) * 0.5)
    return sound


def _packets(stream, frames):
    found = [packet for frame in frames for packet in stream.encode(frame)]
    return found + stream.encode(None)


def _pictures(begin, seconds, tick):
    """Black but for a flash in the second second."""
    for number in range(int(25 * seconds)):
        picture = np.full((48, 64, 3), 255 if 25 <= number < 30 else 0, np.uint8)
        frame = av.VideoFrame.from_ndarray(picture, format="rgb24")
        frame.pts, frame.time_base = round((number / 25 + begin) / tick), tick
        yield frame


def _samples(begin, seconds, loud_at):
    sound = _tone(int(RATE * seconds), int(RATE * loud_at))
    for start in range(0, len(sound), 1024):
        part = sound[start : start + 1024][None]
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(part), format="fltp", layout="mono")
        frame.sample_rate, frame.pts, frame.time_base = RATE, start + round(begin * RATE), Fraction(1, RATE)
        yield frame


def _film(path, picture=0.0, sound=0.0, *, seconds=(3, 3), codec="aac", tracks=1, **options):
    """Pictures from ``picture`` on, flash a second later; sounds from ``sound`` on, a tone half a second later."""
    with av.open(str(path), "w", **options) as file:
        video = file.add_stream("libx264", rate=25, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt, video.thread_count = 64, 48, "yuv420p", 1
        audio = [file.add_stream(codec, rate=RATE, layout="mono") for _ in range(tracks)]
        packets = _packets(video, _pictures(picture, seconds[0], Fraction(1, 25)))
        for number, stream in enumerate(audio):
            if number:  # the second track is the one to take, and its tone comes later
                stream.disposition, audio[0].disposition = av.stream.Disposition.default, av.stream.Disposition(0)
            packets += _packets(stream, _samples(sound, seconds[1], 0.5 + number))
        for packet in sorted(packets, key=lambda packet: packet.dts * packet.time_base):
            file.mux(packet)
    return path


def _lag(path, flash=0):
    """Seconds from the flash to the tone that follows, as a player would have them."""
    bright, loud = [], []
    with av.open(str(path)) as file:
        for frame in file.decode(video=0):
            if frame.to_ndarray(format="gray")[:24].mean() > 127:
                bright.append(frame.time)
    with av.open(str(path)) as file:
        resampler = av.AudioResampler(format="fltp", layout="mono")
        for frame in file.decode(file.streams.best("audio")):
            for part in resampler.resample(frame):
                found = np.flatnonzero(np.abs(part.to_ndarray()[0]) > 0.2)
                loud += [frame.time + found[0] / frame.sample_rate] if len(found) else []
    return loud[0] - bright[0]


# File, when pictures and sounds begin, and what else is special.
FILMS = {
    "transport stream": ("a.ts", 0, 0, {"container_options": {"output_ts_offset": "1.4"}}),
    "after an hour": ("a.ts", 0, 0, {"container_options": {"output_ts_offset": "3600"}}),
    "sound before the picture": ("a.mp4", 2, 0, {}),
    "sound before the picture, mkv": ("a.mkv", 2, 0, {}),
    "sound after the picture": ("a.mkv", 0, 1.5, {}),
    "both late": ("a.mkv", 7, 8, {}),
    "flv": ("a.flv", 0, 0, {}),
    "pcm": ("a.mov", 1, 0, {"codec": "pcm_s16le"}),
    "avi, tick of a packet": ("a.avi", 0, 0, {"codec": "libmp3lame"}),
    "opus": ("a.mkv", 0.4, 0, {"codec": "libopus"}),
    "sound longer than the picture": ("a.mp4", 0, 0, {"seconds": (2, 14)}),
    "sound shorter than the picture": ("a.ts", 0, 0.2, {"seconds": (14, 1)}),
    "of two tracks the default one": ("a.mkv", 0, 0, {"tracks": 2}),
}


@pytest.mark.parametrize("case", FILMS)
def test_sound_lies_to_the_picture_as_in_the_original(tmp_path, case):
    name, picture, sound, options = FILMS[case]
    source = _film(tmp_path / name, picture, sound, **options)
    write_annotated(source, tmp_path / "copy.mp4", [(Window(0, 1), "x")])
    assert _lag(tmp_path / "copy.mp4") == pytest.approx(_lag(source), abs=0.03)
    with av.open(str(source)) as before, av.open(str(tmp_path / "copy.mp4")) as after:
        lengths = [
            float(file.streams.best("audio").duration or 0) * file.streams.best("audio").time_base
            for file in (before, after)
        ]
        assert len(after.streams.audio) == 1 and (not lengths[0] or lengths[1] == pytest.approx(lengths[0], abs=0.2))
    with open_video(source) as old, open_video(tmp_path / "copy.mp4") as new:
        np.testing.assert_allclose(new.times, old.times, atol=2e-3)


def test_sound_of_recordings_joined_end_to_end_goes_on(tmp_path, caplog):
    one = _film(tmp_path / "one.ts").read_bytes()
    (tmp_path / "two.ts").write_bytes(one + one)
    write_annotated(tmp_path / "two.ts", tmp_path / "copy.mp4", [(Window(0, 1), "x")])
    with av.open(str(tmp_path / "copy.mp4")) as copy:
        sound, picture = (float(s.duration * s.time_base) for s in (copy.streams.audio[0], copy.streams.video[0]))
    assert sound == pytest.approx(picture, abs=0.3) and picture == pytest.approx(6, abs=0.1) and not caplog.messages


def test_sound_that_the_copy_cannot_hold_is_told(tmp_path, caplog):
    source = _film(tmp_path / "a.avi", codec="pcm_mulaw")
    write_annotated(source, tmp_path / "copy.mp4", [(Window(0, 1), "x")])
    with av.open(str(tmp_path / "copy.mp4")) as copy:
        assert not copy.streams.audio and len(list(copy.decode(video=0))) == 75
    assert [message for message in caplog.messages if "a.avi: its sound is not copied (" in message]


@pytest.mark.parametrize(("size", "rate"), [((720, 576), Fraction(25)), ((720, 480), Fraction(30_000, 1001))])
def test_raw_dv_keeps_its_rate(tmp_path, size, rate):
    """Its container's clock ticks 60,000 times a second, which FFmpeg gives as the rate."""
    with av.open(str(tmp_path / "a.dv"), "w") as file:
        stream = file.add_stream("dvvideo", rate=rate)
        stream.width, stream.height, stream.pix_fmt = *size, "yuv420p" if size[1] == 576 else "yuv411p"
        for picture in numbered_frames(4, size[1], size[0]):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    write_annotated(tmp_path / "a.dv", tmp_path / "copy.mp4", [(Window(0, 1), "x")])
    with open_video(tmp_path / "copy.mp4") as copy:
        assert copy.num_frames == 4 and copy.fps == pytest.approx(float(rate))
        np.testing.assert_allclose(copy.times, np.arange(4) / float(rate), atol=1e-4)


@pytest.mark.parametrize("kind", ["h264", "hevc", "m4v"])
def test_so_do_other_raw_streams(tmp_path, kind):
    codec = {"h264": "libx264", "hevc": "libx265", "m4v": "mpeg4"}[kind]
    with av.open(str(tmp_path / f"a.{kind}"), "w", format=kind) as file:
        stream = file.add_stream(codec, rate=25, options={"x265-params": "log-level=none"} if kind == "hevc" else {})
        stream.width, stream.height, stream.pix_fmt, stream.thread_count = 64, 48, "yuv420p", 1
        for picture in numbered_frames(30):
            file.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        file.mux(stream.encode(None))
    write_annotated(tmp_path / f"a.{kind}", tmp_path / "copy.mp4", [(Window(0, 1), "x")])
    with open_video(tmp_path / "copy.mp4") as copy:
        assert (copy.num_frames, copy.fps) == (30, 25) and read_number(copy.frames([20])[0]) == 20
