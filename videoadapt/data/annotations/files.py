"""Where a data set's files lie on this machine, whatever folders they were unpacked into."""

import os
from collections import Counter, defaultdict
from collections.abc import Iterable
from pathlib import Path, PurePath, PurePosixPath

from videoadapt.errors import UserError
from videoadapt.video.media import MEDIA, PICTURES, SHARED, Kind, kind_of_name
from videoadapt.video.walk import LeftOut, media_below

_SUFFIXES = MEDIA | SHARED


class Files:
    """The videos and pictures below ``root``, found by the names that annotations give them.

    A file answers to a name if its path ends with it, or it ends with the path (of another machine): spaces and
    underscores in folders are alike, and a video may have another suffix. If none does, one of the same stem in
    other folders answers, provided that neither the annotations nor the disk have a second of that stem and that
    its folder is not another class's; ``elsewhere`` counts these. A file that nothing tells to be a video answers to
    its very path alone. ``left_out`` tells of all of those.
    """

    def __init__(self, root: Path, names: Iterable[str], classes: Iterable[str]) -> None:
        self.root, self.elsewhere, self.left_out = root, 0, LeftOut(root)
        self._classes = {_plain(name) for name in classes}
        self._listed = Counter(_stem(PurePosixPath(name)) for name in {_posix(name) for name in names})
        self._by_stem: dict[str, list[PurePosixPath]] = defaultdict(list)
        self._looked_into: dict[PurePosixPath, Kind] = {}  # what files show whose names do not tell
        for path, kind in media_below(root, self.left_out):
            below = PurePosixPath(path.relative_to(root).as_posix())
            self._by_stem[_stem(path)].append(below)
            if kind_of_name(path) is None:
                self._looked_into[below] = kind

    def find(self, name: str, split: str) -> str | None:
        """The path below ``root`` (absolute if it lies elsewhere) of a listed name, or None."""
        wanted = PurePosixPath(_posix(name))
        if wanted.is_absolute() and Path(wanted).is_file() and not Path(wanted).is_relative_to(self.root.absolute()):
            return str(wanted)
        same = [path for path in self._by_stem.get(_stem(wanted), []) if self._same_kind(wanted, path)]
        if strong := [path for path in same if _ends_alike(path, wanted) or _is_replacement(path)]:
            return str(self._best(wanted, strong, split))
        if self._is_below(wanted):
            return str(wanted)
        others = self._classes - {_plain(wanted.parent.name)}
        loose = [path for path in same if _plain(path.parent.name) not in others]
        if self._listed[_stem(wanted)] > 1 or not loose:
            return None
        found = self._best(wanted, loose, split)
        self.elsewhere += 1
        return str(found)

    def _same_kind(self, wanted: PurePosixPath, path: PurePosixPath) -> bool:
        """A picture is never taken for a video, nor one of another format (a mask, a thumbnail) for a picture."""
        if wanted.suffix.lower() in PICTURES:
            return path.suffix.lower() == wanted.suffix.lower()
        return (self._looked_into.get(path) or kind_of_name(path)) != "picture" or path == wanted

    def _is_below(self, wanted: PurePosixPath) -> bool:
        inside = not wanted.is_absolute() and ".." not in wanted.parts
        return inside and os.path.isfile(self.root / wanted)  # noqa: PTH113, no error on long names

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
    return path.stem if path.suffix.lower() in _SUFFIXES else path.name


def _plain(folder: str) -> str:
    return folder.replace(" ", "_").lower()


def _ends_alike(path: PurePosixPath, wanted: PurePosixPath) -> bool:
    """Whether one of the two, without its first folders, is the other; a name without folders fits everywhere."""
    ours, theirs = ([_plain(part) for part in name.parent.parts] for name in (path, wanted))
    shared = min(len(ours), len(theirs))
    return not theirs or (shared > 0 and ours[-shared:] == theirs[-shared:])
