"""Folders of frames: a video as numbered pictures, which must not be taken for as many pictures."""

import re
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePath

from videoadapt.errors import UserError
from videoadapt.video.media import PICTURES

_FEWEST = 3  # pictures that make a sequence


def refuse_frames(root: Path, files: Iterable[PurePath], depth: int) -> None:
    """UserError if pictures below the folders of classes are numbered as the frames of videos are.

    As single pictures, those of one video would be trained on and validated on.

    Args:
        files: relative to ``root``.
        depth: of the folders of classes.
    """
    numbers: dict[tuple[PurePath, str], list[int]] = defaultdict(list)
    for path in files:
        match = re.fullmatch(r"(.*?)(\d{1,9})", path.stem)
        if match and path.suffix.lower() in PICTURES and len(path.parts) > depth + 2:
            numbers[path.parent, match[1]].append(int(match[2]))
    found = sorted({folder for (folder, _), own in numbers.items() if _is_sequence(own)})
    if found:
        what = f"{len(found)} folders of numbered pictures inside classes, first '{found[0].as_posix()}'"
        remedy = (
            "frames of videos are not read: make videos of them; if they are single pictures, put them into the class"
        )
        raise UserError(f"{root}: {what}; {remedy}")


def _is_sequence(numbers: list[int]) -> bool:
    """Whether most numbers from the first to the last are there."""
    return len(numbers) >= _FEWEST and max(numbers) - min(numbers) < 2 * len(numbers)
