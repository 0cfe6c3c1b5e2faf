"""What every converter shares: its result, and reading the authors' files."""

import csv
import json
import re
from pathlib import Path
from typing import Any, NamedTuple

from videoadapt.data.lists import Record
from videoadapt.errors import UserError

SPLITS = {"train": "train", "val": "val", "validate": "val", "validation": "val", "test": "test"}


class Annotations(NamedTuple):
    """What a data set's annotation files say.

    ``splits`` are records whose paths may lack folders and suffix; ``all`` is a split still to be divided.
    """

    splits: dict[str, list[Record]]
    classes: list[str]
    notes: tuple[str, ...] = ()  # what was left out, and why


def find_file(folder: Path, *names: str, optional: bool = False) -> Path | None:
    """The first of ``names`` in ``folder``; UserError, naming them all, if there is none and it is not ``optional``."""
    found = next((folder / name for name in names if (folder / name).is_file()), None)
    if found is None and not optional:
        raise UserError(f"{folder}: holds no {' or '.join(names)}")
    return found


def read_text(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8-sig")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot be read ({getattr(error, 'strerror', None) or error})") from None


def read_json(path: Path, kind: type) -> Any:
    """Its content, a ``list`` or a ``dict``."""
    try:
        content = json.loads(read_text(path))
    except json.JSONDecodeError as error:
        raise UserError(f"{path}: no valid JSON ({error})") from None
    if not isinstance(content, kind):
        raise UserError(f"{path}: holds no JSON {kind.__name__}")
    return content


def read_csv(path: Path, *required: str) -> list[dict[str, str]]:
    """Rows by the names of the header, which must hold ``required``."""
    reader = csv.DictReader(read_text(path).splitlines())
    if lacking := [name for name in required if name not in (reader.fieldnames or [])]:
        raise UserError(f"{path}: its header lacks {', '.join(lacking)}")
    rows = list(reader)
    if short := next((number for number, row in enumerate(rows, 2) if None in row.values() or None in row), None):
        raise UserError(f"{path}:{short}: not as many fields as the header names")
    return rows


def by_split(files: list[Path], folder: Path, expected: str) -> dict[str, Path]:
    """Files by the split that their names tell; UserError if none does, or two tell the same."""
    found: dict[str, Path] = {}
    for path in sorted(files):
        words = re.split(r"[^a-z]+", path.stem.lower())
        split = next((SPLITS[word] for word in words if word in SPLITS), None)
        number = re.search(r"split_?(\d+)", path.stem.lower())
        if split is None:
            continue
        key = f"{split}_split{number[1]}" if number else split
        if key in found:
            raise UserError(f"{folder}: both {found[key].name} and {path.name} look like the {key} list; keep one")
        found[key] = path
    if not found:
        raise UserError(f"{folder}: holds no {expected}")
    return found


def number_classes(names: set[str], folder: Path) -> list[str]:
    """The order of a class list beside the annotations if there is one, else the alphabet."""
    maps = [*sorted(folder.glob("classes.txt")), *sorted(folder.glob("*label_map*.txt"))]
    if not maps:
        return sorted(names)
    order = [line.strip() for line in read_text(maps[0]).splitlines() if line.strip()]
    if unknown := sorted(names - set(order)):
        raise UserError(f"{maps[0]}: lacks the class '{unknown[0]}'")
    return order
