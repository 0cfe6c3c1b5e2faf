"""Open every video of a list: python tools/check_videos.py LIST [--root DIR] [--report FILE.csv]

In parallel, each file under a time limit in a process of its own. Prints how many are missing, empty, unreadable,
damaged, short or odd (read right, but unusual), and writes those with their reasons to a CSV file. Exit code 1 if any
cannot be used.
"""

import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from concurrent.futures import TimeoutError
from functools import partial
from itertools import islice
from pathlib import Path

from pebble import ProcessExpired, ProcessPool
from tqdm import tqdm

from videoadapt import cli
from videoadapt.atomic import writable_folder
from videoadapt.data.lists import read_list, write_csv
from videoadapt.data.loaders import auto_workers
from videoadapt.errors import UserError
from videoadapt.video import BACKENDS, require_backend
from videoadapt.video.inspection import STATUSES, UNREADABLE, Finding, inspect_video
from videoadapt.video.store import open_store

_BATCH = 1024  # files handed out at a time, so that a list of millions fits


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("list", type=Path, metavar="LIST", help="a list file, as data.train")
    parser.add_argument("--root", default=".", metavar="DIR", help="where its paths begin, as data.root")
    parser.add_argument("--absolute-paths", action="store_true", help="the list may name files outside of it")
    parser.add_argument("--report", type=Path, metavar="FILE", help="LIST.report.csv by default")
    parser.add_argument("--decoder", default="pyav", choices=BACKENDS)
    parser.add_argument("--min-frames", type=int, default=8, help="below that a video is short (8)")
    parser.add_argument("--whole", action="store_true", help="decode every frame, not fifteen of them")
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit for a file (60)")
    parser.add_argument("--workers", type=int, default=auto_workers(), help="processes; as many as cores by default")
    parser.add_argument("--all", action="store_true", help="report the good ones as well")
    args = parser.parse_args()
    for option, least in (("seconds", 0), ("workers", 0), ("min_frames", -1)):
        if getattr(args, option) <= least:
            raise UserError(f"--{option.replace('_', '-')}: {getattr(args, option):g} is too small")
    report = args.report or args.list.with_name(f"{args.list.name}.report.csv")
    writable_folder(str(report.parent), "--report")
    if report.is_dir() or report.resolve() == args.list.resolve():
        raise UserError(f"--report: {report} is a folder or the list itself; name another file")
    if not Path(args.root).is_dir():
        raise UserError(f"--root: {args.root} is no folder")
    require_backend(args.decoder)
    paths = list(dict.fromkeys(record.path for record in read_list(args.list)))
    store = open_store(args.root)
    if not args.absolute_paths and (outside := next((path for path in paths if store.leaves(path)), None)):
        raise UserError(f"{args.list}: '{outside}' leads out of --root '{args.root}'; --absolute-paths allows that")
    inspect = partial(inspect_video, backend=args.decoder, min_frames=args.min_frames, whole=args.whole)
    found: list[Finding] = []
    try:
        with tqdm(total=len(paths), unit="video") as bar:
            for finding in check(inspect, args.root, paths, args.workers, args.seconds):
                found.append(finding)
                bar.update()
    finally:  # also of what an interrupt leaves
        rows = [finding for finding in found if args.all or finding.status != "ok"]
        write_csv(report, Finding._fields, rows)
    counts = Counter(finding.status for finding in found)
    print(cli.table(["status", "videos"], [(status, counts[status]) for status in STATUSES if counts[status]]))
    print(f"report: {report}, rows: {len(rows)}")
    sys.exit(any(counts[status] for status in UNREADABLE))


def check(inspect, root: str, paths: Sequence[str], workers: int, seconds: float) -> Iterator[Finding]:
    """Findings in the order of ``paths``; a process that hangs or dies costs one file."""
    rest = iter(paths)
    with ProcessPool(max_workers=workers) as pool:
        while batch := list(islice(rest, _BATCH)):
            jobs = [pool.schedule(inspect, args=[root, path], timeout=seconds) for path in batch]
            for path, job in zip(batch, jobs, strict=True):
                try:
                    yield job.result()
                except TimeoutError:
                    yield Finding(path, "hung", f"took longer than {seconds:g} s")
                except ProcessExpired as error:
                    yield Finding(path, "crashed", f"the decoder died with exit code {error.exitcode}")
                except Exception as error:  # of a library, on a file that nobody thought of
                    yield Finding(path, "crashed", f"{type(error).__name__}: {error}")


if __name__ == "__main__":
    cli.run(main)
