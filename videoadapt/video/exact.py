"""Whether each frame of a file, however it is asked for, is the one that a single pass over the file shows there."""

import hashlib
import random
from collections.abc import Iterator
from itertools import chain
from pathlib import Path
from typing import NamedTuple

import av
import numpy as np

from videoadapt.video.decode import Backend, Reader, VideoReadError, open_video
from videoadapt.video.decode.common import RecountedError, read_anew
from videoadapt.video.decode.pyav import PyavVideo

_ALONE = 200  # frames of a long video that are read one by one
Digest = bytes


class Comparison(NamedTuple):
    """``different``: the first frame that is another one than it should be; ``damaged``: frames that were refused."""

    frames: int
    different: str = ""
    damaged: tuple[int, ...] = ()


class _Pass(NamedTuple):
    """What FFmpeg shows; ``early``: of that, how many frames refer to what was cut away before them."""

    frames: list[Digest]
    early: int
    whole: bool


@read_anew
def compare_with_full_pass(path: Path, backend: Backend) -> Comparison:
    """Frames in order, backwards, at random and from handles of their own against one pass with FFmpeg.

    Of a long video the last three take 200 frames, the first and the last among them. The pass knows of no index and
    no seek; the choice of the stream, cropping and orientation are the reader's. VideoReadError if it cannot be opened.
    """
    shown = _full_pass(path)
    with open_video(path, backend) as video:
        count = video.num_frames
        if shown.whole and len(shown.frames) - shown.early != count:
            for number in range(count):  # a frame that never comes out makes the file be counted anew
                _read(video, number)
    if shown.whole and len(shown.frames) - shown.early != count:
        return Comparison(count, f"{count} frames, where a full pass shows {len(shown.frames) - shown.early}")
    expected = dict(enumerate(shown.frames[shown.early :])) if shown.whole else {}  # damage moves what comes after it
    places = {digest: number - shown.early for number, digest in enumerate(shown.frames)}
    damaged: set[int] = set()
    for manner, number, digest in _readings(path, backend, count):
        if digest is None:
            damaged.add(number)
        elif digest not in places or digest != expected.setdefault(number, digest):
            what = f"of frame {places[digest]}" if digest in places else "of no frame of the file"
            different = f"frame {number}, read {manner}, has the pixels {what}"
            return Comparison(count, different, tuple(sorted(damaged)))
    return Comparison(count, "", tuple(sorted(damaged)))


def _full_pass(path: Path) -> _Pass:
    with PyavVideo(path) as reader:
        index = reader.index
        without = {(mark.pts, mark.size) for mark in index.marks if mark.look.pictures == 0}
        digests, early, whole = [], index.leading, not index.torn
        for packet in chain(reader.source.afresh(), [None]):
            frames: list[av.VideoFrame] = []
            try:
                frames = reader.stream.decode(packet)
            except av.InvalidDataError:
                whole = whole and packet is not None and (packet.pts, packet.size) in without
            for frame in frames:
                whole = whole and not frame.is_corrupt
                early += index.first is not None and frame.pts is not None and frame.pts < index.first
                digests.append(_digest(reader.shown(frame)))
    return _Pass(digests, early, whole)


def _readings(path: Path, backend: Backend, count: int) -> Iterator[tuple[str, int, Digest | None]]:
    """How, which frame, and what came; None for one that was refused."""
    some = np.unique(np.linspace(0, count - 1, min(count, _ALONE)).round().astype(int)).tolist()
    mixed = random.Random(0).sample(some, len(some))
    for manner, numbers in {"in order": range(count), "backwards": some[::-1], "at random": mixed}.items():
        with open_video(path, backend) as video:
            for number in numbers:
                yield manner, number, _read(video, number)
    for number in some:
        with open_video(path, backend) as video:
            yield "alone", number, _read(video, number)


def _read(video: Reader, number: int) -> Digest | None:
    try:
        return _digest(video.frames([number])[0])
    except RecountedError:
        raise
    except VideoReadError:
        return None


def _digest(frame: np.ndarray) -> Digest:
    return hashlib.blake2b(np.ascontiguousarray(frame).tobytes(), digest_size=16).digest()
