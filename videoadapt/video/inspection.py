"""What is the matter with a video file: unreadable, empty, short or odd."""

import os
import time
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np

from videoadapt.video.decode import Backend, VideoReadError, open_video
from videoadapt.video.decode.common import RecountedError, is_uneven, read_anew
from videoadapt.video.decode.pyav import PyavVideo
from videoadapt.video.decode.streams import rivals
from videoadapt.video.exact import Comparison, compare_with_full_pass
from videoadapt.video.media import is_still
from videoadapt.video.reader import read_pieces

# What cannot be used, worst first.
UNREADABLE = ("different", "missing", "empty", "unreadable", "damaged", "hung", "crashed")
STATUSES = (*UNREADABLE, "short", "odd", "ok")
_HD, _UNTAGGED = 720, 2  # rows, FFmpeg's "unspecified"
_FAR = 1000  # frames
_LOOKED_AT = 15  # frames, the first and the last among them


class Finding(NamedTuple):
    """One file.

    ``different`` gives other frames than a pass over the whole file; ``empty`` has no bytes or no frames; ``damaged``
    opens, but not every frame looked at can be decoded; ``odd`` is read right all the same.
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
    root: str,
    path: str,
    backend: Backend = "pyav",
    *,
    min_frames: int = 1,
    whole: bool = False,
    exact: bool = False,
) -> Finding:
    """Open a video and decode fifteen frames spread over it, or all; ``exact``: ``compare_with_full_pass`` too."""
    file, began = Path(root, path), time.perf_counter()
    try:
        finding = _decoded(file, path, backend, whole)
        if exact and not is_still(file):
            finding = _compared(finding, compare_with_full_pass(file, backend))
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


@read_anew
def _decoded(file: Path, path: str, backend: Backend, whole: bool) -> Finding:
    with open_video(file, backend) as video:
        finding = Finding(path, "ok", "", video.backend, video.num_frames, round(video.fps, 3))
        last = video.num_frames - 1
        indices = range(last + 1) if whole else np.linspace(0, last, _LOOKED_AT).round().astype(int)
        try:
            for piece in read_pieces(video, indices, short_side=None):
                height, width = piece.shape[-2:]
        except RecountedError:
            raise
        except VideoReadError as error:
            return finding._replace(status="damaged", detail=str(error))
        return finding._replace(height=height, width=width, decoder=video.backend)


def _compared(finding: Finding, found: Comparison) -> Finding:
    if found.different:
        return finding._replace(status="different", detail=found.different)
    if found.damaged:
        return finding._replace(
            status="damaged", detail=f"damaged frames: {len(found.damaged)}, first {found.damaged[0]}"
        )
    return finding


def _oddities(file: Path, backend: str, decoder: str) -> list[str]:
    """What is unusual about a file that is read right, and may come out wrong elsewhere."""
    if decoder == "pillow":
        return ["an animated picture"]
    found = [] if decoder == backend else [f"read with {decoder}"]
    try:
        with PyavVideo(file) as video:
            return found + [fact for fact, holds in _facts(video) if holds]
    except VideoReadError:
        return found


def _facts(video: PyavVideo) -> Iterator[tuple[str, object]]:
    index, context = video.index, video.stream.codec_context
    yield f"{index.torn} torn packets", index.torn
    yield "recordings joined end to end: decoding times go back", not index.ordered
    yield "frames without display times", index.ordered and not index.timed
    packets = len(index.marks) - index.torn - index.hidden
    yield f"{packets} packets for {index.num_frames} frames", not index.plain and packets != index.num_frames
    yield "hidden frames before or between the shown ones", index.hidden
    known = any(mark.look.start for mark in index.marks)
    yield "key flags at which decoding cannot begin", known and not video.flags_hold()
    far = index.num_frames > _FAR and len(index.begins) == 1
    yield "no place to begin decoding but its start: reading late frames is slow; a copy in data.cache_dir is not", far
    yield "variable frame rate", video.times is not None and is_uneven(video.times)
    yield f"odd size {context.width}x{context.height}", context.width % 2 or context.height % 2
    yield f"pixel format {context.pix_fmt}", context.pix_fmt not in {"yuv420p", "yuvj420p"}
    aspect = video.stream.sample_aspect_ratio
    yield f"pixels that are not square, {aspect}: shown as stored", aspect not in {None, 0, 1}
    untagged = context.height >= _HD and context.colorspace == _UNTAGGED and (context.pix_fmt or "").startswith("yuv")
    yield "HD without a colour tag: read as BT.601, which some players take for BT.709", untagged
    yield "cut by its container", video.margins
    count = len(rivals(video.stream.container))
    yield f"{count} video streams", count > 1
