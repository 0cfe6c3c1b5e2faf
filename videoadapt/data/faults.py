"""What is wrong with a list: of a line why it cannot be read, of whole lists what would make their numbers a lie."""

import re
from collections import Counter
from collections.abc import Sequence
from pathlib import PurePosixPath

import numpy as np

from videoadapt.errors import UserError
from videoadapt.video.media import MEDIA

_NAMED = 5  # classes in a message
_HEADERS = {
    "path",
    "file",
    "filename",
    "name",
    "video",
    "video_id",
    "id",
    "label",
    "labels",
    "class",
    "class_id",
    "target",
}
_KINETICS = {"youtube_id", "time_start"}


def no_label(name: str, label: str, number: int) -> str:
    """Why line ``number`` has no integer label, and what to write: of another form of list, what form that is.

    Args:
        name: what was taken for the path; the whole line if ``label`` is empty.
    """
    words = {word.strip().strip('"').lower() for word in re.split(r"[,;\t ]", f"{name},{label}")}
    if number == 1 and words & _KINETICS:
        return "this is a file of Kinetics' authors; 'videoadapt lists k400' makes lists of them"
    if number == 1 and len(words - {""}) > 1 and words & _HEADERS and not _media_first(name):
        return "this looks like the header of another form of list; write path,label, or no header"
    if re.fullmatch(r"\d+([;|]\d+)+", label):
        return "several labels for one video are not read; write path,label with one"
    if match := re.fullmatch(r"(.+?)\s*[;|]\s*\d+", name):
        return f"the separator is a comma or a space; write '{match[1]},label'"
    text = label or _media_first(name)
    if re.fullmatch(r"-?\d+\.0*", text):
        return f"a label is an integer; write {text.partition('.')[0]}, not {text}"
    if text:
        return f"'{text}' is a name; write its number, counted from 0, and the names into the file of data.classes"
    return "write path,label"


def _media_first(line: str) -> str:
    """What follows the name of a video or picture in a line, if anything does."""
    match = re.match(r"(.*?\.(\w{2,5}))(?:\s*[,;\t]\s*|\s+)(\S.*)$", line)
    return match[3] if match and f".{match[2].lower()}" in MEDIA else ""


def other_form(name: str) -> str:
    """What a listed path that is no file looks like, after a separator; nothing where it looks like a path."""
    match = re.fullmatch(r"(.+?)((?:[\s,]+\d+)+)", name)
    if match is None:
        return ""
    if PurePosixPath(match[1]).suffix.lower() in MEDIA:
        return (
            f"; '{match[2].strip(' ,')}' before the label: several labels for one video are not read, nor other columns"
        )
    return f"; '{match[2].strip(' ,')}' before the label: folders of frames are not read; make videos of them"


def check_labels(records: Sequence, source: str) -> None:
    """UserError if there is nothing to tell apart, and every accuracy 100 %."""
    first = records[0].label
    if all(record.label == first for record in records):
        raise UserError(f"{source}: label {first} alone: nothing to tell apart; a training needs two classes")


def doubts(train: tuple[str, Sequence], val: tuple[str, Sequence], classes: Sequence[str]) -> list[str]:
    """What in two lists, each with its name, makes their accuracies worth less than they seem."""
    (trained, *_), (marks, *_) = read = [_arrays(records) for _, records in (train, val)]
    found: list[str] = []
    for (name, records), arrays in zip((train, val), read, strict=True):
        found += _twice(name, records, *arrays)
        absent = np.setdiff1d(np.arange(len(classes)), arrays[1])
        found += _several(f"{name}: no video of class", [f"'{classes[label]}'" for label in absent])
    if len(shared := np.flatnonzero(np.isin(marks, trained))):
        some = (
            f"{len(shared)} of the {len(marks)} files of {val[0]} are in {train[0]} too, first {val[1][shared[0]].path}"
        )
        what = f"{val[0]} is trained on and validated on" if val[0] == train[0] else some
        found.append(f"{what}: the validation accuracy is that of videos learnt by heart")
    named = [f"'{name}'" for name, count in Counter(classes).items() if count > 1]
    return found + _several("two classes are called", named)


def _arrays(records: Sequence) -> tuple[np.ndarray, np.ndarray]:
    """A number for each path and the labels: a million paths would take much memory."""
    pairs = np.fromiter(((hash(path), label) for path, label in records), np.dtype((np.int64, 2)), len(records))
    return pairs[:, 0], pairs[:, 1]


def _twice(name: str, records: Sequence, marks: np.ndarray, labels: np.ndarray) -> list[str]:
    """Of files that stand in a list again."""
    order = np.argsort(marks, kind="stable")
    again = np.flatnonzero(marks[order][1:] == marks[order][:-1])
    torn, same = [], []
    for first, second in zip(order[again].tolist(), order[again + 1].tolist(), strict=True):
        path, one, other = records[first].path, labels[first], labels[second]
        if one == other:
            same.append(path)
        else:
            torn.append(f"{path} ({one} and {other})")
    return _several(f"{name}: two labels for", torn) + _several(f"{name}: more than once in the list:", same)


def _several(what: str, items: Sequence[str]) -> list[str]:
    """One message of them, or none."""
    more = f" and {len(items) - _NAMED} more" if len(items) > _NAMED else ""
    return [f"{what} {', '.join(items[:_NAMED])}{more}"] if items else []
