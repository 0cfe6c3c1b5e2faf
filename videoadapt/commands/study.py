"""Compare methods on data sets, backbones and seeds.

The command trains and tests every cell (method x data set x backbone x seed), one after another, or one on each of
--devices. Cells that have results are kept, and interrupted ones continue. key=value holds for all cells. At the end
you see the table of the study; its folder has study.md, study.png, methods.csv and cells.csv, and each cell has
train.log and test.log. Costs are measured on the first data set, backbone and variant: the median time of a training
step, all methods in turn, and the bytes that a step keeps for its backward pass.
"""

import argparse
import sys

from videoadapt.commands.common import add_overrides
from videoadapt.errors import UserError


def add_arguments(parser: argparse.ArgumentParser) -> None:
    help = "a YAML file, or the name of a packaged study such as studies/digits"
    parser.add_argument("study", metavar="STUDY", help=help)
    parser.add_argument("--devices", default="", metavar="A,B", help="e.g. cuda:0,cuda:1: as many cells at a time")
    parser.add_argument("--only", action="append", default=[], metavar="METHOD", help="this method alone; repeatable")
    parser.add_argument("--out", metavar="DIR", help="instead of the study's out_dir")
    parser.add_argument("--no-cost", action="store_true", help="do not measure step time and memory")
    add_overrides(parser, "for every cell, e.g. optim.epochs=5")


def run(args: argparse.Namespace) -> None:
    devices = [device.strip() for device in args.devices.split(",")] if args.devices else [""]
    if args.devices and not all(devices):
        raise UserError(f"--devices {args.devices}: names with commas between them, e.g. cuda:0,cuda:1")
    from videoadapt.config import load_study

    study = load_study(args.study)
    study = study.model_copy(update={"out_dir": args.out or study.out_dir})
    from tqdm import tqdm

    from videoadapt.workflows.study import run_study

    with tqdm(unit="cell", disable=None) as bar:

        def tell(count: int, name: str | None) -> None:
            bar.total = count
            if name:
                bar.set_postfix_str(name, refresh=False)
                bar.update()

        options = {"devices": devices, "only": args.only, "overrides": args.overrides, "cost": not args.no_cost}
        shown = run_study(study, **options, tell=tell, warn=lambda text: print(text, file=sys.stderr))
    print(shown)
