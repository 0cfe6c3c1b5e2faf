"""Files that travel with the package: configs and the class names of well-known data sets."""

from pathlib import Path

DATASETS = ("diving48", "hmdb51", "k400", "ssv2", "ucf101")  # whose class names are known
_PACKAGE = Path(__file__).parent


def packaged(folder: str) -> Path:
    """``configs`` or ``data_lists``: inside an installed package, beside the package in a clone."""
    inside = _PACKAGE / folder
    return inside if inside.is_dir() else _PACKAGE.parent / folder


def class_file(dataset: str) -> Path | None:
    """The class names of a well-known data set, one a line in label order; None for any other data set."""
    name = dataset.lower()
    return packaged("data_lists") / name / "classes.txt" if name in DATASETS else None
