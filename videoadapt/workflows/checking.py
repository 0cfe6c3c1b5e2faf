"""A look at every video of a list, each in a process that may hang or die."""

import logging
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import TimeoutError
from functools import partial
from itertools import islice
from pathlib import Path

from pebble import ProcessExpired, ProcessPool

from videoadapt.data.lists import read_list, write_csv
from videoadapt.data.loaders import auto_workers
from videoadapt.errors import UserError
from videoadapt.video import Backend, require_backend
from videoadapt.video.inspection import STATUSES, UNREADABLE, Finding, inspect_video
from videoadapt.video.store import open_store
from videoadapt.video.walk import LeftOut, media_below

__all__ = ["STATUSES", "UNREADABLE", "Finding", "check_videos", "listed_videos", "videos_below", "write_findings"]

log = logging.getLogger(__name__)
_BATCH = 1024  # files handed out at a time, so that a list of millions fits


def listed_videos(path: Path, root: str, absolute_paths: bool) -> list[str]:
    """The files of a list, each once; UserError for one that leads out of ``root`` without being allowed to."""
    if not Path(root).is_dir():
        raise UserError(f"--root: {root} is no folder")
    names = list(dict.fromkeys(record.path for record in read_list(path)))
    store = open_store(root)
    if not absolute_paths and (outside := next((name for name in names if store.leaves(name)), None)):
        raise UserError(f"{path}: '{outside}' leads out of --root '{root}'; --absolute-paths allows that")
    return names


def videos_below(folder: Path) -> list[str]:
    """The videos and pictures of a folder, relative to it; what is left out is told."""
    left_out = LeftOut(folder)
    names = [path.relative_to(folder).as_posix() for path, _ in media_below(folder, left_out)]
    if told := str(left_out):
        log.warning(told)
    if not names:
        raise UserError(f"{folder}: no videos or pictures below it")
    return names


def check_videos(
    names: list[str],
    root: str,
    *,
    decoder: Backend = "pyav",
    min_frames: int = 8,
    whole: bool = False,
    exact: bool = False,
    seconds: float = 60.0,
    workers: int | None = None,
) -> Iterator[Finding]:
    """Findings in the order of ``names``; a process that hangs or dies costs one file.

    Args:
        min_frames: below that a video is short.
        whole: decode every frame, not fifteen of them.
        exact: compare every frame, read in four manners, with a pass over the whole file.
        seconds: time limit for a file.
        workers: processes; as many as cores by default.
    """
    require_backend(decoder)
    inspect = partial(inspect_video, backend=decoder, min_frames=min_frames, whole=whole, exact=exact)
    return _checked(partial(inspect, root), names, seconds, workers or auto_workers())


def _checked(inspect: Callable[[str], Finding], names: list[str], seconds: float, workers: int) -> Iterator[Finding]:
    rest = iter(names)
    with ProcessPool(max_workers=workers) as pool:
        while batch := list(islice(rest, _BATCH)):
            jobs = [pool.schedule(inspect, args=[path], timeout=seconds) for path in batch]
            for path, job in zip(batch, jobs, strict=True):
                try:
                    yield job.result()
                except TimeoutError:
                    yield Finding(path, "hung", f"took longer than {seconds:g} s")
                except ProcessExpired as error:
                    yield Finding(path, "crashed", f"the decoder died with exit code {error.exitcode}")
                except Exception as error:  # of a library, on a file that nobody thought of
                    yield Finding(path, "crashed", f"{type(error).__name__}: {error}")


def write_findings(path: Path, findings: Iterable[Finding]) -> None:
    """One row each, as CSV."""
    write_csv(path, Finding._fields, findings)
