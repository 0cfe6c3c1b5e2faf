"""Pack videos into tar shards.

For disks and networks that are slow with many small files. The shards have WebDataset's layout, each video beside its
label (.cls); this needs the extra 'webdataset'. The lists stay as they are. The last line that the command prints is
the data.root to use.
"""

import argparse
from pathlib import Path

from videoadapt.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("lists", nargs="+", type=Path, metavar="LIST", help="list files, as data.train")
    parser.add_argument("--root", default=".", metavar="DIR", help="where their paths begin, as data.root")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the shards go")
    parser.add_argument("--name", default="shard", help="what their names begin with (shard)")
    parser.add_argument("--megabytes", type=float, default=1000, help="size of a shard (1000)")


def run(args: argparse.Namespace) -> None:
    if args.megabytes <= 0:
        raise UserError(f"--megabytes {args.megabytes:g}: must be more than 0")
    from videoadapt.workflows.shards import make_shards

    videos, count = make_shards(args.lists, args.root, args.out, args.name, args.megabytes)
    braces = f"{{{0:06d}..{count - 1:06d}}}"
    print(f"{videos} videos in {count} shards: data.root={args.out}/{args.name}-{braces}.tar")
