"""Lists from the authors' annotations: python tools/prepare_lists.py DATASET --annotations DIR --videos DIR [--out DIR]

DATASET is diving48, hmdb51, k400, k600, k700, ssv2; an image set (cifar10, food101, dtd, ...); vtab or vtab/<set>;
fewshot/<set>; folder (class folders, needs --videos alone); or list (of mmaction2, SlowFast, VideoMAE, AIM).
Writes a CSV for each split and classes.txt into data_lists/DATASET. Every listed file is looked up below --videos, in
whatever folder it lies. Where some are missing, missing.csv names them and nothing else is written, unless
--allow-missing is given.
"""

from pathlib import Path

from videoadapt import cli
from videoadapt.data.annotations import ALIASES, CONVERTERS, DOWNLOADABLE, Annotations, Split, divide, locate
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
    datasets = _chosen(args.dataset)
    if args.out and len(datasets) > 1:
        raise UserError(f"--out: {args.dataset} is {len(datasets)} data sets; name one, e.g. {datasets[0]}")
    annotations, videos = args.annotations or args.videos, args.videos or args.annotations
    if annotations is None:
        raise UserError("--annotations DIR and --videos DIR say where the data set is")
    for folder, option in ((annotations, "--annotations"), (videos, "--videos")):
        if not folder.is_dir() and not args.download:
            raise UserError(f"{option}: {folder} is no folder")
    if not 0 < args.val_share < 1:
        raise UserError(f"--val-share: {args.val_share:g} is not between 0 and 1")
    if args.download and (other := next((name for name in datasets if name not in DOWNLOADABLE), None)):
        raise UserError(f"--download: {other} is not one of torchvision's sets; fetch it by hand")
    for dataset in datasets:
        options = {"download": True} if args.download else {}
        found = divide(CONVERTERS[dataset](annotations, videos, **options), args.val_share, args.seed)
        out = cli.writable_folder(str(args.out or Path("data_lists", dataset)), "--out")
        write(out, found, locate(found, videos), args.allow_missing)


def _chosen(name: str) -> list[str]:
    """The data set, or all of a family such as ``vtab``."""
    name = ALIASES.get(name.lower(), name.lower())
    chosen = [dataset for dataset in CONVERTERS if dataset == name or dataset.startswith(f"{name}/")]
    if not chosen:
        raise UserError(f"DATASET '{name}': {nearest(name, CONVERTERS)}")
    return chosen


def write(out: Path, annotations: Annotations, splits: dict[str, Split], allow_missing: bool) -> None:
    """The lists, the class names, and the names of what is missing; then a summary."""
    rows = [(split, r.path, r.label) for split, part in splits.items() for r in part.missing]
    print(
        cli.table(
            ["split", "listed", "found", "missing"],
            [(name, len(s.found) + len(s.missing), len(s.found), len(s.missing)) for name, s in splits.items()],
        )
    )
    print(*annotations.notes, sep="\n", end="\n" if annotations.notes else "")
    if rows:
        write_csv(out / "missing.csv", ("split", "path", "label"), rows)
    else:
        (out / "missing.csv").unlink(missing_ok=True)
    if rows and not allow_missing:
        raise UserError(
            f"{len(rows)} files are missing, first: {rows[0][1]}; {out / 'missing.csv'} names them all, "
            "--allow-missing writes lists without them"
        )
    if empty := next((name for name, part in splits.items() if not part.found), None):
        raise UserError(f"none of the files of split '{empty}' is there; is --videos right?")
    for name, part in splits.items():
        write_list(out / f"{name}.csv", part.found)
    write_text(out / "classes.txt", "".join(f"{name}\n" for name in annotations.classes))
    written = ", ".join(f"{name}.csv" for name in splits)
    print(f"{written} and classes.txt ({len(annotations.classes)} classes) in {out}")


if __name__ == "__main__":
    cli.run(main)
