"""The videos and pictures below a folder, and an account of everything else."""

import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from videoadapt.video.media import OTHERS, Kind, kind_in_walk

_NAMED = 8  # endings that a summary names one by one
_HIDDEN, _CLOSED, _AGAIN = "hidden", "folders that cannot be read", "folders linked a second time"


class LeftOut:
    """What a walk below ``root`` passed over: of each suffix how many files, and the first of them."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._unknown: Counter[str] = Counter()
        self._plain: Counter[str] = Counter()  # what by its name shows nothing
        self._first: dict[str, Path] = {}

    def add(self, path: Path, what: str | None = None) -> None:
        """Count a file by its suffix, or as ``what`` it is."""
        name = what or path.suffix.lower() or "without a suffix"
        plain = what == _HIDDEN or name in OTHERS
        (self._plain if plain else self._unknown)[name] += 1
        self._first.setdefault(name, path)

    @property
    def doubtful(self) -> bool:
        """Whether there was anything that may have been meant to be shown."""
        return bool(self._unknown)

    def __str__(self) -> str:
        """One line; an empty one if nothing was left out."""
        common = self._unknown.most_common()
        parts = [
            f"{name} {count} (first {shown_name(self._first[name], self.root)})" for name, count in common[:_NAMED]
        ]
        if rest := common[_NAMED:]:
            parts.append(f"{len(rest)} more suffixes {sum(count for _, count in rest)}")
        parts += [f"{name} {count}" for name, count in self._plain.most_common()]
        return f"left out below {self.root}, neither video nor picture: {', '.join(parts)}" if parts else ""


def shown_name(path: Path, root: Path) -> str:
    """The path below ``root``, on one line whatever its name."""
    name = path.relative_to(root).as_posix()
    return name if name.isprintable() else ascii(name)


def media_below(root: Path, left_out: LeftOut) -> Iterator[tuple[Path, Kind]]:
    """The videos and pictures below ``root``, in the order of ``walk``, and what they seem to be without reading them.

    What is passed over is added to ``left_out``.
    """
    for path in walk(root, left_out):
        if kind := kind_in_walk(path):
            yield path, kind
        else:
            left_out.add(path)


def walk(root: Path, left_out: LeftOut | None = None) -> Iterator[Path]:
    """The files below ``root``, links followed, each folder once, without hidden ones; sorted in every folder."""
    left_out = left_out or LeftOut(root)
    closed = lambda error: left_out.add(Path(error.filename), _CLOSED)  # noqa: E731
    seen = set()
    for folder, names, files in os.walk(root, onerror=closed, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            left_out.add(Path(folder), _AGAIN)
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        for name in [*names, *files]:
            if name.startswith("."):
                left_out.add(Path(folder, name), _HIDDEN)
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))
