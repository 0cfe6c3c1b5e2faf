"""Annotation files as data sets' authors ship them, to records and class names.

A converter is called as ``convert(annotations, videos)`` with the two folders and reads only the annotations; where
the videos lie is looked up afterwards.
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
    "kinetics-400": "k400",
    "hmdb": "hmdb51",
    "sthv2": "ssv2",
    "something-something-v2": "ssv2",
}


class Split(NamedTuple):
    """A split on this machine."""

    found: list[Record]  # paths below the videos' folder
    missing: list[Record]  # paths as the annotations have them


def locate(annotations: Annotations, videos: Path) -> dict[str, Split]:
    """Each split's files, or that they are missing; the order of the annotations is kept."""
    files = Files(videos, annotations.classes)
    splits = {}
    for name, records in annotations.splits.items():
        splits[name] = Split([], [])
        for record in records:
            path = files(record.path)
            (splits[name].missing if path is None else splits[name].found).append(
                Record(path or record.path, record.label)
            )
    return splits


def divide(annotations: Annotations, val_share: float, seed: int) -> Annotations:
    """The split ``all``, if there is one, becomes ``train`` and ``val``: the same share of each class, at random."""
    if "all" not in annotations.splits:
        return annotations
    by_class: dict[int, list[Record]] = defaultdict(list)
    for record in annotations.splits["all"]:
        by_class[record.label].append(record)
    held_out = set()
    for label, records in sorted(by_class.items()):
        count = min(max(round(val_share * len(records)), 1), len(records) - 1)
        held_out |= set(random.Random(f"{seed} {label}").sample(sorted(records), count))
    parts = {"train": [], "val": []}
    for record in annotations.splits["all"]:
        parts["val" if record in held_out else "train"].append(record)
    return annotations._replace(splits=parts)
