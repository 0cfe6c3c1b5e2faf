"""Lists from the authors' annotations: python tools/prepare_lists.py DATASET --annotations DIR --videos DIR [--out DIR]

DATASET is diving48, hmdb51, k400, k600, k700, ssv2; an image set (cifar10, food101, dtd, ...); vtab or vtab/<set>;
fewshot/<set>; folder (class folders, needs --videos alone); or list (of mmaction2, SlowFast, VideoMAE, AIM).
Writes a CSV for each split and classes.txt into data_lists/DATASET. Every listed file is looked up below --videos, in
whatever folder it lies. Where some are missing, missing.csv names them and nothing else is written, unless
--allow-missing is given.
"""

import argparse
from pathlib import Path

from videoadapt import cli
from videoadapt.atomic import writable_folder
from videoadapt.data.annotations import ALIASES, CONVERTERS, DOWNLOADABLE, Annotations, divide, locate
from videoadapt.data.lists import write_csv, write_list, write_text
from videoadapt.errors import UserError, nearest


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("dataset", metavar="DATASET")
    parser.add_argument(
        "--annotations", type=Path, metavar="DIR", help="where the authors' files are; --videos by default"
    )
    parser.add_argument("--videos", type=Path, metavar="DIR", help="data.root; --annotations by default")
    parser.add_argument("--out", type=Path, metavar="DIR", help="data_lists/DATASET by default")
    parser.add_argument("--allow-missing", action="store_true", help="lists without the missing files")
    parser.add_argument("--download", action="store_true", help="let torchvision fetch an image set")
    parser.add_argument("--val-share", type=float, default=0.2, help="held out where there are no splits (0.2)")
    parser.add_argument("--seed", type=int, default=0, help="of that division")
    args = parser.parse_args()
    datasets, annotations, videos = (
        _chosen(args.dataset),
        args.annotations or args.videos,
        args.videos or args.annotations,
    )
    _check(args, datasets, annotations)
    failures = []
    for dataset in datasets:
        out = writable_folder(str(args.out or Path("data_lists", dataset)), "--out")
        try:
            options = {"download": True} if args.download else {}
            found = divide(CONVERTERS[dataset](annotations, videos, **options), args.val_share, args.seed)
            write(out, found, videos, args.allow_missing)
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
    if args.download and (other := next((name for name in datasets if name not in DOWNLOADABLE), None)):
        raise UserError(f"--download: {other} is not one of torchvision's sets; fetch it by hand")
    if args.out and annotations.resolve() == args.out.resolve():
        raise UserError(f"--out: {args.out} holds the annotations; name another folder")


def _chosen(name: str) -> list[str]:
    """The data set, or all of a family such as ``vtab``."""
    name = ALIASES.get(name.lower(), name.lower())
    chosen = [dataset for dataset in CONVERTERS if dataset == name or dataset.startswith(f"{name}/")]
    if not chosen:
        raise UserError(f"DATASET '{name}': {nearest(name, CONVERTERS)}")
    return chosen


def write(out: Path, annotations: Annotations, videos: Path, allow_missing: bool) -> None:
    """The lists, the class names, and the names of what is missing; and a summary."""
    splits, notes = locate(annotations, videos)
    counts = [(name, len(part.found), len(part.missing)) for name, part in splits.items()]
    rows = [(name, found + missing, found, missing) for name, found, missing in counts]
    print(cli.table(["split", "listed", "found", "missing"], rows))
    missing = [(split, *record) for split, part in splits.items() for record in part.missing]
    if missing:
        write_csv(out / "missing.csv", ("split", "path", "label"), missing)
    else:
        (out / "missing.csv").unlink(missing_ok=True)
    if missing and not allow_missing:
        raise UserError(
            f"missing files: {len(missing)}, first {missing[0][1]}; {out / 'missing.csv'} names them all, "
            "--allow-missing writes lists without them"
        )
    written = {name: part.found for name, part in splits.items() if part.found}
    if not written:
        raise UserError(f"not one file is listed and lies below {videos}; is --videos right?")
    absent = [f"{name}: none of its files is there, no list is written" for name in splits if name not in written]
    for name, found in written.items():
        write_list(out / f"{name}.csv", found)
    write_text(out / "classes.txt", "".join(f"{name}\n" for name in annotations.classes))
    for note in (*annotations.notes, *notes, *absent):
        print(note)
    lists = ", ".join(f"{name}.csv" for name in written)
    outside = any(Path(record.path).is_absolute() for found in written.values() for record in found)
    keys = f"{videos}, data.absolute_paths is true" if outside else videos
    print(f"{lists} and classes.txt ({len(annotations.classes)} classes) in {out}; data.root is {keys}")


if __name__ == "__main__":
    cli.run(main)
