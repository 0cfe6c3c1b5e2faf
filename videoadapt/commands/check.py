"""Open every video of a list and say what is wrong with it.

Files are opened in parallel, each in a process of its own under a time limit. The command prints how many are missing,
empty, unreadable, damaged, short or odd (read correctly, but unusual), and writes those with the reason to a CSV file.
The exit code is 1 if any file cannot be used.
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
    parser.add_argument("list", type=Path, metavar="LIST", help="a list file, as data.train")
    parser.add_argument("--root", default=".", metavar="DIR", help="where its paths begin, as data.root")
    parser.add_argument("--absolute-paths", action="store_true", help="the list may name files outside of it")
    parser.add_argument("--report", type=Path, metavar="FILE", help="LIST.report.csv by default")
    parser.add_argument("--decoder", default="pyav", choices=DECODERS)
    parser.add_argument("--min-frames", type=int, default=8, help="below that a video is short (8)")
    parser.add_argument("--whole", action="store_true", help="decode every frame, not fifteen of them")
    parser.add_argument("--seconds", type=float, default=60.0, help="time limit for a file (60)")
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
        write_findings,
    )

    names = listed_videos(args.list, args.root, args.absolute_paths)
    options = {"decoder": args.decoder, "min_frames": args.min_frames, "whole": args.whole, "seconds": args.seconds}
    checked = check_videos(names, args.root, workers=args.workers, **options)
    writable_folder(str(report.parent), "--report")
    found: list[Finding] = []
    try:
        found.extend(tqdm(checked, total=len(names), unit="video"))
    finally:  # also of what an interrupt leaves
        rows = [finding for finding in found if args.all or finding.status != "ok"]
        write_findings(report, rows)
    counts = Counter(finding.status for finding in found)
    print(table(["status", "videos"], [(status, counts[status]) for status in STATUSES if counts[status]]))
    print(f"report: {report}, rows: {len(rows)}")
    sys.exit(any(counts[status] for status in UNREADABLE))


def _report(args: argparse.Namespace) -> Path:
    """Where the report goes, once the other options make sense."""
    for option, least in (("seconds", 0), ("workers", 0), ("min_frames", -1)):
        if (value := getattr(args, option)) is not None and value <= least:
            raise UserError(f"--{option.replace('_', '-')}: {value:g} is too small")
    report = args.report or args.list.with_name(f"{args.list.name}.report.csv")
    if report.is_dir() or report.resolve() == args.list.resolve():
        raise UserError(f"--report: {report} is a folder or the list itself; name another file")
    return report
