"""Make lists from the annotation files of a data set's authors.

DATASET is diving48, hmdb51, k400, k600, k700 or ssv2; an image set (cifar10, food101, dtd, ...); vtab or vtab/<set>;
fewshot/<set>; folder (a folder for each class, needs --videos only); or list (lists of mmaction2, SlowFast, VideoMAE
or AIM). The command writes a CSV list for each split and classes.txt into data_lists/DATASET. Every listed file is
searched below --videos, in any folder. If some are missing, missing.csv names them, and no list is written unless you
give --allow-missing.
"""

import argparse
from pathlib import Path

from videoadapt.errors import UserError
from videoadapt.report.text import table


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("dataset", metavar="DATASET")
    help = "where the authors' files are; --videos by default"
    parser.add_argument("--annotations", type=Path, metavar="DIR", help=help)
    parser.add_argument("--videos", type=Path, metavar="DIR", help="data.root; --annotations by default")
    parser.add_argument("--out", type=Path, metavar="DIR", help="data_lists/DATASET by default")
    parser.add_argument("--allow-missing", action="store_true", help="lists without the missing files")
    parser.add_argument("--download", action="store_true", help="let torchvision fetch an image set")
    parser.add_argument("--val-share", type=float, default=0.2, help="held out where there are no splits (0.2)")
    parser.add_argument("--seed", type=int, default=0, help="of that division")


def run(args: argparse.Namespace) -> None:
    from videoadapt.workflows.lists import Source, chosen_datasets, prepare_lists

    datasets = chosen_datasets(args.dataset)
    annotations, videos = args.annotations or args.videos, args.videos or args.annotations
    _check(args, datasets, annotations)
    source, failures = Source(annotations, videos, args.download, args.val_share, args.seed), []
    for dataset in datasets:
        try:
            found = prepare_lists(dataset, source, args.out or Path("data_lists", dataset), args.allow_missing)
            print(table(["split", "listed", "found", "missing"], found.rows))
            if found.notes:
                print("\n".join(found.notes))
            if found.problem:
                raise UserError(found.problem)
        except UserError as error:
            failures.append(f"{dataset}: {error}" if len(datasets) > 1 else str(error))
    if failures:
        raise UserError("; ".join(failures))


def _check(args: argparse.Namespace, datasets: list[str], annotations: Path | None) -> None:
    if args.out and len(datasets) > 1:
        raise UserError(f"--out: {args.dataset} is {len(datasets)} data sets; name one, e.g. {datasets[0]}")
    if annotations is None:
        raise UserError("--annotations DIR and --videos DIR say where the data set is")
    for folder, option in ((args.annotations, "--annotations"), (args.videos, "--videos")):
        if folder is None or args.download or (datasets == ["list"] and folder.is_file()):
            continue
        if not folder.is_dir():
            raise UserError(f"{option}: {folder} is no folder")
    if not 0 < args.val_share < 1:
        raise UserError(f"--val-share: {args.val_share:g} is not between 0 and 1")
    if args.download:
        from videoadapt.workflows.lists import check_downloadable

        check_downloadable(datasets)
    if args.out and annotations.resolve() == args.out.resolve():
        raise UserError(f"--out: {args.out} holds the annotations; name another folder")
