"""Diving48, HMDB51, Kinetics and Something-Something v2 from their authors' annotation files."""

import re
from pathlib import Path

from videoadapt.data.annotations.common import (
    Annotations,
    class_list,
    find_file,
    read_csv,
    read_json,
    read_text,
    split_files,
)
from videoadapt.data.lists import Record
from videoadapt.errors import UserError
from videoadapt.video.walk import walk


def diving48(folder: Path, _videos: Path) -> Annotations:
    """``Diving48_V2_{train,test}.json`` and ``Diving48_vocab.json``; version 1 has noisy labels and is not read.

    The clips are trimmed already: start and end frames are not used.
    """
    path = find_file(folder, "Diving48_vocab.json")
    vocabulary = read_json(path, list)
    if not all(isinstance(word, str | list) for word in vocabulary):
        raise UserError(f"{path}: is no list of classes")
    classes = [word if isinstance(word, str) else "+".join(map(str, word)) for word in vocabulary]
    splits = {}
    for split in ("train", "test"):
        path = find_file(folder, f"Diving48_V2_{split}.json")
        splits[split] = [_diving(path, entry, len(classes)) for entry in read_json(path, list)]
    return Annotations(splits, classes)


def _diving(path: Path, entry: dict, num_classes: int) -> Record:
    if not isinstance(entry, dict) or not isinstance(entry.get("label"), int) or "vid_name" not in entry:
        raise UserError(f"{path}: no vid_name and label in {entry}")
    record = Record(f"{entry['vid_name']}.mp4", entry["label"])
    if not 0 <= record.label < num_classes:
        raise UserError(f"{path}: label {record.label} of {record.path} is not in the vocabulary of {num_classes}")
    return record


def hmdb51(folder: Path, _videos: Path) -> Annotations:
    """The 153 files ``{class}_test_split{1,2,3}.txt``: each line a clip and 1 (train), 2 (test) or 0 (unused)."""
    files = [path for path in walk(folder) if re.fullmatch(r".+_test_split[123]\.txt", path.name)]
    classes = sorted({path.name[: -len("_test_split1.txt")] for path in files})
    if not classes:
        raise UserError(f"{folder}: holds no <class>_test_split<1, 2 or 3>.txt")
    by_name = {path.name: path for path in files}
    if len(by_name) < len(files):
        twice = next(path for path in files if by_name[path.name] != path)
        raise UserError(f"{folder}: both {twice} and {by_name[twice.name]} are there; keep one")
    splits: dict[str, list[Record]] = {f"{use}_split{n}": [] for n in (1, 2, 3) for use in ("train", "test")}
    for number in (1, 2, 3):
        for label, name in enumerate(classes):
            path = by_name.get(f"{name}_test_split{number}.txt")
            if path is None:
                raise UserError(f"{folder}: lacks {name}_test_split{number}.txt")
            for clip, use in _hmdb_lines(path):
                if use:
                    splits[f"{('train', 'test')[use - 1]}_split{number}"].append(Record(f"{name}/{clip}", label))
    return Annotations(splits, classes)


def _hmdb_lines(path: Path) -> list[tuple[str, int]]:
    lines = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            match = re.fullmatch(r"\s*(\S.*?)\s+([012])\s*", line)
            if match is None:
                raise UserError(f"{path}:{number}: '{line.strip()}' does not end with 0, 1 or 2")
            lines.append((match[1], int(match[2])))
    return lines


