"""List files: which videos, which labels."""

import csv
import hashlib
import io
import re
from array import array
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import NamedTuple, TextIO

import numpy as np

from videoadapt.atomic import atomically
from videoadapt.data.faults import no_label
from videoadapt.errors import UserError

_LABELS = 2**31
_HEADER = re.compile(r"""\s*(["']?)path\1\s*,\s*(["']?)label\2\s*""", re.IGNORECASE)


class Record(NamedTuple):
    path: str  # as listed; relative to the data root unless absolute
    label: int


class Records(Sequence[Record]):
    """Records end to end in three arrays: a million takes 70 MB, and forked workers share them.

    (A list of objects would be copied into every worker, page by page, as their reference counts change.)
    """

    def __init__(self, records: Iterable[Record]) -> None:
        names, ends, labels = bytearray(), array("q"), array("q")
        for name, label in records:
            names += name.encode()
            ends.append(len(names))
            labels.append(label)
        self._names, self._ends, self._labels = bytes(names), np.asarray(ends), np.asarray(labels)

    def __len__(self) -> int:
        return len(self._ends)

    def __getitem__(self, index: int) -> Record:  # type: ignore[override]  # integers alone
        index = range(len(self))[index]
        start = self._ends[index - 1] if index else 0
        return Record(self._names[start : self._ends[index]].decode(), int(self._labels[index]))

    def digest(self) -> str:
        found = hashlib.sha256(self._names)
        for numbers in (self._ends, self._labels):
            found.update(numbers.astype("<i8").tobytes())
        return found.hexdigest()


def fingerprint(records: Sequence[Record]) -> str:
    """Another one for other paths or labels, or another order of them."""
    return (records if isinstance(records, Records) else Records(records)).digest()


def read_list(path: str | Path, num_classes: int | None = None) -> Records:
    """Read a list in any of the forms in use.

    With a header ``path,label`` it is CSV, quoting included; a header in single quotes stands for rows with them.
    Without one, a line is ``path label`` (mmaction2, AIM, VideoMAE, SlowFast) or ``path,label``: the label is what
    follows the last separator, so paths may hold spaces, commas and ``#``. Blank lines are passed over.

    Raises UserError, with file and line number, for a line without an integer label, a label outside
    ``range(num_classes)`` and an empty list.
    """
    path = Path(path)
    try:
        with path.open(encoding="utf-8-sig", newline="\n") as file:
            header = _HEADER.fullmatch(file.readline())
            if not header:
                file.seek(0)
            rows = _csv_rows(file, header[1] or header[2]) if header else _plain_rows(file)
            records = Records(_record(path, number, name, label, num_classes) for number, name, label in rows)
    except (OSError, UnicodeError, csv.Error) as error:
        hint = "; 'videoadapt lists' makes lists" if isinstance(error, FileNotFoundError) else ""
        why = getattr(error, "strerror", None) or error
        raise UserError(f"{path}: cannot read the list file: {why}{hint}") from None
    if not records:
        raise UserError(f"{path}: the list is empty")
    return records


def read_classes(path: str | Path, num_classes: int) -> list[str]:
    """One class name a line, in label order; as many as there are classes."""
    names = read_names(path)
    if len(names) != num_classes:
        raise UserError(f"{path}: names {len(names)} classes, data.num_classes is {num_classes}")
    return names


def read_names(path: str | Path) -> list[str]:
    """One name a line; blank lines are passed over."""
    try:
        lines = Path(path).read_text(encoding="utf-8-sig").split("\n")
    except (OSError, UnicodeDecodeError) as error:
        raise UserError(f"{path}: cannot read the class names: {getattr(error, 'strerror', None) or error}") from None
    for number, line in enumerate(lines, start=1):
        if not line.strip().isprintable():  # a checkpoint could not be opened with such a name
            raise UserError(f"{path}:{number}: a class name holds a tab or another character that cannot be printed")
    return [line.strip() for line in lines if line.strip()]


def first_other(one: Sequence[str], other: Sequence[str]) -> int:
    """The first label at which two lists of names differ."""
    pairs = enumerate(zip(one, other, strict=False))
    return next((label for label, (a, b) in pairs if a != b), min(len(one), len(other)))


def _csv_rows(file: TextIO, quote: str) -> Iterator[tuple[int, str, str]]:
    """Line number, name and label, which is empty where there is none; as the header is quoted, if it is."""
    reader = csv.reader(file, quotechar=quote or '"', skipinitialspace=bool(quote))
    for row in reader:
        if len(row) > 1 or (row and row[0].strip()):
            label = _unquoted(row[1].strip(), '"') if len(row) == 2 else ""
            yield reader.line_num + 1, row[0], label


def _unquoted(cell: str, quote: str) -> str:
    inside = cell[1:-1]
    return inside.replace(2 * quote, quote) if len(cell) > 1 and cell == f"{quote}{inside}{quote}" else cell


def _plain_rows(file: TextIO) -> Iterator[tuple[int, str, str]]:
    for number, line in enumerate(file, start=1):
        if line := line.strip():
            match = re.search(r"""[\s,](["']?)(-?\d+)\1$""", line)
            name = line[: match.start()].rstrip() if match else line
            if match and line[match.start()] != ",":
                name = name.removesuffix(",").rstrip()
            quote = "'" if match and match[1] == "'" else '"'
            yield number, _unquoted(name, quote), match[2] if match else ""


def _record(path: Path, number: int, name: str, label: str, num_classes: int | None) -> Record:
    try:
        value = int(label)
        if not name.strip("\0") or "_" in label:
            raise ValueError
    except ValueError:
        why = no_label(name, label, number)
        raise UserError(f"{path}:{number}: no integer label at the end of '{name}'; {why}") from None
    if not 0 <= value < (_LABELS if num_classes is None else num_classes):
        classes = "labels start at 0" if num_classes is None else f"data.num_classes is {num_classes}"
        classes += ", and labels start at 0" if value == num_classes else ""
        raise UserError(f"{path}:{number}: label {value} of '{name}' is out of range; {classes}")
    return Record(name, value)


def write_list(path: Path, records: Iterable[Record]) -> None:
    """A list as CSV with the header ``path,label``."""
    write_csv(path, ("path", "label"), records)


def write_csv(path: Path, header: Sequence[str], rows: Iterable[Sequence]) -> None:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows([header, *rows])
    write_text(path, text.getvalue())


def write_text(path: Path, text: str) -> None:
    """Whole or not at all; UserError if the file, or a name in it, cannot be written."""
    try:
        content = text.encode()
        atomically(path, lambda draft: draft.write_bytes(content))
    except UnicodeEncodeError as error:
        name = ascii(text[max(error.start - 40, 0) : error.end])
        raise UserError(f"{path}: the file name around {name} is not UTF-8; rename the file") from None
    except OSError as error:
        raise UserError(f"{path}: cannot be written ({error.strerror})") from None
