"""Videos in tar shards."""

import re
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

from tqdm import tqdm

from videoadapt.atomic import writable_folder
from videoadapt.data.lists import read_list
from videoadapt.errors import UserError
from videoadapt.video.store import Store, open_store

_NAME = re.compile(r"((?:.*/)?[^./]*)\.([^/]+)", re.DOTALL)  # WebDataset's key and suffix


def make_shards(lists: Sequence[Path], root: str, folder: Path, name: str, megabytes: float) -> tuple[int, int]:
    """Pack the listed videos into ``folder``/``name``-000000.tar, ...; how many videos and shards there are."""
    labels = {record.path: record.label for path in lists for record in read_list(path)}
    store = open_store(root)
    if missing := store.missing(labels):
        raise UserError(f"--root: {len(missing)} of {len(labels)} listed videos are missing, first: {missing[0]}")
    if nameless := next((path for path in labels if store.leaves(path) or not _NAME.fullmatch(path)), None):
        raise UserError(f"{nameless}: leads out of --root or has no suffix; a shard has no name for it")
    out = writable_folder(str(folder), "--out")
    if there := sorted(out.glob(f"{name}-*.tar")):
        raise UserError(f"--out: {there[0]} is there already; choose another --name or folder")
    return len(labels), _pack(labels, store, out, name, megabytes)


def _pack(labels: Mapping[str, int], store: Store, out: Path, name: str, megabytes: float) -> int:
    """Write the shards in a temporary folder, then put all of them in place; how many there are."""
    try:
        import webdataset
    except ImportError:
        raise UserError("this needs WebDataset: pip install 'videoadapt[webdataset]'") from None
    options = {"maxcount": 10**9, "maxsize": megabytes * 1e6, "verbose": 0, "format": "PAX_FORMAT"}
    with tempfile.TemporaryDirectory(dir=out, prefix=".draft-") as drafts:
        try:
            with webdataset.ShardWriter(f"{drafts}/{name}-%06d.tar", **options) as shards:
                for path, label in tqdm(labels.items(), unit="video", disable=None):
                    key, suffix = _NAME.fullmatch(path).groups()  # type: ignore[union-attr]  # make_shards has checked
                    with store.local(path) as file:
                        shards.write({"__key__": key, suffix: file.read_bytes(), "cls": str(label).encode()})
        except OSError as error:
            raise UserError(f"--out: cannot write into {out} ({error.strerror})") from None
        written = sorted(Path(drafts).iterdir())
        for path in written:
            path.replace(out / path.name)
    return len(written)
