"""What is the matter with a video file: unreadable, empty, short or odd."""

import time
from pathlib import Path
from typing import NamedTuple

from videoadapt.data.decode import Backend, VideoReadError, open_video
from videoadapt.data.decode.picture import SUFFIXES
from videoadapt.data.decode.pyav import PyavVideo
from videoadapt.data.sampling import segment_indices

UNREADABLE = ("missing", "empty", "unreadable", "damaged", "hung", "crashed")  # what cannot be used, worst first
STATUSES = (*UNREADABLE, "short", "odd", "ok")


class Finding(NamedTuple):
    """One file. ``damaged`` opens, but not every frame looked at can be decoded; ``odd`` is read right all the same."""

    path: str
    status: str
    detail: str = ""
    decoder: str = ""
    frames: int = 0
    fps: float = 0.0
    width: int = 0
    height: int = 0
    seconds: float = 0.0  # to open and decode


def inspect_video(
    root: str, path: str, backend: Backend = "pyav", *, min_frames: int = 1, whole: bool = False
) -> Finding:
    """Open a video and decode sixteen frames spread over it, or all of them."""
    file, began = Path(root, path), time.perf_counter()
    if not file.exists():
        return Finding(path, "missing", f"{file}: no such video")
    try:
        with open_video(file, backend) as video:
            status, detail = _decodes(video, whole)
            height, width = (video.frames([0]).shape[1:3]) if status == "ok" else (0, 0)
            facts = (video.backend, video.num_frames, round(video.fps, 3), width, height)
    except VideoReadError as error:
        return Finding(path, "empty" if "holds no frames" in str(error) else "unreadable", str(error))
    if status == "ok" and facts[1] < min_frames:
        status, detail = "short", f"{facts[1]} frames, fewer than {min_frames}"
    if status == "ok" and (oddities := _oddities(file, backend, facts[0])):
        status, detail = "odd", "; ".join(oddities)
    return Finding(path, status, detail, *facts, round(time.perf_counter() - began, 3))


def _decodes(video, whole: bool) -> tuple[str, str]:
    indices = range(video.num_frames) if whole else [*segment_indices(video.num_frames, 14)[0], video.num_frames - 1]
    try:
        for start in range(0, len(indices), 8):
            video.frames(indices[start : start + 8])
    except VideoReadError as error:
        return "damaged", str(error)
    return "ok", ""


def _oddities(file: Path, backend: str, decoder: str) -> list[str]:
    """What is unusual about a file that is read right, and may come out wrong elsewhere."""
    if file.suffix.lower() in SUFFIXES:
        return []
    found = [] if decoder == backend else [f"read with {decoder}"]
    try:
        with PyavVideo(file) as video:
            return found + video.oddities()
    except VideoReadError:
        return found
