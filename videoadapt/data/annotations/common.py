"""What every converter shares: its result, and reading the authors' files."""

import csv
import io
import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any, NamedTuple, overload

from videoadapt.data.lists import Record, read_names
from videoadapt.errors import UserError

SPLITS = {
    **dict.fromkeys(["train", "training"], "train"),
    **dict.fromkeys(["val", "valid", "validate", "validation"], "val"),
    **dict.fromkeys(["test", "testing"], "test"),
}
_OURS = (".report.csv", "missing.csv")  # of check_videos and prepare_lists


class Annotations(NamedTuple):
    """What a data set's annotation files say.

    ``splits`` are records whose paths may lack folders and suffix; ``all`` is a split still to be divided.
    """

    splits: Mapping[str, Sequence[Record]]
    classes: list[str]
    notes: tuple[str, ...] = ()  # what was left out, and why


@overload
def find_file(folder: Path, *names: str) -> Path: ...


@overload
def find_file(folder: Path, *names: str, optional: bool) -> Path | None: ...


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
    except (json.JSONDecodeError, RecursionError) as error:
        raise UserError(f"{path}: no valid JSON ({error})") from None
    if not isinstance(content, kind):
        raise UserError(f"{path}: holds no JSON {kind.__name__}")
    return content


def read_csv(path: Path, *required: str) -> list[dict[str, str]]:
    """Rows by the names of the header, which must hold ``required``."""
    reader = csv.DictReader(io.StringIO(read_text(path), newline=""), skipinitialspace=True)
    if lacking := [name for name in required if name not in (reader.fieldnames or [])]:
        raise UserError(f"{path}: its header lacks {', '.join(lacking)}")
    rows = []
    try:
        for row in reader:
            if None in row or None in row.values():
                raise UserError(f"{path}:{reader.line_num}: not as many fields as the header names")
            rows.append({key: cell.strip() for key, cell in row.items()})
    except csv.Error as error:
        raise UserError(f"{path}:{reader.line_num}: no valid CSV ({error})") from None
    return rows


def split_files(files: Iterable[Path]) -> tuple[dict[str, Path], list[Path]]:
    """Files by the split that their names tell, and those whose names tell none; UserError if two tell the same."""
    found: dict[str, Path] = {}
    rest: list[Path] = []
    for path in sorted(path for path in files if not path.name.startswith(".") and not path.name.endswith(_OURS)):
        words = re.split(r"[^a-z]+", path.stem.lower())
        split = next((SPLITS[word] for word in words if word in SPLITS), None)
        number = re.search(r"split_?(\d+)", path.stem.lower())
        key = f"{split}_split{number[1]}" if split and number else split
        if key in found:
            raise UserError(f"{path}: looks like the {key} list, and so does {found[key].name}; keep one")
        if key is None:
            rest.append(path)
        else:
            found[key] = path
    return found, rest


def class_list(folder: Path) -> list[str] | None:
    """The names in a file ``classes.txt`` or ``*label_map*.txt`` beside the annotations, in label order."""
    maps = [
        *folder.glob("classes.txt"),
        *sorted(folder.glob("label_map*.txt")),
        *sorted(folder.glob("*_label_map.txt")),
    ]
    return read_names(maps[0]) if maps else None
