"""The class names of a config."""

from pathlib import Path
from typing import NamedTuple

from videoadapt.config import DataConfig
from videoadapt.data.lists import first_other, read_classes, read_names
from videoadapt.errors import UserError
from videoadapt.packaged import class_file


class ClassList(NamedTuple):
    """Names in label order, and the file that has them."""

    names: list[str]
    file: Path


def class_names(data: DataConfig) -> list[str]:
    """The names of ``class_list``, or the label numbers."""
    known = class_list(data)
    return known.names if known else numbers(data.num_classes)


def class_list(data: DataConfig) -> ClassList | None:
    """From ``data.classes``, or the packaged names of a known data set with as many classes; None without names.

    A classes.txt beside a list that contradicts the packaged names is a UserError: the labels of the list are probably
    numbered as it says.
    """
    if data.classes:
        own = _found(Path(data.classes))
        return ClassList(read_classes(own, data.num_classes), own)
    file = class_file(data.dataset)
    if file is None or len(names := read_names(file)) != data.num_classes:
        return None
    lists = [Path(path) for path in (data.train, data.val, data.test) if path]
    for beside in dict.fromkeys(path.parent / "classes.txt" for path in lists):
        if beside.is_file():
            _agree(beside, file, data.dataset)
    return ClassList(names, file)


def _agree(beside: Path, file: Path, dataset: str) -> None:
    """UserError if the names beside a list are others than those of its data set."""
    others, names = read_names(beside), read_names(file)
    if others != names:
        label = first_other(others, names)
        theirs, ours = (f"'{each[label]}'" if label < len(each) else "missing" for each in (others, names))
        raise UserError(
            f"{beside}: class {label} is {theirs}, in {file}, the names of {dataset}, it is {ours}; "
            f"if the lists are numbered by the first, set data.classes={beside}"
        )


def _found(path: Path) -> Path:
    """The file, or the packaged one if it is not there and the path is that of a clone, as the packaged configs say."""
    known = class_file(path.parent.name)
    in_clone = Path("data_lists", path.parent.name, "classes.txt")
    return known if known and path == in_clone and not path.exists() else path


def numbers(count: int) -> list[str]:
    """What stands for names where there are none."""
    return [str(label) for label in range(count)]
