"""Open every video of a list or folder and say what is wrong with it.

Files are opened in parallel, each in a process of its own under a time limit. The command prints how many are missing,
empty, unreadable, damaged, short or odd (read correctly, but unusual), and writes those with the reason to a CSV file.
With --exact it reads every frame in order, backwards, at random and from a file opened for it alone, and compares each
with one pass over the whole file: "different" names the first frame that is another one. The exit code is 1 if any file
cannot be used.
"""

import argparse
import sys
from collections import Counter
from pathlib import Path

from videoadapt.atomic import writable_folder
from videoadapt.config import DECODERS
from videoadapt.errors import UserError
from videoadapt.report.text import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("list", type=Path, metavar="LIST", help="a list file, as data.train, or a folder of videos")
    parser.add_argument("--root", metavar="DIR", help="where a list's paths begin, as data.root (.)")
    parser.add_argument("--absolute-paths", action="store_true", help="the list may name files outside of it")
    parser.add_argument("--report", type=Path, metavar="FILE", help="LIST.report.csv by default")
    parser.add_argument("--decoder", default="pyav", choices=DECODERS)
    parser.add_argument("--min-frames", type=int, default=8, help="below that a video is short (8)")
    parser.add_argument("--whole", action="store_true", help="decode every frame, not fifteen of them")
    parser.add_argument("--exact", action="store_true", help="compare every frame with a pass over the whole file")
    parser.add_argument("--seconds", type=float, help="time limit for a file (60; with --exact 600)")
    parser.add_argument("--workers", type=int, metavar="N", help="processes; as many as cores by default")
    parser.add_argument("--all", action="store_true", help="report the good ones as well")


def run(args: argparse.Namespace) -> None:
    report = _report(args)
    from tqdm import tqdm

    from videoadapt.workflows.checking import (
        STATUSES,
        UNREADABLE,
        Finding,
        check_videos,
        listed_videos,
        videos_below,
        write_findings,
    )

    if args.list.is_dir():
        if args.root:
            raise UserError(f"--root: {args.list} is a folder, not a list; its videos are looked for below it")
        names, root = videos_below(args.list), str(args.list)
    else:
        names, root = listed_videos(args.list, args.root or ".", args.absolute_paths), args.root or "."
        if not args.root and not any(Path(name).exists() for name in names):
            raise UserError(f"{args.list}: none of its {len(names)} files is below '.'; --root says where they are")
    checked = check_videos(
        names,
        root,
        decoder=args.decoder,
        min_frames=args.min_frames,
        whole=args.whole,
        exact=args.exact,
        seconds=args.seconds or (600.0 if args.exact else 60.0),
        workers=args.workers,
    )
    writable_folder(str(report.parent), "--report")
    found: list[Finding] = []
    try:
        found.extend(tqdm(checked, total=len(names), unit="video"))
    finally:  # also of what an interrupt leaves
        rows = [finding for finding in found if args.all or finding.status != "ok"]
        write_findings(report, rows)
    counts = Counter(finding.status for finding in found)
    print(table(["status", "videos"], [(status, counts[status]) for status in STATUSES if counts[status]]))
    for finding in found:
        if finding.status == "different":
            print(f"{finding.path}: {finding.detail}")
    print(f"report: {report}, rows: {len(rows)}")
    sys.exit(any(counts[status] for status in UNREADABLE))


def _report(args: argparse.Namespace) -> Path:
    """Where the report goes, once the other options make sense."""
    for option, least in (("seconds", 0), ("workers", 0), ("min_frames", -1)):
        if (value := getattr(args, option)) is not None and value <= least:
            raise UserError(f"--{option.replace('_', '-')}: {value:g} is too small")
    beside = args.list.resolve() if args.list.is_dir() else args.list
    report = args.report or beside.with_name(f"{beside.name}.report.csv")
    if report.is_dir() or report.resolve() == args.list.resolve():
        raise UserError(f"--report: {report} is a folder or the list itself; name another file")
    return report
