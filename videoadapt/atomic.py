"""Files that are there whole or not at all, and folders that take them."""

import errno
import os
import secrets
import tempfile
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import Any

from videoadapt.errors import UserError

_DRAFT = ".draft"
_made: list[Path] = []  # folders that were not there before, outer ones first
_FULL = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}


def atomically(path: Path, write: Callable[[Path], Any]) -> None:
    """Let ``write`` fill a temporary file beside ``path`` and put it in place whole, or leave ``path`` as it was.

    File and folder are synced: what has been put in place survives a loss of power.
    """
    draft = path.with_name(f".{path.name}.{secrets.token_hex(4)}{_DRAFT}")
    try:
        write(draft)
        sync(draft)
        draft.replace(path)
        with suppress(OSError):  # some network file systems sync no folders
            sync(path.parent)
    finally:
        with suppress(OSError):
            draft.unlink(missing_ok=True)


def sync(path: Path) -> None:
    """Have the disk hold what was written to a file, or which files a folder has."""
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def remove_drafts(folder: Path) -> None:
    """Remove the temporary files that killed processes left; nobody may be writing there."""
    for draft in folder.glob(f".*{_DRAFT}"):
        draft.unlink(missing_ok=True)


def remove_unused_folders() -> None:
    """Remove what ``writable_folder`` made and nobody filled: a job that failed leaves no empty folders."""
    while _made:
        with suppress(OSError):  # it is not empty
            _made.pop().rmdir()


def writable_folder(path: str, key: str, room: int = 0) -> Path:
    """Make a folder if need be, and be sure that files of ``room`` bytes can be written there."""
    folder = Path(path)
    try:
        new = [part for part in (*reversed(folder.parents), folder) if not part.exists()]
        folder.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=folder) as file:
            if room and hasattr(os, "posix_fallocate"):
                os.posix_fallocate(file.fileno(), 0, room)
        _made.extend(new)
        return folder
    except OSError as error:
        size = f" {room / 1e6:,.0f} MB" if error.errno in _FULL else ""
        raise UserError(f"{key}: cannot write{size} into {folder} ({error.strerror})") from None
