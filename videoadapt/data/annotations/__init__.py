"""Annotation files as data sets' authors ship them, to records and class names.

A converter is called as ``convert(annotations, videos)`` with the two folders. Those of videos read the annotations
alone, those of pictures and class folders look at both; ``locate`` then finds every file.
"""

import random
from collections import defaultdict
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from videoadapt.data.annotations import pictures
from videoadapt.data.annotations.common import Annotations
from videoadapt.data.annotations.files import Files
from videoadapt.data.annotations.lists import class_folders, existing_lists
from videoadapt.data.annotations.videos import diving48, hmdb51, kinetics, ssv2
from videoadapt.data.lists import Record
from videoadapt.errors import UserError

__all__ = ["ALIASES", "CONVERTERS", "DOWNLOADABLE", "Annotations", "Split", "divide", "locate"]

CONVERTERS: dict[str, Callable[..., Annotations]] = {
    "diving48": diving48,
    "hmdb51": hmdb51,
    "k400": kinetics,
    "k600": kinetics,
    "k700": kinetics,
    "ssv2": ssv2,
    "folder": class_folders,
    "ddsm": class_folders,
    "list": existing_lists,
    **pictures.converters(),
}
DOWNLOADABLE = frozenset(pictures.TORCHVISION)
ALIASES = {
    "kinetics": "k400",
    "kinetics400": "k400",
    "kinetics600": "k600",
    "kinetics700": "k700",
    "kinetics-400": "k400",
    "kinetics-600": "k600",
    "kinetics-700": "k700",
    "hmdb": "hmdb51",
    "folders": "folder",
    "lists": "list",
    "sthv2": "ssv2",
    "something-something-v2": "ssv2",
}


class Split(NamedTuple):
    """A split on this machine."""

    found: list[Record]  # paths below the videos' folder
    missing: list[Record]  # paths as the annotations have them


def locate(annotations: Annotations, videos: Path) -> tuple[dict[str, Split], list[str]]:
    """Each split's files, or that they are missing, in the order of the annotations; and notes on where they lie.

    Raises UserError where one file answers to two names, or has two labels in a split.
    """
    names = [record.path for records in annotations.splits.values() for record in records]
    files = Files(videos, names, annotations.classes)
    splits = {name: Split([], []) for name in annotations.splits}
    owners: dict[str, str] = {}
    for split, records in annotations.splits.items():
        labels: dict[str, int] = {}
        for record in records:
            path = files.find(record.path, split)
            if path is None:
                splits[split].missing.append(record)
                continue
            if owners.setdefault(path, record.path) != record.path:
                raise UserError(f"{owners[path]} and {record.path} are both found as {path}; name a narrower --videos")
            if labels.setdefault(path, record.label) != record.label:
                raise UserError(f"{record.path}: has labels {labels[path]} and {record.label} in the {split} list")
            splits[split].found.append(Record(path, record.label))
    outside = sum(Path(path).is_absolute() for path in owners)
    notes = [f"{files.elsewhere} files lie in other folders than listed"] if files.elsewhere else []
    notes += [f"{outside} files lie outside {videos} and keep absolute paths"] if outside else []
    return splits, [str(files.left_out), *notes] if str(files.left_out) else notes


def divide(annotations: Annotations, val_share: float, seed: int) -> Annotations:
    """The split ``all``, if there is one, becomes ``train`` and ``val``: the same share of each class, at random.

    A class of a single file is trained on alone; a note says so.
    """
    if "all" not in annotations.splits:
        return annotations
    by_class: dict[int, list[Record]] = defaultdict(list)
    for record in annotations.splits["all"]:
        by_class[record.label].append(record)
    held_out = set()
    for label, records in sorted(by_class.items()):
        count = min(max(round(val_share * len(records)), 1), len(records) - 1)
        held_out |= set(random.Random(f"{seed} {label}").sample(sorted(records), count))
    parts: dict[str, list[Record]] = {"train": [], "val": []}
    for record in annotations.splits["all"]:
        parts["val" if record in held_out else "train"].append(record)
    alone = [f"'{annotations.classes[label]}'" for label, records in sorted(by_class.items()) if len(records) == 1]
    notes = [f"a single file, and so none in val: {', '.join(alone)}"] if alone else []
    return annotations._replace(splits=parts, notes=(*annotations.notes, *notes))
