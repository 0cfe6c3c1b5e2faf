"""Where the files of a data set are: in a folder, in tar shards, or anywhere that fsspec reaches."""

import glob
import os
import posixpath
import tarfile
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

import fsspec
import fsspec.asyn

from videoadapt.errors import UserError
from videoadapt.video.decode import VideoReadError

_PAUSES = (0.5, 2.0)  # seconds between attempts to fetch
_LABEL = ".cls"  # WebDataset's, beside each video


class Store(Protocol):
    """Files by the names that lists give them."""

    def local(self, name: str) -> AbstractContextManager[Path]:
        """A file on this machine's disk, as long as the context lasts; VideoReadError if it cannot be had."""

    def missing(self, names: Iterable[str]) -> list[str]:
        """Those of which there is no file, as far as that can be known without opening each."""

    def version(self, name: str) -> str:
        """What changes when the file does; VideoReadError if there is none."""

    def leaves(self, name: str) -> bool:
        """Whether the name leads out of the root."""


def open_store(root: str) -> Store:
    """A folder, ``shards-{000..099}.tar`` or ``shards-*.tar``, or a URL such as ``s3://bucket/k400``."""
    if "://" in root or "::" in root:
        return Remote(root)
    return Shards(root) if root.endswith(".tar") else Folder(root)


class Folder:
    """Loose files; a symbolic link below the root may lead anywhere, as its owner made it."""

    def __init__(self, root: str) -> None:
        self.root = Path(root)

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        yield self._path(name)

    def _path(self, name: str) -> Path:
        """Without the ``..`` of a name, which through a link would lead elsewhere than ``leaves`` thinks."""
        return self.root / posixpath.normpath(name)

    def missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if not os.path.isfile(self._path(name))]  # noqa: PTH113, no error on long names

    def version(self, name: str) -> str:
        path = self._path(name)
        try:
            status = path.stat()
        except (OSError, ValueError) as error:
            raise VideoReadError(f"{path}: cannot be looked up ({_line(error)})") from None
        return repr((str(path.resolve()), status.st_size, status.st_mtime_ns))

    def leaves(self, name: str) -> bool:
        root = os.path.abspath(self.root)  # noqa: PTH100, links are not followed
        return os.path.commonpath([root, os.path.abspath(self.root / name)]) != root  # noqa: PTH100


class Shards:
    """Members of uncompressed tar files, such as WebDataset writes, found by an index and read one by one.

    So a clip does not depend on how the videos are spread over the shards, nor on their order.
    """

    def __init__(self, pattern: str) -> None:
        self.pattern = pattern
        self._paths = _expanded(pattern)
        self._places: dict[str, tuple[int, int, int]] = {}  # shard, offset and size of each member
        for number, path in enumerate(self._paths):
            for name, offset, size in _members(path):
                if name in self._places:
                    first = self._paths[self._places[name][0]]
                    raise UserError(f"data.root: both {first} and {path} hold '{name}'; keep one")
                self._places[name] = number, offset, size

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        number, offset, size = self._place(name)
        shown = f"{self._paths[number]}:{name}"
        try:
            with Path(self._paths[number]).open("rb") as file:
                file.seek(offset)
                content = file.read(size)
        except OSError as error:
            raise VideoReadError(f"{shown}: cannot be read ({error.strerror})") from None
        if len(content) != size:
            raise VideoReadError(f"{shown}: the shard was cut short")
        with _spooled(name, content, shown) as path:
            yield path

    def missing(self, names: Iterable[str]) -> list[str]:
        return [name for name in names if posixpath.normpath(name) not in self._places]

    def version(self, name: str) -> str:
        number, *place = self._place(name)
        shard = Path(self._paths[number])
        try:
            return repr((str(shard.resolve()), shard.stat().st_mtime_ns, *place))
        except OSError as error:
            raise VideoReadError(f"{shard}: cannot be looked up ({error.strerror})") from None

    def leaves(self, name: str) -> bool:
        return False

    def _place(self, name: str) -> tuple[int, int, int]:
        try:
            return self._places[posixpath.normpath(name)]
        except KeyError:
            raise VideoReadError(f"{self.pattern}: no such video '{name}' in the shards") from None


