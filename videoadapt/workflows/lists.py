"""Lists and class names from a data set's annotation files."""

from pathlib import Path
from typing import NamedTuple

from videoadapt.atomic import writable_folder
from videoadapt.data.annotations import ALIASES, CONVERTERS, DOWNLOADABLE, Annotations, divide, locate
from videoadapt.data.lists import first_other, read_names, write_csv, write_list, write_text
from videoadapt.errors import UserError, nearest
from videoadapt.packaged import class_file


class Source(NamedTuple):
    """Where a data set lies, and how it is divided where it has no splits."""

    annotations: Path
    videos: Path  # data.root
    download: bool = False  # let torchvision fetch an image set
    val_share: float = 0.2
    seed: int = 0


class Prepared(NamedTuple):
    """What was found of a data set: (split, listed, found, missing) files, and what there is to say."""

    rows: list[tuple[str, int, int, int]]
    notes: list[str]
    problem: str | None = None  # why no lists are written


def chosen_datasets(name: str) -> list[str]:
    """The data set of this name, or all of a family such as ``vtab``."""
    name = ALIASES.get(name.lower(), name.lower())
    chosen = [dataset for dataset in CONVERTERS if dataset == name or dataset.startswith(f"{name}/")]
    if not chosen:
        raise UserError(f"DATASET '{name}': {nearest(name, CONVERTERS)}")
    return chosen


def check_downloadable(datasets: list[str]) -> None:
    if other := next((name for name in datasets if name not in DOWNLOADABLE), None):
        raise UserError(f"--download: {other} is not one of torchvision's sets; fetch it by hand")


def prepare_lists(dataset: str, source: Source, out: Path, allow_missing: bool = False) -> Prepared:
    """CSV lists and classes.txt in ``out``; if files are missing, missing.csv and, unless allowed, nothing else.

    Raises UserError for annotations that cannot be read, or that contradict the known class names of the data set.
    """
    folder = writable_folder(str(out), "--out")
    options = {"download": True} if source.download else {}
    found = CONVERTERS[dataset](source.annotations, source.videos, **options)
    note = _against_known(dataset, found.classes, source.annotations, folder)
    return _written(folder, divide(found, source.val_share, source.seed), source.videos, allow_missing, note)


def _against_known(dataset: str, classes: list[str], annotations: Path, out: Path) -> str | None:
    """UserError if a class is another one than in the packaged list; a note if there are more or fewer."""
    known = class_file(dataset)
    if known is None or (names := read_names(known)) == classes:
        return None
    if len(names) == len(classes):
        label = first_other(classes, names)
        raise UserError(
            f"{annotations}: its class {label} is '{classes[label]}', in {known} it is '{names[label]}'; "
            f"is this another version of {dataset}? 'videoadapt lists list' takes lists as they are"
        )
    if out.resolve() == known.parent.resolve():
        raise UserError(f"--out: {annotations} has {len(classes)} classes, {known} {len(names)}; name another folder")
    return (
        f"{dataset} has {len(names)} classes, these annotations {len(classes)}: set data.num_classes and data.classes"
    )


def _written(folder: Path, annotations: Annotations, videos: Path, allow_missing: bool, note: str | None) -> Prepared:
    splits, notes = locate(annotations, videos)
    rows = [
        (name, len(part.found) + len(part.missing), len(part.found), len(part.missing)) for name, part in splits.items()
    ]
    said = list(dict.fromkeys([*annotations.notes, *([note] if note else []), *notes]))
    missing = [(split, *record) for split, part in splits.items() for record in part.missing]
    if missing:
        write_csv(folder / "missing.csv", ("split", "path", "label"), missing)
    else:
        (folder / "missing.csv").unlink(missing_ok=True)
    if missing and not allow_missing:
        problem = (
            f"missing files: {len(missing)}, first {missing[0][1]}; {folder / 'missing.csv'} names them all, "
            "--allow-missing writes lists without them"
        )
        return Prepared(rows, said, problem)
    written = {name: part.found for name, part in splits.items() if part.found}
    if not written:
        return Prepared(rows, said, f"not one file is listed and lies below {videos}; is --videos right?")
    for name, records in written.items():
        write_list(folder / f"{name}.csv", records)
    write_text(folder / "classes.txt", "".join(f"{name}\n" for name in annotations.classes))
    absent = [f"{name}: none of its files is there, no list is written" for name in splits if name not in written]
    summary = _summary(folder, written, len(annotations.classes), videos)
    return Prepared(rows, [*said, *absent, summary])


def _summary(folder: Path, written: dict[str, list], classes: int, videos: Path) -> str:
    lists = ", ".join(f"{name}.csv" for name in written)
    outside = any(Path(record.path).is_absolute() for found in written.values() for record in found)
    keys = f"{videos}, data.absolute_paths is true" if outside else videos
    return f"{lists} and classes.txt ({classes} classes) in {folder}; data.root is {keys}"
