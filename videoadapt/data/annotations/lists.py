"""Data sets that come as folders of classes, or as the lists of another toolkit."""

import re
from pathlib import Path

from videoadapt.data.annotations.common import SPLITS, Annotations, by_split, find_file, read_text
from videoadapt.data.annotations.files import MEDIA
from videoadapt.data.lists import Record, read_list
from videoadapt.errors import UserError


def class_folders(_folder: Path, videos: Path) -> Annotations:
    """``{train,val,test}/class/file`` or ``class/file``: the latter is one split, still to be divided."""
    tops = sorted(path for path in videos.iterdir() if path.is_dir() and not path.name.startswith("."))
    parts = {SPLITS[path.name.lower()]: path for path in tops if path.name.lower() in SPLITS} or {"all": videos}
    found = {split: _classes_of(part) for split, part in parts.items()}
    classes = sorted({name for files in found.values() for name in files})
    if not classes:
        raise UserError(f"{videos}: holds no folders of videos or pictures, one for each class")
    splits = {
        split: [
            Record(path.relative_to(videos).as_posix(), classes.index(n))
            for n, paths in files.items()
            for path in paths
        ]
        for split, files in found.items()
    }
    return Annotations(splits, classes)


def _classes_of(part: Path) -> dict[str, list[Path]]:
    folders = sorted(path for path in part.iterdir() if path.is_dir() and not path.name.startswith("."))
    files = {
        folder.name: sorted(path for path in folder.rglob("*") if path.suffix.lower() in MEDIA) for folder in folders
    }
    return {name: paths for name, paths in files.items() if paths}


def existing_lists(folder: Path, _videos: Path) -> Annotations:
    """The ``*.txt`` and ``*.csv`` lists of mmaction2, SlowFast, VideoMAE or AIM; their names tell the split.

    A column with the number of frames is passed over. Class names come from a ``label_map*.txt`` or ``classes.txt``
    beside them, or from the videos' folders where those agree with the labels.
    """
    names = [path for path in folder.iterdir() if path.suffix in {".txt", ".csv"} and "rawframes" not in path.name]
    files = by_split(names, folder, "list whose name tells its split, e.g. train.csv or val_list_videos.txt")
    splits = {split: _records(path) for split, path in files.items()}
    return Annotations(splits, _class_names(folder, [record for records in splits.values() for record in records]))


def _records(path: Path) -> list[Record]:
    records = read_list(path)
    counted = [re.fullmatch(r"(.+?)[\s,]+\d+", record.path) for record in records]
    if all(counted) and not any(Path(record.path).suffix.lower() in MEDIA for record in records):
        records = [Record(match[1], record.label) for match, record in zip(counted, records, strict=True)]
    return records


def _class_names(folder: Path, records: list[Record]) -> list[str]:
    count = max(record.label for record in records) + 1
    maps = [find_file(folder, "classes.txt", optional=True), *sorted(folder.glob("*label_map*.txt"))]
    for path in filter(None, maps):
        names = [line.strip() for line in read_text(path).splitlines() if line.strip()]
        if len(names) < count:
            raise UserError(f"{path}: names {len(names)} classes, the lists hold label {count - 1}")
        return names
    parents: list[set[str]] = [set() for _ in range(count)]
    for record in records:
        parents[record.label].add(Path(record.path).parent.name)
    names = [next(iter(names)) if len(names) == 1 else "" for names in parents]
    return names if all(names) and len(set(names)) == count else [str(label) for label in range(count)]
