"""Where a data set's files lie on this machine, whatever folders they were unpacked into."""

import os
from collections import defaultdict
from functools import cached_property
from pathlib import Path, PurePosixPath

from videoadapt.data.decode.picture import SUFFIXES as PICTURES
from videoadapt.errors import UserError

VIDEOS = {".mp4", ".avi", ".webm", ".mkv", ".mov", ".m4v", ".flv", ".wmv", ".mpg", ".mpeg", ".3gp", ".ts", ".gif"}
MEDIA = VIDEOS | PICTURES


class Files:
    """The videos and pictures below ``root``, found by name.

    ``Files(root)(name)`` is the path below ``root`` of a listed name, or None: the name itself if it is there, else a
    file of the same stem (any suffix, any folder) that shares most of the name's last folders. A folder of another
    class is never taken: ``folders`` are the names that classes have.
    """

    def __init__(self, root: Path, folders: list[str]) -> None:
        if not root.is_dir():
            raise UserError(f"--videos: {root} is no folder")
        self.root, self.folders = root, {_plain(name) for name in folders}

    def __call__(self, name: str) -> str | None:
        if (self.root / name).is_file():
            return name
        wanted = PurePosixPath(name.replace("\\", "/"))
        ranked = sorted((-_shared(wanted, path), _secondary(path), path) for path in self._candidates(wanted))
        if len(ranked) > 1 and ranked[0][:2] == ranked[1][:2]:
            raise UserError(
                f"{name}: may be {ranked[0][2]} or {ranked[1][2]} below {self.root}; name a narrower --videos"
            )
        return ranked[0][2] if ranked else None

    def _candidates(self, wanted: PurePosixPath) -> list[str]:
        """Files of the same stem that lie in no other class's folder."""
        others = self.folders - {_plain(wanted.parent.name)} if _plain(wanted.parent.name) in self.folders else set()
        paths = self._by_stem.get(_stem(wanted), [])
        return [path for path in paths if _plain(PurePosixPath(path).parent.name) not in others]

    @cached_property
    def _by_stem(self) -> dict[str, list[str]]:
        found = defaultdict(list)
        for folder, _, names in os.walk(self.root, followlinks=True):
            below = PurePosixPath(Path(folder).relative_to(self.root).as_posix())
            for name in names:
                if PurePosixPath(name).suffix.lower() in MEDIA:
                    found[_stem(PurePosixPath(name))].append((below / name).as_posix())
        return found


def _stem(path: PurePosixPath) -> str:
    return path.stem if path.suffix.lower() in MEDIA else path.name


def _plain(folder: str) -> str:
    """Class folders are written with spaces or with underscores."""
    return folder.replace(" ", "_").lower()


def _shared(wanted: PurePosixPath, path: str) -> int:
    pairs = zip(reversed(wanted.parent.parts), reversed(PurePosixPath(path).parent.parts), strict=False)
    count = 0
    for one, other in pairs:
        if _plain(one) != _plain(other):
            break
        count += 1
    return count


def _secondary(path: str) -> bool:
    """Kinetics ships whole copies of broken clips in a folder of replacements: those come first."""
    return "replacement" not in path
