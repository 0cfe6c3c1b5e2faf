"""Write handwritten digits as pictures with lists, for studies.

The pictures are scikit-learn's 1,797 scans; nothing is downloaded. 'videoadapt study studies/digits' then compares all
methods on them.
"""

import argparse
from pathlib import Path


def add_arguments(parser: argparse.ArgumentParser) -> None:
    default = Path("runs/digits/data")
    parser.add_argument("--out", type=Path, default=default, metavar="DIR", help=f"{default} by default")


def run(args: argparse.Namespace) -> None:
    from videoadapt.atomic import writable_folder
    from videoadapt.demo.digits import write_digits

    write_digits(writable_folder(str(args.out), "--out"))
    print(f"1,500 + 297 pictures written to {args.out}")
