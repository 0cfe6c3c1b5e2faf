"""Data sets that come as folders of classes, or as the lists of another toolkit."""

import logging
import re
from collections.abc import Sequence
from pathlib import Path

from videoadapt.data.annotations.common import SPLITS, Annotations, class_list, split_files
from videoadapt.data.annotations.frames import refuse_frames
from videoadapt.data.lists import Record, read_list
from videoadapt.errors import UserError
from videoadapt.video.media import MEDIA
from videoadapt.video.walk import LeftOut, media_below, shown_name

_NAMED = 5  # of folders with nothing to show
log = logging.getLogger(__name__)


def class_folders(_folder: Path, videos: Path) -> Annotations:
    """``{train,val,test}/class/file`` or ``class/file``: the latter is one split, still to be divided.

    What is left out is in the notes, and a folder in which that leaves nothing is told in the log: it is no class.
    """
    left_out = LeftOut(videos)
    files = [path.relative_to(videos) for path, _ in media_below(videos, left_out)]
    tops = {path.parts[0] for path in files if len(path.parts) > 1}
    parts = {top: SPLITS[top.lower()] for top in sorted(tops) if top.lower() in SPLITS}
    if parts and (other := next(iter(sorted(tops - set(parts))), None)):
        raise UserError(f"{videos}: '{next(iter(parts))}' looks like a split, '{other}' like a class; move one away")
    if len(set(parts.values())) < len(parts):
        raise UserError(f"{videos}: {', '.join(parts)} are not different splits; keep one of each")
    depth = 1 if parts else 0
    outside = [path for path in files if len(path.parts) <= depth + 1]
    files = [path for path in files if len(path.parts) > depth + 1]
    classes = sorted({path.parts[depth] for path in files})
    if not classes:
        why = f"; {left_out}" if str(left_out) else ""
        raise UserError(f"{videos}: holds no folders of videos or pictures, one for each class{why}")
    refuse_frames(videos, files, depth)
    _tell_of_hollow(videos, {path.parts[: depth + 1] for path in files}, list(parts))
    number = {name: label for label, name in enumerate(classes)}
    splits: dict[str, list[Record]] = {}
    for path in files:
        split = parts[path.parts[0]] if parts else "all"
        splits.setdefault(split, []).append(Record(path.as_posix(), number[path.parts[depth]]))
    strays = [f"in no class's folder: {len(outside)}, first {outside[0].as_posix()}"] if outside else []
    return Annotations(splits, classes, (*([str(left_out)] if str(left_out) else []), *strays))


def _tell_of_hollow(videos: Path, full: set[tuple[str, ...]], splits: Sequence[str]) -> None:
    """The folders where a class is expected, but that have nothing to show: the labels are counted without them."""
    above = [path for split in splits for path in (videos / split).iterdir()]
    below = [path for path in videos.iterdir() if path.name not in splits]
    folders = sorted(path for path in above + below if path.is_dir() and not path.name.startswith("."))
    hollow = [f"'{shown_name(path, videos)}'" for path in folders if path.relative_to(videos).parts not in full]
    if hollow:
        more = f" and {len(hollow) - _NAMED} more folders" if len(hollow) > _NAMED else ""
        where = ", ".join(hollow[:_NAMED]) + more
        log.warning("%s: no videos or pictures in %s; no class comes from there, labels are without it", videos, where)


def existing_lists(place: Path, _videos: Path) -> Annotations:
    """The ``*.txt`` and ``*.csv`` lists of mmaction2, SlowFast, VideoMAE or AIM; their names tell the split.

    ``place`` is their folder, or a single list, whose own name is the split if it tells none.

    A middle column of numbers (of frames) is passed over. Class names come from a ``classes.txt`` or
    ``label_map*.txt`` beside them, or from the videos' folders where those agree with the labels.
    """
    rest: list[Path] = []
    if place.is_file():
        folder, files = place.parent, split_files([place])[0] or {place.stem: place}
    else:
        folder, names = place, [path for path in place.iterdir() if path.suffix.lower() in {".txt", ".csv"}]
        names = [path for path in names if "rawframes" not in path.name and not _is_class_list(path)]
        files, rest = split_files(names)
    if not files:
        raise UserError(
            f"{place}: holds no list of videos whose name tells its split, e.g. train.csv or val_list.txt; "
            "lists of raw frames are not read"
        )
    notes = [f"{path.name}: its name tells no split, it is not read" for path in rest]
    splits: dict[str, Sequence[Record]] = {}
    for split, path in files.items():
        splits[split] = read_list(path)
        if uncounted := _without_counts(splits[split]):
            splits[split] = uncounted
            notes.append(f"{path.name}: the numbers between path and label are passed over")
    records = [record for records in splits.values() for record in records]
    return Annotations(splits, _class_names(folder, records), tuple(notes))


def _is_class_list(path: Path) -> bool:
    return path.name == "classes.txt" or "label_map" in path.name


def _without_counts(records: Sequence[Record]) -> list[Record] | None:
    """The records, if every path ends with a number of its own column."""
    counted = [match for record in records if (match := re.fullmatch(r"(.+?)[\s,]+\d+", record.path))]
    if len(counted) < len(records) or any(Path(record.path).suffix.lower() in MEDIA for record in records):
        return None
    return [Record(match[1], record.label) for match, record in zip(counted, records, strict=True)]


def _class_names(folder: Path, records: list[Record]) -> list[str]:
    count = max(record.label for record in records) + 1
    if names := class_list(folder):
        if len(names) < count:
            raise UserError(f"{folder}: its list names {len(names)} classes, the lists hold label {count - 1}")
        return names
    parents: list[set[str]] = [set() for _ in range(count)]
    for record in records:
        parents[record.label].add(Path(record.path).parent.name)
    names = [next(iter(names)) if len(names) == 1 else "" for names in parents]
    return names if all(names) and len(set(names)) == count else [str(label) for label in range(count)]