def kinetics(folder: Path, _videos: Path) -> Annotations:
    """``{train,val,test}.csv`` (also ``validate.csv``, ``kinetics_train.csv``, ``kinetics-400_val.csv``, ...).

    With or without ``split`` and ``is_cc``; a test file without labels is left out. Clips are named
    ``{youtube_id}_{start:06d}_{end:06d}``, below a folder of their class (spaces or underscores) or not.
    """
    rows, notes = {}, []
    files, _ = split_files(folder.glob("*.csv"))
    if not files:
        raise UserError(f"{folder}: holds no train.csv, val.csv or test.csv")
    for split, path in files.items():
        read = read_csv(path, "youtube_id", "time_start", "time_end")
        labelled = [bool(row.get("label")) for row in read]
        if not any(labelled):
            notes.append(f"{split}: {path.name} has no labels, no list is written")
        elif not all(labelled):
            raise UserError(f"{path}: {read[labelled.index(False)]['youtube_id']} has no label")
        else:
            rows[split] = (path, read)
    names = {row["label"] for _, read in rows.values() for row in read}
    classes = class_list(folder) or sorted(names)
    if unknown := sorted(names - set(classes)):
        raise UserError(f"{folder}: the list of classes lacks '{unknown[0]}'")
    number = {name: label for label, name in enumerate(classes)}
    splits = {
        split: [Record(f"{row['label']}/{_clip(path, row)}.mp4", number[row["label"]]) for row in read]
        for split, (path, read) in rows.items()
    }
    return Annotations(splits, classes, tuple(notes))


def _clip(path: Path, row: dict[str, str]) -> str:
    try:
        start, end = (int(float(row[key])) for key in ("time_start", "time_end"))
    except ValueError:
        raise UserError(
            f"{path}: no times for {row['youtube_id']}, '{row['time_start']}', '{row['time_end']}'"
        ) from None
    return f"{row['youtube_id']}_{start:06d}_{end:06d}"


def ssv2(folder: Path, _videos: Path) -> Annotations:
    """``something-something-v2-{labels,train,validation,test}.json``, or ``labels/{labels,train,...}.json``.

    A label is its template without brackets. Test labels come from ``test-answers.csv``, without which there is no
    test list.
    """
    numbers = read_json(_ssv2_file(folder, "labels"), dict)
    classes = sorted(numbers, key=lambda name: (len(str(numbers[name])), str(numbers[name])))
    if [str(numbers[name]) for name in classes] != [str(label) for label in range(len(classes))]:
        raise UserError(f"{_ssv2_file(folder, 'labels')}: the labels are not numbered from 0")
    splits, notes = {}, []
    for split, kind in (("train", "train"), ("val", "validation")):
        path = _ssv2_file(folder, kind)
        splits[split] = _ssv2_records(path, [_ssv2_pair(path, entry) for entry in read_json(path, list)], numbers)
    if answers := find_file(folder, "test-answers.csv", "labels/test-answers.csv", optional=True):
        splits["test"] = _ssv2_records(answers, _ssv2_answers(answers), numbers)
    else:
        notes.append("test: there is no test-answers.csv, no list is written")
    return Annotations(splits, classes, tuple(notes))


def _ssv2_pair(path: Path, entry: dict) -> tuple[str, str]:
    try:
        return entry["id"], _without_brackets(entry["template"])
    except (KeyError, TypeError):
        raise UserError(f"{path}: no id and template in {entry}") from None


def _ssv2_answers(path: Path) -> list[tuple[str, str]]:
    pairs = []
    for number, line in enumerate(read_text(path).split("\n"), start=1):
        if line.strip():
            video, separator, label = line.strip().partition(";")
            if not separator:
                raise UserError(f"{path}:{number}: '{line.strip()}' is not 'id;label'")
            pairs.append((video, _without_brackets(label)))
    return pairs


def _without_brackets(template: str) -> str:
    return re.sub(r"[\[\]]", "", template)


def _ssv2_file(folder: Path, kind: str) -> Path:
    return find_file(folder, f"something-something-v2-{kind}.json", f"{kind}.json", f"labels/{kind}.json")


def _ssv2_records(path: Path, pairs: list[tuple[str, str]], numbers: dict[str, str]) -> list[Record]:
    if unknown := next((name for _, name in pairs if name not in numbers), None):
        raise UserError(f"{path}: '{unknown}' is no label of labels.json")
    return [Record(f"{video}.webm", int(numbers[name])) for video, name in pairs]
