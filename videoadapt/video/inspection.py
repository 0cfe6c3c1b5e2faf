"""What is the matter with a video file: unreadable, empty, short or odd."""

import os
import time
from pathlib import Path
from typing import NamedTuple

import numpy as np

from videoadapt.video.decode import Backend, Reader, VideoReadError, open_video
from videoadapt.video.decode.pyav import PyavVideo
from videoadapt.video.media import is_still
from videoadapt.video.reader import read_pieces

UNREADABLE = ("missing", "empty", "unreadable", "damaged", "hung", "crashed")  # what cannot be used, worst first
STATUSES = (*UNREADABLE, "short", "odd", "ok")
_LOOKED_AT = 15  # frames, the first and the last among them


class Finding(NamedTuple):
    """One file.

    ``empty`` has no bytes or no frames; ``damaged`` opens, but not every frame looked at can be decoded; ``odd`` is
    read right all the same.
    """

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
    """Open a video and decode fifteen frames spread over it, or all of them."""
    file, began = Path(root, path), time.perf_counter()
    try:
        with open_video(file, backend) as video:
            finding = Finding(path, "ok", "", video.backend, video.num_frames, round(video.fps, 3))
            finding = _decoded(finding, video, whole)
    except VideoReadError as error:
        return Finding(path, _why(file, str(error)), str(error))
    finding = finding._replace(seconds=round(time.perf_counter() - began, 3))
    if finding.status != "ok" or is_still(file):
        return finding
    if finding.frames < min_frames:
        return finding._replace(status="short", detail=f"{finding.frames} frames, fewer than {min_frames}")
    oddities = _oddities(file, backend, finding.decoder)
    return finding._replace(status="odd", detail="; ".join(oddities)) if oddities else finding


def _why(file: Path, message: str) -> str:
    """The status of a file that does not open."""
    if "no such video" in message:
        return "missing"
    hollow = "holds no frames" in message or (os.path.isfile(file) and not file.stat().st_size)  # noqa: PTH113
    return "empty" if hollow else "unreadable"


def _decoded(finding: Finding, video: Reader, whole: bool) -> Finding:
    last = video.num_frames - 1
    indices = range(last + 1) if whole else np.linspace(0, last, _LOOKED_AT).round().astype(int)
    try:
        for piece in read_pieces(video, indices, short_side=None):
            height, width = piece.shape[-2:]
    except VideoReadError as error:
        return finding._replace(status="damaged", detail=str(error))
    return finding._replace(height=height, width=width, decoder=video.backend)


def _oddities(file: Path, backend: str, decoder: str) -> list[str]:
    """What is unusual about a file that is read right, and may come out wrong elsewhere."""
    if decoder == "pillow":
        return ["an animated picture"]
    found = [] if decoder == backend else [f"read with {decoder}"]
    try:
        with PyavVideo(file) as video:
            return found + video.oddities()
    except VideoReadError:
        return found
