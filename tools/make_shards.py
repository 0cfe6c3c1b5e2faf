"""Pack videos into tar shards: python tools/make_shards.py LIST [LIST ...] --root DIR --out DIR [--megabytes N]

For disks and networks that dislike many small files. Needs the webdataset extra, in whose layout the shards are: each
video beside its label (.cls). The lists stay as they are; the line at the end is the data.root to use.
"""

import re
import tempfile
from pathlib import Path

from tqdm import tqdm

from videoadapt import cli
from videoadapt.atomic import writable_folder
from videoadapt.data.lists import read_list
from videoadapt.errors import UserError
from videoadapt.video.store import Store, open_store

_NAME = re.compile(r"((?:.*/)?[^./]*)\.([^/]+)", re.DOTALL)  # WebDataset's key and suffix


def main() -> None:
    parser = cli.Parser(__doc__)
    parser.add_argument("lists", nargs="+", type=Path, metavar="LIST", help="list files, as data.train")
    parser.add_argument("--root", default=".", metavar="DIR", help="where their paths begin, as data.root")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="where the shards go")
    parser.add_argument("--name", default="shard", help="what their names begin with (shard)")
    parser.add_argument("--megabytes", type=float, default=1000, help="size of a shard (1000)")
    args = parser.parse_args()
    labels = {record.path: record.label for path in args.lists for record in read_list(path)}
    store = open_store(args.root)
    if missing := store.missing(labels):
        raise UserError(f"--root: {len(missing)} of {len(labels)} listed videos are missing, first: {missing[0]}")
    if nameless := next((name for name in labels if store.leaves(name) or not _NAME.fullmatch(name)), None):
        raise UserError(f"{nameless}: leads out of --root or has no suffix; a shard has no name for it")
    out = writable_folder(str(args.out), "--out")
    if there := sorted(out.glob(f"{args.name}-*.tar")):
        raise UserError(f"--out: {there[0]} is there already; choose another --name or folder")
    count = pack(labels, store, out, args.name, args.megabytes)
    braces = f"{{{0:06d}..{count - 1:06d}}}"
    print(f"{len(labels)} videos in {count} shards: data.root={out}/{args.name}-{braces}.tar")


def pack(labels: dict[str, int], store: Store, out: Path, name: str, megabytes: float) -> int:
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
                    key, suffix = _NAME.fullmatch(path).groups()
                    with store.local(path) as file:
                        shards.write({"__key__": key, suffix: file.read_bytes(), "cls": str(label).encode()})
        except OSError as error:
            raise UserError(f"--out: cannot write into {out} ({error.strerror})") from None
        written = sorted(Path(drafts).iterdir())
        for path in written:
            path.replace(out / path.name)
    return len(written)


if __name__ == "__main__":
    cli.run(main)
