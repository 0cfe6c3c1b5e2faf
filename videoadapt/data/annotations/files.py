"""Where a data set's files lie on this machine, whatever folders they were unpacked into."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePath, PurePosixPath

from videoadapt.errors import UserError
from videoadapt.video.media import MEDIA, PICTURES, VIDEOS


def walk(root: Path) -> Iterator[Path]:
    """The files below ``root``, links followed, each folder once, without hidden ones; sorted in every folder."""
    seen = set()
    for folder, names, files in os.walk(root, followlinks=True):
        status = Path(folder).stat()
        if (status.st_dev, status.st_ino) in seen:
            names.clear()
            continue
        seen.add((status.st_dev, status.st_ino))
        names[:] = sorted(name for name in names if not name.startswith("."))
        yield from (Path(folder, name) for name in sorted(files) if not name.startswith("."))


class Files:
    """The videos and pictures below ``root``, found by the names that annotations give them.

    A file answers to a name if its path ends with it, or it ends with the path (of another machine): spaces and
    underscores in folders are alike, and a video may have another suffix. If none does, one of the same stem in
    other folders answers, provided that neither the annotations nor the disk have a second of that stem and that
    its folder is not another class's; ``elsewhere`` counts these.
    """

    def __init__(self, root: Path, names: Iterable[str], classes: Iterable[str]) -> None:
        self.root, self.elsewhere = root, 0
        self._classes = {_plain(name) for name in classes}
        self._listed = Counter(_stem(PurePosixPath(name)) for name in {_posix(name) for name in names})
        self._by_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
        for path in walk(root):
            if path.suffix.lower() in MEDIA:
                self._by_stem[_stem(path)].append(PurePosixPath(path.relative_to(root).as_posix()))

    def find(self, name: str, split: str) -> str | None:
        """The path below ``root`` (absolute if it lies elsewhere) of a listed name, or None."""
        wanted = PurePosixPath(_posix(name))
        if wanted.is_absolute() and Path(wanted).is_file() and not Path(wanted).is_relative_to(self.root.absolute()):
            return str(wanted)
        same = [path for path in self._by_stem.get(_stem(wanted), []) if _same_kind(wanted, path)]
        if strong := [path for path in same if _ends_alike(path, wanted) or _is_replacement(path)]:
            return str(self._best(wanted, strong, split))
        others = self._classes - {_plain(wanted.parent.name)}
        loose = [path for path in same if _plain(path.parent.name) not in others]
        if self._listed[_stem(wanted)] > 1 or not loose:
            return None
        found = self._best(wanted, loose, split)
        self.elsewhere += 1
        return str(found)

    def _best(self, wanted: PurePosixPath, paths: list[PurePosixPath], split: str) -> PurePosixPath:
        """Kinetics' replacements of broken clips, then the same suffix, then a folder named like the split."""

        def rank(path: PurePosixPath) -> tuple[bool, bool, bool]:
            return not _is_replacement(path), path.suffix.lower() != wanted.suffix.lower(), split not in path.parts

        first, *rest = sorted(paths, key=lambda path: (rank(path), path))
        for other in rest:
            if rank(other) == rank(first) and not (self.root / first).samefile(self.root / other):
                raise UserError(f"{wanted}: may be {first} or {other} below {self.root}; name a narrower --videos")
        return first


def _is_replacement(path: PurePosixPath) -> bool:
    """Kinetics ships whole copies of broken clips in a folder of this name."""
    return any(part.startswith("replacement_for_corrupted") for part in path.parts)


def _posix(name: str) -> str:
    return name.replace("\\", "/")


def _stem(path: PurePath) -> str:
    return path.stem if path.suffix.lower() in MEDIA else path.name


def _plain(folder: str) -> str:
    return folder.replace(" ", "_").lower()


def _same_kind(wanted: PurePosixPath, path: PurePosixPath) -> bool:
    """A picture is never taken for a video, nor a picture of another format (a mask, a thumbnail) for a picture."""
    if wanted.suffix.lower() in PICTURES:
        return path.suffix.lower() == wanted.suffix.lower()
    return path.suffix.lower() in VIDEOS


def _ends_alike(path: PurePosixPath, wanted: PurePosixPath) -> bool:
    """Whether one of the two, without its first folders, is the other; a name without folders fits everywhere."""
    ours, theirs = ([_plain(part) for part in name.parent.parts] for name in (path, wanted))
    shared = min(len(ours), len(theirs))
    return not theirs or (shared > 0 and ours[-shared:] == theirs[-shared:])