class Remote:
    """Objects below an fsspec URL; each is fetched whole when it is its turn.

    ``simplecache::s3://bucket/k400`` keeps what it has fetched.
    """

    def __init__(self, url: str) -> None:
        self.url = url
        self._owner: int | None = None  # the process whose connection it is
        self._connect()

    def _connect(self) -> None:
        """This process's own connection: one that was made before a fork is of no use after it."""
        if self._owner == os.getpid():
            return
        if self._owner is not None:
            fsspec.asyn.reset_lock()
        try:
            self._fs, self._base = fsspec.core.url_to_fs(self.url)
        except Exception as error:  # a missing package, an unknown protocol, whatever a file system thinks of a URL
            raise UserError(f"data.root: {self.url} cannot be opened ({_line(error)})") from None
        self._owner = os.getpid()

    def _path(self, name: str) -> str:
        plain = posixpath.normpath(name)
        return posixpath.join(self._base, plain) if self._base else plain

    @contextmanager
    def local(self, name: str) -> Iterator[Path]:
        self._connect()
        shown = f"{self.url}/{name}"
        try:
            content = _retried(lambda: self._fs.cat_file(self._path(name)))
        except FileNotFoundError:
            raise VideoReadError(f"{shown}: no such video") from None
        except Exception as error:  # of a network or a service
            raise VideoReadError(f"{shown}: cannot be fetched ({_line(error)})") from None
        with _spooled(name, content, shown) as path:
            yield path

    def missing(self, names: Iterable[str]) -> list[str]:
        self._connect()
        names = list(names)
        try:
            known = {path.strip("/") for path in self._fs.find(self._base)}
            listed = known or not self._fs.exists(self._path(names[0]))
        except FileNotFoundError:
            known, listed = set(), True
        except Exception:  # one that does not list; reading will tell
            listed = False
        return [name for name in names if self._path(name).strip("/") not in known] if listed else []

    def version(self, name: str) -> str:
        self._connect()
        try:
            return repr((self.url, name, str(self._fs.ukey(self._path(name)))))
        except Exception as error:
            raise VideoReadError(f"{self.url}/{name}: cannot be looked up ({_line(error)})") from None

    def leaves(self, name: str) -> bool:
        plain = posixpath.normpath(name)
        return plain.startswith(("/", "../")) or plain == ".." or "://" in name or "::" in name


def _retried(fetch: Callable[[], bytes]) -> bytes:
    """Networks hiccup; a file that is not there is no hiccup."""
    for seconds in _PAUSES:
        try:
            return fetch()
        except FileNotFoundError:
            raise
        except Exception:
            time.sleep(seconds)
    return fetch()


def _expanded(pattern: str) -> list[str]:
    """The shards that a pattern with braces or stars names."""
    if os.path.isfile(pattern):  # noqa: PTH113
        return [pattern]
    if "{" in pattern:
        try:
            import braceexpand
        except ImportError:
            remedy = "pip install 'videoadapt[webdataset]', or write * for them"
            raise UserError(f"data.root: the braces in {pattern} need WebDataset: {remedy}") from None
        paths = list(braceexpand.braceexpand(pattern))
    else:
        paths = sorted(glob.glob(pattern)) if glob.has_magic(pattern) else [pattern]  # noqa: PTH207
    if absent := next((path for path in paths if not os.path.isfile(path)), None if paths else pattern):  # noqa: PTH113
        raise UserError(f"data.root: there is no shard {absent}")
    return paths


def _members(path: str) -> Iterator[tuple[str, int, int]]:
    """Name, offset and size of the files in a tar; labels, of which two may have one name, are passed over."""
    places: dict[str, tuple[int, int]] = {}
    try:
        with tarfile.open(path, "r:") as archive:
            for member in archive:
                name = posixpath.normpath(member.name)
                if member.issparse():
                    raise tarfile.ReadError(f"{name} is stored sparsely")
                if member.isreg() and not name.endswith(_LABEL):
                    places[name] = member.offset_data, member.size
                    yield name, *places[name]
                elif member.islnk() and (target := places.get(posixpath.normpath(member.linkname))):
                    yield name, *target
            end = archive.offset
        with Path(path).open("rb") as file:
            file.seek(end)
            if any(file.read(512)) or end > file.seek(0, os.SEEK_END):
                raise tarfile.ReadError(f"it is damaged or cut short at byte {end:,}")
    except (tarfile.TarError, OSError, ValueError) as error:
        raise UserError(f"data.root: {path} is no whole, uncompressed tar ({_line(error)})") from None


@contextmanager
def _spooled(name: str, content: bytes, shown: str) -> Iterator[Path]:
    """A temporary file for decoders, which want one; what they say of it, they say of ``shown``."""
    try:
        file = tempfile.NamedTemporaryFile(prefix="videoadapt-", suffix=posixpath.splitext(name)[1])  # noqa: SIM115
        file.write(content)
        file.flush()
    except OSError as error:
        what = f"no room for a copy of {shown} ({error.strerror})"
        raise UserError(f"{tempfile.gettempdir()}: {what}; let TMPDIR name another folder") from None
    with file:
        try:
            yield Path(file.name)
        except VideoReadError as error:
            raise VideoReadError(str(error).replace(file.name, shown)) from None


def _line(error: Exception) -> str:
    text = str(error).strip().splitlines()
    return f"{type(error).__name__}: {text[0]}" if text else type(error).__name__
